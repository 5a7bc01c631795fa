"""Association of words: how much more often two words stand at a distance than independent words would.

Pointwise mutual information of words a and b at some distances: ln p(a, b) / (p(a) p(b)), where p(a, b) is the share of
the pairs of tokens at these distances, a before b, and p(a), p(b) are the shares of the words in the text (Church &
Hanks 1990, there with base 2 and all distances of a window).
"""

import numpy as np

from recurlab.layers.checks import expect
from recurlab.text import Vocabulary


def pair_share(tokens: np.ndarray, first: int, second: int, distances) -> float:
    """The share of the pairs of tokens (N,) at these distances that are (first, second)."""
    expect(0 < min(distances) and max(distances) < len(tokens), "distances", list(distances), f"1 … {len(tokens) - 1}")
    is_first, is_second = tokens == first, tokens == second
    found = [(is_first[:-d] & is_second[d:]).sum() for d in distances]
    return float(sum(found) / sum(len(tokens) - d for d in distances))


def pointwise_mutual_information(joint: float, first: float, second: float) -> float:
    """ln p(a, b) / (p(a) p(b)) in nats; -inf for words that never stand together, NaN for one that does not occur."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(np.float64(joint) / (np.float64(first) * second)))


def association(tokens: np.ndarray, vocabulary: Vocabulary, pair: str, distances) -> float:
    """The pointwise mutual information of two words, `pair` = "first second", in a text (N,), nats."""
    first, second = vocabulary.encode(pair.split())
    shares = ((tokens == word).mean() for word in (first, second))
    return pointwise_mutual_information(pair_share(tokens, first, second, distances), *shares)
