"""Tests in Numba's simulator of a GPU: a process of their own, for numba reads NUMBA_ENABLE_CUDASIM when imported.

NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/simulated
"""

import sys
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
from numba import config

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # cases, naive

if not config.ENABLE_CUDASIM:
    pytest.exit("set NUMBA_ENABLE_CUDASIM=1: these tests run in the simulator", 2)

from numba.cuda.simulator import kernel  # noqa: E402 - there in the simulator alone


class Turns(kernel.BlockThread):
    """A thread of a block that runs alone from one barrier to the next.

    The simulator lets all of them run and asks in a loop which of them wait: ten times slower.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.own, self.others, self.ended = Lock(), Lock(), False
        self.own.acquire()
        self.others.acquire()

    def run(self):
        self.own.acquire()
        super().run()
        self.ended = True
        self.others.release()

    def syncthreads(self):
        self.others.release()
        self.own.acquire()
        if self.abort:
            raise RuntimeError("another thread of the block has failed")

    def take_turn(self):
        """Let it run to its next barrier or to its end."""
        self.own.release()
        self.others.acquire()


def _abandon(threads):
    for thread in threads:
        thread.abort = True
        thread.own.release()


def run(self, grid_point, *args):
    """All threads of a block in turns, once forwards, once backwards: whoever reads what is not there yet, shows.

    Where all blocks of a launch wait for each other, their threads take turns as if they were one block.
    """
    together = "_together_" in self._f.__qualname__
    if together and any(grid_point):
        return  # they ran with the first
    blocks = list(np.ndindex(*self._grid_dim)) if together else [grid_point]
    points = [(block, thread) for block in blocks for thread in np.ndindex(*self._block_dim)]
    threads = [Turns(lambda: self._f(*args), self, *point, self._debug) for point in points]
    for thread in threads:
        thread.start()
    going = threads
    while going:
        for thread in going:
            thread.take_turn()
        going = [thread for thread in reversed(going) if not thread.ended]
        for error, trace in (thread.exception for thread in threads if thread.exception):
            _abandon(going)
            raise error.with_traceback(trace)


kernel.BlockManager.run = run
