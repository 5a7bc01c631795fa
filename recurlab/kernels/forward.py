"""The forward pass of a layer in one direction.

for a few steps at a time:      a = bias + x W_xᵀ of all of them
    for each step:              a += h W_hᵀ;  a = its norm, if any;  kept, state = the cell;  zoneout, if any;  y = h
"""

from functools import cache

from numba import prange

from recurlab.kernels import denormals
from recurlab.kernels.blocks import Sizes, copy_vectors, take_row
from recurlab.kernels.job import (
    Matrix,
    gather_inputs,
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
from recurlab.kernels.target import at, cached, call, inlined


@inlined
def input_product(job, steps, inputs, a):
    """a = bias + x W_xᵀ in the input planes of some steps."""
    n, r = job.n, job.replica
    depth = n.in_blocks * n.lanes * n.lanes
    bias = at(job.weights.bias, r * (n.gates + n.separate) * n.blocks * n.lanes)
    right = at(job.weights.W_x, r * n.gates * n.blocks * depth)
    places = (place(inputs, 0), right, bias, place(a, 0))
    rows, vectors = steps * n.rows, n.gates * n.blocks
    call(job.code.rows, (*places, 1, 0, 0, n.inputs, inputs.block, depth, 0, n.lanes, a.block, rows, vectors, n.lanes))


@inlined
def recurrent_product(job, left, first, gates, a, from_bias):
    """a += left W_hᵀ of one step in `gates` recurrent planes from `first` on; a = bias + left W_hᵀ `from_bias`."""
    n, r = job.n, job.replica
    depth = n.blocks * n.lanes * n.lanes
    plane = (n.separate + first) * n.blocks
    right = at(job.weights.W_h, (r * n.gates + first) * n.blocks * depth)
    out = place(a, plane * a.block)
    bias = at(job.weights.bias, (r * (n.gates + n.separate) * n.blocks + plane) * n.lanes)
    init = bias if from_bias else out
    row, step = (0, n.lanes) if from_bias else (n.lanes, a.block)
    places = (place(left, 0), right, init, out)
    vectors = gates * n.blocks
    call(job.code.rows, (*places, 1, 0, 0, n.hidden, left.block, depth, row, step, a.block, n.rows, vectors, n.lanes))


@inlined
def forward_products(job, s, a, operand):
    """a of one step, complete."""
    n = job.n
    h = states_at(job, s)
    plain = n.gates - n.separate - n.second
    recurrent_product(job, h, 0, plain, a, False)
    if n.separate:
        recurrent_product(job, h, plain, n.separate, a, True)
    if n.second:
        places = (place(a, 0), place(h, 0), place(operand, 0))
        call(job.code.operand, (*places, a.block, h.block, operand.block, n.blocks, n.rows, n.lanes))
        recurrent_product(job, operand, plain, 1, a, False)


@inlined
def forward_pointwise(job, s, b, rows, a):
    """The cell on some rows, from b on, of one step."""
    n, skip = job.n, b * job.n.lanes
    kept, old, new = kept_at(job, s), states_at(job, s), states_at(job, s + 1)
    vectors = at(job.weights.vectors, job.replica * n.vectors * n.blocks * n.lanes)
    places = (place(a, skip), place(kept, skip), place(old, skip), place(new, skip), vectors)
    call(job.code.pointwise, (*places, a.block, kept.block, old.block, n.blocks, rows, n.lanes))


@inlined
def normalise(job, s, b, rows, a):
    """Some rows of a, from b on, of one step."""
    n, skip = job.n, b * job.n.lanes
    centred, own = normalisation_at(job, s)
    vectors = at(job.weights.vectors, job.replica * n.vectors * n.blocks * n.lanes + own)
    places = (place(a, skip), place(centred, skip), vectors)
    call(job.code.norm, (*places, a.block, centred.block, n.gates + n.separate, n.blocks, rows, n.lanes))


@inlined
def mix(job, s, b, rows, free):
    """Zoneout of some rows, from b on, of one step; its k go to job.work from `free` on."""
    n, skip, old, new = job.n, b * job.n.lanes, states_at(job, s), states_at(job, s + 1)
    shares = Matrix(job.work, free, n.rows * n.lanes)
    gather_shares(job, s, b, rows, shares)
    places = (place(shares, skip), place(old, skip), place(new, skip))
    call(job.code.zone, (*places, shares.block, new.block, n.states * n.blocks, rows, n.lanes))


@inlined
def pass_through(job, s, b, rows):
    """The states of some rows beyond their length, from b on, of one step."""
    n, skip, old, new = job.n, b * job.n.lanes, states_at(job, s), states_at(job, s + 1)
    to, since, blocks = new.start + skip, old.start + skip, n.states * n.blocks
    copy_vectors(job.states, to, new.block, job.states, since, old.block, blocks, rows, n.lanes)


@inlined
def forward_step(job, s, a, operand, free):
    """One step, from the input part of a on."""
    n = job.n
    if n.recurrent:
        forward_products(job, s, a, operand)
    b = 0
    while b < n.rows:
        end = run_end(job, b, n.first_step + s)
        if within(job, b, n.first_step + s):
            if n.norm:
                normalise(job, s, b, end - b, a)
            forward_pointwise(job, s, b, end - b, a)
            if n.zoned:
                mix(job, s, b, end - b, free)
        else:
            pass_through(job, s, b, end - b)
        b = end


@inlined
def put_output(job, s):
    """h after step s into y, zeros beyond a row's length."""
    n, y, width, column, h = job.n, job.seq.y, job.seq.width, job.seq.column, states_at(job, s + 1)
    row, now = job.row, n.first_step + s
    for b in range(min(n.rows, n.batch - row)):
        if within(job, b, now):
            out = outer_row(job, b, now, n.replicas) * width + column
            take_row(y, out, job.states, h.start + b * n.lanes, h.block, n.hidden, n.lanes)
        else:
            out = ((job.replica * n.length + now) * n.batch + row + b) * width + column
            y[out : out + n.hidden] = 0


@inlined
def forward_unit(job, initial, final, start):
    """All steps of a unit; its part of job.work, from `start` on: a, x, a second product's operand, zoneout's k."""
    n = job.n
    row, most = n.rows * n.lanes, min(n.chunk, n.steps) * n.rows * n.lanes
    inputs = start + (n.gates + n.separate) * n.blocks * most
    operand = Matrix(job.work, inputs + n.in_blocks * most, row)
    free = operand.start + n.second * n.blocks * row
    states_in(job, initial, states_at(job, 0))
    for done in range(0, n.steps, n.chunk):
        steps = min(n.chunk, n.steps - done)
        x = Matrix(job.work, inputs, steps * row)
        gather_inputs(job, done, steps, x)
        input_product(job, steps, x, Matrix(job.work, start, steps * row))
        for s in range(steps):
            forward_step(job, done + s, Matrix(job.work, start + s * row, steps * row), operand, free)
            if job.seq.y.size:
                put_output(job, done + s)
    states_out(job, states_at(job, n.steps), final)


def _forward(n, code, seq, shares, weights, kept, states, work, initial, final, threads, flushing):
    """Run all steps of all units from the initial states (R, S, B, H): fills kept, states, y and the final states."""
    for t in prange(threads):
        before = flush(flushing)
        for unit in range(t, n.replicas * n.slices, threads):
            job = job_of(n, code, seq, shares, weights, kept, states, work, unit)
            forward_unit(job, initial, final, t * (work.size // threads))
        restore(before)


def working_numbers(n: Sizes) -> int:
    """Numbers of working memory for a thread."""
    rows, steps = n.rows * n.lanes, min(n.chunk, n.steps)
    alone = (n.second + n.zoned * n.states) * n.blocks * rows
    return ((n.gates + n.separate) * n.blocks + n.in_blocks) * steps * rows + alone


@cache
def compiled():
    """The driver, compiled."""
    return cached(_forward, parallel=True, flush=inlined(denormals.flush), restore=inlined(denormals.restore))
