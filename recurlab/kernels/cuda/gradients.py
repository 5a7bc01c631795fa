"""Gradients of parameters and inputs from d_a of all steps: reference kernels, a thread for each number.

Sums run from the last step to the first and add to what is there, so those of a sequence in parts have the bits of the
whole: no atomic operation, and no order that depends on blocks and threads.
"""

from recurlab.kernels.cuda.layout import kept_place, place_of, row_at, time_of
from recurlab.kernels.cuda.target import cuda, load, store
from recurlab.maths import ZERO


def recurrent_gradients(n, lengths, d_a, kept, states, out):
    """dW_hh (R, G·H, H) += Σ d_aᵀ h; for the second product its operand, the last of what is kept, is in h's place."""
    for i in range(cuda.grid(1), n.replicas * GATES * n.hidden * n.hidden, cuda.gridsize(1)):
        k, j = i % n.hidden, i // n.hidden % n.hidden
        gate, r = i // n.hidden // n.hidden % GATES, i // n.hidden // n.hidden // GATES
        total, plane = load(out, i), n.steps * n.batch * n.hidden
        for done in range(n.steps):
            s = n.steps - 1 - done
            for b in range(n.batch):
                if n.first_step + s < lengths[b]:
                    d = load(d_a, place_of(n, r, PLANES, n.steps, s, b) + plane_of(gate) * plane + j)
                    if SECOND and gate == GATES - 1:
                        last = (KEPT - 1) * n.kept_steps * n.batch * n.hidden
                        total += d * load(kept, kept_place(n, r, s, b) + last + k)
                    else:
                        total += d * load(states, place_of(n, r, STATES, n.steps + 1, s, b) + k)
        store(out, i, total)


def input_gradients(n, lengths, d_a, x, out):
    """dW_ih (R, G·H, I) += Σ d_aᵀ x."""
    for i in range(cuda.grid(1), n.replicas * GATES * n.hidden * n.inputs, cuda.gridsize(1)):
        k, j = i % n.inputs, i // n.inputs % n.hidden
        gate, r = i // n.inputs // n.hidden % GATES, i // n.inputs // n.hidden // GATES
        total, plane = load(out, i), n.steps * n.batch * n.hidden
        for done in range(n.steps):
            s = n.steps - 1 - done
            for b in range(n.batch):
                if n.first_step + s < lengths[b]:
                    d = load(d_a, place_of(n, r, PLANES, n.steps, s, b) + gate * plane + j)
                    row = row_at(n, r if n.x_replicas > 1 else 0, time_of(n, lengths[b], s), b)
                    total += d * load(x, row * n.inputs + k)
        store(out, i, total)


def x_gradients(n, lengths, d_a, V_x, out):
    """dx (R, T, B, I) += d_a W_ih, at the times that these steps read."""
    for i in range(cuda.grid(1), n.replicas * n.length * n.batch * n.inputs, cuda.gridsize(1)):
        k, b = i % n.inputs, i // n.inputs % n.batch
        time, r = i // n.inputs // n.batch % n.length, i // n.inputs // n.batch // n.length
        s = (lengths[b] - 1 - time if n.reverse else time) - n.first_step
        if time < lengths[b] and 0 <= s < n.steps:
            total, plane = load(out, i), n.steps * n.batch * n.hidden
            for gate in range(GATES):
                d = place_of(n, r, PLANES, n.steps, s, b) + gate * plane
                for j in range(n.hidden):
                    W = ((r * GATES + gate) * n.hidden + j) * n.inputs + k
                    total += load(d_a, d + j) * load(V_x, W)
            store(out, i, total)


def sum_of_steps(n, d_a, out):
    """The gradients of the planes' biases (R, P, H) += Σ d_a."""
    for i in range(cuda.grid(1), n.replicas * PLANES * n.hidden, cuda.gridsize(1)):
        j, p, r = i % n.hidden, i // n.hidden % PLANES, i // n.hidden // PLANES
        total, plane = load(out, i), n.steps * n.batch * n.hidden
        for done in range(n.steps):
            for b in range(n.batch):
                total += load(d_a, place_of(n, r, PLANES, n.steps, n.steps - 1 - done, b) + p * plane + j)
        store(out, i, total)


def sum_of_rows(count, rows, columns, source, out):
    """out (count, columns) = the sums over the rows of source (count, rows, columns)."""
    for i in range(cuda.grid(1), count * columns, cuda.gridsize(1)):
        total = ZERO
        for b in range(rows):
            total += load(source, (i // columns * rows + b) * columns + i % columns)
        store(out, i, total)


def biases_of_planes(n, planes, b_ih, b_hh):
    """db_ih, db_hh (R, G·H) from the gradients of the planes' biases (R, P, H)."""
    for i in range(cuda.grid(1), n.replicas * GATES * n.hidden, cuda.gridsize(1)):
        j, gate, r = i % n.hidden, i // n.hidden % GATES, i // n.hidden // GATES
        store(b_ih, i, load(planes, (r * PLANES + gate) * n.hidden + j))
        store(b_hh, i, load(planes, (r * PLANES + plane_of(gate)) * n.hidden + j))
