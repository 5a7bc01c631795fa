"""A sequence classifier: a recurrent network and a softmax on its last state, for R replicas at once.

Parameters: those of the recurrent layer, and weight_out (R, classes, H), bias_out (R, classes).
"""

import numpy as np

from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import linear
from recurlab.layers.loss import softmax_cross_entropy
from recurlab.layers.recurrent import Recurrent, backward, forward
from recurlab.random import Stream, uniform

OUTPUT = ("weight_out", "bias_out")


def output_layer(layer: Recurrent, classes: int, seeds) -> dict[str, np.ndarray]:
    """weight_out ~ U(-1/√H, 1/√H) as PyTorch's nn.Linear, bias_out = 0; one replica for each seed."""
    bound, shape = layer.hidden_size**-0.5, (classes, layer.hidden_size)
    weight = np.stack([bound * (2 * uniform(Stream(int(seed), "init weight_out"), shape) - 1) for seed in seeds])
    return {"weight_out": weight.astype(layer.dtype), "bias_out": np.zeros((len(seeds), classes), layer.dtype)}


def logits(layer: Recurrent, params: dict, x: np.ndarray):
    """Class scores (R, B, classes) of x ([R,] T, B, I), and what the backward pass needs."""
    own = {name: array for name, array in params.items() if name not in OUTPUT}
    _, state, tape = forward(layer, own, x, flush_denormals=SUPPORTED, check=False)
    h = state[0][:, -1]
    return linear.forward(params["weight_out"], params["bias_out"], h), (own, tape, h)


def loss_and_gradients(layer: Recurrent, params: dict, x: np.ndarray, targets: np.ndarray):
    """Mean cross-entropy of each replica (R,) and the gradient of every parameter."""
    scores, (own, tape, h) = logits(layer, params, x)
    loss, d_scores = softmax_cross_entropy(scores, targets)
    out, d_h = linear.backward(params["weight_out"], h, d_scores)
    batch, (steps, hidden) = len(targets), (x.shape[-3], layer.hidden_size)
    d_state = tuple(np.zeros((len(h), layer.num_layers, batch, hidden), layer.dtype) for _ in layer.spec.states)
    d_state[0][:, -1] = d_h
    dy = np.zeros((len(h), steps, batch, hidden), layer.dtype)
    grads, _, _ = backward(layer, own, tape, dy, d_state, flush_denormals=SUPPORTED, check=False)
    return loss, {**grads, "weight_out": out["weight"], "bias_out": out["bias"]}
