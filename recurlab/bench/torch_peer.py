"""PyTorch's eager layers on the CPU: contiguous inputs made beforehand, gradients returned and not added up."""

import time
from functools import partial
from itertools import cycle

import numpy as np
import torch

from recurlab.bench.case import Case, Problem
from recurlab.bench.timing import Competitor, repeated

MODULES = {  # cell -> class of torch.nn, options
    "rnn_tanh": ("RNN", {"nonlinearity": "tanh"}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
}


def module_of(case: Case, params: dict, dtype: str) -> torch.nn.Module:
    """The torch module of a case with these weights."""
    name, options = MODULES[case.cell]
    module = getattr(torch.nn, name)(case.I, case.H, dtype=getattr(torch, dtype), **options)
    with torch.no_grad():
        for key, value in module.named_parameters():
            value.copy_(torch.from_numpy(params[key]))
    return module


def tensor(array: np.ndarray, dtype: str) -> torch.Tensor:
    """A contiguous copy in that dtype."""
    return torch.tensor(array, dtype=getattr(torch, dtype))


def last_h(final):
    """The final h (1, B, H) of what a module returns beside y."""
    return final[0] if isinstance(final, tuple) else final


def every_gradient(problem: Problem, dtype: str, replica: int = 0) -> dict:
    """What `ours.every_gradient` gives for one replica, computed by torch in `dtype`."""
    module, call = _every_gradient(problem, dtype, replica)
    y, (dx, *grads) = call()
    return _named(module, grads) | {"y": y.detach().numpy(), "dx": dx.numpy()}


def _every_gradient(problem: Problem, dtype: str, replica: int):
    """The module and a function that gives y and the gradients of x and of the weights."""
    module = module_of(problem.case, problem.replica(replica), dtype)
    x, dy = tensor(problem.x, dtype).requires_grad_(), tensor(problem.dy, dtype)
    wanted = [x, *module.parameters()]

    def call():
        y, _ = module(x)
        return y, torch.autograd.grad(y, wanted, dy)

    return module, call


def last_step_gradients(problem: Problem, dtype: str, replica: int) -> dict:
    """What `ours.sweep_gradients` gives for one replica, computed by torch in `dtype`."""
    module = module_of(problem.case, problem.replica(replica), dtype)
    return _named(module, _last_step(module, tensor(problem.x, dtype), tensor(problem.dy[-1:], dtype)))


def _last_step(module, x, end):
    """Weight gradients for dL/dh_T = end (1, B, H); x asks for none."""
    _, final = module(x)
    return torch.autograd.grad(last_h(final), tuple(module.parameters()), end)


def _named(module, grads) -> dict:
    return {name: grad.numpy() for (name, _), grad in zip(module.named_parameters(), grads, strict=True)}


def next_replica(problem: Problem, replicas):
    """A function that computes the last-step gradients of one of `replicas` a call, each in turn."""
    dtype = problem.case.dtype
    x, end = tensor(problem.x, dtype), tensor(problem.dy[-1:], dtype)
    modules = cycle([module_of(problem.case, problem.replica(r), dtype) for r in replicas])
    return lambda: _last_step(next(modules), x, end)


class Training:
    """R classifiers, trained one after the other: linear layer on the last h, cross-entropy, clipping, fused Adam."""

    def __init__(self, problem: Problem, params: dict, targets: np.ndarray, rate: float, clip: float, dtype: str):
        self.x, self.targets, self.clip = tensor(problem.x, dtype), torch.from_numpy(targets), clip
        self.networks = [self._network(problem.case, params, r, dtype) for r in range(problem.case.R)]
        self.rules = [torch.optim.Adam(network.parameters(), lr=rate, fused=True) for network in self.networks]

    @staticmethod
    def _network(case: Case, params: dict, replica: int, dtype: str) -> torch.nn.ModuleDict:
        own = {name: array[replica] for name, array in params.items()}
        classes = len(own["bias_out"])
        out = torch.nn.Linear(case.H, classes, dtype=getattr(torch, dtype))
        out.load_state_dict({name: tensor(own[f"{name}_out"], dtype) for name in ("weight", "bias")})
        return torch.nn.ModuleDict({"recurrent": module_of(case, own, dtype), "out": out})

    def loss(self, network) -> torch.Tensor:
        """Mean cross-entropy; the network's gradients are set."""
        network.zero_grad(set_to_none=True)
        _, final = network["recurrent"](self.x)
        loss = torch.nn.functional.cross_entropy(network["out"](last_h(final)[-1]), self.targets)
        loss.backward()
        return loss.detach()

    def update(self) -> None:
        """One whole update of every network."""
        for network, rule in zip(self.networks, self.rules, strict=True):
            self.loss(network)
            torch.nn.utils.clip_grad_norm_(network.parameters(), self.clip)
            rule.step()


def gradients(training: Training, replica: int) -> dict:
    """Loss and gradients of one network under recurlab's names."""
    network = training.networks[replica]
    loss = training.loss(network)
    grads = {name: value.grad.numpy() for name, value in network["recurrent"].named_parameters()}
    out = {f"{name}_out": value.grad.numpy() for name, value in network["out"].named_parameters()}
    return {"loss": loss.numpy(), **grads, **out}


def competitor(name: str, call, threads: int) -> Competitor:
    """A call of torch on so many threads, denormals flushed; the caller's floating-point state is put back."""
    name = f"{name}, {threads} thread{'s' * (threads > 1)}"
    leave = partial(torch.set_flush_denormal, False)
    return Competitor(name, repeated(call), enter=partial(_enter, threads), leave=leave)


def _enter(threads: int) -> None:
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


def start_threads(threads: int) -> bool:
    """Start torch's threads with denormals flushed, before any other work; returns whether all of them flush.

    The switch acts on the calling thread alone, and others keep what they inherit: with the pool started before the
    switch, half of an array on two threads came out denormal.
    """
    _enter(threads)
    try:
        return not bool((torch.full((1 << 20,), 1.2e-38) * 0.5).any())
    finally:
        torch.set_flush_denormal(False)


def single(problem: Problem, threads: int) -> Competitor:
    """Forward and all gradients of one network."""
    return competitor("torch eager", _every_gradient(problem, problem.case.dtype, 0)[1], threads)


def loop(problem: Problem, threads: int) -> Competitor:
    """The replicas of a sweep one after the other; a call is one of them, for the cost is linear in their number."""
    return competitor("torch loop", next_replica(problem, range(problem.case.R)), threads)


def training(problem: Problem, params: dict, targets, rate: float, clip: float, threads: int) -> Competitor:
    """A whole update of all networks."""
    return competitor("torch eager", Training(problem, params, targets, rate, clip, problem.case.dtype).update, threads)


def flushes_denormals() -> bool:
    """Whether torch with its switch on computes zero from denormal numbers, on all its threads."""
    return start_threads(torch.get_num_threads())


def serve(connection, problem: Problem, replicas: range) -> None:
    """The work of one process on one thread: do as many replicas as asked, answer with the CPU seconds used so far.

    Until the parent ends the process.
    """
    _enter(1)
    call = next_replica(problem, replicas)
    while True:
        for _ in range(connection.recv()):
            call()
        connection.send(time.process_time())
