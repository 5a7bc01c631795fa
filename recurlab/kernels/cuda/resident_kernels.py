"""The kernels of each cell that keep its weights on the chip: one of each for every count of numbers a thread holds."""

from functools import cache

import numpy as np
from numba import from_dtype

from recurlab.cells import CELLS
from recurlab.kernels.cuda import forward, resident, resident_back
from recurlab.kernels.cuda.layout import structure_of
from recurlab.kernels.cuda.reference import Steps, bound, helpers, label_of
from recurlab.kernels.cuda.registers import COLUMNS, take
from recurlab.kernels.cuda.residence import ROWS
from recurlab.kernels.cuda.target import inlined, kernel, load, store
from recurlab.kernels.pointwise import LOAD, STORE
from recurlab.kernels.rebind import rebind

# Threads and blocks of a multiprocessor of 65,536 registers: 168 a thread forth, 255 back, where 168 spill 500 bytes.
BOUNDS = (384, 1), (256, 1)


@cache
def resident_of(cell: str, dtype: str, counts: tuple[int, int], fast: bool = False) -> Steps:
    """Both kernels of a cell; `counts` as in `residence.Residence`."""
    label = f"{label_of(cell, False, fast)}_{dtype}"
    functions, made = (resident.forward, resident_back.backward), []
    for function, count, bounds in zip(functions, counts, BOUNDS, strict=True):
        names = _bound(cell, dtype, count, fast, f"{label}_{count}")
        made.append(kernel(function, f"{label}_{count}", fast, bounds, **names))
    return Steps(*made)


@cache
def slice_columns():
    """`resident.slice_columns`, compiled."""
    return kernel(resident.slice_columns, "cuda")


@cache
def gather_tiles(dtype: str):
    """`resident_back.gather_tiles` for the tiles of a precision, compiled."""
    rows = ROWS[np.dtype(dtype).itemsize]
    return kernel(resident_back.gather_tiles, f"cuda_{dtype}", ROWS=rows)


@cache
def _bound(cell: str, dtype: str, count: int, fast: bool, label: str) -> dict:
    """All names that the kernels use beside those of their modules."""
    names = dict(bound(cell, False, fast))
    rows = ROWS[np.dtype(dtype).itemsize]
    names |= {"COUNT": count, "ROWS": rows, "DTYPE": from_dtype(np.dtype(dtype))}
    names |= {"take_slice": take(count), "take_tile": take(rows * COLUMNS)}
    names |= _slots(CELLS[cell], label, fast)
    own = (*resident.HELPERS, *resident_back.HELPERS)
    return names | helpers((*forward.SHARED, *own), label, fast, names)


def _slots(cell, label: str, fast: bool) -> dict:
    """Loads and stores of a unit's planes on the chip."""
    structure = structure_of(cell)
    slot_of = rebind(resident._slot_of, label, **structure._asdict())
    order = tuple(slot_of(plane) for plane in range(structure.PLANES))
    copies = {"load_slots": LOAD[structure.PLANES], "store_slots": STORE[structure.PLANES]}
    access = {"load": load, "store": store, "ORDER": order}
    return {name: inlined(rebind(copy, f"{label}_slots", **access), fast) for name, copy in copies.items()}
