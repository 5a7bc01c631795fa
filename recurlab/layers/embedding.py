"""x = W[ids]: the row of a word as the input of a step. weight (R, V, E), as PyTorch's nn.Embedding.

Its gradient is dense, (R, V, E), so that clipping and optimisers need not know where it comes from.
"""

from functools import cache

import numpy as np
from numba import prange

from recurlab.kernels import memory
from recurlab.kernels.target import cached, start_threads
from recurlab.layers.checks import expect
from recurlab.layers.matrices import with_replicas

PIECES = 8  # the words of a replica go in so many pieces, each on one thread


def check_ids(name: str, ids: np.ndarray, words: int) -> None:
    """ValueError unless all ids are whole numbers 0 … V-1."""
    expect(ids.dtype.kind in "iu", name, f"dtype {ids.dtype}", "whole numbers")
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    expect(0 <= low and high < words, name, f"{low} … {high}", f"words 0 … {words - 1}")


def forward(weight: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """ids ([R,] T, B) -> x (R, T, B, E); ids without R are shared. ValueError for an id that is no word."""
    check_ids("ids", ids, weight.shape[1])
    ids = with_replicas(ids, 2)
    expect(len(ids) in (1, len(weight)), "ids", f"R = {len(ids)}", f"R = 1 or {len(weight)}")
    x = memory.empty((len(weight), *ids.shape[1:], weight.shape[2]), weight.dtype)
    for r, own in enumerate(weight):
        np.take(own, ids[min(r, len(ids) - 1)], axis=0, out=x[r], mode="clip")  # checked above; "raise" makes a copy
    return x


def backward(words: int, ids: np.ndarray, d_x: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
    """dL/dx (R, T, B, E) -> dL/dweight (R, V, E): the sum over the places of a word, in order of time and row.

    With `into` it is added to that array, which is returned: a gradient that tied weights have already.
    """
    replicas, size = len(d_x), d_x.shape[-1]
    d_weight = memory.zeros((replicas, words, size), d_x.dtype) if into is None else into
    flat = with_replicas(ids, 2).reshape(-1, ids.shape[-2] * ids.shape[-1]).astype(np.int64)
    _compiled()(flat, np.ascontiguousarray(d_x).reshape(replicas, -1, size), d_weight)
    return d_weight


def _add_rows(ids, d_x, d_weight):
    """d_weight[r, ids[r, n]] += d_x[r, n] for n = 0, 1, …; ids (R or 1, N), d_x (R, N, E)."""
    replicas, words, size = d_weight.shape
    for i in prange(replicas * PIECES):
        r, own = i // PIECES, ids[min(i // PIECES, len(ids) - 1)]
        first, end = i % PIECES * words // PIECES, (i % PIECES + 1) * words // PIECES
        for n in range(own.size):
            if first <= own[n] < end:
                for e in range(size):
                    d_weight[r, own[n], e] += d_x[r, n, e]


@cache
def _compiled():
    start_threads()
    return cached(_add_rows, parallel=True)


def warm(dtype: str) -> None:
    """Compile the gradient for a dtype, or load it: what `recurlab compile` calls."""
    ids = np.zeros((1, 1), np.int64)
    backward(1, ids, forward(np.zeros((1, 1, 1), dtype), ids))
