"""The output layer of a language model with its loss: a linear layer over V words, softmax, cross-entropy, in one.

R replicas at once: weight (R, V, H) and bias (R, V) as PyTorch's nn.Linear, h (R, N, H), targets ((R,) N) words. The
loss is the mean Σ w l / Σ w of l = -ln softmax(h Wᵀ + b)[target] in nats, w = weights ((R,) N) or 1; a position of
weight 0 is never looked at. Positions go in chunks of at most CHUNK logits; all sums run in an order fixed by N, V and
H, so a replica has the same bits alone and among others, on one thread and on many.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recurlab.kernels import cpu, memory
from recurlab.kernels import softmax as kernels
from recurlab.kernels.denormals import check_supported
from recurlab.kernels.softmax import Packed, Scores, Sizes, Targets
from recurlab.kernels.target import column_product_of, row_product_of
from recurlab.layers.checks import expect
from recurlab.layers.embedding import check_ids
from recurlab.layers.loss import checked_weights, expect_shape
from recurlab.layers.matrices import with_replicas

CHUNK = 2**22  # logits at a time: 16 MB in float32, 400 positions of 10,000 words


class Fused(NamedTuple):
    """Loss and error (R,) of a batch, and the gradients of the loss."""

    loss: np.ndarray
    error: np.ndarray  # share of positions where some word is more probable than the target
    d_h: np.ndarray  # (R, N, H)
    d_weight: np.ndarray  # (R, V, H)
    d_bias: np.ndarray  # (R, V)


class Judged(NamedTuple):
    """What a forward pass says of every position, (R, N) float64 each."""

    logs: np.ndarray  # ln Σ exp of the logits
    losses: np.ndarray  # -ln p of the target
    errors: np.ndarray  # 1 where some word is more probable than the target


class Given(NamedTuple):
    """Checked arguments."""

    weight: np.ndarray
    bias: np.ndarray
    h: np.ndarray
    weights: np.ndarray  # (R or 1, N) float64
    targets: Targets


def loss_and_gradients(weight, bias, h, targets, weights=None, *, flush_denormals=False) -> Fused:
    """The mean loss of each replica with its gradients; ValueError for wrong shapes or targets that are no words."""
    given, judged = _checked(weight, bias, h, targets, weights), _empty_judged(h)
    d_h, d_weight, d_bias = (memory.empty(array.shape, h.dtype) for array in (h, weight, bias))
    products = row_product_of(h.dtype.name).address, column_product_of(h.dtype.name).address
    threads = cpu.most_threads()
    for group, n, packed, scores in _scored(given, judged, flush_denormals):
        work = memory.empty((threads * kernels.working_numbers(n),), h.dtype)
        out = (array[group].reshape(-1) for array in (d_h, d_weight, d_bias))
        own = Targets(*(_of_group(array, group) for array in given.targets))
        kernels.differentiation()(n, *products, packed, own, scores, work, *out, threads, flush_denormals)
    return Fused(*_means(given, judged), d_h, d_weight, d_bias)


def loss(weight, bias, h, targets, weights=None, *, flush_denormals=False) -> tuple[np.ndarray, np.ndarray]:
    """Loss (R,) and error (R,) alone."""
    given = _checked(weight, bias, h, targets, weights)
    return _means(given, _judge(given, flush_denormals))


def target_log_probabilities(weight, bias, h, targets) -> np.ndarray:
    """ln p of the target of every position, (R, N) float64."""
    return -_judge(_checked(weight, bias, h, targets, None), False).losses


def log_probabilities(weight, bias, h) -> np.ndarray:
    """ln p of every word at every position, (R, N, V)."""
    given, judged = _checked(weight, bias, h, np.zeros(h.shape[1], np.int64), None), _empty_judged(h)
    found = np.empty((*h.shape[:2], weight.shape[1]), h.dtype)
    for group, n, _, scores in _scored(given, judged, False):
        z = scores.z.reshape(n.replicas, n.word_blocks, n.count, n.lanes).swapaxes(1, 2)
        here = slice(n.first, n.first + n.count)
        found[group, here] = z.reshape(n.replicas, n.count, -1)[..., : n.words] - judged.logs[group, here, None]
    return found


def _checked(weight, bias, h, targets, weights) -> Given:
    """The arguments, contiguous and with their replica axes."""
    replicas, words, hidden = weight.shape
    expect(bias.shape == (replicas, words), "bias", f"shape {bias.shape}", f"(R, V) = {(replicas, words)}")
    fits = h.ndim == 3 and (len(h), h.shape[2]) == (replicas, hidden) and h.shape[1] > 0
    expect(fits, "h", f"shape {h.shape}", f"(R, N, H) with R = {replicas}, N ≥ 1, H = {hidden}")
    same = weight.dtype == bias.dtype == h.dtype
    expect(same, "h", f"dtypes {weight.dtype}, {bias.dtype}, {h.dtype}", "one dtype for weight, bias and h")
    targets = with_replicas(targets, 1)
    expect_shape("targets", targets, replicas, h.shape[1:2])
    check_ids("targets", targets, words)
    weights = checked_weights(weights, *h.shape[:2])
    weight, bias, h = with_replicas(weight, 2), with_replicas(bias, 1), with_replicas(h, 2)
    shares = weights / weights.sum(axis=1, keepdims=True)
    return Given(weight, bias, h, weights, Targets(targets.astype(np.int64, copy=False), shares))


def _of_group(array: np.ndarray, group: slice) -> np.ndarray:
    """The rows of some replicas in an array (R or 1, …)."""
    return array if len(array) == 1 else array[group]


def _empty_judged(h: np.ndarray) -> Judged:
    """Room for what is said of every position."""
    return Judged(*np.empty((3, *h.shape[:2])))


def _judge(given: Given, flushing: bool) -> Judged:
    """A forward pass alone."""
    judged = _empty_judged(given.h)
    for _ in _scored(given, judged, flushing):
        pass
    return judged


def _scored(given: Given, judged: Judged, flushing: bool) -> Iterator[tuple[slice, Sizes, Packed, Scores]]:
    """Judge all positions, some replicas and a chunk at a time: what the backward pass needs of each."""
    check_supported(flushing)
    (replicas, positions, hidden), words, dtype = given.h.shape, given.weight.shape[1], given.h.dtype
    count = min(positions, max(1, CHUNK // words))
    together = max(1, CHUNK // (count * words))
    for group in (slice(first, min(first + together, replicas)) for first in range(0, replicas, together)):
        whole = kernels.sizes_of(dtype, group.stop - group.start, positions, words, hidden)
        packed = kernels.empty_packed(whole, dtype)
        kernels.prepare()(whole, given.weight[group].reshape(-1), given.bias[group].reshape(-1), packed)
        targets = Targets(*(_of_group(array, group) for array in given.targets))
        for first in range(0, positions, count):
            n = kernels.chunk_of(whole, first, min(count, positions - first))
            scores = kernels.empty_scores(n, dtype)
            into, product = (array[group] for array in judged), row_product_of(dtype.name).address
            own = packed, given.h[group].reshape(-1), targets, scores, *into
            kernels.score()(n, product, *own, cpu.most_threads(), flushing)
            yield group, n, packed, scores


def _means(given: Given, judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Σ w l / Σ w of losses and errors, (R,) each, summed in the order of the positions."""
    weights = np.broadcast_to(given.weights, judged.losses.shape)
    sums = (
        np.array([np.sum(w * np.where(w == 0, 0, own)) for w, own in zip(weights, values, strict=True)])
        for values in (judged.losses, judged.errors)
    )
    return tuple(total / given.weights.sum(axis=1) for total in sums)


def warm(dtype: str) -> None:
    """Compile everything here for a dtype, or load it: what `recurlab compile` calls."""
    loss_and_gradients(*(np.zeros((1,) * axes, dtype) for axes in (3, 2, 3)), np.zeros(1, np.int64))
