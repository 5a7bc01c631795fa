"""Suite `scaling`: time of forward and all gradients against T, B, H, R and threads, one at a time around one base.

All points of an axis are measured in turn in the same rounds, so that every round gives a slope of its own; the slope
is their median. On the axis H the input grows along (I = H): the FLOPs then grow as H².
"""

from functools import partial

import numpy as np

from recurlab.bench import ours, peers
from recurlab.bench.case import Case, problem_of, row, useful_flops
from recurlab.bench.intervals import median
from recurlab.bench.suite import Job, Result, Settings, timed
from recurlab.bench.timing import Competitor, measure
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers.footprint import memory_bytes
from recurlab.layers.recurrent import forward

BASE = {"T": 100, "B": 32, "H": 128, "I": 128, "R": 1}
AXES = {  # from where the fixed 0.2 ms of a call are below 5 %
    "T": (100, 200, 400, 800, 1600),
    "B": (32, 64, 128, 256),
    "H": (128, 256, 512, 1024),
    "R": (1, 2, 4, 8, 16),
}
EXPECTED = {"T": 1, "B": 1, "H": 2, "R": 1, "threads": -1}  # slopes of the FLOPs a thread
QUICK_POINTS = 3


def jobs(settings: Settings) -> list[Job]:
    """One job for each axis, cell and dtype."""
    axes = {**AXES, "threads": tuple(sorted({1, settings.threads}))}
    if settings.quick:
        axes = {axis: values[:QUICK_POINTS] for axis, values in axes.items()}
    return [
        Job(f"scaling {cell} {dtype} {axis}", partial(run, cell, dtype, axis, values, settings))
        for dtype in settings.dtypes
        for cell in settings.cells
        for axis, values in axes.items()
    ]


def point(cell: str, dtype: str, axis: str, value: int, base: dict | None = None) -> Case:
    """The base (BASE unless given) with one size changed."""
    changed = {"threads": {}, "H": {"H": value, "I": value}}.get(axis, {axis: value})
    return Case(cell, dtype, **((base or BASE) | changed))


def competitors_of(problems, threads) -> list[Competitor]:
    """Forward and all gradients of each problem, each on its number of threads."""
    calls = [partial(ours.every_gradient, problem, dy=ours.every_dy(problem)) for problem in problems]
    return [ours.competitor(call, count) for call, count in zip(calls, threads, strict=True)]


def run(cell: str, dtype: str, axis: str, values, settings: Settings) -> Result:
    """Time the points of one axis; tables: the slope, and the bytes of every tape."""
    problems = [problem_of(point(cell, dtype, axis, value)) for value in values]
    threads = values if axis == "threads" else [settings.threads] * len(values)
    errors = [peers.error_of_every_gradient(problem) for problem in problems]
    competitors = competitors_of(problems, threads)
    seconds = measure(competitors, settings.rounds, settings.sample_seconds, settings.clocks).seconds
    points = zip(problems, seconds.T, threads, errors, strict=True)
    rows = [_row(problem.case, own, count, error) for problem, own, count, error in points]
    about = {"cell": cell, "dtype": dtype, "axis": axis}
    tapes = [{**about, "value": value, **tape_of(problem)} for value, problem in zip(values, problems, strict=True)]
    return Result(rows, {"slopes": slope_rows(about, values, seconds), "tapes": tapes if axis != "threads" else []})


def _row(case: Case, seconds, threads: int, error) -> dict:
    flops = case.R * useful_flops(case)
    return row("scaling", case, flops=flops, max_relative_error=error, **timed(case, seconds, flops, threads))


def slope_rows(about: dict, values, seconds: np.ndarray) -> list[dict]:
    """d log t / d log value: least squares in each round, seconds (rounds, points), then the median over rounds."""
    if len(values) < 2 or not len(seconds):
        return []
    slope, low, high = median(np.polyfit(np.log(values), np.log(seconds.T), 1)[0])
    span = {"from": values[0], "to": values[-1]}
    return [{**about, **span, "slope": slope, "low": low, "high": high, "expected": EXPECTED[about["axis"]]}]


def tape_of(problem) -> dict[str, int]:
    """The memory that the forward pass keeps for the backward pass, x apart: as measured, and by the formula."""
    case = problem.case
    formula = memory_bytes(case.layer, case.T, case.B, case.R)["tape"]
    return {"tape_bytes": tape_bytes(problem), "formula_bytes": formula}


def tape_bytes(problem) -> int:
    """Bytes of the memory behind all arrays of the tape, x apart."""
    _, _, tape = forward(problem.case.layer, problem.params, problem.x, flush_denormals=SUPPORTED, check=False)
    owners = {id(owner): owner.nbytes for owner in map(_owner, _arrays(tape)) if owner is not _owner(problem.x)}
    return sum(owners.values())


def _owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory a view looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _arrays(value):
    """Every array in nested tuples."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
