"""Gradients for the training loop with every regulariser and parametrisation: slopes of what the network computes."""

import numpy as np
import pytest

from recurlab.layers.recurrent import recurrent
from recurlab.models import sequence
from recurlab.models.regularised import NOISES, REGULARISERS, as_computed, gradients
from recurlab.models.sequence import Batch, network, readout
from recurlab.parametrise import PARAMETRISATIONS
from recurlab.penalties import PENALTIES
from recurlab.random import Stream, integers, normal
from recurlab.train import Plan, train
from recurlab.weights import init

T, B, H = 5, 3, 6
SEEDS = np.array([3, 5])


def drawn(name, *shape):
    return normal(Stream(0, f"test {name}"), shape)


def networks(cell="rnn_tanh", at="every", parametrisation="free", layers=1):
    net = network(recurrent(cell, 2, H, layers, dtype="float64"), 3, "cross_entropy", at)
    start = {"unitary": "unitary", "cayley": "orthogonal"}.get(parametrisation, "gaussian")
    own = init(net.layer, SEEDS.tolist(), recurrent=start, bias="uniform")
    return net, PARAMETRISATIONS[parametrisation].raw(net.layer, own) | readout(net, SEEDS)


def depth(regulariser):
    """The layers that a regulariser needs."""
    return 2 if regulariser.endswith("_between") else 1


def batch(at="every"):
    return Batch(drawn("x", 2, T, B, 2), integers(Stream(0, "t"), 3, (2, T, B) if at == "every" else (2, B)))


def found(net, params, at="every", **options):
    call = gradients(net, SEEDS, **options)
    return call(params, np.arange(2), batch(at), 7, None)


def assert_slopes(net, params, total, grads, given=()):
    """Along one random direction for each parameter; the diagonals of the matrices in `given` are not trained."""
    for name, array in params.items():
        direction, h = drawn(f"direction {name}", *array.shape), 1e-6
        direction *= 1 - np.eye(H) if name in given else 1
        ends = [total(params | {name: array + step * direction}) for step in (h, -h)]
        slope = (grads[name] * direction).reshape(2, -1).sum(axis=1)
        assert np.allclose((ends[0] - ends[1]) / (2 * h), slope, rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize("at", sequence.PLACES)
@pytest.mark.parametrize("regulariser", [name for name in REGULARISERS if not name.startswith("omega")])
def test_gradients_are_the_slopes_of_loss_and_strength_times_penalty(regulariser, at):
    net, params = networks(at=at, layers=depth(regulariser))
    options = {"regulariser": regulariser, "strength": np.array([0.2, 0.4])}

    def total(p):
        result = found(net, p, at, **options)
        return result.loss + options["strength"] * result.penalty

    assert_slopes(net, params, total, found(net, params, at, **options).grads)


@pytest.mark.parametrize("regulariser", ["omega_paper", "omega_code"])
def test_omega_adds_strength_times_its_gradient(regulariser):
    net, params = networks()
    plain, once = found(net, params), found(net, params, regulariser=regulariser, strength=1.0)
    both = found(net, params, regulariser=regulariser, strength=np.array([0.0, 3.0]))
    added = once.grads["weight_hh_l0"] - plain.grads["weight_hh_l0"]
    assert np.abs(added).max() > 0 and (once.penalty > 0).all()
    assert np.array_equal(both.grads["weight_hh_l0"][0], plain.grads["weight_hh_l0"][0])
    assert np.allclose(both.grads["weight_hh_l0"][1] - plain.grads["weight_hh_l0"][1], 3 * added[1], rtol=1e-9)


@pytest.mark.parametrize("regulariser", NOISES)
def test_noise_of_strength_0_leaves_every_bit(regulariser):
    net, params = networks("gru", layers=depth(regulariser))
    plain, quiet = found(net, params), found(net, params, regulariser=regulariser)
    loud = found(net, params, regulariser=regulariser, strength=0.5)
    assert all(np.array_equal(plain.grads[name], quiet.grads[name]) for name in params)
    assert not np.array_equal(plain.loss, loud.loss)


@pytest.mark.parametrize("parametrisation", [name for name in PARAMETRISATIONS if name != "lru"])
def test_gradients_reach_what_is_trained(parametrisation):
    net, params = networks(parametrisation=parametrisation)
    call = lambda p: found(net, p, parametrisation=parametrisation)  # noqa: E731
    given = () if parametrisation == "free" else ("weight_hh_l0",)
    assert_slopes(net, params, lambda p: call(p).loss, call(params).grads, given)


def test_the_ring_is_trained_through_its_logarithms():
    net, params = networks("lru", parametrisation="lru")
    assert "weight_nu_l0" in params and "weight_gamma_l0" in as_computed(net, "lru", params)
    call = lambda p: found(net, p, parametrisation="lru")  # noqa: E731
    assert_slopes(net, params, lambda p: call(p).loss, call(params).grads)


@pytest.mark.parametrize("parametrisation", ["cayley", "unitary"])
def test_weights_stay_orthogonal_while_they_are_trained(parametrisation):
    net, params = networks(parametrisation=parametrisation)
    call = gradients(net, SEEDS, parametrisation=parametrisation)
    left = train(net, params, SEEDS, lambda *_: batch(), Plan(30, 0.1), gradients=call).params
    before, after = (as_computed(net, parametrisation, p)["weight_hh_l0"] for p in (params, left))
    assert np.abs(after @ after.swapaxes(1, 2) - np.eye(H)).max() < 1e-12
    assert np.abs(after - before).max() > 0.1


def test_a_replica_has_its_noise_alone_and_among_others():
    for regulariser in NOISES:
        net, params = networks(layers=depth(regulariser))
        both = found(net, params, regulariser=regulariser, strength=0.3)
        own, one = {name: array[1:] for name, array in params.items()}, sequence.of_replicas(net, batch(), slice(1, 2))
        alone = gradients(net, SEEDS[1:], regulariser, 0.3)(own, np.arange(1), one, 7, None)
        left = gradients(net, SEEDS, regulariser, 0.3)(own, np.array([1]), one, 7, None)  # the other has ended
        for name in params:
            assert np.array_equal(alone.grads[name][0], both.grads[name][1])
            assert np.array_equal(left.grads[name][0], both.grads[name][1])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"regulariser": "dropout"}, "regulariser.*dropout"),
        ({"regulariser": "drop_connect", "strength": 1.0}, "rates below 1"),
        ({"regulariser": next(iter(PENALTIES)), "strength": -1.0}, "strength"),
        ({"parametrisation": "cayly"}, "cayley"),
    ],
)
def test_wrong_settings_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        gradients(networks()[0], SEEDS, **options)


@pytest.mark.parametrize("regulariser", ["norm_stabiliser", "activity"])
def test_a_state_penalty_of_strength_0_adds_nothing_not_even_infinity(regulariser, monkeypatch):
    net, params = networks()
    infinite = PENALTIES[regulariser]._replace(function=lambda y, counted: (np.zeros(2), np.full_like(y, np.inf)))
    monkeypatch.setitem(PENALTIES, regulariser, infinite)
    plain, none = found(net, params), found(net, params, regulariser=regulariser)
    assert all(np.array_equal(plain.grads[name], none.grads[name]) for name in params)
