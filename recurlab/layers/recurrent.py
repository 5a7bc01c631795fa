"""Recurrent layers: forward, exact back-propagation through time, and every gate and state by name.

Axes: R replica, T time, B batch, I input, H hidden, L layers, D directions, G gates, S states. Parameters carry
PyTorch's names, gate orders and shapes.
"""

from typing import NamedTuple

import numpy as np

from recurlab.cells import CELLS
from recurlab.cells.cell import Cell
from recurlab.kernels import DEVICES, cpu
from recurlab.kernels.denormals import denormals_flushed
from recurlab.layers.checks import expect, expect_array, expect_choice, expect_names, expect_size

DTYPES = ("float32", "float64")


class Recurrent(NamedTuple):
    """The description of a stack of recurrent layers; it holds no weights. Made by `recurrent`."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    dtype: str
    device: str

    @property
    def spec(self) -> Cell:
        """The cell itself."""
        return CELLS[self.cell]

    @property
    def directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def passes(self) -> tuple[tuple[int, bool, str], ...]:
        """(layer index, runs backwards, suffix of its parameters) of all L·D passes in PyTorch's order."""
        return tuple(
            (level, bool(d), f"_l{level}" + "_reverse" * d)
            for level in range(self.num_layers)
            for d in range(self.directions)
        )


class Pass(NamedTuple):
    """What one direction of one layer leaves for the backward pass; arrays as in `kernels.cpu`."""

    x: np.ndarray  # (R or 1, T, B, I)
    kept: np.ndarray  # (R, K, T, B, H), in the order of its steps
    states: np.ndarray  # (R, S, T+1, B, H)
    reverse: bool
    suffix: str


class Tape(NamedTuple):
    """Everything `backward` needs of a forward pass."""

    layer: Recurrent
    passes: tuple[Pass, ...]
    lengths: np.ndarray  # (B,)
    replicated: bool


def recurrent(
    cell: str,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dtype: str = "float32",
    device: str = "cpu",
) -> Recurrent:
    """Describe a stack of recurrent layers of one cell (see CELLS).

    Raises ValueError for an unknown cell, dtype or device, or a size below 1.
    """
    expect_choice("cell", cell, CELLS)
    expect_choice("dtype", dtype, DTYPES)
    expect_choice("device", device, DEVICES)
    expect(isinstance(bidirectional, bool), "bidirectional", repr(bidirectional), "True or False")
    sizes = (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers))
    input_size, hidden_size, num_layers = (expect_size(name, value) for name, value in sizes)
    return Recurrent(cell, input_size, hidden_size, num_layers, bidirectional, dtype, device)


def parameter_shapes(layer: Recurrent) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    shapes, hidden = {}, layer.hidden_size
    rows = len(layer.spec.gates) * hidden
    for level, _, suffix in layer.passes:
        width = layer.input_size if level == 0 else layer.directions * hidden
        shapes |= {f"weight_ih{suffix}": (rows, width), f"weight_hh{suffix}": (rows, hidden)}
        shapes |= {f"bias_ih{suffix}": (rows,), f"bias_hh{suffix}": (rows,)}
        shapes |= {f"weight_{vector}{suffix}": (hidden,) for vector in layer.spec.vectors}
    return shapes


def check_params(layer: Recurrent, params: dict, finite: bool = True) -> int | None:
    """Check names, shapes, dtype and finiteness; returns R, or None without a replica axis."""
    shapes = parameter_shapes(layer)
    expect(isinstance(params, dict), "params", type(params).__name__, "a dict of arrays")
    expect_names("params", params, shapes)
    first = next(iter(shapes))
    replicas = len(params[first]) if np.ndim(params[first]) == len(shapes[first]) + 1 else None
    expect(replicas != 0, "params", "R = 0 replicas", "R ≥ 1")
    for name, shape in shapes.items():
        full, axes = (shape, "") if replicas is None else ((replicas, *shape), "R, ")
        expect_array(
            f"params[{name!r}]",
            params[name],
            full,
            layer.dtype,
            f"({axes}{'rows, columns' if len(shape) == 2 else 'rows'})",
            finite,
        )
    return replicas


def check_lengths(lengths, steps: int, batch: int) -> np.ndarray:
    """The number of valid steps of each row as int64 (B,); None means all."""
    if lengths is None:
        return np.full(batch, steps, np.int64)
    lengths = np.asarray(lengths)
    expect(
        lengths.shape == (batch,) and lengths.dtype.kind in "iu",
        "lengths",
        f"{lengths.dtype} {lengths.shape}",
        f"whole numbers ({batch},)",
    )
    expect(
        lengths.min() >= 1 and lengths.max() <= steps, "lengths", f"{lengths.tolist()}", f"values from 1 to T = {steps}"
    )
    return lengths.astype(np.int64)


