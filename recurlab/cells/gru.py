"""Gated recurrent units: the reset gate acts after or before the recurrent product."""

from recurlab.cells.cell import Cell
from recurlab.maths import ONE, ZERO, sigmoid, tanh


def gates(a, state):
    r = sigmoid(a[0])
    return r, sigmoid(a[1]), tanh(a[2] + r * a[3]), a[3]


def update(kept, state):
    z, n = kept[1], kept[2]
    return (n + z * (state[0] - n),)


def mixture_gradient(kept, state, d_new):
    """dL/da_z, dL/da_n and the direct part of dL/dh for h' = n + z (h - n)."""
    z, n = kept[1], kept[2]
    return d_new[0] * (state[0] - n) * z * (ONE - z), d_new[0] * (ONE - z) * (ONE - n * n), d_new[0] * z


def backward(kept, state, new_state, d_new):
    r, n_h = kept[0], kept[3]
    d_z, d_n, d_h = mixture_gradient(kept, state, d_new)
    return (d_n * n_h * r * (ONE - r), d_z, d_n, d_n * r), (d_h,)


def reset_state(a, state):
    return sigmoid(a[0]) * state[0]


def before_gates(a, state):
    r = sigmoid(a[0])
    return r, sigmoid(a[1]), tanh(a[2]), r * state[0]


def before_backward(kept, state, new_state, d_new):
    d_z, d_n, d_h = mixture_gradient(kept, state, d_new)
    return (ZERO, d_z, d_n), (d_h,)


def reset_state_backward(kept, state, d_operand):
    r = kept[0]
    return (d_operand * state[0] * r * (ONE - r), ZERO, ZERO), (d_operand * r,)


GRU = Cell(
    name="gru",
    equation="r, z = σ(a_r), σ(a_z); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h' = (1 - z) n + z h",
    source="Cho et al. 2014 with the reset after the product, as cuDNN and PyTorch nn.GRU",
    gates=("r", "z", "n"),
    states=("h",),
    kept=("r", "z", "n", "n_h"),
    gates_of=gates,
    update=update,
    backward=backward,
    separate=("n",),
    content="n",
    keeps="z",
)

GRU_RESET_BEFORE = GRU._replace(
    name="gru_reset_before",
    equation="r, z = σ(a_r), σ(a_z); n = tanh(W_in x + b_in + W_hn (r h) + b_hn); h' = (1 - z) n + z h",
    source="Cho et al. 2014, eqs. 5–8; ONNX GRU with linear_before_reset = 0",
    kept=("r", "z", "n", "reset_h"),
    gates_of=before_gates,
    backward=before_backward,
    separate=(),
    second_product="n",
    operand=reset_state,
    operand_backward=reset_state_backward,
)
