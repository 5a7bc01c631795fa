"""Suite `startup`: what a user waits for before the first number, each time in a new process.

The column `cell` says what was timed: `--help`, the first forward and backward pass with a filled cache (with and
without the imports before it), and compiling every kernel into an empty cache. No round is dropped here.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from recurlab.bench.case import row
from recurlab.bench.intervals import median
from recurlab.bench.suite import Job, Result, Settings

FIRST_CALL = """
import time
begun = time.perf_counter()
import numpy as np
import recurlab as rl
layer = rl.recurrent("lstm", input_size=2, hidden_size=16)
params = rl.init(layer, seed=0)
x = np.ones((5, 2, 2), np.float32)
loaded = time.perf_counter()
y, _, tape = rl.forward(layer, params, x)
rl.backward(layer, params, tape, y)
done = time.perf_counter()
print(done - begun, done - loaded)
"""


def jobs(settings: Settings) -> list[Job]:
    """Three jobs; --quick leaves the compilation out, which takes a minute."""
    found = {"help": help_rows, "first call": first_call_rows, "cold compile": compile_rows}
    if settings.quick:
        del found["cold compile"]
    return [Job(f"startup {name}", partial(_result, function, settings)) for name, function in found.items()]


def _result(function, settings: Settings) -> Result:
    return Result(function(settings), {})


def _row(what: str, threads: int, seconds) -> dict:
    return row("startup", None, cell=what, threads=threads, seconds=median(seconds).value, rounds=len(seconds))


def help_rows(settings: Settings) -> list[dict]:
    """Wall time of `python -m recurlab --help`, start of Python included."""
    command = [sys.executable, "-m", "recurlab", "--help"]
    return [_row("recurlab --help", settings.threads, [_wall(command) for _ in range(settings.rounds)])]


def first_call_rows(settings: Settings) -> list[dict]:
    """Seconds to the end of the first passes, from the imports on and from the call on; one run fills the cache."""
    runs = [_output([sys.executable, "-c", FIRST_CALL]).split() for _ in range(settings.rounds + 1)][1:]
    whole, call = np.array(runs, float).T
    return [_row(name, settings.threads, one) for name, one in (("import and first call", whole), ("first call", call))]


def compile_rows(settings: Settings) -> list[dict]:
    """Wall time of `recurlab compile` into an empty cache; once."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = _wall([sys.executable, "-m", "recurlab", "compile"], NUMBA_CACHE_DIR=folder)
    return [_row("recurlab compile, empty cache", settings.threads, [seconds])]


def _wall(command, **environment) -> float:
    begun = time.perf_counter()
    _output(command, **environment)
    return time.perf_counter() - begun


def _output(command, **environment) -> str:
    """What a command prints; the package that runs now is the one that it finds."""
    here = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:3])!r} failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    return done.stdout
