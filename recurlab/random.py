"""Counter-based random numbers: every number is addressed, none is drawn in order.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") maps the counter (index, step,
purpose, replica) under the key (seed) to four 32-bit words, so a number depends on its address alone: not on what was
drawn before, on the number of threads, or on how replicas were split into jobs.
"""

import hashlib
from typing import NamedTuple

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_ROUNDS = 10


class Stream(NamedTuple):
    """The address of a sequence of random numbers: everything but the index."""

    seed: int
    purpose: str
    step: int = 0
    replica: int = 0


def purpose_word(purpose: str) -> int:
    """32-bit word of a purpose: the first four bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big")


def philox(counter, key) -> tuple:
    """Four 32-bit words for a counter of four words and a key of two (uint64 arrays or scalars that hold 32 bits)."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        low, high = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (high >> 32) ^ c1 ^ np.uint64(k0), high & _LOW, (low >> 32) ^ c3 ^ np.uint64(k1), low & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def check_address(stream: Stream) -> tuple[int, int, int]:
    """Seed, step and replica as whole numbers; ValueError for one out of range."""
    seed, step, replica = int(stream.seed), int(stream.step), int(stream.replica)
    if not (0 <= seed < 2**64 and 0 <= step < 2**32 and 0 <= replica < 2**32):
        raise ValueError(f"stream: expected seed in [0, 2^64), step and replica in [0, 2^32), got {stream}")
    return seed, step, replica


def check_high(high: int) -> None:
    """ValueError for a range that a 32-bit word does not reach."""
    if not 0 < high < 2**32:
        raise ValueError(f"high: expected 0 < high < 2^32, got {high}")


def words(stream: Stream, count: int, start: int = 0) -> np.ndarray:
    """The 32-bit words start … start+count-1 of a stream, uint64 (count,); ValueError for an address out of range."""
    seed, step, replica = check_address(stream)
    first, last = start // 4, -(-(start + count) // 4)
    counter = (np.arange(first, last, dtype=np.uint64), step, purpose_word(stream.purpose), replica)
    key = (seed & 0xFFFFFFFF, seed >> 32)
    block = np.stack(np.broadcast_arrays(*philox(counter, key)), axis=-1).ravel()
    return block[start - 4 * first : start - 4 * first + count]


def uniform(stream: Stream, shape=()) -> np.ndarray:
    """Uniform float64 in [0, 1) with 53 random bits each; number i takes words 2i and 2i+1."""
    count = int(np.prod(shape))
    pair = words(stream, 2 * count).reshape(count, 2)
    return (((pair[:, 0] >> 5) << 26 | pair[:, 1] >> 6) * 2.0**-53).reshape(shape)


def normal(stream: Stream, shape=()) -> np.ndarray:
    """Standard normal float64 by Box–Muller: numbers 2i and 2i+1 come from uniforms 2i and 2i+1."""
    count = int(np.prod(shape))
    return box_muller(uniform(stream, (-(-count // 2) * 2,)))[:count].reshape(shape)


def box_muller(u: np.ndarray) -> np.ndarray:
    """Independent standard normals (…, 2n) from independent uniforms (…, 2n), pair by pair."""
    radius = np.sqrt(-2 * np.log1p(-u[..., ::2]))  # 1-u lies in (0, 1], so the logarithm is finite
    angle = 2 * np.pi * u[..., 1::2]
    z = np.empty_like(u)
    z[..., ::2], z[..., 1::2] = radius * np.cos(angle), radius * np.sin(angle)
    return z


def integers(stream: Stream, high: int, shape=()) -> np.ndarray:
    """Uniform int64 in [0, high), 0 < high < 2^32: floor(word · high / 2^32), bias below high / 2^32."""
    check_high(high)
    count = int(np.prod(shape))
    return (words(stream, count) * np.uint64(high) >> np.uint64(32)).astype(np.int64).reshape(shape)


def permutation(stream: Stream, count: int) -> np.ndarray:
    """A random order of 0 … count-1: the order that sorts `count` uniform numbers (ties have probability 2^-53)."""
    return np.argsort(uniform(stream, (count,)), kind="stable")
