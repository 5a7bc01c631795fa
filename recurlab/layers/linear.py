"""A linear layer for R replicas at once, with PyTorch's names and shapes: weight (R, O, I), bias (R, O)."""

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.kernels.cuda.device import is_on_device


def forward(weight, bias, x):
    """y = x Wᵀ + b: (R, B, I) -> (R, B, O), in NumPy or on a GPU."""
    return _on_gpu().read_out(weight, bias, x) if is_on_device(x) else _forward(weight, bias, x)


def backward(weight, x, dy) -> tuple[dict, np.ndarray]:
    """dL/dy (R, B, O) -> gradients of weight and bias, and dL/dx."""
    return _on_gpu().read_out_backward(weight, x, dy) if is_on_device(x) else _backward(weight, x, dy)


def _on_gpu():
    """The module for arrays on a GPU: numba.cuda is loaded by those who have one."""
    from recurlab.layers import device_learning

    return device_learning


@on_one_thread
def _forward(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.matmul(x, weight.swapaxes(1, 2)) + bias[:, None]


@on_one_thread
def _backward(weight: np.ndarray, x: np.ndarray, dy: np.ndarray) -> tuple[dict, np.ndarray]:
    grads = {"weight": np.matmul(dy.swapaxes(1, 2), x), "bias": np.stack([one.sum(axis=0) for one in dy])}
    return grads, np.matmul(dy, weight)
