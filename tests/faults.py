"""Commands in processes that are killed, starved or misled, and what must be true of the folder they leave.

The processes are forked from one that has imported everything, so that half a second of work is half a second of work
and a kill hits that, not imports.
"""

import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import engine
import numpy as np

# what commands import when they run, imported for the processes that are forked
import fontTools.subset  # noqa: F401, isort: skip
import jsonschema  # noqa: F401, isort: skip
import recurlab.check
import recurlab.claims
import recurlab.figures.canvas
import recurlab.figures.panels
import recurlab.report
import recurlab.show
import recurlab.train  # noqa: F401
from recurlab import cli, experiment, files, journal, outputs, provenance, results, run, verify
from recurlab.studies import STUDIES
from recurlab.studies.kinds import COUNT
from recurlab.studies.study import Study

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["faults"])
MADE = (*engine.REPRODUCIBLE, "*/*/figures/*.svg", "*/*/figures/*.pdf", "*/*/figures/*.png", "*/*/figures/*.csv")
Prepare = Callable[[], None] | None
for known in (provenance.machine, provenance.versions, provenance.repository, run.kernel_digest):
    known()  # once for all forks: they ask git and the package metadata

FIGURE = {"far": {"plot": "lines", "caption": "so far", "x": "step", "y": "value", "hue": "gain", "col": "kind"}}
CLAIM = [{"says": "it is much", "test": "mean", "y": "value", "at_least": 0}]
MADE_UP = engine.PROBE | {"replicas": {"gain": [0.5, 1], "seeds": 3}, "figures": FIGURE, "claims": CLAIM}
LEARNING = {  # networks that keep their state at every update
    "title": "Learning",
    "question": "Does it go on where it was?",
    "study": "training",
    "fixed": {
        **{"task": "temporal_order", "length": 10, "hidden_size": 4, "batch_size": 3, "updates": 30, "every": 10},
        **{"init_name": "orthogonal", "gain": 1.0, "input_init": "uniform", "input_gain": 1.0, "output_sd": 0.1},
        **{"forget_bias": None, "chrono": None, "rule": "adam", "schedule": "linear", "learning_rate": 0.01},
        **{"clip": 1.0, "clip_value": None, "penalty": None, "penalty_weight": 0.0, "truncation": None},
        **{"carry": False, "solved_by": "error", "solved_below": 0.01, "dtype": "float32"},
    },
    "grid": {"cell": ["rnn_tanh", "gru"]},
    "replicas": {"seeds": 4},
    "block": 2,
    "figures": {"curve": {"plot": "lines", "caption": "it learns", "x": "update", "y": "error", "hue": "cell"}},
    "claims": [{"says": "it errs", "test": "mean", "y": "error", "at_least": 0}],
}


def hungry(*, seeds, megabytes: COUNT):
    """Asks for that much memory, and does not touch it."""
    return {"replica": np.arange(len(seeds)), "one": np.full(len(seeds), np.zeros(megabytes * 2**17).size / 2**17)}


HUNGRY_STUDY = Study(hungry, (), {"one": "MB; what it got"})
OWN_STUDIES = {"probe": "engine:PROBE_STUDY", "hungry": "faults:HUNGRY_STUDY"}
HUNGRY = {
    "title": "Hungry",
    "question": "What if memory runs out?",
    "study": "hungry",
    "grid": {"megabytes": [1, 2000, 2]},
    "replicas": {"seeds": 1},
    "block": 1,
}


# processes


