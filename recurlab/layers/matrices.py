"""The weight matrices of a pass between the natural layout and that of the kernels (see `kernels.blocks`)."""

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.kernels import memory, packing
from recurlab.kernels.blocks import Sizes, planes_of


def with_replicas(array: np.ndarray, ndim: int) -> np.ndarray:
    """A contiguous array with a replica axis in front of its `ndim` own; writable, for a read-only one is another type
    to Numba, which would compile every kernel once more (8 s measured).
    """
    return np.require(array if array.ndim == ndim + 1 else array[None], requirements=("C", "W"))


def packed_shape(n: Sizes, columns: int) -> tuple[int, int, int]:
    """The shape of V_x or V_h without R."""
    return -(-columns // n.lanes), n.gates * n.blocks * n.lanes, n.lanes


def packed(cell: Cell, n: Sizes, weight: np.ndarray, recurrent: bool) -> np.ndarray:
    """Natural weights (R, G·H, columns) as V_x, or V_h if recurrent."""
    order, columns = planes_of(cell).gates[int(recurrent)], weight.shape[-1]
    blocks, _, _ = packed_shape(n, columns)
    filled = np.zeros((len(weight), n.gates, n.blocks * n.lanes, blocks * n.lanes), weight.dtype)
    filled[:, :, : n.hidden, :columns] = weight.reshape(-1, n.gates, n.hidden, columns)[:, order]
    apart = filled.reshape(len(weight), -1, blocks, n.lanes)
    return np.ascontiguousarray(apart.swapaxes(1, 2))


def natural(cell: Cell, n: Sizes, weight: np.ndarray, recurrent: bool) -> np.ndarray:
    """V_x, or V_h if recurrent, as natural weights (R, G·H, columns)."""
    order, columns = planes_of(cell).gates[int(recurrent)], n.hidden if recurrent else n.inputs
    rows = weight.swapaxes(1, 2).reshape(len(weight), n.gates, n.blocks * n.lanes, -1)
    out = np.empty((len(weight), n.gates, n.hidden, columns), weight.dtype)
    out[:, order] = rows[:, :, : n.hidden, :columns]
    return out.reshape(len(weight), -1, columns)


def prepared(cell: Cell, n: Sizes, params: tuple, are_packed: bool) -> tuple[np.ndarray, ...]:
    """W_x, W_h, V_x, V_h and the bias [R][planes][blocks][W] of a pass.

    params: W_ih, W_hh (R, G·H, columns), or V_x and V_h themselves, and the biases b_ih, b_hh (R, G·H). A cell without
    a recurrent matrix has one of no columns, and a recurrent bias of zeros.
    """
    W_ih, W_hh, b_ih, b_hh = params
    shapes = [(n.replicas, *packed_shape(n, columns)) for columns in (n.inputs, n.recurrent)]
    W_x, W_h = (memory.empty(shape, W_ih.dtype) for shape in shapes)
    V_x, V_h = (W_ih, W_hh) if are_packed else (memory.empty(shape, W_ih.dtype) for shape in shapes)
    bias = memory.empty((n.replicas, (n.gates + n.separate) * n.blocks * n.lanes), W_ih.dtype)
    given = (array.reshape(-1) for array in params)
    arrays = (array.reshape(-1) for array in (V_x, V_h, W_x, W_h, bias))
    sizes = (n.replicas, n.hidden, n.inputs, n.recurrent, n.lanes)
    packing.prepare()(*given, planes_of(cell).gates, *arrays, *sizes, not are_packed)
    return W_x, W_h, V_x, V_h, bias


def summed(cell: Cell, n: Sizes, parts: tuple, packed: bool) -> tuple[np.ndarray, ...]:
    """Gradients of W_ih, W_hh, b_ih, b_hh from those of all slices; matrices natural, or packed like V_x and V_h."""
    dtype, rows = parts[0].dtype, n.gates * n.hidden
    d_W = [memory.empty((n.replicas, 0 if packed else rows, columns), dtype) for columns in (n.inputs, n.recurrent)]
    d_b = [memory.empty((n.replicas, rows), dtype) for _ in range(2)]
    given, out = (array.reshape(-1) for array in parts), (array.reshape(-1) for array in (*d_W, *d_b))
    sizes = (n.replicas, n.slices, n.hidden, n.inputs, n.recurrent, n.lanes)
    packing.finish()(*given, planes_of(cell).gates, *out, *sizes, not packed)
    return tuple(np.ascontiguousarray(part[:: n.slices]) for part in parts[:2]) + tuple(d_b) if packed else (*d_W, *d_b)
