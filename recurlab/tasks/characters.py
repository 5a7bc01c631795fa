"""Characters of a text, one a step: predict every next one."""

from functools import cache
from typing import NamedTuple

import numpy as np

from recurlab import corpora
from recurlab.models.sequence import Batch
from recurlab.tasks.dataset import Data, Dataset
from recurlab.tasks.task import one_hot

(FILE,) = corpora.FILES_OF["tinyshakespeare"]
KINDS = 65
STEPS = 100
SHARES = (90, 95)  # per cent of the text, at the ends of training and validation


class Passages(NamedTuple):
    """N passages of a text; character t is the input and character t + 1 the target."""

    symbols: np.ndarray  # (N, T + 1) uint8
    dtype: str

    @property
    def count(self) -> int:
        """N."""
        return len(self.symbols)

    @property
    def lengths(self) -> np.ndarray:
        """T for every passage."""
        return np.full(self.count, self.symbols.shape[1] - 1)

    def take(self, indices) -> Batch:
        """Passages by their numbers: x ([R,] T, B, 65) one-hot, targets ([R,] T, B)."""
        symbols = np.ascontiguousarray(np.swapaxes(self.symbols[indices], -2, -1)).astype(np.int64)
        return Batch(one_hot(symbols[..., :-1, :], KINDS, self.dtype), np.ascontiguousarray(symbols[..., 1:, :]))


def passages(symbols: np.ndarray, dtype: str) -> Passages:
    """A text cut into passages of 101 characters; the last one of a passage is the first of the next."""
    starts = np.arange(0, len(symbols) - STEPS, STEPS)
    return Passages(symbols[starts[:, None] + np.arange(STEPS + 1)], dtype)


@cache
def _load(dtype: str) -> Data:
    _, symbols = np.unique(np.frombuffer(corpora.read(FILE), np.uint8), return_inverse=True)
    borders = [share * len(symbols) // 100 for share in SHARES]
    return Data(*(passages(part, dtype) for part in np.split(symbols.astype(np.uint8), borders)))


def pairs(data: Data) -> float:
    """Test loss in nats of the shares with which one character followed another in training (Laplace's rule)."""
    a, b = data.train.symbols[:, :-1].ravel(), data.train.symbols[:, 1:].ravel()
    counts = np.bincount(a.astype(int) * KINDS + b, minlength=KINDS**2).reshape(KINDS, KINDS) + 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(shares[data.test.symbols[:, :-1], data.test.symbols[:, 1:]]).mean())


TINYSHAKESPEARE = Dataset(
    name="tinyshakespeare",
    source="Karpathy 2015; github karpathy/char-rnn, data/tinyshakespeare",
    says="65 characters, one-hot, 100 steps; 90 % of the text to train, 5 % to validate, 5 % to test; the character "
    "before, alone, is the baseline",
    loss="cross_entropy",
    at="every",
    inputs=KINDS,
    outputs=KINDS,
    load=_load,
    baseline=pairs,
    files=(FILE,),
)
