"""What a GPU can do at all: multiply-adds in registers, and copies in its memory. Measured once a process."""

import time
from functools import cache

import numpy as np

from recurlab.kernels.cuda import device, target
from recurlab.kernels.cuda.target import cuda, load, store

CHAINS = 8  # independent ones of a thread
UNROLLED = 32  # multiply-adds of each between two tests of the loop
ROUNDS, BLOCKS, THREADS, STEPS = (20, 4096, 256, 2000) if not device.SIMULATED else (2, 1, 2, 3)
COPIED = 2**28 if not device.SIMULATED else 100  # numbers: 1 GiB in float32, far more than any cache


def multiply_add(steps, factor, one, out):
    """Eight chains of x <- x · factor + 1 in each thread, with starts of their own: equal ones are computed once.

    Their sum is stored, so none is left out.
    """
    a, b, c, d = factor, factor * factor, factor - one, one - factor
    e, f, g, h = a * b, a * c, b * c, b * d
    for _ in range(steps):
        for _ in range(UNROLLED):
            a, b, c, d = a * factor + one, b * factor + one, c * factor + one, d * factor + one
            e, f, g, h = e * factor + one, f * factor + one, g * factor + one, h * factor + one
    store(out, cuda.grid(1), a + b + c + d + e + f + g + h)


def copy(source, out):
    """out = source."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        store(out, i, load(source, i))


@cache
def peak_flops(dtype: str) -> float:
    """FLOP/s of the whole card, a multiply-add counted as two: the best of ROUNDS."""
    kernel, (factor, one) = target.kernel(multiply_add, "bench"), np.array([0.5, 1.0], dtype)
    out = target.empty(BLOCKS * THREADS, dtype)
    best = _best(lambda: target.launch_with(kernel, BLOCKS, THREADS, 0, STEPS, factor, one, out))
    return 2.0 * CHAINS * UNROLLED * STEPS * BLOCKS * THREADS / best


@cache
def bandwidth() -> float:
    """Bytes/s that a copy reads and writes: the best of ROUNDS."""
    kernel = target.kernel(copy, "bench")
    source, out = target.zeros(COPIED, np.float32), target.empty(COPIED, np.float32)
    return 2.0 * source.size * source.dtype.itemsize / _best(lambda: target.spread(kernel, COPIED, source, out))


def _best(call) -> float:
    """The least of the seconds that a call takes; the first one, which compiles, does not count."""
    seconds = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        call()
        target.wait()
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])


def driver() -> str:
    """The version of the CUDA driver."""
    return target.driver_version()
