"""Medians with an interval that assumes nothing of the distribution."""

from math import comb
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Estimate(NamedTuple):
    """A median and its interval; None where there are too few values for it."""

    value: float | None
    low: float | None
    high: float | None


def coverage(count: int, rank: int) -> float:
    """P(rank-th smallest ≤ median ≤ rank-th largest) of `count` values: 1 - 2 P(Binomial(count, ½) < rank)."""
    return 1 - 2 * sum(comb(count, k) for k in range(rank)) / 2**count


def rank_of(count: int, level: float = LEVEL) -> int:
    """The largest rank whose order statistics cover the median with at least `level`; 0 if none does (count < 6)."""
    return max((rank for rank in range(1, count // 2 + 1) if coverage(count, rank) >= level), default=0)


def median(values) -> Estimate:
    """The median of values (n,) and its distribution-free interval of at least 95 %."""
    ordered = np.sort(np.asarray(values, float))
    if not len(ordered):
        return Estimate(None, None, None)
    rank = rank_of(len(ordered))
    ends = (float(ordered[rank - 1]), float(ordered[-rank])) if rank else (None, None)
    return Estimate(float(np.median(ordered)), *ends)
