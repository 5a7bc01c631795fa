"""How a layer is laid out on the chip: which threads hold which weights, and where the rest stands in shared memory.

A replica has `threads` threads of one block from the first step to the last, and several small replicas share a block.
A thread holds a slice of two columns of W_hh in registers: two rows of the batch at a time, four chains of
multiply-adds. On the way back it also holds a tile of dW_hh. What goes between threads stands in shared memory, there
never more than the 48 KiB that every launch may have.
"""

from typing import NamedTuple

import numpy as np

from recurlab.kernels.cuda.layout import Sizes, Structure
from recurlab.kernels.cuda.registers import COLUMNS

SHARED = 48 * 1024  # bytes
MOST_THREADS = 256  # of a block: 255 registers each
THREADS = 128  # of a block that several replicas share
SLICES = {4: (8, 16, 32), 8: (8, 12)}  # numbers of a column that a thread may hold, by bytes of a number
ROWS = {4: 8, 8: 4}  # of a tile of dW_hh
FUSED = 16 * 1024  # bytes of W_ih for which the input's product is computed on the chip, too


class Plan(NamedTuple):
    """What kernels need to know of it; places are numbers from the start of a replica's part of shared memory."""

    together: int  # replicas of a block
    threads: int  # of a replica
    rows: int  # of the batch that a block works on, even: a row too many is zeros
    slices: int  # blocks that share the batch of a replica
    parts: int  # slices of a column
    pairs: int  # of columns; a thread has column number `pair` and, if there is one, `pair + pairs`
    width: int  # of a row of what is multiplied with the columns
    fused: int  # 1 if the product of the input is computed here
    left: int  # where: rows of states, or of d_a
    sums: int  # products, one for each slice
    ends: int  # back: gradients of the states
    old: int  # back: rows of h before the step
    old_width: int
    tiles: int  # of dW_hh, a thread each
    bias: int  # of planes, or its gradient
    W_x: int  # (I, G·H), or its gradient
    size: int  # of all this


class Seat(NamedTuple):
    """What a thread works on: some rows of one replica, together with others; none of a replica that there is not."""

    replica: int
    row: int  # the first
    rows: int
    thread: int  # of the replica's
    base: int  # where the replica's part of shared memory begins
    piece: int  # of the replica's batch, counted through all replicas
    first: int  # row, and
    unit: int  # unit that the thread begins with; then, if they are below H,
    row_step: int  # so many rows
    unit_step: int  # and so many units further


class Residence(NamedTuple):
    """The plans of both ways and the sizes of what threads hold."""

    forth: Plan
    back: Plan
    count_forth: int  # numbers of a column a thread
    count_back: int


def residence_of(structure: Structure, n: Sizes, dtype) -> Residence | None:
    """How a layer is kept on the chip; None for one that is too large, or is computed in another way."""
    if not may_stay(structure):
        return None
    bytes_each, columns = np.dtype(dtype).itemsize, structure.GATES * n.hidden
    forth, back = (_count(length, bytes_each) for length in (n.hidden, columns))
    for slices in range(1, n.batch + 1):
        rows = _rounded(-(-n.batch // slices), 2)
        plans = _forth(structure, n, rows, forth, bytes_each), _back(structure, n, rows, back, bytes_each)
        if all(plan.size * bytes_each <= SHARED and plan.threads <= MOST_THREADS for plan in plans):
            shared = (_together(plan, n.replicas, bytes_each) for plan in plans)
            return Residence(*shared, forth, back)
    return None


def may_stay(structure: Structure) -> bool:
    """Whether there are kernels that keep the weights of such a cell on the chip."""
    return structure.RECURRENT and not structure.NORM and not structure.SECOND


def _count(length: int, bytes_each: int) -> int:
    """The least count of SLICES that holds a column, or the largest."""
    return next((count for count in SLICES[bytes_each] if count >= length), SLICES[bytes_each][-1])


def _rounded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _fused(structure: Structure, n: Sizes, bytes_each: int) -> bool:
    return n.inputs * structure.GATES * n.hidden * bytes_each <= FUSED


def _forth(structure: Structure, n: Sizes, rows: int, count: int, bytes_each: int) -> Plan:
    """left: (S, rows, width); sums: (parts, rows, P·H); bias: (P, H); W_x: (I, G·H)."""
    parts, pairs, fused = -(-n.hidden // count), -(-structure.GATES * n.hidden // 2), _fused(structure, n, bytes_each)
    width, planes = parts * count, structure.PLANES * n.hidden
    sums = structure.STATES * rows * width
    bias = sums + parts * rows * planes
    W_x = bias + planes
    size = _rounded(W_x + fused * n.inputs * structure.GATES * n.hidden, 4)
    places = {
        "left": 0,
        "sums": sums,
        "ends": 0,
        "old": 0,
        "old_width": 0,
        "tiles": 0,
        "bias": bias,
        "W_x": W_x,
        "size": size,
    }
    return Plan(1, parts * pairs, rows, -(-n.batch // rows), parts, pairs, width, int(fused), **places)


def _back(structure: Structure, n: Sizes, rows: int, count: int, bytes_each: int) -> Plan:
    """left: (rows, width), width at least P·H; sums: (parts, rows, H); ends: (S, rows, H); old: (rows, old_width)."""
    columns, planes = structure.GATES * n.hidden, structure.PLANES * n.hidden
    parts, pairs, fused = -(-columns // count), -(-n.hidden // 2), _fused(structure, n, bytes_each)
    width, old_width = _rounded(max(parts * count, planes), COLUMNS), _rounded(n.hidden, ROWS[bytes_each])
    old = rows * width
    sums = old + rows * old_width
    ends = sums + parts * rows * n.hidden
    bias = ends + structure.STATES * rows * n.hidden
    W_x = bias + planes
    size = _rounded(W_x + fused * n.inputs * columns, 4)
    tiles = (old_width // ROWS[bytes_each]) * -(-columns // COLUMNS)
    threads, slices = max(parts * pairs, tiles), -(-n.batch // rows)
    places = {"left": 0, "sums": sums, "ends": ends, "old": old, "old_width": old_width, "tiles": tiles}
    places |= {"bias": bias, "W_x": W_x, "size": size}
    return Plan(1, threads, rows, slices, parts, pairs, width, int(fused), **places)


def _together(plan: Plan, replicas: int, bytes_each: int) -> Plan:
    """The plan with as many replicas in a block as fill it."""
    most = min(THREADS // plan.threads, SHARED // (plan.size * bytes_each), replicas)
    return plan._replace(together=max(1, most))
