"""A recurrent network for sequences: a recurrent layer and a linear readout of its last or of every step.

R replicas at once. Parameters: those of the recurrent layer, and weight_out (R, O, D·H), bias_out (R, O). Here is how
it runs forward and is judged; its gradients are in `gradients`.
"""

from typing import NamedTuple

import numpy as np

from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import linear
from recurlab.layers.checks import expect, expect_choice, expect_size
from recurlab.layers.footprint import replica_groups
from recurlab.layers.loss import LOSSES
from recurlab.layers.recurrent import Recurrent, Tape, forward
from recurlab.random import Stream, normal, uniform

OUTPUT = ("weight_out", "bias_out")
PLACES = ("last", "every")


class Batch(NamedTuple):
    """What a network sees in one update. An array without the axis R is shared by all replicas."""

    x: np.ndarray  # ([R,] T, B, I)
    targets: np.ndarray  # of the last step ([R,] B) classes or ([R,] B, O) values, of every step ([R,] T, B[, O])
    weights: np.ndarray | None = None  # of every step, ([R,] T, B): 1 where a step counts, 0 where not; None: all do
    ends: np.ndarray | None = None  # ([R,] B), each row's last step; None: T - 1
    lengths: np.ndarray | None = None  # (B,), the steps of each row, for the kernels; None: T


class Network(NamedTuple):
    """A recurrent layer, its readout and its loss; it holds no weights. Made by `network`."""

    layer: Recurrent
    outputs: int
    loss: str  # of LOSSES
    at: str  # "last" or "every" step


class Dropped(NamedTuple):
    """Factors of dropout in the shape of what they multiply, or with T = 1 for all steps; None: nothing is dropped.

    `keep` is zoneout, see `recurrent.forward`: how much of the new value each state takes.
    """

    inputs: np.ndarray | None = None  # (R, T or 1, B, I)
    outputs: np.ndarray | None = None  # (R, T or 1, B, D·H)
    keep: tuple[np.ndarray, ...] | None = None  # for each state (R, L·D, T, B, H)
    between: np.ndarray | None = None  # (R, L-1, T or 1, B, D·H)


NOTHING = Dropped()


def network(layer: Recurrent, outputs: int, loss: str, at: str) -> Network:
    """A layer with a readout of `outputs` numbers; ValueError for an unknown loss or place."""
    expect_choice("loss", loss, LOSSES)
    expect_choice("at", at, PLACES)
    expect(at == "every" or not layer.bidirectional, "at", at, "'every' for a bidirectional layer")
    return Network(layer, expect_size("outputs", outputs), loss, at)


def readout(net: Network, seeds, sd: float | None = None) -> dict[str, np.ndarray]:
    """weight_out ~ U(-1/√(D·H), 1/√(D·H)) as PyTorch's nn.Linear, or N(0, sd²), and bias_out = 0; one for each seed."""
    width = net.layer.directions * net.layer.hidden_size
    weight = np.stack([_drawn_readout(int(seed), (net.outputs, width), sd) for seed in seeds]).astype(net.layer.dtype)
    return {"weight_out": weight, "bias_out": np.zeros(weight.shape[:2], weight.dtype)}


def _drawn_readout(seed: int, shape: tuple[int, int], sd: float | None) -> np.ndarray:
    stream = Stream(seed, "init weight_out")
    return (2 * uniform(stream, shape) - 1) * shape[1] ** -0.5 if sd is None else sd * normal(stream, shape)


def of_group(dropped: Dropped, group: slice) -> Dropped:
    """The factors of some replicas."""
    inputs, outputs, between = (None if mask is None else mask[group] for mask in (*dropped[:2], dropped.between))
    return Dropped(inputs, outputs, dropped.keep and tuple(mask[group] for mask in dropped.keep), between)


def evaluate(net: Network, params: dict, batch: Batch, dropped: Dropped = NOTHING) -> tuple[np.ndarray, np.ndarray]:
    """Loss (R,) and error (R,) of a batch, forward alone."""
    found = []
    for group in replica_groups(net.layer, len(params["bias_out"]), *batch.x.shape[-3:-1]):
        own, part = {name: array[group] for name, array in params.items()}, of_replicas(net, batch, group)
        found.append(loss_of(net, own, read(net, own, part, None, of_group(dropped, group)), part)[:2])
    return tuple(np.concatenate(values) for values in zip(*found, strict=True))


