"""Given time series: the next value from all values so far, standardised by what was seen in training.

The first 70 % of a series are for training, the next 10 % for validation, the last 20 % for testing. These series carry
no published protocol: they demonstrate, they reproduce nothing.
"""

from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurlab import corpora, formats
from recurlab.models.sequence import Batch
from recurlab.tasks.dataset import Data, Dataset, steps_first

STEPS = 128  # of a training sequence, and of the run-up to the validation and test sequence
STRIDE = 16  # from one training sequence to the next
SHARES = (70, 80)  # per cent of the values, at the ends of training and validation


class Windows(NamedTuple):
    """N pieces of one series; value t is the input and value t + 1 the target."""

    values: np.ndarray  # (N, T + 1) standardised
    counted: np.ndarray  # (T,) 1 where the target counts; 0 in the run-up, whose targets belong to another part
    dtype: str

    @property
    def count(self) -> int:
        """N."""
        return len(self.values)

    @property
    def lengths(self) -> np.ndarray:
        """T for every piece."""
        return np.full(self.count, len(self.counted))

    def take(self, indices) -> Batch:
        """Pieces by their numbers: x and targets ([R,] T, B, 1), weights ([R,] T, B)."""
        values = steps_first(self.values[indices].astype(self.dtype)[..., None])
        x, targets = np.ascontiguousarray(values[..., :-1, :, :]), np.ascontiguousarray(values[..., 1:, :, :])
        weights = np.broadcast_to(self.counted[:, None], x.shape[:-1]).astype(self.dtype)
        return Batch(x, targets, weights)


def windows(series: np.ndarray, dtype: str) -> Data:
    """Training pieces that overlap, and one long piece for validation and for testing, each with a run-up."""
    borders = [share * len(series) // 100 for share in SHARES]
    if borders[0] <= STEPS or len(series) - borders[1] < 2:
        raise ValueError(f"a series of {len(series)} values is too short for sequences of {STEPS} steps")
    seen = series[: borders[0]]
    z = (series - seen.mean()) / seen.std()
    starts = np.arange(0, borders[0] - STEPS, STRIDE)
    train = Windows(z[starts[:, None] + np.arange(STEPS + 1)], np.ones(STEPS), dtype)
    return Data(train, *(_one(z, *ends, dtype) for ends in ((borders[0], borders[1]), (borders[1], len(z)))))


def _one(z: np.ndarray, first: int, end: int, dtype: str) -> Windows:
    """The values first … end - 1 as targets of one piece that starts STEPS values before them."""
    counted = np.ones(end - first + STEPS - 1)
    counted[: STEPS - 1] = 0
    return Windows(z[None, first - STEPS : end], counted, dtype)


def affine(data: Data) -> float:
    """Test loss of the best a·x + b for the next value, fitted by least squares on the training pieces."""
    (x, y), (x_test, y_test) = _pairs(data.train), _pairs(data.test)
    slope, offset = np.polyfit(x, y, 1)
    return float(np.mean((slope * x_test + offset - y_test) ** 2))


def _pairs(rows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """All counted (value, next value)."""
    counted = rows.counted == 1
    return rows.values[:, :-1][:, counted].ravel(), rows.values[:, 1:][:, counted].ravel()


@cache
def _known(dtype: str, file: str) -> Data:
    return windows(formats.column(corpora.read(file), file, 1), dtype)


def _from_path(dtype: str, path: Path, number: int) -> Data:
    return windows(formats.column(path.read_bytes(), path, number), dtype)


def _dataset(name: str, source: str, load, says: str, files=()) -> Dataset:
    return Dataset(
        name=name,
        source=source,
        says=f"{says}; the next value, standardised; the current value alone, by least squares, is the baseline",
        loss="squared_error",
        at="every",
        inputs=1,
        outputs=1,
        load=load,
        baseline=affine,
        files=files,
    )


def series_in(path, number: int = 1) -> Dataset:
    """The dataset of a column (from 0) of a comma-separated file of your own, whose first line holds names."""
    load = partial(_from_path, path=Path(path), number=number)
    return _dataset(Path(path).stem, str(path), load, f"column {number + 1} of {path}")


def _listed(name: str, source: str, says: str) -> Dataset:
    (file,) = corpora.FILES_OF[name]
    return _dataset(name, source, partial(_known, file=file), says, (file,))


SUNSPOTS = _listed(
    "sunspots",
    "Andrews & Herzberg 1985",
    "2,820 monthly means of the Zürich sunspot number, 1749–1983",
)
TEMPERATURES = _listed(
    "temperatures",
    "Australian Bureau of Meteorology",
    "3,650 daily minimum temperatures in Melbourne, 1981–1990",
)
