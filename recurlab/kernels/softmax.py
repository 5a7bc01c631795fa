"""A linear layer over V words with softmax and cross-entropy, fused: no array holds all logits of a long batch.

    z = h Wᵀ + b;   loss = ln Σ exp z - z[target];   d = share · (exp(z) / Σ exp z - onehot(target))
    d_h = d W;      d_W = dᵀ h;   d_b = Σ d

Axes: R replica, N position, V word, H hidden. A call works on a chunk of n.count positions; arrays stand in blocks of W
columns as in `blocks`, words in groups of GROUP blocks, so that a group of the weights stays in the L2 cache:

    V_out    [R][groups][blocks][GROUP·W][W]     W: the right side of d W
    W_out    [R][word_blocks][blocks·W][W]       Wᵀ in squares turned over: the right side of h Wᵀ
    bias     [R][word_blocks][W]                 LOWEST for words that only fill up: their probability is 0
    left     [R][blocks][count][W]               h
    z        [R][word_blocks][count][W]          logits, in the backward pass d
    best     [R][count][W]                       the largest logit of every lane, then of all of them in every lane
    total    [R][count][W]                       Σ exp(z - best) of every lane, then share / Σ exp(z - best) in all

A unit is a piece of the rows, or in the weight gradient a piece of the words: every number has one unit that sums it
up, in an order fixed by shapes, and no unit waits for another.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import prange

from recurlab.kernels import denormals, memory
from recurlab.kernels.blocks import add_from_row, clear_vectors, put_row, take_row
from recurlab.kernels.target import (
    at,
    cached,
    call,
    exp,
    inlined,
    lanes,
    larger,
    load,
    start_threads,
    store,
    transpose,
)
from recurlab.maths import ZERO

GROUP = 32  # blocks of words: 512 words in float32, 0.4 MB of weights at H = 200
ROWS = 128  # most rows of a piece
BLOCKS = 32  # most blocks of words of a piece
LEAST_ROWS = 4  # of a piece
LOWEST = -1e30  # a logit whose exponential beside any other is 0
_FLUSHING = {"flush": inlined(denormals.flush), "restore": inlined(denormals.restore)}


class Sizes(NamedTuple):
    """All sizes of a call; axes as above."""

    lanes: int
    replicas: int
    positions: int  # N of all chunks
    first: int  # of this chunk
    count: int  # of this chunk
    words: int
    hidden: int
    blocks: int
    word_blocks: int
    groups: int
    row_pieces: int
    word_pieces: int


class Packed(NamedTuple):
    """The weights in the layouts of the products, flat."""

    V_out: np.ndarray
    W_out: np.ndarray
    bias: np.ndarray


class Scores(NamedTuple):
    """What the forward pass of a chunk leaves, flat."""

    left: np.ndarray
    z: np.ndarray
    best: np.ndarray
    total: np.ndarray


class Targets(NamedTuple):
    """What the positions of all chunks are judged by; an array with R = 1 is shared by all replicas."""

    words: np.ndarray  # (R or 1, N) int64
    shares: np.ndarray  # (R or 1, N) float64: the weight of a position in the loss; 0 where it is not looked at


def pieces_of(count: int, most: int, least: int) -> int:
    """A power of two of pieces of at most `most`, two where each has `least`: as much for 2 threads as for 4 or 8."""
    pieces = 2 if count >= 2 * least else 1
    while count > pieces * most:
        pieces *= 2
    return pieces


def sizes_of(dtype, replicas: int, positions: int, words: int, hidden: int) -> Sizes:
    """The sizes of a call on all positions."""
    width = lanes(dtype)
    word_blocks = -(-words // width)
    whole = Sizes(
        lanes=width,
        replicas=replicas,
        positions=positions,
        first=0,
        count=positions,
        words=words,
        hidden=hidden,
        blocks=-(-hidden // width),
        word_blocks=word_blocks,
        groups=-(-word_blocks // GROUP),
        row_pieces=0,
        word_pieces=pieces_of(word_blocks, BLOCKS, 1),
    )
    return chunk_of(whole, 0, positions)


def chunk_of(n: Sizes, first: int, count: int) -> Sizes:
    """The sizes of a call on some positions."""
    return n._replace(first=first, count=count, row_pieces=pieces_of(count, ROWS, LEAST_ROWS))


def empty_packed(n: Sizes, dtype) -> Packed:
    """Room for the weights."""
    rows = n.replicas * n.blocks * n.lanes * n.lanes
    turned, bias = n.replicas * n.word_blocks * n.blocks * n.lanes * n.lanes, n.replicas * n.word_blocks * n.lanes
    return Packed(*(memory.empty((size,), dtype) for size in (rows * n.groups * GROUP, turned, bias)))


def empty_scores(n: Sizes, dtype) -> Scores:
    """Room for what the forward pass of a chunk leaves."""
    row = n.replicas * n.count * n.lanes
    return Scores(*(memory.empty((size * row,), dtype) for size in (n.blocks, n.word_blocks, 1, 1)))


def working_numbers(n: Sizes) -> int:
    """Numbers of working memory for a thread: d_h of a piece of the rows, or d_W of a piece of the words."""
    rows, blocks = -(-n.count // n.row_pieces), -(-n.word_blocks // n.word_pieces)
    return n.blocks * n.lanes * max(rows, blocks * n.lanes) + n.lanes


@inlined
def piece(i, pieces, count):
    """(first, end) of one of the pieces of `count`."""
    size = (count + pieces - 1) // pieces
    return min(i * size, count), min((i + 1) * size, count)


@inlined
def of_replica(array, r):
    """The row of a replica in an array that all may share."""
    return array[min(r, len(array) - 1)]


@inlined
def pack_words(n, r, v, weight, bias, packed):
    """Block v of the words of a replica in both layouts."""
    width, square, block = n.lanes, n.lanes * n.lanes, GROUP * n.lanes * n.lanes
    first = ((r * n.groups + v // GROUP) * n.blocks * GROUP + v % GROUP) * square
    for lane in range(width):
        word, to = v * width + lane, first + lane * width
        if word < n.words:
            put_row(packed.V_out, to, block, weight, (r * n.words + word) * n.hidden, n.hidden, width)
            packed.bias[r * n.word_blocks * width + word] = bias[r * n.words + word]
        else:
            clear_vectors(packed.V_out, to, block, n.blocks, 1, width)
            packed.bias[r * n.word_blocks * width + word] = LOWEST
    for j in range(n.blocks):
        to = ((r * n.word_blocks + v) * n.blocks + j) * square
        transpose(at(packed.V_out, first + j * block), width, at(packed.W_out, to))


def _prepare(n, weight, bias, packed):
    """Weights (R, V, H) and bias (R, V) in the layouts of the products."""
    for i in prange(n.replicas * n.word_pieces):
        first, end = piece(i % n.word_pieces, n.word_pieces, n.word_blocks)
        for v in range(first, end):
            pack_words(n, i // n.word_pieces, v, weight, bias, packed)


@inlined
def gather_rows(n, r, first, end, h, shares, left):
    """h of some rows in blocks; zeros where a position has no share, whatever stands there."""
    for row in range(first, end):
        to, step = (r * n.blocks * n.count + row) * n.lanes, n.count * n.lanes
        if shares[n.first + row] == 0:
            clear_vectors(left, to, step, n.blocks, 1, n.lanes)
        else:
            put_row(left, to, step, h, (r * n.positions + n.first + row) * n.hidden, n.hidden, n.lanes)


@inlined
def z_at(n, r, v, row):
    """Where z of a row stands in block v of the words."""
    return ((r * n.word_blocks + v) * n.count + row) * n.lanes


@inlined
def score_group(n, rows, r, v, first, end, packed, scores):
    """z of some rows for the words of a group, from block v on; returns the number of its blocks."""
    step, blocks = n.count * n.lanes, min(GROUP, n.word_blocks - v)
    depth = n.blocks * n.lanes * n.lanes
    places = (
        at(scores.left, (r * n.blocks * n.count + first) * n.lanes),
        at(packed.W_out, (r * n.word_blocks + v) * depth),
        at(packed.bias, (r * n.word_blocks + v) * n.lanes),
        at(scores.z, z_at(n, r, v, first)),
    )
    call(rows, (*places, 1, 0, 0, n.hidden, step, depth, 0, n.lanes, step, end - first, blocks, n.lanes))
    return blocks


@inlined
def go_on(z, start, step, blocks, scores, place):
    """best and total of a row after `blocks` more blocks of logits (online softmax, Milakov & Gimelshein 2018)."""
    old = load(at(scores.best, place), 0)
    new = old
    for v in range(blocks):
        new = larger(load(at(z, start + v * step), 0), new)
    total = load(at(scores.total, place), 0) * exp(old - new)
    for v in range(blocks):
        total = total + exp(load(at(z, start + v * step), 0) - new)
    store(at(scores.best, place), 0, new)
    store(at(scores.total, place), 0, total)


@inlined
def finish_row(n, scores, place, z_target, share):
    """ln Σ exp z, and whether the target has the largest z; best and total of a row for the backward pass."""
    largest, whole = scores.best[place], 0.0
    for lane in range(1, n.lanes):
        largest = max(largest, scores.best[place + lane])
    for lane in range(n.lanes):
        beside = math.exp(np.float64(scores.best[place + lane]) - np.float64(largest))
        whole += np.float64(scores.total[place + lane]) * beside
    for lane in range(n.lanes):
        scores.best[place + lane], scores.total[place + lane] = largest, share / whole
    return np.float64(largest) + math.log(whole), z_target == largest


@inlined
def score_rows(n, rows, r, first, end, packed, h, targets, scores, logs, losses, errors):
    """Everything the forward pass does for some rows of a replica."""
    words, shares = of_replica(targets.words, r), of_replica(targets.shares, r)
    gather_rows(n, r, first, end, h, shares, scores.left)
    place = r * n.count * n.lanes
    for i in range(place + first * n.lanes, place + end * n.lanes):
        scores.best[i], scores.total[i] = LOWEST, 0
    for g in range(n.groups):
        blocks = score_group(n, rows, r, g * GROUP, first, end, packed, scores)
        for row in range(first, end):
            start = z_at(n, r, g * GROUP, row)
            go_on(scores.z, start, n.count * n.lanes, blocks, scores, place + row * n.lanes)
    for row in range(first, end):
        k = n.first + row
        z_target = scores.z[z_at(n, r, words[k] // n.lanes, row) + words[k] % n.lanes]
        log, right = finish_row(n, scores, place + row * n.lanes, z_target, shares[k])
        logs[r, k], losses[r, k], errors[r, k] = log, log - z_target, 0.0 if right and log == log else 1.0


def _score(n, rows, packed, h, targets, scores, logs, losses, errors, threads, flushing):
    """z of a chunk, and for every position ln Σ exp z, its loss, and 1 where a word has a larger z than the target."""
    for t in prange(threads):
        before = flush(flushing)  # noqa: F821 - bound in `score`
        for unit in range(t, n.replicas * n.row_pieces, threads):
            r, (first, end) = unit // n.row_pieces, piece(unit % n.row_pieces, n.row_pieces, n.count)
            score_rows(n, rows, r, first, end, packed, h, targets, scores, logs, losses, errors)
        restore(before)  # noqa: F821


@inlined
def differentiate(n, r, v, blocks, first, end, words, shares, scores):
    """d in place of z for some rows and blocks of words."""
    for j in range(v, v + blocks):
        for row in range(first, end):
            place, z = (r * n.count + row) * n.lanes, at(scores.z, z_at(n, r, j, row))
            beside = exp(load(z, 0) - load(at(scores.best, place), 0))
            store(z, 0, beside * load(at(scores.total, place), 0))
    for row in range(first, end):
        word, share = words[n.first + row], shares[n.first + row]
        if v <= word // n.lanes < v + blocks:
            scores.z[z_at(n, r, word // n.lanes, row) + word % n.lanes] -= share


@inlined
def add_to_rows(n, rows, r, g, first, end, packed, scores, work, start):
    """d_h of some rows in working memory += d W of one group of words."""
    count, square = end - first, n.lanes * n.lanes
    there = min(GROUP * n.lanes, n.words - g * GROUP * n.lanes)
    places = (
        at(scores.z, z_at(n, r, g * GROUP, first)),
        at(packed.V_out, (r * n.groups + g) * n.blocks * GROUP * square),
        at(work, start),
        at(work, start),
    )
    step = count * n.lanes
    sizes = (there, n.count * n.lanes, GROUP * square, n.lanes, step, step, count, n.blocks, n.lanes)
    call(rows, (*places, 1, 0, 0, *sizes))


@inlined
def row_gradient(n, rows, r, first, end, packed, targets, scores, work, start, d_h):
    """d and d_h of some rows of a replica."""
    words, shares, step = of_replica(targets.words, r), of_replica(targets.shares, r), (end - first) * n.lanes
    clear_vectors(work, start, step, n.blocks, end - first, n.lanes)
    for g in range(n.groups):
        v = g * GROUP
        differentiate(n, r, v, min(GROUP, n.word_blocks - v), first, end, words, shares, scores)
        add_to_rows(n, rows, r, g, first, end, packed, scores, work, start)
    for row in range(first, end):
        to = (r * n.positions + n.first + row) * n.hidden
        take_row(d_h, to, work, start + (row - first) * n.lanes, step, n.hidden, n.lanes)


@inlined
def sum_of_rows(n, r, v, scores, out, to):
    """Σ d over all rows of a chunk, one block of words, into a vector."""
    total = load(at(scores.z, z_at(n, r, v, 0)), 0)
    for row in range(1, n.count):
        total = total + load(at(scores.z, z_at(n, r, v, row)), 0)
    store(at(out, to), 0, total)


@inlined
def put_words(n, r, word, count, work, start, step, d_weight):
    """d_W of some words out of working memory: added to what earlier chunks gave."""
    for i in range(count):
        to, place = (r * n.words + word + i) * n.hidden, start + i * n.lanes
        if n.first == 0:
            take_row(d_weight, to, work, place, step, n.hidden, n.lanes)
        else:
            add_from_row(d_weight, to, work, place, step, n.hidden, n.lanes)


@inlined
def word_gradient(n, columns, r, first, end, scores, work, start, zero, d_weight, d_bias):
    """d_W and d_b of some blocks of words of a replica; `zero` is where a vector of zeros stands in working memory."""
    word, step, square = first * n.lanes, n.count * n.lanes, n.lanes * n.lanes
    count = min(end * n.lanes, n.words) - word
    left, right = at(scores.z, z_at(n, r, first, 0)), at(scores.left, r * n.blocks * step)
    sizes = (n.count, step, step, 0, 0, (end - first) * square, 1, count, n.blocks, n.lanes)
    call(columns, (left, right, at(work, zero), at(work, start), *sizes))
    put_words(n, r, word, count, work, start, (end - first) * square, d_weight)
    for v in range(first, end):
        sum_of_rows(n, r, v, scores, work, start)
        for lane in range(min(n.lanes, n.words - v * n.lanes)):
            to = r * n.words + v * n.lanes + lane
            d_bias[to] = work[start + lane] + (d_bias[to] if n.first else ZERO)


def _differentiate(n, rows, columns, packed, targets, scores, work, d_h, d_weight, d_bias, threads, flushing):
    """d_h of a chunk, and what it adds to d_W and d_b."""
    own = work.size // threads
    for t in prange(threads):
        before = flush(flushing)  # noqa: F821 - bound in `differentiation`
        for unit in range(t, n.replicas * n.row_pieces, threads):
            r, (first, end) = unit // n.row_pieces, piece(unit % n.row_pieces, n.row_pieces, n.count)
            if first < end:
                row_gradient(n, rows, r, first, end, packed, targets, scores, work, t * own, d_h)
        restore(before)  # noqa: F821
    for t in prange(threads):
        before = flush(flushing)  # noqa: F821
        zero = (t + 1) * own - n.lanes
        store(at(work, zero), 0, ZERO)
        for unit in range(t, n.replicas * n.word_pieces, threads):
            r, (first, end) = unit // n.word_pieces, piece(unit % n.word_pieces, n.word_pieces, n.word_blocks)
            if first < end:
                word_gradient(n, columns, r, first, end, scores, work, t * own, zero, d_weight, d_bias)
        restore(before)  # noqa: F821


@cache
def prepare():
    """`_prepare`, compiled."""
    start_threads()
    return cached(_prepare, parallel=True)


@cache
def score():
    """`_score`, compiled."""
    start_threads()
    return cached(_score, parallel=True, **_FLUSHING)


@cache
def differentiation():
    """`_differentiate`, compiled."""
    start_threads()
    return cached(_differentiate, parallel=True, **_FLUSHING)
