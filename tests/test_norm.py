"""Layer normalisation inside the recurrence: what is invariant about it, beside conformance with the oracle.

Weights are of size 1e5, so that the variance of a plane is about 1e10 and ε = 1e-5 moves nothing by more than 1e-15.
"""

import numpy as np
import pytest
from cases import CASES, Case, assert_close, problem
from test_conformance import both, layer_of

from recurlab.cells import CELLS
from recurlab.layers.recurrent import forward, recurrent
from recurlab.weights import init

NORMED = [name for name, cell in CELLS.items() if cell.norm]
CASE = Case(steps=4, batch=3, inputs=3, hidden=9)
LARGE = 1e5


def large(cell):
    """The layer and its problem, with large weights."""
    p = problem(cell, CASE)
    wide = {name: array * LARGE for name, array in p.params.items() if name in ("weight_ih_l0", "weight_hh_l0")}
    return layer_of(cell, CASE), p._replace(params=p.params | wide)


def rows_of(gate):
    return slice(gate * CASE.hidden, (gate + 1) * CASE.hidden)


def outputs(layer, p):
    y, final, _ = forward(layer, p.params, p.x, p.state)
    return (y, *final)


def together(cell):
    """Which rows of which matrices are normalised together: [{matrix: gate}], a separate gate's matrices alone."""
    spec = CELLS[cell]
    groups = []
    for g, gate in enumerate(spec.gates):
        parts = ({"weight_ih_l0": g}, {"weight_hh_l0": g})
        groups += parts if gate in spec.separate else [parts[0] | parts[1]]
    return groups


GROUPS = [(cell, k) for cell in NORMED for k in range(len(together(cell)))]


@pytest.mark.parametrize("factor", [0.25, 3.0])
@pytest.mark.parametrize(("cell", "k"), GROUPS)
def test_scaled_weights_of_a_gate_change_no_output(cell, k, factor):
    layer, p = large(cell)
    scaled = {name: p.params[name].copy() for name in together(cell)[k]}
    for name, g in together(cell)[k].items():
        scaled[name][rows_of(g)] *= factor
    assert_close(outputs(layer, p._replace(params=p.params | scaled)), outputs(layer, p), 1e-12)


@pytest.mark.parametrize(("cell", "k"), GROUPS)
def test_a_vector_added_to_all_rows_of_a_gate_changes_no_output(cell, k):
    layer, p = large(cell)
    moved = {name: p.params[name].copy() for name in together(cell)[k]}
    for name, g in together(cell)[k].items():
        moved[name][rows_of(g)] += np.arange(moved[name].shape[1])
    assert_close(outputs(layer, p._replace(params=p.params | moved)), outputs(layer, p), 1e-12)


@pytest.mark.parametrize(("cell", "k"), GROUPS)
def test_gradients_are_orthogonal_to_the_weights_of_a_gate_and_sum_to_zero_over_its_units(cell, k):
    """Both follow from the two invariances: Σ dL/dW W = 0 (Euler) and Σ_units dL/dW = 0."""
    layer, p = large(cell)
    grads, group = both(layer, p), together(cell)[k]
    pairs = [(grads[f"d {name}"][rows_of(g)], p.params[name][rows_of(g)]) for name, g in group.items()]
    size = sum(np.linalg.norm(d) * np.linalg.norm(W) for d, W in pairs)
    assert size > 0 and abs(sum((d * W).sum() for d, W in pairs)) <= 1e-13 * size
    for d, _ in pairs:
        assert np.abs(d.sum(axis=0)).max() <= 1e-13 * np.abs(d).max()


def test_a_step_of_the_linear_network_is_linear_in_its_gain():
    """L(g + h) - L(g) = h dL/dg for every unit by itself, however large h is."""
    p, layer = problem("rnn_linear_norm", CASES["one step"]), layer_of("rnn_linear_norm", CASES["one step"])
    gradient = both(layer, p)["d weight_norm_l0"]

    def loss(gain):
        y, (final,), _ = forward(layer, p.params | {"weight_norm_l0": gain}, p.x, p.state)
        return (p.dy * y).sum() + (p.dstate[0] * final).sum()

    gain = p.params["weight_norm_l0"]
    found = [loss(gain + unit) - loss(gain) for unit in np.eye(len(gain))]
    assert_close(np.array(found), gradient, 1e-13)


def test_every_row_has_the_mean_and_variance_of_its_gain_and_bias():
    """With gain 1 and bias 0 the linear network's state has mean 0 and variance v / (v + ε) = 1."""
    layer, p = large("rnn_linear_norm")
    plain = {"bias_ih_l0": 0, "bias_hh_l0": 0, "weight_norm_l0": 1}
    p = p._replace(params=p.params | {name: np.full_like(p.params[name], value) for name, value in plain.items()})
    y, _ = outputs(layer, p)
    assert np.abs(y.mean(axis=-1)).max() < 1e-15 and np.abs(y.var(axis=-1) - 1).max() < 1e-14


def test_gains_start_at_one():
    for cell in NORMED:
        gains = init(recurrent(cell, 3, 8), bias="uniform")["weight_norm_l0"]
        spec = CELLS[cell]
        assert gains.shape == (8 * (len(spec.gates) + len(spec.separate)),) and (gains == 1).all()


def test_a_second_product_with_a_norm_is_refused(monkeypatch):
    monkeypatch.setitem(CELLS, "mixed", CELLS["gru_reset_before"]._replace(name="mixed", norm=True))
    with pytest.raises(ValueError, match="cell: expected one of the two, got mixed, a second product with a norm"):
        recurrent("mixed", 3, 8)
