"""Products of large matrices in tiles, for all steps of a pass at once; rows and columns lie anywhere in their arrays.

    out[out_rows[m] + out_columns[n]] +=
        Σ_k left[left_rows[m] + left_columns[k]] · right[right_rows[k] + right_columns[n]]

What has a place below 0 counts as zero, and nothing is added there: steps beyond a row's length. A sum starts from what
stands in out and takes its terms in order, as in `forward` and `gradients`, where each thread has a number: the bits
are theirs. Here a thread has a tile of sums in registers, and a block the rows and columns of some terms in shared
memory: 4 wide loads for 64 multiply-adds in place of 128.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import from_dtype

from recurlab.kernels.cuda.reference import helpers
from recurlab.kernels.cuda.registers import COLUMNS, add_outer, flat, put, take
from recurlab.kernels.cuda.residence import ROWS
from recurlab.kernels.cuda.target import SIMULATED, cuda, kernel, launch_with, load, store
from recurlab.maths import ZERO

SIDE = 8 if not SIMULATED else 2  # threads of a block: SIDE · SIDE
CHUNK = 16 if not SIMULATED else 4  # terms in shared memory at a time
BLOCKS = {4: 6, 8: 4}  # of a multiprocessor, by bytes of a number: 167 and 188 registers a thread


class Extents(NamedTuple):
    """The sizes of a product; `left`, `right`, `out`: from a replica's array to the next, 0 where they share one."""

    replicas: int
    rows: int
    columns: int
    terms: int
    left: int
    right: int
    out: int
    along: int  # 1 if neighbours of a row of left are neighbours in memory, 0 if those of a column are


class Places(NamedTuple):
    """Where rows and columns begin, on the GPU; below 0 where there is none."""

    left_rows: object  # (rows,)
    left_columns: object  # (terms,)
    right_rows: object  # (terms,)
    right_columns: object  # (columns,)
    out_rows: object  # (rows,)
    out_columns: object  # (columns,)


def _begin(places, i):
    """Where a row or column begins; below 0 beyond the last."""
    return load(places, i) if i < places.size else -1


def _entry(array, start, row, column):
    """An entry, zero where there is none."""
    return load(array, start + row + column) if row >= 0 and column >= 0 else ZERO


def _of_sum(places, row, column, e):
    """Where sum e of a block stands in out, below 0 for none: tile by tile, each row by row."""
    owner, q = e // (ROWS * COLUMNS), e % (ROWS * COLUMNS)
    m = begin(places.out_rows, row + owner % SIDE * ROWS + q // COLUMNS)
    n = begin(places.out_columns, column + owner // SIDE * COLUMNS + q % COLUMNS)
    return m + n if m >= 0 and n >= 0 else -1


def _bring_left(z, places, left, start, row, first, t, shared):
    """CHUNK columns of left into shared memory, one after the other; threads that are neighbours read neighbours."""
    if z.along:
        k = t % CHUNK
        column = begin(places.left_columns, first + k)
        for m in range(t // CHUNK, TALL, SIDE * SIDE // CHUNK):
            store(shared, k * (TALL + PAD) + m, entry(left, start, begin(places.left_rows, row + m), column))
    else:
        for m in range(t, TALL, SIDE * SIDE):
            mine = begin(places.left_rows, row + m)
            for k in range(CHUNK):
                column = begin(places.left_columns, first + k)
                store(shared, k * (TALL + PAD) + m, entry(left, start, mine, column))


def _bring_right(places, right, start, column, first, t, shared):
    """CHUNK rows of right behind them."""
    for n in range(t, WIDE, SIDE * SIDE):
        mine, to = begin(places.right_columns, column + n), CHUNK * (TALL + PAD) + n
        for k in range(CHUNK):
            row = begin(places.right_rows, first + k)
            store(shared, to + k * (WIDE + PAD), entry(right, start, row, mine))


def multiply(z, places, left, right, out):
    """Add the product to out."""
    shared, t = flat(cuda.shared.array(0, DTYPE)), cuda.threadIdx.x
    across, down = (z.columns + WIDE - 1) // WIDE, (z.rows + TALL - 1) // TALL
    r, block = cuda.blockIdx.x // (across * down), cuda.blockIdx.x % (across * down)
    row, column = block // across * TALL, block % across * WIDE
    for e in range(t, TALL * WIDE, SIDE * SIDE):
        i = of_sum(places, row, column, e)
        store(shared, e, load(out, r * z.out + i) if i >= 0 else ZERO)
    cuda.syncthreads()
    tile = take_tile(shared, t * ROWS * COLUMNS, 1)
    above, beside = t % SIDE * ROWS, CHUNK * (TALL + PAD) + t // SIDE * COLUMNS
    for first in range(0, z.terms, CHUNK):
        cuda.syncthreads()
        bring_left(z, places, left, r * z.left, row, first, t, shared)
        bring_right(places, right, r * z.right, column, first, t, shared)
        cuda.syncthreads()
        for k in range(CHUNK):
            tile = add_outer(tile, shared, above + k * (TALL + PAD), beside + k * (WIDE + PAD))
    cuda.syncthreads()
    put(tile, shared, t * ROWS * COLUMNS)
    cuda.syncthreads()
    for e in range(t, TALL * WIDE, SIDE * SIDE):
        i = of_sum(places, row, column, e)
        if i >= 0:
            store(out, r * z.out + i, load(shared, e))


HELPERS = _begin, _entry, _of_sum, _bring_left, _bring_right  # each may use those before it


@cache
def compiled(dtype: str):
    """`multiply` for a precision, compiled."""
    size = np.dtype(dtype).itemsize
    rows, label = ROWS[size], f"cuda_{dtype}"
    names = {"DTYPE": from_dtype(np.dtype(dtype)), "ROWS": rows, "TALL": SIDE * rows, "WIDE": SIDE * COLUMNS}
    names |= {"PAD": 16 // size, "take_tile": take(rows * COLUMNS)}
    names |= helpers(HELPERS, label, False, names)
    return kernel(multiply, label, launch_bounds=(SIDE * SIDE, BLOCKS[size]), **names)


def add_product(z: Extents, places: Places, left, right, out) -> None:
    """Launch it; all arrays on the GPU, flat."""
    size = out.dtype.itemsize
    tall, wide = SIDE * ROWS[size], SIDE * COLUMNS
    numbers = max(tall * wide, CHUNK * (tall + wide + 2 * (16 // size)))
    blocks = z.replicas * -(-z.rows // tall) * -(-z.columns // wide)
    launch_with(compiled(out.dtype.name), blocks, SIDE * SIDE, numbers * size, z, places, left, right, out)
