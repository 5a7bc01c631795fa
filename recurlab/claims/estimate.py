"""What every estimator shares: one value a seed, its t interval, and the direction of a p value."""

from typing import NamedTuple

import numpy as np
import scipy

from recurlab.rows import listed, refuse_empty, t_half_width


class Estimate(NamedTuple):
    """An estimate, the ends of its 95 % interval (NaN: there is none), the number of seeds it rests on, and p.

    p: the probability, if there were no effect (two groups that do not differ, a score of 0), of seeds that speak at
    least as much for one; NaN where an estimator has no such hypothesis. It decides no verdict: the interval does.
    """

    estimate: float
    low: float
    high: float
    n: int
    p: float = np.nan


def alternative(claim: dict) -> str:
    """The side on which p counts, from the region written beforehand: 'greater', 'less' or 'two-sided'."""
    return "greater" if "at_least" in claim else "less" if "at_most" in claim else "two-sided"


def values_of(frame, claim: dict) -> np.ndarray:
    """`y`, less the column `minus` if the claim has one: float64 (rows,)."""
    values = frame[claim["y"]].to_numpy(dtype=float)
    return values - frame[claim["minus"]].to_numpy(dtype=float) if "minus" in claim else values


def by_seed(frame, claim: dict, statistic) -> dict:
    """seed -> statistic(y, x) of its rows; with `by`, taken in each group of the seed and averaged over them."""
    keys = ["seed", *listed(claim.get("by"))]
    refuse_empty(frame, keys)
    y = values_of(frame, claim)
    x = frame[claim["x"]].to_numpy(dtype=float) if "x" in claim else y
    parts: dict = {}
    for key, rows in frame.groupby(keys).indices.items():
        parts.setdefault(key[0] if isinstance(key, tuple) else key, []).append(statistic(y[rows], x[rows]))
    return {seed: float(np.mean(values)) for seed, values in parts.items()}


def per_seed(frame, claim: dict, statistic) -> np.ndarray:
    """The values of `by_seed`, (seeds,)."""
    return np.array(list(by_seed(frame, claim, statistic).values()))


def mean_of(values: np.ndarray) -> Estimate:
    """Mean of one value a seed with its t interval; no interval from one seed, or if a value is not finite."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return Estimate(float(values.mean()), np.nan, np.nan, n)
    half = t_half_width(values.std(ddof=1), n)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), n)


def t_probability(score: float, freedom: int, side: str) -> float:
    """p of a t statistic on one side or both, the incomplete beta integral of Student's distribution."""
    below, above = scipy.special.stdtr(freedom, score), scipy.special.stdtr(freedom, -score)
    return float({"greater": above, "less": below, "two-sided": 2 * min(below, above)}[side])


def p_of_mean(values: np.ndarray, side: str) -> float:
    """p of the t test that one value a seed has mean 0; NaN where the seeds do not differ or are not finite."""
    n = len(values)
    error = values.std(ddof=1) / np.sqrt(n) if n > 1 and np.isfinite(values).all() else np.nan
    return t_probability(values.mean() / error, n - 1, side) if error > 0 else np.nan
