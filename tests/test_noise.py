"""Noise of training: what is drawn, what it does to a network and its gradient, and who gets the same."""

import numpy as np
import pytest
from chance import assert_distribution, assert_mean
from scipy import stats

from recurlab.layers.recurrent import forward, recurrent
from recurlab.models.gradients import loss_and_gradients
from recurlab.models.sequence import Batch, network, readout
from recurlab.noise import (
    drop_connect,
    drop_recurrent_columns,
    dropout,
    dropout_mask,
    multiplied,
    weight_noise,
)
from recurlab.random import Stream, normal, uniform
from recurlab.weights import init

SEEDS = np.array([3, 8, 21])
RATES = np.array([0.0, 0.25, 0.5])
SIZE = 7, 4, 5  # T, B, F


def drawn(name, *shape):
    return normal(Stream(0, f"test {name}"), shape)


def weights(dtype="float64", cell="gru", seeds=SEEDS):
    layer = recurrent(cell, 3, 4, num_layers=2, dtype=dtype)
    return layer, init(layer, [int(seed) for seed in seeds], bias="uniform")


def every_noise(params, seeds, step, rate, dtype="float64"):
    """All that this module draws, by name; rate serves as sd, too."""
    names = [name for name in params if name.startswith("weight")]
    return {
        "mask": {"m": dropout_mask(seeds, "test", step, (5, 6), rate, dtype)},
        "per step": {"m": dropout(seeds, "inputs", step, SIZE, rate, dtype)},
        "per sequence": {"m": dropout(seeds, "inputs", step, SIZE, rate, dtype, per_sequence=True)},
        "weight noise": weight_noise(params, names, seeds, step, rate),
        "drop connect": drop_connect(params, names, seeds, step, rate),
        "columns": drop_recurrent_columns(params, seeds, step, rate),
    }


KINDS = ("mask", "per step", "per sequence", "weight noise", "drop connect", "columns")


# Masks


def test_masks_are_those_of_the_addressed_uniforms():
    mask = dropout_mask(SEEDS, "test", 9, (5, 6), RATES, "float64")
    for seed, rate, found in zip(SEEDS, RATES, mask, strict=True):
        u = uniform(Stream(int(seed), "test", 9), (5, 6))
        assert np.array_equal(found, np.where(u < rate, 0, 1 / (1 - rate)))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_the_share_dropped_is_the_rate_and_the_expectation_is_one(rate):
    mask = dropout_mask([5], "test chance", 0, (40_000,), rate, "float64")[0]
    assert set(np.unique(mask)) == {0, 1 / (1 - rate)}
    assert_mean(mask == 0, rate, effect=rate, sd=np.sqrt(rate * (1 - rate)))
    assert_mean(mask, 1, effect=rate, sd=np.sqrt(rate / (1 - rate)))


def test_every_number_of_a_mask_is_dropped_apart():
    mask = dropout_mask([5], "test chance", 0, (200, 200), 0.5, "float64")[0] - 1
    for axis in (0, 1):
        assert_mean((mask * np.roll(mask, 1, axis)).ravel(), 0, effect=1, sd=1)


def test_places_steps_and_kinds_have_masks_of_their_own():
    options = {"size": (1, 50, 40), "rate": 0.5, "dtype": "float64"}
    masks = [
        dropout([1], place, step, per_sequence=kind, **options)[0, 0] - 1
        for place in ("inputs", "between layers 0 and 1", "outputs")
        for step in (0, 1)
        for kind in (False, True)
    ]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert_mean((one * other).ravel(), 0, effect=1, sd=1)


def test_per_sequence_is_one_mask_for_all_steps_and_per_step_is_not():
    steps, batch, width = SIZE
    fixed = dropout(SEEDS, "outputs", 2, SIZE, RATES, "float32", per_sequence=True)
    fresh = dropout(SEEDS, "outputs", 2, SIZE, RATES, "float32")
    assert fixed.shape == (3, 1, batch, width) and fresh.shape == (3, steps, batch, width)
    assert np.all(fresh[0] == 1) and not np.array_equal(fresh[2, 0], fresh[2, 1])
    longer = dropout(SEEDS, "outputs", 2, (steps + 3, batch, width), RATES, "float32")
    assert np.array_equal(longer[:, :steps], fresh)


