"""Suite `single`: one layer, forward and all gradients, dL/dx included, for a loss with dL/dy at every step."""

from recurlab.bench import ours, peers
from recurlab.bench.case import Case, problem_of, useful_flops
from recurlab.bench.suite import Job, Result, Settings, compare, jobs_of

SHAPES = (  # (T, B, H, I)
    (35, 20, 200, 200),
    (100, 20, 50, 2),
    (100, 32, 128, 128),
    (400, 16, 100, 2),
    (200, 64, 256, 256),
    (750, 50, 80, 2),
    (512, 64, 512, 512),
)


def jobs(settings: Settings) -> list[Job]:
    """One job for each size, cell and dtype."""
    return jobs_of("single", settings, SHAPES, run)


def run(case: Case, settings: Settings) -> Result:
    """Time one case against every peer that has its cell."""
    problem, threads = problem_of(case), settings.threads
    error = peers.error_of_every_gradient(problem)
    mine = ours.competitor(lambda: ours.every_gradient(problem), threads)
    competitors = [mine, *peers.single(problem, threads)]
    return Result(compare("single", case, settings, competitors, useful_flops(case), error), {})
