"""PyTorch on a GPU: cuDNN's layers in every precision it has, and independent replicas by batched products.

cuDNN knows no batch of independent networks: one call each, or torch.bmm over all of them at every step, captured in a
CUDA graph, which is the best that torch can do. In the simulator the same runs on the CPU, without cuDNN and graphs.
"""

from functools import partial

import torch

from recurlab.bench import torch_peer
from recurlab.bench.case import Problem
from recurlab.bench.gpu.ours import Work, waiting
from recurlab.bench.timing import Competitor
from recurlab.kernels.cuda import device

MODULES = torch_peer.MODULES
PLACE = "cpu" if device.SIMULATED else "cuda"
LOOP = 64  # calls of one replica each that a batch has; their cost is linear

# name -> (dtype, whether products may use tf32); the first is what float32 means elsewhere
PRECISIONS = {
    "float32": (torch.float32, False),
    "tf32": (torch.float32, True),
    "float16": (torch.float16, False),
    "bfloat16": (torch.bfloat16, False),
}


def competitors(problem: Problem, work: Work) -> list[Competitor]:
    """Every way in which torch does the work."""
    exact = {"float64": (torch.float64, False)}
    chosen = PRECISIONS if problem.case.dtype == "float32" else exact
    if work.gradients_of_all:
        return [_competitor(f"cuDNN {name}", single(problem, kind), tf32) for name, (kind, tf32) in chosen.items()]
    found, replicas = [], problem.case.R
    for name, (kind, tf32) in chosen.items():
        found.append(_competitor(f"bmm in a graph, {name}", sweep(problem, kind), tf32, replicas))
    kind, tf32 = next(iter(chosen.values()))
    return [*found, _competitor("cuDNN, a call a replica", loop(problem, kind), tf32, min(LOOP, replicas))]


def _competitor(name: str, call, tf32: bool, units: int = 1) -> Competitor:
    enter, leave = partial(_allow_tf32, tf32), partial(_allow_tf32, False)
    return Competitor(name, waiting(call, _wait), units, enter=enter, leave=leave)


def _wait() -> None:
    if PLACE == "cuda":
        torch.cuda.synchronize()


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def _there(array, dtype) -> torch.Tensor:
    return torch.tensor(array, dtype=dtype, device=PLACE)


def _module(problem: Problem, dtype, replica: int) -> torch.nn.Module:
    module = torch_peer.module_of(problem.case, problem.replica(replica), problem.case.dtype)
    return module.to(device=PLACE, dtype=dtype)


def single(problem: Problem, dtype):
    """A function: y, then the gradients of x and of all weights."""
    module, x = _module(problem, dtype, 0), _there(problem.x, dtype).requires_grad_()
    dy, wanted = _there(problem.dy, dtype), [x, *module.parameters()]

    def call():
        y, _ = module(x)
        return y, torch.autograd.grad(y, wanted, dy)

    return call


def loop(problem: Problem, dtype):
    """A function: the weight gradients of the first replicas, one call of cuDNN after the other."""
    modules = [_module(problem, dtype, r) for r in range(min(LOOP, problem.case.R))]
    x, end = _there(problem.x, dtype), _there(problem.dy[-1:], dtype)

    def call():
        for module in modules:
            _, final = module(x)
            torch.autograd.grad(torch_peer.last_h(final), tuple(module.parameters()), end)

    return call


def sweep(problem: Problem, dtype):
    """A function: the weight gradients of all replicas, one batched product a step; captured where there are graphs."""
    params = {name: _there(array, dtype).requires_grad_() for name, array in problem.params.items()}
    x, end = _there(problem.x, dtype), _there(problem.dy[-1], dtype).expand(problem.case.R, -1, -1)

    def call():
        return torch.autograd.grad(last_state(problem.case.cell, params, x), tuple(params.values()), end)

    return call if PLACE == "cpu" else captured(call)


def captured(call):
    """A function that replays what a call launches, captured after three calls on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay():
        graph.replay()
        return kept

    return replay


def last_state(cell: str, params: dict, x: torch.Tensor) -> torch.Tensor:
    """h (R, B, H) after all steps of x (T, B, I)."""
    W_x, W_h = (params[f"weight_{name}_l0"].transpose(1, 2) for name in ("ih", "hh"))
    b_x, b_h = (params[f"bias_{name}_l0"][:, None] for name in ("ih", "hh"))
    zeros = x.new_zeros(len(W_h), x.shape[1], W_h.shape[1])
    state = (zeros, zeros)
    for now in x:
        inputs = torch.baddbmm(b_x, now.expand(len(W_x), -1, -1), W_x)
        state = STEPS[cell](inputs, torch.baddbmm(b_h, state[0], W_h), state)
    return state[0]


def _plain(activation, inputs, recurrent, state):
    return activation(inputs + recurrent), state[1]


def _lstm(inputs, recurrent, state):
    i, f, g, o = (inputs + recurrent).chunk(4, dim=2)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(inputs, recurrent, state):
    (r, z, n), (r_h, z_h, n_h) = inputs.chunk(3, dim=2), recurrent.chunk(3, dim=2)
    z = torch.sigmoid(z + z_h)
    n = torch.tanh(n + torch.sigmoid(r + r_h) * n_h)
    return n + z * (state[0] - n), state[1]


STEPS = {
    "rnn_tanh": partial(_plain, torch.tanh),
    "rnn_relu": partial(_plain, torch.relu),
    "lstm": _lstm,
    "gru": _gru,
}
