"""CPU kernels: forward and backward pass of one layer in one direction, on all threads.

The drivers `forward` and `backward` know no cell and no tile: products and pointwise functions are reached by address,
so the drivers are compiled once for a dtype, and one more cell costs its pointwise functions alone. The units of work
(see `blocks`) run side by side, each on one core from its first step to its last, without waiting for another.
"""

import numpy as np
from numba import get_num_threads, set_num_threads

from recurlab.kernels import backward as back
from recurlab.kernels import forward as ahead
from recurlab.kernels import memory
from recurlab.kernels.backward import Gradients
from recurlab.kernels.blocks import Sizes
from recurlab.kernels.job import Code, Sequence, Weights
from recurlab.kernels.norm import normalise_backward_of, normalise_of
from recurlab.kernels.pointwise import pointwise_of
from recurlab.kernels.target import COMPILED, column_product_of, row_product_of, start_threads
from recurlab.kernels.zoneout import join_of, mix_of, unmix_of


def most_threads() -> int:
    """How many threads may share work."""
    if not COMPILED:
        return 1
    start_threads()
    return get_num_threads()


def threads_for(n: Sizes) -> int:
    """How many threads share the units."""
    return min(most_threads(), n.units)


def _run(driver, threads: int, *arguments) -> None:
    """Run a driver on so many threads: to wake one more, which then has nothing to do, takes 40 µs at every call."""
    most = most_threads()
    if threads == most:
        driver(*arguments)
        return
    set_num_threads(threads)
    try:
        driver(*arguments)
    finally:
        set_num_threads(most)


def forward(
    cell: str, n: Sizes, weights: Weights, seq: Sequence, shares, initial, kept, states, flushing: bool
) -> np.ndarray:
    """Run the steps that n names from the initial states (R, S, B, H): fills kept, states, seq.y; returns the final."""
    dtype, threads = states.dtype.name, threads_for(n)
    functions = pointwise_of(cell, dtype)
    product = row_product_of(dtype).address
    operand = functions.operand or functions.forward
    norm = normalise_of(dtype) if n.norm else functions.forward
    zone = mix_of(dtype) if n.zoned else functions.forward
    ours = functions.forward.address, operand.address, norm.address, zone.address, zone.address
    code = Code(product, product, *ours)
    work = memory.empty((threads * ahead.working_numbers(n),), dtype)
    final = np.empty_like(initial)
    flat = (kept.reshape(-1), states.reshape(-1), work, initial.reshape(-1), final.reshape(-1))
    _run(ahead.compiled(), threads, n, code, seq, shares.reshape(-1), weights, *flat, threads, flushing)
    return final


def backward(
    cell: str,
    n: Sizes,
    weights: Weights,
    seq: Sequence,
    shares,
    d_final,
    kept,
    states,
    grads: Gradients,
    flushing: bool,
) -> np.ndarray:
    """The same steps backwards from dL/dfinal states (R, S, B, H): fills grads, returns dL/dinitial states."""
    dtype, threads = states.dtype.name, threads_for(n)
    functions = pointwise_of(cell, dtype)
    operand = functions.operand_backward or functions.backward
    products = row_product_of(dtype).address, column_product_of(dtype).address
    norm = normalise_backward_of(dtype) if n.norm else functions.backward
    zone, join = (unmix_of(cell, dtype), join_of(dtype)) if n.zoned else (functions.backward,) * 2
    ours = functions.backward.address, operand.address, norm.address, zone.address, join.address
    code = Code(*products, *ours)
    work = memory.empty((n.lanes + threads * back.working_numbers(n, grads.d_a.size > 0),), dtype)
    d_initial = np.empty_like(d_final)
    flat = (kept.reshape(-1), states.reshape(-1), work, d_final.reshape(-1), d_initial.reshape(-1))
    grads = Gradients(*(array.reshape(-1) for array in grads))
    _run(back.compiled(), threads, n, code, seq, shares.reshape(-1), weights, *flat, grads, threads, flushing)
    return d_initial
