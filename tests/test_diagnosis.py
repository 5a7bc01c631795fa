"""Diagnosis of weights on data: closed forms, exact gradients, every change, the command and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import recurlab as rl
from recurlab.cells import CELLS
from recurlab.cli import main
from recurlab.figures.decay import write
from recurlab.measures.diagnosis import AS_IT_IS, CHANGES, diagnose, findings
from recurlab.measures.spectrum import singular_values, spectral_radius
from recurlab.random import Stream, normal


def row_of(rows, **wanted):
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


def data(steps=30, rows=4, inputs=2):
    return np.random.default_rng(0).normal(size=(steps, rows, inputs))


def a_network(cell, **init):
    layer = rl.recurrent(cell, 2, 5, dtype="float64")
    return layer, rl.init(layer, seed=1, **init)


def test_a_scaled_orthogonal_linear_network_decays_by_its_gain():
    found = diagnose(*a_network("rnn_linear", recurrent="orthogonal", gain=0.8), data())
    lags = np.arange(31)[:, None]
    np.testing.assert_allclose(found.decay[AS_IT_IS], np.broadcast_to(lags * np.log10(0.8), (31, 4)), atol=1e-12)
    own = row_of(found.reach, weights=AS_IT_IS)
    assert own["gone_after"] == own["gone_after_5"] == own["gone_after_95"] == 21  # 0.8²⁰ = 0.0115, 0.8²¹ = 0.0092
    assert own["factor_a_step"] == pytest.approx(0.8) and own["rows"] == 4
    assert own["log10_at_first_step"] == pytest.approx(30 * np.log10(0.8))
    for name in ("orthogonal", "radius 1"):
        mended = row_of(found.reach, weights=name)
        assert mended["gone_after"] == np.inf and mended["factor_a_step"] == pytest.approx(1)
    told = " ".join(findings(found))
    assert "is below 1 % from 21 steps back on" in told and "'orthogonal'" in told and "It grows" not in told


def test_a_network_that_explodes_is_told():
    told = findings(diagnose(*a_network("rnn_linear", recurrent="orthogonal", gain=1.2), data()))
    assert "is still there at the first step" in told[0] and "× 1.2 a step" in told[0] and "It grows: clip" in told[0]
    assert "5 % quantile never, 95 % never" in told[0]
    assert len(told) == 1  # no change reaches further, and a linear unit has no bounds to stand at


def test_a_dead_network_has_no_gradient_and_a_figure_all_the_same(tmp_path):
    layer, params = a_network("rnn_relu")
    params["bias_ih_l0"][:] = -99
    found = diagnose(layer, params, data())
    own = row_of(found.reach, weights=AS_IT_IS)
    assert own["gone_after"] == 1 and own["factor_a_step"] == 0 and own["log10_at_first_step"] == -np.inf
    assert "10^-inf at the first" in findings(found)[0]
    assert (tmp_path / "decay.png") in write(found, tmp_path)


@pytest.mark.parametrize(("cell", "gate", "sign"), [("lstm", "f", 1), ("gru", "z", 1), ("mgu", "f", -1)])
def test_without_weights_a_gate_keeps_the_state_as_its_bias_says(cell, gate, sign):
    layer, params = a_network(cell, recurrent="identity", gain=0.0, forget_bias=2.0)
    params = {name: array * (not name.startswith("weight")) for name, array in params.items()}
    params = {name: array * (not name.startswith("bias_hh")) for name, array in params.items()}
    found = diagnose(layer, params, data())
    f = 1 / (1 + np.exp(-2.0))
    row = row_of(found.gates, gate=gate)
    assert row["mean"] == pytest.approx(f if sign > 0 else 1 - f)
    assert row["time_scale"] == row["longest_time_scale"] == pytest.approx(-1 / np.log(f))
    for name, bias in ((AS_IT_IS, 2.0), ("bias + 1", 3.0), ("bias + 3", 5.0)):
        rate = -np.log10(1 + np.exp(-bias))
        np.testing.assert_allclose(np.diff(found.decay[name][1:], axis=0), rate, rtol=1e-9)
    assert any(f"By {gate} of l0" in told for told in findings(found))


@pytest.mark.parametrize("cell", CELLS)
def test_the_decay_is_that_of_exact_gradients_at_every_length(cell):
    layer = rl.recurrent(cell, 2, 5, num_layers=2, dtype="float64")
    params, x, lengths = rl.init(layer, seed=2), data(7), np.array([7, 1, 4, 6])
    decay = diagnose(layer, params, x, lengths, seed=3).decay[AS_IT_IS]
    y, _, tape = rl.forward(layer, params, x, lengths=lengths)
    directions, dy = normal(Stream(3, "directions"), (4, 5)), np.zeros_like(y)
    for row, length in enumerate(lengths):
        dy[length - 1, row] = directions[row]
    _, _, d_state = rl.backward(layer, params, tape, dy)
    entered = np.linalg.norm(directions, axis=1)
    left = np.sqrt(sum((part**2).sum(axis=(0, 2)) for part in d_state))
    np.testing.assert_allclose(decay[lengths, range(4)], np.log10(left / entered), rtol=1e-9)
    assert np.array_equal(np.isnan(decay), np.arange(8)[:, None] > lengths)


def test_each_change_does_what_it_says_and_nothing_else():
    layer, params = a_network("lstm", recurrent="gaussian")
    before = {name: array.copy() for name, array in params.items()}
    made = {name: change.made(layer, params) for name, change in CHANGES.items()}
    assert all(np.array_equal(params[name], before[name]) for name in params)
    changed = {name: [key for key in params if not np.array_equal(new[key], params[key])] for name, new in made.items()}
    assert changed["bias + 1"] == changed["bias + 3"] == ["bias_ih_l0"]
    assert changed["orthogonal"] == changed["radius 1"] == ["weight_hh_l0"]
    assert changed["inputs / 2"] == ["weight_ih_l0"]
    added = made["bias + 1"]["bias_ih_l0"] - params["bias_ih_l0"]
    np.testing.assert_allclose(added.reshape(4, 5), np.repeat([[0.0], [1.0], [0.0], [0.0]], 5, axis=1), atol=1e-15)
    blocks = made["orthogonal"]["weight_hh_l0"].reshape(4, 5, 5)
    np.testing.assert_allclose(singular_values(blocks), 1, rtol=1e-12)
    old, scaled = params["weight_hh_l0"].reshape(4, 5, 5), made["radius 1"]["weight_hh_l0"].reshape(4, 5, 5)
    assert np.array_equal(np.delete(old, 2, 0), np.delete(scaled, 2, 0))
    assert spectral_radius(scaled[2]) == pytest.approx(1)


def test_saturated_units_are_told():
    layer, params = a_network("rnn_tanh")
    params["bias_ih_l0"][:] = [9, 9, -9, -9, 0]
    found = diagnose(layer, params, data())
    row = row_of(found.gates, gate="h")
    assert row["high"] == pytest.approx(0.4, abs=0.1) and row["low"] == pytest.approx(0.4, abs=0.1)
    assert any(" % of h of l0 stand at their bounds" in told for told in findings(found))


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_diagnosed_with_the_changes_that_fit_it(cell):
    told, spec = [], CELLS[cell]
    found = diagnose(*a_network(cell), data(9), tell=told.append)
    fitting = ["bias + 1", "bias + 3"] * bool(spec.holds) + ["orthogonal", "radius 1"] * spec.recurrent_matrix
    assert [row["weights"] for row in found.reach] == told == [AS_IT_IS, *fitting, "inputs / 2"]
    assert {row["gate"] for row in found.gates} >= {*spec.states}
    assert all(np.isfinite(row["mean"]) for row in found.gates) and findings(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": data(inputs=3)}, r"x: expected shape \(T, B, I\) = \(any, any, 2\), got shape \(30, 4, 3\)"),
        ({"x": data()[0]}, "x: expected \\(time, batch, input\\), got shape \\(4, 2\\)"),
        ({"lengths": np.array([3, 0, 3, 3])}, "lengths: expected values from 1"),
        ({"lengths": np.array([31, 1, 1, 1])}, "lengths"),
        ({"x": data() * np.nan}, "x"),
        ({"params": rl.init(rl.recurrent("lstm", 2, 5, dtype="float64"), seed=[0, 1])}, "several replicas"),
        ({"layer": rl.recurrent("lstm", 2, 5, bidirectional=True)}, "bidirectional|weight"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(change, words):
    layer, params = a_network("lstm")
    given = {"layer": layer, "params": params, "x": data()} | change
    with pytest.raises(ValueError, match=words):
        diagnose(**given)


# the command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Weights of an LSTM as PyTorch names them, float32, behind a prefix, and sequences."""
    monkeypatch.chdir(tmp_path)
    layer = rl.recurrent("lstm", 2, 5, num_layers=2)
    save_file({f"encoder.{name}": array for name, array in rl.init(layer, seed=0).items()}, "weights.safetensors")
    lengths = np.array([12, 7, 12, 3, 12, 12, 9])
    save_file({"x": data(12, 7).astype(np.float32), "lengths": lengths}, "batch.safetensors")
    return tmp_path


