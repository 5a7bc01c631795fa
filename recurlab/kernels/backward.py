"""Back-propagation through time of a layer in one direction.

for a few steps at a time, from the last to the first:
    for each step:  d_h += dy;  d_a, d_state = the cell's vector–Jacobian product, d_a back through its norm, if any;
                    d_h += d_a W_h
    of all of them: dx += d_a W_x;  dW_x += d_aᵀ x;  dW_h += d_aᵀ h;  db += Σ d_a
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import prange

from recurlab.kernels import denormals
from recurlab.kernels.blocks import Sizes, add_to_row, clear_vectors, copy_vectors
from recurlab.kernels.job import (
    Matrix,
    add_input_rows,
    gather_inputs,
    gather_left,
    gather_shares,
    job_of,
    kept_at,
    normalisation_at,
    outer_row,
    place,
    run_end,
    states_at,
    states_in,
    states_out,
    within,
)
from recurlab.kernels.target import at, cached, call, inlined, load, store


class Gradients(NamedTuple):
    """What a backward pass leaves, flat; the parts of the slices are still apart."""

    W_x: np.ndarray  # [U][in_blocks][G·blocks·W][W], empty if not wanted
    W_h: np.ndarray  # [U][blocks][G·blocks·W][W], empty if not wanted or without W_hh
    bias: np.ndarray  # [U][planes][blocks][W], zeros before
    vectors: np.ndarray  # [U][V][blocks][W], zeros before; with layer normalisation the biases' too
    x: np.ndarray  # (R, T, B, I), added to; empty if not wanted
    d_a: np.ndarray  # [U][planes][blocks][T·rows][W] with the whole history, else empty; before a norm, if any
    d_states: np.ndarray  # as states with the whole history, else empty


@inlined
def hidden_product(job, d_a, first, gates, out):
    """out += d_a W_h of one step, over `gates` recurrent planes from `first` on."""
    n = job.n
    plane = n.blocks * n.lanes * n.lanes
    right = at(job.weights.V_h, (job.replica * n.blocks * n.gates + first) * plane)
    places = (place(d_a, (n.separate + first) * n.blocks * d_a.block), right, place(out, 0), place(out, 0))
    groups = (gates, n.blocks * d_a.block, plane, n.hidden, d_a.block, n.gates * plane)
    call(job.code.rows, (*places, *groups, n.lanes, out.block, out.block, n.rows, n.blocks, n.lanes))


@inlined
def add_output_gradient(job, s, d_h):
    """d_h += dy of step s, rows beyond their length left out."""
    n, dy, width, column = job.n, job.seq.y, job.seq.width, job.seq.column
    now = n.first_step + s
    for b in range(n.rows):
        if within(job, b, now):
            source = outer_row(job, b, now, n.replicas) * width + column
            add_to_row(d_h.array, d_h.start + b * n.lanes, d_h.block, dy, source, n.hidden, n.lanes)


@inlined
def backward_pointwise(job, s, b, rows, new, d_state, d_a, d_vectors):
    """The cell's vector–Jacobian product on some rows, from b on, of one step; new is the state that the cell gave."""
    n, skip, own = job.n, b * job.n.lanes, job.n.vectors * job.n.blocks * job.n.lanes
    kept, old = kept_at(job, s), states_at(job, s)
    vectors, d_own = at(job.weights.vectors, job.replica * own), at(d_vectors, job.unit * own)
    places = (place(kept, skip), place(old, skip), place(new, skip), vectors, place(d_state, skip), place(d_a, skip))
    steps = (kept.block, old.block, new.block, d_state.block, d_a.block, n.blocks, rows, n.lanes)
    call(job.code.pointwise, (*places, d_own, *steps))


@inlined
def backward_zoned(job, s, b, rows, d_state, d_a, d_vectors, free):
    """The same with zoneout: what mixed the old state in on the way there goes past the cell on the way back.

    job.work holds k, the state that the cell gave, and what goes past it, from `free` on.
    """
    n, skip, row = job.n, b * job.n.lanes, job.n.rows * job.n.lanes
    size = n.states * n.blocks * row
    shares, new, rest = (
        Matrix(job.work, free, row),
        Matrix(job.work, free + size, row),
        at(job.work, free + 2 * size + skip),
    )
    gather_shares(job, s, b, rows, shares)
    kept, old = kept_at(job, s), states_at(job, s)
    places = (place(kept, skip), place(old, skip), place(shares, skip), place(d_state, skip), place(new, skip), rest)
    call(job.code.zone, (*places, kept.block, old.block, d_state.block, row, n.blocks, rows, n.lanes))
    backward_pointwise(job, s, b, rows, new, d_state, d_a, d_vectors)
    call(job.code.join, (rest, place(d_state, skip), row, d_state.block, n.states * n.blocks, rows, n.lanes))


