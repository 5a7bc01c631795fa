"""Back-propagation through time with weights and their gradients on the chip, as `resident` goes forwards.

A thread adds to its tile of dW_hh from the last step to the first; the gradients of biases and of a small W_ih are
summed up in shared memory. A slice of the batch has sums of its own. They go on from what is there, so that a sequence
in parts has the bits of the whole.
"""

from recurlab.kernels.cuda.layout import end_place, kept_place, place_of, row_at, time_of
from recurlab.kernels.cuda.registers import COLUMNS, add_outer, flat, put
from recurlab.kernels.cuda.target import cuda, load, store
from recurlab.maths import ZERO


def gather_tiles(n, m, columns, tiles, out):
    """out (R, G·H, H) = the sums over the slices of tiles (R, slices, tiles, ROWS, COLUMNS), flat."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        k, c, r, total = i % n.hidden, i // n.hidden % columns, i // n.hidden // columns, ZERO
        tile = c // COLUMNS * (m.old_width // ROWS) + k // ROWS
        for piece in range(r * m.slices, (r + 1) * m.slices):
            total += load(tiles, ((piece * m.tiles + tile) * ROWS + k % ROWS) * COLUMNS + c % COLUMNS)
        store(out, i, total)


def _load_sums(n, m, at, d_ends, d_planes, dW_x, shared):
    """The gradients of the last states, and the sums so far."""
    b, j = at.first, at.unit
    while b < at.rows:
        d = load_s(d_ends, end_place(n, at.replica, 0, at.row + b) + j, n.replicas * n.passes * n.batch * n.hidden)
        store_s(shared, at.base + m.ends + b * n.hidden + j, m.rows * n.hidden, d)
        b, j = following(n, at, b, j)
    size = PLANES * n.hidden
    for i in range(at.thread, size, m.threads):
        store(shared, at.base + m.bias + i, load(d_planes, at.piece * size + i))
    size = n.inputs * GATES * n.hidden if m.fused else 0
    for i in range(at.thread, size, m.threads):
        store(shared, at.base + m.W_x + i, load(dW_x, at.piece * size + i))


def _store_sums(n, m, at, shared, d_ends, d_planes, dW_x):
    """The gradients of the first states, and the sums."""
    b, j = at.first, at.unit
    while b < at.rows:
        store(shared, at.base + m.ends + b * n.hidden + j, gradient_of_h(n, m, at, shared, b, j))
        d = load_s(shared, at.base + m.ends + b * n.hidden + j, m.rows * n.hidden)
        store_s(d_ends, end_place(n, at.replica, 0, at.row + b) + j, n.replicas * n.passes * n.batch * n.hidden, d)
        b, j = following(n, at, b, j)
    size = PLANES * n.hidden if at.rows else 0
    for i in range(at.thread, size, m.threads):
        store(d_planes, at.piece * size + i, load(shared, at.base + m.bias + i))
    size = n.inputs * GATES * n.hidden if m.fused and at.rows else 0
    for i in range(at.thread, size, m.threads):
        store(dW_x, at.piece * size + i, load(shared, at.base + m.W_x + i))


def _gradient_of_h(n, m, at, shared, b, j):
    """The gradient of h with the products of the step behind."""
    total = load(shared, at.base + m.ends + b * n.hidden + j)
    for part in range(m.parts):
        total += load(shared, at.base + m.sums + (part * m.rows + b) * n.hidden + j)
    return total


def _pull(n, m, at, weights, kept, states, d_vectors, shared, b, j, s):
    """The cell's vector–Jacobian product of a unit: d_a; the gradients of the states become those of the old ones."""
    row = n.batch * n.hidden
    old, plane = place_of(n, at.replica, STATES, n.steps + 1, s, at.row + b) + j, (n.steps + 1) * row
    state, new = load_s(states, old, plane), load_s(states, old + row, plane)
    values = load_k(kept, kept_place(n, at.replica, s, at.row + b) + j, n.kept_steps * row)
    own = load_v(weights.vectors, at.replica * n.hidden + j, n.replicas * n.hidden)
    place, stride = at.base + m.ends + b * n.hidden + j, m.rows * n.hidden
    d_pre, d_old, d_own = vector_jacobian(values, state, new, load_s(shared, place, stride), own)
    store_s(shared, place, stride, d_old)
    store_slots(shared, at.base + m.left + b * m.width + j, n.hidden, d_pre)
    store(shared, at.base + m.old + b * m.old_width + j, state[0])
    mine, vector = (at.replica * n.batch + at.row + b) * n.hidden + j, n.replicas * row
    store_v(d_vectors, mine, vector, sum_v(load_v(d_vectors, mine, vector), d_own))


