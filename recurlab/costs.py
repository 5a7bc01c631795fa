"""What blocks cost: told by those that were computed, of the same case where there are some.

A block's time is taken as proportional to its seeds (all replicas of a launch do the same work), its memory as that of
the largest block.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from math import ceil
from pathlib import Path
from statistics import median
from typing import NamedTuple

from recurlab import records
from recurlab.experiment import Block, Case, Experiment
from recurlab.records import SEEDS

ENOUGH = 10  # blocks of a case: to read a record takes 0.5 ms, and that of 4,900 more than Snakemake has for a plan


class Cost(NamedTuple):
    """Core seconds and memory (MB) of a block."""

    core_seconds: float
    memory_mb: float


class Measured(NamedTuple):
    """What the blocks of an experiment took that are there: core seconds a seed by case, and the largest memory."""

    per_seed: dict[str, float]
    memory_mb: float

    def expected(self, block: Block) -> Cost | None:
        """What a block will take: by its own case, else by the median case; None before anything was measured."""
        if not self.per_seed:
            return None
        own = self.per_seed.get(block.case.id)
        a_seed = median(self.per_seed.values()) if own is None else own
        return Cost(a_seed * seeds_in(block), self.memory_mb)


def seeds_in(block: Block) -> int:
    """How many seeds a block has."""
    return block.last - block.first + 1


def of(record: dict) -> Cost:
    """What a block took, by its provenance record."""
    return Cost(record["seconds"] * record["threads"], record["peak_memory_mb"])


def measured(folder, experiment: Experiment) -> Measured:
    """What blocks of an experiment's cases took, whatever seeds they hold and whichever sources computed them."""
    found = {case.id: _records(Path(folder) / experiment.name / "cases" / case.id) for case in experiment.cases}
    per_seed = {id: median(map(_a_seed, of_case)) for id, of_case in found.items() if of_case}
    memory = max((of(record).memory_mb for of_case in found.values() for record in of_case), default=0.0)
    return Measured(per_seed, memory)


def _records(folder: Path) -> list[dict]:
    """The records of a case's largest blocks, ENOUGH at most; damaged ones tell nothing."""
    paths = [path for path in folder.glob("*-*.json") if SEEDS.accepts(path.stem)]
    return list(islice(_whole(sorted(paths, key=_largest_first)), ENOUGH))


def _largest_first(path: Path) -> tuple[int, int]:
    first, last = map(int, path.stem.split("-"))
    return first - last, first


def _whole(paths: list[Path]) -> Iterator[dict]:
    for path in paths:
        with suppress(OSError, ValueError):
            yield records.read_block(path)


def _a_seed(record: dict) -> float:
    """Core seconds a seed."""
    first, last = map(int, record["seeds"].split("-"))
    return of(record).core_seconds / (last - first + 1)


class Request(NamedTuple):
    """What a job asks of a cluster. Without anything measured: 1.5 GB and 20 minutes."""

    memory_mb: int = 1500
    minutes: int = 20
    gpus: int = 0


def request(known: Measured, block: Block, attempt: int = 1) -> Request:
    """What a job of a block asks for: 1.5 times the memory and thrice the time that is expected, and `attempt` times
    that. Other processors may be half as fast, and a job killed at 95 % costs more than a wait.
    """
    expected = known.expected(block)
    usual = Request()
    memory = max(500, 1.5 * expected.memory_mb) if expected else usual.memory_mb
    minutes = max(5.0, 3 * expected.core_seconds / 60) if expected else usual.minutes
    return Request(attempt * ceil(memory / 100) * 100, attempt * ceil(minutes), gpus(block.case))


def gpus(case: Case) -> int:
    """How many GPUs a case asks for: one if it names one as its `device`."""
    return int(case.device != "cpu")
