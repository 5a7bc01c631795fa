"""A window MLP: a hidden layer on the last k inputs and a linear readout. It remembers these inputs and nothing else.

h_t = tanh(W_hidden [x_{t-k+1}, …, x_t] + b_hidden), y_t = W_out h_t + b_out; what would lie before the first input is 0
(a time-delay network of one layer: Lang, Waibel & Hinton 1990). R replicas at once. The parameters are those of two
nn.Linear: weight_hidden (R, H, k·I), bias_hidden (R, H), weight_out (R, O, H), bias_out (R, O).
"""

from typing import NamedTuple

import numpy as np

from recurlab.layers import linear
from recurlab.layers.checks import expect_choice, expect_size
from recurlab.layers.loss import LOSSES
from recurlab.layers.matrices import with_replicas
from recurlab.layers.recurrent import DTYPES
from recurlab.models.gradients import Result
from recurlab.models.sequence import Batch, readout_backward, readout_loss
from recurlab.random import Stream, uniform


class WindowMLP(NamedTuple):
    """The description of a window MLP with a target at every step; it holds no weights. Made by `window_mlp`."""

    input_size: int
    window: int  # k
    hidden_size: int
    outputs: int
    loss: str  # of LOSSES
    dtype: str = "float32"
    at = "every"


def window_mlp(
    input_size: int, window: int, hidden_size: int, outputs: int, loss: str, dtype: str = "float32"
) -> WindowMLP:
    """Describe a window MLP; ValueError for a size below 1, an unknown loss or dtype."""
    sizes = {"input_size": input_size, "window": window, "hidden_size": hidden_size, "outputs": outputs}
    checked = {name: expect_size(name, value) for name, value in sizes.items()}
    expect_choice("loss", loss, LOSSES)
    expect_choice("dtype", dtype, DTYPES)
    return WindowMLP(**checked, loss=loss, dtype=dtype)


def parameter_shapes(net: WindowMLP) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    hidden, outputs = net.hidden_size, net.outputs
    inner = {"weight_hidden": (hidden, net.window * net.input_size), "bias_hidden": (hidden,)}
    return inner | {"weight_out": (outputs, hidden), "bias_out": (outputs,)}


def initial(net: WindowMLP, seeds) -> dict[str, np.ndarray]:
    """nn.Linear's U(-1/√n, 1/√n), n the numbers that a unit sees; bias_out = 0. One replica for each seed."""
    return {name: np.stack([_drawn(net, int(seed), name) for seed in seeds]) for name in parameter_shapes(net)}


def _drawn(net: WindowMLP, seed: int, name: str) -> np.ndarray:
    """One parameter of one replica."""
    shapes = parameter_shapes(net)
    if name == "bias_out":
        return np.zeros(shapes[name], net.dtype)
    seen = shapes[name.replace("bias", "weight")][1]
    return ((2 * uniform(Stream(seed, f"init {name}"), shapes[name]) - 1) / np.sqrt(seen)).astype(net.dtype)


def windows(x: np.ndarray, window: int) -> np.ndarray:
    """The last `window` inputs of every step side by side, the oldest first: (R, T, B, I) -> (R, T, B, k·I)."""
    replicas, steps, rows, size = x.shape
    before = np.zeros((replicas, window - 1, rows, size), x.dtype)
    seen = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, x], axis=1), window, axis=1)
    return seen.swapaxes(-1, -2).reshape(replicas, steps, rows, window * size)


def evaluate(net: WindowMLP, params: dict, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Loss (R,) and error (R,) of a batch, forward alone."""
    return readout_loss(net, params, _hidden(params, _seen(net, batch)), batch)[:2]


def loss_and_gradients(net: WindowMLP, params: dict, batch: Batch) -> Result:
    """The mean loss of each replica over what counts in the batch, and its gradient."""
    seen = _seen(net, batch)
    h = _hidden(params, seen)
    loss, error, d_out = readout_loss(net, params, h, batch)
    grads, d_h = readout_backward(params, h, d_out)
    inner, _ = linear.backward(params["weight_hidden"], seen, d_h * (1 - h * h))
    grads |= {"weight_hidden": inner["weight"], "bias_hidden": inner["bias"]}
    return Result(loss, error, np.zeros(len(loss)), grads)


def _seen(net: WindowMLP, batch: Batch) -> np.ndarray:
    """What the hidden layer sees at all T·B positions, (R or 1, T·B, k·I)."""
    x = windows(with_replicas(batch.x, 3), net.window)
    return x.reshape(len(x), -1, x.shape[-1])


def _hidden(params: dict, seen: np.ndarray) -> np.ndarray:
    """tanh(W x + b), (R, T·B, H)."""
    return np.tanh(linear.forward(params["weight_hidden"], params["bias_hidden"], seen))
