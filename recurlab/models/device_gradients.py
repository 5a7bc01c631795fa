"""The gradients of a sequence network whose parameters lie on a GPU: only loss and error come back to the host."""

import numpy as np

from recurlab.kernels.cuda import target
from recurlab.layers import device_learning
from recurlab.layers.recurrent import backward, forward
from recurlab.models.sequence import Batch, Network, last_steps, own_parameters, readout_backward, readout_loss


def whole(net: Network, params: dict, batch: Batch):
    """Loss (R,) and error (R,) of a batch in NumPy, and the gradient of every parameter on the GPU."""
    own, at_end = own_parameters(params), net.at == "last" and batch.ends is None
    x = target.to_device(batch.x)
    y, final, tape = forward(net.layer, own, x, lengths=batch.lengths, check=False, output=not at_end)
    seen = final[0] if at_end else y
    h, rows = _seen_by_readout(net, batch, seen)
    loss, error, d_out = readout_loss(net, params, h, batch)
    grads, d_h = readout_backward(params, h, d_out)
    back = d_h.reshape(*seen.shape) if rows is None else device_learning.put(d_h, rows, seen.shape)
    dy, d_final = (None, _final(back, final)) if at_end else (back, None)
    more, _, _ = backward(net.layer, own, tape, dy, d_final, check=False, input_gradient=False)
    return loss, error, grads | more


def _seen_by_readout(net: Network, batch: Batch, seen):
    """h (R, N, D·H) out of final states (R, L·D, B, H) or y (R, T, B, D·H), and its rows there; None: all, in order."""
    replicas, steps, count, width = seen.shape
    if net.at == "every":
        return seen.reshape(replicas, steps * count, width), None
    last = (np.arange(replicas)[:, None], steps - 1, np.arange(count))
    index = last if batch.ends is None else last_steps(batch, seen)
    rows = np.ravel_multi_index(np.broadcast_arrays(*index), (replicas, steps, count))
    return device_learning.taken(seen, rows), rows


def _final(d_h, final: tuple) -> tuple:
    """The gradients of all final states: zeros but for h."""
    return d_h, *(target.zeros(array.shape, array.dtype) for array in final[1:])
