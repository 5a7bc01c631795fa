"""CPU kernels: forward, back-propagation through time and weight gradients of one layer in one direction.

Axes: R replica, T time, B batch, I input, H hidden, G gates, A pre-activations (gates, plus one for each gate whose two
parts stay apart), K kept values, S states, V vectors. Arrays are C-contiguous; a step s runs in the direction of the
layer, so for a reversed layer step s of row b is time lengths[b]-1-s.

    x        (R or 1, T, B, I)    inputs, shared by all replicas when the first axis is 1
    kept     (R, K, T, B, H)      what the backward pass needs of every step
    states   (R, S, T+1, B, H)    states[:, :, 0] is the initial state
    d_a      (R, A, T, B, H)      gradient with respect to the pre-activations
    d_states (R, S, T+1, B, H)    gradient with respect to every state, the output's own gradient included

One replica and one batch row at a time, each in a fixed order of sums: the bits of a row do not depend on its
neighbours. The templates know no cell; `kernels_of` binds the pointwise functions of one into them.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

from recurlab.cells import CELLS
from recurlab.cells.cell import Cell
from recurlab.kernels.rebind import compile_tree, rebind
from recurlab.maths import ONE, ZERO

# "contract" allows fused multiply-add but no reordering and keeps NaN and inf; the numpy error model drops the
# division-by-zero branch that stops vectorisation.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


@njit(**OPTIONS)
def _tanh(x):
    return np.tanh(x)


@njit(**OPTIONS)
def _sigmoid(x):
    e = np.exp(-abs(x))
    return (ONE if x >= ZERO else e) / (ONE + e)


@njit(**OPTIONS)
def _relu(x):
    return ZERO if x <= ZERO else x  # NaN is not <= 0 and stays NaN


@njit(**OPTIONS)
def _step(x):
    return ONE if x > ZERO else ZERO


TARGET = {"tanh": _tanh, "sigmoid": _sigmoid, "relu": _relu, "step": _step}


# Values of one unit out of an array (n, positions), and back; one pair for each n that a cell uses.
@njit(**OPTIONS)
def _load0(z, p):
    return ()


@njit(**OPTIONS)
def _load1(z, p):
    return (z[0, p],)


@njit(**OPTIONS)
def _load2(z, p):
    return z[0, p], z[1, p]


@njit(**OPTIONS)
def _load3(z, p):
    return z[0, p], z[1, p], z[2, p]


@njit(**OPTIONS)
def _load4(z, p):
    return z[0, p], z[1, p], z[2, p], z[3, p]


@njit(**OPTIONS)
def _add0(z, p, values):
    pass


@njit(**OPTIONS)
def _add1(z, p, values):
    z[0, p] += values[0]


@njit(**OPTIONS)
def _add2(z, p, values):
    z[0, p] += values[0]
    z[1, p] += values[1]


@njit(**OPTIONS)
def _add3(z, p, values):
    z[0, p] += values[0]
    z[1, p] += values[1]
    z[2, p] += values[2]


@njit(**OPTIONS)
def _add4(z, p, values):
    z[0, p] += values[0]
    z[1, p] += values[1]
    z[2, p] += values[2]
    z[3, p] += values[3]


LOAD = (_load0, _load1, _load2, _load3, _load4)
ADD = (_add0, _add1, _add2, _add3, _add4)


@njit(cache=True, **OPTIONS)
def add_row(out, left, right):
    """out (N,) += left (K,) @ right (K, N), four rows of `right` at a time: `out` is read and written K/4 times."""
    whole = left.size // 4 * 4
    for k in range(0, whole, 4):
        for n in range(out.size):
            out[n] += (
                left[k] * right[k, n]
                + left[k + 1] * right[k + 1, n]
                + left[k + 2] * right[k + 2, n]
                + left[k + 3] * right[k + 3, n]
            )
    for k in range(whole, left.size):
        for n in range(out.size):
            out[n] += left[k] * right[k, n]


@njit(cache=True, **OPTIONS)
def add_outer(out, left, right):
    """out (M, N) += left (K, M)ᵀ @ right (K, N), four rows at a time."""
    whole = left.shape[0] // 4 * 4
    for k in range(0, whole, 4):
        for m in range(out.shape[0]):
            for n in range(out.shape[1]):
                out[m, n] += (
                    left[k, m] * right[k, n]
                    + left[k + 1, m] * right[k + 1, n]
                    + left[k + 2, m] * right[k + 2, n]
                    + left[k + 3, m] * right[k + 3, n]
                )
    for k in range(whole, left.shape[0]):
        for m in range(out.shape[0]):
            for n in range(out.shape[1]):
                out[m, n] += left[k, m] * right[k, n]


@njit(cache=True, **OPTIONS)
def time_of(s, length, reverse):
    """The time that step s of a row reads: its own end comes first when the layer runs backwards."""
    return length - 1 - s if reverse else s


# Templates: `kernels_of` binds the cell's functions, its loaders and these constants of the cell into them.
# RECURRENT: the column of each gate's recurrent part; SECOND: the gate with a second product, or -1.


def _forward(x, W_ih, W_hh, bias, vectors, lengths, reverse, kept, states):
    """Run all steps; W_ih (R, G, I, H) and W_hh (R, G, H, H) hold one row of weights for each input of a gate."""
    replicas, _, rows, batch, hidden = states.shape
    for r in range(replicas):
        kept_r, states_r = kept[r].reshape(kept.shape[1], -1), states[r].reshape(states.shape[1], -1)
        a, u = np.empty_like(bias[r]), np.empty_like(bias[r, 0])
        for s in range(rows - 1):
            for b in range(batch):
                old = (s * batch + b) * hidden
                new = old + batch * hidden
                if s < lengths[b]:
                    x_row = x[min(r, x.shape[0] - 1), time_of(s, lengths[b], reverse), b]
                    a[:] = bias[r]
                    preactivations(a, u, x_row, states_r, old, W_ih[r], W_hh[r])
                    pointwise_forward(a, vectors[r], kept_r, states_r, old, new)
                else:
                    states_r[:, new : new + hidden] = states_r[:, old : old + hidden]


def _preactivations(a, u, x_row, states, old, W_ih, W_hh):
    """a += W_ih x + W_hh h of one row, and W_hh u for the gate with a second product, u its operand."""
    hidden = a.shape[1]
    for g in range(W_hh.shape[0]):
        add_row(a[g], x_row, W_ih[g])
        if g != SECOND:
            add_row(a[RECURRENT[g]], states[0, old : old + hidden], W_hh[g])
    if SECOND >= 0:
        for j in range(hidden):
            u[j] = operand(load_a(a, j), load_s(states, old + j))
        add_row(a[SECOND], u, W_hh[SECOND])


def _pointwise_forward(a, vectors, kept, states, old, new):
    """The cell on every unit of one row; kept and the new states start as zeros."""
    for j in range(a.shape[1]):
        state = load_s(states, old + j)
        values = gates(load_a(a, j), state, load_v(vectors, j))
        add_k(kept, old + j, values)
        add_s(states, new + j, update(values, state))


def _backward(W_hh, vectors, lengths, reverse, kept, states, dy, d_states, d_a, d_vectors):
    """Back-propagation through time; W_hh (R, G, H, H) as the layer has it; d_states[:, :, T] is given, the rest zeros.

    Afterwards d_states[:, :, s] is the gradient with respect to the state after s steps, dy (R, T, B, H) included.
    """
    replicas, _, rows, batch, hidden = states.shape
    for r in range(replicas):
        kept_r, states_r = kept[r].reshape(kept.shape[1], -1), states[r].reshape(states.shape[1], -1)
        d_states_r, d_a_r = d_states[r].reshape(states.shape[1], -1), d_a[r].reshape(d_a.shape[1], -1)
        d_u = np.empty_like(W_hh[r, 0, 0])
        for s in range(rows - 2, -1, -1):
            for b in range(batch):
                old = (s * batch + b) * hidden
                new = old + batch * hidden
                if s < lengths[b]:
                    d_states_r[0, new : new + hidden] += dy[r, time_of(s, lengths[b], reverse), b]
                    pointwise_backward(vectors[r], kept_r, states_r, old, new, d_states_r, d_a_r, d_vectors[r])
                    recurrent_backward(W_hh[r], d_u, kept_r, states_r, old, d_states_r, d_a_r)
                else:
                    d_states_r[:, old : old + hidden] = d_states_r[:, new : new + hidden]


def _pointwise_backward(vectors, kept, states, old, new, d_states, d_a, d_vectors):
    """The cell's vector–Jacobian product on every unit of one row."""
    for j in range(vectors.shape[1]):
        d_pre, d_old, d_vector = vector_jacobian(
            load_k(kept, old + j),
            load_s(states, old + j),
            load_s(states, new + j),
            load_s(d_states, new + j),
            load_v(vectors, j),
        )
        add_a(d_a, old + j, d_pre)
        add_s(d_states, old + j, d_old)
        add_v(d_vectors, j, d_vector)


