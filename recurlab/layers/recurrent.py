"""Recurrent layers: forward, exact back-propagation through time, and every gate and state by name.

Axes: R replica, T time, B batch, I input, H hidden, L layers, D directions, G gates, S states. Parameters carry
PyTorch's names, gate orders and shapes.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from recurlab.cells import CELLS
from recurlab.cells.cell import Cell
from recurlab.kernels import memory
from recurlab.kernels.blocks import sizes_of
from recurlab.kernels.cuda.device import is_on_device
from recurlab.kernels.denormals import check_supported
from recurlab.layers import matrices
from recurlab.layers.checks import expect, expect_array, expect_choice, expect_device, expect_names, expect_size
from recurlab.layers.matrices import packed_shape, with_replicas
from recurlab.layers.passes import Pass, back_pass, run_pass

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
    packed: bool = False  # parameters in the layout of the kernels, see `pack`

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


class Tape(NamedTuple):
    """Everything `backward` needs of a forward pass."""

    layer: Recurrent
    passes: tuple[Pass, ...]
    lengths: np.ndarray  # (B,)
    replicated: bool
    between: np.ndarray | None = None  # (R, L-1, T or 1, B, D·H), factors of what each layer but the last hands on
    stays: bool = False  # whether results stay on the GPU: there x was


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

    Raises ValueError for an unknown cell, dtype or device, a GPU that cannot be used (it says why), or a size below 1.
    """
    expect_choice("cell", cell, CELLS)
    expect_choice("dtype", dtype, DTYPES)
    expect_device(device)
    expect(isinstance(bidirectional, bool), "bidirectional", repr(bidirectional), "True or False")
    sizes = (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers))
    input_size, hidden_size, num_layers = (expect_size(name, value) for name, value in sizes)
    spec = CELLS[cell]
    expect(not (spec.norm and spec.second_product), "cell", f"{cell}, a second product with a norm", "one of the two")
    return Recurrent(cell, input_size, hidden_size, num_layers, bidirectional, dtype, device)