def _command(folder: str, arguments: tuple[str, ...], prepare: Prepare) -> None:
    """In a forked process: `recurlab …` in a folder, with what it prints in the file `told`."""
    os.chdir(folder)
    told = os.open("told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    STUDIES.update(OWN_STUDIES)
    journal.SECONDS = 0
    if prepare:
        prepare()
    sys.exit(cli.main(list(arguments)))


def started(folder: Path, *arguments: str, prepare: Prepare = None):
    """A process that runs a command in a folder."""
    process = FORKS.Process(target=_command, args=(str(folder), arguments, prepare))
    process.start()
    return process


def ended(process, seconds: float = 300) -> int:
    """The exit code of a process, minus a signal."""
    process.join(seconds)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def completed(folder: Path, *arguments: str, prepare: Prepare = None) -> int:
    """The exit code of a command."""
    return ended(started(folder, *arguments, prepare=prepare))


RUN = ("run", "experiments/tiny.yaml", "--jobs", "1")


def told(folder: Path) -> str:
    """All that the commands in a folder have printed."""
    return (folder / "told").read_text(encoding="utf-8")


# what is done to them


class DieAt:
    """Kill this process before or after its n-th operation on files that `recurlab.files` writes."""

    def __init__(self, moment: int):
        self.moment, self.passed = moment, 0

    def __call__(self) -> None:
        for module, name in ((files.fcntl, "flock"), (files.os, "fsync"), (files.os, "replace")):
            setattr(module, name, self._counted(getattr(module, name)))

    def _counted(self, operation):
        def counted(*arguments, **options):
            self._pass()
            result = operation(*arguments, **options)
            self._pass()
            return result

        return counted

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


class MemoryLimit:
    """At most so many MB of addresses more than there are now."""

    def __init__(self, megabytes: int):
        self.megabytes = megabytes

    def __call__(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + self.megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class Clock:
    """A clock that shows another year, and jumps by a month between any two looks at it."""

    def __init__(self, year: int, months: int):
        self.now, self.step = (year - 1970) * 365.25 * 86400, months * 30 * 86400

    def __call__(self) -> None:
        clock = self

        class Datetime(provenance.datetime):
            @classmethod
            def now(cls, zone=None):
                return cls.fromtimestamp(clock.look(), zone)

        provenance.datetime = Datetime
        time.time = self.look
        time.time_ns = lambda: int(self.look() * 1e9)

    def look(self) -> float:
        self.now += self.step
        return self.now


# what must be true


def project(folder: Path, base: dict = MADE_UP) -> Path:
    """A folder with the experiment `tiny`."""
    folder.mkdir(parents=True)
    (folder / "Snakefile").touch()
    engine.write(folder / "experiments", base)
    return folder


def undisturbed(folder: Path, base: dict = MADE_UP) -> dict[str, bytes]:
    """What an undisturbed run of an experiment makes."""
    assert completed(project(folder, base), *RUN) == 0, told(folder)
    return made(folder)


def made(folder: Path) -> dict[str, bytes]:
    return engine.contents(folder / "results", *MADE)


def require_no_false_done(folder: Path, whole: dict[str, bytes]) -> int:
    """No block counts as done that is not what it should be; how many are done."""
    expanded = experiment.expand(folder / "experiments" / "tiny.yaml")
    done = [block for block in experiment.blocks_of(expanded) if run.is_done(folder / "results", expanded, block)]
    for block in done:
        path = results.block_path(folder / "results", expanded, block)
        assert path.read_bytes() == whole[str(path.relative_to(folder / "results"))]
    return len(done)


def require_whole(folder: Path, whole: dict[str, bytes]) -> None:
    """All is as an undisturbed run makes it: the same bytes, no row twice, nothing left over, nothing to be said."""
    assert made(folder) == whole
    expanded = experiment.expand(folder / "experiments" / "tiny.yaml")
    assert verify.verify(folder / "results", [expanded], 0, 0).problems == []
    table = outputs.load_table(folder / "results", expanded)
    assert not table.duplicated().any()
    require_nothing_left(folder)


def require_nothing_left(folder: Path) -> None:
    """No temporary file, no state of a block that is done."""
    left = [path for path in (folder / "results").rglob("*") if path.suffix in (".tmp", ".npz") or path.name[0] == "."]
    assert left == []


def moments(count: int, seconds: float, seed: int = 0) -> list[float]:
    """Moments within a time, drawn at random."""
    chance = random.Random(seed)
    return [chance.uniform(0, seconds) for _ in range(count)]
