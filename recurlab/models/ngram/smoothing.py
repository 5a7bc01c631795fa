"""Smoothings: how much of a context's mass goes to words that were not seen behind it.

c(h w) is how often w followed h, T(h) = Σ_w c(h w), N(h) the number of different w, p' the probability without the
first word of h, n_r the number of n-grams of a length that occur r times. Each takes counts and returns a model;
`cutoffs` and, where p' matters to unigrams, `uniform` are those of `estimate.estimated`.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from recurlab.layers.checks import expect
from recurlab.models.ngram.counting import Counts
from recurlab.models.ngram.estimate import ROOM, Level, Shares, estimated
from recurlab.models.ngram.interpolation import jelinek_mercer
from recurlab.models.ngram.model import Model

MOST_DISCOUNTED = 7  # Good-Turing takes larger counts as they are (Katz: 5; SRILM: 7 from bigrams on)


def maximum_likelihood(counts: Counts, cutoffs=None) -> Model:
    """p(w | h) = c(h w) / T(h); a word that never followed h is impossible."""
    return estimated(counts, lambda level: Shares(level.counts / level.of(level.totals), 0.0), cutoffs)


def add_k(counts: Counts, k: float = 1.0) -> Model:
    """p(w | h) = (c(h w) + k) / (T(h) + k V), k > 0: Laplace's rule for k = 1, Lidstone's for any; without cut-offs."""
    expect(k > 0, "k", k, "a number > 0")
    return estimated(counts, partial(_added, k * counts.size), direct=True)


def _added(added: float, level: Level) -> Shares:
    whole = level.totals + added
    return Shares(level.counts / level.of(whole), added / whole)


def witten_bell(counts: Counts, **options) -> Model:
    """p(w | h) = (c(h w) + N(h) p'(w)) / (T(h) + N(h)) (Witten & Bell 1991, method C; Chen & Goodman 1998, eq. 17)."""
    return estimated(counts, _witten_bell, **options)


def _witten_bell(level: Level) -> Shares:
    kinds = level.sums(level.counts > 0)
    return Shares(level.counts / level.of(level.totals + kinds), kinds / (level.totals + kinds))


def absolute_discounting(counts: Counts, discounts=None, **options) -> Model:
    """p(w | h) = max(c(h w) - D, 0) / T(h) + D N(h) / T(h) p'(w) (Ney, Essen & Kneser 1994).

    D = n_1 / (n_1 + 2 n_2) for each length, or `discounts`, one for each length or one for all.
    """
    return estimated(counts, partial(_discounted, _chosen(counts, discounts)), **options)


def kneser_ney(counts: Counts, discounts=None, **options) -> Model:
    """Absolute discounting with lower orders that count the different words before h w in place of occurrences.

    Kneser & Ney 1995, interpolated; one D for each length from the counts of that length. n-grams that begin with <s>
    keep their occurrences, since nothing stands before it (as in SRILM and KenLM).
    """
    return _kneser_ney(counts, _chosen(counts, discounts), options)


def modified_kneser_ney(counts: Counts, **options) -> Model:
    """Kneser-Ney with D_1, D_2, D_3+ for counts of 1, 2, and more (Chen & Goodman 1998, eq. 26: interpolated).

    Y = n_1 / (n_1 + 2 n_2), D_r = r - (r + 1) Y n_{r+1} / n_r. SRILM's -kndiscount -interpolate is this with cut-offs,
    by default `estimate.SRILM_CUTOFFS`; they are compared with the numbers of different words before.
    """
    return _kneser_ney(counts, _three_discounts, options)


def _kneser_ney(counts: Counts, discounts: Callable[[Level], np.ndarray], options: dict) -> Model:
    return estimated(counts, partial(_discounted, discounts), values=continuations(counts), **options)


def continuations(counts: Counts) -> np.ndarray:
    """Different words before each n-gram, (M,); occurrences for the longest ones and those that begin with <s>."""
    tree, values, begins = counts.trie, counts.counts.copy(), counts.trie.begins
    for k in range(1, tree.order):
        level = tree.level(k)
        before = np.bincount(tree.lower[tree.level(k + 1)] - level.start, minlength=level.stop - level.start)
        values[level] = np.where(begins[level], values[level], before)
    return values


def _chosen(counts: Counts, discounts) -> Callable[[Level], np.ndarray]:
    """The discount of each level: one given for all or for each, or that of the level's own counts."""
    if discounts is None:
        return _one_discount
    given = np.broadcast_to(discounts, (counts.trie.order,)).astype(float)
    expect(bool(((given >= 0) & (given <= 1)).all()), "discounts", discounts, "numbers 0 … 1")
    return lambda level: given[[level.k - 1]]


def _discounted(discounts: Callable[[Level], np.ndarray], level: Level) -> Shares:
    """What each n-gram loses, the D of its count, goes to the lower order."""
    by_count = np.concatenate([[0.0], discounts(level)])
    lost = by_count[np.minimum(level.counts, len(by_count) - 1)]
    return Shares((level.counts - lost) / level.of(level.totals), level.sums(lost) / level.totals)


def _one_discount(level: Level) -> np.ndarray:
    """D = n_1 / (n_1 + 2 n_2), (1,); 1/2 where no n-gram occurs once (as KenLM)."""
    _, n1, n2 = counts_of_counts(level, 2)
    return np.array([n1 / (n1 + 2 * n2) if n1 else 0.5])


def _three_discounts(level: Level) -> np.ndarray:
    """D_1, D_2, D_3+, (3,); 0.5, 1, 1.5 where the counts of counts do not give 0 ≤ D_r ≤ r (as KenLM)."""
    _, *n = counts_of_counts(level, 4)
    if min(n) > 0:
        ranks, ratio = np.arange(1, 4), np.array(n[1:]) / n[:-1]
        found = ranks - (ranks + 1) * ratio * n[0] / (n[0] + 2 * n[1])
        if (found >= 0).all():
            return found
    return np.array([0.5, 1.0, 1.5])


def counts_of_counts(level: Level, most: int) -> list[int]:
    """n_0, …, n_most: how many n-grams of the level occur that often."""
    return np.bincount(level.counts[level.counts <= most], minlength=most + 1).tolist()


def good_turing(counts: Counts, **options) -> Model:
    """Katz back-off: n-grams that occur r times count as d_r r, and what they lose goes to the words that h lacks.

    r* = (r + 1) n_{r+1} / n_r (Good 1953); d_r = (r*/r - A) / (1 - A) for r ≤ K, A = (K + 1) n_{K+1} / n_1 (Katz 1987);
    1 above K and where that is no number in (0, 1]. K = 7, less where n_{K+1} = 0. As in SRILM a context that would
    keep nothing for other words gets one more count in T(h). Unlike there, unigrams are discounted: SRILM's K = 1 gives
    them d_1 = 0, which it takes for 1, so that all words that were not seen share 1 / (T + 1).
    """
    return estimated(counts, partial(_good_turing, counts.size), **options)


def _good_turing(size: int, level: Level) -> Shares:
    factors = katz_factors(counts_of_counts(level, MOST_DISCOUNTED + 1))
    kept = level.counts * factors[np.minimum(level.counts, len(factors) - 1)]
    lost, kinds = level.sums(level.counts - kept), level.sums(level.counts > 0)
    more = (lost < ROOM * level.totals) & (kinds < size)
    whole = level.totals + more
    return Shares(kept / level.of(whole), 0.0, (lost + more) / whole)


def katz_factors(n: list[int]) -> np.ndarray:
    """d_0, …, d_{K+1} from n_0, …, n_{K+1}; the last one, 1, is that of all larger counts."""
    while len(n) > 2 and n[-1] == 0:
        n = n[:-1]
    factors, most = np.ones(len(n)), len(n) - 2
    common = (most + 1) * n[-1] / n[1] if n[1] else 1.0
    for r in range(1, most + 1):
        ratio = (r + 1) * n[r + 1] / (r * n[r]) if n[r] else 1.0
        if ratio <= 1 and common < 1 and ratio > common:
            factors[r] = (ratio - common) / (1 - common)
    return factors


SMOOTHINGS: dict[str, Callable[..., Model]] = {
    "maximum_likelihood": maximum_likelihood,
    "add_k": add_k,
    "good_turing": good_turing,
    "jelinek_mercer": jelinek_mercer,
    "witten_bell": witten_bell,
    "absolute_discounting": absolute_discounting,
    "kneser_ney": kneser_ney,
    "modified_kneser_ney": modified_kneser_ney,
}
