"""The least time that a case can take on this card: for its multiply-adds, or for its histories in memory."""

import numpy as np

from recurlab.bench.case import Case
from recurlab.bench.gpu import ceiling
from recurlab.bench.gpu.ours import Work
from recurlab.cells import CELLS


def history_bytes(case: Case, work: Work) -> int:
    """What a cell keeps and its states, written once and read once; with dL/dy at every step also y and dL/dy."""
    cell = CELLS[case.cell]
    planes = len(cell.states) + (0 if cell.kept == cell.states else len(cell.kept)) + work.gradients_of_all
    return 2 * np.dtype(case.dtype).itemsize * case.R * case.T * case.B * case.H * planes


def row(case: Case, work: Work, flops: int, seconds: float) -> dict:
    """The two floors of a case in milliseconds, and the share of its time that the larger one is.

    flops and seconds are those of a replica.
    """
    flops, seconds = flops * case.R, seconds * case.R
    arithmetic, memory = flops / ceiling.peak_flops(case.dtype), history_bytes(case, work) / ceiling.bandwidth()
    share = 100 * max(arithmetic, memory) / seconds
    shown = {"case": case.label, "ms": 1e3 * seconds, "arithmetic ms": 1e3 * arithmetic, "memory ms": 1e3 * memory}
    return shown | {"% that is floor": share}
