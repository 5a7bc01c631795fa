"""Short-term memory: its closed form against covariances and special networks, its estimate against both."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from recurlab.measures.memory import impulse_response, linear_memory, memory_by_lag, response_spectrum
from recurlab.studies.memory_capacity import memory_capacity


def network(units, radius, number=0):
    rng = np.random.default_rng(number)
    W = rng.normal(size=(units, units))
    return radius * W / np.abs(np.linalg.eigvals(W)).max(), rng.normal(size=units)


def driven(W, w_in, u):
    states = np.zeros((len(u), len(w_in)))
    for t in range(len(u)):
        states[t] = W @ states[t - 1] + w_in * u[t]
    return states


def study(cell="rnn_linear", seeds=8, radius=0.9, **changes):
    settings = {"weights": "orthogonal", "hidden_size": 16, "input_gain": 0.1, "steps": 3000, "memory": 80}
    settings |= {"lags": (0, 12, 16, 20), "dtype": "float64"} | changes
    return memory_capacity(seeds=np.arange(seeds), radius=np.full(seeds, radius), cell=cell, **settings)


def test_the_closed_form_is_that_of_the_covariance():
    W, w_in = network(6, 0.8)
    C = solve_discrete_lyapunov(W, np.outer(w_in, w_in))
    P = impulse_response(W, w_in, 20)
    expected = np.einsum("kn,nm,km->k", P, np.linalg.inv(C), P)
    np.testing.assert_allclose(linear_memory(W, w_in, 20), expected, rtol=1e-8)


@pytest.mark.parametrize("units", [1, 5, 8])
def test_a_cycle_fed_at_one_unit_remembers_in_steps(units):
    """W = ρ · shift and w_in = e₁: C is diagonal and MC_k = ρ^(2N⌊k/N⌋) (1 - ρ^2N)."""
    radius, lags = 0.9, np.arange(4 * units)
    found = linear_memory(radius * np.roll(np.eye(units), 1, axis=0), np.eye(units)[0], len(lags))
    expected = radius ** (2 * units * (lags // units)) * (1 - radius ** (2 * units))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_delay_line_remembers_its_length_and_nothing_else():
    W, w_in = np.eye(7, k=-1), np.eye(7)[0]
    np.testing.assert_allclose(linear_memory(W, w_in, 12), np.repeat([1.0, 0.0], [7, 5]), atol=1e-14)
    u = np.random.default_rng(1).normal(size=2000)
    found = memory_by_lag(driven(W, w_in, u)[11:], u, 12)
    np.testing.assert_allclose(found[:7], 1, rtol=1e-12)
    assert np.abs(found[7:]).max() < 5 * np.sqrt(2 * 7) / 2000  # N normal numbers squared: variance 2N / T²


@pytest.mark.parametrize("radius", [0.7, 0.95])
@pytest.mark.parametrize("units", [3, 12])
def test_all_lags_together_are_the_number_of_units(units, radius):
    W, w_in = network(units, radius, number=2)
    assert linear_memory(W, w_in, 600).sum() == pytest.approx(units, rel=1e-10)


def test_without_spread_in_the_weights_there_is_one_dimension_of_memory():
    """W = ρ I: the impulse response is ρ^k w_in, so one direction holds it all, MC_k = ρ^2k (1 - ρ²)."""
    W, w_in = 0.8 * np.eye(4), np.ones(4)
    lengths = response_spectrum(W, w_in)
    assert lengths[0] == pytest.approx(2 / np.sqrt(1 - 0.64), rel=1e-12) and lengths[1:].max() < 1e-14
    u = np.random.default_rng(3).normal(size=60_000)
    found = memory_by_lag(driven(W, w_in, u)[9:, :1], u, 10)
    np.testing.assert_allclose(found, 0.36 * 0.64 ** np.arange(10), atol=0.02)  # 4 s.e., at most 2 √MC / √T each


def test_the_estimate_has_no_bias_where_nothing_is_remembered():
    rng = np.random.default_rng(4)
    found = [memory_by_lag(rng.normal(size=(200, 20)), rng.normal(size=219), 20).mean() for _ in range(100)]
    error = np.std(found) / np.sqrt(100)
    assert abs(np.mean(found)) < 4 * error < 0.02  # uncorrected it would be N / T = 0.1


def test_a_linear_run_has_the_memory_of_the_closed_form():
    found = study()
    by_lag = (found["memory_at_lag"] - found["linear_memory_at_lag"]).reshape(8, 4).mean(axis=0)
    assert np.abs(by_lag).max() < 0.02  # 4 s.e. of √(MC) (1 - MC) · 2 / √(8 · 3000) at MC = 1/3
    np.testing.assert_allclose(found["linear_capacity"], 16, rtol=1e-6)
    assert found["capacity"].mean() == pytest.approx(16, abs=0.3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_precision_nor_input_gain_changes_a_well_conditioned_linear_network(dtype):
    found = study(seeds=2, dtype=dtype, input_gain=3.0)
    expected = study(seeds=2)
    assert found["log10_condition"].max() < 3
    np.testing.assert_allclose(found["memory_at_lag"], expected["memory_at_lag"], atol=1e-3)


def test_tanh_forgets_more_the_larger_its_input():
    capacities = [study("rnn_tanh", seeds=3, input_gain=gain)["capacity"].mean() for gain in (0.001, 0.1, 1.0)]
    assert capacities[0] == pytest.approx(16, abs=0.4) and capacities[0] > capacities[1] + 1 > capacities[2] + 2
