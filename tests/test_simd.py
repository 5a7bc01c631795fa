"""Vectors of the host and their elementary functions, in this process's width; then all of it in the other widths."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import naive
import numpy as np
import pytest
from cases import CASES, Case, assert_close, assert_same_bits, problem
from numba import njit
from test_conformance import EPS, both, layer_of

from recurlab.kernels import simd
from recurlab.kernels.rebind import OPTIONS
from recurlab.kernels.target import COMPILED, ELEMENTARY, at, exp, inlined, lanes, larger, load, store, transpose

TESTS = Path(__file__).resolve().parent
DTYPES = ["float32", "float64"]
FUNCTIONS = ELEMENTARY | {"exp": exp}
needs_vectors = pytest.mark.skipif(not COMPILED, reason="uncompiled kernels have NumPy arrays for vectors")


def vectors_through(function, count):
    """A loop that gives a compiled function the vectors of its first `count` arrays, one after the other."""

    def once(x, y, z, out, width):
        for i in range(0, x.size, width):
            store(at(out, i), 0, function(load(at(x, i), 0)))

    def twice(x, y, z, out, width):
        for i in range(0, x.size, width):
            store(at(out, i), 0, function(load(at(x, i), 0), load(at(y, i), 0)))

    def thrice(x, y, z, out, width):
        for i in range(0, x.size, width):
            store(at(out, i), 0, function(load(at(x, i), 0), load(at(y, i), 0), load(at(z, i), 0)))

    return njit(**OPTIONS)((once, twice, thrice)[count - 1])


@cache
def elementary(name):
    return vectors_through(FUNCTIONS[name], 1)


def applied(loop, *arrays):
    """What a loop over vectors makes of arrays of any size."""
    width, size = lanes(arrays[0].dtype), arrays[0].size
    whole = [np.concatenate([array, np.ones(-size % width, array.dtype)]) for array in arrays]
    out = np.empty_like(whole[0])
    loop(*(whole * 3)[:3], out, width)
    return out[:size]


def on_vectors(name, x):
    """An elementary function of the kernels on an array."""
    return applied(elementary(name), x)


# arithmetic

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -7.25, 1e-30, -1e30, 5e-324, np.inf, -np.inf, np.nan]


def pairs(dtype):
    """Every pair of special numbers, and random ones: a number of them that fills no vector."""
    rng = np.random.default_rng(0)
    first, second = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    return [np.concatenate([part, rng.standard_normal(70)]).astype(dtype) for part in (first, second)]


ARITHMETIC = {
    "x + y": (lambda x, y: x + y, lambda x, y: x + y),
    "x - y": (lambda x, y: x - y, lambda x, y: x - y),
    "x y": (lambda x, y: x * y, lambda x, y: x * y),
    "x / y": (lambda x, y: x / y, lambda x, y: x / y),
    "x > y": (
        lambda x, y: simd.where_greater(x, y, x, y),
        lambda x, y: np.where(x > y, x, y),
    ),
    "|x|": (lambda x, y: simd.absolute(x), lambda x, y: np.abs(x)),
    "|x| with the sign of y": (lambda x, y: simd.with_sign(x, y), np.copysign),
    "√|x|": (lambda x, y: simd.root(simd.absolute(x)), lambda x, y: np.sqrt(np.abs(x))),
    "2 - x": (lambda x, y: np.float32(2) - x, lambda x, y: 2 - x),
    "x / 4": (lambda x, y: x / np.float32(4), lambda x, y: x / 4),
    "y if x > 1 else 0": (
        lambda x, y: simd.where_greater(x, np.float32(1), y, np.float32(0)),
        lambda x, y: np.where(x > 1, y, 0),
    ),
}


def assert_same_numbers(came, expected):
    """Equal bits but for those of a NaN, of which there are many."""
    nan = np.isnan(expected)
    assert came.dtype == expected.dtype and (np.isnan(came) == nan).all()
    assert_same_bits(came[~nan], expected[~nan])


@needs_vectors
@pytest.mark.filterwarnings("ignore:.* encountered in")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_that_of_numpy(name, dtype):
    on_lanes, on_arrays = ARITHMETIC[name]
    x, y = pairs(dtype)
    expected = on_arrays(x, y).astype(dtype)
    assert_same_numbers(applied(vectors_through(inlined(on_lanes), 2), x, y), expected)


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sum_across_is_that_of_neighbours_first_in_every_lane(dtype):
    x = np.random.default_rng(2).standard_normal(8 * lanes(dtype)).astype(dtype)
    total = x.reshape(8, -1)
    while total.shape[1] > 1:
        total = total[:, ::2] + total[:, 1::2]
    came = applied(vectors_through(inlined(lambda x: simd.across(x)), 1), x)
    assert_same_bits(came, np.repeat(total[:, 0], lanes(dtype)))


@needs_vectors
def test_a_fused_product_rounds_once():
    rng = np.random.default_rng(1)
    x, y, z = rng.standard_normal((3, 500)).astype(np.float32)
    z[:250] = -x[:250] * y[:250]  # what is left is the rounding of the product
    came = applied(vectors_through(inlined(lambda x, y, z: simd.fma(x, y, z)), 3), x, y, z)
    exact = x.astype(np.float64) * y + z  # x y is exact in float64, and here so is the sum but for its last bit
    bound = 0.5 if simd.FUSED else np.abs(x * y / np.spacing(exact.astype(np.float32)))
    assert (np.abs(came - exact) <= (bound + 1e-6) * np.spacing(np.abs(exact).astype(np.float32))).all()
    assert not simd.FUSED or (came[:250] != 0).any()


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_two_are_made_from_their_bits(dtype):
    exponents = np.arange(-20, 20)
    bias, whole = {"float32": (127, np.int32), "float64": (1023, np.int64)}[dtype]
    bits = (exponents + bias).astype(whole).view(dtype)
    came = applied(vectors_through(inlined(lambda x: simd.shift_into_exponent(x)), 1), bits)
    assert_same_bits(came, (2.0**exponents).astype(dtype))


# memory


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vector_is_read_and_written_at_any_number_and_nothing_else_is(dtype):
    width = lanes(dtype)

    def move(source, start, out, first):
        store(at(out, first), 1, load(at(source, start), 2))
        store(at(out, first), 1 + width, np.float32(3))

    run, source = njit(move), np.arange(4.0 * width, dtype=dtype)
    for first in range(width):
        out = np.full(4 * width, -1, dtype)
        run(source, first, out, first)
        expected = np.full(4 * width, -1, dtype)
        expected[first + 1 : first + 1 + width] = source[first + 2 : first + 2 + width]
        expected[first + 1 + width : first + 1 + 2 * width] = 3
        assert_same_bits(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_is_turned_over(dtype):
    width = lanes(dtype)
    step = 2 * width + 3

    def turn(source, out):
        transpose(at(source, 2), step, at(out, 1))

    source, out = np.arange(2.0 + width * step, dtype=dtype), np.full(width * width + 2, -1, dtype)
    njit(turn)(source, out)
    square = source[2 : 2 + width * step].reshape(width, step)[:, :width]
    assert_same_bits(out[1:-1].reshape(width, width), np.ascontiguousarray(square.T))
    assert out[0] == out[-1] == -1


# elementary functions

EXP_ULP = 1.5
ULP = 2.5  # the error that the docstring of `elementary` states for both
TAIL = {"float32": -87.0, "float64": -708.0}  # where sigmoid is about the smallest normal number and stays


def both_signs(positive):
    return np.concatenate([positive, -positive])


def sample(dtype):
    """Numbers of every size from the smallest denormal number to the largest, and dense where tanh and sigmoid bend."""
    whole = {"float32": np.int32, "float64": np.int64}[dtype]
    last = np.array(np.finfo(dtype).max).view(whole)
    rng = np.random.default_rng(0)
    every_size = rng.integers(0, last, 20_000 if dtype == "float64" else 500_000, whole, endpoint=True).view(dtype)
    dense = rng.uniform(0, 1, len(every_size)) * rng.choice([0.01, 0.5, 1, 3, 10, 90, 710], len(every_size))
    return both_signs(np.concatenate([every_size, dense.astype(dtype)]))


def wide(x):
    """In a precision whose rounding does not count: float64 for float32, else long double (2⁻¹¹ ULP on x86)."""
    if x.dtype == np.float64 and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("no number type wider than float64 here")
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def errors_in_ulp(came, exact):
    """|came - exact| in units of the last place of the exact value; of the smallest normal number below it."""
    dtype = came.dtype
    size = np.maximum(np.abs(exact.astype(dtype)), np.finfo(dtype).tiny)
    return (np.abs(came.astype(exact.dtype) - exact) / np.spacing(size)).astype(np.float64)


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_within_its_stated_error(dtype):
    x = sample(dtype)
    errors = errors_in_ulp(on_vectors("tanh", x), np.tanh(wide(x)))
    print(f"\ntanh {dtype}: {errors.max():.2f} ULP at {x[errors.argmax()]!r}")
    assert errors.max() <= ULP


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_of_denormal_numbers_is_the_number(dtype):
    tiny = np.finfo(dtype).tiny
    x = both_signs(np.linspace(0, 4, 999).astype(dtype) * tiny)
    assert_same_bits(on_vectors("tanh", x), x)


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_is_within_its_stated_error(dtype):
    x = sample(dtype)
    x = x[x > TAIL[dtype]]
    with np.errstate(over="ignore"):
        errors = errors_in_ulp(on_vectors("sigmoid", x), 1 / (1 + np.exp(-wide(x))))
    print(f"\nsigmoid {dtype}: {errors.max():.2f} ULP at {x[errors.argmax()]!r}")
    assert errors.max() <= ULP


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_stays_at_about_the_smallest_normal_number(dtype):
    x = np.array([TAIL[dtype], 1.01 * TAIL[dtype], -1e30, -np.inf], dtype)
    found = on_vectors("sigmoid", x)
    assert (found == found[0]).all() and np.finfo(dtype).tiny <= found[0] <= 2 * np.finfo(dtype).tiny


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_within_its_stated_error_and_stays_in_the_range_of_normal_numbers(dtype):
    x = sample(dtype)
    x = x[np.abs(x) < -TAIL[dtype]]
    errors = errors_in_ulp(on_vectors("exp", x), np.exp(wide(x)))
    print(f"\nexp {dtype}: {errors.max():.2f} ULP at {x[errors.argmax()]!r}")
    assert errors.max() <= EXP_ULP
    ends = on_vectors("exp", np.array([TAIL[dtype], -1e30, -np.inf, -TAIL[dtype], 1e30, np.inf], dtype))
    assert (ends[:3] == ends[0]).all() and (ends[3:] == ends[3]).all() and np.isfinite(ends).all()


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_larger_of_two_vectors(dtype):
    x, y = pairs(dtype)
    assert_same_numbers(applied(vectors_through(larger, 2), x, y), np.where(x > y, x, y))


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_and_its_step_are_exact(dtype):
    x = sample(dtype)
    x = np.concatenate([x, np.array([0, -0.0, np.inf, -np.inf], dtype)])
    assert (on_vectors("relu", x) == np.maximum(x, 0)).all()
    assert_same_bits(on_vectors("step", x), (x > 0).astype(dtype))


@needs_vectors
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_lane_does_not_depend_on_its_neighbours(name, dtype):
    x = np.array([0.3, np.nan, np.inf, 1e30, -2, 1e-40, -np.inf, -90], dtype)
    for value in x:
        found = on_vectors(name, np.array([value, *x[::-1]]))[0]
        assert_same_numbers(found[None], on_vectors(name, np.full(40, value))[:1])


# widths


def test_the_width_is_the_hosts_unless_one_is_asked_for(monkeypatch):
    monkeypatch.delenv("RECURLAB_VECTOR_BITS", raising=False)
    assert simd.chosen_width() == simd.host_width(simd.host_features())
    for bits in simd.WIDTHS:
        monkeypatch.setenv("RECURLAB_VECTOR_BITS", str(bits))
        assert simd.chosen_width() == bits
    assert [simd.host_width(frozenset(f)) for f in ((), ("avx", "avx2"), ("avx", "avx512f"))] == [128, 256, 512]


@pytest.mark.parametrize("asked", ["", "64", "1024", "512.0", "wide"])
def test_another_width_is_refused(monkeypatch, asked):
    monkeypatch.setenv("RECURLAB_VECTOR_BITS", asked)
    with pytest.raises(ValueError, match="RECURLAB_VECTOR_BITS: expected one of 128, 256, 512, got "):
        simd.chosen_width()


# 18 units are more than one vector of any width; the other case has two slices, one row of which only fills up.
WIDE = {"units": Case(steps=2, batch=2, inputs=3, hidden=18), "slices": CASES["two slices, bidirectional, lengths"]}


@pytest.mark.parametrize("case", WIDE)
@pytest.mark.parametrize("cell", ["lstm_peephole", "gru", "gru_reset_before"])
def test_a_layer_in_float32_is_within_its_rounding_of_the_equations(cell, case):
    """Per array max|a - b| ≤ eps · T · (I + H) · max|b|: a sum of I + H products in each of T steps."""
    case = WIDE[case]
    p, bound = problem(cell, case, dtype="float32"), EPS * case.steps * (case.inputs + case.hidden)
    found = both(layer_of(cell, case, "float32"), p)
    params = {name: array.astype(np.float64) for name, array in p.params.items()}
    x, dy = p.x.astype(np.float64), p.dy.astype(np.float64)
    state, dstate = (tuple(part.astype(np.float64) for part in parts) for parts in (p.state, p.dstate))
    y, final, _ = naive.forward(cell, params, x, state, case.all_lengths, **case.depth)
    grads, d_x, d_initial = naive.gradients(cell, params, x, state, case.all_lengths, dy, dstate, **case.depth)
    expected = {"y": y, "final state": final, "d_x": d_x, "d_initial": d_initial}
    assert_close(found, expected | {f"d {name}": array for name, array in grads.items()}, bound)


def in_width(bits):
    """This file and test_tile.py in a process whose vectors have that many bits."""
    files = [str(TESTS / name) for name in ("test_simd.py", "test_tile.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not every_other_width", *files]
    environment = os.environ | {"RECURLAB_VECTOR_BITS": str(bits)}
    return subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True)


@pytest.mark.slow
@needs_vectors
def test_every_other_width_passes_the_tests_of_vectors_and_tiles():
    others = [bits for bits in simd.WIDTHS if bits != simd.BITS]
    with ThreadPoolExecutor(len(others)) as pool:
        for bits, result in zip(others, pool.map(in_width, others), strict=True):
            assert result.returncode == 0, f"{bits} bits:\n{result.stdout}"
            assert " passed" in result.stdout and "failed" not in result.stdout
