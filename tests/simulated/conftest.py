"""Tests in Numba's simulator of a GPU: a process of their own, for numba reads NUMBA_ENABLE_CUDASIM when imported.

NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/simulated
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from greenlet import getcurrent, greenlet
from numba import config

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # cases, naive

if not config.ENABLE_CUDASIM:
    pytest.exit("set NUMBA_ENABLE_CUDASIM=1: these tests run in the simulator", 2)

from numba.cuda.simulator import kernel, kernelapi  # noqa: E402 - there in the simulator alone

from recurlab.kernels.cuda import target  # noqa: E402


class Turn(greenlet):
    """A thread of a block, which runs alone from one barrier to the next.

    The simulator has threads of the system and asks in a loop which of them wait. With those the tests of layers took
    ten times as long on two free cores, and where three processes shared them a switch alone cost some 0.2 ms.
    """

    def __init__(self, function, block, thread):
        super().__init__(function)
        self.blockIdx, self.threadIdx = kernelapi.Dim3(*block), kernelapi.Dim3(*thread)

    def syncthreads(self):
        self.parent.switch()


def run(self, grid_point, *args):
    """All threads of a block in turns, once forwards, once backwards: whoever reads what is not there yet, shows.

    Where all blocks of a launch wait for each other, their threads take turns as if they were one block.
    """
    together = "_together_" in self._f.__qualname__
    if together and any(grid_point):
        return  # they ran with the first
    blocks = list(np.ndindex(*self._grid_dim)) if together else [grid_point]
    going = [Turn(self._f, block, thread) for block in blocks for thread in np.ndindex(*self._block_dim)]
    for thread in going:
        thread.switch(*args)
    while going := [thread for thread in reversed(going) if not thread.dead]:
        for thread in going:
            thread.switch()


kernel.BlockManager.run = run
kernelapi.threading = SimpleNamespace(current_thread=getcurrent)
target.current_thread = getcurrent
