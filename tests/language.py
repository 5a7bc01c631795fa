"""Language models for tests: odd sizes, random weights and texts, and what `naive` says about them."""

import naive
import numpy as np

from recurlab.layers.recurrent import recurrent
from recurlab.models import recurrent_lm
from recurlab.models.sequence import Dropped
from recurlab.models.words import Words
from recurlab.random import Stream, integers, normal

R, T, B, V, E, H, L, END = 2, 5, 3, 11, 4, 6, 2, 0


def drawn(name, *shape):
    return normal(Stream(0, f"test {name}"), shape)


def model(cell="lstm", tied=False, layers=L, seeds=range(R), dtype="float64", end=END):
    """A model with weights that are not small."""
    layer = recurrent(cell, H if tied else E, H, layers, dtype=dtype)
    net = recurrent_lm.recurrent_lm(layer, V, end, tied)
    return net, recurrent_lm.uniform_initial(net, list(seeds), 0.7)


def text(count=60, name="text"):
    """Tokens with sentence ends among them, and none at the end."""
    tokens = integers(Stream(0, f"test {name}"), V, (count,)).astype(np.int32)
    tokens[-1] = 3
    return tokens


def batch(own=False, lengths=None):
    """Words of a window; of every replica its own, or shared."""
    shape = (R, T, B) if own else (T, B)
    ids, targets = (integers(Stream(0, f"test {name}"), V, shape).astype(np.int32) for name in ("ids", "targets"))
    return Words(ids, targets, None if lengths is None else np.array(lengths))


def states_of(net, rows=B):
    """Random states, a tuple of (R, L, B, H)."""
    return tuple(drawn(f"state {name}", R, net.layer.num_layers, rows, H) for name in net.layer.spec.states)


def masks(net, steps=T):
    """Random factors at every place."""
    between = np.abs(drawn("between", R, net.layer.num_layers - 1, steps, B, H))
    inputs = np.abs(drawn("inputs", R, steps, B, net.layer.input_size))
    return Dropped(inputs, np.abs(drawn("outputs", R, steps, B, H)), between=between)


def of_replica(r, params, words, states):
    """What the slow twin takes."""
    ids, targets = (array[r] if array.ndim == 3 else array for array in words[:2])
    return {name: array[r] for name, array in params.items()}, ids, targets, tuple(state[r] for state in states)


def naive_logs(net, params, words, states):
    """ln p of every target (R, T, B), 0 beyond a row's length, and the final states; without dropout."""
    found = []
    for r in range(len(params["bias_out"])):
        own, ids, targets, begin = of_replica(r, params, words, states)
        layers = {name: array for name, array in own.items() if name not in recurrent_lm.OWN}
        lengths = [len(ids)] * ids.shape[1] if words.lengths is None else words.lengths
        x, matrix = own["weight_embedding"][ids], own.get("weight_out", own["weight_embedding"])
        y, final, _ = naive.forward(net.layer.cell, layers, x, begin, lengths, net.layer.num_layers)
        logs = np.zeros(ids.shape)
        for b, length in enumerate(lengths):
            for t in range(length):
                logs[t, b] = -naive.word_loss(matrix, own["bias_out"], y[t : t + 1, b], targets[t : t + 1, b], [1])
        found.append((logs, final))
    logs, finals = zip(*found, strict=True)
    return np.stack(logs), tuple(np.stack(parts) for parts in zip(*finals, strict=True))


def zeros(net, replicas=R, rows=B):
    return tuple(recurrent_lm.zero_states(net, replicas, rows).values())
