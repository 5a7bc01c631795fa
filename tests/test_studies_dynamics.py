"""The study `dynamics_in_training`: measures of networks whose rates, exponents and gates are known."""

import numpy as np
import pytest

from recurlab.layers.recurrent import backward
from recurlab.models.gradients import entering_gradients, loss_and_gradients
from recurlab.models.sequence import Batch, own_parameters
from recurlab.studies import dynamics_in_training as study
from recurlab.studies import trained
from recurlab.weights import init

LENGTH, ROWS = 20, 4


def made_and_test(cell, at="last", **weights):
    seeds = np.arange(2)
    task = "temporal_order" if at == "last" else "embedded_reber"
    made = trained.setting(task, seeds, cell, 6, "float64", {})
    params = made.params | init(made.net.layer, seeds, input_gain=1e-9, **weights)  # all but autonomous
    return made._replace(params=params), made.task.draw(seeds, "test", 0, LENGTH, ROWS, "float64")


def measured(cell, **weights):
    made, test = made_and_test(cell, **weights)
    waits = {"burn_in": 2, "settle": 10}
    return study._measure(made.net, test, 10, waits, made.params, np.arange(2), 0)


def test_a_linear_network_of_orthogonal_weights_keeps_everything():
    found = measured("rnn_linear", recurrent="orthogonal", gain=0.9)
    for name in ("gradient_rate", "lyapunov"):
        assert found[name] == pytest.approx([np.log(0.9)] * 2, abs=1e-9)
    for name in ("spectral_radius", "largest_singular", "median_singular", "smallest_singular"):
        assert found[name] == pytest.approx([0.9] * 2, abs=1e-12)
    assert found["from_isometry"] == pytest.approx([0.1] * 2) and not found["outside"].any()
    assert found["lyapunov_times_lag"] == pytest.approx([-10 * np.log(0.9)] * 2)
    assert all(np.isnan(found[name]).all() for name in study.GATE)


@pytest.mark.parametrize(("cell", "bias"), [("lstm", 1.0), ("gru", 2.0)])
def test_gates_without_weights_stand_at_their_bias(cell, bias):
    found = measured(cell, gain=1e-9, forget_bias=bias)
    f = 1 / (1 + np.exp(-bias))
    assert found["kept"] == pytest.approx([f] * 2, rel=1e-6)
    for name in ("median_timescale", "upper_timescale", "longest_timescale"):
        assert found[name] == pytest.approx([-1 / np.log(f)] * 2, rel=1e-6)
    assert found["gate_rate"] == pytest.approx([np.log(f)] * 2, rel=1e-6)
    assert found["longest_by_lag"] == pytest.approx([-0.1 / np.log(f)] * 2, rel=1e-6)
    assert found["lyapunov"] == pytest.approx([np.log(f)] * 2, rel=1e-6)


@pytest.mark.parametrize("at", ["last", "every"])
def test_what_arrives_at_the_layer_is_the_gradient_that_its_parameters_get(at):
    made, test = made_and_test("lstm", at)
    tape, dy, d_state = entering_gradients(made.net, made.params, test)
    found, _, _ = backward(made.net.layer, own_parameters(made.params), tape, dy, d_state)
    whole = loss_and_gradients(made.net, made.params, Batch(*test)).grads
    assert all(np.allclose(found[name], whole[name], rtol=1e-10, atol=1e-16) for name in found)


def test_rows_without_a_gradient_are_left_out_of_the_rate():
    logs = np.full((2, 6, 3), -np.inf)
    logs[0, :, 0] = -0.5 * np.arange(6)
    rates = study._rate(logs, 5)
    assert rates[0] == -0.5 and np.isnan(rates[1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lag": 21}, "lag: got 21"),
        ({"burn_in": 15, "settle": 5}, "burn_in, settle: got 20"),
        ({"cell": "indrnn"}, "no recurrent weights"),
        ({"forget_bias": 1.0}, "no gate that keeps"),
    ],
)
def test_values_that_do_not_go_together_are_refused_in_words(change, told):
    fine = {"task": "temporal_order", "length": 20, "lag": 16, "cell": "rnn_tanh", "burn_in": 5, "settle": 5}
    assert study.problems(fine) == []
    found = study.problems(fine | change)
    assert len(found) == 1 and told in found[0]
