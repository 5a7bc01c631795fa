"""Penalties against slow twins, central differences and their exact minimisers; replicas alone and among others."""

import naive
import numpy as np
import pytest
from cases import CASES, Case, assert_close, assert_same_bits, problem

from recurlab.layers.omega import ELMAN
from recurlab.layers.recurrent import backward, forward, pack, recurrent
from recurlab.penalties import PENALTIES
from recurlab.random import Stream, normal, uniform
from recurlab.weights import init

OMEGAS = ("omega_paper", "omega_code")
OF_WEIGHTS = [name for name, penalty in PENALTIES.items() if penalty.of == "weights"]
OF_STATES = [name for name, penalty in PENALTIES.items() if penalty.of == "states"]
TO_ORTHOGONAL = ("spectral_norm", "spectral_radius", "orthogonality")
SLICED = Case(batch=9, lengths=(5, 1, 3, 5, 2, 4, 5, 5, 2))


def drawn(name, *shape):
    return normal(Stream(0, f"test {name}"), shape)


# Ω


def omega_of(name, cell, p, dtype="float64", **parts):
    """Ω of one replica of a problem of `cases`; parts replace its dy, dstate or params."""
    hidden, inputs = p.params["weight_hh_l0"].shape[0], p.x.shape[-1]
    layer = recurrent(cell, inputs, hidden, dtype=dtype)
    params = parts.get("params", p.params)
    _, _, tape = forward(layer, params, p.x, p.state, p.lengths)
    return PENALTIES[name].function(layer, params, tape, parts.get("dy", p.dy), parts.get("dstate", p.dstate))


def check_omega(name, cell, case, dtype="float64", bound=1e-12):
    """Value and gradient are those of the slow twin."""
    p = problem(cell, case, dtype=dtype)
    exact = problem(cell, case)
    value, grads = omega_of(name, cell, p, dtype)
    arguments = (exact.params, exact.x, exact.state, case.all_lengths, exact.dy, exact.dstate)
    expected, gradient = naive.omega_and_gradient(name, cell, *arguments)
    assert abs(value - expected) <= bound * max(1, abs(expected)), (value, expected)
    assert_close(grads, {"weight_hh_l0": gradient}, bound)


SINGLE = [name for name, case in CASES.items() if case.layers == case.directions == 1 and case.steps > 1]


@pytest.mark.parametrize("case", SINGLE)
@pytest.mark.parametrize("cell", ELMAN)
@pytest.mark.parametrize("name", OMEGAS)
def test_omega_is_that_of_the_slow_twin(name, cell, case):
    check_omega(name, cell, CASES[case])


@pytest.mark.parametrize("name", OMEGAS)
def test_omega_in_slices_with_lengths_and_chunks(name):
    check_omega(name, "rnn_tanh", SLICED)
    check_omega(name, "rnn_tanh", Case(steps=150, batch=8, hidden=9))  # chunks of 96 steps


@pytest.mark.parametrize("name", OMEGAS)
def test_omega_in_float32(name):
    check_omega(name, "rnn_tanh", SLICED, "float32", 2e-5)


@pytest.mark.parametrize("name", OMEGAS)
def test_omega_of_a_loss_at_the_end_alone(name):
    p = problem("rnn_tanh", SLICED)
    value, grads = omega_of(name, "rnn_tanh", p, dy=None)
    zeros, same = omega_of(name, "rnn_tanh", p, dy=np.zeros_like(p.dy))
    assert value == pytest.approx(zeros, rel=1e-13)
    assert_close(grads, same, 1e-13)


def test_omega_of_the_paper_needs_two_steps():
    p = problem("rnn_tanh", CASES["one step"])
    value, grads = omega_of("omega_paper", "rnn_tanh", p)
    assert value == 0 and not grads["weight_hh_l0"].any()
    check_omega("omega_code", "rnn_tanh", CASES["one step"])


