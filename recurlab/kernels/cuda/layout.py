"""The layout of every array on a GPU: natural, nothing filled up.

Axes: R replica, T time, B batch, I input, H hidden, G gates, S states, K kept, V vectors, P planes (a gate's, and for a
separate gate one more: its recurrent part, behind all gates), N passes = L·D of a stack.

    a, d_a   (R, P, T, B, H)      pre-activations and their gradients, in the order of the steps of the pass
    kept     (R, K, T, B, H)      with layer normalisation all planes' centred products behind a cell's own
    states   (R, S, T+1, B, H)    after so many steps
    x        (R or 1, T, B, I)    y (R, T, B, D·H), a pass writes H columns
    ends     (S, R, N, B, H)      initial and final states of a stack, and their gradients

W_x (R, I, G·H) and W_h (R, H, G·H) are the transposes of the natural W_ih and W_hh (R, G·H, ·): threads that are
neighbours read numbers that are neighbours, on the way there and back. A step s of a reversed pass reads time
lengths[b]-1-s of row b; steps at or beyond a row's length change nothing.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.kernels.cuda.target import MOST_THREADS, inlined

TILE = 16  # rows and units of a block where all blocks go step by step: a thread for each number of the tile


class Sizes(NamedTuple):
    """All sizes of a pass, or of some of its steps; axes as above."""

    replicas: int
    x_replicas: int  # R or 1
    batch: int
    rows: int  # of the batch that a block of threads works on
    slices: int  # of the batch
    units: int  # of each of these rows that it works on: H, or fewer where all blocks of a launch go step by step
    cuts: int  # of a row
    steps: int  # of this part of a sequence
    first_step: int  # of this part
    length: int  # of the whole sequence, T
    inputs: int
    hidden: int
    kept: int  # planes in kept
    kept_steps: int  # steps in kept: one more where the states serve as kept, one step later
    reverse: int  # 1 for a pass that runs backwards
    column: int  # of y, the first that the pass writes
    width: int  # of y
    passes: int  # N
    own: int  # which of them this is


def sizes_of(cell: Cell, replicas: int, x_shape: tuple, hidden: int, zoned: bool, **more) -> Sizes:
    """The sizes of a pass over a whole sequence; x (R or 1, T, B, I)."""
    x_replicas, steps, batch, inputs = x_shape
    rows = min(batch, max(1, MOST_THREADS // hidden))
    structure = structure_of(cell)
    whole = Sizes(
        replicas=replicas,
        x_replicas=x_replicas,
        batch=batch,
        rows=rows,
        slices=-(-batch // rows),
        units=hidden,
        cuts=1,
        steps=steps,
        first_step=0,
        length=steps,
        inputs=inputs,
        hidden=hidden,
        kept=structure.KEPT + structure.PLANES * structure.NORM,
        kept_steps=0,
        **more,
    )
    return part_of(whole, 0, steps, keeps_states(cell, zoned))


def spread_over(n: Sizes, blocks: int) -> Sizes | None:
    """The sizes with all rows and units shared out to at most so many blocks; None where each has a replica to itself.

    A block reads the weights of its units alone, and those once for all its rows.
    """
    each = blocks // n.replicas
    if each < 2:
        return None
    slices = min(-(-n.batch // TILE), each)
    rows = -(-n.batch // slices)
    slices = -(-n.batch // rows)
    units = -(-n.hidden // min(each // slices, -(-n.hidden // TILE)))
    return n._replace(rows=rows, slices=slices, units=units, cuts=-(-n.hidden // units))


def part_of(n: Sizes, first: int, steps: int, states_serve: bool) -> Sizes:
    """The sizes of some steps of a sequence."""
    return n._replace(steps=steps, first_step=first, kept_steps=steps + states_serve)


class Weights(NamedTuple):
    """The parameters of a pass, flat; what a cell does not have is empty."""

    W_x: np.ndarray  # (R, I, G·H)
    W_h: np.ndarray  # (R, H, G·H)
    V_x: np.ndarray  # (R, G·H, I)
    V_h: np.ndarray  # (R, G·H, H)
    b_ih: np.ndarray  # (R, G·H)
    b_hh: np.ndarray  # (R, G·H)
    vectors: np.ndarray  # (V, R, H)
    gains: np.ndarray  # (R, P, H)


class Sequence(NamedTuple):
    """The outer arrays of a pass, flat."""

    x: np.ndarray  # (R or 1, T, B, I)
    lengths: np.ndarray  # (B,)
    y: np.ndarray  # (R, T, B, D·H), empty if not wanted; in a backward pass dy, empty for zeros
    shares: np.ndarray  # (S, R, N, T, B, H), the k of zoneout; empty without


class Work(NamedTuple):
    """Working memory of a backward pass, flat; what a cell does not need is empty."""

    rest: np.ndarray  # as ends: what goes past a cell with zoneout
    d_raw: np.ndarray  # (R, P, B, H), d_a of one step in front of its norm
    d_norm: np.ndarray  # (2, R, P, B, H), gradients of gains and of biases of each row, zeros before
    d_operands: np.ndarray  # (R, B, H)


class Norm(NamedTuple):
    """What layer normalisation needs beside gains and biases, in the precision of the pass."""

    share: float  # 1 / H
    epsilon: float  # 1e-5, as PyTorch's LayerNorm


class Thread(NamedTuple):
    """Which units of which rows a thread works on: `first`, first + step, … below `count`, all of one replica."""

    replica: int
    row: int  # the first of the block
    unit: int  # the first of the block
    units: int  # of the block
    first: int
    count: int
    step: int


class Structure(NamedTuple):
    """What kernels know of a cell beside its functions, bound to them as globals."""

    GATES: int
    SEPARATE: int  # how many gates have a recurrent part of their own; they stand last
    PLAIN: int  # gates whose recurrent weights act on h
    PLANES: int
    STATES: int
    KEPT: int
    VECTORS: int
    RECURRENT: bool
    NORM: bool
    SECOND: bool  # the last gate's recurrent weights act on an operand


@cache
def structure_of(cell: Cell) -> Structure:
    """The structure of a cell; ValueError for one whose separate gates do not stand last."""
    gates, apart = cell.gates, cell.separate
    last = (*apart, *([cell.second_product] if cell.second_product else []))
    if gates[len(gates) - len(last) :] != last:
        raise ValueError(f"cell: expected {last} as the last gates on a GPU, got {cell.name} with {gates}")
    second = cell.second_product is not None
    counts = len(gates), len(apart), len(gates) - second, len(gates) + len(apart), len(cell.states)
    flags = cell.recurrent_matrix, cell.norm, second
    return Structure(*counts, len(cell.kept), len(cell.vectors), *flags)


def orders_of(cell: Cell) -> dict[str, tuple[int, ...]]:
    """Which plane each value stands in: those of the cell's own order."""
    own = structure_of(cell)
    counts = {"a": own.PLANES, "k": own.KEPT, "s": own.STATES, "v": own.VECTORS}
    return {axis: tuple(range(count)) for axis, count in counts.items()}