def check_tape(layer: Recurrent, replicas: int | None, tape: Tape) -> None:
    """Refuse the tape of another layer or another number of replicas: the kernels would read beyond its arrays."""
    expect(isinstance(tape, Tape), "tape", type(tape).__name__, "what forward returned last")
    came = tape.layer, len(tape.passes[0].states) if tape.replicated else None
    expect(came == (layer, replicas), "tape", f"that of {came[0]}, R = {came[1]}", f"that of {layer}, R = {replicas}")


def forward(layer: Recurrent, params: dict, x, state=None, lengths=None, *, flush_denormals=False, check=True):
    """Run the layer: x ([R,] T, B, I) -> y ([R,] T, B, D·H), final states, tape.

    `state` is a tuple of ([R,] L·D, B, H), one for each state of the cell, or None for zeros. `lengths` (B,) makes
    row b end after lengths[b] steps: later steps pass the state through and output zero, and a reversed pass starts at
    the row's own end. A leading R on all parameters (and on `state`, and on x unless it is shared) runs R networks.

    Raises ValueError naming the argument for a wrong shape, dtype, name or, with `check`, a value that is not finite.
    """
    replicas = check_params(layer, params, check)
    x, state, lengths = _check_inputs(layer, replicas, x, state, lengths, check)
    passes, finals, below = [], [], x
    with denormals_flushed(flush_denormals):
        for k, (_, reverse, suffix) in enumerate(layer.passes):
            passes.append(_run_pass(layer, params, suffix, reverse, below, [s[:, k] for s in state], lengths))
            finals.append(passes[-1].states[:, :, -1])
            if k % layer.directions == layer.directions - 1:
                below = np.concatenate([_output(run, lengths) for run in passes[-layer.directions :]], axis=-1)
    final = np.stack(finals, axis=2)  # (R, S, L·D, B, H)
    final = tuple(final[:, s] if replicas is not None else final[0, s] for s in range(final.shape[1]))
    return (
        (below if replicas is not None else below[0]),
        final,
        Tape(layer, tuple(passes), lengths, replicas is not None),
    )


def backward(layer: Recurrent, params: dict, tape: Tape, dy, dstate=None, *, flush_denormals=False, check=True):
    """Exact back-propagation through time: dL/dy (as y) and dL/dfinal states -> dL/dparams, dL/dx, dL/dinitial states.

    The gradients of the parameters have the parameters' keys and shapes; a shared x gets one gradient for each replica.
    """
    dy, dstate = check_output_gradients(layer, params, tape, dy, dstate, check)
    grads, d_initial = {}, [None] * len(layer.passes)
    # The sums over the batch and over directions may meet inf - inf in a diverged replica; kernels do not warn either.
    with denormals_flushed(flush_denormals), np.errstate(over="ignore", invalid="ignore"):
        for level in reversed(range(layer.num_layers)):
            d_below = 0
            for d in range(layer.directions):
                k = level * layer.directions + d
                d_out = np.ascontiguousarray(dy[..., d * layer.hidden_size : (d + 1) * layer.hidden_size])
                run, ends = tape.passes[k], [s[:, k] for s in dstate]
                d_states, d_a, d_vectors = backward_pass(layer, params, run, tape.lengths, d_out, ends)
                d_x = _pass_gradients(layer, params, run, tape.lengths, d_a, d_vectors, grads)
                d_below, d_initial[k] = d_below + d_x, d_states[:, :, 0]
            dy = d_below
    d_initial = np.stack(d_initial, axis=2)
    if tape.replicated:
        return {name: grads[name] for name in params}, dy, tuple(d_initial[:, s] for s in range(d_initial.shape[1]))
    return {name: grads[name][0] for name in params}, dy[0], tuple(d_initial[0])


def trace(layer: Recurrent, params: dict, x, state=None, lengths=None) -> dict[str, np.ndarray]:
    """Every gate and state at every step, by name: {"i_l0": ([R,] T, B, H), …, "h_l0": …, "c_l0": …} in order of time.

    A state's entry at time t is its value after that step. Beyond a row's length gates are 0 and states stay.
    """
    _, _, tape = forward(layer, params, x, state, lengths)
    found = {}
    for run in tape.passes:
        for k, name in enumerate(layer.spec.kept):
            found[name + run.suffix] = _in_time(run.kept[:, k], run.reverse, tape.lengths)
        for s, name in enumerate(layer.spec.states):
            found[name + run.suffix] = _in_time(run.states[:, s, 1:], run.reverse, tape.lengths)
    return found if tape.replicated else {name: array[0] for name, array in found.items()}


def gate_blocks(layer: Recurrent, matrix: np.ndarray) -> np.ndarray:
    """([R,] G·H, n) -> ([R,] G, H, n): the block of each gate, a view."""
    return matrix.reshape(*matrix.shape[:-2], len(layer.spec.gates), layer.hidden_size, matrix.shape[-1])


