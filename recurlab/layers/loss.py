"""Losses of R replicas at once, with their gradients: N positions of a batch, O outputs at each.

Every loss is f(outputs (R, N, O), targets, weights=None) -> (loss (R,), error (R,), dL/doutputs (R, N, O)): the mean
Σ w l / Σ w over the positions, w = weights ((R,) N) or 1. Targets (and weights) without R are shared by all replicas.
A position of weight 0 is never looked at: its outputs may be anything. Sums run in float64 in the order of the
positions, so a replica has the same bits alone and among others, on one thread and on many.
"""

import math
from functools import cache

import numpy as np
from numba import prange

from recurlab.kernels.cuda.device import is_on_device
from recurlab.kernels.target import cached, inlined, start_threads
from recurlab.layers.checks import expect
from recurlab.layers.matrices import with_replicas


def _cross_entropy(z, target, share, gradient):
    """ln Σ exp z - z[target]; the largest z is taken off first, so that no exponential overflows."""
    best, total = 0, 0.0
    for k in range(1, z.size):
        if z[k] > z[best]:
            best = k
    for k in range(z.size):
        gradient[k] = math.exp(z[k] - z[best])
        total += gradient[k]
    factor = share / total
    for k in range(z.size):
        gradient[k] *= factor
    gradient[target] -= share
    loss = math.log(total) - (z[target] - z[best])
    return loss, 0.0 if best == target and loss == loss else 1.0


def _squared_error(y, target, share, gradient):
    """Σ (y - target)² over the outputs."""
    loss = 0.0
    for k in range(y.size):
        difference = y[k] - target[k]
        loss += difference * difference
        gradient[k] = 2 * share * difference
    return loss, loss


def _bernoulli(z, target, share, gradient):
    """Σ max(z, 0) - z target + ln(1 + e⁻ᶻ), |z| in the exponential.

    The logarithm is taken of products: one for every bit would cost more than all the rest. Only 1 + e⁻ᶻ is rounded,
    1e-16 nats of a bit.
    """
    loss, product, wrong = 0.0, 1.0, 0
    for k in range(z.size):
        e = math.exp(-abs(z[k]))
        loss += max(z[k], 0.0) - z[k] * target[k]
        product *= 1.0 + e
        if product > 1e300:
            loss += math.log(product)
            product = 1.0
        likely = 1.0 / (1.0 + e)
        gradient[k] = share * ((likely if z[k] > 0 else e * likely) - target[k])
    for k in range(z.size):
        wrong += (z[k] > 0) != (target[k] > 0.5) or z[k] != z[k]
    return loss + math.log(product), wrong / z.size


def _mean(outputs, targets, weights, totals, parts, means, gradient):
    """parts (2, R, N), loss and error of each position times its weight; means (2, R), their Σ / Σ w; the gradient."""
    replicas, count = outputs.shape[:2]
    for i in prange(replicas * count):
        r, n = i // count, i % count
        own = min(r, len(weights) - 1)
        weight = weights[own, n]
        if weight == 0:
            parts[:, r, n] = 0
            gradient[r, n] = 0
        else:
            target = targets[min(r, len(targets) - 1), n]
            loss, error = position(outputs[r, n], target, weight / totals[own], gradient[r, n])  # noqa: F821 - see _run
            parts[0, r, n], parts[1, r, n] = weight * loss, weight * error
    for i in prange(2 * replicas):
        k, r = i // replicas, i % replicas
        total = 0.0
        for n in range(count):
            total += parts[k, r, n]
        means[k, r] = total / totals[min(r, len(totals) - 1)]


@cache
def _compiled(position):
    """`_mean` of one loss."""
    start_threads()
    return cached(_mean, position.__name__, parallel=True, position=inlined(position))


def _run(position, outputs, targets, weights):
    """Loss, error and gradient by `_mean` of `position`, the function of one loss; targets (R or 1, N[, O])."""
    if is_on_device(outputs):
        from recurlab.layers import device_loss  # numba.cuda, for those who have a GPU

        return device_loss.run(position, outputs, targets, checked_weights(weights, *outputs.shape[:2]))
    outputs, weights = with_replicas(outputs, 2), checked_weights(weights, *outputs.shape[:2])
    parts, means = np.empty((2, *outputs.shape[:2])), np.empty((2, len(outputs)))
    gradient = np.empty_like(outputs)
    _compiled(position)(outputs, targets, weights, weights.sum(axis=1), parts, means, gradient)
    return means[0], means[1], gradient


def checked_weights(weights, replicas: int, count: int) -> np.ndarray:
    """Weights of every position, float64 (R or 1, N)."""
    if weights is None:
        return np.ones((1, count))
    weights = with_replicas(weights, 1).astype(np.float64)
    expect_shape("weights", weights, replicas, (count,))
    least = weights.sum(axis=1).min()  # to print all sums costs 0.1 ms at every call, printed or not
    expect(bool(least > 0), "weights", f"a sum of {least}", "a sum above 0 in every replica")
    return weights


def expect_shape(name: str, array: np.ndarray, replicas: int, shape: tuple) -> None:
    """Check that there is an array of that shape for every replica, or one for all."""
    there = array.shape[1:] == shape and len(array) in (1, replicas)
    expect(there, name, f"shape {array.shape}", f"shape ([R,] N[, O]) with R = {replicas}, N[, O] = {shape}")


def _values(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Targets that are numbers, (R or 1, N, O)."""
    targets = with_replicas(targets, 2)
    expect_shape("targets", targets, len(outputs), outputs.shape[1:])
    return targets.astype(outputs.dtype, copy=False)


def cross_entropy(outputs, targets, weights=None):
    """Softmax cross-entropy -ln softmax(outputs)[target] in nats, and the share of positions whose argmax is wrong.

    targets ((R,) N) are classes 0 … O-1; the first of equal outputs counts as the argmax.
    """
    targets = with_replicas(targets, 1)
    expect_shape("targets", targets, *outputs.shape[:1], outputs.shape[1:2])
    classes, low, high = outputs.shape[2], targets.min(), targets.max()
    whole = targets.dtype.kind in "iu" and low >= 0 and high < classes
    expect(whole, "targets", f"{targets.dtype} {low} … {high}", f"classes 0 … {classes - 1}")
    return _run(_cross_entropy, outputs, targets.astype(np.int64, copy=False), weights)


def squared_error(outputs, targets, weights=None):
    """Σ_O (output - target)², targets ((R,) N, O); the error is the loss."""
    return _run(_squared_error, outputs, _values(outputs, targets), weights)


def bernoulli(outputs, targets, weights=None):
    """Cross-entropy of O independent bits in nats, summed over O, and the share of wrong bits.

    outputs are logits; targets ((R,) N, O) in [0, 1]; a bit is guessed to be 1 where its logit is above 0.
    """
    targets = _values(outputs, targets)
    inside = bool(targets.min() >= 0 and targets.max() <= 1)
    expect(inside, "targets", f"{targets.min()} … {targets.max()}", "probabilities 0 … 1")
    return _run(_bernoulli, outputs, targets, weights)


LOSSES = {"cross_entropy": cross_entropy, "squared_error": squared_error, "bernoulli": bernoulli}


def warm(dtype: str) -> None:
    """Compile every loss for a dtype, or load it: what `recurlab compile` calls."""
    for name, function in LOSSES.items():
        function(np.zeros((1, 1, 1), dtype), np.zeros((1, 1) if name != "cross_entropy" else 1, np.int64))
