"""A sequence of 100,000 steps through truncated back-propagation in time: windows, states carried, constant memory."""

import tracemalloc

import numpy as np
import pytest
from cases import assert_same_bits

import recurlab as rl
from recurlab.kernels import memory

STEPS, WINDOW = 100_000, 500


def stream(layer, params, x, windows):
    """Forward and backward through `windows` windows from zeros; the final states and the sum of all gradients."""
    state, total = None, 0
    for k in range(windows):
        part = x[k * WINDOW : (k + 1) * WINDOW]
        y, state, tape = rl.forward(layer, params, part, state)
        grads, _, _ = rl.backward(layer, params, tape, y, input_gradient=False)
        total = total + grads["weight_hh_l0"]
    return state, total


@pytest.fixture(scope="module")
def network():
    layer = rl.recurrent("lstm", 2, 16, dtype="float32")
    x = np.random.default_rng(0).standard_normal((STEPS, 3, 2)).astype("float32")
    return layer, rl.init(layer, seed=0), x


def test_the_states_of_a_stream_are_those_of_the_whole_sequence(network):
    layer, params, x = network
    state, total = stream(layer, params, x, STEPS // WINDOW)
    _, whole, _ = rl.forward(layer, params, x, output=False, checkpoint=True)
    for came, expected in zip(state, whole, strict=True):
        assert_same_bits(came, expected)
    assert np.isfinite(total).all() and np.abs(total).max() > 0


def test_the_memory_of_a_stream_does_not_grow_with_its_length(network):
    """But for what Numba's parallel calls keep: about 1 KB a window, where a window's own memory is 1.05 MB."""
    layer, params, x = network
    peaks = []
    for windows in (4, STEPS // WINDOW):
        memory._buffers.clear()  # what other tests have left there would be used again, and not be counted
        tracemalloc.start()
        stream(layer, params, x, windows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    window = sum(rl.memory_bytes(layer, WINDOW, 3).values())
    assert abs(peaks[1] - peaks[0]) < 2048 * STEPS // WINDOW and window / 2 < peaks[0] < 2 * window
