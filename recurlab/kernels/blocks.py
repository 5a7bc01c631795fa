"""The layout of every array in the kernels, and the ways into it and back.

Axes: R replica, T time, B batch, I input, H hidden, G gates, S states, V vectors; U unit of work. All arrays stand in
blocks of W columns, W the lanes of a vector: an array of n rows and c columns is [c / W][n][W], the last block filled
up. `rows` counts the batch rows of a unit, blocks = ⌈H/W⌉, in_blocks = ⌈I/W⌉.

A unit is one replica and one slice of the batch; it runs on one core from the first step to the last. How many slices
there are depends on the shapes alone, and their weight gradients are summed in order: the bits of a result depend
neither on the number of threads nor on the other replicas.

    kept     [U][K][blocks][T·rows][W]        what the backward pass needs of every step
    states   [U][S][blocks][(T+1)·rows][W]    first the initial state; row s·rows + b is batch row b after s steps

A cell's pre-activations, and their gradients, stand in planes [plane][blocks][steps·rows][W] for some steps. The input
parts of separate gates come first, then the other gates, then the recurrent parts of separate gates: so both the planes
that W_ih writes and those that W_hh writes are neighbours, each as many as there are gates.

    V_x      [R][in_blocks][G·blocks·W][W]    W_ih in the order of the input planes: the right side of d_a W_ih
    V_h      [R][blocks][G·blocks·W][W]       W_hh in the order of the recurrent planes
    W_x      [R][G·blocks][in_blocks·W][W]    W_ihᵀ in squares of W × W turned over: the right side of x W_ihᵀ
    W_h      [R][G·blocks][blocks·W][W]       W_hhᵀ likewise
    bias     [R][planes][blocks][W]           vectors [R][V][blocks][W]

V_h and W_h are empty for a cell without a recurrent matrix. With layer normalisation the products start from a bias of
zeros, and what `norm` needs stands behind a cell's own: centred planes in kept; gains, biases and ones in vectors.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.kernels import memory
from recurlab.kernels.target import at, inlined, lanes, load, store
from recurlab.maths import ZERO

MOST_SLICES = 8
SMALL_WEIGHTS = 2**17  # numbers in W_hh; 0.5 MB in float32: beside all else they fit the L2 cache of a core
ROWS_OF_SMALL, ROWS_OF_LARGE = 12, 24  # rows of a slice: full tiles; more for weights that come from further away
CHUNK_NUMBERS = 2**16  # pre-activations of a chunk of steps on their way through the cache
CHUNK_ROWS = 384  # rows of d_a that one product adds to the weight gradients; 256 takes 2 % longer at H = 200


class Planes(NamedTuple):
    """Where the gates of a cell stand in memory."""

    gates: np.ndarray  # (2, G): the gate of each input plane, and of each recurrent plane
    order: tuple[int, ...]  # the plane of each pre-activation, as the cell counts them


@cache
def planes_of(cell: Cell) -> Planes:
    """The planes of a cell; a gate with a second product comes last of all."""
    apart = [cell.gates.index(gate) for gate in cell.separate]
    plain = [g for g in range(len(cell.gates)) if g not in apart]
    plain.sort(key=lambda g: cell.gates[g] == cell.second_product)
    places = [*apart, *plain, *(len(cell.gates) + k for k in range(len(apart)))]
    gates = np.array([[*apart, *plain], [*plain, *apart]])
    return Planes(gates, tuple(places.index(a) for a in range(len(places))))


class Sizes(NamedTuple):
    """All sizes of a pass; axes as above."""

    lanes: int
    replicas: int
    slices: int
    rows: int
    batch: int
    steps: int  # of this part of a sequence
    first_step: int  # of this part
    length: int  # of the whole sequence, T
    inputs: int
    hidden: int
    blocks: int
    in_blocks: int
    gates: int
    separate: int
    recurrent: int  # columns of W_hh: H, or 0 for a cell without
    second: int  # 1 if a gate has a second product
    states: int
    vectors: int  # a cell's own, and 2 · planes + 1 with layer normalisation
    kept: int  # a cell's own, and all planes with layer normalisation
    norm: int  # 1 with layer normalisation
    zoned: int  # 1 with zoneout
    kept_is_state: int  # 1 if a cell keeps just its new state: then `states` serves as kept, one step later
    kept_unit: int  # numbers of a unit in kept; where its first row stands; numbers of a block
    kept_first: int
    kept_block: int
    chunk: int  # steps that the forward pass takes together
    back_chunk: int  # steps whose d_a the backward pass holds

    @property
    def units(self) -> int:
        """Replicas times slices."""
        return self.replicas * self.slices

    @property
    def planes(self) -> int:
        """Pre-activations of a unit."""
        return self.gates + self.separate


def slices_of(batch: int, hidden: int, gates: int) -> int:
    """Into how many slices a batch goes: a power of two that leaves the tiles of each slice full.

    Two slices from four rows each: a tile of four rows runs at 0.85 of the full speed, but on two cores.
    """
    least = ROWS_OF_SMALL if gates * hidden * hidden <= SMALL_WEIGHTS else ROWS_OF_LARGE
    slices = 2 if batch >= 8 else 1
    while 2 * slices <= MOST_SLICES and batch >= 2 * slices * least:
        slices *= 2
    return slices


def sizes_of(
    cell: Cell, dtype, replicas: int, batch: int, steps: int, inputs: int, hidden: int, zoned: bool = False
) -> Sizes:
    """The sizes of a pass over a whole sequence."""
    width, gates = lanes(dtype), len(cell.gates)
    slices = slices_of(batch, hidden, gates)
    rows, blocks = -(-batch // slices), -(-hidden // width)
    planes = gates + len(cell.separate)
    whole = Sizes(
        lanes=width,
        replicas=replicas,
        slices=slices,
        rows=rows,
        batch=batch,
        steps=steps,
        first_step=0,
        length=steps,
        inputs=inputs,
        hidden=hidden,
        blocks=blocks,
        in_blocks=-(-inputs // width),
        gates=gates,
        separate=len(cell.separate),
        recurrent=hidden if cell.recurrent_matrix else 0,
        second=int(cell.second_product is not None),
        states=len(cell.states),
        vectors=len(cell.vectors) + (2 * planes + 1) * cell.norm,
        kept=len(cell.kept) + planes * cell.norm,
        norm=int(cell.norm),
        zoned=int(zoned),
        kept_is_state=int(cell.kept == cell.states and not cell.norm and not zoned),
        kept_unit=0,
        kept_first=0,
        kept_block=0,
        chunk=max(1, CHUNK_NUMBERS // (planes * blocks * width * rows)),
        back_chunk=max(1, CHUNK_ROWS // rows),
    )
    return part_of(whole, 0, steps)


def part_of(n: Sizes, first: int, steps: int) -> Sizes:
    """The sizes of some steps of a sequence."""
    row = n.rows * n.lanes
    block = (steps + n.kept_is_state) * row
    return n._replace(
        steps=steps,
        first_step=first,
        kept_unit=n.kept * n.blocks * block,
        kept_first=n.kept_is_state * row,
        kept_block=block,
    )


def empty_states(n: Sizes, dtype) -> np.ndarray:
    """Room for the states of all steps."""
    return memory.empty((n.units, n.states, n.blocks, (n.steps + 1) * n.rows, n.lanes), dtype)


def empty_kept(n: Sizes, states: np.ndarray) -> np.ndarray:
    """Room for what the backward pass needs of every step: the states themselves where a cell keeps just those."""
    if n.kept_is_state:
        return states
    return memory.empty((n.units, n.kept, n.blocks, n.steps * n.rows, n.lanes), states.dtype)


def from_blocks(array: np.ndarray, n: Sizes) -> np.ndarray:
    """[U][X][blocks][T·rows][W] -> (R, X, T, B, H)."""
    values, steps = array.shape[1], array.shape[3] // n.rows
    apart = array.reshape(n.replicas, n.slices, values, n.blocks, steps, n.rows, n.lanes)
    filled = apart.transpose(0, 2, 4, 1, 5, 3, 6).reshape(n.replicas, values, steps, -1, n.blocks * n.lanes)
    return np.ascontiguousarray(filled[:, :, :, : n.batch, : n.hidden])


def to_blocks(array: np.ndarray, n: Sizes) -> np.ndarray:
    """(R, X, T, B, H) -> [U][X][blocks][T·rows][W], with zeros in what fills up."""
    replicas, values, steps = array.shape[:3]
    filled = np.zeros((replicas, values, steps, n.slices * n.rows, n.blocks * n.lanes), array.dtype)
    filled[:, :, :, : n.batch, : n.hidden] = array
    apart = filled.reshape(replicas, values, steps, n.slices, n.rows, n.blocks, n.lanes).transpose(0, 3, 1, 5, 2, 4, 6)
    return np.ascontiguousarray(apart).reshape(n.units, values, n.blocks, steps * n.rows, n.lanes)


@inlined
def put_row(out, first, block, source, start, count, width):
    """Put `count` numbers of source from `start` on into one row of blocks, filled up with zeros."""
    whole = count // width
    for j in range(whole):
        store(at(out, first + j * block), 0, load(at(source, start + j * width), 0))
    if whole * width < count:
        store(at(out, first + whole * block), 0, ZERO)
        for i in range(whole * width, count):
            out[first + whole * (block - width) + i] = source[start + i]


@inlined
def take_row(out, start, source, first, block, count, width):
    """Take `count` numbers out of one row of blocks."""
    whole = count // width
    for j in range(whole):
        store(at(out, start + j * width), 0, load(at(source, first + j * block), 0))
    for i in range(whole * width, count):
        out[start + i] = source[first + whole * (block - width) + i]


@inlined
def add_to_row(out, first, block, source, start, count, width):
    """Add `count` numbers of source to one row of blocks."""
    whole = count // width
    for j in range(whole):
        place = at(out, first + j * block)
        store(place, 0, load(place, 0) + load(at(source, start + j * width), 0))
    for i in range(whole * width, count):
        out[first + whole * (block - width) + i] += source[start + i]


@inlined
def add_from_row(out, start, source, first, block, count, width):
    """Add `count` numbers of one row of blocks to out."""
    whole = count // width
    for j in range(whole):
        place = at(out, start + j * width)
        store(place, 0, load(place, 0) + load(at(source, first + j * block), 0))
    for i in range(whole * width, count):
        out[start + i] += source[first + whole * (block - width) + i]


@inlined
def copy_vectors(out, first, block, source, start, source_block, blocks, count, width):
    """Copy `count` vectors of every block."""
    for j in range(blocks):
        to, since = at(out, first + j * block), at(source, start + j * source_block)
        for k in range(0, count * width, width):
            store(to, k, load(since, k))


@inlined
def clear_vectors(out, first, block, blocks, count, width):
    """Zeros in `count` vectors of every block."""
    for j in range(blocks):
        place = at(out, first + j * block)
        for k in range(0, count * width, width):
            store(place, k, ZERO)
