"""Readout, norms of gradients and updates of R networks whose arrays lie on a GPU; see `kernels.cuda.learning`."""

import numpy as np

from recurlab.kernels.cuda import learning, target


def read_out(weight, bias, x):
    """`linear.forward`: x (R, N, H) -> (R, N, O)."""
    (replicas, count, width), outputs = x.shape, weight.shape[1]
    out = target.empty((replicas, count, outputs), x.dtype)
    flat = [array.reshape(-1) for array in (weight, bias, x, out)]
    learning.run(learning.read_out, out.size, count, outputs, width, *flat)
    return out


def read_out_backward(weight, x, dy):
    """`linear.backward`: the gradients of weight and bias, and dL/dx."""
    (_, count, width), outputs = x.shape, weight.shape[1]
    d_weight, d_bias = target.empty(weight.shape, x.dtype), target.empty(weight.shape[:2], x.dtype)
    dx, sizes = target.empty(x.shape, x.dtype), (count, outputs)
    flat = {"x": x, "dy": dy, "W": weight, "dW": d_weight, "db": d_bias, "dx": dx}
    flat = {name: array.reshape(-1) for name, array in flat.items()}
    learning.run(learning.weight_gradients, d_weight.size, *sizes, width, flat["x"], flat["dy"], flat["dW"])
    learning.run(learning.bias_gradients, d_bias.size, *sizes, flat["dy"], flat["db"])
    learning.run(learning.x_gradients, dx.size, *sizes, width, flat["W"], flat["dy"], flat["dx"])
    return {"weight": d_weight, "bias": d_bias}, dx


def taken(array, rows: np.ndarray):
    """The rows (R, N) of an array (R, …, H), counted through all axes but the last -> (R, N, H)."""
    *_, width = array.shape
    out = target.empty((*rows.shape, width), array.dtype)
    given = target.to_device(rows.reshape(-1)), width, array.reshape(-1), out.reshape(-1)
    learning.run(learning.gather, out.size, *given)
    return out


def put(array, rows: np.ndarray, shape: tuple):
    """Zeros (R, …, H) with the rows (R, N) of an array (R, N, H) in them."""
    *_, width = array.shape
    out = target.zeros(shape, array.dtype)
    given = target.to_device(rows.reshape(-1)), width, array.reshape(-1), out.reshape(-1)
    learning.run(learning.scatter, array.size, *given)
    return out


def norms(grads: dict, lanes: int) -> np.ndarray:
    """`optimise.norms`, with as many partial sums."""
    replicas = len(next(iter(grads.values())))
    squares = target.zeros(replicas, np.float64)
    for g in grads.values():
        sums = target.empty(replicas * lanes, np.float64)
        learning.run(learning.square, sums.size, lanes, g.reshape(-1), sums)
        learning.run(learning.add_lanes, replicas, lanes, sums, squares)
    return np.sqrt(target.to_host(squares))


def update(rule, params: dict, grads: dict, slots: dict, constants: np.ndarray, factors, limits) -> None:
    """`optimise.update` with a rule's function and its constants (R, ·): in place."""
    kernel = learning.update_by(rule)
    for name, p in params.items():
        each = (target.to_device(array.astype(p.dtype)) for array in (constants, factors, limits))
        flat = p.reshape(len(p), -1), grads[name].reshape(len(p), -1), slots[name].reshape(len(p), -1)
        target.spread(kernel, p.size, *flat, *each)