def keeps_states(cell: Cell, zoned: bool) -> bool:
    """Whether a cell keeps just its new state: then the states serve as kept, one step later."""
    return cell.kept == cell.states and not cell.norm and not zoned


@inlined
def seat_of(n, block, thread, threads):
    """What a thread of a block works on."""
    r, part = block // (n.slices * n.cuts), block % (n.slices * n.cuts)
    row, unit = part // n.cuts * n.rows, part % n.cuts * n.units
    units = min(n.units, n.hidden - unit)
    return Thread(r, row, unit, units, thread, min(n.rows, n.batch - row) * units, threads)


@inlined
def place_of(n, r, planes, steps, s, b):
    """Where the units of a row stand in the first plane of an array (R, planes, steps, B, H)."""
    return ((r * planes * steps + s) * n.batch + b) * n.hidden


@inlined
def kept_place(n, r, s, b):
    """Where a row of a step stands in the first plane of kept."""
    return ((r * n.kept * n.kept_steps + s + n.kept_steps - n.steps) * n.batch + b) * n.hidden


@inlined
def time_of(n, length, s):
    """The time that step s of this part reads, of a row of that length."""
    return length - 1 - n.first_step - s if n.reverse else n.first_step + s


@inlined
def row_at(n, replica, time, b):
    """The row of an outer array (R, T, B, ·) at a time; replica 0 for one that is shared."""
    return (replica * n.length + time) * n.batch + b


@inlined
def end_place(n, r, v, b):
    """Where a row of state v stands in the initial or final states of a stack."""
    return (((v * n.replicas + r) * n.passes + n.own) * n.batch + b) * n.hidden
