"""The FLOP ceiling of this machine: independent multiply-adds in registers, nothing else.

Explicit LLVM vectors as wide as the registers. Latency × throughput of the adders needs 8 to 10 chains in flight, and
12 of them with two constants fit into 16 registers; with AVX-512 there are 32 registers, so 24 chains.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from llvmlite import binding, ir
from numba import njit
from numba.core import cgutils
from numba.extending import intrinsic

from recurlab.bench.timing import FOREIGN, others_share, system_clocks, used

WIDTHS = (("avx512f", 64, 24), ("avx", 32, 12))  # feature, bytes of a register, chains; the first that fits
NARROW = (16, 12)  # SSE2 and NEON
SAMPLES = 10  # the best one counts: a ceiling is what the machine can do
SAMPLE_SECONDS = 0.03
BATCHES = 8


def registers() -> tuple[int, int]:
    """(bytes of a vector register, chains) for this machine."""
    features = binding.get_host_cpu_features()
    return next(((size, chains) for name, size, chains in WIDTHS if features.get(name)), NARROW)


REGISTER_BYTES, CHAINS = registers()


@cache
def peak_flops(dtype: str, threads: int) -> float:
    """FLOP/s of `threads` threads at once, a multiply-add counted as two; measured once a process.

    The best of SAMPLES in a time in which others took little; of BATCHES times as many where there is no such time,
    for a ceiling that is too low flatters everything below it.
    """
    start, clocks, best = np.dtype(dtype).type(1), system_clocks(), np.inf
    _run(1, start)  # compiles
    with ThreadPoolExecutor(threads) as pool:
        steps = 1 << 12
        while _seconds(pool, threads, steps, start) < SAMPLE_SECONDS:
            steps *= 2
        for _ in range(BATCHES):
            before = used([], clocks)
            best = min(best, *(_seconds(pool, threads, steps, start) for _ in range(SAMPLES)))
            if others_share(before, used([], clocks), clocks) <= FOREIGN:
                break
    return 2.0 * CHAINS * (REGISTER_BYTES // start.itemsize) * steps * threads / best


def _seconds(pool, threads: int, steps: int, start) -> float:
    """Wall time of `steps` steps of every chain on each thread."""
    begun = time.perf_counter()
    list(pool.map(_run, [steps] * threads, [start] * threads))
    return time.perf_counter() - begun


@njit(nogil=True)
def _run(steps, start):
    return _chains(steps, start)


@intrinsic
def _chains(typing_context, steps, start):
    """Run CHAINS vectors of x <- x/2 + start for `steps` steps; returns the sum of their first lanes."""

    def generate(context, builder, signature, args):
        scalar = context.get_value_type(start)
        vector = ir.VectorType(scalar, REGISTER_BYTES * 8 // start.bitwidth)
        multiply_add = _multiply_add(builder, vector, start.bitwidth)
        half, added = _spread(builder, vector, scalar(0.5)), _spread(builder, vector, args[1])
        # Each chain has a start of its own: LLVM computes equal ones once.
        starts = [builder.fmul(added, _spread(builder, vector, scalar(k))) for k in range(CHAINS)]
        chains = [cgutils.alloca_once_value(builder, value) for value in starts]
        with cgutils.for_range(builder, args[0]):
            for chain in chains:
                builder.store(builder.call(multiply_add, [builder.load(chain), half, added]), chain)
        return _sum_of_first_lanes(builder, chains)

    return start(steps, start), generate


def _multiply_add(builder, vector, bits: int):
    """x · y + z, fused where the machine can; `llvm.fma` would call a library function where it cannot."""
    kind = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{vector.count}f{bits}")


def _spread(builder, vector, value):
    """A vector with `value` in every lane."""
    filled = ir.Constant(vector, ir.Undefined)
    for lane in range(vector.count):
        filled = builder.insert_element(filled, value, ir.IntType(32)(lane))
    return filled


def _sum_of_first_lanes(builder, chains):
    lanes = [builder.extract_element(builder.load(chain), ir.IntType(32)(0)) for chain in chains]
    total = lanes[0]
    for lane in lanes[1:]:
        total = builder.fadd(total, lane)
    return total
