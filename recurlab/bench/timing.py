"""Competitors timed in turn in one process; rounds in which other processes took the processor do not count."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

FOREIGN = 0.06  # share of the machine's CPU time; OpenMP peers lose a factor of 10 to 50 when one core is taken
ATTEMPTS = 3  # rounds tried for each one wanted
STATISTICS = Path("/proc/stat")
BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq and what the host took (steal): columns of /proc/stat


def _nothing() -> None:
    pass


def _no_children() -> float:
    return 0.0


class Competitor(NamedTuple):
    """One way to do the work.

    run: does the work `repeats` times. units: how much each time does, in the units that are compared (replicas).
    enter, leave: set and put back threads and floating-point state, outside the measured time. close: ends workers.
    children_cpu: CPU seconds that worker processes have used so far.
    """

    name: str
    run: Callable[[int], None]
    units: int = 1
    enter: Callable[[], None] = _nothing
    leave: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing
    children_cpu: Callable[[], float] = _no_children


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """The `run` of a competitor whose work is one call."""

    def run(repeats: int) -> None:
        for _ in range(repeats):
            call()

    return run


class Clocks(NamedTuple):
    """Seconds: wall time, CPU time of this process, CPU time of all processes (None: not known) on `cores` cores."""

    wall: Callable[[], float] = time.perf_counter
    own: Callable[[], float] = time.process_time
    machine: Callable[[], float] | None = None
    cores: int = 1


def system_clocks() -> Clocks:
    """The clocks of this machine; without /proc/stat every round is kept."""
    if not STATISTICS.exists():
        return Clocks()
    return Clocks(machine=_busy_seconds, cores=os.cpu_count() or 1)


def _busy_seconds() -> float:
    """CPU seconds of all processes and of the host on this machine's cores, since it started."""
    with open(STATISTICS, encoding="ascii") as file:
        ticks = file.readline().split()[1:]
    return sum(int(ticks[k]) for k in BUSY if k < len(ticks)) / os.sysconf("SC_CLK_TCK")


class Samples(NamedTuple):
    """seconds (rounds kept, competitors) of one unit of work, and how many rounds were dropped."""

    seconds: np.ndarray
    dropped: int


def measure(competitors, rounds: int, least_seconds: float, clocks: Clocks) -> Samples:
    """Time all competitors in turn, `rounds` times or until ATTEMPTS times as many rounds have been tried."""
    tried = _tried_rounds(competitors, rounds, least_seconds, clocks)
    kept = [seconds for seconds, foreign in tried if foreign <= FOREIGN]
    return Samples(np.array(kept).reshape(len(kept), len(competitors)), len(tried) - len(kept))


def quietest(competitors, rounds: int, least_seconds: float, clocks: Clocks) -> tuple[np.ndarray, np.ndarray]:
    """The same, but always `rounds` of at most twice as many: if too few are quiet, those in which others took least.

    Returns seconds (rounds, competitors) and the share of the CPU time that others took in each, in order of time.
    """
    tried = _tried_rounds(competitors, rounds, least_seconds, clocks, attempts=2)
    chosen = sorted(sorted(range(len(tried)), key=lambda k: tried[k][1])[:rounds])
    return np.array([tried[k][0] for k in chosen]), np.array([tried[k][1] for k in chosen])


def _tried_rounds(competitors, rounds: int, least_seconds: float, clocks: Clocks, attempts: int = ATTEMPTS) -> list:
    """(seconds, share others took) of every round, until `rounds` are quiet or `attempts` times as many were tried."""
    repeats = [calibrated(competitor, least_seconds, clocks) for competitor in competitors]
    tried, quiet = [], 0
    while quiet < rounds and len(tried) < attempts * rounds:
        tried.append(one_round(competitors, repeats, len(tried), clocks))
        quiet += tried[-1][1] <= FOREIGN
    return tried


def calibrated(competitor: Competitor, least_seconds: float, clocks: Clocks) -> int:
    """How many repeats take `least_seconds`; the first call, which may compile, does not count."""
    repeats, seconds = 1, _sample(competitor, 1, clocks)
    while seconds < least_seconds:
        repeats *= max(2, min(10, int(1.2 * least_seconds / max(seconds, 1e-9))))
        seconds = _sample(competitor, repeats, clocks)
    return repeats


def one_round(competitors, repeats, number: int, clocks: Clocks) -> tuple[list[float], float]:
    """Seconds a unit of every competitor, begun by another one each round, and the share of CPU time others took."""
    before, count = used(competitors, clocks), len(competitors)
    seconds = [0.0] * count
    for k in ((number + step) % count for step in range(count)):
        seconds[k] = _sample(competitors[k], repeats[k], clocks) / (repeats[k] * competitors[k].units)
    return seconds, others_share(before, used(competitors, clocks), clocks)


def others_share(before, after, clocks: Clocks) -> float:
    """Share of the machine's CPU time that others took between two readings of `used`."""
    wall, own, machine = (b - a for a, b in zip(before, after, strict=True))
    return (machine - own) / (wall * clocks.cores)


def used(competitors, clocks: Clocks) -> tuple[float, float, float]:
    """Wall time, own CPU time with that of workers, and CPU time of all (the own where it is not known)."""
    own = clocks.own() + sum(competitor.children_cpu() for competitor in competitors)
    return clocks.wall(), own, own if clocks.machine is None else clocks.machine()


def _sample(competitor: Competitor, repeats: int, clocks: Clocks) -> float:
    """Wall seconds of `repeats` calls, right after one that is not measured: it wakes the threads and warms caches."""
    competitor.enter()
    try:
        competitor.run(1)
        begun = clocks.wall()
        competitor.run(repeats)
        return clocks.wall() - begun
    finally:
        competitor.leave()
