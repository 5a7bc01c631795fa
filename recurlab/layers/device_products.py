"""The products of all steps of a pass on a GPU: a thread for each number, or tiles where both sides are large.

Both take the terms of a sum in one order and give the same bits. All device arrays are flat.
"""

import numpy as np

from recurlab.kernels.cuda import layout, target
from recurlab.kernels.cuda.matrix import Extents, Places, add_product

LARGE = 64  # rows and columns from which on tiles are filled


def project(run, n, seq, a) -> None:
    """a = bias + x W_ihᵀ."""
    structure, rows, columns = layout.structure_of(run.cell), n.steps * n.batch, len(run.cell.gates) * n.hidden
    tiled = min(rows, columns) >= LARGE
    target.spread(run.products.project, a.size, n._replace(inputs=0) if tiled else n, run.weights, seq, a)
    if tiled:
        own = n.length * n.batch * n.inputs if n.x_replicas > 1 else 0
        z = _extents(n, rows, columns, n.inputs, own, n.inputs * columns, structure.PLANES * rows * n.hidden, 1)
        x, there = _rows_of_x(run, n), _steps(run, n)
        inputs, units = np.arange(n.inputs), _units(n, range(structure.GATES))
        _add(z, (x, inputs, inputs * columns, np.arange(columns), there, units), seq.x, run.weights.W_x, a)


def add_x_gradients(run, n, d_a, dx) -> None:
    """dx += d_a W_ih; nothing where dx is not wanted."""
    structure, rows, terms = layout.structure_of(run.cell), n.steps * n.batch, len(run.cell.gates) * n.hidden
    if dx.size == 0 or min(rows, n.inputs) < LARGE:
        target.spread(run.products.x_gradients, dx.size, n, run.lengths, d_a, run.weights.V_x, dx)
        return
    own = n.length * n.batch * n.inputs
    z = _extents(n, rows, n.inputs, terms, structure.PLANES * rows * n.hidden, terms * n.inputs, own, 1)
    inputs, units = np.arange(n.inputs), _units(n, range(structure.GATES))
    places = _steps(run, n), units, np.arange(terms) * n.inputs, inputs, _rows_of_x(run, n), inputs
    _add(z, places, d_a, run.weights.V_x, dx)


def add_input_gradients(run, n, d_a, out) -> None:
    """dW_ih += Σ d_aᵀ x."""
    structure, rows, x = layout.structure_of(run.cell), len(run.cell.gates) * n.hidden, run.x.reshape(-1)
    if min(rows, n.inputs) < LARGE:
        target.spread(run.products.input_gradients, out.size, n, run.lengths, d_a, x, out)
        return
    own, terms = n.length * n.batch * n.inputs if n.x_replicas > 1 else 0, n.steps * n.batch
    z = _extents(n, rows, n.inputs, terms, structure.PLANES * terms * n.hidden, own, rows * n.inputs, 0)
    inputs, units = np.arange(n.inputs), _units(n, range(structure.GATES))
    places = units, _backwards(n, _steps(run, n)), _backwards(n, _rows_of_x(run, n)), inputs
    _add(z, (*places, np.arange(rows) * n.inputs, inputs), d_a, x, out)


def add_recurrent_gradients(run, n, d_a, out) -> None:
    """dW_hh += Σ d_aᵀ h; in h's place the operand for the gate of a second product."""
    structure, histories = layout.structure_of(run.cell), (run.states.reshape(-1), run.kept.reshape(-1))
    if n.hidden < LARGE:
        target.spread(run.products.recurrent_gradients, out.size, n, run.lengths, d_a, *histories[::-1], out)
        return
    there, row = _backwards(n, _steps(run, n)), n.batch * n.hidden
    skipped = ((structure.KEPT - 1) * n.kept_steps + n.kept_steps - n.steps) * row  # the operand is kept last
    sources = (range(structure.PLAIN), structure.STATES * (n.steps + 1) * row, there)
    sources = [sources, (range(structure.PLAIN, structure.GATES), n.kept * n.kept_steps * row, _moved(there, skipped))]
    for (gates, own, right), history in zip(sources, histories, strict=True):
        rows, each, unit = len(gates) * n.hidden, structure.PLANES * n.steps * row, np.arange(n.hidden)
        z = _extents(n, rows, n.hidden, n.steps * n.batch, each, own, structure.GATES * n.hidden * n.hidden, 0)
        planes = [gate if gate < structure.GATES - structure.SEPARATE else gate + structure.SEPARATE for gate in gates]
        to = (gates.start * n.hidden + np.arange(rows)) * n.hidden
        if rows:
            _add(z, (_units(n, planes), there, right, unit, to, unit), d_a, history, out)


def _add(z: Extents, places, left, right, out) -> None:
    add_product(z, Places(*(target.to_device(np.asarray(each, np.int64)) for each in places)), left, right, out)


def _extents(n, rows, columns, terms, left, right, out, along) -> Extents:
    return Extents(n.replicas, rows, columns, terms, left, right, out, along)


def _steps(run, n) -> np.ndarray:
    """Where row b of step s begins in a plane (T, B, H), (T·B,); -1 beyond its length."""
    there = (n.first_step + np.arange(n.steps)[:, None] < run.host_lengths).ravel()
    return np.where(there, np.arange(n.steps * n.batch) * n.hidden, -1)


def _rows_of_x(run, n) -> np.ndarray:
    """Where the row of x (T, B, I) that row b of step s reads begins, (T·B,); -1 beyond its length."""
    step = n.first_step + np.arange(n.steps)[:, None]
    time = run.host_lengths - 1 - step if n.reverse else np.broadcast_to(step, (n.steps, n.batch))
    return np.where(step < run.host_lengths, (time * n.batch + np.arange(n.batch)) * n.inputs, -1).ravel()


def _backwards(n, places: np.ndarray) -> np.ndarray:
    """(T·B,) from the last step to the first."""
    return places.reshape(n.steps, n.batch)[::-1].ravel()


def _moved(places: np.ndarray, skipped: int) -> np.ndarray:
    """The places so much further, but for those that are none."""
    return np.where(places < 0, -1, places + skipped)


def _units(n, planes) -> np.ndarray:
    """Where the units of some planes (T, B, H) stand in their first row, (planes · H,)."""
    return (np.array(planes, int)[:, None] * n.steps * n.batch * n.hidden + np.arange(n.hidden)).ravel()
