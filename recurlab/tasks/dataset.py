"""Sequences that are given and not drawn: training, validation and test rows, taken by their numbers."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from recurlab import corpora
from recurlab.models.sequence import Batch


class Rows(Protocol):
    """N sequences."""

    @property
    def count(self) -> int:
        """N."""

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, (N,)."""

    def take(self, indices) -> Batch:
        """The sequences with these numbers: (B,) the same for all replicas, or (R, B)."""


class Data(NamedTuple):
    """The rows of a dataset."""

    train: Rows
    valid: Rows | None
    test: Rows


class Dataset(NamedTuple):
    """Given sequences; `load` reads them once for each dtype."""

    name: str
    source: str
    says: str  # inputs, targets, split and the guess without memory
    loss: str  # of layers.loss.LOSSES
    at: str  # "last" or "every" step
    inputs: int
    outputs: int
    load: Callable[[str], Data]
    baseline: Callable[[Data], float]  # test loss of the best guess without memory, fitted on the training rows
    files: tuple[str, ...] = ()  # of corpora.FILES

    def require(self) -> None:
        """ValueError unless its files are there and whole."""
        corpora.require(self.files)


def steps_first(rows: np.ndarray) -> np.ndarray:
    """Rows (…, B, T, …) of sequences -> (…, T, B, …), contiguous; `rows` has one axis after T."""
    return np.ascontiguousarray(np.swapaxes(rows, -3, -2))
