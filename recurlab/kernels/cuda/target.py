"""What kernels are made of on a GPU: memory accesses, elementary functions, device functions, launches, arrays.

Beside `device` the only module that knows numba.cuda; kernels take `cuda` from here. In the simulator every function of
a thread is plain Python on NumPy's scalars.
"""

import hashlib
import math
from fractions import Fraction
from functools import cache
from pathlib import Path
from threading import current_thread

import numpy as np
from numba import config, types

from recurlab.kernels.cuda.device import SIMULATED, is_on_device
from recurlab.kernels.rebind import rebind
from recurlab.maths import ONE, ZERO

config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a few small networks never fill a GPU

from numba import cuda  # noqa: E402 - reads the setting

THREADS = 128 if not SIMULATED else 2  # of a block, where every thread works for itself
MOST_BLOCKS = 2**16 if not SIMULATED else 2  # of such a launch; beyond, threads take several numbers in turn
MOST_THREADS = 256 if not SIMULATED else 4  # of a block that works on a sequence
WARP = 32 if not SIMULATED else 1

if SIMULATED:

    class Flat:
        """A flat array as a kernel sees it in the simulator: every access is checked (NumPy takes -1 for the last).

        The simulator's own arrays, which this goes around, take five times as long for an access.
        """

        __slots__ = ("numbers", "size")

        def __init__(self, array):
            self.numbers, self.size = array, array.size

        def __getitem__(self, i):
            return self.numbers[self._within(i)]

        def __setitem__(self, i, value):
            self.numbers[self._within(i)] = value

        def part(self, first, count):
            """`count` numbers from `first` on."""
            self._within(first), self._within(first + count - 1)
            return self.numbers[first : first + count]

        def _within(self, i):
            if not 0 <= i < self.size:
                raise IndexError(f"{i} lies outside an array of {self.size}")
            return i

    def load(array, i):
        """array[i] of a flat array."""
        return array[i]

    def store(array, i, value):
        """array[i] = value."""
        array[i] = value

    def as_arguments(values) -> tuple:
        """The arguments of a launch, device arrays within tuples, too, as kernels take them."""
        return tuple(map(_as_argument, values))

    def _as_argument(value):
        if is_on_device(value):
            return Flat(value._ary) if value.ndim == 1 else value
        return type(value)(*as_arguments(value)) if isinstance(value, tuple) else value

    def exp(x):
        """e to the power of x; infinity where it is too large, as on a GPU."""
        with np.errstate(over="ignore"):
            return np.exp(x)

    def fma(x, y, z):
        """The sum x y + z, rounded once."""
        return float(Fraction(x) * Fraction(y) + Fraction(z))

    def meet_block():
        """Wait for all threads of the block."""
        current_thread().syncthreads()

    meet_grid, tanh, root = meet_block, np.tanh, np.sqrt

else:
    from numba.core.typing import signature
    from numba.cuda.extending import intrinsic

    def _pointer(context, builder, kind, array, index):
        return builder.gep(context.make_array(kind)(context, builder, array).data, [index])

    @intrinsic
    def load(typing_context, array, i):
        """array[i] of a flat array; without the sign of the index, which Numba looks at in array[i] (1.4 times the
        instructions of a replica kernel).
        """

        def generate(context, builder, sig, args):
            return builder.load(_pointer(context, builder, sig.args[0], *args))

        return signature(array.dtype, array, types.int64), generate

    @intrinsic
    def store(typing_context, array, i, value):
        """array[i] = value, likewise."""

        def generate(context, builder, sig, args):
            builder.store(args[2], _pointer(context, builder, sig.args[0], *args[:2]))
            return context.get_dummy_value()

        return signature(types.void, array, types.int64, array.dtype), generate

    @cuda.jit(device=True, forceinline=True)
    def fma(x, y, z):
        """The sum x y + z, rounded once."""
        return cuda.fma(x, y, z)

    @cuda.jit(device=True, forceinline=True)
    def meet_block():
        """Wait for all threads of the block."""
        cuda.syncthreads()

    @cuda.jit(device=True, forceinline=True)
    def meet_grid():
        """Wait for all threads of the launch, which is a cooperative one by that."""
        cuda.cg.this_grid().sync()

    exp, tanh, root = math.exp, math.tanh, math.sqrt

    def as_arguments(values) -> tuple:
        """The arguments of a launch as they are."""
        return values


def sigmoid(x):
    """1 / (1 + e⁻ˣ): 0 where e⁻ˣ overflows."""
    return ONE / (ONE + exp(-x))


def relu(x):
    """max(x, 0); NaN stays NaN."""
    return ZERO if x < ZERO else x


def step(x):
    """1 where x > 0, else 0."""
    return ONE if x > ZERO else ZERO


def inlined(function, fast: bool = False):
    """`function` as a device function, compiled into whatever calls it; fastmath does not come from the caller."""
    return function if SIMULATED else cuda.jit(device=True, forceinline=True, fastmath=fast)(function)


