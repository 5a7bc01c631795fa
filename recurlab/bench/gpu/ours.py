"""recurlab's side on a GPU: weights and data are brought there once, everything else stays there."""

from typing import NamedTuple

import numpy as np

from recurlab.bench import ours
from recurlab.bench.case import Case, Problem
from recurlab.bench.timing import Competitor
from recurlab.kernels.cuda import target
from recurlab.layers.recurrent import backward, forward


class Work(NamedTuple):
    """What is computed: y, dL/dx and all gradients, or a sweep's weight gradients for a loss at the last step."""

    case: Case
    gradients_of_all: bool


class Device:
    """The weights and data of a problem on the GPU."""

    def __init__(self, problem: Problem, work: Work):
        case = problem.case
        self.layer, self.work = case.layer._replace(device="cuda"), work
        self.params = {name: target.to_device(array) for name, array in problem.params.items()}
        self.x, self.dy = target.to_device(problem.x), target.to_device(ours.every_dy(problem))
        shape = (*((case.R,) if case.R > 1 else ()), 1, case.B, case.H)
        ends = np.zeros((len(self.layer.spec.states), *shape), case.dtype)
        ends[0] = problem.dy[-1]
        self.ends = tuple(map(target.to_device, ends))

    def call(self) -> dict:
        """One unit of work; the arrays lie on the GPU, and it may still be at work."""
        whole = self.work.gradients_of_all
        y, _, tape = forward(self.layer, self.params, self.x, check=False, output=whole)
        dy, ends = (self.dy, None) if whole else (None, self.ends)
        grads, dx, _ = backward(self.layer, self.params, tape, dy, ends, check=False, input_gradient=whole)
        return {**({"y": y, "dx": dx} if whole else {}), **grads}

    def arrays(self) -> dict[str, np.ndarray]:
        """The same in NumPy."""
        return {name: target.to_host(array) for name, array in self.call().items()}

    def competitor(self) -> Competitor:
        """The calls, and at their end a wait for the GPU."""
        return Competitor(ours.NAME, waiting(self.call, target.wait), self.work.case.R)


def waiting(call, wait):
    """The `run` of a competitor that goes on while the GPU works, and waits for it once."""

    def run(repeats: int) -> None:
        for _ in range(repeats):
            call()
        wait()

    return run


def exact(problem: Problem, work: Work, replica: int) -> dict:
    """What a unit of work gives for one replica, by the CPU's kernels in float64."""
    wide = {name: array.astype("float64") for name, array in problem.replica(replica).items()}
    case = problem.case._replace(dtype="float64", R=1)
    alone = Problem(case, wide, problem.x.astype("float64"), problem.dy.astype("float64"))
    return ours.every_gradient(alone) if work.gradients_of_all else ours.last_step_gradients(alone, wide)
