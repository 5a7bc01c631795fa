"""Independently recurrent networks: every unit sees its own past through one weight, and no other unit's."""

from recurlab.cells.cell import Cell
from recurlab.cells.rnn import take
from recurlab.maths import relu, step


def gates(a, state, vectors):
    return (relu(a[0] + vectors[0] * state[0]),)


def backward(kept, state, new_state, d_new, vectors):
    d_a = d_new[0] * step(kept[0])
    return (d_a,), (d_a * vectors[0],), (d_a * state[0],)


def initial_vectors(uniforms):
    """u ~ U[0, 1): time constants from one step to the longest, and no unit grows without input."""
    return uniforms


INDRNN = Cell(
    name="indrnn",
    equation="h' = max(0, W_ih x + b_ih + u h)",
    source="Li, Li, Cook, Zhu & Gao 2018, with relu",
    gates=("h",),
    states=("h",),
    kept=("h",),
    gates_of=gates,
    update=take,
    backward=backward,
    vectors=("u",),
    initial_vectors=initial_vectors,
    recurrent_matrix=False,
)
