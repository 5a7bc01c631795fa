"""Optimisers for R networks at once: each with its own learning rate and clipping, all updated in place.

Parameters, gradients and slots are dicts of arrays (R, ...). A rule is one line in RULES: its compiled update of one
number and its constants, which are those of torch.optim. Whatever the number of threads or replicas, a replica's bits
are those it has alone: its sums run over its own numbers, in an order fixed by their count.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import prange

from recurlab.kernels.cuda.device import is_on_device
from recurlab.kernels.target import cached, inlined, start_threads
from recurlab.layers.checks import expect, expect_choice, expect_size

LANES = 16  # partial sums of a norm: what a vector unit adds side by side

# One number's update: p the parameter, g its clipped gradient, s the slots of all n numbers one after the other, i its
# place in them, c the rule's constants. Returns the new p.


@inlined
def sgd(p, g, s, n, i, c):
    """Robbins & Monro 1951: p - η g."""
    return p - c[0] * g


@inlined
def momentum(p, g, s, n, i, c):
    """Polyak 1964 as torch.optim.SGD has it: v ← μ v + g; p - η v."""
    s[i] = c[1] * s[i] + g
    return p - c[0] * s[i]


@inlined
def rmsprop(p, g, s, n, i, c):
    """Tieleman & Hinton 2012 as torch.optim.RMSprop has it: v ← α v + (1 - α) g²; p - η g / (√v + ε)."""
    s[i] = c[1] * s[i] + c[2] * g * g
    return p - c[0] * g / (np.sqrt(s[i]) + c[3])


@inlined
def adam(p, g, s, n, i, c):
    """Kingma & Ba 2015, algorithm 1, as torch.optim.Adam has it; c[0] is η / (1 - β₁ᵏ) and c[5] is √(1 - β₂ᵏ)."""
    s[i] = c[1] * s[i] + c[2] * g
    s[i + n] = c[3] * s[i + n] + c[4] * g * g
    return p - c[0] * s[i] / (np.sqrt(s[i + n]) / c[5] + c[6])


class Rule(NamedTuple):
    """An optimiser: the update of one number, how many slots it keeps for it, its constants after η at update k."""

    update: Callable
    slots: int
    constants: Callable[[float, int], tuple[float, ...]]  # (η, k = 1, 2, …) -> c


RULES: dict[str, Rule] = {
    "sgd": Rule(sgd, 0, lambda rate, k: (rate,)),
    "momentum": Rule(momentum, 1, lambda rate, k: (rate, 0.9)),
    "rmsprop": Rule(rmsprop, 1, lambda rate, k: (rate, 0.9, 1 - 0.9, 1e-8)),
    "adam": Rule(
        adam,
        2,
        lambda rate, k: (rate / (1 - 0.9**k), 0.9, 1 - 0.9, 0.999, 1 - 0.999, np.sqrt(1 - 0.999**k), 1e-8),
    ),
}
SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the updates made -> factor of the learning rate
    "constant": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "cosine": lambda share: 0.5 * (1.0 + np.cos(np.pi * share)),
    "exponential": lambda share: 0.01**share,
}


class Divided(NamedTuple):
    """A schedule: constant for so many updates, then divided, and divided again after every further `each` updates.

    Zaremba, Sutskever & Vinyals (2014), `each` an epoch: small LSTM e = 4 and by = 2, medium 6 and 1.2, large 14 and
    1.15. "After e epochs" is `constant` = e epochs here; their released code divides behind an epoch whose number is
    larger than e, which leaves e + 1 epochs at the full rate.
    """

    constant: int
    each: int
    by: float

    def factor(self, made: int) -> float:
        """The factor of the learning rate of the update after `made`."""
        return self.by ** -max(0, (made - self.constant) // self.each + 1)


def check_schedule(schedule: str | Divided) -> None:
    """ValueError for a name that SCHEDULES has not, or for numbers that make no schedule."""
    if not isinstance(schedule, Divided):
        expect_choice("schedule", schedule, SCHEDULES)
        return
    expect_size("schedule.constant", schedule.constant, low=0)
    expect_size("schedule.each", schedule.each)
    expect(np.isfinite(schedule.by) and schedule.by >= 1, "schedule.by", schedule.by, "a finite number ≥ 1")


def rates(schedule: str | Divided, learning_rate: np.ndarray, made: int, updates: int) -> np.ndarray:
    """The learning rates (R,) of the update after `made` of `updates`: those of SCHEDULES at made / updates."""
    check_schedule(schedule)
    divided = isinstance(schedule, Divided)
    return learning_rate * (schedule.factor(made) if divided else SCHEDULES[schedule](made / updates))


def start(rule: str, params: dict) -> dict:
    """Slots before the first update, zeros (R, slots, n) for every parameter."""
    expect_choice("rule", rule, RULES)
    slots = RULES[rule].slots
    return {name: np.zeros((len(p), slots, p[0].size), p.dtype) for name, p in params.items()}


def norms(grads: dict) -> np.ndarray:
    """‖g‖ over all parameters of each replica, (R,), in float64; the gradients may lie on a GPU."""
    if is_on_device(next(iter(grads.values()))):
        return _on_gpu().norms(grads, LANES)
    squares = np.zeros(len(next(iter(grads.values()))))
    for g in grads.values():
        _squares()(np.ascontiguousarray(g).reshape(len(g), -1), squares)
    return np.sqrt(squares)


def _on_gpu():
    """The module for arrays on a GPU: numba.cuda is loaded by those who have one."""
    from recurlab.layers import device_learning

    return device_learning


def clip_factors(norms: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """min(1, θ / ‖g‖) of each replica (Pascanu, Mikolov & Bengio 2013, algorithm 1), as torch's clip_grad_norm_.

    torch adds 1e-6 to the norm, so do we. The factor of a norm that is not finite is 0.
    """
    with np.errstate(invalid="ignore"):
        factors = np.minimum(1.0, threshold / (norms + 1e-6))
    return np.where(np.isfinite(norms), factors, 0.0)


def update(rule: str, k: int, params: dict, grads: dict, slots: dict, learning_rate, factors, limits) -> None:
    """Update number k = 1, 2, … of all replicas, in place: g is first scaled by `factors`, then clamped to ± `limits`.

    learning_rate, factors, limits (R,); an infinite limit clamps nothing, and a replica with factor 0 stays as it is.
    Parameters, gradients and slots lie in NumPy or on a GPU.
    """
    expect(k >= 1, "k", k, "1 for the first update")
    exact = np.array([RULES[rule].constants(rate, k) for rate in learning_rate])
    if is_on_device(next(iter(params.values()))):
        _on_gpu().update(RULES[rule].update, params, grads, slots, exact, factors, limits)
        return
    for name, p in params.items():
        constants = exact.astype(p.dtype)
        flat = p.reshape(len(p), -1), np.ascontiguousarray(grads[name]).reshape(len(p), -1), slots[name]
        expect(np.shares_memory(flat[0], p), f"params[{name!r}]", "strided", "a contiguous array")
        _updates(rule)(*flat, constants, factors.astype(p.dtype), limits.astype(p.dtype))


def _sum_squares(g, out):
    """out[r] += Σ g[r]², in float64 and LANES partial sums."""
    for r in prange(len(g)):
        row = g[r]
        sums = np.zeros(LANES)
        whole = row.size // LANES * LANES
        for i in range(0, whole, LANES):
            for lane in range(LANES):
                sums[lane] += np.float64(row[i + lane]) * np.float64(row[i + lane])
        for i in range(whole, row.size):
            sums[i - whole] += np.float64(row[i]) * np.float64(row[i])
        total = 0.0
        for lane in range(LANES):
            total += sums[lane]
        out[r] += total


def _update_all(p, g, slots, constants, factors, limits):
    """`rule` for all numbers of all replicas; p, g (R, n), slots (R, S, n)."""
    for r in prange(len(p)):
        if factors[r] == 0:
            continue
        row, gradient, kept, c, n = p[r], g[r], slots[r].reshape(-1), constants[r], p.shape[1]
        factor, limit = factors[r], limits[r]
        for i in range(n):
            own = min(max(gradient[i] * factor, -limit), limit)
            row[i] = rule(row[i], own, kept, n, i, c)  # noqa: F821 - bound in `_updates`


@cache
def _squares():
    start_threads()
    return cached(_sum_squares, parallel=True)


@cache
def _updates(rule: str):
    start_threads()
    return cached(_update_all, rule, parallel=True, rule=RULES[rule].update)
