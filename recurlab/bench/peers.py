"""Which peers are installed, their competitors for each suite, and the float64 numbers that all are held against."""

import os
import sys
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from recurlab.bench import ours
from recurlab.bench.case import Problem, worst_error
from recurlab.bench.timing import Competitor
from recurlab.kernels.cuda.device import SIMULATED

PEERS = ("torch", "jax")


def installed() -> tuple[str, ...]:
    """Names of the peers that can be imported."""
    return tuple(name for name in PEERS if find_spec(name))


@cache
def module(name: str) -> ModuleType | None:
    """The module that calls a peer; None where it is not installed."""
    if not find_spec(name):
        return None
    if name == "torch":
        from recurlab.bench import torch_peer as peer
    else:
        from recurlab.bench import jax_peer as peer
    return peer


def prepare(threads: int) -> None:
    """Hold JAX, which reads this once, to the CPU and so many threads; start the threads of torch."""
    if "jax" not in sys.modules:
        os.environ.update(JAX_PLATFORMS="cpu", NPROC=str(threads))
    if torch := module("torch"):
        torch.start_threads(threads)


def flushing() -> dict[str, bool]:
    """Which of the installed peers really flush denormals to zero."""
    return {name: module(name).flushes_denormals() for name in installed()}


def _torch(cell: str) -> ModuleType | None:
    torch = module("torch")
    return torch if torch and cell in torch.MODULES else None


def _jax(cell: str) -> ModuleType | None:
    jax = module("jax")
    return jax if jax and cell in jax.STEPS else None


def gpu_module(cell: str) -> ModuleType | None:
    """The module that calls torch on the GPU; None without such a torch or for a cell that it has not."""
    if not gpu_versions():
        return None
    from recurlab.bench.gpu import torch_gpu

    return torch_gpu if cell in torch_gpu.MODULES else None


@cache
def gpu_versions() -> dict[str, str]:
    """The versions of torch and of its cuDNN; {} where torch uses no GPU. In the simulator the CPU stands in for it."""
    if not find_spec("torch"):
        return {}
    import torch

    if SIMULATED:
        return {"torch": torch.__version__}
    if not torch.cuda.is_available():
        return {}
    return {"torch": torch.__version__, "cudnn": str(torch.backends.cudnn.version())}


def thread_counts(threads: int) -> list[int]:
    """One, and all: small shapes are faster on one."""
    return sorted({1, threads})


def single(problem: Problem, threads: int) -> list[Competitor]:
    """torch on one and on all threads, JAX on all: forward and all gradients of one network."""
    torch, jax = _torch(problem.case.cell), _jax(problem.case.cell)
    found = [torch.single(problem, count) for count in thread_counts(threads)] if torch else []
    return found + ([jax.single(problem)] if jax else [])


def sweep(problem: Problem, threads: int) -> list[Competitor]:
    """torch in a loop and in processes, JAX vectorised: weight gradients of independent replicas."""
    torch, jax = _torch(problem.case.cell), _jax(problem.case.cell)
    found = []
    if torch:
        from recurlab.bench.processes import torch_processes

        found = [torch.loop(problem, threads), torch_processes(problem, threads)]
    return found + ([jax.sweep(problem)] if jax else [])


def training(problem: Problem, state: ours.Training, threads: int) -> list[Competitor]:
    """torch on one and on all threads: the same update from the same parameters."""
    torch = _torch(problem.case.cell)
    if not torch:
        return []
    same = (problem, state.params, state.targets, state.learning_rate, state.clip)
    return [torch.training(*same, count) for count in thread_counts(threads)]


def language(setting, threads: int, steps: tuple[float, float]) -> list[Competitor]:
    """torch on one and on all threads: the same update of a language model; steps are learning rate and bound."""
    if not _torch(setting.case.cell):
        return []
    from recurlab.bench import torch_language

    return [torch_language.language(setting, count, *steps) for count in thread_counts(threads)]


def error_of_every_gradient(problem: Problem, replica: int = 0) -> float | None:
    """Worst relative error of y, dL/dx and all gradients of a replica; None without anything to hold them against."""
    torch, params = _torch(problem.case.cell), problem.replica(replica)
    if torch:
        expected = torch.every_gradient(problem, "float64", replica)
    else:
        expected = _own_float64(problem, ours.every_gradient, replica)
    return expected and worst_error(ours.every_gradient(problem, params), expected)


def error_of_sweep(problem: Problem) -> float | None:
    """The same for the weight gradients of the first and the last replica of a sweep."""
    torch, found = _torch(problem.case.cell), ours.sweep_gradients(problem)
    errors = []
    for r in {0, problem.case.R - 1}:
        if torch:
            expected = torch.last_step_gradients(problem, "float64", r)
        else:
            expected = _own_float64(problem, ours.last_step_gradients, r)
        errors += [worst_error({name: array[r] for name, array in found.items()}, expected)] if expected else []
    return max(errors, default=None)


def error_of_training(problem: Problem, state: ours.Training) -> float | None:
    """The same for loss and all gradients of the first network before its first update."""
    torch = _torch(problem.case.cell)
    if not torch:
        return None
    exact = torch.Training(problem, state.params, state.targets, state.learning_rate, state.clip, "float64")
    loss, grads = state.gradients()
    found = {"loss": loss[0], **{name: array[0] for name, array in grads.items()}}
    return worst_error(found, torch.gradients(exact, 0))


def error_of_language(setting, state) -> float | None:
    """The same for loss and all gradients of a language model before its first update."""
    if not _torch(setting.case.cell):
        return None
    from recurlab.bench import torch_language

    exact = torch_language.gradients(torch_language.Training(setting, 1.0, 1.0, "float64"))
    return worst_error({name: array[0] for name, array in state.gradients().items()}, exact)


def _own_float64(problem: Problem, function, replica: int) -> dict | None:
    """recurlab's own float64 numbers of one replica with the same weights; None if that is what is timed."""
    if problem.case.dtype == "float64":
        return None
    wide = {name: array.astype("float64") for name, array in problem.replica(replica).items()}
    case = problem.case._replace(dtype="float64", R=1)
    exact = Problem(case, wide, problem.x.astype("float64"), problem.dy.astype("float64"))
    return function(exact, wide)