@pytest.mark.parametrize("name", OMEGAS)
def test_terms_of_vanished_gradients_do_not_count(name):
    p = problem("rnn_tanh", SLICED)
    few = p.dstate[0].copy()
    few[:, 1:] *= 1e-12
    value, grads = omega_of(name, "rnn_tanh", p, dy=None, dstate=(few,))
    few[:, 1:] = 0
    dropped, same = omega_of(name, "rnn_tanh", p, dy=None, dstate=(few,))
    assert value == dropped > 0 and np.array_equal(grads["weight_hh_l0"], same["weight_hh_l0"])
    value, grads = omega_of(name, "rnn_tanh", p, dy=None, dstate=(1e-12 * p.dstate[0],))
    assert value == 0 and not grads["weight_hh_l0"].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OMEGAS)
def test_a_replica_of_omega_has_its_bits_alone(name, dtype):
    ps = [problem("rnn_tanh", SLICED, seed, dtype) for seed in range(3)]
    layer = recurrent("rnn_tanh", 3, 5, dtype=dtype)
    params = {key: np.stack([p.params[key] for p in ps]) for key in ps[0].params}
    x, state, dy, dstate = (np.stack([np.asarray(p[k]) for p in ps]) for k in (1, 2, 4, 5))
    _, _, tape = forward(layer, params, x, (state[:, 0],), ps[0].lengths)
    values, grads = PENALTIES[name].function(layer, params, tape, dy, (dstate[:, 0],))
    for r, p in enumerate(ps):
        alone, own = omega_of(name, "rnn_tanh", p, dtype)
        assert values[r] == alone and np.array_equal(grads["weight_hh_l0"][r], own["weight_hh_l0"])


@pytest.mark.parametrize("name", OMEGAS)
def test_omega_of_an_orthogonal_linear_network_is_zero(name):
    p = problem("rnn_linear", CASES["odd sizes"])
    W = np.linalg.qr(drawn("W", 5, 5))[0]
    value, grads = omega_of(name, "rnn_linear", p, params=p.params | {"weight_hh_l0": W})
    assert value < 1e-28 and np.abs(grads["weight_hh_l0"]).max() < 1e-13


@pytest.mark.parametrize("name", OMEGAS)
def test_descending_omega_makes_a_linear_network_keep_the_norms(name):
    p = problem("rnn_linear", CASES["one row"])
    W = p.params["weight_hh_l0"].copy()
    first = omega_of(name, "rnn_linear", p)[0]
    for _ in range(400):
        value, grads = omega_of(name, "rnn_linear", p, params=p.params | {"weight_hh_l0": W})
        W -= 0.2 * grads["weight_hh_l0"]
    assert first > 0.05 and value < 1e-15


@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm_peephole"])
def test_omega_refuses_gated_cells(cell):
    layer = recurrent(cell, 3, 4)
    params = init(layer)
    _, _, tape = forward(layer, params, np.zeros((2, 1, 3), "float32"))
    with pytest.raises(ValueError, match="^layer: expected one of rnn_tanh, .* got cell"):
        PENALTIES["omega_code"].function(layer, params, tape, None)


def test_omega_refuses_what_it_cannot_read():
    x = np.zeros((4, 1, 3), "float32")
    for options, message in (({"num_layers": 2}, "one of each"), ({"bidirectional": True}, "one of each")):
        layer = recurrent("rnn_tanh", 3, 4, **options)
        params = init(layer)
        with pytest.raises(ValueError, match=message):
            PENALTIES["omega_paper"].function(layer, params, forward(layer, params, x)[2], None)
    layer = recurrent("rnn_tanh", 3, 4)
    params = init(layer)
    with pytest.raises(ValueError, match="whole history"):
        PENALTIES["omega_paper"].function(layer, params, forward(layer, params, x, checkpoint=True)[2], None)
    with pytest.raises(ValueError, match="natural parameters"):
        packed = pack(layer, params)
        PENALTIES["omega_paper"].function(*packed, forward(*packed, x)[2], None)


