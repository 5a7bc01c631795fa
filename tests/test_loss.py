"""Losses against closed forms, finite differences, a slow twin and torch; positions left out; replicas alone."""

import os
import subprocess
import sys

import numpy as np
import pytest

from recurlab.layers.loss import LOSSES, bernoulli, cross_entropy, squared_error
from recurlab.random import Stream, integers, normal, uniform

REPLICAS, COUNT, OUTPUTS = 3, 7, 5


def drawn(name, *shape):
    return normal(Stream(0, f"test {name}"), shape)


def problem(name, dtype="float64", replicas=REPLICAS):
    """outputs (R, N, O), targets and weights 0, 1 or 2 of every replica."""
    shape = (replicas, COUNT, OUTPUTS)
    targets = {
        "cross_entropy": integers(Stream(0, "test classes"), OUTPUTS, shape[:2]),
        "squared_error": drawn("values", *shape).astype(dtype),
        "bernoulli": integers(Stream(0, "test bits"), 2, shape).astype(dtype),
    }
    weights = np.floor(3 * uniform(Stream(0, "test weights"), shape[:2])).astype(dtype)
    return 3 * drawn("outputs", *shape).astype(dtype), targets[name], weights


def slow(name, y, target):
    """Loss and error of one position, written down as in the textbook."""
    if name == "cross_entropy":
        return -np.log(np.exp(y[target]) / np.exp(y).sum()), float(np.argmax(y) != target)
    if name == "squared_error":
        return ((y - target) ** 2).sum(), ((y - target) ** 2).sum()
    p = 1 / (1 + np.exp(-y))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p)).sum(), np.mean((p > 0.5) != (target > 0.5))


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_error_are_weighted_means_of_the_textbook(name):
    outputs, targets, weights = problem(name)
    loss, error, _ = LOSSES[name](outputs, targets, weights)
    for r in range(REPLICAS):
        each = np.array([slow(name, outputs[r, n], targets[r, n]) for n in range(COUNT)])
        expected = np.average(each, axis=0, weights=weights[r])
        assert (loss[r], error[r]) == pytest.approx(tuple(expected), rel=1e-12), r


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_the_central_difference(name):
    outputs, targets, weights = problem(name)
    _, _, gradient = LOSSES[name](outputs, targets, weights)
    for n in range(COUNT):
        for o in range(OUTPUTS):
            ends = []
            for step in (1e-5, -1e-5):
                moved = outputs.copy()
                moved[:, n, o] += step
                ends.append(LOSSES[name](moved, targets, weights)[0])
            assert gradient[:, n, o] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_replica_has_its_bits_alone_and_shared_arrays_are_those_of_all(name, dtype):
    outputs, targets, weights = problem(name, dtype)
    together = LOSSES[name](outputs, targets, weights)
    for r in range(REPLICAS):
        alone = LOSSES[name](outputs[r : r + 1], targets[r], weights[r])
        assert all(np.array_equal(many[r : r + 1], one) for many, one in zip(together, alone, strict=True))
    shared = LOSSES[name](outputs, targets[0], weights[0])
    copies = LOSSES[name](outputs, np.stack([targets[0]] * REPLICAS), np.stack([weights[0]] * REPLICAS))
    assert all(np.array_equal(one, other) for one, other in zip(shared, copies, strict=True))
    assert together[2].dtype == dtype and together[0].dtype == together[1].dtype == "float64"


@pytest.mark.parametrize("name", LOSSES)
def test_no_weights_are_weights_of_one(name):
    outputs, targets, _ = problem(name)
    plain, ones = LOSSES[name](outputs, targets), LOSSES[name](outputs, targets, np.ones((REPLICAS, COUNT)))
    assert all(np.array_equal(one, other) for one, other in zip(plain, ones, strict=True))


@pytest.mark.parametrize("name", LOSSES)
def test_a_position_of_weight_zero_is_never_looked_at(name):
    outputs, targets, weights = problem(name)
    spoiled = np.where(weights[:, :, None] == 0, np.nan, outputs)
    clean, found = LOSSES[name](outputs, targets, weights), LOSSES[name](spoiled, targets, weights)
    assert not weights.all() and all(np.array_equal(one, other) for one, other in zip(clean, found, strict=True))
    assert not found[2][weights == 0].any()


