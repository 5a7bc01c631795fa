"""Back-propagation through time of a layer in one direction: reference kernels, as in `forward`.

step by step, from the last to the first:
    d_h += dy;  d_a, d_state = the cell's vector–Jacobian product, d_a back through its norm, if any;  d_h += d_a W_hh

The gradients of the states stand in the places of the final ones from the first step back to the last, in the end as
those of the initial ones: a pass goes back through the parts of a sequence one after the other.
"""

from recurlab.kernels.cuda.layout import end_place, kept_place, place_of, row_at, seat_of, time_of
from recurlab.kernels.cuda.target import cuda, load, store
from recurlab.maths import ONE, ZERO


def _enter(n, at, seq, d_ends, s):
    """d_h += dy."""
    for i in range(at.first, at.count if n.width else 0, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        if n.first_step + s < seq.lengths[b]:
            row = row_at(n, at.replica, time_of(n, seq.lengths[b], s), b)
            to = end_place(n, at.replica, 0, b) + j
            store(d_ends, to, load(d_ends, to) + load(seq.y, row * n.width + n.column + j))


def _share_out(n, seq, d_ends, rest, r, s, b, j):
    """Zoneout: k of a state's gradient stays for the cell, 1 - k goes past it."""
    for v in range(STATES):
        row = row_at(n, (v * n.replicas + r) * n.passes + n.own, time_of(n, seq.lengths[b], s), b)
        k, i = load(seq.shares, row * n.hidden + j), end_place(n, r, v, b) + j
        d = load(d_ends, i)
        store(rest, i, (ONE - k) * d)
        store(d_ends, i, k * d)


def _add_rest(n, d_ends, rest, r, b, j):
    """What went past the cell comes back."""
    for v in range(STATES):
        i = end_place(n, r, v, b) + j
        store(d_ends, i, load(d_ends, i) + load(rest, i))


def _retreat_unit(n, weights, kept, states, d_ends, d_vectors, r, s, b, j):
    """The cell's vector–Jacobian product: d_a; the gradients of the states become those of the old ones."""
    row, ends = n.batch * n.hidden, n.replicas * n.passes * n.batch * n.hidden
    old, to = place_of(n, r, STATES, n.steps + 1, s, b) + j, end_place(n, r, 0, b) + j
    state, plane = load_s(states, old, (n.steps + 1) * row), (n.steps + 1) * row
    values = load_k(kept, kept_place(n, r, s, b) + j, n.kept_steps * row)
    new = update(values, state) if ZONED else load_s(states, old + row, plane)
    own = load_v(weights.vectors, r * n.hidden + j, n.replicas * n.hidden)
    d_pre, d_old, d_own = vector_jacobian(values, state, new, load_s(d_ends, to, ends), own)
    store_s(d_ends, to, ends, d_old)
    mine, vector = (r * n.batch + b) * n.hidden + j, n.replicas * row
    store_v(d_vectors, mine, vector, sum_v(load_v(d_vectors, mine, vector), d_own))
    return d_pre


def _retreat(n, at, weights, seq, kept, states, d_ends, rest, d_vectors, d_a, steps, s, to_step):
    """d_a of one step into step `to_step` of an array of `steps`; zero beyond a row's length."""
    plane = steps * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        to = place_of(n, at.replica, PLANES, steps, to_step, b) + j
        if n.first_step + s < seq.lengths[b]:
            if ZONED:
                share_out(n, seq, d_ends, rest, at.replica, s, b, j)
            d_pre = retreat_unit(n, weights, kept, states, d_ends, d_vectors, at.replica, s, b, j)
            store_a(d_a, to, plane, d_pre)
            if ZONED:
                add_rest(n, d_ends, rest, at.replica, b, j)
        else:
            for p in range(PLANES):
                store(d_a, to + p * plane, ZERO)


def _normalise_unit(n, norm, weights, kept, d_raw, d_norm, r, s, b, j, p):
    """dL/da of a plane -> dL/ds = (d - M d - ŝ M(d ŝ)) / √(M c² + ε) with d = gain · dL/da and ŝ = c / √(M c² + ε)."""
    c = kept_place(n, r, s, b) + (KEPT + p) * n.steps * n.batch * n.hidden
    d, gain = place_of(n, r, PLANES, 1, 0, b) + p * n.batch * n.hidden, (r * PLANES + p) * n.hidden
    scale, total, along = scale_of(n, norm, kept, c), ZERO, ZERO
    for k in range(n.hidden):
        slope = load(weights.gains, gain + k) * load(d_raw, d + k)
        total += slope
        along += slope * (load(kept, c + k) * scale)
    value, slope = load(kept, c + j) * scale, load(d_raw, d + j)
    mine = ((r * PLANES + p) * n.batch + b) * n.hidden + j
    store(d_norm, mine, load(d_norm, mine) + slope * value)
    mine += n.replicas * PLANES * n.batch * n.hidden
    store(d_norm, mine, load(d_norm, mine) + slope)
    return (load(weights.gains, gain + j) * slope - total * norm.share - value * (along * norm.share)) * scale


def _normalise_back(n, at, norm, weights, seq, kept, d_raw, d_norm, d_a, s):
    """d_a of one step back through its norm; adds to the gradients of gains and biases."""
    plane = n.steps * n.batch * n.hidden
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        to = place_of(n, at.replica, PLANES, n.steps, s, b) + j
        for p in range(PLANES):
            d = ZERO
            if n.first_step + s < seq.lengths[b]:
                d += normalise_unit(n, norm, weights, kept, d_raw, d_norm, at.replica, s, b, j, p)
            store(d_a, to + p * plane, d)


def _back_product(n, V_h, d_a, r, s, b, k, gate, start):
    """start + d_a W_hh of a gate, for unit k."""
    total = start
    d, W = place_of(n, r, PLANES, n.steps, s, b), (r * GATES + gate) * n.hidden * n.hidden + k
    d += plane_of(gate) * n.steps * n.batch * n.hidden
    for j in range(n.hidden):
        total += load(d_a, d + j) * load(V_h, W + j * n.hidden)
    return total


def _operand_product(n, at, weights, d_a, d_operands, s):
    """The gradient of a second product's operand."""
    for i in range(at.first, at.count, at.step):
        b, k = at.row + i // at.units, at.unit + i % at.units
        d = ZERO
        d += back_product(n, weights.V_h, d_a, at.replica, s, b, k, GATES - 1, ZERO)
        store(d_operands, place_of(n, at.replica, 1, 1, 0, b) + k, d)


def _operand_back(n, at, seq, kept, states, d_operands, d_ends, d_a, s):
    """Back through the operand: adds to d_a and to the gradient of the old state."""
    row = n.batch * n.hidden
    plane, ends = n.steps * row, n.replicas * n.passes * row
    for i in range(at.first, at.count, at.step):
        b, j = at.row + i // at.units, at.unit + i % at.units
        if n.first_step + s < seq.lengths[b]:
            values = load_k(kept, kept_place(n, at.replica, s, b) + j, n.kept_steps * row)
            state = load_s(states, place_of(n, at.replica, STATES, n.steps + 1, s, b) + j, plane + row)
            d = load(d_operands, place_of(n, at.replica, 1, 1, 0, b) + j)
            d_pre, d_old = operand_backward(values, state, d)
            to = place_of(n, at.replica, PLANES, n.steps, s, b) + j
            store_a(d_a, to, plane, sum_a(load_a(d_a, to, plane), d_pre))
            to = end_place(n, at.replica, 0, b) + j
            store_s(d_ends, to, ends, sum_s(load_s(d_ends, to, ends), d_old))


def _hidden_product(n, at, weights, seq, d_a, d_ends, s):
    """d_h += d_a W_hh."""
    for i in range(at.first, at.count, at.step):
        b, k = at.row + i // at.units, at.unit + i % at.units
        if n.first_step + s < seq.lengths[b]:
            to = end_place(n, at.replica, 0, b) + k
            total = load(d_ends, to)
            for gate in range(PLAIN):
                total = back_product(n, weights.V_h, d_a, at.replica, s, b, k, gate, total)
            store(d_ends, to, total)


def backward(n, norm, weights, seq, kept, states, d_ends, work, d_vectors, d_a):
    """All steps of some rows of a replica backwards: fills d_a, adds to d_vectors, d_ends from final to initial."""
    at = seat_of(n, cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x)
    for done in range(n.steps):
        s = n.steps - 1 - done
        enter(n, at, seq, d_ends, s)
        if NORM:
            retreat(n, at, weights, seq, kept, states, d_ends, work.rest, d_vectors, work.d_raw, 1, s, 0)
            meet()
            normalise_back(n, at, norm, weights, seq, kept, work.d_raw, work.d_norm, d_a, s)
        else:
            retreat(n, at, weights, seq, kept, states, d_ends, work.rest, d_vectors, d_a, n.steps, s, s)
        meet()
        if SECOND:
            operand_product(n, at, weights, d_a, work.d_operands, s)
            meet()
            operand_back(n, at, seq, kept, states, work.d_operands, d_ends, d_a, s)
            meet()
        if RECURRENT:
            hidden_product(n, at, weights, seq, d_a, d_ends, s)


HELPERS = (
    _enter,
    _share_out,
    _add_rest,
    _retreat_unit,
    _retreat,
    _normalise_unit,
    _normalise_back,
    _back_product,
    _operand_product,
    _operand_back,
    _hidden_product,
)  # each may use those before it, and those of `forward`
