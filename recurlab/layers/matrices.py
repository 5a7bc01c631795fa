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


def prepared(cell: Cell, n: Sizes, W_ih: np.ndarray, W_hh: np.ndarray, are_packed: bool) -> tuple[np.ndarray, ...]:
    """W_x, W_h, V_x, V_h of a pass, from natural weights (R, G·H, columns) or from V_x and V_h themselves."""
    shapes = [(n.replicas, *packed_shape(n, columns)) for columns in (n.inputs, n.hidden)]
    W_x, W_h = (memory.empty(shape, W_ih.dtype) for shape in shapes)
    V_x, V_h = (W_ih, W_hh) if are_packed else (memory.empty(shape, W_ih.dtype) for shape in shapes)
    arrays = (array.reshape(-1) for array in (V_x, V_h, W_x, W_h))
    sizes = (n.replicas, n.hidden, n.inputs, n.lanes)
    packing.prepare()(W_ih.reshape(-1), W_hh.reshape(-1), planes_of(cell).gates, *arrays, *sizes, not are_packed)
    return W_x, W_h, V_x, V_h


def summed(cell: Cell, n: Sizes, parts_x: np.ndarray, parts_h: np.ndarray, packed: bool) -> tuple[np.ndarray, ...]:
    """Gradients of W_ih and W_hh from those of all slices, in the natural layout or packed like V_x and V_h."""
    shapes = [(n.replicas, 0 if packed else n.gates * n.hidden, columns) for columns in (n.inputs, n.hidden)]
    out = [memory.empty(shape, parts_x.dtype) for shape in shapes]
    flat = (parts_x.reshape(-1), parts_h.reshape(-1), planes_of(cell).gates, *(array.reshape(-1) for array in out))
    packing.finish()(*flat, n.replicas, n.slices, n.hidden, n.inputs, n.lanes, not packed)
    return tuple(np.ascontiguousarray(part[:: n.slices]) for part in (parts_x, parts_h)) if packed else tuple(out)
