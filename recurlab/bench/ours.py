"""recurlab's side of every comparison: the face as a user calls it, PyTorch-shaped weights in, packing included."""

import numba
import numpy as np

from recurlab import optimise
from recurlab.bench.case import Problem
from recurlab.bench.timing import Competitor, repeated
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers.footprint import replica_groups
from recurlab.layers.recurrent import backward, forward
from recurlab.models import sequence
from recurlab.models.gradients import loss_and_gradients

NAME = "recurlab"


def every_gradient(problem: Problem, params: dict | None = None, dy: np.ndarray | None = None) -> dict:
    """y, dL/dx and the gradient of every parameter; dL/dy is problem.dy, or dy (R, T, B, H) for several replicas."""
    layer, params = problem.case.layer, params or problem.params
    dy = problem.dy if dy is None else dy
    y, _, tape = forward(layer, params, problem.x, flush_denormals=SUPPORTED, check=False)
    grads, dx, _ = backward(layer, params, tape, dy, flush_denormals=SUPPORTED, check=False)
    return {"y": y, "dx": dx, **grads}


def every_dy(problem: Problem) -> np.ndarray:
    """dL/dy of all replicas, contiguous: (R, T, B, H), or (T, B, H) for one network."""
    return np.stack([problem.dy] * problem.case.R) if problem.case.R > 1 else problem.dy


def sweep_gradients(problem: Problem, groups: list[slice] | None = None) -> dict:
    """The parameters' gradients of every replica for a loss at the last step, dL/dh_T = problem.dy[-1].

    The tape of one of the groups is held at once; without groups they are what the cache has room for.
    """
    case = problem.case
    if case.R == 1:
        return {name: array[None] for name, array in last_step_gradients(problem, problem.params).items()}
    parts = []
    for group in groups or replica_groups(case.layer, case.R, case.T, case.B):
        part = {name: array[group] for name, array in problem.params.items()}
        parts.append(last_step_gradients(problem, part))
    return {name: np.concatenate([part[name] for part in parts]) for name in problem.params}


def last_step_gradients(problem: Problem, params: dict) -> dict:
    """Those of some replicas, params (r, ...), or of one network, in one launch."""
    layer, end = problem.case.layer, problem.dy[-1]
    _, state, tape = forward(layer, params, problem.x, flush_denormals=SUPPORTED, check=False, output=False)
    d_state = tuple(np.zeros_like(one) for one in state)
    d_state[0][:] = end
    options = {"flush_denormals": SUPPORTED, "check": False, "input_gradient": False}
    grads, _, _ = backward(layer, params, tape, None, d_state, **options)
    return grads


class Training:
    """A classifier in training with Adam: parameters and moments from one update to the next."""

    def __init__(self, problem: Problem, targets: np.ndarray, learning_rate: float, clip: float):
        self.problem, self.targets, self.learning_rate, self.clip = problem, targets, learning_rate, clip
        case = problem.case
        self.net = sequence.network(case.layer, int(targets.max()) + 1, "cross_entropy", "last")
        own = problem.params if case.R > 1 else {name: array[None] for name, array in problem.params.items()}
        own = {name: array.copy() for name, array in own.items()}  # updates are in place
        self.params = own | sequence.readout(self.net, range(case.R))
        self.slots, self.updates = optimise.start("adam", self.params), 0
        self.rates, self.unlimited = np.full(case.R, learning_rate), np.full(case.R, np.inf)

    def gradients(self):
        """Loss (R,) and the gradient of every parameter (R, ...)."""
        found = loss_and_gradients(self.net, self.params, sequence.Batch(self.problem.x, self.targets))
        return found.loss, found.grads

    def update(self) -> None:
        """One whole update: forward, backward, clip, Adam."""
        _, grads = self.gradients()
        factors = optimise.clip_factors(optimise.norms(grads), self.clip)
        self.updates += 1
        optimise.update("adam", self.updates, self.params, grads, self.slots, self.rates, factors, self.unlimited)


def competitor(call, threads: int, units: int = 1) -> Competitor:
    """A call of recurlab on so many threads."""
    return Competitor(NAME, repeated(call), units, enter=lambda: numba.set_num_threads(threads))
