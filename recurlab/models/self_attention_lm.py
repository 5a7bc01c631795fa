"""A causal self-attention language model: embeddings of words and places, blocks, a norm, softmax over the words.

    x_t = W_embedding[word_t] + W_position[t],    blocks (see `transformer_block`),    z_t = W_out norm(x_t) + b_out

It sees a window of at most `context` words and carries nothing from one to the next (Vaswani et al. 2017 as Radford et
al. 2018 made a language model of it, here with the norms in front). R replicas at once. Parameters: weight_embedding
(R, V, E), weight_position (R, C, E), layers.0.… of the blocks, norm.weight, norm.bias (R, E), weight_out (R, V, E),
bias_out (R, V); the names of blocks and norm are those of nn.TransformerEncoder.
"""

from typing import NamedTuple

import numpy as np

from recurlab import noise
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import embedding, layer_norm, softmax, transformer_block
from recurlab.layers.checks import expect, expect_choice, expect_size
from recurlab.layers.recurrent import DTYPES
from recurlab.models.gradients import Result
from recurlab.models.words import Words
from recurlab.random import Stream, normal

SD = 0.02  # of first weights (Radford et al. 2018); what a block adds to x has 1/√(2 L) of it (Radford et al. 2019)


class SelfAttentionLM(NamedTuple):
    """The description of a self-attention language model; it holds no weights. Made by `self_attention_lm`."""

    words: int  # V
    context: int  # C, words that it sees
    size: int  # E
    heads: int
    num_layers: int  # L
    hidden_size: int  # F
    end: int | None  # the id of <eos>
    dtype: str


class Reading(NamedTuple):
    """A forward pass: what the softmax sees, and what the backward pass needs."""

    blocks: list
    norm: layer_norm.Tape
    h: np.ndarray  # (R, N, E) of the places that count
    places: np.ndarray  # (N,), which of T·B they are


class Dropped(NamedTuple):
    """Factors of dropout (R, T, B, E): of the embeddings, and of what the two branches of each block add."""

    embedding: np.ndarray | None
    blocks: tuple


def self_attention_lm(
    words: int,
    context: int,
    size: int,
    heads: int,
    num_layers: int,
    hidden_size: int | None = None,
    end: int | None = None,
    dtype: str = "float32",
) -> SelfAttentionLM:
    """Describe a model; F = 4 E unless given. ValueError for a size below 1 or heads that do not divide E."""
    hidden_size = 4 * size if hidden_size is None else hidden_size
    sizes = {"words": words, "context": context, "size": size, "heads": heads, "num_layers": num_layers}
    checked = {name: expect_size(name, value) for name, value in (sizes | {"hidden_size": hidden_size}).items()}
    expect(size % heads == 0, "heads", heads, f"a divisor of size = {size}")
    expect(end is None or 0 <= end < words, "end", end, f"a word 0 … {words - 1} or None")
    expect_choice("dtype", dtype, DTYPES)
    return SelfAttentionLM(**checked, end=end, dtype=dtype)


def parameter_shapes(net: SelfAttentionLM) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    shapes = {"weight_embedding": (net.words, net.size), "weight_position": (net.context, net.size)}
    for level in range(net.num_layers):
        own = transformer_block.parameter_shapes(net.size, net.hidden_size)
        shapes |= {f"layers.{level}.{name}": shape for name, shape in own.items()}
    shapes |= {"norm.weight": (net.size,), "norm.bias": (net.size,)}
    return shapes | {"weight_out": (net.words, net.size), "bias_out": (net.words,)}


def size(net: SelfAttentionLM) -> tuple[int, int]:
    """How many numbers a network has, and how many bytes they take."""
    count = sum(int(np.prod(shape)) for shape in parameter_shapes(net).values())
    return count, count * np.dtype(net.dtype).itemsize


def initial(net: SelfAttentionLM, seeds) -> dict[str, np.ndarray]:
    """Weights N(0, 0.02²), those of out_proj and linear2 by √(2 L) smaller, gains 1, biases 0; one for each seed."""
    return {
        name: np.stack([_drawn(net, int(seed), name, shape) for seed in seeds]).astype(net.dtype)
        for name, shape in parameter_shapes(net).items()
    }


