"""Optimisers for many replicas at once: parameters, gradients and moments are dicts of arrays (R, ...)."""

from typing import NamedTuple

import numpy as np


class Adam(NamedTuple):
    """Kingma & Ba 2015, algorithm 1, with bias correction as torch.optim.Adam has it."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


class Moments(NamedTuple):
    """First and second moments of every parameter, and the number of updates made."""

    first: dict
    second: dict
    updates: int


def start(params: dict) -> Moments:
    """Moments before the first update."""
    zeros = {name: np.zeros_like(array) for name, array in params.items()}
    return Moments(zeros, {name: array.copy() for name, array in zeros.items()}, 0)


def adam(rule: Adam, params: dict, grads: dict, moments: Moments) -> tuple[dict, Moments]:
    """One update of every replica; new arrays, the old ones stay."""
    k = moments.updates + 1
    first = {n: rule.beta1 * moments.first[n] + (1 - rule.beta1) * g for n, g in grads.items()}
    second = {n: rule.beta2 * moments.second[n] + (1 - rule.beta2) * g * g for n, g in grads.items()}
    size, root = rule.learning_rate / (1 - rule.beta1**k), np.sqrt(1 - rule.beta2**k)
    updated = {n: params[n] - size * first[n] / (np.sqrt(second[n]) / root + rule.epsilon) for n in params}
    return {n: updated[n].astype(params[n].dtype) for n in params}, Moments(first, second, k)


def gradient_norm(grads: dict) -> np.ndarray:
    """‖g‖ over all parameters of each replica, (R,), in float64."""
    squares = [np.sum(np.square(g, dtype=np.float64).reshape(len(g), -1), axis=1) for g in grads.values()]
    return np.sqrt(np.sum(squares, axis=0))


def scale_replicas(grads: dict, factors: np.ndarray) -> dict:
    """Every replica's gradient times its own factor (R,)."""
    return {n: g * factors.reshape(-1, *[1] * (g.ndim - 1)).astype(g.dtype) for n, g in grads.items()}


def clip_by_norm(grads: dict, threshold: float) -> tuple[dict, np.ndarray]:
    """g · min(1, θ/‖g‖) for each replica (Pascanu, Mikolov & Bengio 2013, algorithm 1), and the norms before, (R,).

    A gradient that is not finite becomes zero: its replica stays where it is, and the norm tells.
    """
    norms = gradient_norm(grads)
    finite = np.isfinite(norms)
    factors = np.minimum(1, threshold / np.maximum(norms, np.finfo(float).tiny))
    clean = {n: np.where(finite.reshape(-1, *[1] * (g.ndim - 1)), g, 0) for n, g in grads.items()}
    return scale_replicas(clean, np.where(finite, factors, 0)), norms
