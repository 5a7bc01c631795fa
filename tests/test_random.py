"""Random numbers by address: known answers, independence of the split, and distributions."""

import ast
from itertools import product
from pathlib import Path

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recurlab.random import Stream, integers, normal, permutation, philox, purpose_word, uniform, words

ROOT = Path(__file__).resolve().parent.parent
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)  # of the fractional digits
# Salmon et al. 2011, Random123: tests/kat_vectors, lines "philox4x32 10"
KNOWN = {
    "zeros": ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    "ones": ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    "pi": (PI[:4], PI[4:], (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
}
STREAM = Stream(seed=2**40 + 7, purpose="test", step=3, replica=11)
ADDRESS = (STREAM.seed, STREAM.purpose, STREAM.step, STREAM.replica)


@pytest.mark.parametrize("name", KNOWN)
def test_philox_gives_the_known_answers(name):
    counter, key, expected = KNOWN[name]
    assert tuple(int(word) for word in philox(counter, key)) == expected
    assert naive.philox(counter, key) == expected


@pytest.mark.parametrize("start", [0, 1, 5, 2**34 - 8])
def test_words_are_those_of_whole_number_arithmetic(start):
    count = 8 if start > 9 else 21  # the counter of a block has 32 bits: 2^34 words in all
    assert words(STREAM, count, start).tolist() == [naive.random_word(start + i, *ADDRESS) for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_numbers_are_those_of_scalar_arithmetic(count):
    assert uniform(STREAM, (count,)).tolist() == [naive.random_uniform(i, *ADDRESS) for i in range(count)]
    assert integers(STREAM, 1000, (count,)).tolist() == [naive.random_integer(i, 1000, *ADDRESS) for i in range(count)]
    expected = np.array([naive.random_normal(i, *ADDRESS) for i in range(count)])
    found = normal(STREAM, (count,))
    assert (np.abs(found - expected) <= 2 * np.spacing(np.abs(expected))).all()  # within 2 ULP


@settings(max_examples=60, deadline=None, derandomize=True)
@given(start=st.integers(0, 40), count=st.integers(0, 40), split=st.integers(0, 40))
def test_any_piece_of_a_stream_can_be_drawn_alone(start, count, split):
    whole = words(STREAM, 80)
    assert (words(STREAM, count, start) == whole[start : start + count]).all()
    split = min(split, count)
    pieces = words(STREAM, split, start), words(STREAM, count - split, start + split)
    assert (np.concatenate(pieces) == whole[start : start + count]).all()


@pytest.mark.parametrize("draw", [uniform, normal, lambda stream, shape: integers(stream, 10**9, shape)])
def test_number_i_depends_neither_on_the_shape_nor_on_how_many_are_drawn(draw):
    whole = draw(STREAM, (24,))
    for count in range(24):
        assert (draw(STREAM, (count,)) == whole[:count]).all()
    assert (draw(STREAM, (2, 3, 4)) == whole.reshape(2, 3, 4)).all()
    assert draw(STREAM, ()) == whole[0]


@pytest.mark.parametrize(
    "other",
    [
        STREAM._replace(seed=STREAM.seed + 1),
        STREAM._replace(seed=STREAM.seed % 2**32),  # the upper word of the seed counts
        STREAM._replace(purpose="tests"),
        STREAM._replace(step=STREAM.step + 1),
        STREAM._replace(replica=STREAM.replica + 1),
        STREAM._replace(step=STREAM.replica, replica=STREAM.step),
    ],
)
def test_another_address_gives_other_numbers(other):
    count = 4000
    assert not set(words(STREAM, count).tolist()) & set(words(other, count).tolist())
    correlation = np.corrcoef(normal(STREAM, (count,)), normal(other, (count,)))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(count)


@pytest.mark.parametrize("kind", [int, np.int64, np.uint64])
def test_a_seed_may_come_out_of_an_array(kind):
    assert (words(STREAM._replace(seed=kind(STREAM.seed)), 8) == words(STREAM, 8)).all()


def test_replicas_of_one_seed_and_seeds_of_one_replica_do_not_correlate():
    count = 2000
    rows = [normal(Stream(seed, "test", replica=replica), (count,)) for seed, replica in product(range(6), range(6))]
    correlations = np.corrcoef(rows)[np.triu_indices(36, 1)] * np.sqrt(count)  # 630 standard normals
    assert np.abs(correlations).max() < 4.5  # exceeded by chance once in 230 such sets
    assert abs(correlations.std() - 1) < 4 / np.sqrt(2 * len(correlations))


# distributions; a bound of 4.5 standard errors is exceeded once in 150,000

COUNT = 200_000


def test_every_bit_of_a_uniform_number_is_fair_and_independent_of_its_neighbour():
    whole = (uniform(STREAM, (COUNT,)) * 2.0**53).astype(np.uint64)
    bits = whole[:, None] >> np.arange(53, dtype=np.uint64) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(COUNT)
    pairs = (bits[:, 1:] == bits[:, :-1]).mean(axis=0)
    assert np.abs(pairs - 0.5).max() < 4.5 * 0.5 / np.sqrt(COUNT)


def test_uniform_numbers_fill_the_unit_interval():
    u = uniform(STREAM, (COUNT,))
    assert 0 <= u.min() < 1e-4 and 1 - 1e-4 < u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    assert stats.kstest((u[:-1] + np.sqrt(2) * u[1:]) % 1, "uniform").pvalue > 1e-4  # neighbours together


def test_normal_numbers_have_the_moments_and_the_distribution_of_the_normal():
    z = normal(STREAM, (COUNT,))
    # mean, variance, third and fourth moment, with the variance of their terms: 1, 2, 15, 96
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - expected) < 4.5 * np.sqrt(variance / COUNT), power
    assert stats.kstest(z, "norm").pvalue > 1e-4
    assert abs((z[::2] * z[1::2]).mean()) < 4.5 / np.sqrt(COUNT / 2)  # the two of one Box–Muller pair
    assert np.isfinite(z).all() and 4 < np.abs(z).max() < 6.5


@pytest.mark.parametrize("high", [1, 2, 3, 10, 1000])
def test_integers_are_uniform_below_high(high):
    found = integers(STREAM, high, (COUNT,))
    assert found.dtype == np.int64 and found.min() == 0 and found.max() == high - 1
    if high > 1:
        assert stats.chisquare(np.bincount(found, minlength=high)).pvalue > 1e-4


def test_integers_reach_up_to_the_largest_word():
    assert integers(STREAM, 2**32 - 1, (COUNT,)).max() > 2**32 * (1 - 1e-4)


@pytest.mark.parametrize("high", [0, -1, 2**32])
def test_integers_refuse_a_range_that_32_bits_do_not_hold(high):
    with pytest.raises(ValueError, match=f"high: expected 0 < high < 2\\^32, got {high}"):
        integers(STREAM, high, (2,))


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_a_permutation_holds_every_number_once(count):
    assert sorted(permutation(STREAM, count)) == list(range(count))


def test_every_permutation_of_four_is_equally_likely():
    streams = (Stream(seed, "test permutation") for seed in range(4800))
    orders = [tuple(permutation(stream, 4).tolist()) for stream in streams]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 1e-4


# purposes


def purposes():
    """Every purpose written in the package, a part that is filled in at run time standing as {}."""
    found = set()
    for path in sorted((ROOT / "recurlab").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Stream" and len(node.args) > 1:
                found.add(purpose_of(node.args[1]))
    return found


def purpose_of(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) else "{}"


def test_no_two_purposes_share_a_word():
    names = {name for cell in naive.STEPS for name in naive.shapes_of(cell, 1, 1, layers=8, directions=2)}
    written = {purpose.replace("{}", name) for purpose in purposes() for name in names | {"_l0"}}
    assert any(purpose.startswith("init ") for purpose in written)
    assert len({purpose_word(purpose) for purpose in written}) == len(written)


@pytest.mark.parametrize("part, value", [("seed", -1), ("seed", 2**64), ("step", 2**32), ("replica", -1)])
def test_an_address_out_of_range_is_refused(part, value):
    with pytest.raises(ValueError, match="stream: expected seed"):
        words(Stream(**{"seed": 0, "purpose": "test", part: value}), 1)


def test_numpy_integers_address_the_same_numbers():
    assert (words(Stream(np.int32(5), "test"), 8) == words(Stream(5, "test"), 8)).all()