@cache
def parameter_shapes(layer: Recurrent) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, without the replica axis."""
    shapes, hidden = {}, layer.hidden_size
    rows = len(layer.spec.gates) * hidden
    for level, _, suffix in layer.passes:
        width = layer.input_size if level == 0 else layer.directions * hidden
        parts = {"ih": width} | ({"hh": hidden} if layer.spec.recurrent_matrix else {})
        for part, columns in parts.items():
            shapes[f"weight_{part}{suffix}"] = _packed_shape(layer, columns) if layer.packed else (rows, columns)
        shapes |= {f"bias_{part}{suffix}": (rows,) for part in parts}
        shapes |= {f"weight_{vector}{suffix}": (hidden,) for vector in layer.spec.vectors}
        shapes |= {f"weight_norm{suffix}": (rows + len(layer.spec.separate) * hidden,)} if layer.spec.norm else {}
    return shapes


def _packed_shape(layer: Recurrent, columns: int) -> tuple[int, int, int]:
    """The shape of a packed weight matrix."""
    n = sizes_of(layer.spec, layer.dtype, 1, 1, 1, columns, layer.hidden_size)
    return packed_shape(n, columns)


def pack(layer: Recurrent, params: dict) -> tuple[Recurrent, dict]:
    """The layer and its parameters with the weight matrices in the layout of the kernels.

    `forward` and `backward` take both as they take the natural ones, and the gradients come in the same layout: a
    training loop that stays packed saves bringing weights in and gradients out at every update. What fills a matrix up
    is zero, and so are its gradients. The layout belongs to this host; `unpack` before saving or measuring.
    """
    expect_natural(layer)
    expect(layer.device == "cpu", "layer", f"device {layer.device}", "device cpu: the layout is that of its kernels")
    check_params(layer, params)
    return layer._replace(packed=True), _each_matrix(layer, params, matrices.packed, 2)


def unpack(layer: Recurrent, params: dict) -> tuple[Recurrent, dict]:
    """The natural layer and parameters of packed ones, or natural gradients of packed ones."""
    expect(layer.packed, "layer", "one with natural parameters", "a packed layer")
    check_params(layer, params)
    return layer._replace(packed=False), _each_matrix(layer, params, matrices.natural, 3)


def _each_matrix(layer: Recurrent, params: dict, change, ndim: int) -> dict:
    """The parameters with every weight matrix changed by change(cell, sizes, matrix, recurrent)."""
    changed = dict(params)
    for level, _, suffix in layer.passes:
        inputs = layer.input_size if level == 0 else layer.directions * layer.hidden_size
        for name in {f"weight_ih{suffix}", f"weight_hh{suffix}"} & params.keys():
            matrix = with_replicas(params[name], ndim)
            n = sizes_of(layer.spec, layer.dtype, len(matrix), 1, 1, inputs, layer.hidden_size)
            out = change(layer.spec, n, matrix, name.startswith("weight_hh"))
            changed[name] = out if params[name].ndim == ndim + 1 else out[0]
    return changed


def expect_natural(layer: Recurrent) -> None:
    """A packed layer is for `forward` and `backward` alone."""
    expect(not layer.packed, "layer", "a packed one", "natural parameters (see unpack)")


def expect_recurrent_matrix(layer: Recurrent) -> None:
    """Some questions are about W_hh."""
    expect(layer.spec.recurrent_matrix, "layer", f"cell {layer.cell}", "a cell with a recurrent matrix")


def check_params(layer: Recurrent, params: dict, finite: bool = True) -> int | None:
    """Check names, shapes, dtype and finiteness; returns R, or None without a replica axis."""
    shapes = parameter_shapes(layer)
    expect(isinstance(params, dict), "params", type(params).__name__, "a dict of arrays")
    if params.keys() != shapes.keys():
        expect_names("params", params, shapes)
    first = next(iter(shapes))
    replicas = len(params[first]) if np.ndim(params[first]) == len(shapes[first]) + 1 else None
    expect(replicas != 0, "params", "R = 0 replicas", "R ≥ 1")
    for name, shape in shapes.items():
        full = shape if replicas is None else (replicas, *shape)
        axes = ("" if replicas is None else "R, ") + {1: "rows", 2: "rows, columns", 3: "blocks, rows, lanes"}[
            len(shape)
        ]
        expect_array(f"params[{name!r}]", params[name], full, layer.dtype, f"({axes})", finite, layer.device)
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
    came = tape.layer, tape.passes[0].n.replicas if tape.replicated else None
    expect(came == (layer, replicas), "tape", f"that of {came[0]}, R = {came[1]}", f"that of {layer}, R = {replicas}")


def forward(
    layer: Recurrent,
    params: dict,
    x,
    state=None,
    lengths=None,
    *,
    flush_denormals=False,
    check=True,
    checkpoint=False,
    output=True,
    keep=None,
    between=None,
):
    """Run the layer: x ([R,] T, B, I) -> y ([R,] T, B, D·H), final states, tape.

    `state` is a tuple of ([R,] L·D, B, H), one for each state of the cell, or None for zeros. `lengths` (B,) makes
    row b end after lengths[b] steps: later steps pass the state through and output zero, and a reversed pass starts at
    the row's own end. A leading R on all parameters (and on `state`, and on x unless it is shared) runs R networks.
    With `checkpoint` the tape holds only the states at about √T steps, and `backward` computes the rest once more: the
    same bits for less memory (see `memory_bytes`) and about a third more time. Without `output` y is not written and
    None is returned for it: the final states are enough for a loss at the last step. `keep` is zoneout (Krueger et al.
    2017): for each state an array ([R,] L·D, T, B, H) of k in [0, 1], or one number for all, and the state is k times
    what the cell gives plus 1 - k times the old one. Masks of 0 and 1 are for training, their mean is for testing.
    `between` ([R,] L-1, T or 1, B, D·H) multiplies what each layer but the last hands on: dropout between layers.

    Raises ValueError naming the argument for a wrong shape, dtype, name or, with `check`, a value that is not finite.
    """
    replicas = check_params(layer, params, check)
    lengths = check_inputs(layer, replicas, x, state, lengths, check)
    keep = check_keep(layer, replicas, keep, *x.shape[-3:-1])
    check_between(layer, replicas, between, *x.shape[-3:-1], check)
    if layer.device != "cpu":
        return on_gpu().forward(layer, params, replicas, x, state, lengths, checkpoint, output, keep, between)
    x, between = with_replicas(x, 3), None if between is None else with_replicas(between, 4)
    state, shares = _stacked_states(layer, state, replicas, x.shape[2]), _stacked_keep(layer, keep)
    check_supported(flush_denormals)
    runs, finals = [], []
    for level in range(layer.num_layers):
        wanted = output or level < layer.num_layers - 1
        shape = (len(state), *x.shape[1:3], layer.directions * layer.hidden_size)
        y = memory.empty(shape, layer.dtype) if wanted else np.empty(0, layer.dtype)
        for d in range(layer.directions):
            k = level * layer.directions + d
            _, reverse, suffix = layer.passes[k]
            start = np.ascontiguousarray(state[:, :, k])
            column, own = d * layer.hidden_size, None if shares is None else shares[k]
            run, final = run_pass(
                layer, params, suffix, reverse, x, start, lengths, own, y, column, checkpoint, flush_denormals
            )
            runs.append(run)
            finals.append(final)
        x = y * between[:, level] if between is not None and level < layer.num_layers - 1 else y
    final = _outward(np.stack(finals, axis=2), replicas)
    y = None if not output else y if replicas is not None else y[0]
    return y, final, Tape(layer, tuple(runs), lengths, replicas is not None, between)


def backward(
    layer: Recurrent,
    params: dict,
    tape: Tape,
    dy,
    dstate=None,
    *,
    flush_denormals=False,
    check=True,
    input_gradient=True,
):
    """Exact back-propagation through time: dL/dy (as y) and dL/dfinal states -> dL/dparams, dL/dx, dL/dinitial states.

    dy and dstate may be None for zeros. The gradients of the parameters have the parameters' keys and shapes; a shared
    x gets one gradient for each replica. Without `input_gradient` dL/dx is not computed and None is returned for it.
    """
    if layer.device != "cpu":
        expect_output_gradients(layer, params, tape, dy, dstate, check)
        return on_gpu().backward(layer, tape, dy, dstate, input_gradient)
    dy, dstate = check_output_gradients(layer, params, tape, dy, dstate, check)
    check_supported(flush_denormals)
    grads, d_initial = {}, np.empty_like(dstate)
    for level in reversed(range(layer.num_layers)):
        wanted = input_gradient or level > 0
        x = tape.passes[level * layer.directions].x
        d_below = memory.zeros((len(dstate), *x.shape[1:]), layer.dtype) if wanted else None
        for d in range(layer.directions):
            k = level * layer.directions + d
            d_final = np.ascontiguousarray(dstate[:, :, k])
            d_initial[:, :, k] = back_pass(
                tape.passes[k], params, dy, d * layer.hidden_size, d_final, d_below, grads, flush_denormals
            )
        dy = d_below * tape.between[:, level - 1] if tape.between is not None and level > 0 else d_below
    grads = {name: grads[name] if tape.replicated else grads[name][0] for name in params}
    dx = dy if tape.replicated or dy is None else dy[0]
    return grads, dx, _outward(d_initial, len(dstate) if tape.replicated else None)


def _outward(states: np.ndarray, replicas) -> tuple[np.ndarray, ...]:
    """(R, S, L·D, B, H) -> a tuple with one array for each state, without R if the caller had none."""
    return tuple(states[:, s] if replicas is not None else states[0, s] for s in range(states.shape[1]))


def trace(layer: Recurrent, params: dict, x, state=None, lengths=None) -> dict[str, np.ndarray]:
    """Every gate and state at every step, by name: {"i_l0": ([R,] T, B, H), …, "h_l0": …, "c_l0": …} in order of time.

    A state's entry at time t is its value after that step. Beyond a row's length gates are 0 and states stay.
    """
    _, _, tape = forward(layer, params, x, state, lengths)
    found = {}
    for run in tape.passes:
        kept, states = run.natural()
        there = (np.arange(kept.shape[2])[:, None] < tape.lengths)[:, :, None]
        for k, name in enumerate(layer.spec.kept):
            found[name + run.suffix] = _in_time(np.where(there, kept[:, k], 0), run.reverse, tape.lengths)
        for s, name in enumerate(layer.spec.states):
            found[name + run.suffix] = _in_time(states[:, s, 1:], run.reverse, tape.lengths)
    return found if tape.replicated else {name: array[0] for name, array in found.items()}


def gate_blocks(layer: Recurrent, matrix: np.ndarray) -> np.ndarray:
    """([R,] G·H, n) -> ([R,] G, H, n): the block of each gate, a view."""
    expect_natural(layer)
    return matrix.reshape(*matrix.shape[:-2], len(layer.spec.gates), layer.hidden_size, matrix.shape[-1])


def _in_time(array: np.ndarray, reverse: bool, lengths: np.ndarray) -> np.ndarray:
    """(R, T, B, H) in the order of the pass's steps -> in order of time."""
    if not reverse:
        return array
    time = np.arange(array.shape[1])[:, None]
    step = np.where(time < lengths, lengths - 1 - time, time)  # (T, B)
    return np.take_along_axis(array, step[None, :, :, None], axis=1)


