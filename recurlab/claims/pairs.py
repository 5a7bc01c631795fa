"""Estimators that compare two groups, `between: {column: [a, b]}`.

A pair is one seed: the same draws for data, batches and initial weights in both groups, as far as these use them. So
all comparisons are paired over seeds; only shares of success have a form for groups of different seeds, too.
"""

import numpy as np
import scipy

from recurlab.claims.estimate import Estimate, alternative, by_seed, mean_of, p_of_mean
from recurlab.rows import CONFIDENCE, quantile_interval, select, wilson


def difference(frame, claim: dict) -> Estimate:
    """Mean over seeds of (mean of `y` in group a) - (mean in group b), `between: {column: [a, b]}`; paired t interval.

    p: paired t test. Raises ValueError if a seed lacks one of the groups.
    """
    a, b = _pairs(frame, claim)
    return mean_of(a - b)._replace(p=p_of_mean(a - b, alternative(claim)))


def median_difference(frame, claim: dict) -> Estimate:
    """Median over seeds of (mean of `y` in group a) - (mean in group b); interval from order statistics.

    It asks no shape of the differences. 6 seeds at least. A time that was cut off at the budget stands for a longer
    one, which changes the median only if the pair in the middle has one. p: exact sign test of the untied pairs.
    """
    a, b = _pairs(frame, claim)
    if not np.isfinite(a - b).all():
        return Estimate(np.nan, np.nan, np.nan, len(a))
    above, untied = int((a > b).sum()), int((a != b).sum())
    p = _sign_probability(above, untied, alternative(claim))
    return Estimate(float(np.median(a - b)), *quantile_interval(a - b, 0.5), len(a), p)


def ratio(frame, claim: dict) -> Estimate:
    """Ratio a / b of geometric means over seeds; the paired t interval of log a - log b, to the power e.

    For times to solve. A run that never solves is censored: its time is the budget, which is too short, so failures
    in a make the ratio too small and failures in b too large (say in the claim where there are some). No interval if
    no pair differs from another: then nearly all runs ended at the budget. p: paired t test of the logarithms.
    Raises ValueError unless every seed's `y` is above 0.
    """
    a, b = _pairs(frame, claim)
    if min(a.min(), b.min()) <= 0:
        raise ValueError(f"column '{claim['y']}' has values that are not above 0: a ratio needs such")
    logs = np.log(a) - np.log(b)
    found = mean_of(logs)
    ends = np.exp([found.low, found.high]) if np.ptp(logs) > 0 else (np.nan, np.nan)
    return Estimate(float(np.exp(found.estimate)), *map(float, ends), len(a), p_of_mean(logs, alternative(claim)))


def sign_test(frame, claim: dict) -> Estimate:
    """Share of seeds in which `y` is larger in group a than in group b; exact (Clopper–Pearson) interval.

    Ties say nothing and are left out, so n counts the untied pairs. The interval belongs to the exact sign test, whose
    p it is: it lies above 1/2 just where the one-sided p is below 0.025 (6 seeds at least).
    """
    a, b = _pairs(frame, claim)
    above, untied = int((a > b).sum()), int((a != b).sum())
    if untied < 2 or not np.isfinite(a - b).all():
        return Estimate(above / untied if untied else np.nan, np.nan, np.nan, untied)
    interval = scipy.stats.binomtest(above, untied).proportion_ci(CONFIDENCE, method="exact")
    p = _sign_probability(above, untied, alternative(claim))
    return Estimate(above / untied, float(interval.low), float(interval.high), untied, p)


def success_difference(frame, claim: dict) -> Estimate:
    """Share of seeds with `y` = 1 in group a less that in group b; Newcombe's score interval, exact p.

    Groups of the same seeds are pairs: the hybrid score interval with the correlation φ of the pairs (Newcombe 1998,
    Statist. Med. 17, 2635, method 10) and McNemar's exact test of the discordant pairs. Groups of different seeds:
    the hybrid score interval without φ (ibid., 873, method 10) and Fisher's exact test. Pairs are taken where they
    are, because seeds share data and so tend to be solved together: at φ = 0.6 and n = 16 the unpaired interval covers
    0.987 and is wider for it, the paired one 0.971 (means over 21 pairs of shares); with φ = 0 both are one interval.
    Exact coverage of the paired one is 0.96 on average from n = 4 on, at worst 0.89 (n = 8, shares of 0.95 or 0.05).

    Raises ValueError for outcomes other than one 0 or 1 for each seed and group, or seeds of which some are pairs.
    """
    a, b = (_outcomes(side, claim) for side in _sides(frame, claim))
    paired = a.keys() == b.keys()
    if not paired and a.keys() & b.keys():
        raise ValueError(f"{_column(claim)}: some seeds are in both groups, some in one only; pairs need both")
    estimate = np.mean(list(a.values())) - np.mean(list(b.values()))
    n = len(a.keys() | b.keys())
    if min(len(a), len(b)) < 2:
        return Estimate(float(estimate), np.nan, np.nan, n)
    found = _paired_success if paired else _unpaired_success
    low, high, p = found(a, b, alternative(claim))
    return Estimate(float(estimate), float(low), float(high), n, p)


