"""Going on after a kill: what the killed run left behind ends first, then the same work is begun again.

A killed Snakemake leaves jobs that go on, a lock, and perhaps files half written under temporary names. A second run
beside such jobs would compute the same blocks twice, so it waits for them, or ends them.
"""

import shlex
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recurlab import attempts, processes, slurm
from recurlab.attempts import Attempt
from recurlab.experiment import Experiment, blocks_of

POLL = 0.5  # seconds between two looks at a process that is waited for


def living(folder, names) -> list[Attempt]:
    """Attempts of experiments that go on, one for each process; RuntimeError for those that cannot be waited for."""
    found = [attempt for name in names for attempt in attempts.running(attempts.read(folder, name).values())]
    elsewhere = [f"{attempt.label} {attempt.place}" for attempt in found if not attempt.is_here]
    if elsewhere:
        advice = "resume there (or where Slurm answers), or remove results/NAME/attempts if that machine is down"
        raise RuntimeError("\n".join(["blocks are noted as running on other machines; " + advice, *elsewhere]))
    return list({attempt.pid: attempt for attempt in found if attempt.is_here}.values())


def settle(folder, names, cancel: bool, tell: Callable[[str], None]) -> None:
    """Return when no process computes blocks of these experiments any more: waited for, or ended with `cancel`."""
    while waiting := living(folder, names):
        for attempt in waiting:
            tell(f"{'ending' if cancel else 'waiting for'} process {attempt.pid}, which computes {attempt.label}")
            if cancel:
                processes.end(attempt.pid, attempt.clock)
            while processes.began(attempt.pid) == attempt.clock:
                time.sleep(POLL)


def settle_slurm(root, cancel: bool, tell: Callable[[str], None]) -> None:
    """Return when no job of the project waits or runs in Slurm any more: waited for, or cancelled with `cancel`."""
    jobs = slurm.jobs_of(root, Path.cwd())
    if jobs:
        tell(f"{'cancelling' if cancel else 'waiting for'} {len(jobs)} jobs in Slurm: {', '.join(jobs[:8])}")
    if jobs and cancel:
        slurm.cancel(jobs)
    while jobs and slurm.jobs_of(root, Path.cwd()) != []:  # None is no answer, as while the controller restarts
        time.sleep(POLL)


def refuse_living_snakemake(root) -> None:
    """RuntimeError if a Snakemake works in the project's folder: then nothing was killed."""
    for pid, words in processes.commands_in(root).items():
        if any(Path(word).name == "snakemake" for word in words[:3]) and "--mode" not in words:  # a job has a mode
            told = f"Snakemake works in {root}, process {pid}: {shlex.join(words)}"
            raise RuntimeError(f"{told}\nwait for it, or end it with Ctrl-C or SIGTERM")


def sweep(folder, names, tell: Callable[[str], None]) -> None:
    """Remove temporary files that killed processes left. Nothing writes there when this is called."""
    left = [path for name in names for path in (Path(folder) / name).rglob(".*.tmp")]
    for path in left:
        path.unlink(missing_ok=True)
    if left:
        tell(f"removed {len(left)} temporary files of killed processes")


def unlock(root, tell: Callable[[str], None]) -> bool:
    """Take away the lock of a killed Snakemake; whether there was one."""
    if not any((Path(root) / ".snakemake" / "locks").glob("*")):
        return False
    tell(f"unlocking {root}, which a killed Snakemake had locked")
    subprocess.run([sys.executable, "-m", "snakemake", "--unlock", "--quiet"], cwd=root, check=True)
    return True


def adopt(root, experiments: list[Experiment], tell: Callable[[str], None]) -> None:
    """Let Snakemake take over blocks that its jobs finished after it was killed: it would compute them once more."""
    marked = _marked(Path(root) / ".snakemake" / "incomplete")
    done = [path for each in experiments for path in _done_files(root, each) if path in marked]
    if done:
        tell(f"{len(done) // 2} blocks were finished after Snakemake was killed, and are kept")
        line = [sys.executable, "-m", "snakemake", "--cleanup-metadata", *done]
        subprocess.run(line, cwd=root, capture_output=True)  # it complains (code 1) of records that were never made


def _marked(folder: Path) -> set[str]:
    """The outputs of jobs that Snakemake began and did not see end: each a file whose name is the path in base64."""
    found = set()
    for path in folder.rglob("*"):
        with suppress(ValueError):  # other files have other names
            found.add(urlsafe_b64decode("".join(path.relative_to(folder).parts).replace("@", "")).decode())
    return found


def _done_files(root, experiment: Experiment) -> list[str]:
    """Rows and records of the blocks that are done, as the workflow names them."""
    from recurlab import provenance, results, run

    folder, source = Path(root) / "results", provenance.source_digest(experiment.study)
    done = [block for block in blocks_of(experiment) if run.is_done(folder, experiment, block, source)]
    paths = [results.block_path("results", experiment, block) for block in done]
    return [str(path.with_suffix(kind)) for path in paths for kind in (".parquet", ".json")]
