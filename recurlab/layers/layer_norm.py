"""Layer normalisation for R replicas at once, with PyTorch's names: weight (R, H), bias (R, H).

    y = w (x - mean x) / √(var x + ε) + b,    mean and (biased) variance over the H numbers of a position

Ba, Kiros & Hinton 2016, eq. 4; ε as nn.LayerNorm has it.
"""

from typing import NamedTuple

import numpy as np

EPSILON = 1e-5


class Tape(NamedTuple):
    """What `backward` needs."""

    normal: np.ndarray  # (R, …, H), before gain and bias
    scale: np.ndarray  # (R, …, 1), 1 / √(var + ε)


def forward(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, Tape]:
    """x (R, …, H) -> y (R, …, H), tape."""
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
    normal = centred * scale
    return normal * _along(weight, x) + _along(bias, x), Tape(normal, scale)


def backward(weight: np.ndarray, tape: Tape, dy: np.ndarray) -> tuple[dict, np.ndarray]:
    """dL/dy (R, …, H) -> gradients of weight and bias, and dL/dx (R, …, H)."""
    d_normal = dy * _along(weight, dy)
    along = (d_normal * tape.normal).mean(axis=-1, keepdims=True)
    dx = (d_normal - d_normal.mean(axis=-1, keepdims=True) - tape.normal * along) * tape.scale
    return {"weight": _over_positions(dy * tape.normal), "bias": _over_positions(dy)}, dx


def _along(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(R, H) with the axes of x (R, …, H)."""
    return values.reshape(len(values), *[1] * (x.ndim - 2), -1)


def _over_positions(values: np.ndarray) -> np.ndarray:
    """(R, …, H) -> (R, H); replica by replica, so that the order of the sums does not depend on their number."""
    return np.stack([one.reshape(-1, one.shape[-1]).sum(axis=0) for one in values])
