"""Elementary functions of a value.

The cells are written with these names. Here they work on NumPy arrays and scalars; `kernels` rebinds them to the
version of its target (compiled scalar, SIMD lane, GPU thread), so that the maths of a cell exists once.
"""

import numpy as np

# Exact in every precision. An int literal would turn float32 into float64 in compiled code, so cells use these.
ZERO = np.float32(0)
ONE = np.float32(1)


def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow: exp is only ever taken of a negative number."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(np.asarray(x).dtype)


def relu(x):
    """max(x, 0); NaN stays NaN."""
    return np.maximum(x, ZERO)


def step(x):
    """1 where x > 0, else 0: the derivative of relu, 0 at 0 as in PyTorch."""
    return (np.asarray(x) > 0).astype(np.asarray(x).dtype)
