"""What the suites share: settings, jobs and the comparison of competitors that makes rows."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab.bench.case import Case, row
from recurlab.bench.ceiling import peak_flops
from recurlab.bench.intervals import median
from recurlab.bench.timing import Clocks, measure


class Settings(NamedTuple):
    """What a run of the bench was asked for; sample_seconds is the least time of one measured batch of calls."""

    cells: tuple[str, ...]
    dtypes: tuple[str, ...]
    threads: int
    rounds: int
    quick: bool
    sample_seconds: float
    clocks: Clocks
    device: str = "cpu"


class Result(NamedTuple):
    """The rows of one job, and rows of further tables by name."""

    rows: list[dict]
    tables: dict[str, list[dict]]


class Job(NamedTuple):
    """One measurement to make: its name in the progress line, and the function that makes it."""

    label: str
    run: Callable[[], Result]


def sizes(settings: Settings, chosen: tuple) -> tuple:
    """All sizes of a suite, or the first two with --quick."""
    return chosen[:2] if settings.quick else chosen


def jobs_of(suite: str, settings: Settings, chosen: tuple, run: Callable[[Case, Settings], Result]) -> list[Job]:
    """One job for each of the chosen sizes, cell and dtype."""
    cases = [
        Case(cell, dtype, *size)
        for dtype in settings.dtypes
        for size in sizes(settings, chosen)
        for cell in settings.cells
    ]
    return [Job(f"{suite} {case.label}", lambda case=case: run(case, settings)) for case in cases]


def compare(suite, case: Case, settings: Settings, competitors, flops: int, error, peak: float | None = None):
    """Time recurlab, the first of the competitors, against each of the others: one row a peer, one without peers.

    `peak` is the FLOP/s ceiling, that of the settings' threads on this machine if it is not given.
    """
    try:
        samples = measure(competitors, settings.rounds, settings.sample_seconds, settings.clocks)
    finally:
        for competitor in competitors:
            competitor.close()
    _tell_dropped(case.label, samples, settings.rounds)
    own, *others = samples.seconds.T
    common = {"flops": flops, "max_relative_error": error, **timed(case, own, flops, settings.threads, peak)}
    rows = [{**common, **_against(own, other)} for other in others] or [common]
    names = [competitor.name for competitor in competitors[1:]] or ["none"]
    return [row(suite, case, peer=name, **values) for name, values in zip(names, rows, strict=True)]


def timed(case: Case, seconds: np.ndarray, flops: int, threads: int, peak: float | None = None) -> dict:
    """The columns of recurlab's own time from its seconds in every round."""
    middle = median(seconds).value
    share = middle and 100 * flops / middle / (peak or peak_flops(case.dtype, threads))
    return {"threads": threads, "seconds": middle, "percent_of_peak": share, "rounds": len(seconds)}


def _against(own: np.ndarray, other: np.ndarray) -> dict:
    """The columns of one peer: the ratio is taken within each round."""
    ratio, low, high = median(other / own)
    return {"peer_seconds": median(other).value, "ratio": ratio, "ratio_low": low, "ratio_high": high}


def _tell_dropped(label: str, samples, wanted: int) -> None:
    kept = len(samples.seconds)
    if kept < wanted:
        text = f"{label}: {kept} of {wanted} rounds kept, in {samples.dropped} others took the processor"
        warnings.warn(text, stacklevel=2)
