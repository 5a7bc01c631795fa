"""A loss of R replicas whose outputs lie on a GPU: the functions of `loss`, position by position."""

import numpy as np

from recurlab.kernels.cuda import learning, target


def run(position, outputs, targets: np.ndarray, weights: np.ndarray):
    """Loss (R,) and error (R,) in NumPy, dL/doutputs (R, N, O) on the GPU; arguments as in `loss._run`, checked."""
    replicas, count, _ = outputs.shape
    totals = target.to_device(weights.sum(axis=1))
    parts, means = target.empty((2, replicas, count), np.float64), target.empty((2, replicas), np.float64)
    gradient = target.empty(outputs.shape, outputs.dtype)
    judge = learning.compiled(learning.judge, position.__name__, position=position)
    given = target.to_device(targets), target.to_device(weights), totals
    target.spread(judge, replicas * count, outputs, *given, parts, gradient)
    learning.run(learning.mean, means.size, parts, totals, means)
    loss, error = target.to_host(means)
    return loss, error, gradient
