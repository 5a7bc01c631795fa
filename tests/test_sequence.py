"""Sequence networks: gradients of every place, loss and form of batch; truncated BPTT; groups of replicas; refusals."""

import numpy as np
import pytest

from recurlab.layers import footprint, linear
from recurlab.layers.loss import LOSSES
from recurlab.layers.recurrent import forward, recurrent
from recurlab.models import gradients, sequence
from recurlab.models.gradients import Truncation, loss_and_gradients
from recurlab.models.sequence import Batch, Dropped, evaluate, network, readout
from recurlab.random import Stream, integers, normal, uniform
from recurlab.weights import init

R, T, B, I, H, O = 3, 7, 4, 2, 5, 3  # noqa: E741 - the names of the axes
ANY = [(at, loss, own) for at in sequence.PLACES for loss in LOSSES for own in (False, True)]


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


def networks(at="last", loss="cross_entropy", cell="lstm", layers=1, dtype="float64"):
    net = network(recurrent(cell, I, H, layers, dtype=dtype), O, loss, at)
    seeds = list(range(R))
    return net, init(net.layer, seeds, bias="uniform") | readout(net, seeds)


def batch_of(at, loss, own, weighted=True, ended=False, dtype="float64"):
    lead = (R,) if own else ()
    places = (*lead, B) if at == "last" else (*lead, T, B)
    classes = loss == "cross_entropy"
    targets = integers(Stream(0, "targets"), O, places) if classes else uniform(Stream(0, "targets"), (*places, O))
    weights = (uniform(Stream(0, "weights"), (*lead, T, B)) < 0.7).astype(float) if at == "every" and weighted else None
    ends = integers(Stream(0, "ends"), T, (*lead, B)) if ended else None
    return Batch(drawn("x", *lead, T, B, I).astype(dtype), targets, weights, ends)


