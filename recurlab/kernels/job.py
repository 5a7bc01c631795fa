"""What a pass works on, and the parts that forward and backward share: rows in and out of blocks, products by address.

Layouts are those of `blocks`. A step s runs in the direction of the layer: for a reversed layer step s of row b reads
time lengths[b]-1-s. Steps at or beyond a row's length change nothing.
"""

from typing import NamedTuple

import numpy as np

from recurlab.kernels.blocks import Sizes, add_from_row, clear_vectors, copy_vectors, put_row, take_row
from recurlab.kernels.target import at, inlined


class Code(NamedTuple):
    """Addresses of what a pass calls (functions where nothing is compiled)."""

    rows: object  # product by rows
    columns: object  # product by columns
    pointwise: object
    operand: object  # used with a second product only
    norm: object  # used with layer normalisation only
    zone: object  # with zoneout only: mix going ahead, unmix going back
    join: object  # with zoneout only, going back


class Weights(NamedTuple):
    """The weights of a pass in the layouts of `blocks`, flat; vectors are empty for a cell without."""

    W_x: np.ndarray
    W_h: np.ndarray
    V_x: np.ndarray
    V_h: np.ndarray
    bias: np.ndarray
    vectors: np.ndarray


class Sequence(NamedTuple):
    """The outer arrays of a pass, flat; a direction's columns of y start at `column` of `width`."""

    x: np.ndarray  # (R or 1, T, B, I)
    x_replicas: int  # R or 1
    lengths: np.ndarray  # (slices · rows,), 0 for rows that only fill up
    shortest: int  # of all of them
    reverse: bool
    y: np.ndarray  # (R, T, B, D·H), empty if not wanted; in a backward pass dy, empty for zeros
    column: int
    width: int


class Job(NamedTuple):
    """All that a unit of a pass works on, arrays flat."""

    n: Sizes
    code: Code
    seq: Sequence
    shares: np.ndarray  # (S, R, T, B, H), the k of zoneout; empty without
    weights: Weights
    kept: np.ndarray
    states: np.ndarray
    work: np.ndarray
    unit: int
    replica: int
    row: int  # of the batch, the unit's first


class Matrix(NamedTuple):
    """Rows in blocks of W columns: where the first stands in an array, and how far the next block is."""

    array: np.ndarray
    start: int
    block: int


