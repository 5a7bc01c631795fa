"""A layer in one direction with its weights on the chip: read once, then used from the first step to the last.

What is computed is said in `forward` and `backward`, where everything lies in `residence`. Two barriers a step, no
atomic operation; every sum has one thread and one order, the same for a replica alone and among others.

Threads go through units row by row (`following`): a division by H would take as many instructions as the cell itself.
Names in capitals, and the functions of the cell, are bound by `resident_kernels`, as in `forward`.
"""

from recurlab.kernels.cuda.layout import end_place, kept_place, place_of, row_at, time_of
from recurlab.kernels.cuda.registers import again, dots, flat
from recurlab.kernels.cuda.residence import Seat
from recurlab.kernels.cuda.target import cuda, load, store
from recurlab.maths import ZERO


def slice_columns(replicas, rows, columns, count, parts, pairs, source, out):
    """out (R, parts, count, 2 · pairs) = source (R, rows, columns), flat; zeros beyond."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        column, k, r = i % (2 * pairs), i // (2 * pairs) % (parts * count), i // (2 * pairs) // (parts * count)
        within = k < rows and column < columns
        store(out, i, load(source, (r * rows + k) * columns + column) if within else ZERO)


def _slot_of(plane):
    """Where a plane stands on the chip: those with a recurrent part first, in the order of the gates."""
    if plane < GATES - SEPARATE:
        return plane
    return plane + SEPARATE if plane < GATES else plane - SEPARATE


def _seat(n, m, block, thread):
    """Where a thread of a block belongs; none of the rows for a replica that there is not."""
    r, row = block // m.slices * m.together + thread // m.threads, block % m.slices * m.rows
    rows = min(m.rows, n.batch - row) if r < n.replicas else 0
    r, own = min(r, n.replicas - 1), thread % m.threads
    first, step = (own // n.hidden, own % n.hidden), (m.threads // n.hidden, m.threads % n.hidden)
    base, piece = thread // m.threads * m.size, r * m.slices + row // m.rows
    return Seat(r, row, rows, own, base, piece, first[0], first[1], step[0], step[1])


def _seated_again(at):
    """The same seat; what was computed from the old one is not kept in registers from one step to the next."""
    return Seat(
        again(at.replica),
        again(at.row),
        at.rows,
        again(at.thread),
        again(at.base),
        again(at.piece),
        again(at.first),
        again(at.unit),
        again(at.row_step),
        again(at.unit_step),
    )


def _following(n, at, b, j):
    """The row and the unit that a thread works on after unit j of row b."""
    b, j = b + at.row_step, j + at.unit_step
    return (b + 1, j - n.hidden) if j >= n.hidden else (b, j)


def _clear(at, m, shared):
    """Zeros in a replica's part of shared memory: also in what fills rows up."""
    for i in range(at.thread, m.size, m.threads):
        store(shared, at.base + i, ZERO)


def _stage(n, m, at, weights, initial, states, shared):
    """Biases, W_ih and the initial states to where they are needed."""
    p, j = at.first, at.unit
    while p < PLANES:
        store(shared, at.base + m.bias + p * n.hidden + j, bias_of(n, weights, at.replica, p, j))
        p, j = following(n, at, p, j)
    size = n.inputs * GATES * n.hidden if m.fused else 0
    for i in range(at.thread, size, m.threads):
        store(shared, at.base + m.W_x + i, load(weights.W_x, at.replica * size + i))
    b, j = at.first, at.unit
    while b < at.rows:
        state = load_s(initial, end_place(n, at.replica, 0, at.row + b) + j, n.replicas * n.passes * n.batch * n.hidden)
        store_s(shared, at.base + b * m.width + j, m.rows * m.width, state)
        keep(n, at, states, state, b, j, 0)
        b, j = following(n, at, b, j)


def _keep(n, at, states, state, b, j, s):
    """The states of a unit after s steps into their history."""
    to = place_of(n, at.replica, STATES, n.steps + 1, s, at.row + b) + j
    store_s(states, to, (n.steps + 1) * n.batch * n.hidden, state)


