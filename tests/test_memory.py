"""Memory that is used again: never while anything refers to it, always at the start of a cache line."""

import gc
import threading

import numpy as np
import pytest
from cases import CASES, assert_same_bits, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from test_conformance import both, layer_of

from recurlab.kernels import memory
from recurlab.layers.recurrent import backward, forward


@pytest.fixture(autouse=True)
def empty_pool(monkeypatch):
    """No buffers of other tests; those of this one are gone afterwards."""
    monkeypatch.setattr(memory, "_buffers", {})


def address(array):
    return array.__array_interface__["data"][0]


def held():
    """Bytes of all buffers kept."""
    return sum(buffer.nbytes for same in memory._buffers.values() for buffer in same)


def test_memory_is_used_again_once_nothing_refers_to_it():
    array = memory.empty((30, 7), "float32")
    first = address(array)
    del array
    assert address(memory.empty((7, 30), "float32")) == first
    assert address(memory.empty((105,), "float64")) == first  # as many bytes


def test_memory_of_another_size_is_other_memory():
    array = memory.empty((30,), "float32")
    first = address(array)
    del array
    other = memory.empty((31,), "float32")
    assert address(other) != first and held() == 244


KEEPERS = {
    "itself": lambda array: array,
    "a row": lambda array: array[3],
    "a view of a view": lambda array: array[2:].reshape(-1)[5:][::2],
    "another shape": lambda array: array.reshape(2, -1).T,
    "another type": lambda array: array.view(np.uint8),
    "one number": lambda array: array[:0],
    "a memoryview": lambda array: memoryview(array[1]),
    "a memoryview of bytes": lambda array: memoryview(array).cast("B")[4:],
    "an array of a memoryview": lambda array: np.asarray(memoryview(array[1])),
    "its base": lambda array: array[1].base,
    "a broadcast": lambda array: np.broadcast_to(array[0], (4, 6)),
    "a window": lambda array: np.lib.stride_tricks.sliding_window_view(array, (2, 2)),
    "a diagonal": lambda array: np.diagonal(array),
    "in a tuple": lambda array: (1, [array[0]]),
    "in a closure": lambda array: lambda: array[0, 0],
    "an iterator": lambda array: iter(array[0]),
    "flat": lambda array: array[1].flat,
}


@pytest.mark.parametrize("name", KEEPERS)
def test_memory_is_not_handed_out_while_anything_refers_to_it(name):
    array = memory.empty((6, 6), "float64")
    first, kept = address(array), KEEPERS[name](array)
    del array
    gc.collect()
    others = [memory.empty((6, 6), "float64") for _ in range(3)]
    assert first not in map(address, others)
    del kept, others
    assert first in [address(array) for array in [memory.empty((6, 6), "float64") for _ in range(5)]]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.integers(0, 7)), max_size=40))
def test_no_two_arrays_in_use_overlap(steps):
    """Arrays of three sizes come and go; of each that stays only a part is kept."""
    kept = {}
    for k, (stays, size, part) in enumerate(steps):
        array = memory.empty((8, size), "float32")
        array[:] = k
        if stays:
            kept[k] = array[part:].T[:1]
        elif kept:
            kept.pop(min(kept))
        del array
        assert all((values == j).all() for j, values in kept.items())


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (1000, 3), (0,), (4, 0, 2)])
def test_every_array_starts_at_a_cache_line(shape, dtype):
    arrays = [memory.empty(shape, dtype) for _ in range(4)]
    assert [address(array) % memory.LINE for array in arrays] == [0] * 4
    assert all(array.shape == shape and array.dtype == dtype and array.flags.c_contiguous for array in arrays)
    assert all(array.flags.writeable for array in arrays)


def test_zeros_are_zero_in_memory_that_was_used():
    array = memory.empty((50,), "float32")
    first = address(array)
    array[:] = 7
    del array
    array = memory.zeros((50,), "float32")
    assert address(array) == first and (array == 0).all()


def test_a_large_array_is_not_kept():
    array = memory.empty((memory.LARGEST + 1,), "uint8")
    assert address(array) % memory.LINE == 0 and held() == 0


def test_not_more_than_the_limit_is_kept_and_arrays_in_use_outlive_it(monkeypatch):
    monkeypatch.setattr(memory, "MOST", 1000)
    kept = []
    for k in range(1, 30):
        array = memory.empty((10 * k,), "uint8")
        array[:] = k
        kept.append(array[1:])
        assert held() <= 1000
    assert all((array == k).all() for k, array in enumerate(kept, 1))


def test_threads_get_memory_of_their_own():
    wrong = []

    def work(k):
        for i in range(300):
            array = memory.empty((64,), "int64")
            array[:] = 1000 * k + i
            other = memory.empty((64,), "int64")
            other[:] = -1
            if not (array == 1000 * k + i).all():
                wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru_reset_before"])
def test_what_a_layer_returned_stays_as_it_is_however_often_it_runs(cell):
    """Tapes, outputs, states and gradients of one call, whole or in part, while others run with other numbers."""
    case = CASES["two slices, bidirectional, lengths"]
    p, other, layer = problem(cell, case), problem(cell, case, seed=1), layer_of(cell, case)
    y, final, tape = forward(layer, p.params, p.x, p.state, p.lengths)
    found = {"rows of y": y[1:, 2], "final": final[0][1:], "d": backward(layer, p.params, tape, p.dy, p.dstate)[0]}
    before = {"rows of y": y[1:, 2].copy(), "final": final[0][1:].copy()}
    before["d"] = {name: array.copy() for name, array in found["d"].items()}
    expected = both(layer, p)
    del y, final
    for _ in range(3):
        both(layer, other)
    assert_same_bits(found, before)
    grads, d_x, d_initial = backward(layer, p.params, tape, p.dy, p.dstate)
    assert_same_bits(grads, {name: expected[f"d {name}"] for name in grads})
    assert_same_bits((d_x, *d_initial), (expected["d_x"], *expected["d_initial"]))


def test_arrays_of_no_size_do_not_pile_up():
    memory._buffers.clear()
    for _ in range(5):
        memory.empty((0, 3), "float32")
    assert sum(len(same) for same in memory._buffers.values()) == 1
