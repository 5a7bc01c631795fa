"""Which blocks are being computed, and why the last attempt at one came to nothing.

A process that begins with a block writes results/<experiment>/attempts/<case>-<seeds>.json, and removes it when the
block is done. So one that is there tells of a block under way, of one that failed, or of a process that was killed.
Nothing rests on it: what is done is told by the results alone.
"""

import multiprocessing
import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from recurlab import processes, records, slurm
from recurlab.experiment import Block, Experiment
from recurlab.files import inside, read_record, write_record
from recurlab.records import CASE, CLOCK, JOB, PROCESS, SEEDS, TEXT, or_else

ENDED = "its process ended before it was done: killed, out of memory, or the machine went down"


KINDS = {
    "case": CASE,
    "seeds": SEEDS,
    "host": TEXT,
    "pid": PROCESS,
    "clock": CLOCK,
    "start": TEXT,
    "job": or_else(JOB, ""),
    "reason": TEXT,
}


class Attempt(NamedTuple):
    """An attempt at a block: where, by which process (the one that its workers end with), and why it failed."""

    case: str
    seeds: str
    host: str
    pid: int
    clock: int
    start: str
    job: str = ""  # of Slurm
    reason: str = ""

    @property
    def label(self) -> str:
        """The block as messages name it."""
        return f"case {self.case} seeds {self.seeds}"

    @property
    def is_here(self) -> bool:
        """Whether it was made on this machine, so that its process can be looked at."""
        return self.host == socket.gethostname()

    @property
    def place(self) -> str:
        """Where it goes on, as messages name it."""
        return f"on {self.host}, {f'Slurm job {self.job}' if self.job else f'process {self.pid}'}, since {self.start}"


def reasons(found: Iterable[Attempt]) -> dict[tuple[str, str], str]:
    """(case, seeds) -> why an attempt that does not go on came to nothing."""
    found = list(found)
    ended = slurm.endings([attempt.job for attempt in found if attempt.job and not attempt.reason])
    told = {job: f"Slurm job {job} ended: {state}" for job, state in ended.items()}
    return {(each.case, each.seeds): each.reason or told.get(each.job, ENDED) for each in found}


def running(found: Iterable[Attempt]) -> list[Attempt]:
    """The attempts that go on: their process does if it is of this machine, their job if Slurm says so.

    Of others, that is taken for granted: nobody here can know.
    """
    begun = [attempt for attempt in found if not attempt.reason]
    jobs = slurm.waiting_or_running() if any(attempt.job and not attempt.is_here for attempt in begun) else None
    return [attempt for attempt in begun if _goes_on(attempt, jobs)]


def _goes_on(attempt: Attempt, jobs: dict[str, str] | None) -> bool:
    if attempt.is_here:
        return processes.began(attempt.pid) == attempt.clock
    return jobs is None or not attempt.job or attempt.job in jobs


def folder_of(folder, experiment: str) -> Path:
    """results/<experiment>/attempts."""
    return inside(folder, f"{experiment}/attempts")


def path_of(folder, experiment: Experiment, block: Block) -> Path:
    """The file of a block's attempt."""
    return folder_of(folder, experiment.name) / f"{block.case.id}-{block.seeds}.json"


@contextmanager
def noted(folder, experiment: Experiment, block: Block) -> Iterator[None]:
    """The block is noted as under way; afterwards its failure is, or nothing if it is done or was interrupted."""
    path, attempt = path_of(folder, experiment, block), _begun(block)
    write_record(path, attempt._asdict())
    try:
        yield
    except RuntimeError as error:
        write_record(path, attempt._replace(reason=str(error))._asdict())
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)


def _begun(block: Block) -> Attempt:
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent else os.getpid()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    host, clock, job = socket.gethostname(), processes.began(pid) or 0, slurm.own_job()
    return Attempt(block.case.id, block.seeds, host, pid, clock, now, job)


def read(folder, experiment: str) -> dict[tuple[str, str], Attempt]:
    """(case, seeds) -> the attempt that is noted; a file that is damaged tells nothing, and a warning tells that."""
    found = map(_read_one, sorted(folder_of(folder, experiment).glob("*.json")))
    return {(attempt.case, attempt.seeds): attempt for attempt in found if attempt}


def _read_one(path: Path) -> Attempt | None:
    try:
        record = records.require(path, read_record(path), KINDS)
        if path.stem != f"{record['case']}-{record['seeds']}":
            raise ValueError(f"{path}: is that of another block")
        return Attempt(*(record[name] for name in Attempt._fields))
    except FileNotFoundError:  # it was done in the meantime
        return None
    except (OSError, ValueError) as error:
        warnings.warn(f"{error}; so it tells nothing of its block", stacklevel=2)
        return None


def forget(folder, experiment: Experiment, blocks) -> None:
    """Remove what is noted of blocks: their processes were ended on purpose."""
    for block in blocks:
        path_of(folder, experiment, block).unlink(missing_ok=True)