ASKED = ["diagnose", "weights.safetensors", "--cell", "lstm", "--prefix", "encoder.", "--data", "batch.safetensors"]


def test_the_command_shows_tables_and_sentences_and_keeps_them(folder, capsys):
    assert main([*ASKED, "--out", "found"]) == 0
    gates, reach, told = capsys.readouterr().out.split("\n\n")
    assert (
        gates.startswith("pass\tgate\tmean\tlow\thigh\ttime_scale\tlongest_time_scale\nl0\ti\t")
        and "\nl1\tc\t" in gates
    )
    assert reach.startswith("weights\tgone_after") and "\nas it is\t" in f"\n{reach}" and "\ninputs / 2\t" in reach
    assert told.startswith("The gradient of the last output") and "By f of l1" in told
    assert {path.name for path in (folder / "found").iterdir()} == {"gates.csv", "reach.csv"} | {
        f"decay.{form}" for form in ("pdf", "svg", "png", "csv", "json")
    }
    kept = pd.read_csv("found/reach.csv")
    assert list(kept["weights"]) == [AS_IT_IS, *CHANGES] and set(kept["rows"]) == {7}
    drawn = pd.read_csv("found/decay.csv")
    assert drawn.query("weights == 'as it is' and lag == 12")["n"].item() == 4  # rows that are that long


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"inputs": data()}, "batch.safetensors: expected x (time, batch, input)"),
        ({"x": data(), "y": data()}, "batch.safetensors: expected x (time, batch, input)"),
        ({"x": data().astype(np.int64)}, "x: expected finite floats (time, batch, input), got int64"),
        ({"x": data()[0]}, "got float64 of shape (4, 2)"),
        ({"x": np.full((3, 2, 2), np.inf)}, "x: expected finite floats"),
        ({"x": data(inputs=3)}, "x: expected shape (T, B, I) = (any, any, 2)"),
        ({"x": data(), "lengths": np.array([1, 2])}, "lengths"),
    ],
)
def test_data_that_do_not_fit_are_refused(folder, capsys, arrays, words):
    save_file(arrays, "batch.safetensors")
    assert main(ASKED) == 2
    told = capsys.readouterr().err
    assert words in told and told.startswith("recurlab: ") and told.count("\n") == 1
