"""Minimal gated networks: gates and content see the input alone, so the state is a linear recurrence."""

from recurlab.cells.cell import Cell
from recurlab.maths import ONE, sigmoid


def gru_gates(a, state):
    return sigmoid(a[0]), a[1]


def gru_update(kept, state):
    z, n = kept
    return (state[0] + z * (n - state[0]),)


def gru_backward(kept, state, new_state, d_new):
    z, n = kept
    d = d_new[0]
    return (d * (n - state[0]) * z * (ONE - z), d * z), (d * (ONE - z),)


def lstm_gates(a, state):
    return sigmoid(a[0]), sigmoid(a[1]), a[2]


def shares(kept):
    """f / (f + i) and i / (f + i): what stays of the old state, and what enters of the new content."""
    f, i, _ = kept
    whole = ONE / (f + i)
    return f * whole, i * whole


def lstm_update(kept, state):
    stays, enters = shares(kept)
    return (stays * state[0] + enters * kept[2],)


def lstm_backward(kept, state, new_state, d_new):
    f, i, n = kept
    stays, enters = shares(kept)
    d_stays = d_new[0] * (state[0] - n)  # d stays = stays · enters · d ln(f / i)
    d_log = d_stays * stays * enters
    return (d_log * (ONE - f), (ONE - i) * (d_log * -ONE), d_new[0] * enters), (d_new[0] * stays,)


MIN_GRU = Cell(
    name="min_gru",
    equation="h' = (1 - z) h + z n; z = σ(W_z x + b_z); n = W_n x + b_n",
    source="Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, minGRU: z lets new content in, unlike PyTorch's",
    gates=("z", "n"),
    states=("h",),
    kept=("z", "n"),
    gates_of=gru_gates,
    update=gru_update,
    backward=gru_backward,
    recurrent_matrix=False,
    content="n",
    writes="z",
)

MIN_LSTM = Cell(
    name="min_lstm",
    equation="h' = (f h + i n) / (f + i); f, i = σ(W_f x + b_f), σ(W_i x + b_i); n = W_n x + b_n",
    source="Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, minLSTM, gates normalised to a sum of 1",
    gates=("f", "i", "n"),
    states=("h",),
    kept=("f", "i", "n"),
    gates_of=lstm_gates,
    update=lstm_update,
    backward=lstm_backward,
    recurrent_matrix=False,
    content="n",
    keeps="f",
    writes="i",
)
