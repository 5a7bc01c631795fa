"""Random numbers of many seeds at once, against those of each seed alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recurlab.kernels import draw
from recurlab.random import Stream, integers, normal, uniform

ROOT = Path(__file__).resolve().parent.parent
SEEDS = [0, 1, 11, 2**32 - 1, 2**32, 2**63 + 5, 2**64 - 1]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 30, 31, 32, 33, 1000]


@pytest.mark.parametrize("count", COUNTS)
def test_every_row_has_the_bits_of_its_stream(count):
    streams = [Stream(seed, "test draw", 7) for seed in SEEDS]
    drawn = draw.uniforms(SEEDS, "test draw", 7, count)
    assert np.array_equal(drawn, [uniform(stream, (count,)) for stream in streams])
    assert np.array_equal(draw.normals(SEEDS, "test draw", 7, count), [normal(stream, (count,)) for stream in streams])
    assert drawn.shape == (len(SEEDS), count) and drawn.dtype == np.float64 and drawn.flags.c_contiguous


@pytest.mark.parametrize("high", [1, 2, 3, 10, 2**31 + 1, 2**32 - 1])
@pytest.mark.parametrize("count", [0, 1, 5, 32, 99])
def test_whole_numbers_have_the_bits_of_their_stream(high, count):
    expected = [integers(Stream(seed, "test draw", 2**32 - 1), high, (count,)) for seed in SEEDS]
    drawn = draw.integers(SEEDS, high, "test draw", 2**32 - 1, count)
    assert np.array_equal(drawn, expected) and drawn.shape == (len(SEEDS), count) and drawn.dtype == np.int64


@pytest.mark.parametrize("count", [30, 31])
def test_a_row_depends_on_no_other_row(count):
    whole = draw.normals(SEEDS, "test draw", 0, count)
    for r, seed in enumerate(SEEDS):
        assert np.array_equal(draw.normals([seed], "test draw", 0, count)[0], whole[r])


DIGEST = """
import hashlib
from recurlab.kernels import draw
print(hashlib.sha256(draw.normals(range(64), "test draw", 1, 501).tobytes()).hexdigest())
"""


def run(code, **environment):
    """What Python code prints in a process of its own, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_two_threads_give_the_bits_of_one():
    assert run(DIGEST, NUMBA_NUM_THREADS="1") == run(DIGEST, NUMBA_NUM_THREADS="2")


SAME_UNCOMPILED = """
import numpy as np
from recurlab.kernels import draw
from recurlab.random import Stream, integers, normal, uniform
seeds = [3, 2**64 - 1]
streams = [Stream(seed, "test draw", 2) for seed in seeds]
assert np.array_equal(draw.uniforms(seeds, "test draw", 2, 9), [uniform(stream, (9,)) for stream in streams])
assert np.array_equal(draw.normals(seeds, "test draw", 2, 9), [normal(stream, (9,)) for stream in streams])
assert np.array_equal(draw.integers(seeds, 2**32 - 1, "test draw", 2, 9),
                      [integers(stream, 2**32 - 1, (9,)) for stream in streams])
walks = draw.walk(np.array([[[0.2], [0.7], [0.1]]]), np.full((3, 2), 0.5), np.array([[0, 1], [0, 1]]))
assert walks.ravel().tolist() == [0, 1, 2]
"""


def test_uncompiled_code_gives_the_same_bits():
    run(SAME_UNCOMPILED, NUMBA_DISABLE_JIT="1")


def test_a_walk_follows_the_automaton():
    """Three states: 0 goes to 1 or 2, 1 always to 2 (its first edge), 2 stays; limits change."""
    u = draw.uniforms(SEEDS, "test walk", 0, 6 * 50).reshape(len(SEEDS), 6, 50)
    limits = np.array([[0.3, 1.0, 0.5]] * 3 + [[0.9, 1.0, 0.1]] * 3)
    following = np.array([[1, 2], [2, 0], [2, 2]])
    edges = draw.walk(u, limits, following)
    state = np.zeros((len(SEEDS), 50), int)
    for t in range(6):
        second = (u[:, t] >= limits[t][state]).astype(int)
        assert np.array_equal(edges[:, t], 2 * state + second)
        state = following[state, second]
    assert edges.dtype == np.int64 and set(np.unique(edges)) == {0, 1, 2, 4, 5}
    assert (
        draw.walk(np.full((1, 1, 1), 0.5), np.array([[0.5]]), np.array([[0, 0]])).item() == 1
    )  # u < limit is the first


@pytest.mark.parametrize("seeds, step", [([-1], 0), ([0, 2**64], 0), ([0], -1), ([0], 2**32)])
def test_an_address_out_of_range_is_refused(seeds, step):
    with pytest.raises(ValueError, match="stream: expected seed"):
        draw.uniforms(seeds, "test draw", step, 1)


@pytest.mark.parametrize("high", [0, 2**32])
def test_a_range_that_a_word_does_not_reach_is_refused(high):
    with pytest.raises(ValueError, match="high: expected"):
        draw.integers([0], high, "test draw", 0, 1)


def test_a_million_numbers_take_a_few_milliseconds():
    """At one core 1.7 G/s were measured; data must stay a few per cent of an update, so a hundredth is refused."""
    draw.uniforms(range(64), "test draw", 0, 2)
    begun = time.perf_counter()
    draw.uniforms(range(64), "test draw", 0, 16_000)
    assert time.perf_counter() - begun < 0.1


def test_warming_up_compiles_all_that_is_called():
    """Nothing is compiled by a call after it; only compiled code counts its signatures."""
    run(
        "from recurlab.kernels import draw\n"
        "draw.warm()\n"
        "kernels = [draw._compiled(f) for f in (draw._fill_uniforms, draw._fill_integers, draw._walk)]\n"
        "assert all(len(kernel.signatures) == 1 for kernel in kernels)\n"
        "u = draw.uniforms(range(3), 'test', 0, 9).reshape(3, 3, 3)\n"
        "draw.walk(u, draw.np.ones((3, 1)), draw.np.zeros((1, 2), int))\n"
        "draw.integers(range(3), 5, 'test', 0, 8)\n"
        "assert all(len(kernel.signatures) == 1 for kernel in kernels)\n"
    )
