"""Closed forms that a measured number is held against; W is N × N with W_ij ~ N(0, g²/N) unless a line differs."""

from collections.abc import Callable
from math import comb
from typing import NamedTuple

import numpy as np
import scipy  # its modules are loaded where they are first used: integrate and optimize take 0.2 s
from scipy.special import expit, gammainc, gammaln, logit, polygamma, psi, xlogy

from recurlab.layers.checks import expect, expect_choice, expect_size
from recurlab.weights import ENTRY_GAIN

# One random matrix


def ginibre_radius_cdf(r, size: int) -> np.ndarray:
    """P(ρ ≤ r) = Π_{k=1}^N P(k, N r²), complex entries with E|Z_ij|² = 1/N, P the regularised gamma (Kostlan 1992)."""
    shape = np.arange(1, expect_size("size", size) + 1)
    return np.prod(gammainc(shape, size * np.square(np.asarray(r, np.float64))[..., None]), axis=-1)


def ginibre_radius(size: int, gain: float = 1.0) -> tuple[float, float]:
    """Mean and standard deviation of the radius of complex Ginibre, E ρ = g ∫ (1 - P(ρ ≤ r)) dr (Kostlan 1992)."""
    low, high = max(0.0, 1 - 7 / np.sqrt(size)), 1 + 7 / np.sqrt(size)  # outside, the CDF is 0 or 1 to below 1e-15
    nodes, weights = np.polynomial.legendre.leggauss(400)
    r, weights = low + (high - low) * (nodes + 1) / 2, weights * (high - low) / 2
    tail = weights * (1 - ginibre_radius_cdf(r, size))
    above = tail.sum()
    return float(gain * (low + above)), float(gain * np.sqrt(2 * np.sum((r - low) * tail) - above**2))


def expected_real_eigenvalues(size: int) -> float:
    """√2 Σ (2m-1)!!/(2m)!! over m = N-2, N-4, … ≥ 0, and 1 more if N is odd (Edelman, Kostlan & Shub 1994)."""
    m = np.arange(expect_size("size", size) % 2, size - 1, 2)
    return float(size % 2 + np.sqrt(2 / np.pi) * np.sum(np.exp(gammaln(m + 0.5) - gammaln(m + 1))))


# Products of independent random matrices


def gaussian_product_exponents(size: int, gain: float = 1.0) -> np.ndarray:
    """λ_i = ln g + ½ [ln(2/N) + ψ((N-i+1)/2)], i = 1 … N: every Lyapunov exponent of W_T ⋯ W_1 (Newman 1986)."""
    i = np.arange(1, expect_size("size", size) + 1)
    return np.log(gain) + 0.5 * (np.log(2 / size) + psi((size - i + 1) / 2))


def log_gradient_moments(size: int, gain: float = 1.0) -> tuple[float, float]:
    """Mean ln g + ½ [ψ(N/2) + ln(2/N)] and variance ψ'(N/2)/4 of ln ‖W v‖, ‖v‖ = 1, as N ‖W v‖²/g² ~ χ²_N.

    Both add up over the steps of a gradient through independent matrices.
    """
    return float(gaussian_product_exponents(size, gain)[0]), float(polygamma(1, size / 2)) / 4


def fuss_catalan_moment(length: int, order: int) -> int:
    """m_k = C((T+1)k, k) / (Tk + 1): moments of the squared singular values of W_T ⋯ W_1, and of W^T, as N → ∞.

    g = 1, T = `length`, k = `order`; Alexeev, Götze & Tikhomirov 2010.
    """
    return comb((length + 1) * order, order) // (length * order + 1)


def product_top_singular_value(length: int) -> float:
    """√((T+1)^(T+1) / T^T): the norm of W_T ⋯ W_1, and of W^T, as N → ∞ at fixed T, the edge of Fuss–Catalan."""
    return float(np.exp(0.5 * (xlogy(length + 1, length + 1) - xlogy(length, length))))