def backward_pass(layer, params, run: Pass, lengths, dy, dstate):
    """Back-propagate through one pass: dy (R, T, B, H), dstate a list of (R, B, H) -> d_states, d_a, d_vectors."""
    cell = layer.spec
    replicas, _, rows, batch, hidden = run.states.shape
    d_states = np.zeros_like(run.states)
    for s, gradient in enumerate(dstate):
        d_states[:, s, -1] = gradient
    d_a = np.zeros((replicas, len(cell.gates) + len(cell.separate), rows - 1, batch, hidden), layer.dtype)
    d_vectors = np.zeros((replicas, len(cell.vectors), hidden), layer.dtype)
    W_hh = gate_blocks(layer, _with_replicas(params[f"weight_hh{run.suffix}"], 2))
    vectors = _vectors(layer, params, run.suffix)
    kernel = cpu.kernels_of(layer.cell).backward
    kernel(W_hh, vectors, lengths, run.reverse, run.kept, run.states, dy, d_states, d_a, d_vectors)
    return d_states, d_a, d_vectors


def _with_replicas(array: np.ndarray, ndim: int) -> np.ndarray:
    """A contiguous array with a replica axis in front of its `ndim` own; writable, for a read-only one is another type
    to Numba, which would compile every kernel once more (8 s measured).
    """
    return np.require(array if array.ndim == ndim + 1 else array[None], requirements=("C", "W"))


def _vectors(layer, params, suffix) -> np.ndarray:
    """The per-unit parameters of a pass, (R, V, H)."""
    found = [_with_replicas(params[f"weight_{name}{suffix}"], 1) for name in layer.spec.vectors]
    replicas = len(_with_replicas(params[f"bias_ih{suffix}"], 1))
    return np.stack(found, axis=1) if found else np.zeros((replicas, 0, layer.hidden_size), layer.dtype)


def _bias(layer, params, suffix) -> np.ndarray:
    """b_ih + b_hh in the columns of the pre-activations, (R, A, H)."""
    cell, hidden = layer.spec, layer.hidden_size
    inputs, recurrent_part = (_with_replicas(params[f"bias_{part}{suffix}"], 1) for part in ("ih", "hh"))
    bias = np.zeros((len(inputs), len(cell.gates) + len(cell.separate), hidden), layer.dtype)
    bias[:, : len(cell.gates)] = inputs.reshape(len(inputs), -1, hidden)
    bias[:, cell.recurrent_columns] += recurrent_part.reshape(len(inputs), -1, hidden)
    return bias


def _run_pass(layer, params, suffix, reverse, x, state, lengths) -> Pass:
    """Run one direction of one layer from its initial states, a list of (R, B, H)."""
    cell, hidden = layer.spec, layer.hidden_size
    _, steps, batch, _ = x.shape
    bias = _bias(layer, params, suffix)
    kept = np.zeros((len(bias), len(cell.kept), steps, batch, hidden), layer.dtype)
    states = np.zeros((len(bias), len(cell.states), steps + 1, batch, hidden), layer.dtype)
    for s, initial in enumerate(state):
        states[:, s, 0] = initial
    W_ih, W_hh = (
        np.ascontiguousarray(gate_blocks(layer, _with_replicas(params[f"weight_{part}{suffix}"], 2)).swapaxes(-1, -2))
        for part in ("ih", "hh")
    )
    kernel = cpu.kernels_of(layer.cell).forward
    kernel(x, W_ih, W_hh, bias, _vectors(layer, params, suffix), lengths, reverse, kept, states)
    return Pass(x, kept, states, reverse, suffix)


def _in_time(array: np.ndarray, reverse: bool, lengths: np.ndarray) -> np.ndarray:
    """(R, T, B, H) in the order of the pass's steps -> in order of time."""
    if not reverse:
        return array
    time = np.arange(array.shape[1])[:, None]
    step = np.where(time < lengths, lengths - 1 - time, time)  # (T, B)
    return np.take_along_axis(array, step[None, :, :, None], axis=1)


def _output(run: Pass, lengths: np.ndarray) -> np.ndarray:
    """h in order of time, zero beyond each row's length: (R, T, B, H)."""
    y = _in_time(run.states[:, 0, 1:], run.reverse, lengths)
    return np.where(_beyond(run, lengths)[:, :, None], y.dtype.type(0), y)  # not y · 0: a diverged h is inf


def _beyond(run: Pass, lengths: np.ndarray) -> np.ndarray:
    """Which steps lie beyond each row's length, (T, B); the same in the order of steps and of time."""
    return np.arange(run.x.shape[1])[:, None] >= lengths