@inlined
def job_of(n, code, seq, shares, weights, kept, states, work, unit):
    """The job of a unit. A parallel loop takes no tuple of tuples from outside, so it is put together inside."""
    return Job(n, code, seq, shares, weights, kept, states, work, unit, unit // n.slices, unit % n.slices * n.rows)


@inlined
def place(matrix, offset):
    """The place `offset` numbers behind a matrix's first."""
    return at(matrix.array, matrix.start + offset)


@inlined
def states_at(job, step):
    """The states of a unit after some steps."""
    n = job.n
    block = (n.steps + 1) * n.rows * n.lanes
    return Matrix(job.states, job.unit * n.states * n.blocks * block + step * n.rows * n.lanes, block)


@inlined
def kept_at(job, step):
    """What is kept of a step of a unit."""
    n = job.n
    return Matrix(job.kept, job.unit * n.kept_unit + n.kept_first + step * n.rows * n.lanes, n.kept_block)


@inlined
def normalisation_at(job, step):
    """The centred planes of a step of a unit, and where gains, biases and ones stand in an array of vectors."""
    n, kept = job.n, kept_at(job, step)
    planes = n.gates + n.separate
    centred = Matrix(job.kept, kept.start + (n.kept - planes) * n.blocks * kept.block, kept.block)
    return centred, (n.vectors - 2 * planes - 1) * n.blocks * n.lanes


@inlined
def time_of(s, length, reverse):
    """The time that step s of a row reads: its own end comes first when the layer runs backwards."""
    return length - 1 - s if reverse else s


@inlined
def run_end(job, b, s):
    """The end of the run of rows, from b on, that at step s are all within their length, or all beyond it."""
    rows, first = job.n.rows, job.row
    if s < job.seq.shortest:
        return rows
    lengths = job.seq.lengths
    there = s < lengths[first + b]
    while b < rows and (s < lengths[first + b]) == there:
        b += 1
    return b


@inlined
def within(job, b, s):
    """Whether step s of a unit's row b is within its length."""
    return s < job.seq.lengths[job.row + b]


@inlined
def outer_row(job, b, s, replicas):
    """The row of an outer array (replicas, T, B, ·) that step s of a unit's row b reads or writes."""
    row, time = job.row + b, time_of(s, job.seq.lengths[job.row + b], job.seq.reverse)
    replica = job.replica if replicas > 1 else 0
    return (replica * job.n.length + time) * job.n.batch + row


@inlined
def gather_inputs(job, done, steps, out):
    """x of some steps of a unit as rows of a matrix, zeros beyond a row's length."""
    n, seq = job.n, job.seq
    for s in range(steps):
        now = n.first_step + done + s
        for b in range(n.rows):
            to = out.start + (s * n.rows + b) * n.lanes
            if within(job, b, now):
                source = outer_row(job, b, now, seq.x_replicas) * n.inputs
                put_row(out.array, to, out.block, seq.x, source, n.inputs, n.lanes)
            else:
                clear_vectors(out.array, to, out.block, n.in_blocks, 1, n.lanes)


@inlined
def gather_shares(job, s, b, rows, out):
    """The k of zoneout of some rows, from b on, of a step as rows of a matrix like the states."""
    n = job.n
    for v in range(n.states):
        first = v * n.replicas * n.length * n.batch
        for i in range(b, b + rows):
            source = (first + outer_row(job, i, n.first_step + s, n.replicas)) * n.hidden
            to = out.start + v * n.blocks * out.block + i * n.lanes
            put_row(out.array, to, out.block, job.shares, source, n.hidden, n.lanes)


@inlined
def states_in(job, outer, to):
    """The states (R, S, B, H) of a unit's rows as rows of a matrix, zeros in rows that only fill up."""
    n = job.n
    row = job.row
    for s in range(n.states):
        source = (job.replica * n.states + s) * n.batch + row
        for b in range(n.rows):
            first = to.start + s * n.blocks * to.block + b * n.lanes
            if row + b < n.batch:
                put_row(to.array, first, to.block, outer, (source + b) * n.hidden, n.hidden, n.lanes)
            else:
                clear_vectors(to.array, first, to.block, n.blocks, 1, n.lanes)


@inlined
def states_out(job, since, outer):
    """The other way round."""
    n = job.n
    row = job.row
    for s in range(n.states):
        to = (job.replica * n.states + s) * n.batch + row
        for b in range(min(n.rows, n.batch - row)):
            first = since.start + s * n.blocks * since.block + b * n.lanes
            take_row(outer, (to + b) * n.hidden, since.array, first, since.block, n.hidden, n.lanes)


@inlined
def gather_left(job, since, done, steps, out):
    """Rows of some steps of a history as rows of a matrix, with zeros where a row is beyond its length.

    Their d_a is zero, but zero times the inf of a diverged row is not.
    """
    n = job.n
    for s in range(steps):
        for b in range(n.rows):
            row = (s * n.rows + b) * n.lanes
            if within(job, b, n.first_step + done + s):
                first = since.start + row
                copy_vectors(
                    out.array, out.start + row, out.block, since.array, first, since.block, n.blocks, 1, n.lanes
                )
            else:
                clear_vectors(out.array, out.start + row, out.block, n.blocks, 1, n.lanes)


@inlined
def add_input_rows(job, done, steps, since, d_x, replicas):
    """Add the rows of a matrix to those of dL/dx that some steps read."""
    n = job.n
    for s in range(steps):
        now = n.first_step + done + s
        for b in range(n.rows):
            if within(job, b, now):
                to = outer_row(job, b, now, replicas) * n.inputs
                first = since.start + (s * n.rows + b) * n.lanes
                add_from_row(d_x, to, since.array, first, since.block, n.inputs, n.lanes)
