"""Minimal gated unit: the GRU with one gate for both of its own."""

from recurlab.cells.cell import Cell
from recurlab.cells.gru import mixture_gradient, reset_state, reset_state_backward, update
from recurlab.maths import ONE, ZERO, sigmoid, tanh


def minimal_gates(a, state):
    f = sigmoid(a[0])
    return f, tanh(a[1]), f * state[0]


def minimal_update(kept, state):
    f, n = kept[0], kept[1]
    return update((f, ONE - f, n), state)


def minimal_backward(kept, state, new_state, d_new):
    f, n = kept[0], kept[1]
    d_z, d_n, d_h = mixture_gradient((f, ONE - f, n), state, d_new)
    return (ZERO - d_z, d_n), (d_h,)  # 1 - σ(a) = σ(-a)


def minimal_operand_backward(kept, state, d_operand):
    (d_f, _, _), d_state = reset_state_backward(kept, state, d_operand)
    return (d_f, ZERO), d_state


MGU = Cell(
    name="mgu",
    equation="f = σ(a_f); n = tanh(W_in x + b_in + W_hn (f h) + b_hn); h' = (1 - f) h + f n",
    source="Zhou, Wu, Zhang & Zhou 2016",
    gates=("f", "n"),
    states=("h",),
    kept=("f", "n", "forget_h"),
    gates_of=minimal_gates,
    update=minimal_update,
    backward=minimal_backward,
    second_product="n",
    operand=reset_state,
    operand_backward=minimal_operand_backward,
    content="n",
    writes="f",
)
