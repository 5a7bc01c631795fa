"""Slurm by its command line: jobs handed in, looked at, ended. The only place that knows its commands.

Nothing here needs accounting: squeue tells of jobs that wait or run, scontrol of those that ended some minutes ago.
"""

import os
import re
import shutil
import subprocess

PREFIX = "recurlab"  # the names of all jobs begin with it, those of the workflow too (profiles/slurm)
MOST_TASKS = 1001  # Slurm's own limit of an array unless the cluster says another: task numbers stay below it


def require() -> None:
    """ValueError unless there is a Slurm to hand jobs to."""
    if shutil.which("sbatch") is None:
        raise ValueError("sbatch is not on PATH: recurlab submit needs Slurm (recurlab run and snakemake do without)")


def hand_in(script: str, *options: str) -> str:
    """Hand in a job script; the number of the job. RuntimeError with what Slurm says when it refuses."""
    called = _call("sbatch", "--parsable", *options, script=script)
    if called.returncode:
        raise RuntimeError(f"sbatch refused: {called.stderr.strip()}")
    return called.stdout.strip().partition(";")[0]


def waiting_or_running() -> dict[str, str] | None:
    """Job (an array's task is '12_3') -> its state, for all jobs that have not ended; None if Slurm does not answer."""
    called = _call("squeue", "--noheader", "--array", "--me", "--format=%i %T") if shutil.which("squeue") else None
    if called is None or called.returncode:
        return None
    return dict(line.split(maxsplit=1) for line in called.stdout.splitlines() if line.strip())


def jobs_of(folder) -> list[str] | None:
    """The jobs of this project that have not ended: by their names and the folder that they were handed in from.

    None if Slurm does not answer.
    """
    called = _call("squeue", "--noheader", "--me", "--format=%A|%j|%Z") if shutil.which("squeue") else None
    if called is None or called.returncode:
        return None
    lines = [line.strip().split("|", 2) for line in called.stdout.splitlines() if line.strip()]
    place = os.path.realpath(folder)
    ours = [job for job, name, where in lines if name.startswith(PREFIX) and os.path.realpath(where) == place]
    return list(dict.fromkeys(ours))


def cancel(jobs: list[str]) -> None:
    """End jobs, running or not."""
    _call("scancel", *jobs)


def own_job() -> str:
    """The job that this process belongs to, "" outside of Slurm."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def ending(job: str) -> str:
    """How a job ended, in Slurm's words (TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, …); "" if it is not remembered."""
    for command, pattern in (
        (("scontrol", "show", "job", "--oneliner", job), r"JobState=(\S+)"),
        (("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State"), r"^(\S+)"),
    ):
        called = _call(*command) if shutil.which(command[0]) else None
        found = re.search(pattern, called.stdout) if called and not called.returncode else None
        if found:
            return found.group(1)
    return ""


def most_tasks() -> int:
    """How many tasks an array may have here."""
    called = _call("scontrol", "show", "config") if shutil.which("scontrol") else None
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", called.stdout, flags=re.MULTILINE) if called else None
    return (int(found.group(1)) if found else MOST_TASKS) - 1


def _call(*line: str, script: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(line, input=script, capture_output=True, text=True)