def assert_gradients_are_slopes(net, params, loss, grads):
    """Along one random direction for each parameter, every replica by itself."""
    for name, array in params.items():
        direction, h = drawn(f"direction {name}", *array.shape), 1e-6
        ends = [loss(params | {name: array + step * direction}) for step in (h, -h)]
        slope = (grads[name] * direction).reshape(len(array), -1).sum(axis=1)
        assert np.allclose((ends[0] - ends[1]) / (2 * h), slope, rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize(("at", "loss", "own"), ANY)
def test_gradients_are_the_slopes_of_the_loss(at, loss, own):
    net, params = networks(at, loss, layers=2)
    batch = batch_of(at, loss, own, ended=at == "last" and own)
    found = loss_and_gradients(net, params, batch)
    assert found.grads.keys() == params.keys()
    assert_gradients_are_slopes(net, params, lambda p: loss_and_gradients(net, p, batch).loss, found.grads)
    assert np.array_equal(evaluate(net, params, batch)[0], found.loss)
    assert np.array_equal(evaluate(net, params, batch)[1], found.error)


def test_linear_layer_gradients():
    W, b, x, dy = drawn("W", 2, 3, 4), drawn("bias", 2, 3), drawn("x", 2, 5, 4), drawn("dy", 2, 5, 3)
    grads, dx = linear.backward(W, x, dy)
    pairs = ((grads["weight"], W, (1, 2, 3)), (grads["bias"], b, (0, 1)), (dx, x, (1, 4, 2)))
    for gradient, array, index in pairs:
        expected = central(lambda: np.sum(dy * linear.forward(W, b, x)), array, index)
        assert gradient[index] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("at", sequence.PLACES)
def test_dropout_factors_multiply_inputs_and_outputs(at):
    net, params = networks(at)
    batch = batch_of(at, "cross_entropy", own=True)
    masks = Dropped(2 * (drawn("drop x", R, T, B, I) > 0), 2 * (drawn("drop y", R, 1, B, H) > 0))
    found = loss_and_gradients(net, params, batch, dropped=masks)
    slope = lambda p: loss_and_gradients(net, p, batch, dropped=masks).loss  # noqa: E731
    assert_gradients_are_slopes(net, params, slope, found.grads)
    plain = loss_and_gradients(net, params, batch, dropped=Dropped(np.ones((R, 1, B, I)), np.ones((R, T, B, H))))
    assert np.array_equal(plain.loss, loss_and_gradients(net, params, batch).loss)


@pytest.mark.parametrize("at", sequence.PLACES)
def test_lengths_end_rows_at_their_own_step(at):
    net, params = networks(at)
    batch, lengths = batch_of(at, "cross_entropy", own=False, weighted=False), np.array([7, 3, 5, 1])
    weights = (np.arange(T)[:, None] < lengths).astype(float) if at == "every" else None
    cut = loss_and_gradients(net, params, batch._replace(weights=weights, lengths=lengths))
    ends = lengths - 1 if at == "last" else None
    same = loss_and_gradients(net, params, batch._replace(weights=weights, ends=ends))
    assert np.allclose(cut.loss, same.loss, rtol=1e-13)
    assert all(np.allclose(cut.grads[name], same.grads[name], rtol=1e-9, atol=1e-13) for name in params)


# truncated back-propagation


@pytest.mark.parametrize("ahead", [1, 3, T])
@pytest.mark.parametrize(("at", "loss", "own"), ANY)
def test_a_window_of_all_steps_is_the_whole_gradient(at, loss, own, ahead):
    net, params = networks(at, loss)
    batch = batch_of(at, loss, own)
    whole, cut = (loss_and_gradients(net, params, batch, truncation) for truncation in (None, Truncation(ahead, T)))
    assert np.allclose(cut.loss, whole.loss, rtol=1e-13) and np.allclose(cut.error, whole.error, rtol=1e-13)
    assert all(np.allclose(cut.grads[name], whole.grads[name], rtol=1e-9, atol=1e-14) for name in params)


def test_carried_states_give_the_loss_of_all_steps_and_a_gradient_of_some():
    net, params = networks("every")
    batch = batch_of("every", "cross_entropy", own=True)
    whole = loss_and_gradients(net, params, batch)
    for cut in (Truncation(2, 2), Truncation(2, 3), Truncation(3, 5)):
        found = loss_and_gradients(net, params, batch, cut)
        assert np.allclose(found.loss, whole.loss, rtol=1e-13)
        assert np.allclose(found.grads["weight_out"], whole.grads["weight_out"], rtol=1e-12)
        assert not np.allclose(found.grads["weight_hh_l0"], whole.grads["weight_hh_l0"], rtol=1e-3)


def naive_truncated(net, params, batch, cut):
    """Every step's loss by itself: forward to its window, then one gradient through the window alone."""
    total = {name: np.zeros_like(array) for name, array in params.items()}
    for t in range(T):
        end = min(T, (t // cut.ahead + 1) * cut.ahead)
        first = max(0, end - cut.back)
        state = None
        if cut.carry and first:
            own = sequence.own_parameters(params)
            _, state, _ = forward(net.layer, own, np.ascontiguousarray(batch.x[:, :first]), output=False)
        x = np.ascontiguousarray(batch.x[:, first : t + 1])
        part = Batch(
            x, batch.targets[:, first : t + 1], np.broadcast_to(np.arange(first, t + 1)[:, None] == t, x.shape[1:3])
        )
        reading = sequence.read(net, params, part, state)
        _, _, d_out = sequence.loss_of(net, params, reading, part)
        dy, d_state, grads = gradients._to_outputs(net, params, part, reading, d_out, None)
        grads |= gradients._to_parameters(net, reading, dy, d_state)
        total = {name: total[name] + grads[name] / T for name in params}
    return total


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize(("ahead", "back"), [(1, 1), (2, 2), (2, 3), (1, 4), (3, 7)])
def test_truncated_gradients_are_those_of_every_step_through_its_own_window(ahead, back, carry):
    net, params = networks("every")
    batch, cut = batch_of("every", "cross_entropy", own=True, weighted=False), Truncation(ahead, back, carry)
    found, expected = loss_and_gradients(net, params, batch, cut), naive_truncated(net, params, batch, cut)
    assert all(np.allclose(found.grads[name], expected[name], rtol=1e-9, atol=1e-14) for name in params)


@pytest.mark.parametrize("own", [True, False])
def test_windows_in_groups_add_up_to_windows_side_by_side(own, monkeypatch):
    net, params = networks("every", layers=2)
    batch, cut = batch_of("every", "cross_entropy", own), Truncation(1, 3)
    batch.weights[..., 3:5, :] = 0  # nothing counts in some groups
    mask = Dropped(outputs=2 * (drawn("drop y", R, T, B, H) > 0))
    together = loss_and_gradients(net, params, batch, cut, dropped=mask)
    monkeypatch.setattr(footprint, "GROUP_BYTES", 1)
    assert len(footprint.row_groups(net.layer, T, 3, B)) == T
    apart = loss_and_gradients(net, params, batch, cut, dropped=mask)
    assert np.allclose(apart.loss, together.loss, rtol=1e-13) and np.allclose(apart.error, together.error, rtol=1e-13)
    assert all(np.allclose(apart.grads[name], together.grads[name], rtol=1e-9, atol=1e-14) for name in params)


def test_a_bidirectional_layer_carries_no_states_from_window_to_window():
    net = network(recurrent("gru", I, H, bidirectional=True, dtype="float64"), O, "cross_entropy", "every")
    params = init(net.layer, list(range(R))) | readout(net, range(R))
    batch = batch_of("every", "cross_entropy", own=True)
    with pytest.raises(ValueError, match="bidirectional"):
        loss_and_gradients(net, params, batch, Truncation(2, 2))
    assert np.isfinite(loss_and_gradients(net, params, batch, Truncation(2, 2, carry=False)).loss).all()


def test_without_carry_a_last_step_sees_its_window_only():
    net, params = networks("last")
    batch = batch_of("last", "cross_entropy", own=True)
    found = loss_and_gradients(net, params, batch, Truncation(3, 3, carry=False))
    alone = loss_and_gradients(net, params, batch._replace(x=np.ascontiguousarray(batch.x[:, -3:])))
    assert all(np.array_equal(found.grads[name], alone.grads[name]) for name in params)


def test_a_window_without_anything_that_counts_adds_nothing():
    net, params = networks("every")
    batch = batch_of("every", "cross_entropy", own=True)
    batch.weights[1, :4] = 0
    found, whole = loss_and_gradients(net, params, batch, Truncation(2, 2)), loss_and_gradients(net, params, batch)
    assert np.allclose(found.loss, whole.loss, rtol=1e-13) and np.isfinite(found.grads["weight_hh_l0"]).all()


# replicas


@pytest.mark.parametrize("truncation", [None, Truncation(2, 3)])
@pytest.mark.parametrize(("at", "loss", "own"), ANY)
def test_replicas_in_groups_are_the_replicas_alone(at, loss, own, truncation, monkeypatch):
    net, params = networks(at, loss, dtype="float32")
    batch = batch_of(at, loss, own, dtype="float32")
    monkeypatch.setattr(gradients, "replica_groups", lambda *_: [slice(0, 2), slice(2, 3)])
    found = loss_and_gradients(net, params, batch, truncation)
    monkeypatch.setattr(gradients, "replica_groups", footprint.replica_groups)
    for r in range(R):
        own_params = {name: array[r : r + 1] for name, array in params.items()}
        alone = loss_and_gradients(net, own_params, sequence.of_replicas(net, batch, slice(r, r + 1)), truncation)
        assert alone.loss[0] == found.loss[r]
        assert all(np.array_equal(alone.grads[name][0], found.grads[name][r]) for name in params)


# refusals


@pytest.mark.parametrize(
    ("cut", "told"),
    [(Truncation(1, T + 1), f"at most the {T} steps"), (Truncation(3, 2), "ahead"), (Truncation(0, 2), "ahead")],
)
def test_impossible_truncations_are_refused(cut, told):
    with pytest.raises(ValueError, match=told):
        gradients.check_truncation(cut, T)


def test_rows_of_different_length_are_not_truncated():
    net, params = networks("last")
    with pytest.raises(ValueError, match="weights for them"):
        loss_and_gradients(net, params, batch_of("last", "cross_entropy", True, ended=True), Truncation(2, 2))


@pytest.mark.parametrize(("loss", "at"), [("hinge", "last"), ("bernoulli", "first")])
def test_unknown_losses_and_places_are_refused(loss, at):
    with pytest.raises(ValueError, match=f"{loss}|{at}"):
        network(recurrent("gru", I, H), O, loss, at)