@inlined
def normalise_backward(job, s, b, rows, d_a, d_vectors):
    """Some rows of d_a, from b on, of one step back through their norm."""
    n, skip, size = job.n, b * job.n.lanes, job.n.vectors * job.n.blocks * job.n.lanes
    centred, own = normalisation_at(job, s)
    vectors, d_own = at(job.weights.vectors, job.replica * size + own), at(d_vectors, job.unit * size + own)
    places = (place(d_a, skip), place(centred, skip), vectors, d_own)
    call(job.code.norm, (*places, d_a.block, centred.block, n.gates + n.separate, n.blocks, rows, n.lanes))


@inlined
def backward_operand(job, s, d_state, d_operand, d_a):
    """Back through the second product of one step: adds to d_a and to the gradient of the old state."""
    n = job.n
    clear_vectors(d_operand.array, d_operand.start, d_operand.block, n.blocks, n.rows, n.lanes)
    hidden_product(job, d_a, n.gates - 1, 1, d_operand)
    kept, old = kept_at(job, s), states_at(job, s)
    b = 0
    while b < n.rows:
        end, skip = run_end(job, b, n.first_step + s), b * n.lanes
        if within(job, b, n.first_step + s):
            places = (
                place(kept, skip),
                place(old, skip),
                place(d_operand, skip),
                place(d_state, skip),
                place(d_a, skip),
            )
            steps = (kept.block, old.block, d_operand.block, d_state.block, d_a.block)
            call(job.code.operand, (*places, *steps, n.blocks, end - b, n.lanes))
        b = end


@inlined
def backward_step(job, s, d_state, d_operand, d_a, d_vectors, free):
    """One step back: its d_a, and d_state from the new state to the old one."""
    n = job.n
    b = 0
    while b < n.rows:
        end = run_end(job, b, n.first_step + s)
        if within(job, b, n.first_step + s):
            if n.zoned:
                backward_zoned(job, s, b, end - b, d_state, d_a, d_vectors, free)
            else:
                backward_pointwise(job, s, b, end - b, states_at(job, s + 1), d_state, d_a, d_vectors)
            if n.norm:
                normalise_backward(job, s, b, end - b, d_a, d_vectors)
        else:
            planes = (n.gates + n.separate) * n.blocks
            clear_vectors(d_a.array, d_a.start + b * n.lanes, d_a.block, planes, end - b, n.lanes)
        b = end
    if n.second:
        backward_operand(job, s, d_state, d_operand, d_a)
    if n.recurrent:
        hidden_product(job, d_a, 0, n.gates - n.second, d_state)


@inlined
def column_product(job, d_a, first, gates, right, columns, rows, out, start, fresh):
    """out (+)= d_aᵀ right over `rows` rows: gradients of `gates` planes from `first` on, out as in Gradients.

    With `fresh`, out is written and not added to: the sums start from the zeros at the front of job.work.
    """
    n = job.n
    plane = n.blocks * n.lanes * n.lanes
    to = at(out, start + first * plane)
    places = (place(d_a, first * n.blocks * d_a.block), place(right, 0), at(job.work, 0) if fresh else to, to)
    row, step = (0, 0) if fresh else (n.lanes, n.gates * plane)
    steps = (rows, d_a.block, right.block, row, step, n.gates * plane, gates, n.hidden, columns, n.lanes)
    call(job.code.columns, (*places, *steps))


@inlined
def recurrent_gradient(job, done, steps, d_a, lefts, out, fresh):
    """dW_h of some steps; d_a stands at its recurrent planes."""
    n, rows = job.n, steps * job.n.rows
    h, start = states_at(job, done), job.unit * n.blocks * n.gates * n.blocks * n.lanes * n.lanes
    if n.first_step + done + steps > job.seq.shortest:
        gather_left(job, h, done, steps, lefts)
        h = lefts
    column_product(job, d_a, 0, n.gates - n.second, h, n.blocks, rows, out, start, fresh)
    if n.second:
        kept = kept_at(job, done)
        last = Matrix(job.kept, kept.start + n.kept_unit - n.blocks * n.kept_block - n.kept_first, kept.block)
        gather_left(job, last, done, steps, lefts)
        column_product(job, d_a, n.gates - 1, 1, lefts, n.blocks, rows, out, start, fresh)


@inlined
def bias_gradient(job, rows, d_a, out):
    """db += Σ d_a over rows: four sums side by side, for one alone waits for every addition."""
    n = job.n
    planes, last = (n.gates + n.separate) * n.blocks, rows // 4 * 4
    for j in range(planes):
        to, source = at(out, (job.unit * planes + j) * n.lanes), place(d_a, j * d_a.block)
        a = load(to, 0)
        b = c = d = load(at(job.work, 0), 0)  # zeros
        for row in range(0, last * n.lanes, 4 * n.lanes):
            a = a + load(source, row)
            b = b + load(source, row + n.lanes)
            c = c + load(source, row + 2 * n.lanes)
            d = d + load(source, row + 3 * n.lanes)
        for row in range(last * n.lanes, rows * n.lanes, n.lanes):
            a = a + load(source, row)
        store(to, 0, (a + b) + (c + d))