def recurrent_operands(layer: Recurrent, kept: np.ndarray, states: np.ndarray) -> np.ndarray:
    """What the recurrent weights of each gate were applied to at every step, (R, G, T·B, H): h or the operand."""
    cell = layer.spec
    expect_recurrent_matrix(layer)
    h = states[:, 0, :-1].reshape(len(states), -1, layer.hidden_size)
    other = kept[:, -1].reshape(h.shape)
    return np.stack([other if gate == cell.second_product else h for gate in cell.gates], axis=1)


def check_inputs(layer, replicas, x, state, lengths, finite) -> np.ndarray:
    """Check x and the initial states; the lengths as int64."""
    known = isinstance(x, np.ndarray) or (layer.device != "cpu" and is_on_device(x))
    expect(known, "x", type(x).__name__, "a NumPy array ([R,] T, B, I)")
    own = replicas is not None and x.ndim == 4
    expect_array(
        "x",
        x,
        (*((replicas,) * own), None, None, layer.input_size),
        layer.dtype,
        "(R, T, B, I)" if own else "(T, B, I)",
        finite,
        layer.device,
    )
    steps, batch = x.shape[-3:-1]
    expect(steps >= 1 and batch >= 1, "x", f"shape {x.shape}", "T ≥ 1 and B ≥ 1")
    check_states(layer, "state", state, replicas, batch, finite)
    return check_lengths(lengths, steps, batch)


