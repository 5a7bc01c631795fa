"""Exact expectations of a grammar: visits, entropy, and the best loss from a window, as sums over its automaton.

What a predictor knows of the state is a belief, a distribution over states (S,). A word moves a belief as its category
does, because the word within its category tells nothing more; so all sums run over categories.
"""

from typing import NamedTuple

import numpy as np

DECIMALS = 12  # beliefs that agree to so many are one


def visits(grammar) -> np.ndarray:
    """Expected number of words drawn from each state in a sentence, (S,); they sum to the expected length."""
    step = np.einsum("scu->su", transitions(grammar))
    step[:, 0] = 0  # only the end of a sentence leads to its start
    first = np.eye(len(step))[0]
    return np.linalg.solve((np.eye(len(step)) - step).T, first)


def stationary(grammar) -> np.ndarray:
    """P(state) before a token far inside a stream, (S,)."""
    v = visits(grammar)
    return v / v.sum()


def transitions(grammar) -> np.ndarray:
    """P(category c, then state u | state s), (S, C, S)."""
    return grammar.chances[:, :, None] * np.eye(len(grammar.chances))[grammar.following]


def entropy_rate(grammar) -> float:
    """Σ P(state) H(word | state), nats a token: the words so far tell the state."""
    return float(_losses(grammar, np.eye(len(grammar.chances))) @ stationary(grammar))


def word_frequencies(grammar) -> np.ndarray:
    """P(word) far inside a stream, (V,)."""
    return stationary(grammar) @ grammar.probabilities


def pair_frequencies(grammar, distance: int) -> np.ndarray:
    """P(word a, and word b `distance` tokens later) far inside a stream, (V, V)."""
    moves = transitions(grammar)
    after = np.einsum("s,scu->cu", stationary(grammar), moves)
    between = np.linalg.matrix_power(np.einsum("scu->su", moves), distance - 1)
    pairs = after @ between @ grammar.chances  # of categories
    return (pairs[grammar.category][:, grammar.category] * grammar.shares) * grammar.shares[:, None]


class Level(NamedTuple):
    """All M beliefs that so many words can leave."""

    chances: np.ndarray  # (M,), P(belief)
    beliefs: np.ndarray  # (M, S)
    then: np.ndarray  # (M, C), the number of the belief after one more word among those of the next level, or -1


def levels(grammar, window: int) -> list[Level]:
    """The beliefs that 0, 1, … window words leave of the stationary stream.

    Equal beliefs are one, so there are few: what lies before the end of a sentence tells nothing, and where the subject
    is not among the words, hardly more than their kinds does.
    """
    moves, chances, beliefs = transitions(grammar), np.ones(1), stationary(grammar)[None]
    found = []
    for _ in range(window + 1):
        joint = np.einsum("m,ms,scu->mcu", chances, beliefs, moves)
        mass = joint.sum(axis=2)
        after = joint[mass > 0] / mass[mass > 0][:, None]
        _, first, number = np.unique(after.round(DECIMALS), axis=0, return_index=True, return_inverse=True)
        then = np.full(mass.shape, -1)
        then[mass > 0] = number.ravel()
        found.append(Level(chances, beliefs, then))
        chances, beliefs = np.bincount(number.ravel(), mass[mass > 0]), after[first]
    return found


def window_losses(grammar, longest: int) -> np.ndarray:
    """H(token | the n - 1 tokens before it) of the stationary stream for n = 1 … longest, nats a token."""
    return np.array([level.chances @ _losses(grammar, level.beliefs) for level in levels(grammar, longest - 1)])


def window_logarithms(grammar, tokens: np.ndarray, window: int) -> np.ndarray:
    """ln p(token | the `window` tokens before it), for all of a stream (N,) but the first `window` tokens."""
    kinds, number, steps = grammar.category[tokens], 0, levels(grammar, window)
    for back, level in zip(range(window, 0, -1), steps, strict=False):
        number = level.then[number, kinds[window - back : len(kinds) - back]]
    chances = steps[-1].beliefs @ grammar.chances
    return np.log(chances[number, kinds[window:]] * grammar.shares[tokens[window:]])


def _losses(grammar, beliefs: np.ndarray) -> np.ndarray:
    """H(word | belief) of beliefs (M, S), nats (M,)."""
    chances = beliefs @ grammar.chances
    inside = np.bincount(grammar.category, entropy_terms(grammar.shares), len(grammar.categories))
    return (entropy_terms(chances) + chances * inside).sum(axis=1)


def entropy_terms(p: np.ndarray) -> np.ndarray:
    """-p ln p, 0 where p is."""
    return -p * np.log(np.where(p > 0, p, 1))