def _retreat(n, m, at, weights, seq, kept, states, d_vectors, d_a, shared, s):
    """d_a of a step, and h before it; d_a is zero beyond a row's length."""
    b, j = at.first, at.unit
    while b < at.rows:
        length, d = seq.lengths[at.row + b], gradient_of_h(n, m, at, shared, b, j)
        goes_on, left = n.first_step + s < length, at.base + m.left + b * m.width + j
        if goes_on and n.width:
            row = row_at(n, at.replica, time_of(n, length, s), at.row + b)
            d += load(seq.y, row * n.width + n.column + j)
        store(shared, at.base + m.ends + b * n.hidden + j, d)
        if goes_on:
            pull(n, m, at, weights, kept, states, d_vectors, shared, b, j, s)
        else:
            for p in range(PLANES):
                store(shared, left + p * n.hidden, ZERO)
        if d_a.size:
            to = place_of(n, at.replica, PLANES, n.steps, s, at.row + b) + j
            store_a(d_a, to, n.steps * n.batch * n.hidden, load_slots(shared, left, n.hidden))
        b, j = following(n, at, b, j)


def _sum_biases(n, m, at, shared):
    """Adds to the gradients of the planes' biases."""
    p, j = at.first, at.unit
    while p < PLANES:
        total = load(shared, at.base + m.bias + p * n.hidden + j)
        for b in range(at.rows):
            total += load(shared, at.base + m.left + b * m.width + slot_of(p) * n.hidden + j)
        store(shared, at.base + m.bias + p * n.hidden + j, total)
        p, j = following(n, at, p, j)


def _sum_inputs(n, m, at, seq, shared, s):
    """Adds to the gradient of a small W_ih."""
    q, j = at.first, at.unit
    while q < n.inputs * GATES and m.fused:
        k, left = q // GATES, at.base + m.left + slot_of(q % GATES) * n.hidden + j
        total = load(shared, at.base + m.W_x + q * n.hidden + j)
        for b in range(at.rows):
            length = seq.lengths[at.row + b]
            if n.first_step + s < length:
                row = row_at(n, at.replica if n.x_replicas > 1 else 0, time_of(n, length, s), at.row + b)
                total += load(seq.x, row * n.inputs + k) * load(shared, left + b * m.width)
        store(shared, at.base + m.W_x + q * n.hidden + j, total)
        q, j = following(n, at, q, j)


def backward(n, m, weights, seq, W, kept, states, d_ends, d_vectors, d_a, dW_h, dW_x, d_planes):
    """All steps backwards: d_ends from final to initial, adds to all sums, fills d_a unless it is empty.

    W (R, parts, COUNT, 2 · pairs) are the slices of W_hh. The sums: dW_h (R, slices, tiles, ROWS, COLUMNS),
    dW_x (R, slices, I, G·H) and d_planes (R, slices, P, H).
    """
    shared = flat(cuda.shared.array(0, DTYPE))
    at = seat(n, m, cuda.blockIdx.x, cuda.threadIdx.x)
    clear(at, m, shared)
    cuda.syncthreads()
    load_sums(n, m, at, d_ends, d_planes, dW_x, shared)
    pair, part, first, second = hold(m, at, W)
    k, c = at.thread % (m.old_width // ROWS) * ROWS, at.thread // (m.old_width // ROWS) * COLUMNS
    mine = (at.piece * m.tiles + min(at.thread, m.tiles - 1)) * ROWS * COLUMNS
    tile = take_tile(dW_h, mine, 1)
    for done in range(n.steps):
        here, s = seated_again(at), n.steps - 1 - done
        retreat(n, m, here, weights, seq, kept, states, d_vectors, d_a, shared, s)
        cuda.syncthreads()
        multiply(here, m, shared, pair, part, first, second, n.hidden, n.hidden)
        for b in range(here.rows if at.thread < m.tiles else 0):
            left, right = here.base + m.old + b * m.old_width + k, here.base + m.left + b * m.width + c
            tile = add_outer(tile, shared, left, right)
        sum_biases(n, m, here, shared)
        sum_inputs(n, m, here, seq, shared, s)
        cuda.syncthreads()
    if at.rows and at.thread < m.tiles:
        put(tile, dW_h, mine)
    store_sums(n, m, at, shared, d_ends, d_planes, dW_x)


HELPERS = _gradient_of_h, _load_sums, _store_sums, _pull, _retreat, _sum_biases, _sum_inputs
