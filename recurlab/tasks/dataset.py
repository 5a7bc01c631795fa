"""Sequences that are given and not drawn: training, validation and test rows, taken by their numbers."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from recurlab import corpora
from recurlab.models.sequence import NOTHING, Batch, Network, evaluate

TOGETHER = 32  # rows of a forward pass that measures


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
    validates: bool = True  # whether it has rows for validation

    def require(self) -> None:
        """ValueError unless its files are there and whole."""
        corpora.require(self.files)


class FirstRows(NamedTuple):
    """The first `count` of some rows."""

    rows: Rows
    count: int

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, (N,)."""
        return self.rows.lengths[: self.count]

    def take(self, indices) -> Batch:
        """See Rows."""
        return self.rows.take(indices)


def first_rows(data: Data, limit: int | None) -> Data:
    """At most `limit` rows of each part; None: all."""
    if limit is None:
        return data
    return Data(*(rows if rows is None else FirstRows(rows, min(limit, rows.count)) for rows in data))


def mean_loss(net: Network, params: dict, rows: Rows, dropped_of=lambda batch: NOTHING) -> tuple[np.ndarray, ...]:
    """Loss (R,) and error (R,) of R networks, means over all that counts in the rows: every step, or every row.

    dropped_of(batch) stands for a regulariser's noise, see `evaluate`.

    TOGETHER rows of similar length go in one forward pass; its means weigh as much as counts in it.
    """
    order = np.argsort(rows.lengths, kind="stable")
    counts, sums = 0, 0
    for first in range(0, rows.count, TOGETHER):
        batch = rows.take(order[first : first + TOGETHER])
        count = _counted(net, batch)
        counts, sums = counts + count, sums + count * np.stack(evaluate(net, params, batch, dropped_of(batch)))
    return tuple(sums / counts)


def _counted(net: Network, batch: Batch) -> float:
    """How much counts in a batch that all replicas share."""
    steps, rows = batch.x.shape[-3:-1]
    if net.at == "last":
        return rows
    return steps * rows if batch.weights is None else float(batch.weights.sum())


def steps_first(rows: np.ndarray) -> np.ndarray:
    """Rows (…, B, T, …) of sequences -> (…, T, B, …), contiguous; `rows` has one axis after T."""
    return np.ascontiguousarray(np.swapaxes(rows, -3, -2))
