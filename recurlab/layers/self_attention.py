"""Causal multi-head self-attention for R replicas at once, with the names and shapes of nn.MultiheadAttention.

Every step takes, head by head, a weighted mean over itself and the steps before it (Vaswani et al. 2017, sec. 3.2):

    q, k, v = W_in x + b_in,    a_ts = softmax_{s ≤ t} q_t · k_s / √d,    y = W_out [Σ_s a_ts v_s of all heads] + b_out

Parameters: in_proj_weight (R, 3E, E), in_proj_bias (R, 3E), out_proj.weight (R, E, E), out_proj.bias (R, E); a head has
d = E / heads numbers. What comes later has weight 0 exactly: nothing that follows changes a bit of a step.
"""

from typing import NamedTuple

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers import linear
from recurlab.layers.attention import softmax, softmax_backward
from recurlab.layers.checks import expect


class Tape(NamedTuple):
    """What `backward` needs: heads of (R, B, heads, T, d), and what the two projections saw, (R, T·B, E)."""

    x: np.ndarray
    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray  # (R, B, heads, T, T)
    mixed: np.ndarray


def parameter_shapes(size: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter for E = size, without the replica axis."""
    inner = {"in_proj_weight": (3 * size, size), "in_proj_bias": (3 * size,)}
    return inner | {"out_proj.weight": (size, size), "out_proj.bias": (size,)}


@on_one_thread
def forward(params: dict, x: np.ndarray, heads: int) -> tuple[np.ndarray, Tape]:
    """x (R, T, B, E) -> y (R, T, B, E), tape; ValueError unless E is a multiple of `heads`."""
    replicas, steps, batch, size = x.shape
    expect(heads >= 1 and size % heads == 0, "heads", heads, f"a divisor of E = {size}")
    flat = x.reshape(replicas, -1, size)
    projected = linear.forward(params["in_proj_weight"], params["in_proj_bias"], flat)
    q, k, v = projected.reshape(replicas, steps, batch, 3, heads, -1).transpose(3, 0, 2, 4, 1, 5)
    scores = np.matmul(q, k.swapaxes(-1, -2)) * q.shape[-1] ** -0.5
    weights = softmax(scores, np.tri(steps, dtype=bool))
    mixed = np.matmul(weights, v).transpose(0, 3, 1, 2, 4).reshape(flat.shape)
    y = linear.forward(params["out_proj.weight"], params["out_proj.bias"], mixed)
    return y.reshape(x.shape), Tape(flat, q, k, v, weights, mixed)


@on_one_thread
def backward(params: dict, tape: Tape, dy: np.ndarray) -> tuple[dict, np.ndarray]:
    """dL/dy (R, T, B, E) -> gradients of the parameters, and dL/dx (R, T, B, E)."""
    replicas, batch, heads, steps, width = tape.queries.shape
    out, d_mixed = linear.backward(params["out_proj.weight"], tape.mixed, dy.reshape(tape.mixed.shape))
    d_mixed = d_mixed.reshape(replicas, steps, batch, heads, width).transpose(0, 2, 3, 1, 4)
    d_weights = np.matmul(d_mixed, tape.values.swapaxes(-1, -2))
    d_scores = softmax_backward(tape.weights, d_weights) * width**-0.5
    d_parts = np.empty((replicas, steps, batch, 3, heads, width), dy.dtype)
    d_q, d_k, d_v = d_parts.transpose(3, 0, 2, 4, 1, 5)
    d_q[:] = np.matmul(d_scores, tape.keys)
    d_k[:] = np.matmul(d_scores.swapaxes(-1, -2), tape.queries)
    d_v[:] = np.matmul(tape.weights.swapaxes(-1, -2), d_mixed)
    inner, dx = linear.backward(params["in_proj_weight"], tape.x, d_parts.reshape(replicas, steps * batch, -1))
    return _named(inner, "in_proj_") | _named(out, "out_proj."), dx.reshape(dy.shape)


def _named(grads: dict, prefix: str) -> dict:
    return {prefix + name: g for name, g in grads.items()}
