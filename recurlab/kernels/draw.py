"""Random numbers of many seeds at once, compiled: each row has the bits that `recurlab.random` gives for its seed.

Row r of every array is the stream (seeds[r], purpose, step) of `recurlab.random`, replica 0; rows go over the threads
and share nothing, so the bits depend neither on the threads nor on the other rows.
"""

from functools import cache

import numpy as np
from numba import prange

from recurlab.kernels.target import cached, inlined, start_threads
from recurlab.random import Stream, box_muller, check_address, check_high, purpose_word

# Philox4x32-10, as in recurlab.random; every operand is an unsigned 64-bit number that holds 32 bits.
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10
_FIVE, _SIX, _TWENTY_SIX = np.uint64(5), np.uint64(6), np.uint64(26)


@inlined
def philox(index, step, purpose, seed):
    """The four words of block `index` of the stream (seed, purpose, step), replica 0."""
    c0, c1, c2, c3 = np.uint64(index), step, purpose, np.uint64(0)
    k0, k1 = seed & _LOW, seed >> _HALF
    for _ in range(_ROUNDS):
        low, high = _MULTIPLIER_0 * c0, _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (high >> _HALF) ^ c1 ^ k0, high & _LOW, (low >> _HALF) ^ c3 ^ k1, low & _LOW
        k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@inlined
def to_uniform(first, second):
    """Two words -> a uniform number in [0, 1) with 53 random bits."""
    return np.float64(np.int64((first >> _FIVE) << _TWENTY_SIX | second >> _SIX)) * 2.0**-53


def _fill_uniforms(seeds, purpose, step, out):
    """Uniform numbers into out (R, 2 · blocks)."""
    for r in prange(seeds.size):
        seed, row = seeds[r], out[r]
        for i in range(row.size // 2):
            a, b, c, d = philox(i, step, purpose, seed)
            row[2 * i], row[2 * i + 1] = to_uniform(a, b), to_uniform(c, d)


def _fill_integers(seeds, purpose, step, high, out):
    """Whole numbers in [0, high) into out (R, 4 · blocks)."""
    for r in prange(seeds.size):
        seed, row = seeds[r], out[r]
        for i in range(row.size // 4):
            a, b, c, d = philox(i, step, purpose, seed)
            row[4 * i], row[4 * i + 1] = np.int64(a * high >> _HALF), np.int64(b * high >> _HALF)
            row[4 * i + 2], row[4 * i + 3] = np.int64(c * high >> _HALF), np.int64(d * high >> _HALF)


@cache
def _compiled(function):
    start_threads()
    return cached(function, parallel=True)


def address(seeds, purpose: str, step: int) -> tuple:
    """Seeds (R,), purpose and step as the kernels take them; ValueError for an address out of range."""
    keys = [check_address(Stream(seed, purpose, step))[0] for seed in seeds]
    return np.array(keys, np.uint64), np.uint64(purpose_word(purpose)), np.uint64(step)


def uniforms(seeds, purpose: str, step: int, count: int) -> np.ndarray:
    """`random.uniform(Stream(seeds[r], purpose, step), (count,))` in row r: float64 (R, count)."""
    out = np.empty((len(seeds), -(-count // 2) * 2))
    _compiled(_fill_uniforms)(*address(seeds, purpose, step), out)
    return np.ascontiguousarray(out[:, :count])


def integers(seeds, high: int, purpose: str, step: int, count: int) -> np.ndarray:
    """`random.integers(Stream(seeds[r], purpose, step), high, (count,))` in row r: int64 (R, count)."""
    check_high(high)
    out = np.empty((len(seeds), -(-count // 4) * 4), np.int64)
    _compiled(_fill_integers)(*address(seeds, purpose, step), np.uint64(high), out)
    return np.ascontiguousarray(out[:, :count])


def normals(seeds, purpose: str, step: int, count: int) -> np.ndarray:
    """`random.normal(Stream(seeds[r], purpose, step), (count,))` in row r: float64 (R, count).

    Logarithm and cosine are NumPy's, as there: those of a compiled loop differ in the last bit.
    """
    return np.ascontiguousarray(box_muller(uniforms(seeds, purpose, step, -(-count // 2) * 2))[:, :count])


def _walk(u, limits, following, edges):
    """Walks through an automaton into edges (R, L, B): u (R, L, B), limits (L, S), following (S, 2).

    From state s the step t takes edge 2s if u < limits[t, s], else edge 2s + 1, and stands in `following` of it.
    """
    replicas, steps, rows = u.shape
    for r in prange(replicas):
        for row in range(rows):
            state = 0
            for t in range(steps):
                second = 1 if u[r, t, row] >= limits[t, state] else 0
                edges[r, t, row] = 2 * state + second
                state = following[state, second]


def walk(u: np.ndarray, limits: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The edges (R, L, B) int64 that walks from state 0 take: see `_walk`."""
    edges = np.empty(u.shape, np.int64)
    _compiled(_walk)(u, limits, following, edges)
    return edges


def warm() -> None:
    """Compile everything here, or load it: what `recurlab compile` calls."""
    walk(uniforms([0], "warm", 0, 1)[None], np.ones((1, 1)), np.zeros((1, 2), np.int64))
    integers([0], 1, "warm", 0, 1)
