"""The training loop: epochs of minibatches in an addressed random order, all replicas side by side."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recurlab.layers.loss import cross_entropy
from recurlab.layers.recurrent import Recurrent
from recurlab.models import classifier
from recurlab.optimise import Adam, adam, clip_by_norm, start
from recurlab.random import Stream, permutation


class Epoch(NamedTuple):
    """What one epoch leaves; all entries (R,) but params."""

    number: int
    params: dict
    train_loss: np.ndarray  # nats, mean over the updates of the epoch
    gradient_norm: np.ndarray  # before clipping, mean over the updates of the epoch


def train_classifier(
    layer: Recurrent, params: dict, x, targets, rule: Adam, clip: float, batch: int, epochs: int
) -> Iterator[Epoch]:
    """Train R classifiers on x (T, N, I), targets (N,); yields epoch 0 (untrained) and then every epoch.

    All replicas see the same minibatches, so differences between them come from their weights alone. A replica whose
    gradient is not finite stays where it is.
    """
    moments = start(params)
    untrained = np.full(len(params["bias_out"]), np.nan)
    yield Epoch(0, params, untrained, untrained)
    for number in range(1, epochs + 1):
        losses, norms = [], []
        for rows in _minibatches(x.shape[1], batch, number):
            loss, grads = classifier.loss_and_gradients(layer, params, np.ascontiguousarray(x[:, rows]), targets[rows])
            clipped, norm = clip_by_norm(grads, clip)
            params, moments = adam(rule, params, clipped, moments)
            losses.append(loss)
            norms.append(norm)
        yield Epoch(number, params, np.mean(losses, axis=0), np.mean(norms, axis=0))


def _minibatches(count: int, batch: int, epoch: int) -> list[np.ndarray]:
    """The rows of an epoch in a new order, in whole minibatches: a remainder smaller than `batch` is left out."""
    order = permutation(Stream(0, "minibatches", step=epoch), count)
    return [order[k : k + batch] for k in range(0, count - batch + 1, batch)]


def evaluate(layer: Recurrent, params: dict, x, targets) -> tuple[np.ndarray, np.ndarray]:
    """Mean cross-entropy (R,) in nats and accuracy (R,) on x (T, N, I)."""
    scores, _ = classifier.logits(layer, params, x)
    loss, error, _ = cross_entropy(scores, targets)
    return loss, 1 - error
