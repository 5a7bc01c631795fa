"""What GPUs there are, and why none can be used.

NUMBA_ENABLE_CUDASIM=1, set before the first import of numba, runs every kernel in Numba's simulator: right numbers, one
Python thread for each thread of a GPU, no measure of speed.
"""

from functools import cache
from importlib.util import find_spec

from numba import config

SIMULATED = bool(config.ENABLE_CUDASIM)
INSTALL = 'pip install "recurlab[cuda]"'


@cache
def problem() -> str:
    """Why no GPU can be used here, in one line; "" where a kernel has just run on one, or in the simulator."""
    if SIMULATED:
        return ""
    if find_spec("numba_cuda") is None:  # numba's own numba.cuda has no compiler that pip could install
        return f"numba-cuda is not installed ({INSTALL})"
    try:
        return _driver_problem() or _trial_problem()
    except ImportError as error:
        return f"numba-cuda cannot be imported: {_one_line(error)}"


def _driver_problem() -> str:
    """What the driver has against it."""
    from numba import cuda

    try:
        found = len(cuda.gpus)
    except Exception as error:  # numba-cuda, the driver's bindings and the loader each raise their own
        return _one_line(error)
    return "" if found else "the driver sees no GPU"


def _trial_problem() -> str:
    """What goes wrong when the smallest kernel is compiled and run: the compiler's libraries are loaded only then."""
    import numpy as np
    from numba import cuda

    def double(numbers):
        numbers[cuda.threadIdx.x] *= 2

    try:
        numbers = cuda.to_device(np.arange(2.0))
        cuda.jit(double)[1, 2](numbers)
        right = numbers.copy_to_host().tolist() == [0.0, 2.0]
    except Exception as error:
        return f"a kernel cannot be compiled or run: {_one_line(error)}"
    return "" if right else "a kernel ran and gave wrong numbers"


def _one_line(error: Exception) -> str:
    """The text of an error without its line breaks."""
    return " ".join(str(error).split()).rstrip(" :.") or type(error).__name__


def gpus() -> list[dict]:
    """Name, compute capability and memory in GiB of every GPU; [] where there is a problem, and in the simulator."""
    if SIMULATED or problem():
        return []
    from numba import cuda

    return [_described(cuda, index) for index in range(len(cuda.gpus))]


def _described(cuda, index: int) -> dict:
    with cuda.gpus[index]:
        device, memory = cuda.get_current_device(), cuda.current_context().get_memory_info()
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    major, minor = device.compute_capability
    return {"name": name, "compute_capability": f"{major}.{minor}", "memory": round(memory.total / 2**30, 1)}


def is_on_device(array) -> bool:
    """Whether an array lies on a GPU."""
    return hasattr(array, "__cuda_ndarray__") or hasattr(array, "__cuda_array_interface__")