def test_closed_forms():
    classes = np.array([0, 4, 4])
    loss, error, gradient = cross_entropy(np.zeros((2, 3, 10)), classes)
    assert np.allclose(loss, np.log(10), rtol=1e-14) and np.all(error == 2 / 3)
    assert np.allclose(gradient.sum(axis=-1), 0, atol=1e-16)
    assert np.allclose(gradient[0, 0], (0.1 - (np.arange(10) == 0)) / 3, rtol=1e-14)
    loss, error, _ = bernoulli(np.zeros((1, 2, 8)), np.ones((2, 8)))
    assert loss[0] == pytest.approx(8 * np.log(2), rel=1e-14) and error[0] == 1
    loss, error, gradient = squared_error(np.full((1, 4, 2), 3.0), np.ones((4, 2)))
    assert (loss[0], error[0]) == (8, 8) and np.all(gradient == 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_outputs_neither_overflow_nor_lose_the_loss(dtype):
    outputs, classes = np.array([[[1e4, -1e4, 0], [-1e4, 1e4, 0]]], dtype), np.array([0, 0])
    loss, error, gradient = cross_entropy(outputs, classes)
    assert loss[0] == pytest.approx(1e4) and error[0] == 0.5
    assert np.array_equal(gradient[0], np.array([[0, 0, 0], [-0.5, 0.5, 0]], dtype))
    loss, error, gradient = bernoulli(outputs, np.array([[1, 1, 0], [0, 1, 1]], dtype))
    assert loss[0] == pytest.approx((1e4 + 2 * np.log(2)) / 2) and error[0] == pytest.approx(1 / 3)
    assert np.array_equal(gradient[0], np.array([[0, -0.5, 0.25], [0, 0, -0.25]], dtype))


def test_many_bits_do_not_overflow_and_sure_ones_keep_a_loss():
    outputs, bits = np.zeros((1, 2, 5000)), np.ones((2, 5000))  # 2^5000 is no float64
    assert bernoulli(outputs, bits)[0][0] == pytest.approx(5000 * np.log(2), rel=1e-13)
    assert bernoulli(outputs + 20, bits)[0][0] == pytest.approx(5000 * np.log1p(np.exp(-20)), rel=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_an_output_that_is_not_a_number_shows_and_stays_in_its_replica(name):
    outputs, targets, _ = problem(name)
    clean = LOSSES[name](outputs, targets)
    outputs[1, 2, 3] = np.nan
    loss, error, gradient = LOSSES[name](outputs, targets)
    assert np.isnan(loss[1]) and np.array_equal(loss[[0, 2]], clean[0][[0, 2]])
    assert np.isnan(gradient[1, 2]).any() and np.array_equal(gradient[[0, 2]], clean[2][[0, 2]])
    assert name == "squared_error" or error[1] >= clean[1][1]


def test_a_network_of_nans_is_wrong_everywhere():
    outputs = np.full((1, COUNT, OUTPUTS), np.nan)
    assert cross_entropy(outputs, np.zeros(COUNT, int))[1] == 1
    assert bernoulli(outputs, np.zeros((COUNT, OUTPUTS)))[1] == 1


@pytest.mark.parametrize(
    ("name", "targets", "weights", "message"),
    [
        ("cross_entropy", np.array([0, 1, 5]), None, "targets: expected classes 0 … 4"),
        ("cross_entropy", np.array([0, -1, 2]), None, "targets: expected classes 0 … 4"),
        ("cross_entropy", np.array([0.0, 1, 2]), None, "targets: expected classes 0 … 4"),
        ("cross_entropy", np.array([0, 1]), None, "targets: expected shape"),
        ("squared_error", np.zeros((3, 4)), None, "targets: expected shape"),
        ("squared_error", np.zeros((4, 3, 5)), None, "targets: expected shape"),
        ("bernoulli", np.full((3, 5), 1.5), None, "targets: expected probabilities"),
        ("bernoulli", np.full((3, 5), np.nan), None, "targets: expected probabilities"),
        ("cross_entropy", np.array([0, 1, 2]), np.zeros(3), "weights: expected a sum above 0"),
        ("cross_entropy", np.array([0, 1, 2]), np.array([[1, 1, 1], [0, 0, 0]]), "weights: expected a sum above 0"),
        ("cross_entropy", np.array([0, 1, 2]), np.ones(4), "weights: expected shape"),
    ],
)
def test_refused(name, targets, weights, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        LOSSES[name](np.zeros((2, 3, 5)), targets, weights)


UNCOMPILED = """
import numpy as np
from recurlab.layers.loss import LOSSES
from test_loss import problem
for name, loss in LOSSES.items():
    np.savez(f"{name}.npz", *loss(*problem(name)))
"""


def test_uncompiled_kernels_give_the_same(tmp_path):
    path = os.pathsep.join(sys.path)
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", UNCOMPILED], check=True, cwd=tmp_path, env=environment)
    for name, loss in LOSSES.items():
        found = np.load(tmp_path / f"{name}.npz")
        for k, array in enumerate(loss(*problem(name))):
            assert np.allclose(found[f"arr_{k}"], array, rtol=1e-12, atol=1e-15), (name, k)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_torch_says_the_same(name, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
    functional = torch.nn.functional
    each = {
        "cross_entropy": lambda z, t: functional.cross_entropy(z, t, reduction="none"),
        "squared_error": lambda z, t: functional.mse_loss(z, t, reduction="none").sum(-1),
        "bernoulli": lambda z, t: functional.binary_cross_entropy_with_logits(z, t, reduction="none").sum(-1),
    }[name]
    outputs, targets, weights = problem(name, dtype)
    loss, _, gradient = LOSSES[name](outputs, targets, weights)
    for r in range(REPLICAS):
        z, w = torch.tensor(outputs[r], requires_grad=True), torch.tensor(weights[r])
        expected = (w * each(z, torch.tensor(targets[r]))).sum() / w.sum()
        expected.backward()
        eps = float(np.finfo(dtype).eps)
        assert loss[r] == pytest.approx(expected.item(), rel=8 * eps)
        assert np.allclose(gradient[r], z.grad.numpy(), rtol=8 * eps, atol=2 * eps)


# What test_mutations runs on changed sources, uncompiled.
CHECKS = {f"means: {name}": (test_loss_and_error_are_weighted_means_of_the_textbook, name) for name in LOSSES}
CHECKS |= {f"gradient: {name}": (test_gradient_is_the_central_difference, name) for name in LOSSES}
CHECKS |= {
    f"replicas: {name}": (test_a_replica_has_its_bits_alone_and_shared_arrays_are_those_of_all, name, "float64")
    for name in LOSSES
}
CHECKS |= {f"weight 0: {name}": (test_a_position_of_weight_zero_is_never_looked_at, name) for name in LOSSES}
CHECKS |= {
    "closed forms": (test_closed_forms,),
    "huge outputs": (test_huge_outputs_neither_overflow_nor_lose_the_loss, "float64"),
    "many bits": (test_many_bits_do_not_overflow_and_sure_ones_keep_a_loss,),
    "NaN": (test_a_network_of_nans_is_wrong_everywhere,),
}
