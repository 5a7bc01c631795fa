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


def jobs_of(*folders) -> list[str] | None:
    """The jobs of this project that have not ended: by their names and the folders that they were handed in from.

    None if Slurm does not answer.
    """
    called = _call("squeue", "--noheader", "--me", "--format=%A|%j|%Z") if shutil.which("squeue") else None
    if called is None or called.returncode:
        return None
    lines = [line.strip().split("|", 2) for line in called.stdout.splitlines() if line.strip()]
    places = {os.path.realpath(folder) for folder in folders}
    ours = [job for job, name, where in lines if name.startswith(PREFIX) and os.path.realpath(where) in places]
    return list(dict.fromkeys(ours))


def cancel(jobs: list[str]) -> None:
    """End jobs, running or not."""
    _call("scancel", *jobs)


def own_job() -> str:
    """The job that this process belongs to, "" outside of Slurm."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def endings(jobs) -> dict[str, str]:
    """Job -> how it ended, in Slurm's words (TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, …), for those that are remembered.

    One question for each array: of the controller, which forgets after some minutes, then of the accounts.
    """
    found: dict[str, str] = {}
    for array in dict.fromkeys(job.partition("_")[0] for job in jobs):
        found |= _told_by_controller(array) or _told_by_accounts(array)
    return {job: found[job] for job in jobs if job in found}


def _told_by_controller(array: str) -> dict[str, str]:
    called = _call("scontrol", "show", "job", "--oneliner", array) if shutil.which("scontrol") else None
    lines = called.stdout.splitlines() if called and not called.returncode else []
    tasks = [dict(re.findall(r"(JobId|ArrayJobId|ArrayTaskId|JobState)=(\S+)", line)) for line in lines]
    return {_name(task): task["JobState"] for task in tasks if "JobState" in task}


def _name(task: dict[str, str]) -> str:
    return f"{task['ArrayJobId']}_{task['ArrayTaskId']}" if "ArrayTaskId" in task else task["JobId"]


def _told_by_accounts(array: str) -> dict[str, str]:
    line = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={array}", "--format=JobID,State"]
    called = _call(*line) if shutil.which("sacct") else None
    lines = called.stdout.split("\n") if called and not called.returncode else []
    return {job: state.split()[0] for job, _, state in (line.partition("|") for line in lines) if state.strip()}


def most_tasks() -> int:
    """How many tasks an array may have here."""
    called = _call("scontrol", "show", "config") if shutil.which("scontrol") else None
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", called.stdout, flags=re.MULTILINE) if called else None
    return (int(found.group(1)) if found else MOST_TASKS) - 1


def _call(*line: str, script: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(line, input=script, capture_output=True, text=True)
