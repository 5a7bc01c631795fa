"""What is timed: a layer's sizes with weights and data, its useful FLOPs, and the rows that results are."""

from typing import NamedTuple

import numpy as np

from recurlab import weights
from recurlab.cells import CELLS
from recurlab.layers.recurrent import Recurrent, recurrent

COLUMNS = (
    "suite, cell, dtype, T, B, H, I, R, threads, seconds, flops, percent_of_peak, "
    "peer, peer_seconds, ratio, ratio_low, ratio_high, rounds, max_relative_error"
).split(", ")
UNITS = {  # column -> unit; what it is
    "seconds": "s; median time of one unit of work: a call, or a replica in the suite sweep",
    "flops": "1; useful FLOPs of that unit",
    "percent_of_peak": "%; flops / seconds against the FLOP ceiling of as many threads, measured in the same run",
    "peer_seconds": "s; the same unit of work done by the peer",
    "ratio": "1; median over rounds of peer_seconds / seconds: above 1 recurlab is faster",
    "rounds": "1; rounds kept",
    "max_relative_error": "1; max|a - b| / max|b| of the worst array against float64, same weights",
}


class Case(NamedTuple):
    """The sizes of one measurement; R replicas share x."""

    cell: str
    dtype: str
    T: int
    B: int
    H: int
    I: int  # noqa: E741
    R: int = 1

    @property
    def layer(self) -> Recurrent:
        """The layer in the case's dtype."""
        return recurrent(self.cell, self.I, self.H, dtype=self.dtype)

    @property
    def label(self) -> str:
        """'lstm float32 (35, 20, 200, 200)', with the replicas if there are several."""
        replicas = f" × {self.R}" if self.R > 1 else ""
        return f"{self.cell} {self.dtype} ({self.T}, {self.B}, {self.H}, {self.I}){replicas}"


class Problem(NamedTuple):
    """Weights and data of a case: params (R, ...) or without R for one, x (T, B, I), dy (T, B, H)."""

    case: Case
    params: dict
    x: np.ndarray
    dy: np.ndarray

    def replica(self, r: int) -> dict:
        """The parameters of one replica."""
        return {name: array[r] for name, array in self.params.items()} if self.case.R > 1 else self.params


def problem_of(case: Case) -> Problem:
    """PyTorch's default weights (U(-1/√H, 1/√H)) and standard normal data, rounded to the dtype."""
    seeds = list(range(case.R)) if case.R > 1 else 0
    params = weights.init(case.layer, seed=seeds, recurrent="uniform", input="uniform", bias="uniform")
    generator = np.random.default_rng(0)
    x, dy = (generator.normal(size=(case.T, case.B, width)).astype(case.dtype) for width in (case.I, case.H))
    return Problem(case, params, x, dy)


def useful_flops(case: Case, input_gradient: bool = True) -> int:
    """6 T B G H (H + I) a replica, two for each multiply-add of forward, dL/d(h, x) and dL/dW.

    Without dL/dx they are 2 T B G H I fewer, without W_hh 6 T B G H H.
    """
    cell = CELLS[case.cell]
    products = case.T * case.B * len(cell.gates) * case.H
    return products * (6 * case.H * cell.recurrent_matrix + (6 if input_gradient else 4) * case.I)


def row(suite: str, case: Case | None, **values) -> dict:
    """One result with every column of the table, None where it has no meaning."""
    unknown = set(values) - set(COLUMNS)
    if unknown:
        raise ValueError(f"no column {', '.join(sorted(unknown))}")
    sizes = case._asdict() if case else {}
    return dict.fromkeys(COLUMNS) | {"suite": suite, "peer": "none"} | sizes | values


def worst_error(found: dict, expected: dict) -> float:
    """max|a - b| / max|b| of the worst array among those expected; they have the same names in both."""
    return max(_relative_error(found[name], array) for name, array in expected.items())


def _relative_error(found, expected) -> float:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    size = np.abs(expected).max()
    return float(np.abs(found - expected).max() / (size if size else 1.0))
