"""The gradients of a recurrent language model: through sentences, or through windows of a text whose state goes on.

The loss is the mean over all words, in nats. Where a source adds up the steps of a window and averages over rows alone
(Zaremba, Sutskever & Vinyals 2014 do), its learning rate times T and its bound on the norm over T are the same updates.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab import noise
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers import embedding, softmax
from recurlab.layers.checks import expect, expect_size
from recurlab.layers.footprint import replica_groups
from recurlab.layers.recurrent import backward
from recurlab.models.gradients import Penalised, with_penalty
from recurlab.models.recurrent_lm import (
    RecurrentLM,
    multiplied,
    output,
    read,
    recurrent_parameters,
    targets_of,
)
from recurlab.models.sequence import NOTHING, Dropped, of_group
from recurlab.models.words import Words


class Noise(NamedTuple):
    """Rates of dropout in training, each a number or (R,); 0 drops nothing.

    Units of the embedding, between layers and of the output are dropped anew at every step (Zaremba, Sutskever &
    Vinyals 2014) or `per_sequence`, the same at all steps of a window (Gal & Ghahramani 2016). `words` drops whole
    words, the same in a minibatch (Gal & Ghahramani), `recurrent` entries of W_hh (Merity, Keskar & Socher 2018).
    """

    embedding: np.ndarray | float = 0.0
    between: np.ndarray | float = 0.0
    outputs: np.ndarray | float = 0.0
    words: np.ndarray | float = 0.0
    recurrent: np.ndarray | float = 0.0
    per_sequence: bool = False


class Update(NamedTuple):
    """What a window gives: (R,) each, the gradient of every parameter, and the states that go on."""

    loss: np.ndarray  # mean over the words, without the penalty
    error: np.ndarray
    penalty: np.ndarray  # its value before its weight; 0 without one
    grads: dict
    carried: dict  # name of a state -> (R, L, B, H)


SILENT = Noise()


def loss_and_gradients(net: RecurrentLM, params: dict, words: Words, states=None, dropped: Dropped = NOTHING) -> Update:
    """The mean loss of each replica over the words of a window, its gradient, and the states behind it.

    Replicas go in groups whose tapes stay in the cache; none sees another, so their bits do not depend on it.
    """
    found = []
    for group in replica_groups(net.layer, len(params["bias_out"]), *words.ids.shape[-2:]):
        own = {name: array[group] for name, array in params.items()}
        begin = None if states is None else tuple(state[group] for state in states)
        found.append(_of_group(net, own, _words_of(words, group), begin, of_group(dropped, group)))
    return found[0] if len(found) == 1 else _joined(found)


def _words_of(words: Words, group: slice) -> Words:
    """The words of some replicas."""
    ids, targets = (array[group] if array.ndim == 3 else array for array in words[:2])
    return words._replace(ids=ids, targets=targets)


def _of_group(net: RecurrentLM, params: dict, words: Words, states, dropped: Dropped) -> Update:
    """`loss_and_gradients` of replicas whose tapes are held at once."""
    reading, (weight, bias) = read(net, params, words, states, dropped), output(params)
    fused = softmax.loss_and_gradients(
        weight, bias, reading.h, targets_of(words, reading.places), flush_denormals=SUPPORTED
    )
    dy = multiplied(_at_places(fused.d_h, reading.places, words.ids.shape[-2:]), dropped.outputs)
    grads, dx, _ = backward(
        net.layer, recurrent_parameters(params), reading.tape, dy, flush_denormals=SUPPORTED, check=False
    )
    into = fused.d_weight if net.tied else None
    grads["weight_embedding"] = embedding.backward(net.words, words.ids, multiplied(dx, dropped.inputs), into)
    grads |= {"bias_out": fused.d_bias} | ({} if net.tied else {"weight_out": fused.d_weight})
    carried = dict(zip(net.layer.spec.states, reading.states, strict=True))
    return Update(fused.loss, fused.error, np.zeros(len(fused.loss)), {name: grads[name] for name in params}, carried)


def _at_places(d_h: np.ndarray, places: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """dL/dh (R, N, H) as dL/dy (R, T, B, H), zeros where nothing counts."""
    if places is None:
        return d_h.reshape(len(d_h), *size, -1)
    dy = np.zeros((len(d_h), size[0] * size[1], d_h.shape[-1]), d_h.dtype)
    dy[:, places] = d_h
    return dy.reshape(len(d_h), *size, -1)


def _joined(parts: list[Update]) -> Update:
    """The results of groups of replicas as one."""
    *values, grads, carried = zip(*parts, strict=True)
    joined = ({name: np.concatenate([part[name] for part in own]) for name in own[0]} for own in (grads, carried))
    return Update(*(np.concatenate(value) for value in values), *joined)


def through_parts(net: RecurrentLM, params: dict, words: Words, states, dropped: Dropped, steps: int | None) -> Update:
    """`loss_and_gradients` with a gradient that goes back `steps` steps at a time; the state goes on.

    The parts of a window lie side by side as the rows of one batch, each from the state that a run through the whole
    window has there: two forward passes and one back, whatever the number of parts.
    """
    whole = words.ids.shape[-2]
    if steps is None or steps >= whole:
        return loss_and_gradients(net, params, words, states, dropped)
    expect(words.lengths is None, "truncation", "rows of different length", "windows of T steps")
    firsts = np.arange(0, whole, steps)
    reading = read(net, params, words, states, dropped)
    begun = np.stack([run.visited()[:, :, firsts] for run in reading.tape.passes], axis=2)  # (R, S, L, J, B, H)
    begun = begun.reshape(*begun.shape[:3], -1, begun.shape[-1])
    cut = _cut(words, firsts, steps)
    masks = Dropped(
        *(_masks(mask, firsts, steps) for mask in dropped[:2]), between=_masks(dropped.between, firsts, steps)
    )
    found = loss_and_gradients(net, params, cut, tuple(begun[:, s] for s in range(begun.shape[1])), masks)
    return found._replace(carried=dict(zip(net.layer.spec.states, reading.states, strict=True)))


def _cut(words: Words, firsts: np.ndarray, steps: int) -> Words:
    """The parts of a window as rows, ([R,] k, J·B); a last part that is shorter has its own length."""
    whole, rows = words.ids.shape[-2:]
    lengths = np.repeat(np.minimum(steps, whole - firsts), rows)
    ids, targets = (_side_by_side(array, firsts, steps, -2) for array in words[:2])
    return Words(ids, targets, None if (lengths == steps).all() else lengths)


def _masks(mask: np.ndarray | None, firsts: np.ndarray, steps: int) -> np.ndarray | None:
    """The factors (…, T or 1, B, F) of the parts, side by side."""
    if mask is None:
        return None
    at_once = mask.shape[-3] == 1
    return _side_by_side(mask, 0 * firsts if at_once else firsts, 1 if at_once else steps, -3)


def _side_by_side(array: np.ndarray, firsts: np.ndarray, steps: int, axis: int) -> np.ndarray:
    """(…, T, B, …) with T at an axis -> (…, k, J·B, …): row j·B + b is row b from step firsts[j] on."""
    at = np.minimum(firsts + np.arange(steps)[:, None], array.shape[axis] - 1)
    taken = np.take(array, at, axis=axis % array.ndim)  # (…, k, J, B, …)
    place = axis % array.ndim
    return np.ascontiguousarray(taken.reshape(*taken.shape[: place + 1], -1, *taken.shape[place + 3 :]))


def gradients(net: RecurrentLM, seeds, noisy: Noise = SILENT, truncation: int | None = None) -> Callable:
    """A function for `train`: gradients under dropout, through windows whose states are `carried` or through sentences.

    The gradient goes back through all steps of a window, or through `truncation` steps at a time; the state always goes
    on. Give `train` `zero_states` as `carried` for windows, nothing for sentences. ValueError for rates that are none.
    """
    seeds, names = np.asarray(seeds), net.layer.spec.states
    rates = _checked_rates(net, noisy, len(seeds))
    if truncation is not None:
        expect_size("truncation", truncation)

    def trained(params, live, words: Words, update: int, penalised: Penalised | None, carried=None) -> Update:
        own = {name: rate[live] for name, rate in rates.items()}
        begin = None if carried is None or words.fresh else tuple(carried[name] for name in names)
        factors = _recurrent_factors(params, seeds[live], update, own["recurrent"])
        dropped = _dropped(net, words, seeds[live], update, own, noisy.per_sequence)
        found = through_parts(net, noise.multiplied(params, factors), words, begin, dropped, truncation)
        found = found._replace(grads=noise.multiplied(found.grads, factors))
        return found if penalised is None else _penalised(net, params, found, penalised)

    return trained


def _checked_rates(net: RecurrentLM, noisy: Noise, replicas: int) -> dict[str, np.ndarray]:
    """The rates by name, (R,) each."""
    rates = {name: np.asarray(value, float) for name, value in noisy._asdict().items() if name != "per_sequence"}
    for name, rate in rates.items():
        expect(rate.shape in ((), (replicas,)), name, f"shape {rate.shape}", f"a rate or ({replicas},)")
        expect(bool(np.all((rate >= 0) & (rate < 1))), name, rate, "rates from 0 to below 1")
    layers = net.layer.num_layers
    expect(
        layers > 1 or not rates["between"].any(),
        "between",
        f"{rates['between']} for one layer",
        "0: nothing lies between",
    )
    return {name: np.broadcast_to(rate, (replicas,)) for name, rate in rates.items()}


def _recurrent_factors(params: dict, seeds, update: int, rate: np.ndarray) -> dict:
    """Factors of every W_hh, or none where nothing is dropped."""
    names = [name for name in params if name.startswith("weight_hh")] if rate.any() else []
    return noise.drop_connect(params, names, seeds, update, rate)


def _dropped(net: RecurrentLM, words: Words, seeds, update: int, rates: dict, per_sequence: bool) -> Dropped:
    """The factors of an update; None at a place where nothing is dropped."""
    layer, (steps, rows) = net.layer, words.ids.shape[-2:]

    def mask(place: str, width: int, rate: np.ndarray):
        size = steps, rows, width
        return noise.dropout(seeds, place, update, size, rate, layer.dtype, per_sequence) if rate.any() else None

    inputs = mask("embedding", layer.input_size, rates["embedding"])
    if rates["words"].any():
        whole = _word_factors(net, words, seeds, update, rates["words"])
        inputs = whole if inputs is None else inputs * whole
    masks = [mask(f"between {level}", layer.hidden_size, rates["between"]) for level in range(layer.num_layers - 1)]
    between = np.stack(masks, axis=1) if rates["between"].any() else None
    return Dropped(inputs, mask("outputs", layer.hidden_size, rates["outputs"]), between=between)


def _word_factors(net: RecurrentLM, words: Words, seeds, update: int, rate: np.ndarray) -> np.ndarray:
    """The factor of the word at each place, (R, T, B, 1): a word is dropped at all its places or at none."""
    factors = noise.dropout_mask(seeds, "dropout words", update, (net.words,), rate, net.layer.dtype)
    ids = np.broadcast_to(words.ids, (len(factors), *words.ids.shape[-2:]))
    return np.stack([own[places] for own, places in zip(factors, ids, strict=True)])[..., None]


def _penalised(net: RecurrentLM, params: dict, found: Update, penalised: Penalised) -> Update:
    """A penalty on weights added; others are refused."""
    expect(penalised.penalty.of == "weights", "penalty", penalised.penalty.name, "one on weights")
    value, more = penalised.penalty.function(net.layer, params)
    return found._replace(penalty=value, grads=with_penalty(found.grads, more, penalised.weight))