@inlined
def input_gradient(job, done, steps, d_a, work, d_x):
    """dx += d_a W_x of some steps."""
    n, plane = job.n, job.n.blocks * job.n.lanes * job.n.lanes
    clear_vectors(work.array, work.start, work.block, n.in_blocks, steps * n.rows, n.lanes)
    right = at(job.weights.V_x, job.replica * n.in_blocks * n.gates * plane)
    places = (place(d_a, 0), right, place(work, 0), place(work, 0))
    groups = (n.gates, n.blocks * d_a.block, plane, n.hidden, d_a.block, n.gates * plane)
    sizes = (steps * n.rows, n.in_blocks, n.lanes)
    call(job.code.rows, (*places, *groups, n.lanes, work.block, work.block, *sizes))
    add_input_rows(job, done, steps, work, d_x, n.replicas)


@inlined
def gradients_of_chunk(job, done, steps, d_a, start, grads):
    """What some steps add to the gradients of weights and inputs; `start` is free memory in job.work."""
    n, rows = job.n, steps * job.n.rows
    fresh, block = n.first_step + done + steps == n.length, rows * n.lanes
    lefts = Matrix(job.work, start, block)
    x = Matrix(job.work, start + n.blocks * block, block)
    if n.recurrent and grads.W_h.size:
        recurrent = Matrix(d_a.array, d_a.start + n.separate * n.blocks * block, block)
        recurrent_gradient(job, done, steps, recurrent, lefts, grads.W_h, fresh)
    if grads.W_x.size:
        gather_inputs(job, done, steps, x)
        first = job.unit * n.in_blocks * n.gates * n.blocks * n.lanes * n.lanes
        column_product(job, d_a, 0, n.gates, x, n.in_blocks, rows, grads.W_x, first, fresh)
        if not n.norm:
            bias_gradient(job, rows, d_a, grads.bias)
    if grads.x.size:
        input_gradient(job, done, steps, d_a, x, grads.x)


@inlined
def record(job, step, d_state, out):
    """d_state into a history like the states."""
    if out.size:
        n, to = job.n, states_at(job, step)
        blocks = n.states * n.blocks
        copy_vectors(out, to.start, to.block, d_state.array, d_state.start, d_state.block, blocks, n.rows, n.lanes)


@inlined
def backward_unit(job, d_final, d_initial, grads, start):
    """All steps of a unit; its part of job.work, from `start` on: d_state, d_operand, zoneout's, h, x, d_a."""
    n = job.n
    row, most = n.rows * n.lanes, min(n.back_chunk, n.steps) * n.rows * n.lanes
    planes = (n.gates + n.separate) * n.blocks
    d_state = Matrix(job.work, start, row)
    d_operand = Matrix(job.work, start + n.states * n.blocks * row, row)
    zone = d_operand.start + n.second * n.blocks * row
    free = zone + 3 * n.zoned * n.states * n.blocks * row
    whole = grads.d_a.size > 0
    array, first = (
        (grads.d_a, job.unit * planes * most) if whole else (job.work, free + (n.blocks + n.in_blocks) * most)
    )
    states_in(job, d_final, d_state)
    for k in range((n.steps + n.back_chunk - 1) // n.back_chunk - 1, -1, -1):
        done = k * n.back_chunk
        steps = min(n.back_chunk, n.steps - done)
        for s in range(steps - 1, -1, -1):
            if job.seq.y.size:
                add_output_gradient(job, done + s, d_state)
            record(job, done + s + 1, d_state, grads.d_states)
            d_a = Matrix(array, first + s * row, steps * row)
            backward_step(job, done + s, d_state, d_operand, d_a, grads.vectors, zone)
        gradients_of_chunk(job, done, steps, Matrix(array, first, steps * row), free, grads)
    record(job, 0, d_state, grads.d_states)
    states_out(job, d_state, d_initial)


def _backward(n, code, seq, shares, weights, kept, states, work, d_final, d_initial, grads, threads, flushing):
    """All steps of all units backwards from dL/dfinal states (R, S, B, H), all arrays flat."""
    clear_vectors(work, 0, 0, 1, 1, n.lanes)
    for t in prange(threads):
        before = flush(flushing)
        for unit in range(t, n.replicas * n.slices, threads):
            job = job_of(n, code, seq, shares, weights, kept, states, work, unit)
            backward_unit(job, d_final, d_initial, grads, n.lanes + t * ((work.size - n.lanes) // threads))
        restore(before)


def working_numbers(n: Sizes, whole_history: bool) -> int:
    """Numbers of working memory for a thread, beside one vector of zeros for all."""
    rows, steps = n.rows * n.lanes, min(n.back_chunk, n.steps)
    d_a = 0 if whole_history else (n.gates + n.separate) * n.blocks
    alone = n.states + n.second + 3 * n.zoned * n.states
    return alone * n.blocks * rows + (n.blocks + n.in_blocks + d_a) * steps * rows


@cache
def compiled():
    """The driver, compiled."""
    return cached(_backward, parallel=True, flush=inlined(denormals.flush), restore=inlined(denormals.restore))