def gaussian_product_moments(size: int, length: int) -> tuple[float, float]:
    """m_k = E tr Mᵏ / N, k = 1, 2, for M = P Pᵀ and P = W_T ⋯ W_1 of real Gaussian matrices, exact at finite N.

    With p = E tr M² / N and q = E (tr M)² / N², Wick's theorem for M' = W M Wᵀ gives p' = q + (1 + 1/N) p and
    q' = q + (2/N²) p from p = q = 1; N → ∞ leaves the Fuss–Catalan m₂ = T + 1.
    """
    p = q = 1.0
    for _ in range(length):
        p, q = q + (1 + 1 / size) * p, q + 2 / size**2 * p
    return 1.0, p


# Mean field


class MeanField(NamedTuple):
    """The fixed point of e_t = W φ(e_{t-1}) + noise as N → ∞: variance of e, gradient factor χ, λ_1 = ½ ln χ."""

    q: float
    chi: float
    exponent: float


class Activation(NamedTuple):
    """E φ(√q z)² and E φ'(√q z)² as functions of q, z ~ N(0, 1)."""

    square: Callable[[float], float]
    slope: Callable[[float], float]


def gaussian_mean(function: Callable[[np.ndarray], np.ndarray], q: float) -> float:
    """E f(√q z), z ~ N(0, 1), for f bounded and analytic to |Im x| < π/2: trapezoids, error below 1e-20 max|f|."""
    half = int(np.ceil(100 * max(1.0, np.sqrt(q))))  # z in [-10, 10], at most 0.1 between points of z and of x = √q z
    z = np.arange(-half, half + 1) * (10 / half)
    weights = np.exp(-(z**2) / 2)
    return float(np.sum(weights * function(np.sqrt(q) * z)) / np.sum(weights))


ACTIVATIONS = {
    "tanh": Activation(
        lambda q: gaussian_mean(lambda x: np.tanh(x) ** 2, q),
        lambda q: gaussian_mean(lambda x: (1 - np.tanh(x) ** 2) ** 2, q),
    ),
    "sigmoid": Activation(
        lambda q: gaussian_mean(lambda x: expit(x) ** 2, q),
        lambda q: gaussian_mean(lambda x: (expit(x) * expit(-x)) ** 2, q),
    ),
    "relu": Activation(lambda q: q / 2, lambda q: 0.5),
    "linear": Activation(lambda q: q, lambda q: 1.0),
}


def mean_field(activation: str, gain: float, drive: float) -> MeanField:
    """q = g² E φ(√q z)² + c, χ = g² E φ'(√q z)², λ_1 = ½ ln χ (Chen, Pennington & Schoenholz 2018); c = drive.

    The stable fixed point. Autonomous tanh (c = 0) has q = 0 for g ≤ 1. For relu with g ≥ √2 and linear with g ≥ 1 the
    variance grows without bound and q = inf; χ = g²/2 and g² hold all the same.

    Raises ValueError for an unknown activation or a negative gain or drive.
    """
    phi = ACTIVATIONS[expect_choice("activation", activation, ACTIVATIONS)]
    expect(gain >= 0 and drive >= 0, "gain, drive", f"{gain}, {drive}", "values ≥ 0")
    if activation in ("relu", "linear"):
        left = 1 - gain**2 * phi.slope(1.0)
        q = drive / left if left > 0 else np.inf
    else:
        q = _variance(phi, activation, gain, drive)
    chi = gain**2 * phi.slope(q)
    return MeanField(float(q), float(chi), float(0.5 * np.log(chi)) if chi > 0 else -np.inf)


def _variance(phi: Activation, activation: str, gain: float, drive: float) -> float:
    """The largest root of g² E φ(√q z)² + c = q; the left side is concave in q and at most g² + c: it is bracketed."""
    if activation == "tanh" and drive == 0:
        if gain <= 1:
            return 0.0
        low = (1 - 1 / gain**2) / 2  # tanh² x ≥ x² - ⅔ x⁴ gives E tanh² ≥ q - 2q²: the left side is above q here
    else:
        low = drive + gain**2 * phi.square(0.0)
    high = gain**2 + drive
    if low >= high:  # gain 0
        return low
    return scipy.optimize.brentq(lambda q: gain**2 * phi.square(q) + drive - q, low, high, xtol=1e-15, rtol=1e-15)


