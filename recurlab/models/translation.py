"""Encoder and decoder: one recurrent network reads a sentence, another writes its translation word by word.

    s_t = decoder at <bos> y_1 … y_t-1, begun with the last states of the encoder
    p(y_t | y_<t, x) = softmax(W_out h_t + b_out)

Without attention h_t = s_t: all that the decoder knows of the source has gone through one vector (Cho et al. 2014;
Sutskever, Vinyals & Le 2014). With it h_t = tanh(W_c [c_t; s_t]), c_t the mean of the encoder's outputs by their scores
with s_t (Luong, Pham & Manning 2015, eq. 5, without input feeding: the decoder runs through all steps before any of
them attends). A bidirectional encoder has H/2 units in each direction, so that both networks have states of H numbers.

R replicas at once. Parameters: weight_source (R, Vs, E) and weight_target (R, Vt, E) of the embeddings, encoder.… and
decoder.… of the recurrent layers, attention.… of the score, weight_combine (R, H, 2H), weight_out (R, Vt, H), bias_out.
"""

from typing import NamedTuple

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import attention, embedding, recurrent, softmax
from recurlab.layers.attention import Attention
from recurlab.layers.checks import expect, expect_size
from recurlab.layers.recurrent import Recurrent
from recurlab.models.beam_search import Written, write
from recurlab.models.pairs import Pairs, check_lengths, counted, spread, within
from recurlab.random import Stream, normal, uniform
from recurlab.weights import init

DECODER = 2**32  # added to the seed of the decoder, whose weights would else be drawn like the encoder's
OPTIONS = {"flush_denormals": SUPPORTED, "check": False}


class Translator(NamedTuple):
    """The description of an encoder and a decoder; it holds no weights. Made by `translator`."""

    encoder: Recurrent
    decoder: Recurrent
    attention: Attention | None
    source_words: int  # Vs
    target_words: int  # Vt
    begin: int  # <bos>, read by the decoder before its first word
    end: int  # <eos>


class Dropped(NamedTuple):
    """Factors of dropout, one mask for all steps of a row (Gal & Ghahramani 2016); None: nothing is dropped."""

    source: np.ndarray | None = None  # (R, 1, B, E), of the words read
    target: np.ndarray | None = None  # (R, 1, B, E), of the words the decoder reads
    outputs: np.ndarray | None = None  # (R, 1, B, H), of h


NOTHING = Dropped()


class Reading(NamedTuple):
    """A forward pass: what the output layer sees of the N positions that count, and what the backward pass needs."""

    encoded: np.ndarray  # (R, Ts, B, H)
    tapes: tuple  # of encoder, decoder and attention
    words: np.ndarray  # ([R,] Tt, B), read by the decoder
    joined: np.ndarray  # (R, N, 2H), [c; s]; without attention s alone
    h: np.ndarray  # (R, N, H), before dropout
    seen: np.ndarray  # (R, N, H), after it
    weights: np.ndarray | None  # (R, B, Tt, Ts), of attention


