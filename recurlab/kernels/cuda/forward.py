"""The forward pass of a layer in one direction: reference kernels for every cell, size and option.

    a = bias + x W_ihᵀ of all steps;  then step by step: a += h W_hhᵀ;  a = its norm, if any;  kept, state = the cell;
    zoneout, if any;  y = h

A block of threads works on some rows of one replica from the first step to the last, a thread on a unit of a row, on
several in turn if there are more; what other threads have written is read behind a barrier. Every sum runs over its
terms in order within one thread: the bits depend neither on blocks and threads nor on other replicas.

Names in capitals are those of `layout.Structure`; they, the cell's functions and the functions of this module without
their underscore are bound by `reference`. Only kernels themselves know their thread: the simulator wants it so.
"""

from recurlab.kernels.cuda.layout import end_place, kept_place, place_of, row_at, seat_of, time_of
from recurlab.kernels.cuda.target import cuda, load, root, store
from recurlab.maths import ONE, ZERO


def transpose(count, rows, columns, source, out):
    """out (count, columns, rows) = source (count, rows, columns), both flat."""
    for i in range(cuda.grid(1), count * rows * columns, cuda.gridsize(1)):
        row, column, matrix = i % rows, i // rows % columns, i // rows // columns
        store(out, i, load(source, (matrix * rows + row) * columns + column))


def _plane_of(gate):
    """The plane of a gate's recurrent part."""
    return gate if gate < GATES - SEPARATE else gate + SEPARATE


def _bias_of(n, weights, r, p, j):
    """The bias of a plane: the sum of both, but one each for the two parts of a separate gate."""
    gate = p if p < GATES else p - SEPARATE
    i = (r * GATES + gate) * n.hidden + j
    if p >= GATES:
        return load(weights.b_hh, i)
    if gate >= GATES - SEPARATE or not RECURRENT:
        return load(weights.b_ih, i)
    return load(weights.b_ih, i) + load(weights.b_hh, i)


def _input_product(n, weights, x, first, r, gate, j, start):
    """start + x W_ihᵀ of a unit's gate; the row of x stands at `first`."""
    total = start
    place = (r * n.inputs * GATES + gate) * n.hidden + j
    for k in range(n.inputs):
        total += load(x, first + k) * load(weights.W_x, place + k * GATES * n.hidden)
    return total


def project(n, weights, seq, a):
    """a = bias + x W_ihᵀ of every step; the bias comes later where there is a norm."""
    for i in range(cuda.grid(1), n.replicas * PLANES * n.steps * n.batch * n.hidden, cuda.gridsize(1)):
        j, b, s = i % n.hidden, i // n.hidden % n.batch, i // n.hidden // n.batch % n.steps
        p, r = i // n.hidden // n.batch // n.steps % PLANES, i // n.hidden // n.batch // n.steps // PLANES
        total = ZERO
        total += ZERO if NORM else bias_of(n, weights, r, p, j)
        if p < GATES and n.first_step + s < seq.lengths[b]:
            row = row_at(n, r if n.x_replicas > 1 else 0, time_of(n, seq.lengths[b], s), b)
            total = input_product(n, weights, seq.x, row * n.inputs, r, p, j, total)
        store(a, i, total)


def _begin(n, at, initial, states):
    """The states before the first step."""
    plane = (n.steps + 1) * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        to = place_of(n, at.replica, STATES, n.steps + 1, 0, b) + j
        for v in range(STATES):
            store(states, to + v * plane, load(initial, end_place(n, at.replica, v, b) + j))


def _finish(n, at, states, final):
    """The states behind the last step."""
    plane = (n.steps + 1) * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        since = place_of(n, at.replica, STATES, n.steps + 1, n.steps, b) + j
        for v in range(STATES):
            store(final, end_place(n, at.replica, v, b) + j, load(states, since + v * plane))


def _add_product(n, W_h, left, first, r, gate, j, start):
    """start + left W_hhᵀ of a unit's gate; the row of left stands at `first`."""
    total = start
    place = (r * n.hidden * GATES + gate) * n.hidden + j
    for k in range(n.hidden):
        total += load(left, first + k) * load(W_h, place + k * GATES * n.hidden)
    return total


def _products(n, at, weights, seq, states, a, operands, s):
    """a += h W_hhᵀ, and the operand of a second product."""
    plane = n.steps * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        if n.first_step + s < seq.lengths[b]:
            own = place_of(n, at.replica, PLANES, n.steps, s, b) + j
            h = place_of(n, at.replica, STATES, n.steps + 1, s, b)
            for gate in range(PLAIN):
                to = own + plane_of(gate) * plane
                store(a, to, add_product(n, weights.W_h, states, h, at.replica, gate, j, load(a, to)))
            if SECOND:
                old = load_s(states, h + j, plane + n.batch * n.hidden)
                store(operands, place_of(n, at.replica, 1, 1, 0, b) + j, operand(load_a(a, own, plane), old))


