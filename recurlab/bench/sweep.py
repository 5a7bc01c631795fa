"""Suite `sweep`: R independent replicas, a loss at the last step, weight gradients only.

Times are those of one replica. torch does its replicas one after the other, so its batches take the next few of them in
turn: the cost is linear.
"""

from recurlab.bench import ours, peers
from recurlab.bench.case import Case, problem_of, useful_flops
from recurlab.bench.suite import Job, Result, Settings, compare

SHORT, LONG, WIDE = (100, 16, 64, 2, 256), (400, 16, 64, 2, 64), (100, 32, 128, 2, 64)  # (T, B, H, I, R)
SIZES = {"lstm": (SHORT, LONG, WIDE), "rnn_tanh": (SHORT, LONG)}  # every other cell: SHORT
QUICK_REPLICAS = 16


def jobs(settings: Settings) -> list[Job]:
    """One job for each row; with --quick the first of each cell, with few replicas."""
    found = [case for dtype in settings.dtypes for cell in settings.cells for case in _cases(cell, dtype, settings)]
    return [Job(f"sweep {case.label}", lambda case=case: run(case, settings)) for case in found]


def _cases(cell: str, dtype: str, settings: Settings) -> list[Case]:
    chosen = SIZES.get(cell, (SHORT,))
    if settings.quick:
        chosen = [(*chosen[0][:-1], min(QUICK_REPLICAS, chosen[0][-1]))]
    return [Case(cell, dtype, *size) for size in chosen]


def run(case: Case, settings: Settings) -> Result:
    """Time one sweep against every peer that has its cell."""
    problem, threads = problem_of(case), settings.threads
    error = peers.error_of_sweep(problem)
    mine = ours.competitor(lambda: ours.sweep_gradients(problem), threads, units=case.R)
    competitors = [mine, *peers.sweep(problem, threads)]
    return Result(compare("sweep", case, settings, competitors, useful_flops(case, input_gradient=False), error), {})
