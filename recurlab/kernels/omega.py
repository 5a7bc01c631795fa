"""Pascanu's Ω of an Elman layer: how much one step back changes the norm of the gradient, and dΩ/dW_hh.

for a few steps at a time, from the last to the first:
    for each step:  d_h += dy;  d_a = d_h φ'(a);  d_h = d_a W_h;  each row's term and its derivative c
    of all of them: dW_h += (c d_a)ᵀ d_h  or  (c d_a)ᵀ (d_h φ'(a)²) of the step before
"""

import math
from functools import cache

from numba import prange

from recurlab.kernels import denormals
from recurlab.kernels.backward import add_output_gradient, backward_step
from recurlab.kernels.blocks import Sizes, copy_vectors
from recurlab.kernels.job import Matrix, job_of, kept_at, place, states_at, states_in, within
from recurlab.kernels.target import at, cached, call, inlined, load, store
from recurlab.maths import ZERO

SMALLEST = 1e-20  # terms with a smaller ‖d‖² do not count, as in the released code (its `bound`)


@inlined
def behind(matrix, offset):
    """The rows of a matrix `offset` numbers further on."""
    return Matrix(matrix.array, matrix.start + offset, matrix.block)


@inlined
def squared_norm(matrix, k, n, buffer):
    """‖row k‖²; the buffer takes one vector."""
    total = load(place(matrix, k * n.lanes), 0)
    total = total * total
    for j in range(1, n.blocks):
        vector = load(place(matrix, k * n.lanes + j * matrix.block), 0)
        total = total + vector * vector
    store(at(buffer.array, buffer.start), 0, total)
    norm = 0.0
    for lane in range(n.lanes):
        norm += buffer.array[buffer.start + lane]
    return norm


@inlined
def scale_row(matrix, k, n, factor):
    """Row k times a factor; a factor of 0 makes it 0 whatever it holds."""
    for j in range(n.blocks):
        to = place(matrix, k * n.lanes + j * matrix.block)
        if factor == 0:
            store(to, 0, ZERO)
        else:
            store(to, 0, load(to, 0) * factor)


@inlined
def add_outer_products(job, left, right, rows, out):
    """out += leftᵀ right, out [blocks][blocks·W][W] of the unit."""
    n = job.n
    plane = n.blocks * n.lanes * n.lanes
    to = at(out, job.unit * n.blocks * plane)
    steps = (rows, left.block, right.block, n.lanes, plane, plane, 1, n.hidden, n.blocks, n.lanes)
    call(job.code.columns, (place(left, 0), place(right, 0), to, to, *steps))


@inlined
def through_activation(job, s, d_h, d_a):
    """d_a = d_h φ'(a) of step s; d_h is used up."""
    n, none = job.n, at(job.weights.vectors, 0)
    kept, old, new = kept_at(job, s), states_at(job, s), states_at(job, s + 1)
    places = (place(kept, 0), place(old, 0), place(new, 0), none, place(d_h, 0), place(d_a, 0), none)
    steps = (kept.block, old.block, new.block, d_h.block, d_a.block, n.blocks, n.rows, n.lanes)
    call(job.code.pointwise, (*places, *steps))


@inlined
def term_of_squares(before, after):
    """(r - 1)², r = after / before the squared norms, and its derivative by W_h as a factor of an outer product."""
    ratio = after / before
    return (ratio - 1) * (ratio - 1), 4 * (ratio - 1) / before


@inlined
def term_of_norms(before, after):
    """(q - 1)², q = √(after / before), likewise; where nothing comes through, q has no derivative and 0 is taken."""
    ratio = math.sqrt(after / before)
    return (ratio - 1) * (ratio - 1), 2 * (ratio - 1) / math.sqrt(after * before) if after > 0 else 0.0


@inlined
def squared_norms(matrix, n, buffer, norms):
    """‖row‖² of every row."""
    for b in range(n.rows):
        norms[b] = squared_norm(matrix, b, n, buffer)


