"""Recurrent language models: embedding, recurrent layers of any cell, softmax over the words. R replicas at once.

Parameters under the names of a PyTorch model of nn.Embedding, nn.LSTM and nn.Linear: weight_embedding (R, V, E), those
of the recurrent layers, weight_out (R, V, H) and bias_out (R, V). With tied weights the embedding is the output matrix,
too (Inan, Khosravi & Socher 2017; Press & Wolf 2017), and there is no weight_out.

Here is how a model runs forward; its gradients are in `recurrent_lm_gradients`, what it says of a text in
`recurrent_lm_scores`.
"""

from typing import NamedTuple

import numpy as np

from recurlab import weights
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import embedding
from recurlab.layers.checks import expect, expect_size
from recurlab.layers.recurrent import Recurrent, Tape, forward
from recurlab.layers.recurrent import parameter_shapes as recurrent_shapes
from recurlab.models.sequence import NOTHING, Dropped
from recurlab.models.words import Words

OWN = ("weight_embedding", "weight_out", "bias_out")
EMBEDDED = 0.1  # half the width of the interval of an embedding's first numbers


class RecurrentLM(NamedTuple):
    """The description of a recurrent language model; it holds no weights. Made by `recurrent_lm`."""

    layer: Recurrent
    words: int  # V
    end: int | None = None  # the id of <eos>
    tied: bool = False


class Reading(NamedTuple):
    """A forward pass: what the softmax sees, and what the backward pass needs."""

    tape: Tape
    states: tuple
    h: np.ndarray  # (R, N, H) of the places that count, after dropout
    places: np.ndarray | None  # (N,), which of T·B they are; None: all


def recurrent_lm(layer: Recurrent, words: int, end: int | None = None, tied: bool = False) -> RecurrentLM:
    """A language model of V = words on a layer whose inputs are the embedding.

    ValueError for a bidirectional layer, an `end` that is no word, or tied weights where E and H differ.
    """
    words = expect_size("words", words)
    expect(not layer.bidirectional, "layer", "a bidirectional one", "one that does not see what it predicts")
    expect(end is None or 0 <= end < words, "end", end, f"a word 0 … {words - 1} or None")
    same = layer.input_size == layer.hidden_size
    expect(same or not tied, "tied", f"E = {layer.input_size}, H = {layer.hidden_size}", "an embedding of H numbers")
    return RecurrentLM(layer, words, end, bool(tied))


def parameter_shapes(net: RecurrentLM) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    shapes = {"weight_embedding": (net.words, net.layer.input_size)} | recurrent_shapes(net.layer)
    out = {} if net.tied else {"weight_out": (net.words, net.layer.hidden_size)}
    return shapes | out | {"bias_out": (net.words,)}


def size(net: RecurrentLM) -> tuple[int, int]:
    """How many numbers a network has, and how many bytes they take."""
    numbers = sum(int(np.prod(shape)) for shape in parameter_shapes(net).values())
    return numbers, numbers * np.dtype(net.layer.dtype).itemsize


def initial(net: RecurrentLM, seeds, embedded: float = EMBEDDED, **recurrent) -> dict[str, np.ndarray]:
    """Embedding ~ U(-embedded, embedded), layers as `weights.init`, output as nn.Linear's U(±1/√H), bias_out = 0.

    Further settings are those of `weights.init`. One replica for each seed.
    """
    shapes, params = parameter_shapes(net), weights.init(net.layer, seed=list(seeds), **recurrent)
    for name, half in (("weight_embedding", embedded), ("weight_out", net.layer.hidden_size**-0.5), ("bias_out", 0)):
        if name in shapes:
            params[name] = weights.interval(name, seeds, shapes[name], half, net.layer.dtype)
    return {name: params[name] for name in shapes}


def uniform_initial(net: RecurrentLM, seeds, scale: float) -> dict[str, np.ndarray]:
    """U(-scale, scale) for all weights and biases (Zaremba, Sutskever & Vinyals 2014).

    What is neither, gains of a norm and a cell's own vectors, is as `weights.init` has it.
    """
    drawn = ("weight_ih", "weight_hh", "bias_", "weight_embedding", "weight_out")
    usual = initial(net, seeds)
    return {
        name: weights.interval(name, seeds, array.shape[1:], scale, net.layer.dtype)
        if name.startswith(drawn)
        else array
        for name, array in usual.items()
    }


def output(params: dict) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the bias of the softmax."""
    return params.get("weight_out", params["weight_embedding"]), params["bias_out"]


def zero_states(net: RecurrentLM, replicas: int, rows: int) -> dict[str, np.ndarray]:
    """The states before the first word by name, (R, L, B, H): what `train` takes as `carried`."""
    shape = (replicas, net.layer.num_layers, rows, net.layer.hidden_size)
    return {name: np.zeros(shape, net.layer.dtype) for name in net.layer.spec.states}


def read(net: RecurrentLM, params: dict, words: Words, states=None, dropped: Dropped = NOTHING) -> Reading:
    """Forward to what the softmax sees; states are a tuple of (R, L, B, H), or None for zeros."""
    x = multiplied(embedding.forward(params["weight_embedding"], words.ids), dropped.inputs)
    options = {"flush_denormals": SUPPORTED, "check": False, "keep": dropped.keep, "between": dropped.between}
    y, states, tape = forward(net.layer, recurrent_parameters(params), x, states, words.lengths, **options)
    h, places = multiplied(y, dropped.outputs).reshape(len(y), -1, y.shape[-1]), None
    if words.lengths is not None:
        places = np.flatnonzero(np.arange(y.shape[1])[:, None] < words.lengths)
        h = h[:, places]
    return Reading(tape, states, h, places)


def recurrent_parameters(params: dict) -> dict:
    """Those of the recurrent layers alone."""
    return {name: array for name, array in params.items() if name not in OWN}


@np.errstate(invalid="ignore")  # 0 times the inf of a diverged replica
def multiplied(x: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """x times the factors of dropout, if there are any."""
    return x if mask is None else x * mask


def targets_of(words: Words, places: np.ndarray | None) -> np.ndarray:
    """The targets of the places that count, ([R,] N)."""
    flat = words.targets.reshape(*words.targets.shape[:-2], -1)
    return flat if places is None else flat[..., places]