def _last_product(n, at, weights, seq, a, operands, s):
    """The second product: the operand through the recurrent weights of the last gate."""
    plane = n.steps * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        if n.first_step + s < seq.lengths[b]:
            to = place_of(n, at.replica, PLANES, n.steps, s, b) + plane_of(GATES - 1) * plane + j
            row = place_of(n, at.replica, 1, 1, 0, b)
            store(a, to, add_product(n, weights.W_h, operands, row, at.replica, GATES - 1, j, load(a, to)))


def _mean_of(n, norm, array, first):
    """The mean of a row."""
    total = ZERO
    for k in range(n.hidden):
        total += load(array, first + k)
    return total * norm.share


def _scale_of(n, norm, centred, first):
    """1 / √(M c² + ε) of a row of centred products c."""
    total = ZERO
    for k in range(n.hidden):
        c = load(centred, first + k)
        total += c * c
    return ONE / root(total * norm.share + norm.epsilon)


def _centre(n, at, norm, seq, a, kept, s):
    """c = s - M s of every plane, behind what the cell keeps."""
    plane = n.steps * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        if n.first_step + s < seq.lengths[b]:
            row = place_of(n, at.replica, PLANES, n.steps, s, b)
            to = kept_place(n, at.replica, s, b) + KEPT * plane
            for p in range(PLANES):
                mean = mean_of(n, norm, a, row + p * plane)
                store(kept, to + p * plane + j, load(a, row + p * plane + j) - mean)


def _rescale(n, at, norm, weights, seq, a, kept, s):
    """a = gain · c / √(M c² + ε) + bias."""
    plane = n.steps * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        if n.first_step + s < seq.lengths[b]:
            to = place_of(n, at.replica, PLANES, n.steps, s, b) + j
            row = kept_place(n, at.replica, s, b) + KEPT * plane
            for p in range(PLANES):
                value = load(kept, row + p * plane + j) * scale_of(n, norm, kept, row + p * plane)
                gain = load(weights.gains, (at.replica * PLANES + p) * n.hidden + j)
                store(a, to + p * plane, gain * value + bias_of(n, weights, at.replica, p, j))


def _mix(n, seq, states, r, s, b, j, old, new):
    """Zoneout: k · new + (1 - k) · old of every state."""
    plane = (n.steps + 1) * n.batch * n.hidden
    for v in range(STATES):
        row = row_at(n, (v * n.replicas + r) * n.passes + n.own, time_of(n, seq.lengths[b], s), b)
        k, i = load(seq.shares, row * n.hidden + j), new + v * plane
        store(states, i, k * load(states, i) + (ONE - k) * load(states, old + v * plane))


def _advance(n, at, weights, seq, a, kept, states, s):
    """The cell itself; beyond a row's length its states stay and its output is zero."""
    plane, row = n.steps * n.batch * n.hidden, n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        old = place_of(n, at.replica, STATES, n.steps + 1, s, b) + j
        now = n.first_step + s
        if now < seq.lengths[b]:
            state = load_s(states, old, plane + row)
            pre = load_a(a, place_of(n, at.replica, PLANES, n.steps, s, b) + j, plane)
            own = load_v(weights.vectors, at.replica * n.hidden + j, n.replicas * n.hidden)
            values = gates(pre, state, own)
            store_k(kept, kept_place(n, at.replica, s, b) + j, n.kept_steps * row, values)
            store_s(states, old + row, plane + row, update(values, state))
            if ZONED:
                mix(n, seq, states, at.replica, s, b, j, old, old + row)
            now = time_of(n, seq.lengths[b], s)
        else:
            store_s(states, old + row, plane + row, load_s(states, old, plane + row))
        if n.width:
            out = row_at(n, at.replica, now, b) * n.width + n.column + j
            store(seq.y, out, load(states, old + row) if n.first_step + s < seq.lengths[b] else ZERO)


def forward(n, norm, weights, seq, initial, a, operands, kept, states, final):
    """All steps of some rows of a replica: fills kept, states, y and the final states."""
    at = seat_of(n, cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x)
    begin(n, at, initial, states)
    for s in range(n.steps):
        meet()
        if RECURRENT:
            products(n, at, weights, seq, states, a, operands, s)
        if SECOND:
            meet()
            last_product(n, at, weights, seq, a, operands, s)
        if NORM:
            meet()
            centre(n, at, norm, seq, a, kept, s)
            meet()
            rescale(n, at, norm, weights, seq, a, kept, s)
        advance(n, at, weights, seq, a, kept, states, s)
    finish(n, at, states, final)


SHARED = _plane_of, _bias_of, _input_product  # what products of all steps use, too
HELPERS = (
    _add_product,
    _mean_of,
    _scale_of,
    _begin,
    _finish,
    _products,
    _last_product,
    _centre,
    _rescale,
    _mix,
    _advance,
)  # each may use those before it
