"""What a cell is: the recurrent product is generic, the cell is pointwise."""

from collections.abc import Callable
from typing import NamedTuple


class Cell(NamedTuple):
    """One step of a recurrent layer as functions of values.

    With a = W_ih x + b_ih + W_hh h + b_hh, one value for every gate (two for a gate in `separate`: its input part in
    the gate's place and its recurrent part behind all gates):

        kept           = gates(a, state)                          what `update` and `backward` need
        new_state      = update(kept, state)                      entry 0 is the h that W_hh sees at the next step
        d_a, d_state   = backward(kept, state, new_state, d_new)  the vector–Jacobian product of one step

    A value may be a NumPy array, a SIMD vector or a scalar on a GPU: only arithmetic and the names of `maths` are used.

    * `recurrent_matrix` False: W_hh and b_hh do not exist, the state passes on unit by unit (a = W_ih x + b_ih).
    * `vectors`: per-unit parameters (peepholes). Then `gates` and `backward` take them as one more tuple, and
      `backward` returns their gradient as a third entry. `initial_vectors` makes them from as many arrays of uniform
      numbers; None draws them as biases, about 0, where a unit whose vector is its memory would forget at once.
    * `norm`: layer normalisation. Every value of a, the two of a separate gate each by itself, is then
      gain · (s - mean s) / √(var s + 1e-5) + bias over the units of a row, s being the products alone; the gains are
      one more parameter, weight_norm. Not with a second product, whose operand would come before its norm.
    * `second_product`: the gate whose recurrent weights act on an operand computed in this step instead of on h.
      `operand(a, state)` gives it, and it is the last entry of kept; `operand_backward(kept, state, d_operand)` gives
      what it adds to (d_a, d_state).
    """

    name: str
    equation: str
    source: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    kept: tuple[str, ...]
    gates_of: Callable
    update: Callable
    backward: Callable
    separate: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    initial_vectors: Callable | None = None
    recurrent_matrix: bool = True
    norm: bool = False
    second_product: str | None = None
    operand: Callable | None = None
    operand_backward: Callable | None = None
    content: str = "h"  # the gate that proposes new content
    keeps: str | None = None  # the gate that holds the old state when open
    writes: str | None = None  # the gate that lets new content in; where no gate keeps, it holds the state when closed

    @property
    def holds(self) -> dict[str, float]:
        """Gate -> sign of the bias that makes it hold the state, the gate of forget_bias first; empty without any."""
        signs = ((self.keeps, 1.0), (self.writes, -1.0))
        return {gate: sign for gate, sign in signs if gate is not None}

    @property
    def recurrent_columns(self) -> tuple[int, ...]:
        """Where each gate's recurrent part stands in a: in the gate's own place, or behind all gates if separate."""
        behind = {gate: len(self.gates) + k for k, gate in enumerate(self.separate)}
        return tuple(behind.get(gate, g) for g, gate in enumerate(self.gates))