def test_omega_and_the_gradient_of_the_loss_stand_side_by_side():
    """`backward` gives the same bits before and after: Ω uses nothing up."""
    p = problem("rnn_tanh", SLICED)
    layer = recurrent("rnn_tanh", 3, 5, dtype="float64")
    _, _, tape = forward(layer, p.params, p.x, p.state, p.lengths)
    before = backward(layer, p.params, tape, p.dy, p.dstate)
    PENALTIES["omega_paper"].function(layer, p.params, tape, p.dy, p.dstate)
    PENALTIES["omega_code"].function(layer, p.params, tape, p.dy, p.dstate)
    assert_same_bits(backward(layer, p.params, tape, p.dy, p.dstate), before)


# Of weights


def network(cell="gru", replicas=2, hidden=4, **options):
    layer = recurrent(cell, 3, hidden, dtype="float64", **options)
    params = init(layer, list(range(replicas)), recurrent="gaussian", bias="uniform")
    return layer, params | {"weight_out": drawn("out", replicas, 2, hidden), "bias_out": drawn("b", replicas, 2)}


def expected_of_weights(name, layer, params, r):
    """The penalty's own words, one gate after the other."""
    if name == "weight_decay":
        return sum(0.5 * (W[r] ** 2).sum() for key, W in params.items() if key.startswith("weight"))
    one = {
        "spectral_norm": lambda W: (np.linalg.norm(W, 2) - 1) ** 2,
        "spectral_radius": lambda W: (np.abs(np.linalg.eigvals(W)).max() - 1) ** 2,
        "orthogonality": lambda W: np.linalg.norm(W.T @ W - np.eye(len(W))) ** 2,
    }[name]
    blocks = [W[r].reshape(-1, W.shape[-1], W.shape[-1]) for key, W in params.items() if key.startswith("weight_hh")]
    return sum(one(block) for gates in blocks for block in gates)


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_values_are_those_of_every_gate_of_every_layer(name):
    layer, params = network("lstm_peephole", num_layers=2, bidirectional=True)
    values, _ = PENALTIES[name].function(layer, params)
    assert values == pytest.approx([expected_of_weights(name, layer, params, r) for r in range(2)], rel=1e-10)


def check_weights_gradient(name):
    """Central differences in every entry; parameters without a gradient do not move the value."""
    layer, params = network()
    _, grads = PENALTIES[name].function(layer, params)
    for key, array in params.items():
        expected = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            kept, ends = array[index], []
            for moved in (kept + 1e-6, kept - 1e-6):
                array[index] = moved
                ends.append(expected_of_weights(name, layer, params, index[0]))
            array[index] = kept
            expected[index] = (ends[0] - ends[1]) / 2e-6
        assert np.allclose(grads.get(key, np.zeros(array.shape)), expected, rtol=1e-6, atol=1e-8), key


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_gradients_of_weights_are_central_differences(name):
    check_weights_gradient(name)


def test_the_largest_eigenvalue_of_those_networks_is_real_in_some_gates_and_complex_in_others():
    _, params = network()
    values = np.linalg.eigvals(params["weight_hh_l0"].reshape(-1, 4, 4))
    largest = values[np.arange(len(values)), np.abs(values).argmax(axis=1)]
    assert 0 < np.sum(largest.imag != 0) < len(largest)


@pytest.mark.parametrize("recurrent_init", ["orthogonal", "identity", "unitary"])
@pytest.mark.parametrize("name", TO_ORTHOGONAL)
def test_orthogonal_weights_cost_nothing(name, recurrent_init):
    layer = recurrent("gru", 3, 6, dtype="float64")
    values, grads = PENALTIES[name].function(layer, init(layer, [0, 1], recurrent=recurrent_init))
    assert np.all(values < 1e-27) and np.abs(grads["weight_hh_l0"]).max() < 1e-13


