"""Training with a regulariser or with weights that are a function of what is trained: gradients for the training loop.

A regulariser is noise or a penalty with one strength for each replica: a rate, a standard deviation, or a weight.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab import noise
from recurlab.layers.checks import expect, expect_choice
from recurlab.models.gradients import Penalised, Result, Truncation, loss_and_gradients
from recurlab.models.sequence import OUTPUT, Batch, Dropped, Network, own_parameters
from recurlab.parametrise import PARAMETRISATIONS
from recurlab.penalties import PENALTIES

# A noisy gradient: (net, params, seeds, batch, update, strength, options of loss_and_gradients) -> Result.


def _weight_noise(net, params, seeds, batch, update, strength, options) -> Result:
    noisy = noise.weight_noise(params, [name for name in params if name.startswith("weight")], seeds, update, strength)
    return loss_and_gradients(net, noisy, batch, **options)


def _multiplied(factors_of: Callable):
    """Weights times factors on their way in, and gradients times the same factors on their way back."""

    def gradients(net, params, seeds, batch, update, strength, options) -> Result:
        factors = factors_of(params, seeds, update, strength)
        found = loss_and_gradients(net, noise.multiplied(params, factors), batch, **options)
        return found._replace(grads=noise.multiplied(found.grads, factors))

    return gradients


def _drop_connect(params, seeds, update, strength) -> dict:
    return noise.drop_connect(
        params, [name for name in params if name.startswith("weight_hh")], seeds, update, strength
    )


def _dropped(place: str, per_sequence: bool):
    """Dropout of the inputs or the outputs of the recurrent layer."""

    def gradients(net, params, seeds, batch, update, strength, options) -> Result:
        steps, rows, width = batch.x.shape[-3:]
        width = width if place == "inputs" else net.layer.directions * net.layer.hidden_size
        size = (steps, rows, width)
        mask = noise.dropout(seeds, place, update, size, strength, net.layer.dtype, per_sequence)
        return loss_and_gradients(net, params, batch, dropped=Dropped(**{place: mask}), **options)

    return gradients


def _between(per_sequence: bool):
    """Dropout of what a layer hands on to the next, with masks of its own for each."""

    def gradients(net, params, seeds, batch, update, strength, options) -> Result:
        size = (*batch.x.shape[-3:-1], net.layer.directions * net.layer.hidden_size)
        masks = [
            noise.dropout(seeds, f"between {level}", update, size, strength, net.layer.dtype, per_sequence)
            for level in range(net.layer.num_layers - 1)
        ]
        return loss_and_gradients(net, params, batch, dropped=Dropped(between=np.stack(masks, axis=1)), **options)

    return gradients


def _shares(net, batch, of_state: Callable) -> tuple[np.ndarray, ...]:
    """of_state(rate factor of a state, its name, shape) for every state; h of a cell with a memory has a tenth."""
    states = net.layer.spec.states
    shape = (len(net.layer.passes), *batch.x.shape[-3:-1], net.layer.hidden_size)
    factors = [0.1 if len(states) > 1 and name == "h" else 1.0 for name in states]
    return tuple(of_state(factor, name, shape) for factor, name in zip(factors, states, strict=True))


def _zoneout(net, params, seeds, batch, update, strength, options) -> Result:
    """Krueger et al. 2017: a state keeps its old value with this probability; h of the LSTM with a tenth of it."""

    def mask(factor, name, shape):
        kept = noise.dropout_mask(seeds, f"zoneout {name}", update, shape, factor * strength, net.layer.dtype)
        return (kept > 0).astype(net.layer.dtype)

    return loss_and_gradients(net, params, batch, dropped=Dropped(keep=_shares(net, batch, mask)), **options)


def at_test(net: Network, regulariser: str | None, strength, batch: Batch) -> Dropped:
    """What stands for the noise when a trained network is tested: under zoneout the mean of the masks, else nothing."""
    if regulariser != "zoneout":
        return Dropped()

    def mean(factor, name, shape):
        one = (1 - factor * np.asarray(strength)).astype(net.layer.dtype)
        return np.ascontiguousarray(np.broadcast_to(one.reshape(-1, 1, 1, 1, 1), (len(one), *shape)))

    return Dropped(keep=_shares(net, batch, mean))


class Noise(NamedTuple):
    """A noise of training: what it does at its strength, who has it, and the gradients under it."""

    says: str
    source: str
    gradients: Callable
    layers: int = 1  # at least


DROPOUT = "Zaremba, Sutskever & Vinyals 2014", "Gal & Ghahramani 2016"
NOISES: dict[str, Noise] = {
    "weight_noise": Noise("weights + N(0, strength²), new at every update", "Graves 2011", _weight_noise),
    "drop_connect": Noise(
        "entries of W_hh dropped with this rate, the same for a minibatch",
        "Wan et al. 2013; Merity, Keskar & Socher 2018",
        _multiplied(_drop_connect),
    ),
    "drop_columns": Noise(
        "units that W_hh does not see, with this rate, the same for a minibatch",
        "Gal & Ghahramani 2016, who draw for every row",
        _multiplied(noise.drop_recurrent_columns),
    ),
    "dropout_inputs": Noise("inputs dropped with this rate, new at every step", DROPOUT[0], _dropped("inputs", False)),
    "dropout_outputs": Noise(
        "outputs dropped with this rate, new at every step", DROPOUT[0], _dropped("outputs", False)
    ),
    "dropout_between": Noise(
        "what a layer hands on to the next dropped with this rate, new at every step", DROPOUT[0], _between(False), 2
    ),
    "variational_inputs": Noise(
        "inputs dropped with this rate, new for every row", DROPOUT[1], _dropped("inputs", True)
    ),
    "variational_outputs": Noise(
        "outputs dropped with this rate, new for every row", DROPOUT[1], _dropped("outputs", True)
    ),
    "variational_between": Noise(
        "what a layer hands on to the next dropped with this rate, new for every row", DROPOUT[1], _between(True), 2
    ),
    "zoneout": Noise(
        "states that stay as they are with this rate, h of an LSTM with a tenth of it", "Krueger et al. 2017", _zoneout
    ),
}
REGULARISERS = (*NOISES, *PENALTIES)


def layers_needed(regulariser: str | None) -> int:
    """The layers without which it does nothing."""
    return NOISES[regulariser].layers if regulariser in NOISES else 1


def takes_a_rate(regulariser: str | None) -> bool:
    """Whether its strength is a probability."""
    return regulariser in NOISES and regulariser != "weight_noise"


def gradients(
    net: Network,
    seeds,
    regulariser: str | None = None,
    strength=0.0,
    truncation: Truncation | None = None,
    parametrisation: str = "free",
):
    """A function for `train`: the gradients of what is trained, with a regulariser of REGULARISERS in each replica.

    strength is a number or (R,). With a parametrisation the layer's parameters are those that it makes of the trained
    ones. Raises ValueError for unknown names and strengths that the regulariser does not take.
    """
    expect(regulariser is None or regulariser in REGULARISERS, "regulariser", regulariser, f"one of {REGULARISERS}")
    expect_choice("parametrisation", parametrisation, PARAMETRISATIONS)
    seeds, strength = np.asarray(seeds), np.broadcast_to(np.asarray(strength, float), np.shape(seeds))
    expect(bool(np.all(np.isfinite(strength) & (strength >= 0))), "strength", strength, "finite numbers ≥ 0")
    layers, wanted = net.layer.num_layers, f"at least {layers_needed(regulariser)} for {regulariser}"
    expect(layers >= layers_needed(regulariser), "num_layers", layers, wanted)
    rates = takes_a_rate(regulariser)
    expect(not rates or bool(np.all(strength < 1)), "strength", strength, f"rates below 1 for {regulariser}")
    made_of = PARAMETRISATIONS[parametrisation]

    def regularised(trained: dict, live, batch: Batch, update: int, penalised: Penalised | None) -> Result:
        raw, readout = own_parameters(trained), {name: trained[name] for name in OUTPUT}
        own = made_of.forward(net.layer, raw)
        options = {"truncation": truncation, "penalised": penalised}
        if regulariser in PENALTIES:
            options["penalised"] = Penalised(PENALTIES[regulariser], strength[live])
        noisy = NOISES[regulariser].gradients if regulariser in NOISES else _plain
        found = noisy(net, own | readout, seeds[live], batch, update, strength[live], options)
        back = made_of.backward(net.layer, raw, own, {name: found.grads[name] for name in own})
        return found._replace(grads=back | {name: found.grads[name] for name in OUTPUT})

    return regularised


def _plain(net, params, seeds, batch, update, strength, options) -> Result:
    return loss_and_gradients(net, params, batch, **options)


def as_computed(net: Network, parametrisation: str, trained: dict) -> dict:
    """The parameters that the network computes with, from what is trained."""
    own = PARAMETRISATIONS[parametrisation].forward(net.layer, own_parameters(trained))
    return own | {name: trained[name] for name in OUTPUT}
