"""Euler steps of dh/dt = tanh(W h + …): for W near antisymmetric its Jacobian has eigenvalues near the imaginary axis.

W = M - M' - γ I is the business of the parametrisation `antisymmetric`, and so is an eps that stays as given: here the
length of the step is a parameter of every unit as others are.
"""

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.maths import ONE, sigmoid, tanh


def euler_gates(a, state, vectors):
    n = tanh(a[0])
    return n, vectors[0] * n


def euler_update(kept, state):
    return (state[0] + kept[1],)


def euler_backward(kept, state, new_state, d_new, vectors):
    n, d_change = kept[0], d_new[0] * vectors[0]
    return (d_change * (ONE - n * n),), (d_new[0],), (d_new[0] * n,)


def gated_euler_gates(a, state, vectors):
    z, n = sigmoid(a[0]), tanh(a[1])
    return z, n, vectors[0] * z * n


def gated_euler_update(kept, state):
    return (state[0] + kept[2],)


def gated_euler_backward(kept, state, new_state, d_new, vectors):
    z, n, d_change = kept[0], kept[1], d_new[0] * vectors[0]
    return (d_change * n * z * (ONE - z), d_change * z * (ONE - n * n)), (d_new[0],), (d_new[0] * z * n,)


def small_steps(uniforms):
    """eps = 0.01: the step of Euler's method is chosen, not drawn (Chang et al. 2019)."""
    return tuple(np.full_like(u, 0.01) for u in uniforms)


RNN_ANTISYMMETRIC = Cell(
    name="rnn_antisymmetric",
    equation="n = tanh(W_ih x + b_ih + W_hh h + b_hh); h' = h + eps n",
    source="Chang, Chen, Haber & Chi 2019, AntisymmetricRNN, with a W_hh that is free unless parametrised",
    gates=("n",),
    states=("h",),
    kept=("n", "change"),
    gates_of=euler_gates,
    update=euler_update,
    backward=euler_backward,
    vectors=("eps",),
    initial_vectors=small_steps,
    content="n",
)

RNN_ANTISYMMETRIC_GATED = RNN_ANTISYMMETRIC._replace(
    name="rnn_antisymmetric_gated",
    equation="z = σ(a_z); n = tanh(a_n); h' = h + eps z n",
    source="Chang, Chen, Haber & Chi 2019, with gating; there both gates have the same W_hh",
    gates=("z", "n"),
    kept=("z", "n", "change"),
    gates_of=gated_euler_gates,
    update=gated_euler_update,
    backward=gated_euler_backward,
    writes="z",
)