def _drawn(net: SelfAttentionLM, seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One parameter of one replica."""
    if "bias" in name:
        return np.zeros(shape)
    if "norm" in name:
        return np.ones(shape)
    adds = name.endswith(("out_proj.weight", "linear2.weight"))
    return normal(Stream(seed, f"init {name}"), shape) * (SD / np.sqrt(2 * net.num_layers) if adds else SD)


def dropout(net: SelfAttentionLM, seeds, update: int, words: Words, rate) -> Dropped:
    """Masks of an update, new at every step: of the embeddings and of what every branch adds."""

    def mask(place: str) -> np.ndarray:
        return noise.dropout(seeds, place, update, (*words.ids.shape[-2:], net.size), rate, net.dtype)

    branches = ("attention", "feed forward")
    blocks = (tuple(mask(f"{branch} {level}") for branch in branches) for level in range(net.num_layers))
    return Dropped(mask("embedding"), tuple(blocks))


def loss_and_gradients(net: SelfAttentionLM, params: dict, words: Words, dropped: Dropped | None = None) -> Result:
    """The mean loss of each replica over the words of a window, in nats, and its gradient."""
    reading = read(net, params, words, dropped)
    targets = words.targets.reshape(*words.targets.shape[:-2], -1)[..., reading.places]
    given = params["weight_out"], params["bias_out"], reading.h, targets
    out = softmax.loss_and_gradients(*given, flush_denormals=SUPPORTED)
    grads = {"weight_out": out.d_weight, "bias_out": out.d_bias} | _back(net, params, words, reading, out.d_h, dropped)
    return Result(out.loss, out.error, np.zeros(len(out.loss)), {name: grads[name] for name in params})


def read(net: SelfAttentionLM, params: dict, words: Words, dropped: Dropped | None = None) -> Reading:
    """Forward to what the softmax sees; ValueError for a window longer than the context."""
    steps, rows = words.ids.shape[-2:]
    expect(steps <= net.context, "words", f"a window of {steps}", f"at most context = {net.context} words")
    x = embedding.forward(params["weight_embedding"], words.ids) + params["weight_position"][:, :steps, None]
    x = x if dropped is None else x * dropped.embedding
    tapes = []
    for level in range(net.num_layers):
        masks = (None, None) if dropped is None else dropped.blocks[level]
        x, tape = transformer_block.forward(_block(params, level), x, net.heads, masks)
        tapes.append(tape)
    y, norm = layer_norm.forward(params["norm.weight"], params["norm.bias"], x)
    lengths = np.full(rows, steps) if words.lengths is None else words.lengths
    places = np.flatnonzero(np.arange(steps)[:, None] < lengths)
    return Reading(tapes, norm, y.reshape(len(y), -1, net.size)[:, places], places)


def _back(net: SelfAttentionLM, params: dict, words: Words, reading: Reading, d_h: np.ndarray, dropped) -> dict:
    """dL/dh (R, N, E) -> gradients of all but the output layer."""
    (steps, rows), replicas = words.ids.shape[-2:], len(d_h)
    dx = np.zeros((replicas, steps * rows, net.size), d_h.dtype)
    dx[:, reading.places] = d_h
    norm, dx = layer_norm.backward(params["norm.weight"], reading.norm, dx.reshape(replicas, steps, rows, net.size))
    grads = {f"norm.{name}": g for name, g in norm.items()}
    for level in reversed(range(net.num_layers)):
        own, dx = transformer_block.backward(_block(params, level), reading.blocks[level], dx)
        grads |= {f"layers.{level}.{name}": g for name, g in own.items()}
    dx = dx if dropped is None else dx * dropped.embedding
    grads["weight_position"] = np.zeros_like(params["weight_position"])
    grads["weight_position"][:, :steps] = dx.sum(axis=2)
    return grads | {"weight_embedding": embedding.backward(net.words, words.ids, dx)}


def _block(params: dict, level: int) -> dict:
    """The parameters of a block by their own names."""
    own = f"layers.{level}."
    return {name.removeprefix(own): array for name, array in params.items() if name.startswith(own)}
