"""Small experiments for the tests of the engine, studies that need no kernel, and the commands as a user types them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import yaml

from recurlab import attempts, corpora, experiment
from recurlab.studies import STUDIES
from recurlab.studies.kinds import COUNT, POSITIVE, SIZE, list_of, one_of, optional
from recurlab.studies.study import Study

ROOT = Path(__file__).resolve().parent.parent

GONE = object()

TINY = {  # the real study `unrolling` at a size of milliseconds
    "title": "Tiny",
    "question": "Do the gradients *agree*, case_by_case?",
    "study": "unrolling",
    "fixed": {"hidden_size": 3, "input_size": 2, "batch_size": 2, "lengths": [2, 4]},
    "grid": {"cell": ["rnn_tanh", "gru"], "init_name": ["orthogonal"]},
    "replicas": {"seeds": 5},
    "block": 2,
    "claims": [{"says": "they agree", "test": "maximum", "y": "relative_difference", "at_most": 1e-12}],
}
PROBE = {  # the study below
    "title": "Probe",
    "question": "What arrives?",
    "study": "probe",
    "fixed": {"steps": 2, "width": 1.5},
    "grid": {"kind": ["a", "b"]},
    "replicas": {"gain": [0.5, 1, 2.0], "seeds": 5},
    "block": 2,
}


def probe(*, seeds, steps: SIZE, width: POSITIVE, gain: POSITIVE, kind: one_of("a", "b", "c")):
    """`steps` rows for each replica, steps last so that the rows of a replica do not come together."""
    replica = np.tile(np.arange(len(seeds)), steps)
    step = np.repeat(np.arange(steps), len(seeds))
    value = gain[replica] * 100 + seeds[replica] + step / 8 + (kind == "b") * 1000
    return {"replica": replica, "step": step, "value": value, "even": seeds[replica] % 2 == 0}


PROBE_STUDY = Study(
    probe, ("gain",), {"step": "steps; of the run", "value": "1; what it is", "even": "yes or no; of the seed"}
)


def settings(*, seeds, size: optional(SIZE), counts: list_of(COUNT), mode: one_of("all", 5)):
    """One row a seed; for the types of settings columns."""
    return {"replica": np.arange(len(seeds)), "one": np.ones(len(seeds))}


SETTINGS_STUDY = Study(settings, (), {"one": "1; always 1"})


def failing(*, seeds, size: SIZE):
    """Fails for seed 2."""
    if 2 in seeds:
        raise ValueError("seed 2 is unlucky")
    return {"replica": np.arange(len(seeds)), "one": np.ones(len(seeds))}


FAILING = {
    "title": "Failing",
    "question": "What if a seed fails?",
    "study": "failing",
    "fixed": {"size": 1},
    "replicas": {"seeds": 4},
    "block": 1,
}
FAILING_STUDY = Study(failing, (), {"one": "1; always 1"})


def on_device(*, seeds, device: one_of("cpu", "cuda")):
    """One row a seed, on either device."""
    return {"replica": np.arange(len(seeds)), "one": np.ones(len(seeds))}


ON_DEVICE = {
    "title": "Devices",
    "question": "Where?",
    "study": "on_device",
    "grid": {"device": ["cpu", "cuda"]},
    "replicas": {"seeds": 4},
    "block": 2,
}
ON_DEVICE_STUDY = Study(on_device, (), {"one": "1; always 1"})


def reader(*, seeds, dataset: one_of("book", "sequel", "none")):
    """The size of what it reads."""
    size = sum(len(corpora.read(name)) for name in corpora.FILES_OF.get(dataset, ()))
    return {"replica": np.arange(len(seeds)), "size": np.full(len(seeds), size)}


READER = {  # at paper scale it reads more
    "title": "Reading",
    "question": "How long is it?",
    "study": "reader",
    "grid": {"dataset": ["book"]},
    "replicas": {"seeds": 2},
    "block": 2,
    "scales": {"paper": {"grid": {"dataset": ["book", "sequel"]}}},
    "claims": [{"says": "it is short", "test": "maximum", "y": "size", "at_most": 20}],
}
READER_STUDY = Study(reader, (), {"size": "bytes; of what it reads"})


def add_studies(monkeypatch) -> None:
    """The studies of this file, by name, as if they stood in the table."""
    for name in ("probe", "settings", "failing", "on_device", "reader"):
        monkeypatch.setitem(STUDIES, name, f"engine:{name.upper()}_STUDY")


def write(folder, base: dict, name: str = "tiny", **changes) -> Path:
    """A YAML file of `base` with changes merged in; a change to GONE takes a key out."""
    path = Path(folder) / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(_kept(experiment.merge(base, changes)), sort_keys=False), encoding="utf-8")
    return path


def _kept(content):
    if not isinstance(content, dict):
        return content
    return {key: _kept(value) for key, value in content.items() if value is not GONE}


def command(*arguments) -> list[str]:
    """`recurlab …` with this interpreter."""
    return [sys.executable, "-m", "recurlab", *map(str, arguments)]


def environment() -> dict[str, str]:
    """The environment in which this checkout is the installed recurlab."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def call(*arguments, cwd) -> subprocess.CompletedProcess:
    """Run `recurlab …` in a folder."""
    return subprocess.run(command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True)


def _heed_interrupts() -> None:
    """A suite that was started in the background ignores Ctrl-C, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(line: list[str], cwd, **variables: str):
    """A running command in a process group of its own, which is killed at the end."""
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    told = environment() | variables
    process = subprocess.Popen(line, cwd=cwd, env=told, start_new_session=True, preexec_fn=_heed_interrupts, **output)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def wait_for(condition, seconds: float = 90) -> None:
    """Wait until the condition holds; long, because kernels may have to be compiled first."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def attempts_in(folder) -> dict:
    """What is noted of blocks of the experiment `tiny` that are being computed or failed."""
    return attempts.read(Path(folder) / "results", "tiny")


@contextmanager
def stopped(folder, count: int, given_up=lambda: False):
    """The first jobs of a run of `tiny`, stopped in the middle of their blocks; at the end they go on."""
    caught = {}
    while len(caught) < count and not given_up():
        time.sleep(0.02)
        caught |= attempts_in(folder)
        for attempt in caught.values():
            os.kill(attempt.pid, signal.SIGSTOP)
    yield list(caught.values())
    for attempt in caught.values():
        with suppress(ProcessLookupError):  # it was ended in the meantime
            os.kill(attempt.pid, signal.SIGCONT)


def record_of(folder, attempt) -> dict:
    """The record of the block that an attempt made."""
    path = Path(folder) / "results" / "tiny" / "cases" / attempt.case / f"{attempt.seeds}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def leftovers(folder) -> list[Path]:
    """Temporary files, attempts and locks."""
    results, locks = Path(folder) / "results", Path(folder) / ".snakemake" / "locks"
    return [*results.rglob("*.tmp"), *results.glob("*/attempts/*"), *locks.glob("*")]


def copy_workflow(folder) -> None:
    """The workflow of this checkout, without its experiments, in another folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "workflow", "profiles"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, Path(folder) / name)


def contents(folder, *patterns) -> dict[str, bytes]:
    """Path below a folder -> bytes, for the files of some patterns."""
    paths = [path for pattern in patterns for path in sorted(Path(folder).glob(pattern))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


REPRODUCIBLE = ("*/cases/*/*.parquet", "*/*/table.parquet", "*/*/summary.*", "*/*/claims.csv", "*/*/claims.html")
