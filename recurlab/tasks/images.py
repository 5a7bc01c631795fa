"""Images read pixel by pixel, row by row from the top left or in one fixed random order; the class at the end."""

from functools import cache, partial
from typing import NamedTuple

import numpy as np

from recurlab import corpora, formats
from recurlab.models.sequence import Batch
from recurlab.random import Stream, permutation
from recurlab.tasks.dataset import Data, Dataset, steps_first

CLASSES = 10
TRAIN_DIGITS = 1437  # 80 % of the 1,797 bundled images
TRAIN_MNIST = 55_000  # of 60,000; the last 5,000 are for validation


class Images(NamedTuple):
    """N images as sequences of T pixels; one step has one pixel in [0, 1]."""

    pixels: np.ndarray  # (N, T) whole numbers
    targets: np.ndarray  # (N,)
    white: int  # the whole number of a white pixel
    dtype: str

    @property
    def count(self) -> int:
        """N."""
        return len(self.targets)

    @property
    def lengths(self) -> np.ndarray:
        """T for every image."""
        return np.full(self.count, self.pixels.shape[1])

    def take(self, indices) -> Batch:
        """Images by their numbers: x ([R,] T, B, 1), targets ([R,] B)."""
        pixels = steps_first(self.pixels[indices][..., None])
        return Batch(pixels.astype(self.dtype) / np.asarray(self.white, self.dtype), self.targets[indices])


def log_loss_of_shares(data: Data) -> float:
    """Test cross-entropy in nats of the shares of the classes in the training images."""
    shares = np.bincount(data.train.targets, minlength=CLASSES) / data.train.count
    return float(-np.log(shares[data.test.targets]).mean())


def _order(name: str, steps: int, permuted: bool) -> np.ndarray:
    """The order in which the pixels of a dataset are read; the same for every image and seed."""
    return permutation(Stream(0, f"permuted {name}"), steps) if permuted else np.arange(steps)


@cache
def _digits(dtype: str, permuted: bool) -> Data:
    from sklearn.datasets import load_digits  # 0.5 s to import: only for those who ask for digits

    bundled = load_digits()
    rows = permutation(Stream(0, "digits split"), len(bundled.target))
    pixels = bundled.data[rows].astype(np.uint8)[:, _order("digits", 64, permuted)]
    parts = [Images(pixels[s], bundled.target[rows][s], 16, dtype) for s in _split(TRAIN_DIGITS)]
    return Data(parts[0], None, parts[1])


def _split(*borders: int) -> list[slice]:
    """Slices that begin and end at the borders."""
    return [slice(a, b) for a, b in zip((None, *borders), (*borders, None), strict=True)]


MNIST_FILES = corpora.FILES_OF["mnist_28"]  # images and labels to train, then to test


def pooled(images: np.ndarray, side: int) -> np.ndarray:
    """Sums over side × side blocks, (N, 28, 28) -> (N, 28 / side, 28 / side); divided by side² · 255 they are means."""
    count, size = len(images), images.shape[1] // side
    return images.reshape(count, size, side, size, side).sum(axis=(2, 4), dtype=np.uint16)


@cache
def _mnist(dtype: str, size: int, permuted: bool) -> Data:
    side = 28 // size
    parts = []
    for images, labels in (MNIST_FILES[:2], MNIST_FILES[2:]):
        pixels = pooled(_idx(images), side) if side > 1 else _idx(images)
        ordered = pixels.reshape(len(pixels), -1)[:, _order(f"mnist_{size}", size**2, permuted)]
        parts.append(Images(ordered, _idx(labels).astype(np.int64), side**2 * 255, dtype))
    train, valid = (Images(*(a[s] for a in parts[0][:2]), *parts[0][2:]) for s in _split(TRAIN_MNIST))
    return Data(train, valid, parts[1])


def _idx(name: str) -> np.ndarray:
    return formats.idx(corpora.gunzip(corpora.read(name), name), name)


def _dataset(name: str, load, permuted: bool, **fields) -> Dataset:
    """One of a pair: in reading order, or permuted."""
    return Dataset(
        name=f"permuted_{name}" if permuted else name,
        loss="cross_entropy",
        at="last",
        inputs=1,
        outputs=CLASSES,
        load=partial(load, permuted=permuted),
        baseline=log_loss_of_shares,
        **fields | ({"says": f"{fields['says']}, pixels in one fixed random order"} if permuted else {}),
    )


DIGITS, PERMUTED_DIGITS = (
    _dataset(
        "digits",
        _digits,
        permuted,
        source="UCI 'Optical recognition of handwritten digits', test part, Alpaydin & Kaynak 1998; in scikit-learn",
        says="8 × 8 images, 64 steps of one pixel; 1,437 to train, 360 to test",
        validates=False,
    )
    for permuted in (False, True)
)
MNIST_14, PERMUTED_MNIST_14, MNIST_28, PERMUTED_MNIST_28 = (
    _dataset(
        f"mnist_{size}",
        partial(_mnist, size=size),
        permuted,
        source="MNIST, LeCun, Cortes, Burges; read pixel by pixel since Le, Jaitly, Hinton 2015",
        says=f"{size} × {size} images{' (means of 2 × 2 pixels)' * (size == 14)}, {size**2} steps of one pixel; 55,000 "
        "to train, the last 5,000 of the 60,000 to validate, 10,000 to test",
        files=MNIST_FILES,
    )
    for size in (14, 28)
    for permuted in (False, True)
)
