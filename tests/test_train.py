"""Optimiser, output layer, classifier and training loop against closed forms and finite differences."""

import numpy as np
import pytest

from recurlab.layers import linear
from recurlab.layers.recurrent import recurrent
from recurlab.models import classifier
from recurlab.optimise import Adam, adam, clip_by_norm, gradient_norm, start
from recurlab.random import Stream, integers, normal
from recurlab.tasks import TASKS
from recurlab.tasks.digits import TRAIN, digits
from recurlab.train import evaluate, train_classifier
from recurlab.weights import init


def drawn(name, *shape):
    return normal(Stream(0, f"test {name}"), shape)


def central(loss, array, index, step=1e-6):
    """Central difference of a scalar function of the array at one index; the array is put back."""
    kept, ends = array[index], []
    for moved in (kept + step, kept - step):
        array[index] = moved
        ends.append(loss())
    array[index] = kept
    return (ends[0] - ends[1]) / (2 * step)


def test_first_adam_update_is_the_learning_rate_times_the_sign():
    params, grads = {"w": np.zeros((2, 3))}, {"w": drawn("gradient", 2, 3)}
    updated, moments = adam(Adam(0.1, epsilon=0.0), params, grads, start(params))
    assert np.allclose(updated["w"], -0.1 * np.sign(grads["w"]), rtol=1e-12)
    assert moments.updates == 1 and not params["w"].any()


def test_adam_is_the_published_recursion():
    rule, w, m, v = Adam(0.01), 1.0, 0.0, 0.0
    params = {"w": np.full((1, 1), w)}
    moments = start(params)
    for k, g in enumerate(drawn("gradients", 50), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.01 * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        params, moments = adam(rule, params, {"w": np.full((1, 1), g)}, moments)
        assert params["w"][0, 0] == pytest.approx(w, rel=1e-12)


def test_clipping_keeps_the_direction_and_touches_only_long_gradients():
    grads = {"a": drawn("a", 3, 4, 2), "b": drawn("b", 3, 5)}
    grads = {name: g * np.array([0.01, 1.0, 100.0]).reshape(-1, *[1] * (g.ndim - 1)) for name, g in grads.items()}
    clipped, norms = clip_by_norm(grads, 1.0)
    assert np.allclose(gradient_norm(clipped), np.minimum(norms, 1.0), rtol=1e-12)
    for name, g in grads.items():
        factors = np.minimum(1, 1 / norms).reshape(-1, *[1] * (g.ndim - 1))
        assert np.allclose(clipped[name], g * factors, rtol=1e-12)
        assert np.array_equal(clipped[name][0], g[0])


def test_a_gradient_that_is_not_finite_becomes_zero_and_stays_alone():
    grads = {"a": drawn("a", 3, 4)}
    grads["a"][1, 2] = np.inf
    clipped, norms = clip_by_norm(grads, 1.0)
    assert not clipped["a"][1].any() and np.isinf(norms[1])
    assert np.isfinite(clipped["a"]).all() and clipped["a"][[0, 2]].any(axis=1).all()


def test_linear_layer_gradients():
    W, b, x, dy = drawn("W", 2, 3, 4), drawn("bias", 2, 3), drawn("x", 2, 5, 4), drawn("dy", 2, 5, 3)
    grads, dx = linear.backward(W, x, dy)
    pairs = ((grads["weight"], W, (1, 2, 3)), (grads["bias"], b, (0, 1)), (dx, x, (1, 4, 2)))
    for gradient, array, index in pairs:
        expected = central(lambda: np.sum(dy * linear.forward(W, b, x)), array, index)
        assert gradient[index] == pytest.approx(expected, rel=1e-7)


def classification(cell, seeds, dtype="float64", num_layers=1):
    layer = recurrent(cell, 2, 4, num_layers=num_layers, dtype=dtype)
    params = init(layer, list(seeds), bias="uniform") | classifier.output_layer(layer, 3, seeds)
    x, targets = drawn("x", 6, 8, 2).astype(dtype), integers(Stream(0, "test targets"), 3, (8,))
    return layer, params, x, targets


@pytest.mark.parametrize(("cell", "num_layers"), [("rnn_tanh", 1), ("lstm", 2), ("gru", 1)])
def test_classifier_gradients(cell, num_layers):
    layer, params, x, targets = classification(cell, [3, 4], num_layers=num_layers)
    _, grads = classifier.loss_and_gradients(layer, params, x, targets)
    assert grads.keys() == params.keys()
    for name, array in params.items():
        index = (1, *(size - 1 for size in array.shape[1:]))
        expected = central(
            lambda: classifier.loss_and_gradients(layer, params, x, targets)[0][1], array, index, step=1e-5
        )
        assert grads[name][index] == pytest.approx(expected, rel=1e-5, abs=1e-10)


def test_a_replica_trains_to_the_bits_it_has_alone():
    settings = {"rule": Adam(0.01), "clip": 1.0, "batch": 4, "epochs": 3}
    layer, params, x, targets = classification("gru", [0, 1, 2], "float32")
    *_, together = train_classifier(layer, params, x, targets, **settings)
    alone = {name: array[1:2] for name, array in params.items()}
    *_, single = train_classifier(layer, alone, x, targets, **settings)
    for name in params:
        assert np.array_equal(together.params[name][1:2], single.params[name]), name
    assert together.gradient_norm[1] == single.gradient_norm[0]


def test_a_diverged_replica_stays_and_its_neighbour_learns():
    layer, params, x, targets = classification("rnn_linear", [0, 1], "float32")
    params["weight_hh_l0"][0] *= 1e38
    before = {name: array.copy() for name, array in params.items()}
    *_, last = train_classifier(layer, params, x, targets, Adam(0.01), 1.0, 4, 2)
    assert not np.isfinite(last.gradient_norm[0]) and np.isfinite(last.gradient_norm[1])
    assert all(np.array_equal(last.params[name][0], before[name][0]) for name in params)
    assert evaluate(layer, last.params, x, targets)[0][1] < evaluate(layer, before, x, targets)[0][1]


def test_digits_are_the_bundled_images_pixel_by_pixel():
    from sklearn.datasets import load_digits

    data, images = digits("float64"), load_digits()
    x = np.concatenate([data.x, data.x_test], axis=1)[:, :, 0].T * 16  # (N, 64)
    assert data.x.shape == (64, TRAIN, 1) and len(x) == len(images.target)
    assert {tuple(row) for row in x.astype(int)} == {tuple(row) for row in images.data.astype(int)}
    counts = np.bincount(np.concatenate([data.targets, data.targets_test]))
    assert np.array_equal(counts, np.bincount(images.target)) and data.classes == len(counts)
    assert TASKS["digits"] is digits