def _recurrent_backward(W_hh, d_u, kept, states, old, d_states, d_a):
    """d_h += W_hhᵀ d_a of one row, the second product first because it adds to the other pre-activations."""
    hidden = d_u.size
    if SECOND >= 0:
        d_u[:] = ZERO
        add_row(d_u, d_a[SECOND, old : old + hidden], W_hh[SECOND])
        for j in range(hidden):
            d_pre, d_old = operand_backward(load_k(kept, old + j), load_s(states, old + j), d_u[j])
            add_a(d_a, old + j, d_pre)
            add_s(d_states, old + j, d_old)
    for g in range(W_hh.shape[0]):
        if g != SECOND:
            add_row(d_states[0, old : old + hidden], d_a[RECURRENT[g], old : old + hidden], W_hh[g])


def _weight_gradients(x, operands, W_ih, d_a, columns, lengths, reverse, d_W_ih, d_W_hh, d_x):
    """dL/dW_ih, dL/dW_hh and dL/dx from d_a, for any cell; all outputs start as zeros.

    operands (R, G, T·B, H) is what each gate's recurrent weights were applied to; columns[g] its column of d_a.
    """
    replicas, _, steps, batch, hidden = d_a.shape
    x_steps = np.empty((steps * batch, x.shape[3]), x.dtype)
    for r in range(replicas):
        for s in range(steps):
            for b in range(batch):
                if s < lengths[b]:
                    x_steps[s * batch + b] = x[min(r, x.shape[0] - 1), time_of(s, lengths[b], reverse), b]
                else:
                    x_steps[s * batch + b] = ZERO
        for g in range(columns.size):
            add_outer(d_W_ih[r, g], d_a[r, g].reshape(-1, hidden), x_steps)
            add_outer(d_W_hh[r, g], d_a[r, columns[g]].reshape(-1, hidden), operands[r, g])
            for s in range(steps):
                for b in range(batch):
                    if s < lengths[b]:
                        add_row(d_x[r, time_of(s, lengths[b], reverse), b], d_a[r, g, s, b], W_ih[r, g])