def newcombe(share_a, n_a, share_b, n_b, correlation=0.0):
    """(low, high) of a difference of two shares, from the Wilson interval of each and the correlation of pairs.

    Newcombe 1998, method 10 of both papers: with l = p - low and u = high - p of each share, low = p_a - p_b -
    √(l_a² - 2 φ l_a u_b + u_b²) and high = p_a - p_b + √(u_a² - 2 φ u_a l_b + l_b²). Broadcasts.
    """
    (low_a, high_a), (low_b, high_b) = wilson(share_a, n_a), wilson(share_b, n_b)
    reach = [
        np.sqrt(own**2 - 2 * correlation * own * other + other**2)
        for own, other in ((share_a - low_a, high_b - share_b), (high_a - share_a, share_b - low_b))
    ]
    return share_a - share_b - reach[0], share_a - share_b + reach[1]


def pair_correlation(both, only_a, only_b, neither):
    """φ of a 2×2 table of pairs, a positive covariance lessened by n/2 (Newcombe 1998); 0 for an empty margin."""
    n = both + only_a + only_b + neither
    covariance = both * neither - only_a * only_b
    covariance = np.where(covariance > 0, np.maximum(covariance - n / 2, 0), covariance)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    return np.where(margins > 0, covariance / np.sqrt(np.where(margins > 0, margins, 1)), 0.0)


def _paired_success(a: dict, b: dict, side: str):
    """Interval and McNemar's p: of the discordant pairs, how many speak for a."""
    n = len(a)
    in_a, in_b = (np.array([outcome[seed] for seed in a]) for outcome in (a, b))
    both, only_a, only_b = (in_a * in_b).sum(), (in_a * (1 - in_b)).sum(), (in_b * (1 - in_a)).sum()
    correlation = pair_correlation(both, only_a, only_b, n - both - only_a - only_b)
    interval = newcombe(in_a.mean(), n, in_b.mean(), n, correlation)
    return *interval, _sign_probability(int(only_a), int(only_a + only_b), side)


def _unpaired_success(a: dict, b: dict, side: str):
    """Interval and Fisher's p, given how many succeed in all."""
    solved_a, solved_b = int(sum(a.values())), int(sum(b.values()))
    table = [[solved_a, len(a) - solved_a], [solved_b, len(b) - solved_b]]
    interval = newcombe(solved_a / len(a), len(a), solved_b / len(b), len(b))
    return *interval, float(scipy.stats.fisher_exact(table, side).pvalue)


def _sign_probability(above: int, untied: int, side: str) -> float:
    """p of `above` or more extreme of `untied` pairs when both signs are equally likely; 1 if all are tied."""
    return float(scipy.stats.binomtest(above, untied, 0.5, side).pvalue) if untied else 1.0


def _outcomes(frame, claim: dict) -> dict:
    """seed -> 0 or 1."""
    found = by_seed(frame, claim, lambda y, x: y.mean())
    if not set(found.values()) <= {0.0, 1.0}:
        raise ValueError(f"column '{claim['y']}' is not one 0 or 1 for each seed: narrow `where`")
    return found


def _column(claim: dict) -> str:
    return next(iter(claim["between"]))


def _sides(frame, claim: dict) -> list:
    """The rows of group a and of group b."""
    ((column, groups),) = claim["between"].items()
    return [select(frame, {column: group}) for group in groups]


def _pairs(frame, claim: dict) -> tuple[np.ndarray, np.ndarray]:
    """The mean of `y` of every seed in group a and in group b, each (seeds,)."""
    a, b = (by_seed(side, claim, lambda y, x: y.mean()) for side in _sides(frame, claim))
    unpaired = sorted(int(seed) for seed in a.keys() ^ b.keys())
    if unpaired:
        groups = claim["between"][_column(claim)]
        raise ValueError(
            f"{_column(claim)}: seeds {unpaired[:8]} are in one of the groups {groups} only; pairs need both"
        )
    return np.array(list(a.values())), np.array([b[seed] for seed in a])
