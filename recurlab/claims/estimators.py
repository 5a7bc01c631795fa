"""The estimators that claims name: each a number with its 95 % interval.

The seed is the unit of replication (see `rows`): every estimator averages within a seed first, and nothing about the
interval can be chosen in a claim.
"""

from typing import NamedTuple

import numpy as np
import scipy

from recurlab.rows import CONFIDENCE, listed, quantile_interval, refuse_empty, select, t_half_width, wilson


class Estimate(NamedTuple):
    """An estimate, the ends of its 95 % interval (NaN: there is none) and the number of seeds it rests on."""

    estimate: float
    low: float
    high: float
    n: int


def mean(frame, claim: dict) -> Estimate:
    """Mean over seeds of the mean of `y` within each seed; t interval over seeds."""
    return _mean_of(_per_seed(frame, claim, lambda y, x: y.mean()))


def slope(frame, claim: dict) -> Estimate:
    """Mean over seeds of each seed's least-squares slope of `y` on `x`; t interval over seeds.

    With `minus: theory` the slope of y - theory: 0 where the theory has the right rate. With `by: cell` one slope for
    each cell of a seed, averaged within the seed.
    """
    return _mean_of(_per_seed(frame, claim, _least_squares_slope))


def difference(frame, claim: dict) -> Estimate:
    """Mean over seeds of (mean of `y` in group a) - (mean in group b), `between: {column: [a, b]}`; paired t interval.

    A pair is one seed with the same weights or data in both groups. Raises ValueError if a seed lacks one of them.
    """
    ((column, groups),) = claim["between"].items()
    sides = [_by_seed(select(frame, {column: group}), claim, lambda y, x: y.mean()) for group in groups]
    unpaired = sorted(int(seed) for seed in sides[0].keys() ^ sides[1].keys())
    if unpaired:
        raise ValueError(f"{column}: seeds {unpaired[:8]} are in one of the groups {groups} only; pairs need both")
    return _mean_of(np.array([sides[0][seed] - sides[1][seed] for seed in sides[0]]))


def proportion(frame, claim: dict) -> Estimate:
    """Share of seeds with `y` = 1, Wilson interval with n = number of seeds.

    Several 0/1 rows of one seed are averaged to that seed's share first; the interval is then wider than need be.
    Raises ValueError if `y` has another value than 0 and 1.
    """
    if not frame[claim["y"]].isin([0, 1]).all():
        raise ValueError(f"column '{claim['y']}' has values other than 0 and 1: a proportion needs 0/1")
    shares = _per_seed(frame, claim, lambda y, x: y.mean())
    low, high = wilson(shares.mean(), len(shares))
    return Estimate(float(shares.mean()), float(low), float(high), len(shares))


def maximum(frame, claim: dict) -> Estimate:
    """Largest |y| over all rows, an exact quantity: low = high = estimate, n = number of rows.

    For identities and deviations that hold for every row (a gradient check, a baseline), not for noisy outcomes.
    """
    largest = float(np.abs(_values(frame, claim)).max())
    return Estimate(largest, largest, largest, len(frame))


def z(frame, claim: dict) -> Estimate:
    """(mean - known) / standard error: how many standard errors the seeds' mean of `y` is off the `known` column.

    The score is itself random: over n seeds its standard deviation is about √(1 + z²/2(n-1)) (normal approximation to
    the noncentral t; Johnson & Welch 1940), and the interval is z ± 1.96 of these. So `expected: 0, margin: 4` is
    reproduced for |z| < 2.0, which exact agreement reaches in 95 % of runs, and not reproduced for |z| > 6.2 (n = 64).
    Few seeds also make a small z: `mean` with `minus` and a margin in the quantity's own units is the stronger claim.
    No interval if the seeds do not differ.
    """
    deviation = _per_seed(frame, {**claim, "minus": claim["known"]}, lambda y, x: y.mean())
    n = len(deviation)
    error = deviation.std(ddof=1) / np.sqrt(n) if n > 1 and np.isfinite(deviation).all() else np.nan
    if not error > 0:
        return Estimate(np.nan, np.nan, np.nan, n)
    score = deviation.mean() / error
    half = scipy.special.ndtri(0.5 + CONFIDENCE / 2) * np.sqrt(1 + score**2 / (2 * (n - 1)))
    return Estimate(float(score), float(score - half), float(score + half), n)


def median(frame, claim: dict) -> Estimate:
    """Median over seeds of the mean of `y` within each seed; interval from order statistics (6 seeds at least)."""
    return quantile(frame, {**claim, "q": 0.5})


def quantile(frame, claim: dict) -> Estimate:
    """The `q`-quantile over seeds of the mean of `y` within each seed; interval from order statistics of the seeds."""
    values = _per_seed(frame, claim, lambda y, x: y.mean())
    if not np.isfinite(values).all():
        return Estimate(np.nan, np.nan, np.nan, len(values))
    return Estimate(float(np.quantile(values, claim["q"])), *quantile_interval(values, claim["q"]), len(values))


def ks(frame, claim: dict) -> Estimate:
    """Mean over seeds of the Kolmogorov–Smirnov distance between `y` within a seed and U[0, 1]; t interval over seeds.

    Even exact uniforms are about 0.87/√m away (m values a seed), so the region is `at_most`.
    """
    return _mean_of(_per_seed(frame, claim, lambda y, x: uniform_distance(y)))


ESTIMATORS = {
    "mean": mean,
    "slope": slope,
    "difference": difference,
    "proportion": proportion,
    "maximum": maximum,
    "z": z,
    "median": median,
    "quantile": quantile,
    "ks": ks,
}


def uniform_distance(values) -> float:
    """max over u of |F(u) - u| between the empirical distribution F of `values` (m,) and U[0, 1]."""
    u = np.clip(np.sort(values), 0, 1)
    steps = np.arange(len(u) + 1) / len(u)
    return float(max((steps[1:] - u).max(), (u - steps[:-1]).max()))


def _values(frame, claim: dict) -> np.ndarray:
    """`y`, less the column `minus` if the claim has one: float64 (rows,)."""
    values = frame[claim["y"]].to_numpy(dtype=float)
    return values - frame[claim["minus"]].to_numpy(dtype=float) if "minus" in claim else values


def _by_seed(frame, claim: dict, statistic) -> dict:
    """seed -> statistic(y, x) of its rows; with `by`, taken in each group of the seed and averaged over them."""
    keys = ["seed", *listed(claim.get("by"))]
    refuse_empty(frame, keys)
    y = _values(frame, claim)
    x = frame[claim["x"]].to_numpy(dtype=float) if "x" in claim else y
    parts: dict = {}
    for key, rows in frame.groupby(keys).indices.items():
        parts.setdefault(key[0] if isinstance(key, tuple) else key, []).append(statistic(y[rows], x[rows]))
    return {seed: float(np.mean(values)) for seed, values in parts.items()}


def _per_seed(frame, claim: dict, statistic) -> np.ndarray:
    return np.array(list(_by_seed(frame, claim, statistic).values()))


def _mean_of(values: np.ndarray) -> Estimate:
    """Mean of one value a seed with its t interval; no interval from one seed, or if a value is not finite."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return Estimate(float(values.mean()), np.nan, np.nan, n)
    half = t_half_width(values.std(ddof=1), n)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), n)


def _least_squares_slope(y: np.ndarray, x: np.ndarray) -> float:
    """Σ (x-x̄)(y-ȳ) / Σ (x-x̄)²."""
    centred = x - x.mean()
    spread = centred @ centred
    if not spread > 0:
        raise ValueError("a slope needs two different values of x in every seed")
    return float(centred @ (y - y.mean()) / spread)
