"""Truncated gradients: the exact bias of the scalar model, its Monte Carlo, and what k = T must be."""

import numpy as np
import pytest

from recurlab.models.gradients import Truncation, loss_and_gradients
from recurlab.studies import trained
from recurlab.studies import truncation as study


def run(task, **changes):
    settings = {"length": 30, "decays": (0.9,), "cell": "lstm", "init_name": "uniform", "forget_bias": None}
    settings |= {"hidden_size": 5, "batch_size": 4, "backs": (1, 3, 30), "updates": 0, "learning_rate": 0.01}
    return study.truncation(seeds=np.arange(3), task=task, **(settings | {"dtype": "float64"} | changes))


def share(decay, back):
    return study.scalar_gradient(decay, back) / study.scalar_gradient(decay)


def test_bias_table():
    assert {k: round(share(0.9, k), 3) for k in (5, 10, 22)} == {5: 0.651, 10: 0.878, 22: 0.990}
    assert share(0.9, np.inf) == 1 and share(0.5, 1) == 0.75


def test_the_expected_gradient_is_half_the_slope_of_the_variance():
    """Full gradient: d/da E h²/2 = d/da 1 / (2 (1 - a²)) = a / (1 - a²)², here by a central difference."""
    a, h = 0.7, 1e-5
    slope = (1 / (1 - (a + h) ** 2) - 1 / (1 - (a - h) ** 2)) / (4 * h)
    assert study.scalar_gradient(a) == pytest.approx(slope, rel=1e-8)


def test_the_scalar_model_runs_through_the_kernels_as_the_sum_says():
    """Gradient through k steps = mean over the batch of h_T Σ_{j<k} a^j h_{T-1-j}."""
    a, u = 0.8, np.random.default_rng(0).normal(size=(21, 6, 1))
    h = [u[0] / np.sqrt(1 - a**2)]
    for x in u[1:]:
        h.append(a * h[-1] + x)
    expected = [np.mean(h[-1] * sum(a**j * h[-2 - j] for j in range(k))) for k in (1, 4, 20)]
    np.testing.assert_allclose(study._scalar_gradients(a, u, (1, 4, 20), "cpu"), expected, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.5, -0.8])
def test_monte_carlo_agrees_with_the_closed_form(decay):
    found = run(None, decays=(decay,), batch_size=20_000, length=40, backs=(1, 2, 5))
    errors = (found["gradient"] - found["expected_gradient"]).reshape(3, 3)
    size = (
        abs(study.scalar_gradient(decay)) * 2 / np.sqrt(3 * 20_000)
    )  # a gradient deviates by less than twice its mean
    assert np.abs(errors.mean(axis=0)).max() < 4 * size
    assert found["share"] == pytest.approx(found["gradient"] / study.scalar_gradient(decay), rel=1e-12)


@pytest.mark.parametrize("task", ["adding", "temporal_order", "embedded_reber"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru"])
def test_through_all_steps_the_gradient_is_the_full_one(task, cell):
    steps = 29 if task == "embedded_reber" else 30
    found = run(task, cell=cell, backs=(1, steps, steps + 1))
    assert sorted(set(found["back"])) == [1, steps]
    whole = found["back"] == steps
    for name in ("share", "cosine", "norm_ratio"):
        np.testing.assert_allclose(found[name][whole], 1, rtol=1e-10)
    assert (found["cosine"][~whole] < 1 - 1e-6).all()
    np.testing.assert_allclose(found["share"], found["cosine"] * found["norm_ratio"], rtol=1e-12)


def test_a_truncated_gradient_is_that_of_every_loss_through_its_last_steps():
    """With a loss at every step: Σ_t ∂L_t/∂θ through steps t-k+1 … t, from the carried state, one loss at a time."""
    made = trained.setting("embedded_reber", [0], "rnn_tanh", 4, "float64", {})
    batch = made.task.draw(np.array([0]), "test", 0, 12, 5, "float64")
    found = loss_and_gradients(made.net, made.params, batch, Truncation(1, 3)).grads["weight_hh_l0"][0]
    W, V, b = (made.params[f"{name}_l0"][0] for name in ("weight_hh", "weight_ih", "bias_ih"))
    out, bias = made.params["weight_out"][0], made.params["bias_out"][0]
    h = [np.zeros((5, 4))]
    for x in batch.x[0]:
        h.append(np.tanh(h[-1] @ W.T + x @ V.T + b))
    total = np.zeros_like(W)
    for t, (target, weight) in enumerate(zip(batch.targets[0], batch.weights[0], strict=True)):
        z = h[t + 1] @ out.T + bias
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        d = (p - np.eye(7)[target]) * weight[:, None] / batch.weights.sum() @ out
        for s in range(t, max(t - 3, -1), -1):
            d = d * (1 - h[s + 1] ** 2)
            total += d.T @ h[s]
            d = d @ W
    np.testing.assert_allclose(found, total, rtol=1e-10, atol=1e-14)


def test_training_changes_what_is_measured():
    before, after = (run("embedded_reber", updates=updates, dtype="float32") for updates in (0, 3))
    assert (before["cosine"][before["back"] == 1] != after["cosine"][after["back"] == 1]).all()