@inlined
def terms_of_step(job, s, squares, d_a, norms, after, buffer):
    """Sum and number of the terms of a step, norms ‖·‖² before the step back; the rows of d_a times their factors."""
    n, total, count = job.n, 0.0, 0
    for b in range(n.rows):
        factor = 0.0
        if within(job, b, s) and norms[b] >= SMALLEST:
            reach = squared_norm(after, b, n, buffer)
            term, factor = term_of_squares(norms[b], reach) if squares else term_of_norms(norms[b], reach)
            total, count = total + term, count + 1
        scale_row(d_a, b, n, factor)
    return total, count


@inlined
def omega_step(job, s, squares, d_state, d_a, right, spare, buffer, norms):
    """One step back: d_a and `right`, whose outer products are the derivative; sum and number of the terms."""
    n, blocks = job.n, job.n.blocks
    if job.seq.y.size:
        add_output_gradient(job, s, d_state)
    if squares:
        squared_norms(d_state, n, buffer, norms)
    backward_step(job, s, d_state, d_state, d_a, job.weights.vectors, 0)
    copy_vectors(right.array, right.start, right.block, job.work, d_state.start, d_state.block, blocks, n.rows, n.lanes)
    if squares:
        return terms_of_step(job, s, True, d_a, norms, right, buffer)
    squared_norms(d_a, n, buffer, norms)
    through_activation(job, s - 1, right, spare)
    total, count = terms_of_step(job, s, False, d_a, norms, spare, buffer)
    through_activation(job, s - 1, spare, right)
    return total, count


@inlined
def omega_unit(job, squares, d_final, start, norms, out):
    """All steps of a unit back; with `squares` the terms of ‖dE/dh‖², else of ‖dE/da‖, which need a step before."""
    n, total, count = job.n, 0.0, 0
    row, first = n.rows * n.lanes, 0 if squares else 1
    buffer, d_state = Matrix(job.work, start, n.lanes), Matrix(job.work, start + n.lanes, row)
    spare = Matrix(job.work, d_state.start + n.blocks * row, row)
    free = spare.start + n.blocks * row
    states_in(job, d_final, d_state)
    for k in range((n.steps - first + n.back_chunk - 1) // n.back_chunk - 1, -1, -1):
        done = first + k * n.back_chunk
        steps = min(n.back_chunk, n.steps - done)
        left, right = Matrix(job.work, free, steps * row), Matrix(job.work, free + n.blocks * steps * row, steps * row)
        for s in range(steps - 1, -1, -1):
            d_a, y = behind(left, s * row), behind(right, s * row)
            more, terms = omega_step(job, done + s, squares, d_state, d_a, y, spare, buffer, norms)
            total, count = total + more, count + terms
        add_outer_products(job, left, right, steps * n.rows, out)
    return total, count


def _omega(n, code, seq, weights, kept, states, work, d_final, norms, out, sums, squares, threads, flushing):
    """Sum and number of the terms of every unit, sums (2, U), and the derivative of that sum in out (zeros before)."""
    for t in prange(threads):
        before = flush(flushing)  # noqa: F821 - bound in `compiled`
        for unit in range(t, n.replicas * n.slices, threads):
            job = job_of(n, code, seq, work, weights, kept, states, work, unit)  # no zoneout: any array for its shares
            start = t * (work.size // threads)
            sums[0, unit], sums[1, unit] = omega_unit(job, squares, d_final, start, norms[t], out)
        restore(before)  # noqa: F821


def working_numbers(n: Sizes) -> int:
    """Numbers of working memory for a thread."""
    return n.lanes + 2 * n.blocks * (1 + min(n.back_chunk, n.steps)) * n.rows * n.lanes


@cache
def compiled():
    """The driver, compiled."""
    return cached(_omega, parallel=True, flush=inlined(denormals.flush), restore=inlined(denormals.restore))
