"""Series whose memory is `length` steps long: what any guess from the last k inputs must leave is known exactly.

A sequence has four times as many steps. A guess without memory sees the current input alone, k = 1.
"""

from functools import partial

import numpy as np

from recurlab.models.sequence import Batch
from recurlab.tasks.task import Draws, Task

SPAN = 4  # steps of a sequence over `length`


def _steps(length: int) -> int:
    return SPAN * length


def _unit(draws: Draws, what: str, *shape: int) -> np.ndarray:
    """Uniform numbers of mean 0 and variance 1."""
    return np.sqrt(12) * (draws.uniforms(what, *shape) - 0.5)


# leaky sum: y_t = ρ y_{t-1} + √(1-ρ²) u_t, ρ = exp(-1/length)


def _leaky_sum(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    u, rho = _unit(draws, "inputs", _steps(length), batch), np.exp(-1 / length)
    y = np.sqrt(1 - rho**2) * u
    for t in range(1, y.shape[1]):
        y[:, t] += rho * y[:, t - 1]
    return Batch(u[..., None].astype(dtype), y[..., None].astype(dtype))


def _leaky_window(length: int, window: int) -> float:
    """The variance of what came before the window, ρ^2k - ρ^2(t+1), mean over t = k … T-1 and 0 before."""
    squared, steps = np.exp(-2 / length), _steps(length)
    return float(np.sum(squared**window - squared ** np.arange(window + 1, steps + 1)) / steps)


# sample and hold: y_t is the value at the last mark


def _sample_and_hold(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    u = _unit(draws, "values", _steps(length), batch)
    marked = draws.integers("marks", length, *u.shape[1:]) == 0
    marked[:, 0] = True
    last = np.maximum.accumulate(np.where(marked, np.arange(u.shape[1])[:, None], 0), axis=1)
    held = np.take_along_axis(u, last, axis=1)
    return Batch(np.stack([u, marked], axis=-1).astype(dtype), held[..., None].astype(dtype))


def _hold_window(length: int, window: int) -> float:
    """The share of steps without a mark in the window: (1 - 1/length)^k at t ≥ k; before that step 0 is in it."""
    steps = _steps(length)
    return max(0, steps - window) / steps * (1 - 1 / length) ** window


# autoregression of second order with period `length`: x_t = φ₁ x_{t-1} + φ₂ x_{t-2} + σ e_t, of variance 1


def _yule(length: int) -> tuple[float, float, float]:
    """φ₁ = 2ρ cos(2π/length), φ₂ = -ρ², ρ = exp(-1/length), and the correlation r₁ of neighbours (Yule–Walker)."""
    rho = np.exp(-1 / length)
    first, second = 2 * rho * np.cos(2 * np.pi / length), -(rho**2)
    return first, second, first / (1 - second)


def _innovation(length: int) -> float:
    """σ² = 1 - φ₁ r₁ - φ₂ r₂, r₂ = φ₁ r₁ + φ₂."""
    first, second, r = _yule(length)
    return 1 - first * r - second * (first * r + second)


def _autoregression(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    """The stationary series from its first step on; the target is the next value."""
    (first, second, r), sigma = _yule(length), np.sqrt(_innovation(length))
    x = draws.normals("noise", _steps(length) + 1, batch)
    x[:, 1] = r * x[:, 0] + np.sqrt(1 - r**2) * x[:, 1]
    for t in range(2, x.shape[1]):
        x[:, t] = first * x[:, t - 1] + second * x[:, t - 2] + sigma * x[:, t]
    x = x[..., None].astype(dtype)
    return Batch(np.ascontiguousarray(x[:, :-1]), np.ascontiguousarray(x[:, 1:]))


def _autoregression_window(length: int, window: int) -> float:
    """One value leaves 1 - r₁², two leave σ²; the first step has only one."""
    one = 1 - _yule(length)[2] ** 2
    return one if window == 1 else (one + (_steps(length) - 1) * _innovation(length)) / _steps(length)


def _task(name: str, window, **fields) -> Task:
    return Task(
        name=name,
        loss="squared_error",
        at="every",
        outputs=1,
        baseline=partial(window, window=1),
        optimum=lambda length: window(length, _steps(length)),
        steps=_steps,
        window=window,
        **fields,
    )


LEAKY_SUM = _task(
    "leaky_sum",
    _leaky_window,
    source="a linear unit with the time constant `length`",
    says="white inputs; target y = ρ y + √(1-ρ²) input, ρ = exp(-1/length); the current input alone leaves about ρ²",
    inputs=1,
    generate=_leaky_sum,
)
SAMPLE_AND_HOLD = _task(
    "sample_and_hold",
    _hold_window,
    source="the circuit of that name; a gate that opens at the marks solves it",
    says="inputs (value, mark), a mark once in `length` steps; target the value at the last mark; the current input "
    "alone leaves about 1 - 1/length",
    inputs=2,
    generate=_sample_and_hold,
    shortest=2,
)
AUTOREGRESSION = _task(
    "autoregression",
    _autoregression_window,
    source="Yule 1927 (his model of the sunspot numbers)",
    says="an autoregression of second order with period and decay time `length`; target the next value; the current "
    "one alone leaves 1 - r₁²",
    inputs=1,
    generate=_autoregression,
    shortest=3,
)
