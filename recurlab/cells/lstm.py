"""Long short-term memory with a forget gate, without and with peepholes."""

from recurlab.cells.cell import Cell
from recurlab.maths import ONE, ZERO, sigmoid, tanh


def gates(a, state):
    return sigmoid(a[0]), sigmoid(a[1]), tanh(a[2]), sigmoid(a[3])


def update(kept, state):
    i, f, g, o = kept
    c = f * state[1] + i * g
    return o * tanh(c), c


def cell_gradient(kept, new_state, d_new):
    """dL/dc' through c' itself and through h' = o tanh(c'); and dL/da_o, which needs the same tanh(c')."""
    o, t = kept[3], tanh(new_state[1])
    return d_new[1] + d_new[0] * o * (ONE - t * t), d_new[0] * t * o * (ONE - o)


def gate_gradients(kept, state, d_c):
    """dL/da of i, f, g from dL/dc'."""
    i, f, g, _ = kept
    return d_c * g * i * (ONE - i), d_c * state[1] * f * (ONE - f), d_c * i * (ONE - g * g)


def backward(kept, state, new_state, d_new):
    d_c, d_o = cell_gradient(kept, new_state, d_new)
    d_i, d_f, d_g = gate_gradients(kept, state, d_c)
    return (d_i, d_f, d_g, d_o), (ZERO, d_c * kept[1])


def peephole_gates(a, state, vectors):
    i = sigmoid(a[0] + vectors[0] * state[1])
    f = sigmoid(a[1] + vectors[1] * state[1])
    g = tanh(a[2])
    return i, f, g, sigmoid(a[3] + vectors[2] * (f * state[1] + i * g))


def peephole_backward(kept, state, new_state, d_new, vectors):
    d_c, d_o = cell_gradient(kept, new_state, d_new)
    d_c = d_c + d_o * vectors[2]
    d_i, d_f, d_g = gate_gradients(kept, state, d_c)
    d_old = d_c * kept[1] + d_i * vectors[0] + d_f * vectors[1]
    return (d_i, d_f, d_g, d_o), (ZERO, d_old), (d_i * state[1], d_f * state[1], d_o * new_state[1])


LSTM = Cell(
    name="lstm",
    equation="i, f, o = σ(a_i), σ(a_f), σ(a_o); g = tanh(a_g); c' = f c + i g; h' = o tanh(c')",
    source="Gers, Schmidhuber & Cummins 2000; gate order i, f, g, o and two biases as PyTorch nn.LSTM",
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    kept=("i", "f", "g", "o"),
    gates_of=gates,
    update=update,
    backward=backward,
    content="g",
    keeps="f",
    writes="i",
)

LSTM_PEEPHOLE = LSTM._replace(
    name="lstm_peephole",
    equation="i, f = σ(a_i + w_ci c), σ(a_f + w_cf c); g = tanh(a_g); c' = f c + i g; "
    "o = σ(a_o + w_co c'); h' = o tanh(c')",
    source="Gers, Schraudolph & Schmidhuber 2002; the output gate reads the new cell state, as in ONNX LSTM",
    gates_of=peephole_gates,
    backward=peephole_backward,
    vectors=("ci", "cf", "co"),
)
