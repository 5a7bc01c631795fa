"""Update-gate RNN: one gate decides how much of the old state stays."""

from recurlab.cells.cell import Cell
from recurlab.cells.gru import mixture_gradient, update
from recurlab.maths import ONE, sigmoid, tanh


def update_gates(a, state):
    return sigmoid(a[0]), tanh(a[1])


def gated_update(kept, state):
    z, n = kept
    return update((ONE, z, n), state)


def gated_backward(kept, state, new_state, d_new):
    z, n = kept
    d_z, d_n, d_h = mixture_gradient((ONE, z, n), state, d_new)
    return (d_z, d_n), (d_h,)


UGRNN = Cell(
    name="ugrnn",
    equation="z = σ(a_z); n = tanh(a_n); h' = (1 - z) n + z h",
    source="Collins, Sohl-Dickstein & Sussillo 2017, with the GRU's names for their g and c",
    gates=("z", "n"),
    states=("h",),
    kept=("z", "n"),
    gates_of=update_gates,
    update=gated_update,
    backward=gated_backward,
    content="n",
    keeps="z",
)