def _gates_without_vectors(a, state, vectors):
    return plain_gates(a, state)


def _backward_without_vectors(kept, state, new_state, d_new, vectors):
    d_a, d_state = plain_backward(kept, state, new_state, d_new)
    return d_a, d_state, ()


def _no_operand(a, state):
    return state[0]


def _no_operand_backward(kept, state, d_operand):
    return (d_operand,), (d_operand,)


class Kernels(NamedTuple):
    """The compiled functions of one cell."""

    forward: object
    backward: object


weight_gradients = njit(cache=True, **OPTIONS)(_weight_gradients)


@cache
def kernels_of(name: str) -> Kernels:
    """The kernels of a cell; each is compiled (or loaded from the disk cache) at its first call for a dtype."""
    cell = CELLS[name]
    names = _bindings(cell, njit(**OPTIONS))
    cached = njit(cache=True, **OPTIONS)
    return Kernels(cached(rebind(_forward, name, **names)), cached(rebind(_backward, name, **names)))


def _bindings(cell: Cell, compile_one) -> dict:
    """Everything the templates need from a cell: its functions, the loaders of its arities and its constants."""
    arity = {
        "a": len(cell.gates) + len(cell.separate),
        "k": len(cell.kept),
        "s": len(cell.states),
        "v": len(cell.vectors),
    }
    names = {f"load_{axis}": LOAD[n] for axis, n in arity.items()} | {
        f"add_{axis}": ADD[n] for axis, n in arity.items()
    }
    names |= {"RECURRENT": cell.recurrent_columns, "SECOND": -1}
    if cell.second_product:
        names["SECOND"] = cell.gates.index(cell.second_product)
    names |= _cell_functions(cell, compile_one)
    for template in (_preactivations, _pointwise_forward, _pointwise_backward, _recurrent_backward):
        names[template.__name__[1:]] = compile_one(rebind(template, cell.name, **names))
    return names


def _cell_functions(cell: Cell, compile_one) -> dict:
    """The cell's functions compiled in the form the templates call: always with vectors, always with an operand."""

    def compiled(function):
        return compile_tree(function, cell.name, TARGET, compile_one)

    gates, backward = compiled(cell.gates_of), compiled(cell.backward)
    if not cell.vectors:
        gates = compile_one(rebind(_gates_without_vectors, cell.name, plain_gates=gates))
        backward = compile_one(rebind(_backward_without_vectors, cell.name, plain_backward=backward))
    return {
        "gates": gates,
        "vector_jacobian": backward,
        "update": compiled(cell.update),
        "operand": compiled(cell.operand or _no_operand),
        "operand_backward": compiled(cell.operand_backward or _no_operand_backward),
    }


def warm(name: str, dtype: str) -> None:
    """Compile the kernels of a cell for a dtype by one step of one unit."""
    cell = CELLS[name]
    gates, columns = len(cell.gates), len(cell.gates) + len(cell.separate)

    def zeros(*shape):
        return np.zeros(shape, dtype)

    x, weights, lengths = zeros(1, 1, 1, 1), zeros(1, gates, 1, 1), np.ones(1, np.int64)
    vectors, kept, states = (
        zeros(1, len(cell.vectors), 1),
        zeros(1, len(cell.kept), 1, 1, 1),
        zeros(1, len(cell.states), 2, 1, 1),
    )
    d_a, operands = zeros(1, columns, 1, 1, 1), zeros(1, gates, 1, 1)
    kernels = kernels_of(name)
    kernels.forward(x, weights, weights, zeros(1, columns, 1), vectors, lengths, False, kept, states)
    kernels.backward(weights, vectors, lengths, False, kept, states, x, zeros(*states.shape), d_a, vectors)
    recurrent_columns = np.array(cell.recurrent_columns)
    weight_gradients(x, operands, weights, d_a, recurrent_columns, lengths, False, weights, weights, x)
