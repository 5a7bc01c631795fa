"""JAX on the CPU: jit of value and vjp of lax.scan, the input projection hoisted out, PyTorch's layouts.

Weights in PyTorch's layout and no unrolling of the scan were the fastest of six variants (LSTM, H = 128: 19.2 ms; (H, G
H) weights 21.8, unrolled 4 times 21.9, 10 times 35). XLA flushes denormals by itself: `flushes_denormals` looks.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import sigmoid

from recurlab.bench.case import Problem
from recurlab.bench.timing import Competitor, repeated

NAME = "jax scan"
SWEEP_NAME = "jax vmap of scan"


def lstm(a, recurrent, state):
    """a + recurrent: i, f, g, o (B, 4H)."""
    i, f, g, o = jnp.split(a + recurrent, 4, axis=-1)
    c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(c), c


def gru(a, recurrent, state):
    """r, z, n (B, 3H); the reset gate acts on the recurrent part of n."""
    (a_r, a_z, a_n), (h_r, h_z, h_n) = jnp.split(a, 3, axis=-1), jnp.split(recurrent, 3, axis=-1)
    z, n = sigmoid(a_z + h_z), jnp.tanh(a_n + sigmoid(a_r + h_r) * h_n)
    return (n + z * (state[0] - n),)


def rnn(function, a, recurrent, state):
    """function(a + recurrent), (B, H)."""
    return (function(a + recurrent),)


STEPS = {  # cell -> its step, number of states
    "lstm": (lstm, 2),
    "gru": (gru, 1),
    "rnn_tanh": (partial(rnn, jnp.tanh), 1),
    "rnn_relu": (partial(rnn, jax.nn.relu), 1),
    "rnn_sigmoid": (partial(rnn, sigmoid), 1),
    "rnn_linear": (partial(rnn, lambda a: a), 1),
}


def run(cell: str, params: dict, x):
    """Final states and y (T, B, H)."""
    step, states = STEPS[cell]
    late = params["bias_hh_l0"] if cell == "gru" else 0.0  # elsewhere both biases are hoisted out
    a = jnp.einsum("tbi,gi->tbg", x, params["weight_ih_l0"]) + params["bias_ih_l0"]
    a = a if cell == "gru" else a + params["bias_hh_l0"]
    weight = params["weight_hh_l0"].T

    def one(state, a):
        state = step(a, state[0] @ weight + late, state)
        return state, state[0]

    zeros = jnp.zeros((x.shape[1], weight.shape[0]), x.dtype)
    return lax.scan(one, (zeros,) * states, a)


def _every_gradient(cell: str, params, x, dy):
    y, pull_back = jax.vjp(lambda params, x: run(cell, params, x)[1], params, x)
    return y, *pull_back(dy)


def _last_step_gradients(cell: str, params, x, end):
    """Of one replica; dL/dh_T = end (B, H)."""
    _, pull_back = jax.vjp(lambda params: run(cell, params, x)[0][0], params)
    return pull_back(end)[0]


def _compiled(problem: Problem, function, *data):
    """A function that runs `function(params, *data)` to its end, compiled for these arrays."""
    with _precision(problem.case.dtype):
        arrays = jax.device_put((problem.params, *data))
        compiled = jax.jit(function).lower(*arrays).compile()
    return lambda: jax.block_until_ready(compiled(*arrays))


def _precision(dtype: str):
    """Inside, JAX has float64 if that is the dtype."""
    return jax.enable_x64(dtype == "float64")


def _single(problem: Problem):
    return _compiled(problem, partial(_every_gradient, problem.case.cell), problem.x, problem.dy)


def _sweep(problem: Problem):
    axes = (0, None, None) if problem.case.R > 1 else (None, None, None)
    one = partial(_last_step_gradients, problem.case.cell)
    many = jax.vmap(one, in_axes=axes) if problem.case.R > 1 else one
    return _compiled(problem, many, problem.x, problem.dy[-1])


def every_gradient(problem: Problem) -> dict:
    """What `ours.every_gradient` gives for one network."""
    y, grads, dx = _single(problem)()
    return {name: np.asarray(array) for name, array in {"y": y, "dx": dx, **grads}.items()}


def sweep_gradients(problem: Problem) -> dict:
    """What `ours.sweep_gradients` gives."""
    return {name: np.asarray(array) for name, array in _sweep(problem)().items()}


def single(problem: Problem) -> Competitor:
    """Forward and all gradients of one network."""
    return Competitor(NAME, repeated(_single(problem)))


def sweep(problem: Problem) -> Competitor:
    """All replicas in one call."""
    return Competitor(SWEEP_NAME, repeated(_sweep(problem)), units=problem.case.R)


def flushes_denormals() -> bool:
    """Whether XLA computes zero from denormal numbers, on all its threads."""
    halves = jax.jit(lambda a: a * 0.5)(np.full(1 << 20, 1.2e-38, np.float32))
    return not bool(np.asarray(halves).any())
