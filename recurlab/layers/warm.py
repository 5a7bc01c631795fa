"""Compile every kernel ahead of time, in as many processes as there are cores."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context

import numpy as np

from recurlab.cells import CELLS
from recurlab.kernels import automaton, draw, mixture, trie
from recurlab.layers import embedding, loss, omega, softmax
from recurlab.layers.recurrent import DTYPES, backward, forward, parameter_shapes, recurrent


def warm(cell: str, dtype: str) -> tuple[str, float]:
    """Run a network of one unit forwards and backwards: compiles its kernels, or loads them; (name, seconds)."""
    start = time.perf_counter()
    layer = recurrent(cell, 1, 1, dtype=dtype)
    params = {name: np.zeros(shape, dtype) for name, shape in parameter_shapes(layer).items()}
    y, _, tape = forward(layer, params, np.zeros((1, 1, 1), dtype))
    backward(layer, params, tape, y)
    if cell in omega.ELMAN:
        omega.omega(layer, params, tape, y, squares=True)
    for part in (loss, embedding, softmax):
        part.warm(dtype)
    draw.warm()
    automaton.warm()
    mixture.warm()
    trie.warm()
    return f"{cell} {dtype}", time.perf_counter() - start


def compile_all(dtypes=DTYPES, cells=tuple(CELLS), processes: int | None = None) -> Iterator[tuple[str, float]]:
    """Compile (or load from the disk cache) every kernel for every dtype; yields (name, seconds) as each is ready.

    The first cell of each dtype comes first: it brings the drivers and products that all cells share, so that no two
    processes compile the same code. `processes` is the number of cores unless given.
    """
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for some in (cells[:1], cells[1:]):
            for done in as_completed([pool.submit(warm, cell, dtype) for dtype, cell in product(dtypes, some)]):
                yield done.result()
