"""Weights from and for Keras, as lists of arrays in the order of `layer.get_weights()`; Keras itself is not needed.

Keras has kernel (I, G·H), recurrent_kernel (H, G·H) and, unless use_bias is False, bias (G·H,); of a GRU with
reset_after, bias (2, G·H), the part of the input and that of the product. Gates stand i, f, c, o in an LSTM and
z, r, h in a GRU (keras/src/layers/rnn, version 3). Activations are not in the weights: those of Keras' defaults are
those of the cells here.
"""

import numpy as np

from recurlab.cells import CELLS
from recurlab.layers.checks import expect, expect_choice
from recurlab.layers.recurrent import DTYPES, Recurrent, check_params, recurrent

# cell -> Keras' order of its gates, and the Keras layer it is
ORDERS = {
    "rnn_tanh": ("h",),  # SimpleRNN
    "rnn_relu": ("h",),  # SimpleRNN(activation="relu")
    "rnn_sigmoid": ("h",),
    "rnn_linear": ("h",),
    "lstm": ("i", "f", "g", "o"),  # LSTM
    "gru": ("z", "r", "n"),  # GRU
    "gru_reset_before": ("z", "r", "n"),  # GRU(reset_after=False)
}


def from_keras(cell: str, arrays, bidirectional: bool = False) -> tuple[Recurrent, dict[str, np.ndarray]]:
    """The layer and the parameters of recurrent Keras layers, whose arrays come one layer after another.

    In a `Bidirectional` layer the arrays of the forward layer come first. Layers without bias get zeros. ValueError
    for a cell that Keras has not, or for shapes that are not those of its layers.
    """
    expect_choice("cell", cell, ORDERS)
    groups = _groups(cell, [np.asarray(array) for array in arrays])
    (inputs, _), (hidden, _) = (array.shape for array in groups[0][:2])
    directions = 2 if bidirectional else 1
    expect(len(groups) % directions == 0, "arrays", f"those of {len(groups)} layers", "pairs, forward and backward")
    dtype = expect_choice("dtype", str(groups[0][0].dtype), DTYPES)
    layer = recurrent(cell, inputs, hidden, len(groups) // directions, bidirectional, dtype)
    params: dict[str, np.ndarray] = {}
    for (_, _, suffix), group in zip(layer.passes, groups, strict=True):
        params |= _params(layer, suffix, group)
    check_params(layer, params)
    return layer, params


def to_keras(layer: Recurrent, params: dict) -> list[np.ndarray]:
    """The arrays that `layer.set_weights()` of the same layers in Keras takes, one layer after another."""
    expect_choice("layer.cell", layer.cell, ORDERS)
    expect(not layer.packed, "layer", "a packed one", "a natural one (see unpack)")
    check_params(layer, params)
    back = np.argsort(_places(layer.cell))
    arrays = []
    for _, _, suffix in layer.passes:
        ih, hh = (params[f"weight_{part}{suffix}"] for part in ("ih", "hh"))
        biases = np.stack([params[f"bias_{part}{suffix}"] for part in ("ih", "hh")])
        biases = biases if layer.spec.separate else biases.sum(axis=0)
        arrays += [_ordered(array, back) for array in (ih.T, hh.T, biases)]
    return arrays


def _groups(cell: str, arrays: list) -> list[list]:
    """[kernel, recurrent_kernel, bias or None] of each layer."""
    biased = len(arrays) > 2 and len(arrays) % 3 == 0 and arrays[2].shape in _bias_shapes(cell, arrays[1])
    each = 3 if biased else 2
    groups = [[*arrays[k : k + each], None][:3] for k in range(0, len(arrays), each)]
    whole = groups and all(_are_of_a_layer(cell, *group) for group in groups) and len(arrays) % each == 0
    gates, both = len(CELLS[cell].gates), "2, " if CELLS[cell].separate else ""
    told = ", ".join(str(array.shape) for array in arrays)
    wanted = f"kernel (I, {gates}·H), recurrent_kernel (H, {gates}·H), bias ({both}{gates}·H,) or none of each layer"
    expect(whole, f"arrays of {cell}", f"shapes {told}", wanted)
    return groups


def _bias_shapes(cell: str, recurrent_kernel: np.ndarray) -> list[tuple[int, ...]]:
    rows = recurrent_kernel.shape[-1:]
    return [(2, *rows) if CELLS[cell].separate else rows]


def _are_of_a_layer(cell: str, kernel, recurrent_kernel=None, bias=None) -> bool:
    """Whether shapes fit each other."""
    if recurrent_kernel is None or kernel.ndim != 2 or recurrent_kernel.ndim != 2:
        return False
    hidden, rows = recurrent_kernel.shape
    fits = rows == len(CELLS[cell].gates) * hidden == kernel.shape[1]
    return fits and (bias is None or bias.shape in _bias_shapes(cell, recurrent_kernel))


def _places(cell: str) -> list[int]:
    """Where in Keras' order each gate of the cell stands."""
    return [ORDERS[cell].index(gate) for gate in CELLS[cell].gates]


def _ordered(array: np.ndarray, places) -> np.ndarray:
    """The blocks of the last axis in another order."""
    blocks = np.split(array, len(places), axis=-1)
    return np.concatenate([blocks[k] for k in places], axis=-1)


def _params(layer: Recurrent, suffix: str, group: list) -> dict[str, np.ndarray]:
    """The parameters of one layer and direction."""
    places, zeros = _places(layer.cell), np.zeros(group[0].shape[1:], layer.dtype)
    kernel, recurrent_kernel = (np.ascontiguousarray(_ordered(array, places).T) for array in group[:2])
    bias = zeros if group[2] is None else _ordered(group[2], places)
    ih, hh = bias if bias.ndim == 2 else (bias, zeros)
    arrays = {"weight_ih": kernel, "weight_hh": recurrent_kernel, "bias_ih": ih, "bias_hh": hh}
    return {f"{name}{suffix}": array for name, array in arrays.items()}
