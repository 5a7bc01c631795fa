"""A round of EM for mixtures in which every order hands on to the next lower one what it does not explain."""

from functools import cache

import numpy as np

from recurlab.kernels.target import cached


def _expect(times, shares, buckets, weights, floor, stay, come):
    """Into stay and come (K, buckets) the events that each weight explains and those that it sees; returns Σ ln p.

    p_k = λ s_k + (1 - λ) p_{k-1}, p_0 = floor; λ is that of the event's bucket, 0 where the bucket is -1.
    """
    total, p, own = 0.0, np.empty(shares.shape[1] + 1), np.empty(shares.shape[1])
    p[0] = floor
    for e in range(times.size):
        for k in range(own.size):
            own[k] = weights[k, buckets[e, k]] if buckets[e, k] >= 0 else 0.0
            p[k + 1] = own[k] * shares[e, k] + (1 - own[k]) * p[k]
        total += times[e] * np.log(p[own.size])
        arriving = times[e] / p[own.size]
        for k in range(own.size - 1, -1, -1):
            if buckets[e, k] >= 0:
                stay[k, buckets[e, k]] += arriving * own[k] * shares[e, k]
                come[k, buckets[e, k]] += arriving * p[k + 1]
            arriving *= 1 - own[k]
    return total


@cache
def _compiled(function):
    return cached(function)


def expect(times: np.ndarray, shares: np.ndarray, buckets: np.ndarray, weights: np.ndarray, floor: float):
    """Σ ln p, and for each weight (K, buckets) the events that it explains and those that it sees: see `_expect`."""
    stay, come = np.zeros_like(weights), np.zeros_like(weights)
    total = _compiled(_expect)(times, shares, buckets, weights, floor, stay, come)
    return total, stay, come


def warm() -> None:
    """Compile everything here, or load it: what `recurlab compile` calls."""
    expect(np.ones(1), np.ones((1, 1)), np.zeros((1, 1), np.int64), np.ones((1, 1)) / 2, 1.0)
