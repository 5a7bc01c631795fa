"""A sequence classifier: a recurrent network and a softmax on its last state, for R replicas at once.

Parameters: those of the recurrent layer, and weight_out (R, classes, H), bias_out (R, classes).
"""

import numpy as np

from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import linear
from recurlab.layers.footprint import replica_groups
from recurlab.layers.loss import cross_entropy
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
    _, state, tape = forward(layer, own, x, flush_denormals=SUPPORTED, check=False, output=False)
    h = state[0][:, -1]
    return linear.forward(params["weight_out"], params["bias_out"], h), (own, tape, h)


def loss_and_gradients(layer: Recurrent, params: dict, x: np.ndarray, targets: np.ndarray):
    """Mean cross-entropy of each replica (R,) and the gradient of every parameter.

    Replicas go in groups whose tapes stay in the cache; none sees another, so their bits do not depend on it.
    """
    replicas = len(params["bias_out"])
    losses, parts = [], []
    for group in replica_groups(layer, replicas, x.shape[-3], x.shape[-2]):
        some = params if replicas == 1 else {name: array[group] for name, array in params.items()}
        loss, grads = _one_group(layer, some, x if x.ndim == 3 else x[group], targets)
        losses.append(loss)
        parts.append(grads)
    if len(parts) == 1:
        return losses[0], parts[0]
    return np.concatenate(losses), {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _one_group(layer: Recurrent, params: dict, x: np.ndarray, targets: np.ndarray):
    """`loss_and_gradients` of replicas whose tapes are held at once."""
    scores, (own, tape, h) = logits(layer, params, x)
    loss, _, d_scores = cross_entropy(scores, targets)
    out, d_h = linear.backward(params["weight_out"], h, d_scores)
    batch, hidden = len(targets), layer.hidden_size
    d_state = tuple(np.zeros((len(h), layer.num_layers, batch, hidden), layer.dtype) for _ in layer.spec.states)
    d_state[0][:, -1] = d_h
    options = {"flush_denormals": SUPPORTED, "check": False, "input_gradient": False}
    grads, _, _ = backward(layer, own, tape, None, d_state, **options)
    return loss, {**grads, "weight_out": out["weight"], "bias_out": out["bias"]}
