"""LSTMs with one thing less (Greff et al. 2015, but without peepholes): no gate, no activation, or one gate for two.

A gate that is not there has no weights. It is 1 in the equations of the LSTM, whose arithmetic then does the rest.
"""

from recurlab.cells.lstm import LSTM, backward, cell_gradient, gate_gradients, update
from recurlab.maths import ONE, ZERO, sigmoid, tanh


def no_input_gates(a, state):
    return sigmoid(a[0]), tanh(a[1]), sigmoid(a[2])


def no_input_update(kept, state):
    f, g, o = kept
    return update((ONE, f, g, o), state)


def no_input_backward(kept, state, new_state, d_new):
    f, g, o = kept
    (_, d_f, d_g, d_o), d_state = backward((ONE, f, g, o), state, new_state, d_new)
    return (d_f, d_g, d_o), d_state


def no_forget_update(kept, state):
    i, g, o = kept
    return update((i, ONE, g, o), state)


def no_forget_backward(kept, state, new_state, d_new):
    i, g, o = kept
    (d_i, _, d_g, d_o), d_state = backward((i, ONE, g, o), state, new_state, d_new)
    return (d_i, d_g, d_o), d_state


def no_output_gates(a, state):
    return sigmoid(a[0]), sigmoid(a[1]), tanh(a[2])


def no_output_update(kept, state):
    i, f, g = kept
    return update((i, f, g, ONE), state)


def no_output_backward(kept, state, new_state, d_new):
    i, f, g = kept
    (d_i, d_f, d_g, _), d_state = backward((i, f, g, ONE), state, new_state, d_new)
    return (d_i, d_f, d_g), d_state


def coupled_update(kept, state):
    f, g, o = kept
    return update((ONE - f, f, g, o), state)


def coupled_backward(kept, state, new_state, d_new):
    f, g, o = kept
    (d_i, d_f, d_g, d_o), d_state = backward((ONE - f, f, g, o), state, new_state, d_new)
    return (d_f - d_i, d_g, d_o), d_state  # 1 - σ(a) = σ(-a)


def linear_input_gates(a, state):
    return sigmoid(a[0]), sigmoid(a[1]), a[2], sigmoid(a[3])


def linear_input_backward(kept, state, new_state, d_new):
    d_c, d_o = cell_gradient(kept, new_state, d_new)
    d_i, d_f, _ = gate_gradients(kept, state, d_c)
    return (d_i, d_f, d_c * kept[0], d_o), (ZERO, d_c * kept[1])


def linear_output_update(kept, state):
    i, f, g, o = kept
    c = f * state[1] + i * g
    return o * c, c


def linear_output_backward(kept, state, new_state, d_new):
    o = kept[3]
    d_c = d_new[1] + d_new[0] * o
    d_i, d_f, d_g = gate_gradients(kept, state, d_c)
    return (d_i, d_f, d_g, d_new[0] * new_state[1] * o * (ONE - o)), (ZERO, d_c * kept[1])


LSTM_NO_INPUT_GATE = LSTM._replace(
    name="lstm_no_input_gate",
    equation="f, o = σ(a_f), σ(a_o); g = tanh(a_g); c' = f c + g; h' = o tanh(c')",
    source="Greff et al. 2015, NIG without peepholes",
    gates=("f", "g", "o"),
    kept=("f", "g", "o"),
    gates_of=no_input_gates,
    update=no_input_update,
    backward=no_input_backward,
    writes=None,
)

LSTM_NO_FORGET_GATE = LSTM._replace(
    name="lstm_no_forget_gate",
    equation="i, o = σ(a_i), σ(a_o); g = tanh(a_g); c' = c + i g; h' = o tanh(c')",
    source="Hochreiter & Schmidhuber 1997 with the whole gradient; Greff et al. 2015, NFG without peepholes",
    gates=("i", "g", "o"),
    kept=("i", "g", "o"),
    gates_of=no_input_gates,
    update=no_forget_update,
    backward=no_forget_backward,
    keeps=None,
    writes=None,
)

LSTM_NO_OUTPUT_GATE = LSTM._replace(
    name="lstm_no_output_gate",
    equation="i, f = σ(a_i), σ(a_f); g = tanh(a_g); c' = f c + i g; h' = tanh(c')",
    source="Greff et al. 2015, NOG without peepholes",
    gates=("i", "f", "g"),
    kept=("i", "f", "g"),
    gates_of=no_output_gates,
    update=no_output_update,
    backward=no_output_backward,
)

LSTM_COUPLED = LSTM_NO_INPUT_GATE._replace(
    name="lstm_coupled",
    equation="f, o = σ(a_f), σ(a_o); g = tanh(a_g); c' = f c + (1 - f) g; h' = o tanh(c')",
    source="Greff et al. 2015, CIFG without peepholes; the one gate is f, as in PyTorch's order, with i = 1 - f",
    update=coupled_update,
    backward=coupled_backward,
)

LSTM_NO_INPUT_ACTIVATION = LSTM._replace(
    name="lstm_no_input_activation",
    equation="i, f, o = σ(a_i), σ(a_f), σ(a_o); g = a_g; c' = f c + i g; h' = o tanh(c')",
    source="Greff et al. 2015, NIAF without peepholes",
    gates_of=linear_input_gates,
    backward=linear_input_backward,
)

LSTM_NO_OUTPUT_ACTIVATION = LSTM._replace(
    name="lstm_no_output_activation",
    equation="i, f, o = σ(a_i), σ(a_f), σ(a_o); g = tanh(a_g); c' = f c + i g; h' = o c'",
    source="Greff et al. 2015, NOAF without peepholes",
    update=linear_output_update,
    backward=linear_output_backward,
)
