"""How fast are the kernels: against the machine, against peers that are installed, and as each size grows?

A seed is a round, in which everything that is compared is timed in turn. What is timed, and how, is the bench's. Where
other processes kept disturbing, a round keeps its times, but not the two columns that claims rest on: with one core
taken, two threads that wait for each other are 10 to 50 times as slow.
"""

import itertools
from typing import NamedTuple

import numba
import numpy as np

from recurlab.bench import model, ours, peers, scaling
from recurlab.bench.case import Case, problem_of, useful_flops
from recurlab.bench.ceiling import peak_flops
from recurlab.bench.timing import FOREIGN, Clocks, quietest, system_clocks
from recurlab.studies.kinds import CELL, DTYPE, POSITIVE, SIZE, list_of, sizes
from recurlab.studies.study import Study

MOST_THREADS = 2  # of a scaling: one network of 32 rows is work for more, but of few rows a thread


class Rounds(NamedTuple):
    """How everything is timed: rounds, least seconds of a sample, the machine's threads and clocks."""

    count: int
    sample_seconds: float
    threads: int
    clocks: Clocks

    def times(self, competitors) -> tuple[np.ndarray, np.ndarray]:
        """Seconds (rounds, competitors) and the share of the CPU time that others took (rounds,); ends the workers."""
        try:
            return quietest(competitors, self.count, self.sample_seconds, self.clocks)
        finally:
            for competitor in competitors:
                competitor.close()


def throughput(
    *,
    seeds,
    cell: CELL,
    dtype: DTYPE,
    sample_seconds: POSITIVE,
    shapes: list_of(sizes("T", "B", "H", "I")),
    sweeps: list_of(sizes("T", "B", "H", "I", "R")),
    base: sizes("T", "B", "H"),
    lengths: list_of(SIZE),
    batch_sizes: list_of(SIZE),
    hidden_sizes: list_of(SIZE),
    replica_counts: list_of(SIZE),
):
    """Time one cell on all threads, in as many rounds as there are seeds; peers have rows where they are installed."""
    rounds = Rounds(len(seeds), sample_seconds, numba.get_num_threads(), system_clocks())
    axes = {"T": lengths, "B": batch_sizes, "H": hidden_sizes, "R": replica_counts}
    peers.prepare(rounds.threads)
    try:
        rows = _compared([_single(Case(cell, dtype, *shape), rounds) for shape in shapes])
        rows += _compared([_sweep(Case(cell, dtype, *shape), rounds) for shape in sweeps])
        rows += _scaling(cell, dtype, dict(zip("TBHI", (*base, base[-1]), strict=True)), axes, rounds)
    finally:
        numba.set_num_threads(rounds.threads)
    return {name: np.array([row.get(name, fill) for row in rows]) for name, fill in FILLS.items()}


def _single(case: Case, rounds: Rounds) -> list[dict]:
    """One network: forward and all gradients, dL/dx included, for a loss with dL/dy at every step."""
    problem = problem_of(case)
    mine = ours.competitor(lambda: ours.every_gradient(problem), rounds.threads)
    about = {
        "suite": "single",
        "flops": useful_flops(case),
        "max_relative_error": _error(peers.error_of_every_gradient, problem),
    }
    return _against(about, case, [mine, *peers.single(problem, rounds.threads)], rounds)


def _sweep(case: Case, rounds: Rounds) -> list[dict]:
    """R independent networks: weight gradients for a loss at the last step; times are those of one network."""
    problem = problem_of(case)
    mine = ours.competitor(lambda: ours.sweep_gradients(problem), rounds.threads, units=case.R)
    flops = useful_flops(case, input_gradient=False)
    about = {"suite": "sweep", "flops": flops, "max_relative_error": _error(peers.error_of_sweep, problem)}
    return _against(about, case, [mine, *peers.sweep(problem, rounds.threads)], rounds)


def _error(function, problem) -> float:
    error = function(problem)
    return np.nan if error is None else error


def _against(about: dict, case: Case, competitors, rounds: Rounds) -> list[dict]:
    """A row for each implementation in each round; recurlab is the first, and its ratio that of its fastest peer."""
    seconds, others = rounds.times(competitors)
    ratios = seconds / seconds[:, :1]
    ratios[:, 0] = ratios[:, 1:].min(axis=1) if len(competitors) > 1 else np.nan
    return [
        about
        | _sizes(case, rounds.threads)
        | _timed(case, about["flops"], rounds.threads, seconds[r, k], others[r])
        | {"replica": r, "implementation": one.name, "ratio": ratios[r, k]}
        for k, one in enumerate(competitors)
        for r in range(rounds.count)
    ]


def _compared(parts: list[list[dict]]) -> list[dict]:
    """All rows of a suite; recurlab's have the least of its ratios in their round over all shapes."""
    rows = list(itertools.chain(*parts))
    for r in {row["replica"] for row in rows}:
        own = [row for row in rows if row["replica"] == r and row["implementation"] == ours.NAME]
        least = np.min([_if_quiet(row["ratio"], row["others_share"]) for row in own])  # NaN if one is
        for row in own:
            row["least_ratio"] = least
    return rows


