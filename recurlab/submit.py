"""One experiment as job arrays of Slurm: each task is a `recurlab run` that a person could type, and writes the same
files.

results/<experiment>/submitted/ has for every array its task list and what was asked for. A block that comes back
undone is asked for again with more time and memory, whatever the reason: few clusters tell it truly.
"""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from recurlab import costs, provenance, results, run, slurm
from recurlab.experiment import Block, Experiment, blocks_of
from recurlab.files import inside, read_json, write_json, write_text
from recurlab.studies import TIMED

POLL = 10.0  # seconds between two looks at the queue


class Array(NamedTuple):
    """Blocks that are handed in together: one request, that of the most demanding."""

    blocks: list[Block]
    request: costs.Request
    attempt: int


class Settings(NamedTuple):
    """What the tasks' commands are made of, and what sbatch is given besides."""

    name: str  # of the experiment or its file
    scale: str
    changes: list[str]
    results: str
    jobs: int  # tasks of an array at a time
    sbatch: list[str]
    gpu_sbatch: list[str]

    def command(self, verb: str, *more: str) -> str:
        """A command on the experiment as a line for the shell."""
        changed = [part for text in self.changes for part in ("--set", text)]
        asked = ["--scale", self.scale, *changed, "--results", self.results, *more]
        return shlex.join([sys.executable, "-m", "recurlab", verb, self.name, *asked])


def plan(folder, experiment: Experiment, most: int) -> list[Array]:
    """The arrays for all blocks that are not done, at most `most` tasks each: GPU or not, and by number of attempts."""
    known, tried = costs.measured(folder, experiment), _tried(folder, experiment)
    source = provenance.source_digest(experiment.study)
    groups: dict[tuple, list[Block]] = {}
    for block in blocks_of(experiment):
        if not run.is_done(folder, experiment, block, source):
            attempt = 1 + tried.get((block.case.id, block.seeds), 0)
            groups.setdefault((costs.gpus(block.case), attempt), []).append(block)
    return [
        Array(part, _together(costs.request(known, block, attempt) for block in part), attempt)
        for (_, attempt), blocks in groups.items()
        for part in (blocks[first : first + most] for first in range(0, len(blocks), most))
    ]


def _together(requests: Iterable[costs.Request]) -> costs.Request:
    return costs.Request(*map(max, zip(*requests, strict=True)))


def _tried(folder, experiment: Experiment) -> Counter:
    """(case, seeds) -> how often a block was handed in, for the present sources."""
    digest = provenance.source_digest(experiment.study)
    records = [record for record in _records(folder, experiment) if record["source_digest"] == digest]
    return Counter((case, seeds) for record in records for case, seeds in record["blocks"])


def queued(folder, experiment: Experiment) -> dict[tuple[str, str], str]:
    """(case, seeds) -> the job of a block that was handed in and has not ended."""
    records = _records(folder, experiment)
    jobs = (slurm.waiting_or_running() or {}) if records else {}
    tasks = [(f"{r['job']}_{i}", key) for r in records for i, key in enumerate(r["blocks"], 1)]
    return {(case, seeds): task for task, (case, seeds) in tasks if task in jobs}


def _records(folder, experiment: Experiment) -> list[dict]:
    """What was noted of the arrays that were handed in, the oldest first."""
    return [read_json(path) for path in sorted(_folder_of(folder, experiment).glob("*.json"))]


def _folder_of(folder, experiment: Experiment) -> Path:
    return inside(folder, f"{experiment.name}/submitted")


def send(experiment: Experiment, arrays: list[Array], settings: Settings) -> list[str]:
    """Hand in a job that compiles, the arrays after it, and after them one that makes table, claims and figures."""
    common = [f"--job-name={slurm.PREFIX}_{experiment.name}", "--no-requeue", "--kill-on-invalid-dep=yes"]
    common += ["--output=" + str(_folder_of(settings.results, experiment) / "slurm.out"), "--open-mode=append"]
    flag = str(run.compiled_flag(settings.results))
    first = shlex.join([sys.executable, "-m", "recurlab", "compile", "--flag", flag])
    compiling = slurm.hand_in(_script(first), *_limits(costs.Request()), *common, *settings.sbatch)
    after = [f"--dependency=afterok:{compiling}", *common]
    jobs = [_send_array(experiment, array, settings, after) for array in arrays]
    last = " && ".join(settings.command(verb) for verb in ("table", "claims", "figure") if verb in _verbs(experiment))
    made = f"--dependency=afterok:{':'.join(jobs)}"
    finishing = slurm.hand_in(_script(last), *_limits(costs.Request()), made, *common, *settings.sbatch)
    return [compiling, *jobs, finishing]


def _verbs(experiment: Experiment) -> list[str]:
    return ["table", *["claims"] * bool(experiment.claims), *["figure"] * bool(experiment.figures)]


def _send_array(experiment: Experiment, array: Array, settings: Settings, options: list[str]) -> str:
    """Hand in one array: its tasks are the lines of a file, and what was asked for is noted beside it."""
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    folder = _folder_of(settings.results, experiment)
    lines = [_task(experiment, block, settings) for block in array.blocks]
    tasks = write_text(folder / f"{stem}.tasks", "\n".join(lines) + "\n")
    limits = [f"--array=1-{len(lines)}%{settings.jobs}", *_limits(array.request)]
    limits += ["--exclusive"] if experiment.study in TIMED else []
    limits += [*settings.sbatch, *(settings.gpu_sbatch if array.request.gpus else [])]  # the last one counts
    body = f'eval "$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {shlex.quote(str(tasks))})"'
    job = slurm.hand_in(_script(body), *options, *limits)
    told = {"job": job, "attempt": array.attempt, "source_digest": provenance.source_digest(experiment.study)}
    told |= array.request._asdict() | {"blocks": [[block.case.id, block.seeds] for block in array.blocks]}
    write_json(folder / f"{stem}.json", told)
    return job


def _task(experiment: Experiment, block: Block, settings: Settings) -> str:
    """The command that computes one block, its messages in the log where the workflow has them."""
    log = results.block_path(settings.results, experiment, block).with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = [] if experiment.study in TIMED else ["--threads", "1"]
    line = settings.command("run", "--case", block.case.id, "--seeds", block.seeds, *threads)
    return f"{line} 2> {shlex.quote(str(log))}"


def _script(body: str) -> str:
    return f"#!/bin/bash\n{body}\n"


def _limits(request: costs.Request) -> list[str]:
    gpus = [f"--gpus={request.gpus}"] if request.gpus else []
    return [f"--mem={request.memory_mb}M", f"--time={request.minutes}", "--ntasks=1", *gpus]


def wait(jobs: list[str], tell: Callable[[str], None]) -> None:
    """Return when Slurm knows none of the jobs as waiting or running any more."""
    before = None
    while (left := _left(jobs)) is None or left:
        if left != before and left is not None:
            tell(f"{left} tasks wait or run in Slurm")
        before = left
        time.sleep(POLL)


def _left(jobs: list[str]) -> int | None:
    """How many tasks of the jobs have not ended; None if Slurm does not answer, as while its controller restarts."""
    known = slurm.waiting_or_running()
    return None if known is None else sum(task.partition("_")[0] in jobs for task in known)