def _hold(m, at, W):
    """Which pair of columns and which part of them a thread holds, and both slices; a thread too many holds none."""
    pair, part = at.thread % m.pairs, min(at.thread // m.pairs, m.parts)
    place = ((at.replica * m.parts + min(part, m.parts - 1)) * COUNT * 2) * m.pairs + pair
    return pair, part, take_slice(W, place, 2 * m.pairs), take_slice(W, place + m.pairs, 2 * m.pairs)


def _multiply(at, m, shared, pair, part, first, second, columns, width):
    """A slice of two columns of the products of all rows, two rows at a time: `left` with what registers hold."""
    for b in range(0, at.rows if part < m.parts else 0, 2):
        left = at.base + m.left + b * m.width + part * COUNT
        to = at.base + m.sums + (part * m.rows + b) * width + pair
        sums = dots(shared, left, left + m.width, first, second)
        store(shared, to, sums[0])
        store(shared, to + width, sums[2])
        if pair + m.pairs < columns:
            store(shared, to + m.pairs, sums[1])
            store(shared, to + width + m.pairs, sums[3])


def _collect(n, m, at, seq, a, shared, b, j, s, time):
    """A unit's pre-activations of all planes into the first sums: bias, input and the parts of the product."""
    row = row_at(n, at.replica if n.x_replicas > 1 else 0, time, at.row + b) * n.inputs
    for p in range(PLANES):
        to, total = at.base + m.sums + (b * PLANES + slot_of(p)) * n.hidden + j, ZERO
        if m.fused:
            total += load(shared, at.base + m.bias + p * n.hidden + j)
            if p < GATES:
                for k in range(n.inputs):
                    W = load(shared, at.base + m.W_x + (k * GATES + p) * n.hidden + j)
                    total += load(seq.x, row + k) * W
        else:
            plane = n.steps * n.batch * n.hidden
            total += load(a, place_of(n, at.replica, PLANES, n.steps, s, at.row + b) + p * plane + j)
        if slot_of(p) < GATES:
            for part in range(m.parts):
                total += load(shared, to + part * m.rows * PLANES * n.hidden)
        store(shared, to, total)


def _advance(n, m, at, weights, seq, a, kept, states, shared, s):
    """The cell itself; beyond a row's length its states stay and its output is zero."""
    b, j = at.first, at.unit
    while b < at.rows:
        time, length, own = n.first_step + s, seq.lengths[at.row + b], at.base + b * m.width + j
        state, goes_on = load_s(shared, own, m.rows * m.width), time < length
        if goes_on:
            time = time_of(n, length, s)
            collect(n, m, at, seq, a, shared, b, j, s, time)
            pre = load_slots(shared, at.base + m.sums + b * PLANES * n.hidden + j, n.hidden)
            vectors = load_v(weights.vectors, at.replica * n.hidden + j, n.replicas * n.hidden)
            values = gates(pre, state, vectors)
            place, plane = kept_place(n, at.replica, s, at.row + b) + j, n.kept_steps * n.batch * n.hidden
            store_k(kept, place, plane, values)
            state = update(values, state)
            store_s(shared, own, m.rows * m.width, state)
        keep(n, at, states, state, b, j, s + 1)
        if n.width:
            out = row_at(n, at.replica, time, at.row + b) * n.width + n.column + j
            store(seq.y, out, state[0] if goes_on else ZERO)
        b, j = following(n, at, b, j)


def _finish(n, m, at, shared, final):
    """The states behind the last step."""
    b, j = at.first, at.unit
    while b < at.rows:
        state = load_s(shared, at.base + b * m.width + j, m.rows * m.width)
        store_s(final, end_place(n, at.replica, 0, at.row + b) + j, n.replicas * n.passes * n.batch * n.hidden, state)
        b, j = following(n, at, b, j)


def forward(n, m, weights, seq, W, initial, a, kept, states, final):
    """All steps of some rows of some replicas: fills kept, states, y and the final states.

    W (R, parts, COUNT, 2 · pairs) are the slices of W_hhᵀ.
    """
    shared = flat(cuda.shared.array(0, DTYPE))
    at = seat(n, m, cuda.blockIdx.x, cuda.threadIdx.x)
    clear(at, m, shared)
    cuda.syncthreads()
    stage(n, m, at, weights, initial, states, shared)
    pair, part, first, second = hold(m, at, W)
    cuda.syncthreads()
    for s in range(n.steps):
        here = seated_again(at)
        multiply(here, m, shared, pair, part, first, second, GATES * n.hidden, PLANES * n.hidden)
        cuda.syncthreads()
        advance(n, m, here, weights, seq, a, kept, states, shared, s)
        cuda.syncthreads()
    finish(n, m, at, shared, final)


HELPERS = (
    _slot_of,
    _seat,
    _seated_again,
    _following,
    _clear,
    _keep,
    _stage,
    _hold,
    _multiply,
    _collect,
    _advance,
    _finish,
)
