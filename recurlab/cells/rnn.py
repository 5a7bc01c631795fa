"""Elman networks h' = φ(W_ih x + b_ih + W_hh h + b_hh), one cell for every φ (Elman 1990; PyTorch's nn.RNN)."""

from recurlab.cells.cell import Cell
from recurlab.maths import ONE, ZERO, relu, sigmoid, step, tanh


def tanh_gates(a, state):
    return (tanh(a[0]),)


def relu_gates(a, state):
    return (relu(a[0]),)


def sigmoid_gates(a, state):
    return (sigmoid(a[0]),)


def linear_gates(a, state):
    return (a[0],)


def take(kept, state):
    return (kept[0],)


def tanh_backward(kept, state, new_state, d_new):
    return (d_new[0] * (ONE - kept[0] * kept[0]),), (ZERO,)


def relu_backward(kept, state, new_state, d_new):
    return (d_new[0] * step(kept[0]),), (ZERO,)


def sigmoid_backward(kept, state, new_state, d_new):
    return (d_new[0] * kept[0] * (ONE - kept[0]),), (ZERO,)


def linear_backward(kept, state, new_state, d_new):
    return (d_new[0],), (ZERO,)


def _elman(name, phi, gates_of, backward, source) -> Cell:
    equation = f"h' = {phi}(W_ih x + b_ih + W_hh h + b_hh)".replace("= (", "= ")
    return Cell(
        name=name,
        equation=equation,
        source=source,
        gates=("h",),
        states=("h",),
        kept=("h",),
        gates_of=gates_of,
        update=take,
        backward=backward,
    )


RNN_TANH = _elman("rnn_tanh", "tanh", tanh_gates, tanh_backward, "Elman 1990; PyTorch nn.RNN(nonlinearity='tanh')")
RNN_RELU = _elman(
    "rnn_relu", "max(0, ·)", relu_gates, relu_backward, "Le, Jaitly & Hinton 2015; PyTorch nn.RNN('relu')"
)
RNN_SIGMOID = _elman(
    "rnn_sigmoid", "σ", sigmoid_gates, sigmoid_backward, "Pascanu, Mikolov & Bengio 2013, sec. 2, with h = σ(x)"
)
RNN_LINEAR = _elman("rnn_linear", "", linear_gates, linear_backward, "Pascanu, Mikolov & Bengio 2013, sec. 2.1")
