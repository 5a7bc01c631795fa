"""The neural n-gram model of Bengio, Ducharme, Vincent & Jauvin (2003): the next word from the last k words.

    y = b + W x + U tanh(d + A x),   x the embeddings of the last k words side by side, the oldest first   (their eq. 1)

R replicas at once. Parameters as those of nn.Embedding and nn.Linear: weight_embedding (R, V, E), weight_hidden A
(R, H, k·E), bias_hidden d (R, H), weight_out U (R, V, H), weight_direct W (R, V, k·E), bias_out b (R, V). Without
direct connections there is no W, without a hidden layer W alone is left: a linear model. What the model says of a text
is in `window_lm_scores`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab import noise, weights
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import embedding, linear, softmax
from recurlab.layers.checks import expect, expect_choice, expect_size
from recurlab.layers.recurrent import DTYPES
from recurlab.models.gradients import Penalised, Result, with_penalty
from recurlab.models.recurrent_lm import EMBEDDED, multiplied
from recurlab.models.words import PROTOCOLS

NOTHING = -1  # the id of no word: its embedding is 0


class WindowLM(NamedTuple):
    """The description of a neural n-gram model; it holds no weights. Made by `window_lm`."""

    words: int  # V
    window: int  # k
    embedding_size: int
    hidden_size: int | None  # None: no hidden layer
    direct: bool
    end: int | None
    dtype: str


class Contexts(NamedTuple):
    """What the model sees in one update; an array without the axis R is shared by all replicas."""

    ids: np.ndarray  # ([R,] N, k), the oldest first; NOTHING where no word stands
    targets: np.ndarray  # ([R,] N)


class Reading(NamedTuple):
    """A forward pass."""

    x: np.ndarray  # (R, N, k·E), after dropout
    h: np.ndarray | None  # (R, N, H), before dropout; None without a hidden layer
    features: np.ndarray  # (R, N, F), what the softmax sees: h after dropout, x, or both


class Dropped(NamedTuple):
    """Factors of dropout, or None."""

    embedding: np.ndarray | None = None  # (R, N, k·E)
    hidden: np.ndarray | None = None  # (R, N, H)


WHOLE = Dropped()


def window_lm(
    words: int,
    window: int,
    embedding_size: int,
    hidden_size: int | None,
    direct: bool = False,
    end: int | None = None,
    dtype: str = "float32",
) -> WindowLM:
    """Describe a model; an n-gram model looks at window = n - 1 words. ValueError for wrong sizes or no connections."""
    words = expect_size("words", words)
    sizes = expect_size("window", window), expect_size("embedding_size", embedding_size)
    expect(hidden_size is not None or direct, "hidden_size", hidden_size, "a size, or direct connections without it")
    hidden_size = None if hidden_size is None else expect_size("hidden_size", hidden_size)
    expect(end is None or 0 <= end < words, "end", end, f"a word 0 … {words - 1} or None")
    return WindowLM(words, *sizes, hidden_size, bool(direct), end, expect_choice("dtype", dtype, DTYPES))


def parameter_shapes(net: WindowLM) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    seen, shapes = net.window * net.embedding_size, {"weight_embedding": (net.words, net.embedding_size)}
    if net.hidden_size is not None:
        shapes |= {"weight_hidden": (net.hidden_size, seen), "bias_hidden": (net.hidden_size,)}
        shapes |= {"weight_out": (net.words, net.hidden_size)}
    return shapes | ({"weight_direct": (net.words, seen)} if net.direct else {}) | {"bias_out": (net.words,)}


def size(net: WindowLM) -> tuple[int, int]:
    """How many numbers a network has, and how many bytes they take."""
    numbers = sum(int(np.prod(shape)) for shape in parameter_shapes(net).values())
    return numbers, numbers * np.dtype(net.dtype).itemsize


def initial(net: WindowLM, seeds, embedded: float = EMBEDDED) -> dict[str, np.ndarray]:
    """Embedding ~ U(-embedded, embedded), matrices U(±1/√n) as nn.Linear, n the numbers a unit sees, biases 0."""
    halves = {"weight_embedding": embedded}
    return {
        name: weights.interval(name, seeds, shape, halves.get(name, shape[-1] ** -0.5), net.dtype)
        if name.startswith("weight")
        else np.zeros((len(seeds), *shape), net.dtype)
        for name, shape in parameter_shapes(net).items()
    }


def contexts(net: WindowLM, tokens: np.ndarray, at: np.ndarray, protocol: str, known: int | None = None) -> Contexts:
    """The tokens of a text (N,) at some places as targets behind the k tokens before each.

    "carry": contexts run across `<eos>`; "reset": what stands before the sentence of the target is `<eos>`. So is what
    lies before the text, or more than `known` tokens back; NOTHING in a vocabulary without `<eos>`.
    """
    expect_choice("protocol", protocol, PROTOCOLS)
    expect(net.end is not None or protocol == "carry", "protocol", protocol, "'carry' without <eos>")
    at = np.asarray(at)
    source = at[:, None] - np.arange(net.window, 0, -1)
    ids = tokens[np.maximum(source, 0)].astype(np.int32)
    there = (source >= 0) & (source >= at[:, None] - (net.window if known is None else known))
    if protocol == "reset":  # an <eos> between a word and the target hides the word
        after = np.cumsum((ids == net.end)[:, ::-1], axis=1)[:, ::-1]
        there &= after == 0
    return Contexts(np.where(there, ids, NOTHING if net.end is None else net.end), tokens[at])


def read(net: WindowLM, params: dict, ids: np.ndarray, dropped: Dropped = WHOLE) -> Reading:
    """Forward from contexts ([R,] N, k) to what the softmax sees."""
    there = (ids != NOTHING)[..., None]
    x = embedding.forward(params["weight_embedding"], np.where(there[..., 0], ids, 0))
    x = multiplied(np.where(there, x, 0).reshape(*x.shape[:2], -1), dropped.embedding)
    if net.hidden_size is None:
        return Reading(x, None, x)
    h = np.tanh(linear.forward(params["weight_hidden"], params["bias_hidden"], x))
    seen = multiplied(h, dropped.hidden)
    return Reading(x, h, np.concatenate([seen, x], axis=2) if net.direct else seen)


def output(net: WindowLM, params: dict) -> tuple[np.ndarray, np.ndarray]:
    """The matrix (R, V, F) and the bias of the softmax."""
    parts = [params[name] for name in ("weight_out", "weight_direct") if name in params]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2), params["bias_out"]


def loss_and_gradients(net: WindowLM, params: dict, seen: Contexts, dropped: Dropped = WHOLE) -> Result:
    """The mean loss of each replica over the targets, and its gradient."""
    reading, matrix = read(net, params, seen.ids, dropped), output(net, params)
    fused = softmax.loss_and_gradients(*matrix, reading.features, seen.targets, flush_denormals=SUPPORTED)
    grads, width, d_x = {"bias_out": fused.d_bias}, net.hidden_size or 0, 0
    if net.direct:
        grads["weight_direct"], d_x = np.ascontiguousarray(fused.d_weight[..., width:]), fused.d_h[..., width:]
    if width:
        grads["weight_out"] = np.ascontiguousarray(fused.d_weight[..., :width])
        d_a = multiplied(fused.d_h[..., :width], dropped.hidden) * (1 - reading.h * reading.h)
        inner, below = linear.backward(params["weight_hidden"], reading.x, d_a)
        grads |= {f"{name}_hidden": gradient for name, gradient in inner.items()}
        d_x = d_x + below
    grads["weight_embedding"] = _embedding_gradient(net, seen.ids, multiplied(d_x, dropped.embedding))
    return Result(fused.loss, fused.error, np.zeros(len(fused.loss)), {name: grads[name] for name in params})


def _embedding_gradient(net: WindowLM, ids: np.ndarray, d_x: np.ndarray) -> np.ndarray:
    """dL/dx (R, N, k·E) -> dL/dweight (R, V, E); the embedding of no word has no gradient."""
    there = ids != NOTHING
    d_x = d_x.reshape(*d_x.shape[:2], net.window, net.embedding_size)
    return embedding.backward(net.words, np.where(there, ids, 0), np.where(there[..., None], d_x, 0))


def gradients(net: WindowLM, seeds, dropout_embedding=0.0, dropout_hidden=0.0) -> Callable:
    """A function for `train`: gradients under dropout with rates that are numbers or (R,), penalties on weights."""
    seeds = np.asarray(seeds)
    rates = {"embedding": dropout_embedding, "hidden": dropout_hidden}
    rates = {place: np.broadcast_to(np.asarray(rate, float), seeds.shape) for place, rate in rates.items()}
    for place, rate in rates.items():
        expect(bool(np.all((rate >= 0) & (rate < 1))), f"dropout_{place}", rate, "rates from 0 to below 1")
    expect(net.hidden_size is not None or not rates["hidden"].any(), "dropout_hidden", rates["hidden"], "0")
    widths = {"embedding": net.window * net.embedding_size, "hidden": net.hidden_size}

    def trained(params, live, seen: Contexts, update: int, penalised: Penalised | None) -> Result:
        def mask(place):
            size, rate = (seen.ids.shape[-2], widths[place]), rates[place][live]
            dropped = noise.dropout_mask
            return dropped(seeds[live], f"dropout {place}", update, size, rate, net.dtype) if rate.any() else None

        found = loss_and_gradients(net, params, seen, Dropped(mask("embedding"), mask("hidden")))
        if penalised is None:
            return found
        expect(penalised.penalty.name == "weight_decay", "penalty", penalised.penalty.name, "weight_decay")
        value, more = penalised.penalty.function(None, params)
        return found._replace(penalty=value, grads=with_penalty(found.grads, more, penalised.weight))

    return trained
