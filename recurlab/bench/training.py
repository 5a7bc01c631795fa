"""Suite `training`: a whole update of a classifier: forward, softmax on the last state, backward, clip, Adam.

The time is that of one update of all R networks; FLOPs are those of the recurrent layer alone.
"""

import numpy as np

from recurlab.bench import ours, peers
from recurlab.bench.case import Case, problem_of, useful_flops
from recurlab.bench.suite import Job, Result, Settings, compare, jobs_of

SIZES = ((28, 100, 128, 28, 1), (100, 32, 128, 2, 1), (400, 16, 100, 2, 1), (100, 16, 64, 2, 16))  # (T, B, H, I, R)
CLASSES = 10
LEARNING_RATE, CLIP = 1e-5, 1.0  # so small a rate that thousands of updates on one batch leave the network as it was


def jobs(settings: Settings) -> list[Job]:
    """One job for each size, cell and dtype."""
    return jobs_of("training", settings, SIZES, run)


def run(case: Case, settings: Settings) -> Result:
    """Time the updates of one case."""
    problem, threads = problem_of(case), settings.threads
    state = ours.Training(problem, np.arange(case.B) % CLASSES, LEARNING_RATE, CLIP)
    error = peers.error_of_training(problem, state)
    competitors = [ours.competitor(state.update, threads), *peers.training(problem, state, threads)]
    flops = case.R * useful_flops(case, input_gradient=False)
    return Result(compare("training", case, settings, competitors, flops, error), {})