def translator(
    cell: str,
    source_words: int,
    target_words: int,
    begin: int,
    end: int,
    embedding_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    score: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Translator:
    """Describe an encoder and a decoder of one cell; score: of attention's SCORES, or None for no attention.

    ValueError for an unknown name, a size below 1, or an odd hidden size that two directions cannot share.
    """
    sizes = (expect_size("source_words", source_words), expect_size("target_words", target_words))
    for name, word in (("begin", begin), ("end", end)):
        expect(expect_size(name, word, 0) < target_words, name, word, f"a word 0 … {target_words - 1}")
    even = hidden_size % 2 == 0 or not bidirectional
    expect(even, "hidden_size", hidden_size, "an even number for two directions")
    width = hidden_size // 2 if bidirectional else hidden_size
    encoder = recurrent.recurrent(cell, embedding_size, width, num_layers, bidirectional, dtype, device)
    decoder = recurrent.recurrent(cell, embedding_size, hidden_size, num_layers, dtype=dtype, device=device)
    attends = score and attention.attention(score, hidden_size, hidden_size, hidden_size, dtype)
    return Translator(encoder, decoder, attends, *sizes, begin, end)


def parameter_shapes(net: Translator) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    size, hidden = net.encoder.input_size, net.decoder.hidden_size
    shapes = {"weight_source": (net.source_words, size), "weight_target": (net.target_words, size)}
    shapes |= prefixed("encoder.", recurrent.parameter_shapes(net.encoder))
    shapes |= prefixed("decoder.", recurrent.parameter_shapes(net.decoder))
    if net.attention:
        shapes |= prefixed("attention.", attention.parameter_shapes(net.attention))
        shapes["weight_combine"] = (hidden, 2 * hidden)
    return shapes | {"weight_out": (net.target_words, hidden), "bias_out": (net.target_words,)}


def initial(net: Translator, seeds, **recurrent_weights) -> dict[str, np.ndarray]:
    """Embeddings N(0, 1), linear layers U(-1/√n, 1/√n) as PyTorch has them, biases 0; the rest goes to `weights.init`.

    One replica for each seed.
    """
    seeds = np.asarray(seeds)
    params = {name: np.stack([_drawn(net, int(seed), name) for seed in seeds]) for name in _linear(net)}
    params |= prefixed("encoder.", init(net.encoder, seeds, **recurrent_weights))
    params |= prefixed("decoder.", init(net.decoder, seeds + DECODER, **recurrent_weights))
    params |= prefixed("attention.", attention.initial(net.attention, seeds) if net.attention else {})
    return {name: params[name] for name in parameter_shapes(net)}


def _linear(net: Translator) -> list[str]:
    """The parameters that are neither of the recurrent layers nor of the score."""
    return [name for name in parameter_shapes(net) if "." not in name]


def _drawn(net: Translator, seed: int, name: str) -> np.ndarray:
    """One parameter of one replica."""
    shape, stream = parameter_shapes(net)[name], Stream(seed, f"init {name}")
    if name == "bias_out":
        return np.zeros(shape, net.decoder.dtype)
    embedded = name in ("weight_source", "weight_target")
    drawn = normal(stream, shape) if embedded else (2 * uniform(stream, shape) - 1) * shape[-1] ** -0.5
    return drawn.astype(net.decoder.dtype)


def prefixed(prefix: str, arrays: dict) -> dict:
    """The parameters of a part by the names that they have in the whole network."""
    return {prefix + name: array for name, array in arrays.items()}


def part(params: dict, prefix: str) -> dict:
    """The parameters of a part by the names that they have there."""
    return {name.removeprefix(prefix): array for name, array in params.items() if name.startswith(prefix)}


def log_probabilities(net: Translator, params: dict, pairs: Pairs) -> np.ndarray:
    """ln p(y | x) of every target sentence with its `<eos>`, teacher-forced, (R, B) float64."""
    seen, targets = read(net, params, pairs).seen, counted(pairs.target, pairs.target_lengths)
    logs = softmax.target_log_probabilities(params["weight_out"], params["bias_out"], seen, targets)
    _, rows = np.nonzero(within(pairs.target_lengths))
    return np.stack([np.bincount(rows, own) for own in logs])


def read(net: Translator, params: dict, pairs: Pairs, dropped: Dropped = NOTHING) -> Reading:
    """Forward, teacher-forced, to what the output layer sees of the positions that count.

    ValueError for ids that are no words, or lengths of which the longest is not that of the array.
    """
    check_lengths("source", pairs.source, pairs.source_lengths)
    check_lengths("target", pairs.target, pairs.target_lengths)
    encoded, state, encoder = encode(net, params, pairs.source, pairs.source_lengths, dropped.source)
    words = _after_begin(net, pairs.target)
    x = multiplied(embedding.forward(params["weight_target"], words), dropped.target)
    s, _, decoder = recurrent.forward(net.decoder, part(params, "decoder."), x, state, pairs.target_lengths, **OPTIONS)
    joined, weights, attends = attend(net, params, s, encoded, pairs.source_lengths, pairs.target_lengths)
    h = combine(net, params, joined)
    seen = h if dropped.outputs is None else h * spread(dropped.outputs, pairs.target_lengths)
    return Reading(encoded, (encoder, decoder, attends), words, joined, h, seen, weights)


def encode(net: Translator, params: dict, source: np.ndarray, lengths: np.ndarray, mask: np.ndarray | None = None):
    """Source words ([R,] Ts, B) -> outputs of the encoder (R, Ts, B, H), states for the decoder (R, L, B, H), tape."""
    x = multiplied(embedding.forward(params["weight_source"], source), mask)
    encoded, final, tape = recurrent.forward(net.encoder, part(params, "encoder."), x, None, lengths, **OPTIONS)
    return encoded, tuple(_side_by_side(net, state) for state in final), tape


def _side_by_side(net: Translator, state: np.ndarray) -> np.ndarray:
    """The states of both directions as one: (R, L·D, B, H/D) -> (R, L, B, H)."""
    replicas, _, rows, width = state.shape
    parts = state.reshape(replicas, -1, net.encoder.directions, rows, width).swapaxes(2, 3)
    return np.ascontiguousarray(parts).reshape(replicas, -1, rows, net.decoder.hidden_size)


def _after_begin(net: Translator, target: np.ndarray) -> np.ndarray:
    """What the decoder reads: `<bos>`, then all words of the target ([R,] Tt, B) but the last."""
    begins = np.full((*target.shape[:-2], 1, target.shape[-1]), net.begin, target.dtype)
    return np.concatenate([begins, target[..., :-1, :]], axis=-2)


def attend(net: Translator, params: dict, s: np.ndarray, encoded: np.ndarray, source_lengths, target_lengths):
    """[c; s] (R, N, 2H) of the positions that count, weights (R, B, Tt, Ts), tape; s alone without attention."""
    if net.attention is None:
        return counted(s, target_lengths), None, None
    own = part(params, "attention.")
    contexts, weights, tape = attention.forward(net.attention, own, s, encoded, encoded, source_lengths)
    return np.concatenate([counted(each, target_lengths) for each in (contexts, s)], axis=-1), weights, tape


@on_one_thread
def combine(net: Translator, params: dict, joined: np.ndarray) -> np.ndarray:
    """h = tanh(W_c [c; s]), (R, N, H); s alone without attention."""
    if net.attention is None:
        return joined
    return np.tanh(np.matmul(joined, params["weight_combine"].swapaxes(1, 2)))


def translate(
    net: Translator,
    params: dict,
    source: np.ndarray,
    lengths: np.ndarray,
    longest: int,
    beams: int = 1,
    length_power=0.0,
) -> Written:
    """Free-running: the decoder reads what it has written. See `beam_search.write`; one beam is greedy decoding."""
    encoded, states, _ = encode(net, params, source, lengths)
    encoded, *states = (np.repeat(array, beams, axis=2) for array in (encoded, *states))
    step = next_words(net, params, encoded, np.repeat(lengths, beams))
    return write(step, tuple(states), net.begin, net.end, longest, beams, length_power)


def next_words(net: Translator, params: dict, encoded: np.ndarray, lengths: np.ndarray):
    """The step of `beam_search` for given sources: states (R, L, B, H), words (R, B) -> ln p (R, B, Vt), states."""
    decoder, each = part(params, "decoder."), np.ones(len(lengths), int)

    def step(state: tuple, words: np.ndarray):
        x = embedding.forward(params["weight_target"], words[:, None])
        s, state, _ = recurrent.forward(net.decoder, decoder, x, state, **OPTIONS)
        h = combine(net, params, attend(net, params, s, encoded, lengths, each)[0])
        return softmax.log_probabilities(params["weight_out"], params["bias_out"], h), state

    return step


def multiplied(x: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """x times the factors, if there are some."""
    return x if mask is None else x * mask