# Weights


def test_weight_noise_is_normal_with_the_deviation_asked_for():
    params = {"weight_hh_l0": drawn("W", 2, 200, 100), "bias_ih_l0": drawn("b", 2, 200)}
    noisy = weight_noise(params, ["weight_hh_l0"], [4, 5], 3, np.array([0.075, 2.0]))
    for r, sd in enumerate((0.075, 2.0)):
        assert_distribution((noisy["weight_hh_l0"] - params["weight_hh_l0"])[r], stats.norm(0, sd).cdf)
        expected = sd * normal(Stream(4 + r, "weight noise weight_hh_l0", 3), (200, 100))
        assert np.array_equal(noisy["weight_hh_l0"][r], params["weight_hh_l0"][r] + expected)
    assert noisy["bias_ih_l0"] is params["bias_ih_l0"]


def test_weight_noise_is_new_at_every_update_and_for_every_parameter():
    params = {name: np.zeros((1, 50, 50)) for name in ("weight_ih_l0", "weight_hh_l0")}
    parts = [array.ravel() for step in (0, 1) for array in weight_noise(params, params, [4], step, 1.0).values()]
    for i, one in enumerate(parts):
        for other in parts[:i]:
            assert_mean(one * other, 0, effect=1, sd=1)
    assert not any(array.any() for array in params.values())


def test_dropped_columns_are_units_that_the_recurrent_weights_do_not_see():
    """h' = tanh(W h) from a state: columns of W or numbers of h, it is the same; all gates miss the same units."""
    layer = recurrent("rnn_tanh", 2, 6, dtype="float64")
    params, x, h = init(layer, [1, 2]), drawn("x", 1, 3, 2), drawn("h", 2, 1, 3, 6)
    factors = drop_recurrent_columns(params, [1, 2], 5, 0.5)
    column = factors["weight_hh_l0"]
    assert column.shape == (2, 1, 6) and 0 < np.count_nonzero(column) < column.size
    dropped, _, _ = forward(layer, multiplied(params, factors), x, (h,))
    seen, _, _ = forward(layer, params, x, (h * column[:, None],))
    assert np.allclose(dropped, seen, rtol=1e-14, atol=1e-15)
    _, gru = weights()
    assert {name: f.shape for name, f in drop_recurrent_columns(gru, SEEDS, 0, 0.5).items()} == {
        "weight_hh_l0": (3, 1, 4),
        "weight_hh_l1": (3, 1, 4),
    }


@pytest.mark.parametrize("kind", ["drop connect", "columns", "weight noise"])
def test_the_gradient_of_the_parameters_under_noise(kind):
    """Central differences of the noisy loss by the parameters behind the noise."""
    layer, params = weights()
    net = network(layer, 2, "squared_error", "last")
    params |= readout(net, SEEDS)
    batch = Batch(drawn("x", 5, 3, 3), drawn("targets", 3, 2))
    names = [name for name in params if name.startswith("weight")]

    def noisy(params):
        if kind == "weight noise":
            return weight_noise(params, names, SEEDS, 1, RATES), {}
        some = drop_connect(params, names, SEEDS, 1, RATES) if kind == "drop connect" else None
        factors = drop_recurrent_columns(params, SEEDS, 1, RATES) if some is None else some
        return multiplied(params, factors), factors

    at, factors = noisy(params)
    grads = multiplied(loss_and_gradients(net, at, batch).grads, factors)
    for name in ("weight_hh_l0", "weight_ih_l1", "bias_hh_l0"):
        for index in ((2, 0), (2, 3), (1, 5)) if name.startswith("bias") else ((2, 0, 1), (2, 3, 2), (1, 5, 0)):
            ends = []
            for step in (1e-5, -1e-5):
                moved = params | {name: params[name].copy()}
                moved[name][index] += step
                ends.append(loss_and_gradients(net, noisy(moved)[0], batch).loss[index[0]])
            assert grads[name][index] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-10), (name, index)