def check_states(layer, name, state, replicas, batch, finite) -> None:
    """Check a tuple of states; None is zeros."""
    if state is None:
        return
    shape = (*(() if replicas is None else (replicas,)), len(layer.passes), batch, layer.hidden_size)
    wanted = f"a tuple of {len(layer.spec.states)} arrays ({', '.join(layer.spec.states)})"
    expect(isinstance(state, tuple | list) and len(state) == len(layer.spec.states), name, _describe(state), wanted)
    for part, array in zip(layer.spec.states, state, strict=True):
        expect_array(f"{name} {part}", array, shape, layer.dtype, "([R,] L·D, B, H)", finite, layer.device)


def _stacked_states(layer, state, replicas, batch) -> np.ndarray:
    """A tuple of states (or None) as one array (R, S, L·D, B, H)."""
    if state is None:
        shape = (len(layer.passes), batch, layer.hidden_size)
        return np.zeros((replicas or 1, len(layer.spec.states), *shape), layer.dtype)
    return np.stack([array if replicas is not None else array[None] for array in state], axis=1)


def check_keep(layer, replicas, keep, steps, batch) -> list[np.ndarray] | None:
    """The k of zoneout of every state, (R, L·D, T, B, H), or None."""
    if keep is None:
        return None
    states, shape = layer.spec.states, (len(layer.passes), steps, batch, layer.hidden_size)
    wanted = f"a tuple of {len(states)} numbers or arrays ({', '.join(states)})"
    expect(isinstance(keep, tuple | list) and len(keep) == len(states), "keep", _describe(keep), wanted)
    full = shape if replicas is None else (replicas, *shape)
    arrays = [np.full(full, part, layer.dtype) if np.ndim(part) == 0 else part for part in keep]
    for name, array in zip(states, arrays, strict=True):
        expect_array(f"keep {name}", array, full, layer.dtype, "([R,] L·D, T, B, H)")
        expect(array.min() >= 0 and array.max() <= 1, f"keep {name}", f"{array.min()} to {array.max()}", "0 to 1")
    return [with_replicas(array, 4) for array in arrays]


def _stacked_keep(layer, keep) -> list[np.ndarray] | None:
    """The shares of zoneout of every pass, (S, R, T, B, H), or None."""
    if keep is None:
        return None
    whole = np.stack(keep)
    return [np.ascontiguousarray(whole[:, :, k]) for k in range(len(layer.passes))]


def check_between(layer, replicas, between, steps, batch, finite) -> None:
    """Check the factors between layers; None is ones."""
    if between is None:
        return
    steps = 1 if np.ndim(between) >= 4 and between.shape[-3] == 1 else steps
    shape = (layer.num_layers - 1, steps, batch, layer.directions * layer.hidden_size)
    full = shape if replicas is None else (replicas, *shape)
    expect_array("between", between, full, layer.dtype, "([R,] L-1, T or 1, B, D·H)", finite, layer.device)


def _describe(value) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__


def expect_output_gradients(layer, params, tape, dy, dstate, finite) -> int | None:
    """Check the arguments of `backward`; returns R, or None without a replica axis."""
    replicas = check_params(layer, params, finite)
    check_tape(layer, replicas, tape)
    steps, batch = tape.passes[0].x.shape[1:3]
    shape = (steps, batch, layer.directions * layer.hidden_size)
    full, axes = (shape, "(T, B, D·H)") if replicas is None else ((replicas, *shape), "(R, T, B, D·H)")
    if dy is not None:
        expect_array("dy", dy, full, layer.dtype, axes, finite, layer.device)
    check_states(layer, "dstate", dstate, replicas, batch, finite)
    return replicas


def check_output_gradients(layer, params, tape, dy, dstate, finite):
    """dy with a replica axis (or None) and dstate as one array (R, S, L·D, B, H)."""
    replicas = expect_output_gradients(layer, params, tape, dy, dstate, finite)
    ends = _stacked_states(layer, dstate, replicas, tape.passes[0].x.shape[2])
    return (None if dy is None else with_replicas(dy, 3)), ends


def on_gpu():
    """The module for layers on a GPU: numba.cuda is loaded by those who have one."""
    from recurlab.layers import on_device

    return on_device
