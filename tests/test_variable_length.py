"""Rows of different length: agreement to the bit, what breaks it, and closed forms of what the mask saves."""

import numpy as np
import pytest

from recurlab.random import Stream
from recurlab.studies import variable_length as study
from recurlab.weights import matrix

LENGTHS = (3, 7, 7, 1, 5, 7, 3, 5, 7)


def run(part="cost", cell="rnn_linear", seeds=4, **changes):
    settings = {"init_name": "orthogonal", "gain": 1.0, "forget_bias": None, "hidden_size": 8, "input_size": 3}
    settings |= {"lengths": (6,) * 5, "paddings": (0, 1, 2, 7), "dtype": "float64"} | changes
    return study.variable_length(seeds=np.arange(seeds), part=part, cell=cell, **settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_rows_agree_to_the_bit_and_their_sums_to_rounding(cell, dtype):
    found = run("agreement", cell, lengths=LENGTHS, dtype=dtype, seeds=2)
    sums = found["what"] == "weight gradients"
    assert set(found["way"]) == {"packed", "alone"} and sums.sum() == 2 * 2
    assert (found["differing"][~sums] == 0).all() and (found["relative_difference"][~sums] == 0).all()
    assert (found["differing"][sums] > 0).all() and found["roundings"][sums].max() < 16


def test_a_single_wrong_bit_is_found(monkeypatch):
    whole = study._run

    def spoilt(layer, params, drawn, rows, steps, lengths=None):
        found = whole(layer, params, drawn, rows, steps, lengths)
        if lengths is None and 4 in rows:
            found["outputs"][1, 2, 0, 5] = np.nextafter(found["outputs"][1, 2, 0, 5], 9)
        return found

    monkeypatch.setattr(study, "_run", spoilt)
    found = run("agreement", "gru", lengths=LENGTHS, seeds=2)
    outputs = found["what"] == "outputs"
    assert found["differing"][outputs].tolist() == [0, 0, 1, 1]  # replica 0: packed, alone; replica 1
    assert found["differing"][(found["what"] != "outputs") & (found["what"] != "weight gradients")].sum() == 0


def test_without_padding_nothing_is_lost():
    found = run(cell="lstm", forget_bias=1.0, paddings=(0,))
    assert (found["state_error"] == 0).all() and (found["input_gradient_ratio"] == 1).all()
    np.testing.assert_allclose(found["gradient_cosine"], 1, rtol=1e-14)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.2])
def test_zeros_scale_states_and_input_gradients_of_an_orthogonal_network(gain):
    found = run(gain=gain)
    for name in ("state_norm_ratio", "input_gradient_ratio"):
        np.testing.assert_allclose(found[name], gain ** found["padding"], rtol=1e-13)


def test_states_of_a_linear_network_are_off_as_the_traces_of_haar_matrices_say():
    found = run(seeds=200, gain=0.9)
    for padding in (0, 1, 2, 7):
        chosen = found["padding"] == padding
        squares = found["state_error"][chosen] ** 2
        error = max(squares.std() / np.sqrt(200), 1e-12)
        assert (
            abs(squares.mean() - found["state_error_theory"][chosen][0] ** 2) < 4 * error + 0.02
        )  # of the ratio's bias


@pytest.mark.parametrize("power", [1, 2, 3, 6, 11, 12])
def test_traces_of_powers_of_haar_matrices(power):
    """E tr Q^P is 1 for even and 0 for odd P, also beyond P = N = 5."""
    draws = [matrix("orthogonal", Stream(seed, "trace"), 5) for seed in range(2000)]
    traces = np.trace(np.linalg.matrix_power(np.array(draws), power), axis1=1, axis2=2)
    assert abs(traces.mean() - (1 - power % 2)) < 4 * traces.std() / np.sqrt(2000)
