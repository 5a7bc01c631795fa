"""What kernels are made of on this machine: vectors of the host, or NumPy arrays where Numba is told not to compile.

NUMBA_DISABLE_JIT=1 runs every kernel as the Python it is written in, on `plain`.
"""

import os
from functools import cache

import numpy as np
from numba import cfunc, config, from_dtype, get_num_threads, njit, types

from recurlab import maths
from recurlab.kernels.disk import code_files, kept
from recurlab.kernels.rebind import OPTIONS, rebind

COMPILED = not config.DISABLE_JIT

if COMPILED:
    from recurlab.kernels import elementary, tile
    from recurlab.kernels.elementary import exp, larger
    from recurlab.kernels.simd import across, at, beyond, call, lanes, load, root, store, transpose
else:
    from recurlab.kernels.plain import (
        across,
        at,
        beyond,
        call,
        exp,
        lanes,
        larger,
        load,
        product_of_columns,
        product_of_rows,
        root,
        store,
        transpose,
    )

__all__ = ["across", "at", "beyond", "call", "exp", "lanes", "larger", "load", "root", "store", "transpose"]

_source = elementary if COMPILED else maths
ELEMENTARY = {name: getattr(_source, name) for name in ("tanh", "sigmoid", "relu", "step")}


def cached(function, label: str = "any", parallel: bool = False, **names):
    """`function` compiled at its first call and kept on disk, with some of its globals replaced."""
    return kept(parallel=parallel, **OPTIONS)(rebind(function, label, **names))


def inlined(function):
    """`function` compiled into whatever calls it."""
    return njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)


@cache
def start_threads() -> None:
    """Start Numba's threads such that one that waits sleeps instead of spinning.

    With OpenMP's default a program of two threads slows down 100-fold as soon as another one takes a core: who waits
    for a thread that has no core keeps the other core busy. Measured on two cores beside one busy process, LSTM at
    T = 100, B = 20, H = 50: 116 ms spinning, 1.5 ms sleeping (0.8 ms alone). Only OpenMP's start-up reads the setting,
    so it is taken back at once; a setting of the user's own is left as it is.
    """
    name = "OMP_WAIT_POLICY"
    if {name, "GOMP_SPINCOUNT"} & set(os.environ):
        get_num_threads()
        return
    os.environ[name] = "passive"
    try:
        get_num_threads()  # the first call of it starts them
    finally:
        del os.environ[name]


class Addressed:
    """A function compiled once for a dtype and reached by its address: `places` pointers, then `wholes` integers."""

    def __init__(self, function, dtype, places: int, wholes: int, label: str = "any", **names):
        if not COMPILED:
            self.address = rebind(function, label, **names)
            return
        place = types.CPointer(from_dtype(np.dtype(dtype)))
        signature = types.void(*[place] * places, *[types.intp] * wholes)
        label = f"{label}_{np.dtype(dtype).name}"
        with code_files():
            self._code = cfunc(signature, cache=True, **OPTIONS)(rebind(function, label, **names))  # alive with address
        self.address = self._code.address


@cache
def row_product_of(dtype) -> Addressed:
    """`product_of_rows` for a dtype."""
    return Addressed(tile.product_of_rows if COMPILED else product_of_rows, dtype, 4, 12)


@cache
def column_product_of(dtype) -> Addressed:
    """`product_of_columns` for a dtype."""
    if not COMPILED:
        return Addressed(product_of_columns, dtype, 4, 10)
    return Addressed(tile.product_of_columns, dtype, 4, 10, HEIGHT=tile.column_rows(dtype))
