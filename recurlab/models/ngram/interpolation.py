"""Jelinek-Mercer: relative frequencies of all orders mixed, with weights that make other text most probable.

p(w | h) = λ c(h w) / T(h) + (1 - λ) p'(w), one λ for each length and each power of two of T(h): a context that was seen
more often is trusted more (Jelinek & Mercer 1980; Chen & Goodman 1998, sec. 2.3). EM finds the λ on held-out text, or
on the counted text with the occurrence in question taken out of the counts (deleted interpolation, leaving one out).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recurlab.kernels import mixture
from recurlab.layers.checks import expect
from recurlab.models.ngram.counting import BEGIN, Counts, Trie, count, find
from recurlab.models.ngram.estimate import Level, Shares, estimated, sums_behind
from recurlab.models.ngram.model import Model

BUCKETS = 32  # T(h) of 1, of 2 and 3, of 4 … 7, …
ROUNDS, GAIN = 200, 1e-5  # EM ends when a round gains less, in nats a token


class Events(NamedTuple):
    """What is to be predicted: E different n-grams, and what each order says of their last word."""

    times: np.ndarray  # how often each occurs, (E,)
    shares: np.ndarray  # c / T of its last k words, (E, order)
    buckets: np.ndarray  # that of T, (E, order); -1 where the context was not seen


def jelinek_mercer(counts: Counts, weights: Sequence[float] | None = None, held_out=None, cutoffs=None) -> Model:
    """The mixture with one given weight for each length from 1 on, or with the weights that EM finds on word ids (N,).

    Without weights and held-out text they come from the counted text itself, leaving one out.
    """
    if weights is None:
        table = expectation_maximisation(_events(counts, held_out), 1 / counts.size)
    else:
        given, order = np.asarray(weights, float), counts.trie.order
        fits = given.shape == (order,) and bool(((given >= 0) & (given <= 1)).all())
        expect(fits, "weights", weights, f"{order} numbers 0 … 1, one for each length")
        table = np.repeat(given[:, None], BUCKETS, axis=1)
    return estimated(counts, lambda level: _mixed(table[level.k - 1], level), cutoffs)


def _mixed(weights: np.ndarray, level: Level) -> Shares:
    """λ and 1 - λ of each context."""
    own = weights[_bucket(level.totals)]
    return Shares(level.of(own / level.totals) * level.counts, 1 - own)


def _bucket(totals: np.ndarray) -> np.ndarray:
    """⌊log₂ T⌋."""
    return np.frexp(totals)[1] - 1


def expectation_maximisation(events: Events, floor: float) -> np.ndarray:
    """The λ (order, BUCKETS) under which the events are most probable; `floor` is the probability below the unigrams.

    Every bucket has one event more, half explained: so 0 < λ < 1, and λ = 1/2 where there is no other. EM then raises
    ln p of the events + Σ ln(λ (1 - λ)) / 2 in every round.
    """
    weights, before = np.full((events.shares.shape[1], BUCKETS), 0.5), -np.inf
    for _ in range(ROUNDS):
        now, stay, come = mixture.expect(*events, weights, floor)
        now += np.log(weights * (1 - weights)).sum() / 2
        if not now > before + GAIN * events.times.sum():
            break
        weights, before = (stay + 0.5) / (come + 1), now
    return weights


def _events(counts: Counts, held_out) -> Events:
    """The n-grams to predict: those of held-out text, or those of the text itself, each less one."""
    taken, other = 1, counts
    if held_out is not None:
        protocol = "carry" if counts.end is None else "reset"
        taken, other = 0, count(held_out, counts.size, counts.trie.order, protocol, counts.end)
    own = np.append(find(counts.trie, other.trie), -1)  # node -1, none, is found at the end

    def less(values: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.where(own[at] < 0, 0, values[own[at]] - taken)

    nodes = _suffixes(other.trie)
    contexts = np.append(other.trie.parents, -1)[nodes]
    occurrences, totals = less(counts.counts, nodes), less(sums_behind(counts.trie, counts.counts), contexts)
    seen = np.maximum(totals, 1)
    buckets = np.where(totals > 0, _bucket(seen), -1)
    return Events(other.counts[nodes.max(axis=1)].astype(float), occurrences / seen, buckets)


def _suffixes(tree: Trie) -> np.ndarray:
    """The last 1 … order words of each n-gram that is predicted from its full context, as nodes, (E, order); -1: none.

    Full is a context of order - 1 words or one that begins with <s>.
    """
    full = tree.begins
    full[tree.level(tree.order)] = True
    full[:2] &= tree.words[:2] != BEGIN
    node = np.flatnonzero(full)
    suffixes = np.full((len(node), tree.order), -1)
    for k in range(tree.order, 0, -1):
        there = node >= tree.starts[k]
        suffixes[:, k - 1] = np.where(there, node, -1)
        node = np.where(there, tree.lower[node], node)
    return suffixes
