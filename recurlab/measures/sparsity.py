"""How sparse counts are: power laws of growth and rank, and what a test text has that the counts lack."""

from typing import NamedTuple

import numpy as np

from recurlab.layers.recurrent import parameter_shapes, recurrent
from recurlab.models.ngram import Counts

FREQUENT = 10  # occurrences: below, a rank says more of chance than of frequency


class PowerLaw(NamedTuple):
    """y = factor · x^exponent."""

    exponent: float
    factor: float

    def at(self, x: np.ndarray) -> np.ndarray:
        """y."""
        return self.factor * np.asarray(x, float) ** self.exponent


def power_law(x: np.ndarray, y: np.ndarray) -> PowerLaw:
    """The least-squares line through log y against log x; NaN from fewer than two different x."""
    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    if len(np.unique(x)) < 2:
        return PowerLaw(np.nan, np.nan)
    slope, intercept = np.polyfit(x, y, 1)
    return PowerLaw(float(slope), float(np.exp(intercept)))


def types(counts: Counts) -> np.ndarray:
    """Different n-grams of 1 … order words, (order,)."""
    return np.diff(counts.trie.starts)[1:] - (np.arange(counts.trie.order) == 0) * (counts.end is not None)


def by_rank(counts: Counts, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranks, eight to a power of ten, and how often the n-gram of each rank occurs."""
    frequencies = np.sort(counts.counts[counts.trie.level(n)])[::-1]
    frequencies = frequencies[frequencies > 0]
    ranks = np.unique(np.rint(10 ** np.arange(0, np.log10(len(frequencies) + 1), 1 / 8)).astype(int))
    ranks = ranks[ranks <= len(frequencies)]
    return ranks, frequencies[ranks - 1]


def zipf_law(ranks: np.ndarray, frequencies: np.ndarray) -> tuple[PowerLaw, np.ndarray]:
    """The power law of the ranks whose n-grams occur 10 times and more, and what it says of them; NaN of the others."""
    often = frequencies >= FREQUENT
    law = power_law(ranks[often], frequencies[often])
    return law, np.where(often, law.at(ranks), np.nan)


def unseen(lengths: np.ndarray, n: int) -> np.ndarray:
    """Whether the n-gram that ends with each token but the first n - 1 was never counted, from known lengths (N,)."""
    return lengths[n - 1 :] < n


def network_bytes(size: int, hidden_size: int) -> int:
    """Bytes of an LSTM language model in float32: embeddings as wide as its one layer, softmax with biases."""
    shapes = parameter_shapes(recurrent("lstm", hidden_size, hidden_size))
    numbers = sum(int(np.prod(shape)) for shape in shapes.values()) + size * (2 * hidden_size + 1)
    return np.dtype(np.float32).itemsize * numbers
