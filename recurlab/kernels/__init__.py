"""How a cell is computed: one module for each device, bound to the cells by `rebind`."""

import time
from collections.abc import Iterator

DEVICES = ("cpu",)


def compile_all(dtypes=("float32", "float64"), cells=None) -> Iterator[tuple[str, float]]:
    """Compile (or load from the disk cache) every kernel for every dtype; yields (name, seconds) as each is ready."""
    from recurlab.cells import CELLS
    from recurlab.kernels import cpu

    for dtype in dtypes:
        for name in cells or CELLS:
            start = time.perf_counter()
            cpu.warm(name, dtype)
            yield f"{name} {dtype}", time.perf_counter() - start
