"""A recurrent network unrolled without weight sharing: a layer for each of T steps, each with weights of its own.

Every parameter of the recurrent layer has the step as second axis, (R, T, …); the readout is that of the network with
shared weights. It runs on T steps and on no other number: there are no weights for one more.
"""

import numpy as np

from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers.checks import expect
from recurlab.layers.matrices import with_replicas
from recurlab.layers.recurrent import Recurrent, Tape
from recurlab.layers.recurrent import backward as back_one
from recurlab.layers.recurrent import forward as run_one
from recurlab.models.gradients import Result
from recurlab.models.sequence import OUTPUT, Batch, Network, own_parameters, readout_backward, readout_loss


def untie(params: dict, steps: int) -> dict[str, np.ndarray]:
    """Weights of their own for each step, all equal to the shared ones: (R, …) -> (R, T, …); the readout stays."""
    return {name: a if name in OUTPUT else np.repeat(a[:, None], steps, axis=1) for name, a in params.items()}


def forward(layer: Recurrent, params: dict, x: np.ndarray) -> tuple[np.ndarray, list[Tape]]:
    """From zero states: x ([R,] T, B, I) -> y (R, T, B, H), and the tape of each step."""
    x, state, outputs, tapes = with_replicas(x, 3), None, [], []
    replicas, steps = next(iter(params.values())).shape[:2]
    expect(x.shape[1] == steps, "x", f"T = {x.shape[1]} steps", f"T = {steps}: there are weights for no other number")
    expect(not layer.bidirectional, "layer", "a bidirectional one", "one that runs forwards")
    for x_t in np.broadcast_to(x, (replicas, *x.shape[1:])).swapaxes(0, 1):
        own = _of_step(params, len(tapes))
        x_t = np.ascontiguousarray(x_t[:, None])
        y, state, tape = run_one(layer, own, x_t, state, flush_denormals=SUPPORTED, check=False)
        outputs.append(y)
        tapes.append(tape)
    return np.concatenate(outputs, axis=1), tapes


def backward(layer: Recurrent, params: dict, tapes: list[Tape], dy: np.ndarray) -> tuple[dict, np.ndarray]:
    """dL/dy (R, T, B, H) -> the gradient of every step's own parameters, (R, T, …), and dL/dx (R, T, B, I)."""
    d_state, grads, dx = None, [], []
    for t in reversed(range(len(tapes))):
        d_now = np.ascontiguousarray(dy[:, t : t + 1])
        own, dx_t, d_state = back_one(
            layer, _of_step(params, t), tapes[t], d_now, d_state, flush_denormals=SUPPORTED, check=False
        )
        grads.append(own)
        dx.append(dx_t)
    return {name: np.stack([own[name] for own in grads[::-1]], axis=1) for name in params}, np.concatenate(dx[::-1], 1)


def _of_step(params: dict, t: int) -> dict[str, np.ndarray]:
    """The parameters of one step, contiguous as the kernels want them."""
    return {name: np.ascontiguousarray(array[:, t]) for name, array in params.items()}


def evaluate(net: Network, params: dict, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Loss (R,) and error (R,) of a batch, forward alone."""
    _expect_whole(batch)
    y, _ = forward(net.layer, own_parameters(params), batch.x)
    return readout_loss(net, params, _read(net, y), batch)[:2]


def loss_and_gradients(net: Network, params: dict, batch: Batch) -> Result:
    """The mean loss of each replica over what counts in the batch, and its gradient; rows all have T steps."""
    _expect_whole(batch)
    own = own_parameters(params)
    y, tapes = forward(net.layer, own, batch.x)
    h = _read(net, y)
    loss, error, d_out = readout_loss(net, params, h, batch)
    grads, d_h = readout_backward(params, h, d_out)
    dy = d_h.reshape(y.shape) if net.at == "every" else _at_last(y, d_h)
    return Result(loss, error, np.zeros(len(loss)), grads | backward(net.layer, own, tapes, dy)[0])


def _expect_whole(batch: Batch) -> None:
    """Every row has all steps."""
    expect(batch.ends is None and batch.lengths is None, "batch", "rows of different length", "rows of T steps")


def _read(net: Network, y: np.ndarray) -> np.ndarray:
    """What the readout sees of y, (R, N, H)."""
    return y.reshape(len(y), -1, y.shape[-1]) if net.at == "every" else y[:, -1]


def _at_last(y: np.ndarray, d_h: np.ndarray) -> np.ndarray:
    """dL/dy of a loss at the last step."""
    dy = np.zeros_like(y)
    dy[:, -1] = d_h
    return dy
