"""Softmax cross-entropy of R replicas at once."""

import numpy as np


def softmax_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of -ln softmax(logits)[target] over the batch, and its gradient.

    logits (R, B, classes), targets (B,) -> loss (R,) in nats, dL/dlogits (R, B, classes). The largest logit is taken
    off first, so that no exponential overflows.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=-1, keepdims=True)
    rows = np.arange(len(targets))
    loss = (np.log(total[..., 0]) - shifted[:, rows, targets]).mean(axis=1)
    gradient = exponentials / total
    gradient[:, rows, targets] -= 1
    return loss, gradient / np.asarray(len(targets), logits.dtype)
