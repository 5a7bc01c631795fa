"""A text in the shapes in which it is trained on: parallel streams, or sentences that begin anew."""

from typing import NamedTuple

import numpy as np


def batched(ids: np.ndarray, rows: int) -> np.ndarray:
    """A stream (N,) cut into B = rows streams of equal length that lie side by side, (N', B); N' = N // B.

    Row b goes on from one window [t : t + T] to the next, so a carried state belongs to it. Fewer than B tokens at the
    end are left out. It is a view: a mapped text stays on the disk. ValueError unless 1 ≤ rows ≤ N.
    """
    if not 1 <= rows <= len(ids):
        raise ValueError(f"rows: expected 1 … {len(ids)}, the number of tokens, got {rows}")
    each = len(ids) // rows
    return ids[: each * rows].reshape(rows, each).T


class Sentences(NamedTuple):
    """The S sentences of a stream, `<eos>` at their ends included."""

    ids: np.ndarray  # (N,)
    starts: np.ndarray  # (S,)
    lengths: np.ndarray  # (S,)
    end: int

    @property
    def count(self) -> int:
        """S."""
        return len(self.starts)

    def take(self, indices) -> tuple[np.ndarray, np.ndarray]:
        """Sentences by their numbers (B,) as columns (T, B), int32, filled up with `<eos>`, and their lengths (B,)."""
        starts, lengths = self.starts[indices], self.lengths[indices]
        step = np.arange(lengths.max())[:, None]
        inside = step < lengths
        return np.where(inside, self.ids[np.where(inside, starts + step, starts)], np.int32(self.end)), lengths


def sentences(ids: np.ndarray, end: int | None) -> Sentences:
    """Cut a stream after every `<eos>`, whose id is `end`; what is left at the end is a sentence, too.

    ValueError for a vocabulary without `<eos>` (end is None) or a stream of no tokens.
    """
    if end is None or not len(ids):
        raise ValueError(f"ids: expected tokens with <eos>, got {len(ids)} tokens and end = {end}")
    borders = np.unique(np.concatenate([[0], np.flatnonzero(ids == end) + 1, [len(ids)]]))
    return Sentences(ids, borders[:-1], np.diff(borders), int(end))
