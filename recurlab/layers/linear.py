"""A linear layer for R replicas at once, with PyTorch's names and shapes: weight (R, O, I), bias (R, O)."""

import numpy as np

from recurlab.blas import on_one_thread


@on_one_thread
def forward(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """y = x Wᵀ + b: (R, B, I) -> (R, B, O)."""
    return np.matmul(x, weight.swapaxes(1, 2)) + bias[:, None]


@on_one_thread
def backward(weight: np.ndarray, x: np.ndarray, dy: np.ndarray) -> tuple[dict, np.ndarray]:
    """dL/dy (R, B, O) -> gradients of weight and bias, and dL/dx (R, B, I)."""
    grads = {"weight": np.matmul(dy.swapaxes(1, 2), x), "bias": np.stack([one.sum(axis=0) for one in dy])}
    return grads, np.matmul(dy, weight)
