"""The network without shared weights: equal to the shared one where its weights are, its own gradients, one length."""

import numpy as np
import pytest
from test_sequence import B, I, O, R, T, assert_gradients_are_slopes, batch_of, drawn, networks

from recurlab.models import sequence, untied
from recurlab.models.gradients import loss_and_gradients
from recurlab.models.sequence import PLACES, Batch


def own_weights(at, cell="lstm", layers=1):
    """Networks whose weights differ from step to step."""
    net, params = networks(at, cell=cell, layers=layers)
    params = untied.untie(params, T)
    return net, {name: array + 0.1 * drawn(f"moved {name}", *array.shape) for name, array in params.items()}


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_with_equal_weights_it_is_the_tied_network_and_its_gradients_sum_to_the_tied_ones(at, cell):
    net, params = networks(at, cell=cell)
    batch = batch_of(at, "cross_entropy", own=True)
    tied = loss_and_gradients(net, params, batch)
    apart = untied.loss_and_gradients(net, untied.untie(params, T), batch)
    assert np.allclose(tied.loss, apart.loss, rtol=1e-13) and np.array_equal(tied.error, apart.error)
    for name, g in tied.grads.items():
        own = apart.grads[name]
        assert np.allclose(g, own if name in sequence.OUTPUT else own.sum(axis=1), rtol=1e-10, atol=1e-14), name


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("own", [False, True])
def test_gradients_are_the_slopes_of_the_loss(at, own):
    net, params = own_weights(at, layers=2)
    batch = batch_of(at, "cross_entropy", own)
    found = untied.loss_and_gradients(net, params, batch)
    assert found.grads.keys() == params.keys()
    slope = lambda p: untied.loss_and_gradients(net, p, batch).loss  # noqa: E731
    assert_gradients_are_slopes(net, params, slope, found.grads)
    assert np.array_equal(untied.evaluate(net, params, batch)[0], found.loss)


def test_a_replica_has_the_bits_it_has_alone():
    net, params = own_weights("last")
    batch = batch_of("last", "cross_entropy", own=True)
    together = untied.loss_and_gradients(net, params, batch)
    part = Batch(batch.x[1:2], batch.targets[1:2])
    alone = untied.loss_and_gradients(net, {name: a[1:2].copy() for name, a in params.items()}, part)
    assert together.loss[1] == alone.loss[0]
    assert all(np.array_equal(together.grads[name][1], g[0]) for name, g in alone.grads.items())


@pytest.mark.parametrize("steps", [T - 1, T + 1])
def test_no_other_number_of_steps_can_be_run(steps):
    net, params = own_weights("last")
    batch = Batch(drawn("x", R, steps, B, I), np.zeros((R, B), np.int64))
    with pytest.raises(ValueError, match=f"expected T = {T}: .* got T = {steps} steps"):
        untied.evaluate(net, params, batch)


def test_rows_of_their_own_length_are_refused():
    net, params = own_weights("last")
    batch = batch_of("last", "cross_entropy", own=True, ended=True)
    assert batch.ends.shape == (R, B) and net.outputs == O
    with pytest.raises(ValueError, match="rows of different length"):
        untied.loss_and_gradients(net, params, batch)
