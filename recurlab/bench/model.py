"""The cost model: t · threads = 6 T B G H (H + I + 1) R / rate + T B H R · pointwise.

Both constants are fitted to the measured points (least squares of relative errors, neither below 0). `rate` is what the
products reach on one thread, `pointwise` the time of the cell's functions and of the histories, forward and backward.
"""

from typing import NamedTuple

import numpy as np

from recurlab.cells import CELLS


class CostModel(NamedTuple):
    """Seconds of one FLOP of the products, and of one unit and step beside them, on one thread."""

    seconds_a_flop: float
    seconds_a_unit: float


def _work(row: dict) -> tuple[float, float]:
    """FLOPs of the products (the bias counts as one more input), and units × steps."""
    units, cell = row["T"] * row["B"] * row["H"] * row["R"], CELLS[row["cell"]]
    columns = row["H"] * cell.recurrent_matrix + row["I"] + 1
    return 6.0 * units * len(cell.gates) * columns, float(units)


def fit(rows: list[dict]) -> CostModel:
    """The model of timed rows of one cell and dtype."""
    from scipy.optimize import nnls

    timed = [row for row in rows if row["seconds"]]
    work = np.array([_work(row) for row in timed])
    seconds = np.array([row["seconds"] * row["threads"] for row in timed])
    scale = work.max(axis=0)
    found, _ = nnls(work / scale / seconds[:, None], np.ones(len(timed)))
    return CostModel(*(found / scale).tolist())


def predicted(model: CostModel, row: dict) -> float:
    """Seconds that the model gives for the sizes and threads of a row."""
    return float(np.dot(_work(row), model)) / row["threads"]


def groups(rows: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """(cell, dtype) -> its timed rows of the suite scaling."""
    found: dict = {}
    for row in rows:
        if row["suite"] == "scaling" and row["seconds"]:
            found.setdefault((row["cell"], row["dtype"]), []).append(row)
    return found


def table(rows: list[dict]) -> list[dict]:
    """The constants of the cost model of each cell and dtype, and how far the worst point lies from it."""
    return [_model_row(cell, dtype, group) for (cell, dtype), group in groups(rows).items()]


def _model_row(cell: str, dtype: str, group: list[dict]) -> dict:
    model = fit(group)
    worst = max(abs(predicted(model, row) / row["seconds"] - 1) for row in group)
    rate = 1e-9 / model.seconds_a_flop if model.seconds_a_flop else None
    constants = {"gflops_a_thread": rate, "pointwise_ns": 1e9 * model.seconds_a_unit}
    return {"cell": cell, "dtype": dtype, **constants, "points": len(group), "worst_percent": 100 * worst}