def outputs(net: Network, params: dict, batch: Batch) -> np.ndarray:
    """The readout before the loss, (R, N, O) with N = B for the last step and T·B for every step."""
    return linear.forward(params["weight_out"], params["bias_out"], read(net, params, batch).h)


def of_replicas(net: Network, batch: Batch, chosen) -> Batch:
    """The batch of some replicas: an array without the axis R stays."""
    return Batch(*(a[chosen] if own else a for a, own in zip(batch, owned(net, batch), strict=True)))


def owned(net: Network, batch: Batch) -> list[bool]:
    """Which arrays of a batch have the axis R."""
    targets = (1 if net.at == "last" else 2) + (net.loss != "cross_entropy")
    shared = Batch(3, targets, 2, 1, 1)
    return [a is not None and a.ndim > axes for a, axes in zip(batch, shared, strict=True)]


class Reading(NamedTuple):
    """A forward pass: what the readout saw, and what the backward pass needs."""

    own: dict
    tape: Tape
    y: np.ndarray | None  # (R, T, B, D·H), before dropout
    state: tuple
    h: np.ndarray  # (R, N, D·H), after dropout


def own_parameters(params: dict) -> dict:
    """Those of the recurrent layer alone."""
    return {name: array for name, array in params.items() if name not in OUTPUT}


def read(net: Network, params: dict, batch: Batch, state=None, dropped: Dropped = NOTHING, needs_y=False) -> Reading:
    """Forward through the recurrent layer to what the readout sees."""
    own, mask = own_parameters(params), dropped.outputs
    at_end = net.at == "last" and batch.ends is None and mask is None
    x = batch.x if dropped.inputs is None else batch.x * dropped.inputs
    options = {"flush_denormals": SUPPORTED, "check": False, "output": needs_y or not at_end}
    masks = {"keep": dropped.keep, "between": dropped.between}
    y, final, tape = forward(net.layer, own, x, state, batch.lengths, **options, **masks)
    if at_end:
        return Reading(own, tape, y, final, final[0][:, -1])
    seen = y if mask is None else y * mask
    h = seen.reshape(len(y), -1, y.shape[-1]) if net.at == "every" else seen[last_steps(batch, y)]
    return Reading(own, tape, y, final, h)


def last_steps(batch: Batch, y: np.ndarray) -> tuple:
    """The index of every row's last step in y (R, T, B, D·H)."""
    replicas, steps, rows = y.shape[:3]
    last = steps - 1 if batch.lengths is None else batch.lengths - 1
    ends = np.broadcast_to(last if batch.ends is None else batch.ends, (replicas, rows))
    return np.arange(replicas)[:, None], ends, np.arange(rows)


def readout_loss(net, params: dict, h: np.ndarray, batch: Batch):
    """Loss (R,), error (R,) and dL/doutputs (R, N, O) of a readout of h (R, N, D·H), whatever network it comes from."""
    out = linear.forward(params["weight_out"], params["bias_out"], h)
    _, targets, weights, _, _ = _in_one_axis(net, batch)
    return LOSSES[net.loss](out, targets, weights)


def readout_backward(params: dict, h: np.ndarray, d_out: np.ndarray) -> tuple[dict, np.ndarray]:
    """dL/doutputs -> gradients of the readout, and dL/dh."""
    out, d_h = linear.backward(params["weight_out"], h, d_out)
    return {"weight_out": out["weight"], "bias_out": out["bias"]}, d_h


def loss_of(net: Network, params: dict, reading: Reading, batch: Batch):
    """`judge` of a reading."""
    return readout_loss(net, params, reading.h, batch)


def _in_one_axis(net: Network, batch: Batch) -> Batch:
    """T and B of targets and weights in one axis N, if every step has a target."""
    if net.at == "last":
        return batch
    _, targets, weights, *_ = owned(net, batch)
    flat = batch.targets.reshape(*batch.targets.shape[:targets], -1, *batch.targets.shape[targets + 2 :])
    counted = batch.weights
    return batch._replace(
        targets=flat, weights=None if counted is None else counted.reshape(*counted.shape[:weights], -1)
    )
