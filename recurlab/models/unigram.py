"""Independent words: every word has one probability, whatever stands before it."""

from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect, expect_size


class Unigram(NamedTuple):
    """ln p(word), (V,). Made by `fit`."""

    logarithms: np.ndarray


def fit(tokens: np.ndarray, size: int) -> Unigram:
    """Shares of V = size words in a text (N,) by Laplace's rule, (count + 1) / (N + V): no word is impossible."""
    counts = np.bincount(tokens, minlength=expect_size("size", size))
    expect(len(counts) == size, "tokens", f"the id {len(counts) - 1}", f"0 … {size - 1}")
    return Unigram(np.log((counts + 1) / (len(tokens) + size)))


def log_probabilities(model: Unigram, tokens: np.ndarray) -> np.ndarray:
    """ln p of each token of a text (N,)."""
    return model.logarithms[tokens]


def next_distribution(model: Unigram, contexts: np.ndarray) -> np.ndarray:
    """ln p(next word) after contexts (B, T), (B, V): the same after all."""
    return np.broadcast_to(model.logarithms, (len(contexts), len(model.logarithms)))


def sizes(model: Unigram) -> tuple[int, int]:
    """Numbers and bytes of the model."""
    return model.logarithms.size, model.logarithms.nbytes
