"""Independent words whose shares fall as one over their rank: the plainest text in which new words keep coming.

What is new in it is known exactly: of N words Σ_r 1 - (1 - p_r)^N are different, and the next one is new with chance
Σ_r p_r (1 - p_r)^N.
"""

from functools import cached_property
from typing import ClassVar

import numpy as np

from recurlab.layers.checks import expect_size
from recurlab.tasks.grammar.automaton import zipf
from recurlab.tasks.task import PURPOSES, Draws
from recurlab.text import Text, vocabulary


class ZipfWords:
    """V words, the one of rank r with the share 1 / r Σ_s 1 / s; their names are their ranks."""

    name: ClassVar[str] = "zipf"

    def __init__(self, size: int):
        self.size = expect_size("size", size)
        self.shares = zipf(size)

    @cached_property
    def vocabulary(self):
        """The words by falling share."""
        return vocabulary(map(str, range(1, self.size + 1)))

    @property
    def entropy(self) -> float:
        """-Σ p ln p, nats a token: the loss of the best predictor of all."""
        return float(-self.shares @ np.log(self.shares))

    def draw(self, seeds, purpose: str, step: int, tokens: int) -> np.ndarray:
        """Streams of words, int32 (R, tokens), one for each seed; a longer one begins with the shorter."""
        u = Draws(seeds, self.name, purpose, step).uniforms("words", expect_size("tokens", tokens))
        return np.minimum(np.searchsorted(np.cumsum(self.shares), u, side="right"), self.size - 1).astype(np.int32)

    def text(self, seed: int, train: int, valid: int, test: int) -> Text:
        """Streams of these many tokens for training, validation and test."""
        parts = [self.draw([seed], purpose, 0, n)[0] for purpose, n in zip(PURPOSES, (train, valid, test), strict=True)]
        return Text(self.name, "word", self.vocabulary, *parts)

    def log_probabilities(self, tokens: np.ndarray, window: int | None = None) -> np.ndarray:
        """ln p of every token; the words before tell nothing, whatever the window."""
        return np.log(self.shares)[tokens]

    def expected_types(self, tokens: int) -> float:
        """The expected number of different words among so many."""
        return float(-np.expm1(tokens * np.log1p(-self.shares)).sum())

    def expected_unseen(self, tokens: int) -> float:
        """The chance that a word does not occur among so many before it."""
        return float(self.shares @ np.exp(tokens * np.log1p(-self.shares)))


ZIPF = ZipfWords(2**16)