@pytest.mark.parametrize("name", TO_ORTHOGONAL)
def test_descending_from_a_random_start_reaches_the_minimum(name):
    layer, params = network("rnn_tanh", hidden=6)
    first, _ = PENALTIES[name].function(layer, params)
    for _ in range(400):
        values, grads = PENALTIES[name].function(layer, params)
        params = params | {key: params[key] - 0.05 * gradient for key, gradient in grads.items()}
    assert np.all(first > 1e-3) and np.all(values < 1e-12)


@pytest.mark.parametrize("name", TO_ORTHOGONAL)
def test_penalties_of_recurrent_matrices_need_one(name):
    layer, params = network()
    without = {key: array for key, array in params.items() if not key.startswith("weight_hh")}
    with pytest.raises(ValueError, match="^layer: expected a cell with recurrent matrices"):
        PENALTIES[name].function(layer, without)


def test_weight_decay_descends_to_zero_and_leaves_biases():
    layer, params = network("lstm_peephole")
    values, grads = PENALTIES["weight_decay"].function(layer, params)
    assert set(grads) == {key for key in params if key.startswith("weight")}
    gone = params | {key: params[key] - gradient for key, gradient in grads.items()}
    assert np.all(values > 0) and not PENALTIES["weight_decay"].function(layer, gone)[0].any()


@pytest.mark.parametrize("W", [np.zeros((4, 4)), np.eye(4, k=1)], ids=["zero", "nilpotent"])
def test_matrices_without_a_gradient_of_the_radius_stay(W):
    layer, params = network("rnn_tanh", replicas=1)
    values, grads = PENALTIES["spectral_radius"].function(layer, params | {"weight_hh_l0": W[None]})
    assert values[0] == pytest.approx(1) and np.isfinite(grads["weight_hh_l0"]).all()
    assert PENALTIES["spectral_norm"].function(layer, params | {"weight_hh_l0": 0 * W[None]})[0][0] == 1


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_a_replica_has_its_bits_alone_beside_a_diverged_one(name):
    layer, params = network(replicas=3)
    params["weight_hh_l0"][1, 2, 1] = np.inf
    values, grads = PENALTIES[name].function(layer, params)
    for r in (0, 2):
        alone, own = PENALTIES[name].function(layer, {key: array[r : r + 1] for key, array in params.items()})
        assert values[r] == alone[0] and all(np.array_equal(grads[key][r], own[key][0]) for key in own)
    assert not np.isfinite(values[1]) and not np.isfinite(grads["weight_hh_l0"][1]).all()


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_float32_weights_get_float32_gradients_of_the_same_penalty(name):
    layer, params = network()
    expected, gradient = PENALTIES[name].function(layer, params)
    small = {key: array.astype("float32") for key, array in params.items()}
    values, grads = PENALTIES[name].function(layer._replace(dtype="float32"), small)
    assert values == pytest.approx(expected, rel=1e-5)
    for key, array in grads.items():
        assert array.dtype == "float32" and np.allclose(array, gradient[key], rtol=1e-4, atol=1e-5)


# Of states


def states(dtype="float64", replicas=2):
    y = drawn("states", replicas, 6, 3, 4).astype(dtype)
    counted = uniform(Stream(0, "test counted"), (replicas, 6, 3)) < 0.7
    return y, counted


def expected_of_states(name, y, counted):
    """One replica, y (T, B, H), counted (T, B)."""
    norms, terms = np.linalg.norm(y, axis=-1), []
    for t, b in np.argwhere(counted):
        if name == "activity":
            terms.append(norms[t, b] ** 2)
        elif t > 0 and counted[t - 1, b]:
            terms.append((norms[t, b] - norms[t - 1, b]) ** 2)
    return np.mean(terms)


@pytest.mark.parametrize("name", OF_STATES)
def test_values_of_states(name):
    y, counted = states()
    values, _ = PENALTIES[name].function(y, counted)
    assert values == pytest.approx([expected_of_states(name, *one) for one in zip(y, counted, strict=True)], rel=1e-12)
    every, _ = PENALTIES[name].function(y, None)
    assert every == pytest.approx([expected_of_states(name, one, np.ones((6, 3))) for one in y], rel=1e-12)
    shared, _ = PENALTIES[name].function(y, counted[0])
    assert shared == pytest.approx([expected_of_states(name, one, counted[0]) for one in y], rel=1e-12)