def _pass_gradients(layer, params, run: Pass, lengths, d_a, d_vectors, grads: dict) -> np.ndarray:
    """Put the parameter gradients of one pass into grads; returns dL/dx (R, T, B, I)."""
    cell, suffix, replicas = layer.spec, run.suffix, len(d_a)
    columns = np.array(cell.recurrent_columns)
    W_ih = gate_blocks(layer, _with_replicas(params[f"weight_ih{suffix}"], 2))
    d_W_ih = np.zeros_like(W_ih)
    d_W_hh = np.zeros((replicas, len(cell.gates), layer.hidden_size, layer.hidden_size), layer.dtype)
    d_x = np.zeros((replicas, *run.x.shape[1:]), layer.dtype)
    operands = recurrent_operands(layer, run)
    operands[:, :, _beyond(run, lengths).ravel()] = 0  # d_a is 0 there, but 0 · inf of a diverged h is not
    cpu.weight_gradients(run.x, operands, W_ih, d_a, columns, lengths, run.reverse, d_W_ih, d_W_hh, d_x)
    grads[f"weight_ih{suffix}"] = d_W_ih.reshape(replicas, -1, W_ih.shape[-1])
    grads[f"weight_hh{suffix}"] = d_W_hh.reshape(replicas, -1, layer.hidden_size)
    # One replica at a time: NumPy's order of additions may depend on the shape of the whole array.
    totals = np.stack([one.reshape(one.shape[0], -1, one.shape[-1]).sum(axis=1) for one in d_a])
    grads[f"bias_ih{suffix}"] = totals[:, : len(cell.gates)].reshape(replicas, -1)
    grads[f"bias_hh{suffix}"] = totals[:, columns].reshape(replicas, -1)
    for v, name in enumerate(cell.vectors):
        grads[f"weight_{name}{suffix}"] = d_vectors[:, v].copy()
    return d_x


def recurrent_operands(layer, run: Pass) -> np.ndarray:
    """What the recurrent weights of each gate were applied to at every step, (R, G, T·B, H): h or the operand."""
    cell = layer.spec
    h = run.states[:, 0, :-1].reshape(len(run.states), -1, layer.hidden_size)
    other = run.kept[:, -1].reshape(h.shape)
    return np.stack([other if gate == cell.second_product else h for gate in cell.gates], axis=1)


def _check_inputs(layer, replicas, x, state, lengths, finite):
    """x with a replica axis, states as a list of (R, L·D, B, H), lengths as int64."""
    expect(isinstance(x, np.ndarray), "x", type(x).__name__, "a NumPy array ([R,] T, B, I)")
    own = replicas is not None and x.ndim == 4
    expect_array(
        "x",
        x,
        (*((replicas,) * own), None, None, layer.input_size),
        layer.dtype,
        "(R, T, B, I)" if own else "(T, B, I)",
        finite,
    )
    steps, batch = x.shape[-3:-1]
    expect(steps >= 1 and batch >= 1, "x", f"shape {x.shape}", "T ≥ 1 and B ≥ 1")
    shape = (len(layer.passes), batch, layer.hidden_size)
    state = _check_states(layer, "state", state, replicas, shape, finite)
    return _with_replicas(x, 3), state, check_lengths(lengths, steps, batch)


def _check_states(layer, name, state, replicas, shape, finite):
    """A tuple of states (or None) as a list of arrays (R, L·D, B, H)."""
    full = shape if replicas is None else (replicas, *shape)
    if state is None:
        return [np.zeros((replicas or 1, *shape), layer.dtype) for _ in layer.spec.states]
    wanted = f"a tuple of {len(layer.spec.states)} arrays ({', '.join(layer.spec.states)})"
    expect(isinstance(state, tuple | list) and len(state) == len(layer.spec.states), name, _describe(state), wanted)
    for part, array in zip(layer.spec.states, state, strict=True):
        expect_array(f"{name} {part}", array, full, layer.dtype, "([R,] L·D, B, H)", finite)
    return [array if replicas is not None else array[None] for array in state]


def _describe(value) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__


def check_output_gradients(layer, params, tape, dy, dstate, finite):
    """dy with a replica axis and dstate as a list of (R, L·D, B, H)."""
    replicas = check_params(layer, params, finite)
    check_tape(layer, replicas, tape)
    steps, batch = tape.passes[0].x.shape[1:3]
    shape = (steps, batch, layer.directions * layer.hidden_size)
    full, axes = (shape, "(T, B, D·H)") if replicas is None else ((replicas, *shape), "(R, T, B, D·H)")
    expect_array("dy", dy, full, layer.dtype, axes, finite)
    ends = _check_states(layer, "dstate", dstate, replicas, (len(layer.passes), batch, layer.hidden_size), finite)
    return _with_replicas(dy, 3), ends
