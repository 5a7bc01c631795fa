"""The bench of a GPU: layers with all their arrays on it, against cuDNN and against what the card can do at all.

In Numba's simulator all of it runs on toy sizes, to be tested; its times mean nothing.
"""

from datetime import UTC, datetime

from recurlab.bench import peers
from recurlab.bench.case import Case, Problem, problem_of, useful_flops, worst_error
from recurlab.bench.gpu import ceiling, floor, ours
from recurlab.bench.suite import Job, Result, Settings, compare
from recurlab.kernels.cuda import device
from recurlab.layers.checks import expect_choice

SINGLE = ((512, 64, 512, 512), (100, 32, 128, 128), (200, 64, 256, 256), (750, 50, 80, 2))  # (T, B, H, I)
SWEEPS = ((200, 16, 64, 2, 4096), (200, 16, 32, 2, 4096), (200, 16, 64, 2, 256))  # and R
SIMULATED = {"single": ((3, 2, 5, 3),), "sweep": ((3, 2, 5, 2, 3),)}
SUITES = {"single": SINGLE, "sweep": SWEEPS}


def jobs(suites, settings: Settings) -> list[Job]:
    """The measurements of the named suites; with --quick the smallest size of each."""
    names = [expect_choice("suite", name, SUITES) for name in suites] or list(SUITES)
    return [job for name in dict.fromkeys(names) for job in _jobs(name, settings)]


def _jobs(suite: str, settings: Settings) -> list[Job]:
    sizes = SIMULATED[suite] if device.SIMULATED else SUITES[suite][-1:] if settings.quick else SUITES[suite]
    cases = [Case(cell, dtype, *size) for dtype in settings.dtypes for size in sizes for cell in settings.cells]
    return [Job(f"{suite} {case.label}", lambda case=case: run(suite, case, settings)) for case in cases]


def run(suite: str, case: Case, settings: Settings) -> Result:
    """Time one case against every peer, and hold its time against its floor."""
    problem, work = problem_of(case), ours.Work(case, gradients_of_all=suite == "single")
    mine, torch = ours.Device(problem, work), peers.gpu_module(case.cell)
    flops = useful_flops(case, input_gradient=work.gradients_of_all)
    competitors = [mine.competitor(), *(torch.competitors(problem, work) if torch else ())]
    error = _error(problem, mine, work)
    peak = ceiling.peak_flops(case.dtype)
    rows = compare(suite, case, settings, competitors, flops, error, peak)
    return Result(rows, {"floors": [floor.row(case, work, flops, rows[0]["seconds"])]})


def _error(problem: Problem, mine: ours.Device, work: ours.Work) -> float:
    """Worst relative error of the first and the last replica against float64 on the CPU, same weights."""
    found, errors = mine.arrays(), []
    for r in {0, problem.case.R - 1}:
        exact = ours.exact(problem, work, r)
        own = {name: array[r] if problem.case.R > 1 else array for name, array in found.items()}
        errors.append(worst_error(own, exact))
    return max(errors)


def facts(settings: Settings) -> dict:
    """What a reader must know of a run: date, card, method, ceilings, peers with their versions."""
    found = device.gpus() or [{"name": "Numba's simulator, in which times mean nothing"}]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu": found[0] | {"driver": ceiling.driver()},
        "method": "one process, competitors in turn, order rotated each round; a batch of calls ends with a wait for "
        "the GPU; all arrays lie on it; medians of ratios within a round, 95 % intervals from order statistics",
        "threads": settings.threads,
        "ceiling_flops": {dtype: {"the GPU": ceiling.peak_flops(dtype)} for dtype in settings.dtypes},
        "bandwidth": ceiling.bandwidth(),
        "peers": peers.gpu_versions(),
        "peers_missing": [] if peers.gpu_versions() else ["torch with CUDA"],
        "peers_flush_denormals": {},
    }