def _scaling(cell: str, dtype: str, base: dict, axes: dict, rounds: Rounds) -> list[dict]:
    """Every size varied alone on at most MOST_THREADS threads, and the threads, beside the fitted cost model."""
    most = min(MOST_THREADS, rounds.threads)
    axes = axes | {"threads": tuple(sorted({1, most, rounds.threads}))}
    rows = []
    for axis, values in axes.items():
        cases = [scaling.point(cell, dtype, axis, value, base) for value in values]
        rows += _along(axis, values, cases, values if axis == "threads" else [most] * len(values), rounds)
    points = [row.pop("point") for row in rows]
    fitted = model.fit([point for point in points if point["threads"] == most])
    return [row | {"model_seconds": model.predicted(fitted, point)} for row, point in zip(rows, points, strict=True)]


def _along(axis: str, values, cases, threads, rounds: Rounds) -> list[dict]:
    """The rows of one axis; `point` is what the cost model needs of each."""
    problems = [problem_of(case) for case in cases]
    seconds, others = rounds.times(scaling.competitors_of(problems, threads))
    rows = []
    for k, (value, case, count) in enumerate(zip(values, cases, threads, strict=True)):
        flops = case.R * useful_flops(case)
        about = {"suite": "scaling", "implementation": ours.NAME, "axis": axis, "value": value, "flops": flops}
        about |= _sizes(case, count) | {"log10_value": np.log10(value)} | scaling.tape_of(problems[k])
        for r in range(rounds.count):
            point = case._asdict() | {"threads": count, "seconds": seconds[r, k]}
            rows.append(about | _timed(case, flops, count, seconds[r, k], others[r]) | {"replica": r, "point": point})
    return rows


def _sizes(case: Case, threads: int) -> dict:
    """The columns of a case's sizes."""
    many = f" × {case.R}" if case.R > 1 else ""
    names = {"length": case.T, "batch_size": case.B, "hidden_size": case.H, "input_size": case.I, "networks": case.R}
    return {"shape": f"{case.T}, {case.B}, {case.H}, {case.I}{many}", "threads": threads, **names}


def _timed(case: Case, flops: int, threads: int, seconds: float, others: float) -> dict:
    """The columns of a time, in a round in which others took that share of the CPU time."""
    percent = 100 * flops / seconds / peak_flops(case.dtype, threads)
    quiet = {"log10_seconds": _if_quiet(np.log10(seconds), others), "others_share": others}
    return {"seconds": seconds, "percent_of_peak": percent, **quiet}


def _if_quiet(value: float, others: float) -> float:
    return value if others <= FOREIGN else np.nan


TIMES = {  # columns that no second run repeats
    "seconds": "s; time of a call, in a sweep of one of its networks",
    "log10_seconds": "1; log₁₀ of the seconds, empty where others took more than 6 % of the CPU time in the round",
    "percent_of_peak": "%; useful FLOPs a second against the FLOP ceiling of as many threads, measured in the same run",
    "ratio": "1; its time over recurlab's in the same round; on recurlab's own rows that of its fastest peer",
    "least_ratio": "1; on recurlab's rows the least of its ratios in the round over all shapes, empty as log10_seconds",
    "model_seconds": "s; fitted cost model of the cell: products at one rate, the rest by units and steps",
    "others_share": "share; of the CPU time that other processes took in the round",
}
FILLS = {"replica": 0, "suite": "", "implementation": "", "axis": "", "value": 0, "log10_value": np.nan, "shape": ""}
FILLS |= dict.fromkeys(("length", "batch_size", "hidden_size", "input_size", "networks", "threads", "flops"), 0)
FILLS |= {"tape_bytes": 0, "formula_bytes": 0, "max_relative_error": np.nan} | dict.fromkeys(TIMES, np.nan)

THROUGHPUT = Study(
    function=throughput,
    replicas=(),
    columns={
        "suite": "name; single: one network, all gradients. sweep: many, weight gradients. scaling: one size varied",
        "implementation": "name; recurlab or a peer",
        "axis": "name; what varies in a scaling: T, B, H (with I = H), R or threads, else empty",
        "value": "1; the value on that axis, else 0",
        "log10_value": "1; log₁₀ of the value",
        "shape": "name; T, B, H, I and the number of networks",
        "length": "steps; T",
        "batch_size": "rows; B",
        "hidden_size": "units; H",
        "input_size": "inputs; I",
        "networks": "networks; R, independent ones that share their input",
        "threads": "threads; that recurlab had",
        "flops": "1; useful floating-point operations of what the seconds are of",
        "tape_bytes": "B; memory that the forward pass of a scaling keeps for the backward pass, as measured",
        "formula_bytes": "B; the same by the formula of memory_bytes",
        "max_relative_error": "1; max|a - b| / max|b| of recurlab's worst array against float64 with the same weights",
        **TIMES,
    },
    times=tuple(TIMES),
)
