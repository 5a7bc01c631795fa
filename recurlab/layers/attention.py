"""Attention: every query takes a weighted mean of the values of its own row, by its scores with their keys.

    a_ts = exp e_ts / Σ_s' exp e_ts',    c_t = Σ_s a_ts v_s,    e: see `attention_scores`

Axes: R replica, Tq queries, Tk keys, B rows, H widths. Keys and values beyond the length of a row have weight 0 exactly
and are never looked at. A matrix product is that of one row of one replica, on one BLAS thread: a replica has the same
bits alone and among others, on one thread and on many.
"""

from typing import NamedTuple

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers.attention_scores import SCORES
from recurlab.layers.checks import expect, expect_array, expect_choice, expect_names, expect_size
from recurlab.layers.recurrent import DTYPES, check_lengths
from recurlab.random import Stream, uniform


class Attention(NamedTuple):
    """The description of an attention layer; it holds no weights. Made by `attention`."""

    score: str  # of SCORES
    query_size: int
    key_size: int
    size: int  # A, units of the additive score
    dtype: str


class Tape(NamedTuple):
    """What `backward` needs, rows first: (R, B, T, H), 0 beyond the length of a row."""

    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray  # (R, B, Tq, Tk)
    kept: tuple  # of the score


def attention(score: str, query_size: int, key_size: int, size: int = 1, dtype: str = "float32") -> Attention:
    """Describe an attention layer; `size` is that of the additive score's hidden layer.

    ValueError for an unknown score or dtype, a size below 1, or a dot product of queries and keys of unequal size.
    """
    expect_choice("score", score, SCORES)
    expect_choice("dtype", dtype, DTYPES)
    sizes = {"query_size": query_size, "key_size": key_size, "size": size}
    layer = Attention(score, **{name: expect_size(name, value) for name, value in sizes.items()}, dtype=dtype)
    fits = query_size == key_size or len(parameter_shapes(layer)) > 0
    expect(fits, "key_size", key_size, f"query_size = {query_size} for the score {score}")
    return layer


def parameter_shapes(layer: Attention) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    return SCORES[layer.score].shapes(layer.query_size, layer.key_size, layer.size)


def initial(layer: Attention, seeds) -> dict[str, np.ndarray]:
    """U(-1/√n, 1/√n), n the numbers that a unit sees, as nn.Linear has it; one replica for each seed."""
    return {
        name: np.stack([_drawn(int(seed), name, shape) for seed in seeds]).astype(layer.dtype)
        for name, shape in parameter_shapes(layer).items()
    }


def _drawn(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    return (2 * uniform(Stream(seed, f"init attention {name}"), shape) - 1) * shape[-1] ** -0.5


@on_one_thread
def forward(layer: Attention, params: dict, queries, keys, values, lengths=None):
    """Queries (R, Tq, B, H), keys (R, Tk, B, H) and values (R, Tk, B, Hv) -> contexts (R, Tq, B, Hv), weights, tape.

    The weights are (R, B, Tq, Tk). `lengths` (B,), each from 1 to Tk, are those of the keys; None: Tk. ValueError for a
    wrong name, shape or dtype.
    """
    lengths = _check(layer, params, queries, keys, values, lengths)
    there = np.arange(keys.shape[1]) < lengths[:, None]  # (B, Tk)
    q, k, v = (np.swapaxes(x, 1, 2) for x in (queries, keys, values))
    if not there.all():
        k, v = (np.where(there[..., None], x, 0) for x in (k, v))
    scores, kept = SCORES[layer.score].forward(params, q, k)
    weights = softmax(scores, there[:, None])
    return np.swapaxes(np.matmul(weights, v), 1, 2), weights, Tape(q, k, v, weights, kept)


@on_one_thread
def backward(layer: Attention, params: dict, tape: Tape, d_contexts: np.ndarray):
    """dL/dcontexts (R, Tq, B, Hv) -> gradients of the parameters, dL/dqueries, dL/dkeys, dL/dvalues.

    The last two are 0 beyond the length of a row.
    """
    d_c = np.swapaxes(d_contexts, 1, 2)
    d_values = np.matmul(tape.weights.swapaxes(-1, -2), d_c)
    d_scores = softmax_backward(tape.weights, np.matmul(d_c, tape.values.swapaxes(-1, -2)))
    grads, d_q, d_k = SCORES[layer.score].backward(params, tape.queries, tape.keys, tape.kept, d_scores)
    return grads, *(np.swapaxes(d, 1, 2) for d in (d_q, d_k, d_values))


def softmax(scores: np.ndarray, there: np.ndarray) -> np.ndarray:
    """exp e / Σ exp e over the last axis among the entries that are `there`, at least one a row; 0 for the others.

    The largest score is taken off first, so that no exponential overflows.
    """
    weights = np.where(there, scores, -np.inf)
    with np.errstate(invalid="ignore"):  # the scores of a diverged replica, whose weights are NaN
        weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def softmax_backward(weights: np.ndarray, d_weights: np.ndarray) -> np.ndarray:
    """dL/de = a (dL/da - Σ a dL/da): 0 where the weight is."""
    d_scores = weights * d_weights
    d_scores -= weights * d_scores.sum(axis=-1, keepdims=True)
    return d_scores


def _check(layer: Attention, params: dict, queries, keys, values, lengths) -> np.ndarray:
    """The lengths (B,); ValueError for a wrong name, shape or dtype. No value is looked at: masked ones may be NaN."""
    expect_array("queries", queries, (None, None, None, layer.query_size), layer.dtype, "(R, Tq, B, H)", finite=False)
    replicas, _, batch, _ = queries.shape
    expect_array("keys", keys, (replicas, None, batch, layer.key_size), layer.dtype, "(R, Tk, B, H)", finite=False)
    steps = keys.shape[1]
    expect_array("values", values, (replicas, steps, batch, None), layer.dtype, "(R, Tk, B, Hv)", finite=False)
    shapes = parameter_shapes(layer)
    expect_names("params", params, shapes)
    for name, shape in shapes.items():
        expect_array(f"params[{name!r}]", params[name], (replicas, *shape), layer.dtype, "(R, …)", finite=False)
    return check_lengths(lengths, steps, batch)
