"""How well a query agrees with a key, for all pairs of a row: the scores of attention, with their gradients.

Queries (R, B, Tq, H) and keys (R, B, Tk, H) come rows first. A score is two functions,

    forward(params, queries, keys) -> scores (R, B, Tq, Tk), kept
    backward(params, queries, keys, kept, d_scores) -> gradients of the parameters, d_queries, d_keys

and the shapes of its parameters; a new one is a line in SCORES.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

PIECE = 2**18  # numbers of the additive score's hidden layer at a time: 1 MiB in float32, half of an L2 cache


def dot(params, q, k):
    """e = q · k."""
    return np.matmul(q, k.swapaxes(-1, -2)), ()


def dot_backward(params, q, k, kept, d_scores):
    """Of `dot`."""
    return {}, np.matmul(d_scores, k), np.matmul(d_scores.swapaxes(-1, -2), q)


def scaled_dot(params, q, k):
    """e = q · k / √H."""
    return dot(params, q * q.shape[-1] ** -0.5, k)


def scaled_dot_backward(params, q, k, kept, d_scores):
    """Of `scaled_dot`."""
    return dot_backward(params, q, k, kept, d_scores * q.shape[-1] ** -0.5)


def general(params, q, k):
    """e = q' W k; kept: W' q."""
    turned = np.matmul(q, params["weight_general"][:, None])
    return dot(params, turned, k)[0], (turned,)


def general_backward(params, q, k, kept, d_scores):
    """Of `general`."""
    _, d_turned, d_k = dot_backward(params, kept[0], k, (), d_scores)
    return {"weight_general": _outer(q, d_turned)}, _times(d_turned, params["weight_general"]), d_k


def additive(params, q, k):
    """e = v' tanh(W_q q + W_k k); kept: W_q q and W_k k."""
    a_q, a_k = _times(q, params["weight_query"]), _times(k, params["weight_key"])
    scores = np.empty((*q.shape[:3], k.shape[2]), q.dtype)
    for r, rows in _pieces(a_q, a_k):
        h = _hidden(a_q[r, rows], a_k[r, rows])
        scores[r, rows] = np.matmul(h.reshape(-1, h.shape[-1]), params["weight_score"][r]).reshape(h.shape[:-1])
    return scores, (a_q, a_k)


def additive_backward(params, q, k, kept, d_scores):
    """Of `additive`. The hidden layer is computed once more: kept, it would be Tq · Tk · A numbers a row."""
    (a_q, a_k), v = kept, params["weight_score"]
    d_a_q, d_a_k, d_v = np.empty_like(a_q), np.empty_like(a_k), np.zeros_like(v)
    for r, rows in _pieces(a_q, a_k):
        h, d = _hidden(a_q[r, rows], a_k[r, rows]), d_scores[r, rows]
        d_v[r] += np.matmul(d.reshape(-1), h.reshape(-1, h.shape[-1]))
        d_a = (1 - h * h) * v[r] * d[..., None]
        d_a_q[r, rows], d_a_k[r, rows] = d_a.sum(axis=2), d_a.sum(axis=1)
    grads = {"weight_query": _outer(d_a_q, q), "weight_key": _outer(d_a_k, k), "weight_score": d_v}
    d_q, d_k = (np.matmul(d, params[name][:, None]) for d, name in ((d_a_q, "weight_query"), (d_a_k, "weight_key")))
    return grads, d_q, d_k


def _times(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x Wᵀ: (R, B, T, I) and (R, O, I) -> (R, B, T, O)."""
    return np.matmul(x, weight[:, None].swapaxes(-1, -2))


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ a bᵀ over rows and steps: (R, B, T, O) and (R, B, T, I) -> (R, O, I)."""
    flat_a, flat_b = (x.reshape(len(x), -1, x.shape[-1]) for x in (a, b))
    return np.matmul(flat_a.swapaxes(1, 2), flat_b)


def _hidden(a_q: np.ndarray, a_k: np.ndarray) -> np.ndarray:
    """The hidden layer of the additive score for all pairs of some rows, (b, Tq, Tk, A)."""
    return np.tanh(a_q[:, :, None] + a_k[:, None])


def _pieces(a_q: np.ndarray, a_k: np.ndarray) -> Iterator[tuple[int, slice]]:
    """(replica, rows) whose hidden layer has at most PIECE numbers, or one row."""
    replicas, batch, steps, size = a_q.shape
    each = max(1, PIECE // (steps * a_k.shape[2] * size))
    for r in range(replicas):
        for first in range(0, batch, each):
            yield r, slice(first, first + each)


class Score(NamedTuple):
    """A score: where it comes from, its two functions, and its parameters' shapes from the sizes of the layer."""

    source: str
    forward: Callable
    backward: Callable
    shapes: Callable[[int, int, int], dict[str, tuple[int, ...]]]  # query, key and hidden size ->


SCORES: dict[str, Score] = {
    "dot": Score("Luong, Pham & Manning 2015, eq. 8", dot, dot_backward, lambda query, key, size: {}),
    "scaled_dot": Score("Vaswani et al. 2017, eq. 1", scaled_dot, scaled_dot_backward, lambda query, key, size: {}),
    "general": Score(
        "Luong, Pham & Manning 2015, eq. 8",
        general,
        general_backward,
        lambda query, key, size: {"weight_general": (query, key)},
    ),
    "additive": Score(
        "Bahdanau, Cho & Bengio 2015, app. A.1.2",
        additive,
        additive_backward,
        lambda query, key, size: {"weight_query": (size, query), "weight_key": (size, key), "weight_score": (size,)},
    ),
}
