"""Sequential digits: the 8×8 handwritten digits that scikit-learn bundles, read pixel by pixel.

UCI "Optical recognition of handwritten digits", test part (Alpaydin & Kaynak 1998): 1,797 images, 10 classes.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from recurlab.random import Stream, permutation

TRAIN = 1437  # 80 % of the 1,797 images; the other 360 are the test set


class Sequences(NamedTuple):
    """Inputs x (T, N, I) and targets (N,) of a training and a test set."""

    x: np.ndarray
    targets: np.ndarray
    x_test: np.ndarray
    targets_test: np.ndarray
    classes: int


@cache
def digits(dtype: str) -> Sequences:
    """64 steps of one pixel in [0, 1], left to right and top to bottom; the split is the same for every seed."""
    from sklearn.datasets import load_digits  # 0.5 s to import: only for those who ask for digits

    data = load_digits()
    order = permutation(Stream(0, "digits split"), len(data.target))
    x = (data.data[order].T[:, :, None] / 16).astype(dtype)  # (64, N, 1); pixels are counts from 0 to 16
    targets = data.target[order]
    return Sequences(x[:, :TRAIN].copy(), targets[:TRAIN], x[:, TRAIN:].copy(), targets[TRAIN:], 10)
