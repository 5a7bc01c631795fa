"""The gradients of an encoder and decoder: exact, teacher-forced, back through attention and both recurrent networks.

Two ways lead from the loss to the source: through attention to the outputs of the encoder, and through the states with
which the decoder begins to its last states. They come apart in `back_to_encoder`, so that each can be measured.
"""

import numpy as np

from recurlab import noise
from recurlab.blas import on_one_thread
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import attention, embedding, recurrent, softmax
from recurlab.models.gradients import Result
from recurlab.models.pairs import Pairs, counted, placed, spread
from recurlab.models.translation import NOTHING, OPTIONS, Dropped, Reading, Translator, multiplied, part, prefixed, read


def loss_and_gradients(net: Translator, params: dict, pairs: Pairs, dropped: Dropped = NOTHING) -> Result:
    """The mean loss of each replica over the words of the targets, `<eos>` among them, and its gradient.

    Teacher-forced: the decoder reads the target itself, whatever it would have written.
    """
    reading, targets = read(net, params, pairs, dropped), counted(pairs.target, pairs.target_lengths)
    given = params["weight_out"], params["bias_out"], reading.seen, targets
    out = softmax.loss_and_gradients(*given, flush_denormals=SUPPORTED)
    grads, d_encoded, d_state = back_to_encoder(net, params, reading, pairs, out.d_h, dropped)
    more, d_x = back_through_encoder(net, params, reading, d_encoded, d_state)
    d_source = embedding.backward(net.source_words, pairs.source, multiplied(d_x, dropped.source))
    grads |= more | {"weight_source": d_source, "weight_out": out.d_weight, "bias_out": out.d_bias}
    return Result(out.loss, out.error, np.zeros(len(out.loss)), {name: grads[name] for name in params})


def dropout(net: Translator, seeds, update: int, pairs: Pairs, rate: float) -> Dropped:
    """Masks of an update for the words read, the words written before, and h: one for all steps of a row."""
    rows, size, hidden = pairs.source.shape[-1], net.encoder.input_size, net.decoder.hidden_size
    sizes = {"source": size, "target": size, "outputs": hidden}
    masks = {
        name: noise.dropout(seeds, f"translation {name}", update, (1, rows, width), rate, net.decoder.dtype, True)
        for name, width in sizes.items()
    }
    return Dropped(**masks)


def back_to_encoder(net: Translator, params: dict, reading: Reading, pairs: Pairs, d_seen, dropped: Dropped = NOTHING):
    """dL/dseen (R, N, H) -> gradients of decoder and attention, dL/dencoded (None without), dL/d(last states)."""
    lengths, grads, d_encoded = pairs.target_lengths, {}, None
    d_h = d_seen if dropped.outputs is None else d_seen * spread(dropped.outputs, lengths)
    if net.attention is None:
        d_s = placed(d_h, lengths)
    else:
        grads, d_contexts, d_s = _back_through_combine(params, reading, d_h, lengths)
        own, tape = part(params, "attention."), reading.tapes[2]
        more, d_queries, d_keys, d_values = attention.backward(net.attention, own, tape, d_contexts)
        grads |= prefixed("attention.", more)
        d_s, d_encoded = d_s + d_queries, d_keys + d_values
    more, d_x, d_begin = recurrent.backward(net.decoder, part(params, "decoder."), reading.tapes[1], d_s, **OPTIONS)
    grads |= prefixed("decoder.", more)
    grads["weight_target"] = embedding.backward(net.target_words, reading.words, multiplied(d_x, dropped.target))
    return grads, d_encoded, tuple(_apart(net, state) for state in d_begin)


@on_one_thread
def _back_through_combine(params: dict, reading: Reading, d_h: np.ndarray, lengths: np.ndarray):
    """Gradient of W_c, and dL/dc and dL/ds at all positions (R, Tt, B, H)."""
    d_a = d_h * (1 - reading.h * reading.h)
    grads = {"weight_combine": np.matmul(d_a.swapaxes(1, 2), reading.joined)}
    halves = np.split(np.matmul(d_a, params["weight_combine"]), 2, axis=-1)
    return grads, *(placed(half, lengths) for half in halves)


def _apart(net: Translator, state: np.ndarray) -> np.ndarray:
    """A state of the decoder as those of both directions of the encoder: (R, L, B, H) -> (R, L·D, B, H/D)."""
    replicas, layers, rows, _ = state.shape
    parts = state.reshape(replicas, layers, rows, net.encoder.directions, -1).swapaxes(2, 3)
    return np.ascontiguousarray(parts).reshape(replicas, -1, rows, net.encoder.hidden_size)


def back_through_encoder(net: Translator, params: dict, reading: Reading, d_encoded, d_state):
    """dL/dencoded (R, Ts, B, H) and dL/d(last states), None for zeros -> gradients of the encoder, dL/dx (R, Ts, B, E).

    x are the embeddings as the encoder reads them.
    """
    own = part(params, "encoder.")
    grads, d_x, _ = recurrent.backward(net.encoder, own, reading.tapes[0], d_encoded, d_state, **OPTIONS)
    return prefixed("encoder.", grads), d_x
