"""Lyapunov exponents from the layer's own backward pass."""

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers.checks import expect, expect_size
from recurlab.layers.recurrent import Recurrent, forward
from recurlab.measures.jacobian import expect_one_direction, pull_back, state_size, steps_apart
from recurlab.random import Stream
from recurlab.weights import matrix


@on_one_thread
def lyapunov(
    layer: Recurrent, params: dict, x, state=None, count=None, burn_in: int = 0, settle: int = 0
) -> np.ndarray:
    """The `count` largest Lyapunov exponents (default: all n = S·L·H) along the run of x, ([R,] B, count), per step.

    Orthonormal cotangents are pulled back through the steps in reverse, with a QR after each: the transposed product
    has the singular values of the product. The first `burn_in` steps of the run are left to the state, and the first
    `settle` pull-backs to the directions; neither is counted.
    """
    expect_one_direction(layer)
    size = state_size(layer)
    count = size if count is None else expect_size("count", count)
    expect(count <= size, "count", count, f"1 to {size}, the size of the state")
    burn_in, settle = expect_size("burn_in", burn_in, 0), expect_size("settle", settle, 0)
    _, _, tape = forward(layer, params, x, state)
    n = tape.passes[0].n
    counted = n.steps - burn_in - settle
    expect(counted >= 1, "burn_in, settle", f"{burn_in}, {settle}", f"together less than the {n.steps} steps of x")
    frame = matrix("orthogonal", Stream(0, "lyapunov"), size)[:, :count].astype(layer.dtype)
    Q, factors = np.broadcast_to(frame, (n.replicas, n.batch, size, count)), []
    parts, parted = steps_apart(params, tape, 1, count), (len(layer.spec.states), layer.num_layers, n.hidden)
    for s in range(n.steps - 1, burn_in - 1, -1):
        cotangents = np.swapaxes(Q, -1, -2).reshape(n.replicas, n.batch, count, *parted)
        pulled = pull_back(parts, s, cotangents).reshape(n.replicas, n.batch, count, size)
        Q, R = np.linalg.qr(np.swapaxes(pulled, -1, -2))
        factors.append(np.diagonal(R, axis1=-2, axis2=-1).copy())
    with np.errstate(divide="ignore"):
        total = np.log(np.abs(factors[settle:])).sum(axis=0, dtype=np.float64)
    exponents = -np.sort(-total / counted, axis=-1)
    return exponents if tape.replicated else exponents[0]
