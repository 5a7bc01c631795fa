"""Dropout between layers: a stack with factors is its layers one by one with the factors multiplied in."""

import numpy as np
import pytest
from cases import Case, assert_close, problem

from recurlab.layers.recurrent import backward, forward, recurrent
from recurlab.models import regularised
from recurlab.models.regularised import gradients
from recurlab.models.sequence import Batch, network, readout
from recurlab.weights import init

CASE = Case(inputs=2, layers=3, directions=2, lengths=(1, 5, 4))
EXACT = 1e-13


def layer_of(layers, inputs=CASE.inputs, cell="gru"):
    return recurrent(cell, inputs, CASE.hidden, layers, True, "float64")


def factors(steps=CASE.steps):
    rng = np.random.default_rng(3)
    return rng.uniform(0, 2, (CASE.layers - 1, steps, CASE.batch, 2 * CASE.hidden))


def one_by_one(p, masks):
    """y, final states, gradients of x and the parameters: every layer a stack of its own."""
    x, finals, layers = p.x, [], []
    for level in range(CASE.layers):
        own = {name.replace(f"_l{level}", "_l0"): a for name, a in p.params.items() if f"_l{level}" in name}
        layer = layer_of(1, x.shape[-1])
        y, final, tape = forward(layer, own, x, (p.state[0][2 * level : 2 * level + 2],), p.lengths)
        layers.append((layer, own, tape))
        finals.append(final[0])
        x = y * masks[level] if level < len(masks) else y
    dy, grads = p.dy, {}
    for level in reversed(range(CASE.layers)):
        layer, own, tape = layers[level]
        d, dx, _ = backward(layer, own, tape, dy, (p.dstate[0][2 * level : 2 * level + 2],))
        grads |= {name.replace("_l0", f"_l{level}"): value for name, value in d.items()}
        dy = dx * masks[level - 1] if level else dx
    return x, np.concatenate(finals), grads, dy


@pytest.mark.parametrize("steps", [CASE.steps, 1])
def test_a_stack_with_factors_is_its_layers_one_by_one(steps):
    p, layer, masks = problem("gru", CASE), layer_of(CASE.layers), factors(steps)
    y, final, tape = forward(layer, p.params, p.x, p.state, p.lengths, between=masks)
    grads, dx, _ = backward(layer, p.params, tape, p.dy, p.dstate)
    expected_y, expected_final, expected_grads, expected_dx = one_by_one(p, masks)
    assert_close(y, expected_y, EXACT, "y")
    assert_close(final[0], expected_final, EXACT, "final")
    assert_close(dx, expected_dx, EXACT, "dx")
    assert_close(grads, {name: expected_grads[name] for name in grads}, EXACT)


def test_factors_of_one_change_no_bit():
    p, layer = problem("gru", CASE), layer_of(CASE.layers)
    plain = forward(layer, p.params, p.x, p.state, p.lengths)
    ones = forward(layer, p.params, p.x, p.state, p.lengths, between=np.ones_like(factors()))
    assert np.array_equal(plain[0], ones[0])
    back = [backward(layer, p.params, tape, p.dy, p.dstate)[0] for _, _, tape in (plain, ones)]
    assert all(np.array_equal(back[0][name], back[1][name]) for name in back[0])


@pytest.mark.parametrize(
    "masks",
    [factors()[:1], factors()[:, :2], factors()[..., 1:], factors().astype("float32"), factors() * np.nan],
    ids=["one too few", "two steps", "one unit less", "dtype", "NaN"],
)
def test_factors_of_another_shape_or_dtype_are_refused(masks):
    p = problem("gru", CASE)
    with pytest.raises(ValueError, match="^between"):
        forward(layer_of(CASE.layers), p.params, p.x, p.state, p.lengths, between=masks)


@pytest.mark.parametrize("regulariser", ["dropout_between", "variational_between"])
def test_every_border_between_layers_has_a_mask_of_its_own(regulariser, monkeypatch):
    seeds, net = np.array([3, 5]), network(recurrent("lstm", 2, 8, 3, dtype="float64"), 3, "cross_entropy", "last")
    params = init(net.layer, seeds.tolist()) | readout(net, seeds)
    batch = Batch(np.ones((6, 4, 2)), np.zeros((2, 4), int))
    seen = []
    whole = regularised.loss_and_gradients
    monkeypatch.setattr(
        regularised, "loss_and_gradients", lambda *a, dropped, **o: seen.append(dropped) or whole(*a, dropped=dropped)
    )
    gradients(net, seeds, regulariser, np.array([0.5, 0.0]))(params, np.arange(2), batch, 7, None)
    masks = seen[0].between
    assert masks.shape == (2, 2, 6 if regulariser == "dropout_between" else 1, 4, 8)
    assert set(np.unique(masks[0])) == {0.0, 2.0} and (masks[1] == 1).all()
    assert not np.array_equal(masks[0, 0], masks[0, 1])


def test_one_layer_has_nothing_between():
    net = network(recurrent("lstm", 2, 8, dtype="float64"), 3, "cross_entropy", "last")
    with pytest.raises(ValueError, match="num_layers: expected at least 2 for dropout_between, got 1"):
        gradients(net, [3], "dropout_between", 0.5)