# All of them


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rate_of_zero_changes_no_bit(kind, dtype):
    _, params = weights(dtype)
    params["weight_hh_l0"][:, 0, 0] = -0.0
    found = every_noise(params, SEEDS, 4, 0.0, dtype)[kind]
    for name, array in found.items():
        whole = params.get(name, drawn("units", *array.shape).astype(dtype))
        changed = array if kind == "weight noise" else whole * array
        assert changed.tobytes() == whole.tobytes() and array.dtype == dtype, name
    mixed = every_noise(params, SEEDS, 4, RATES, dtype)[kind]
    assert all(np.array_equal(mixed[name][0], array[0]) for name, array in found.items())
    assert any(not np.array_equal(mixed[name][2], array[2]) for name, array in found.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replica_gets_the_same_noise_alone(kind, dtype):
    _, params = weights(dtype)
    together = every_noise(params, SEEDS, 4, RATES, dtype)[kind]
    again = every_noise(params, SEEDS, 4, RATES, dtype)[kind]
    for r in (1, 2):
        own = {name: array[r : r + 1] for name, array in params.items()}
        alone = every_noise(own, SEEDS[r : r + 1], 4, RATES[r], dtype)[kind]
        for name, array in alone.items():
            assert np.array_equal(array[0], together[name][r]) and np.array_equal(again[name], together[name])
    later = every_noise(params, SEEDS, 5, RATES, dtype)[kind]
    assert any(not np.array_equal(later[name][2], array[2]) for name, array in together.items())


def check_refused(rate):
    """Whoever takes a rate names it."""
    _, params = weights()
    for refuses in (
        lambda: dropout_mask(SEEDS, "test", 0, (2,), rate, "float64"),
        lambda: dropout(SEEDS, "inputs", 0, SIZE, rate, "float64"),
        lambda: drop_connect(params, ["weight_hh_l0"], SEEDS, 0, rate),
        lambda: drop_recurrent_columns(params, SEEDS, 0, rate),
    ):
        try:
            refuses()
        except ValueError as error:
            assert str(error).startswith("rate: expected"), error
        else:
            raise AssertionError(f"{rate} is taken")


@pytest.mark.parametrize("rate", [1.0, -0.1, np.nan, np.inf, [0.5, 0.5], [0.1, 0.2, 1.0]])
def test_rates_outside_their_range_are_refused(rate):
    check_refused(rate)


@pytest.mark.parametrize("sd", [-0.1, np.nan, np.inf, [0.5, 0.5]])
def test_deviations_that_are_none_are_refused(sd):
    with pytest.raises(ValueError, match="^sd: expected"):
        weight_noise(weights()[1], ["weight_hh_l0"], SEEDS, 0, sd)


# What test_mutations runs on changed sources, uncompiled.
CHECKS = {
    "addresses": (test_masks_are_those_of_the_addressed_uniforms,),
    "per sequence": (test_per_sequence_is_one_mask_for_all_steps_and_per_step_is_not,),
    "places": (test_places_steps_and_kinds_have_masks_of_their_own,),
    "weight noise": (test_weight_noise_is_normal_with_the_deviation_asked_for,),
    "columns": (test_dropped_columns_are_units_that_the_recurrent_weights_do_not_see,),
    "rate 1": (check_refused, 1.0),
}
CHECKS |= {f"rate 0: {kind}": (test_a_rate_of_zero_changes_no_bit, kind, "float64") for kind in KINDS}
CHECKS |= {f"alone: {kind}": (test_a_replica_gets_the_same_noise_alone, kind, "float64") for kind in KINDS}