def network_exponent(cell: str, init_name: str, gain: float, drive: float) -> float:
    """½ ln χ of a plain network (rnn_…) with random weights of this initialiser; NaN where the mean field is silent."""
    known = is_plain(cell) and init_name in ENTRY_GAIN
    return mean_field(cell.removeprefix("rnn_"), gain * ENTRY_GAIN[init_name], drive).exponent if known else np.nan


def is_plain(cell: str) -> bool:
    """Whether a cell is h' = φ(a) with nothing between: the networks that the closed forms speak of."""
    return cell in {f"rnn_{phi}" for phi in ACTIVATIONS}


def critical_gain(drive: float) -> float:
    """The gain with χ = 1 for tanh: g = 1/√E φ'², where q - E φ²/E φ'² = c, both at √q z (Chen et al. 2018)."""
    phi = ACTIVATIONS["tanh"]
    expect(drive >= 0, "drive", drive, "a value ≥ 0")
    if drive == 0:
        return 1.0

    def missing(q):
        return q - phi.square(q) / phi.slope(q) - drive

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return float(phi.slope(scipy.optimize.brentq(missing, drive, high, xtol=1e-15, rtol=1e-15)) ** -0.5)


# One unit


def latch_threshold(w: float) -> float:
    """b* = w √(1-1/w) - atanh √(1-1/w): a_t = w tanh(a_{t-1}) + u keeps its sign for |u| < b* (Bengio et al. 1994)."""
    expect(w >= 1, "w", w, "a value ≥ 1: below, there is one fixed point and nothing latches")
    fold = np.sqrt(1 - 1 / w)
    return float(w * fold - np.arctanh(fold))


def latch_gradient(w: float) -> float:
    """w (1 - tanh² a*), a* = w tanh a* > 0: da_t/da_{t-1} of a latched unit without input (Bengio et al. 1994)."""
    expect(w >= 1, "w", w, "a value ≥ 1: below, there is one fixed point and nothing latches")
    if w == 1:
        return 1.0
    fold = np.arctanh(np.sqrt(1 - 1 / w))  # the maximum of w tanh a - a, hence below the root
    root = scipy.optimize.brentq(lambda a: w * np.tanh(a) - a, fold, w, xtol=1e-15, rtol=1e-15)
    return float(4 * w * np.exp(-2 * root) / (1 + np.exp(-2 * root)) ** 2)


def sigmoid_saddle_nodes(w: float) -> tuple[float, float]:
    """b = x - w σ(x), w σ'(x) = 1: x_t = w σ(x_{t-1}) + b has two attractors for b1 < b < b2 (Pascanu 2013, fig. 3)."""
    expect(w >= 4, "w", w, "a value ≥ 4: below, w σ' < 1 everywhere")
    high = (1 + np.sqrt(1 - 4 / w)) / 2
    return float(logit(high) - w * high), float(logit(1 - high) - w * (1 - high))


# Gates


def forget_decay(bias, lag) -> np.ndarray:
    """log10 σ(b)^lag: the cell gradient of an LSTM with zero weights and forget bias b, `lag` steps back."""
    return -np.asarray(lag) * np.logaddexp(0, -np.asarray(bias, np.float64)) / np.log(10)


def half_life(bias) -> np.ndarray:
    """ln 2 / -ln σ(b): the steps after which the cell gradient of `forget_decay` has halved."""
    return np.log(2) / np.logaddexp(0, -np.asarray(bias, np.float64))


def chrono_retention(t_max: float, lag: float) -> float:
    """E σ(b)^t = (1/(T_max-2)) ∫_1^{T_max-1} (u/(1+u))^t du for chrono biases b = ln u (Tallec & Ollivier 2018)."""
    expect(t_max > 2, "t_max", t_max, "a value > 2")
    total, _ = scipy.integrate.quad(lambda u: (u / (1 + u)) ** lag, 1, t_max - 1, epsabs=0, epsrel=1e-12, limit=200)
    return total / (t_max - 2)
