"""From counts to a back-off table: what all smoothings share.

A smoothing says for each length k how the counts c(h w) become shares: α(h w), what an n-gram has of its own; γ(h), the
weight of the lower order, which is added to all words (interpolation); and δ(h), a mass for those words alone that h
lacks (back-off). Σ_w α + γ + δ = 1, and with p' the probability without the first word of h

    p(w | h) = α(h w) + γ(h) p'(w)              if the n-gram is kept,
             = back(h) p'(w)                     if not,    back(h) = γ(h) + (δ(h) + Σ_dropped α) / (1 - Σ_kept p').

The order below the unigrams is 1/V. A cut-off drops n-grams by their counts, as SRILM's -gt3min and so on do.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect
from recurlab.models.ngram.counting import Counts, Trie, pruned
from recurlab.models.ngram.model import Model

ROOM = 3e-6  # where the words that h lacks have less than this of p', δ goes to all words (SRILM's Prob_Epsilon)
SRILM_CUTOFFS = (1, 1, 2, 2, 2, 2, 2, 2)  # n-grams below are dropped unless told otherwise (ngram-count.cc, gtmin)


class Level(NamedTuple):
    """The n-grams of one length k as a smoothing sees them; contexts are those of length k - 1, by number 0 … C-1."""

    k: int
    counts: np.ndarray  # c(h w), as the smoothing counts, (n,)
    contexts: np.ndarray  # h of each, (n,)
    totals: np.ndarray  # T(h) = Σ_w c(h w), at least 1, (C,)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of the values (n,) of each context, (C,)."""
        return np.bincount(self.contexts, values, len(self.totals))

    def of(self, values: np.ndarray) -> np.ndarray:
        """The value of each n-gram's context: (C,) -> (n,)."""
        return values[self.contexts]


class Shares(NamedTuple):
    """How a smoothing divides the mass of each context."""

    own: np.ndarray  # α(h w), (n,)
    lower: np.ndarray | float  # γ(h), (C,)
    lacking: np.ndarray | float = 0.0  # δ(h), (C,)


def estimated(
    counts: Counts,
    shares: Callable[[Level], Shares],
    cutoffs: Sequence[int] | None = None,
    uniform: bool = True,
    values: np.ndarray | None = None,
    direct: bool = False,
) -> Model:
    """The model of a smoothing; `values` (M,) are the counts that it uses, if not those of the text.

    cutoffs: the least count that is kept, one for each length from 1 on; without uniform the unigrams are relative
    frequencies, and a word that was never seen is impossible. ValueError for cut-offs that are no counts.
    """
    tree, values = counts.trie, counts.counts if values is None else values
    cutoffs = _checked_cutoffs(cutoffs, tree.order)
    p, back, kept = np.full(len(tree.words), 1 / counts.size), np.ones(len(tree.words)), np.ones(len(tree.words), bool)
    contexts, totals = tree.parents, sums_behind(tree, values)
    for k in range(1, tree.order + 1):
        nodes, above = tree.level(k), tree.level(k - 1)
        level = Level(k, values[nodes], contexts[nodes] - above.start, np.maximum(totals[above], 1))
        kept[nodes] = level.counts >= cutoffs[k - 1]
        split = shares(level) if uniform or k > 1 else Shares(level.counts / level.of(level.totals), 0.0)
        lower = p[0] if direct else p[tree.lower[nodes]]
        p[nodes], back[above] = _filled(level, split, np.broadcast_to(lower, level.counts.shape), kept[nodes])
    if counts.end is not None:
        p[1], kept[1] = 0, True  # <s>
    if not kept.all():
        tree, nodes = pruned(tree, kept)
        p, back = p[nodes], back[nodes]
    with np.errstate(divide="ignore"):
        return Model(tree, np.log(p), np.log(back), counts.size, counts.end, direct)


def sums_behind(tree: Trie, values: np.ndarray) -> np.ndarray:
    """Σ over the children of every node, (M,)."""
    return np.bincount(tree.parents, values, len(tree.words))


def _checked_cutoffs(cutoffs: Sequence[int] | None, order: int) -> tuple[int, ...]:
    """One for each length; those left out are 1."""
    cutoffs = tuple(cutoffs or ())
    whole = all(isinstance(least, int | np.integer) and least >= 1 for least in cutoffs)
    expect(whole and len(cutoffs) <= order, "cutoffs", cutoffs, f"up to {order} whole numbers ≥ 1")
    return cutoffs + (1,) * (order - len(cutoffs))


def _filled(level: Level, split: Shares, lower: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p of the n-grams (n,) and back of the contexts (C,); a context that nothing follows passes all on."""
    weight = np.broadcast_to(np.asarray(split.lower, float), level.totals.shape)
    mass = split.lacking + level.sums(np.where(kept, 0, split.own))
    room = 1 - level.sums(np.where(kept, lower, 0))
    weight = weight + np.where(room < ROOM, mass, 0)
    back = weight + np.where(room < ROOM, 0, mass / np.maximum(room, ROOM))
    back[level.sums(level.counts) == 0] = 1
    return np.where(kept, split.own + level.of(weight) * lower, level.of(back) * lower), back
