"""Tests of what is random: a sample mean against its exact value, by its own standard error."""

import numpy as np
from scipy import stats


def assert_mean(draws, expected, effect=None, sd=None, what="mean"):
    """|z| < 4 for each mean over the first axis, the draws of axis 0 being independent; s.e. ≤ effect / 10.

    `effect` is the distance to the value that a plausible mistake would give; `sd` the exact deviation of one draw, if
    known. Chance alone fails one test in 16,000.
    """
    draws = np.asarray(draws, np.float64)
    error = (draws.std(axis=0, ddof=1) if sd is None else sd) / np.sqrt(len(draws))
    z = (draws.mean(axis=0) - expected) / error
    report = f"{what}: {draws.mean(axis=0)} for {expected}, s.e. {error}, n = {len(draws)}, z = {z}"
    assert np.all(np.abs(z) < 4), report
    assert effect is None or np.all(error <= np.abs(effect) / 10), f"too few draws for an effect of {effect}; {report}"
    return z


def assert_not_mean(draws, expected):
    """The same test refuses: |z| ≥ 4."""
    draws = np.asarray(draws, np.float64)
    z = (draws.mean() - expected) / (draws.std(ddof=1) / np.sqrt(len(draws)))
    assert abs(z) >= 4, f"mean {draws.mean()} passes for {expected}, z = {z}"


def assert_distribution(draws, cdf):
    """Kolmogorov–Smirnov at 6e-5, the two-sided level of |z| < 4: a distance of 2.3 / √n between the CDFs shows."""
    draws = np.ravel(draws)
    found = stats.kstest(draws, cdf)
    assert found.pvalue > 6e-5, f"KS distance {found.statistic} at n = {draws.size}, p = {found.pvalue}"
