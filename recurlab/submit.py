"""One experiment as job arrays of Slurm: each task is a `recurlab run` that a person could type, and writes the same
files.

results/<experiment>/submitted/ has for every array its blocks and what was asked for. A block that comes back
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

from recurlab import attempts, costs, provenance, records, run, slurm
from recurlab.experiment import Block, Experiment, blocks_of
from recurlab.files import inside, read_record, write_record
from recurlab.records import CASE, JOB, SEEDS, TEXT, list_of
from recurlab.studies import TIMED

POLL = 10.0  # seconds between two looks at the queue
KINDS = {"job": JOB, "source_digest": TEXT, "blocks": list_of("pairs of case and seeds", CASE, SEEDS)}  # of a note


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
    """The arrays for all blocks that are neither done nor under way: GPU or not, by number of attempts, and at most
    `most` tasks each.
    """
    known, tried, busy = costs.measured(folder, experiment), _tried(folder, experiment), under_way(folder, experiment)
    source = provenance.source_digest(experiment.study)
    groups: dict[tuple, list[Block]] = {}
    for block in blocks_of(experiment):
        key = block.case.id, block.seeds
        if key not in busy and not run.is_done(folder, experiment, block, source):
            groups.setdefault((costs.gpus(block.case), 1 + tried[key]), []).append(block)
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
    noted = [record for record in _records(folder, experiment) if record["source_digest"] == digest]
    return Counter((case, seeds) for record in noted for case, seeds in record["blocks"])


def queued(folder, experiment: Experiment) -> dict[tuple[str, str], str]:
    """(case, seeds) -> the job of a block that was handed in and has not ended."""
    noted = _records(folder, experiment)
    jobs = (slurm.waiting_or_running() or {}) if noted else {}
    tasks = [(f"{r['job']}_{i}", key) for r in noted for i, key in enumerate(r["blocks"], 1)]
    return {(case, seeds): task for task, (case, seeds) in tasks if task in jobs}


def endings(folder, experiment: Experiment, keys) -> dict[tuple[str, str], str]:
    """(case, seeds) -> how the last job of a block ended, of `keys` those whose job did not complete and is remembered.

    A job that dies while it starts leaves no attempt: Slurm alone knows of it.
    """
    noted = _records(folder, experiment)
    jobs = {(case, seeds): f"{r['job']}_{i}" for r in noted for i, (case, seeds) in enumerate(r["blocks"], 1)}
    jobs = {key: jobs[key] for key in keys if key in jobs}
    ended = {job: state for job, state in slurm.endings(jobs.values()).items() if state != "COMPLETED"}
    return {key: f"Slurm job {job} ended: {ended[job]}" for key, job in jobs.items() if job in ended}


def under_way(folder, experiment: Experiment) -> set[tuple[str, str]]:
    """(case, seeds) of the blocks that are being computed, by whomever, or wait in Slurm."""
    running = attempts.running(attempts.read(folder, experiment.name).values())
    return {(attempt.case, attempt.seeds) for attempt in running} | queued(folder, experiment).keys()


def _records(folder, experiment: Experiment) -> list[dict]:
    """What was noted of the arrays that were handed in, the oldest first."""
    paths = sorted(_folder_of(folder, experiment).glob("*.json"))
    return [records.require(path, read_record(path), KINDS) for path in paths]


def _folder_of(folder, experiment: Experiment) -> Path:
    return inside(folder, f"{experiment.name}/submitted")


def send(experiment: Experiment, arrays: list[Array], settings: Settings) -> list[str]:
    """Hand in a job that compiles, the arrays after it, and after them one that makes table, claims and figures."""
    folder = _folder_of(settings.results, experiment)
    folder.mkdir(parents=True, exist_ok=True)  # a job whose messages have no place fails
    common = [f"--job-name={slurm.PREFIX}_{experiment.name}", "--no-requeue", "--kill-on-invalid-dep=yes"]
    common += [f"--output={folder / 'slurm.out'}", "--open-mode=append"]
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
    """Hand in one array, and note what was asked for."""
    limits = [f"--array=1-{len(array.blocks)}%{settings.jobs}", *_limits(array.request)]
    limits += ["--exclusive"] if experiment.study in TIMED else []
    limits += [*settings.sbatch, *(settings.gpu_sbatch if array.request.gpus else [])]  # the last one counts
    job = slurm.hand_in(_script(_tasks(experiment, array, settings)), *options, *limits)
    told = {"job": job, "attempt": array.attempt, "source_digest": provenance.source_digest(experiment.study)}
    told |= array.request._asdict() | {"blocks": [[block.case.id, block.seeds] for block in array.blocks]}
    write_record(_folder_of(settings.results, experiment) / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json", told)
    return job


def _tasks(experiment: Experiment, array: Array, settings: Settings) -> str:
    """Lines for bash: task i computes block i, its messages in the log where the workflow has them.

    The blocks stand in the script, of which Slurm keeps a copy: no file that others can write says what is run.
    """
    listed = "\n".join(f"{block.case.id} {block.seeds}" for block in array.blocks)
    threads = [] if experiment.study in TIMED else ["--threads", "1"]
    folder = shlex.quote(str(inside(settings.results, f"{experiment.name}/cases")))
    return f"""blocks=(
{listed}
)
id=${{blocks[2 * SLURM_ARRAY_TASK_ID - 2]}}
seeds=${{blocks[2 * SLURM_ARRAY_TASK_ID - 1]}}
mkdir -p {folder}/$id
{settings.command("run", *threads)} --case $id --seeds $seeds 2> {folder}/$id/$seeds.log"""


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