def check_states_gradient(name):
    """Central differences in every entry that counts."""
    y, counted = states()
    _, gradient = PENALTIES[name].function(y, counted)
    for index in np.argwhere(np.broadcast_to(counted[..., None], y.shape)):
        r, place = index[0], tuple(index[1:])
        ends = []
        for step in (1e-6, -1e-6):
            moved = y[r].copy()
            moved[place] += step
            ends.append(expected_of_states(name, moved, counted[r]))
        assert gradient[(r, *place)] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-8)
    assert not gradient[~counted].any()


@pytest.mark.parametrize("name", OF_STATES)
def test_gradients_of_states_are_central_differences(name):
    check_states_gradient(name)


def test_states_of_constant_norm_cost_nothing():
    y, _ = states()
    y = drawn("states", *y.shape)
    y /= np.linalg.norm(y, axis=-1, keepdims=True) / 3
    values, gradient = PENALTIES["norm_stabiliser"].function(y)
    assert np.all(values < 1e-28) and np.abs(gradient).max() < 1e-14
    zeros = [PENALTIES[name].function(0 * y) for name in OF_STATES]
    assert not any(value.any() or gradient.any() for value, gradient in zeros)


@pytest.mark.parametrize("name", OF_STATES)
def test_descending_by_the_states_reaches_the_minimum(name):
    y = drawn("states", 2, 6, 3, 4)
    for _ in range(1500):
        values, gradient = PENALTIES[name].function(y)
        y = y - 2 * gradient
    assert np.all(values < 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OF_STATES)
def test_states_of_a_replica_have_their_bits_alone(name, dtype):
    y, counted = states(dtype, 3)
    values, gradient = PENALTIES[name].function(y, counted)
    for r in range(3):
        alone, own = PENALTIES[name].function(y[r : r + 1], counted[r : r + 1])
        assert values[r] == alone[0] and np.array_equal(gradient[r], own[0]) and own.dtype == dtype


def test_nothing_counted_costs_nothing_and_wrong_shapes_are_refused():
    y, counted = states()
    for name in OF_STATES:
        values, gradient = PENALTIES[name].function(y, 0 * counted)
        assert not values.any() and not gradient.any()
        with pytest.raises(ValueError, match="^counted: expected shape"):
            PENALTIES[name].function(y, counted[:, 1:])


def test_the_table_names_equations_and_sources():
    for name, penalty in PENALTIES.items():
        assert penalty.name == name and penalty.equation and penalty.source
        assert penalty.of in ("weights", "states", "gradients")


# What test_mutations runs on changed sources, uncompiled.
CHECKS = {f"{name}: {case}": (check_omega, name, "rnn_tanh", CASES[case]) for name in OMEGAS for case in ("lengths",)}
CHECKS |= {f"{name}: slices": (check_omega, name, "rnn_sigmoid", SLICED) for name in OMEGAS}
CHECKS |= {f"{name}: vanished": (test_terms_of_vanished_gradients_do_not_count, name) for name in OMEGAS}
CHECKS |= {f"value: {name}": (test_values_are_those_of_every_gate_of_every_layer, name) for name in OF_WEIGHTS}
CHECKS |= {f"gradient: {name}": (check_weights_gradient, name) for name in OF_WEIGHTS}
CHECKS |= {f"diverged: {name}": (test_a_replica_has_its_bits_alone_beside_a_diverged_one, name) for name in OF_WEIGHTS}
CHECKS |= {f"value: {name}": (test_values_of_states, name) for name in OF_STATES}
CHECKS |= {f"gradient: {name}": (check_states_gradient, name) for name in OF_STATES}
CHECKS |= {"states of constant norm": (test_states_of_constant_norm_cost_nothing,)}