@cache
def elementary(fast: bool) -> dict:
    """The names of `maths` for a thread."""
    own = {"tanh": tanh, "exp": exp}
    named = {"sigmoid": sigmoid, "relu": relu, "step": step}
    label = "cuda_fast" if fast else "cuda"
    return own | {name: inlined(rebind(function, label, **own), fast) for name, function in named.items()}


@cache
def sources() -> str:
    """Digest of the modules of this folder, beside `kernel_digest`: an edit here recompiles nothing for the CPU."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]


def kernel(function, label: str, fast: bool = False, launch_bounds=None, **names):
    """`function` as a kernel that is kept on disk, with some of its globals replaced."""
    options = {} if SIMULATED else {"cache": True, "launch_bounds": launch_bounds}
    return cuda.jit(fastmath=fast, **options)(rebind(function, f"{label}_{sources()}", **names))


def spread(function, count: int, *arguments) -> None:
    """Launch a kernel whose threads take the numbers 0 … count-1 in turn."""
    if count:
        function[min(-(-count // THREADS), MOST_BLOCKS), THREADS](*as_arguments(arguments))


def launch(function, blocks: int, units: int, *arguments) -> None:
    """Launch a kernel on so many blocks, each with a thread for every unit or, beyond MOST_THREADS, for several."""
    function[blocks, min(MOST_THREADS, -(-units // WARP) * WARP)](*as_arguments(arguments))


def launch_with(function, blocks: int, threads: int, shared: int, *arguments) -> None:
    """Launch a kernel on blocks of so many threads and so many bytes of shared memory."""
    function[blocks, threads, 0, shared](*as_arguments(arguments))


def _fill(array, value):
    """value everywhere in a flat array."""
    for i in range(cuda.grid(1), array.size, cuda.gridsize(1)):
        store(array, i, value)


def _multiply(numbers, factors, steps, inner, levels, level, factor_steps, out):
    """out = numbers (R, T, inner) times factors (R, levels, T or 1, inner) at a level."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        k, s, r = i % inner, i // inner % steps, i // inner // steps
        row = (r * levels + level) * factor_steps + (s if factor_steps > 1 else 0)
        store(out, i, load(numbers, i) * load(factors, row * inner + k))


def _find_infinite(array, found):
    """found[0] = 1 if a number is NaN or infinite; all who write it write the same."""
    for i in range(cuda.grid(1), array.size, cuda.gridsize(1)):
        value = load(array, i)
        if not value - value == ZERO:
            found[0] = 1


@cache
def _own(function):
    """A kernel of this module, compiled."""
    return kernel(function, "cuda")


@cache
def blocks_at_once() -> int:
    """How many blocks of MOST_THREADS can wait for each other whatever registers they take: one on each multiprocessor.

    1 where a launch cannot be a cooperative one, and in the simulator.
    """
    if SIMULATED:
        return 1
    device = cuda.get_current_device()
    return device.MULTIPROCESSOR_COUNT if device.COOPERATIVE_LAUNCH else 1


def wait() -> None:
    """Until the GPU has done all that was launched."""
    cuda.synchronize()


def driver_version() -> str:
    """The version of CUDA that the driver has; "" in the simulator."""
    return "" if SIMULATED else ".".join(map(str, cuda.cudadrv.driver.get_version()))


def empty(shape, dtype):
    """A device array of any content."""
    return cuda.device_array(shape, np.dtype(dtype))


def zeros(shape, dtype):
    """A device array of zeros."""
    array = empty(shape, dtype)
    spread(_own(_fill), array.size, array.reshape(-1), array.dtype.type(0))
    return array


def multiplied(numbers, factors, level: int):
    """numbers (R, T, B, ·) times factors (R, levels, T or 1, B, ·) at a level."""
    out, (_, steps, rows, width) = empty(numbers.shape, numbers.dtype), numbers.shape
    sizes = steps, rows * width, factors.shape[1], level, factors.shape[2]
    spread(_own(_multiply), out.size, numbers.reshape(-1), factors.reshape(-1), *sizes, out.reshape(-1))
    return out


def joined(arrays):
    """Arrays of one shape as one device array with an axis in front."""
    out = empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
    for k, array in enumerate(arrays):
        out[k].copy_to_device(to_device(array))
    return out


def is_finite(array) -> bool:
    """Whether no number of a device array is NaN or infinite."""
    found = cuda.to_device(np.zeros(1, np.int32))
    spread(_own(_find_infinite), array.size, array.reshape(-1), found)
    return not found.copy_to_host()[0]


def to_device(array):
    """An array on the GPU: copied there, or as it is if it is there."""
    if hasattr(array, "__cuda_ndarray__"):
        return array
    if hasattr(array, "__cuda_array_interface__"):
        return cuda.as_cuda_array(array)  # once here: each launch would do it again for a foreign array
    return cuda.to_device(np.ascontiguousarray(array))


def to_host(array) -> np.ndarray:
    """An array in NumPy."""
    return array.copy_to_host() if is_on_device(array) else array
