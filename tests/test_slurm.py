"""A real Slurm of two virtual nodes on this machine: the bytes of a local run, by arrays and by the workflow.

`make test-slurm` runs these; alone they are left out, since they start daemons and write to /etc/slurm.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from engine import (
    ON_DEVICE,
    REPRODUCIBLE,
    ROOT,
    TINY,
    call,
    command,
    contents,
    copy_workflow,
    environment,
    leftovers,
    record_of,
    started,
    stopped,
    wait_for,
    write,
)

from recurlab import experiment, processes, results, slurm
from recurlab.studies import TIMED

pytestmark = pytest.mark.slurm

SCRIPT = ROOT / "tests" / "slurm" / "slurm-one-machine.sh"
DAEMONS = ("slurmctld", "slurmd", "munged")
SMALL = {**TINY, "block": 3}
ON_SLURM = ["--workflow-profile", "slurm", "--slurm-status-command", "squeue"]
ON_SLURM += ["--slurm-init-seconds-before-status-checks", "2"]


def tool(name: str) -> str | None:
    """Where a daemon's program is."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def why_not() -> str:
    """Why Slurm cannot be started here; "" if it can."""
    if os.environ.get("RECURLAB_SLURM") != "1":
        return "make test-slurm runs the tests on Slurm"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Slurm is started on Linux as root only"
    missing = [name for name in DAEMONS if tool(name) is None]
    return f"{', '.join(missing)} not found; make test-slurm INSTALL=1 installs Slurm with apt" if missing else ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Nodes n1 and n2, stopped after these tests; where Slurm cannot run, they are left out with the reason."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    up = subprocess.run([SCRIPT, "up", folder], capture_output=True, text=True)
    if "left alone" in up.stderr:  # a Slurm that somebody uses
        pytest.skip(up.stderr.strip())
    assert up.returncode == 0, up.stdout + up.stderr
    yield folder
    subprocess.run([SCRIPT, "down", folder], check=True, capture_output=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The results of the small experiment, computed without Slurm."""
    folder = tmp_path_factory.mktemp("local")
    result = call("run", write(folder, SMALL), "--jobs", "1", cwd=folder)
    assert result.returncode == 0, result.stderr
    return contents(folder / "results", *REPRODUCIBLE)


@pytest.fixture
def project(tmp_path):
    """A project of the small experiment, in a folder with spaces."""
    folder = tmp_path / "a project with spaces"
    copy_workflow(folder)
    write(folder / "experiments", SMALL)
    return folder


def test_arrays_give_the_bytes_of_a_local_run(cluster, project, local):
    result = call("submit", "tiny", "--wait", cwd=project)
    assert result.returncode == 0, result.stderr
    assert contents(project / "results", *REPRODUCIBLE) == local
    told = call("status", "tiny", cwd=project)
    assert told.returncode == 0 and "\t4\t4\t0\t0\t0\t0\t" in told.stdout
    assert slurm.jobs_of(project) == []


def test_the_workflow_on_slurm_gives_the_bytes_of_a_local_run(cluster, project, local):
    require_plugin()
    line = [sys.executable, "-m", "snakemake", *ON_SLURM]
    result = subprocess.run(line, cwd=project, env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("has been submitted with SLURM jobid") == 4
    assert contents(project / "results", *REPRODUCIBLE) == local


def test_a_job_that_asks_for_a_gpu_sees_it(cluster, tmp_path):
    told = tmp_path / "told"
    script = f'#!/bin/bash\necho "$SLURMD_NODENAME $CUDA_VISIBLE_DEVICES" > {told}.tmp && mv {told}.tmp {told}\n'
    slurm.hand_in(script, "--gpus=1", "--partition=gpu", "--mem=100M", "--output=/dev/null")
    wait_for(told.exists)
    assert told.read_text() == "n1 0\n"


PLACED = """
import os
import numpy as np
from recurlab.studies.kinds import one_of
from recurlab.studies.study import Study

def placed(*, seeds, device: one_of("cpu", "cuda")):
    told = {"node": os.environ["SLURMD_NODENAME"], "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
    return {"replica": np.arange(len(seeds))} | {name: np.full(len(seeds), text) for name, text in told.items()}

STUDY = Study(placed, (), {"node": "name; where it ran", "gpus": "numbers; of the GPUs that it saw"})
"""
# The GPU of node n1 is a number that Slurm hands out: there is nothing that a kernel could run on.
KNOWN = """
from recurlab import check
from recurlab.studies import STUDIES
STUDIES["placed"], check.require_devices = "placed:STUDY", lambda blocks: None
"""
WAYS = {"arrays": command("submit", "devices", "--wait"), "workflow": [sys.executable, "-m", "snakemake", *ON_SLURM]}


def shown(job: str) -> str:
    """All that Slurm knows of a job, on one line."""
    line = ["scontrol", "show", "job", "--oneliner", job]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def require_plugin() -> None:
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed: the extra [slurm]")


@pytest.mark.parametrize("way", WAYS)
def test_a_case_on_a_gpu_waits_for_the_node_that_has_one_and_sees_it(cluster, tmp_path, way):
    if way == "workflow":
        require_plugin()
    copy_workflow(tmp_path)
    write(tmp_path / "experiments", ON_DEVICE, "devices", study="placed", replicas={"seeds": 2})
    (tmp_path / "placed.py").write_text(PLACED, encoding="utf-8")
    (tmp_path / "sitecustomize.py").write_text(KNOWN, encoding="utf-8")  # so that jobs know the study, too
    other = slurm.hand_in("#!/bin/bash\nsleep 600\n", "--nodelist=n1", "--exclusive", "--output=/dev/null")
    with started(WAYS[way], tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}") as process:
        wait_for(lambda: len([*tmp_path.glob("results/devices/cases/*/*.json")]) == 1, 300)
        (waiting,) = [text for text in map(shown, slurm.jobs_of(tmp_path)) if "TresPerJob=gres:gpu:1" in text]
        assert "JobState=PENDING" in waiting
        slurm.cancel([other])
        ended(process)
    rows = results.load_results(tmp_path / "results", "devices")[["device", "node", "gpus"]].drop_duplicates()
    assert rows.to_numpy().tolist() == [["cpu", "n2", ""], ["cuda", "n1", "0"]]


def test_jobs_left_in_the_queue_are_cancelled_by_resume_and_the_work_goes_on(cluster, project, local):
    held = ["--hold", "--mem=100M", "--output=/dev/null", "--job-name=recurlab_tiny", f"--chdir={project}"]
    job = slurm.hand_in("#!/bin/bash\nsleep 600\n", *held)
    assert slurm.jobs_of(project) == [job] and slurm.waiting_or_running()[job] == "PENDING"
    result = call("resume", "tiny", "--cancel", cwd=project)
    assert result.returncode == 0 and f"cancelling 1 jobs in Slurm: {job}" in result.stderr
    assert slurm.endings([job]) == {job: "CANCELLED"}
    assert contents(project / "results", *REPRODUCIBLE) == local


# the suite


SUITE = {name: path for name, path in experiment.named().items() if experiment.load(path)[0]["study"] not in TIMED}


@pytest.mark.parametrize("name", SUITE)
def test_every_experiment_at_quick_scale_gives_the_bytes_of_a_local_run(cluster, tmp_path, name):
    absent = experiment.left_out(experiment.expand(SUITE[name], "quick"))
    if absent:
        pytest.skip(absent)
    asked = [SUITE[name], "--scale", "quick"]
    for line in (["run", *asked, "--results", "local"], ["submit", *asked, "--wait"]):
        result = call(*line, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    made = contents(tmp_path / "results", *REPRODUCIBLE)
    assert f"{name}/quick/table.parquet" in made and made == contents(tmp_path / "local", *REPRODUCIBLE)


# faults


ASKING = """
import sys
from recurlab import costs, submit
from recurlab.cli import main
submit.POLL = 2.0
asked = {asked}
costs.request = lambda known, block, attempt=1: costs.Request(*asked[:attempt][-1])
sys.exit(main(["submit", "tiny", "--wait", "--retries", "{retries}"]))
"""
USUAL = (1500, 20)  # MB, minutes
SAVED = 8.0  # seconds after which the controller has saved what it started; one that dies sooner drains its nodes


@contextmanager
def submitting(folder, *asked, retries: int = 0):
    """`recurlab submit tiny --wait`, with what is asked for at each attempt."""
    with started([sys.executable, "-c", ASKING.format(asked=asked, retries=retries)], folder) as process:
        yield process


def ended(process, code: int = 0) -> str:
    """What a command told that ended with this code."""
    told = process.communicate(timeout=150)[1]
    assert process.returncode == code, told
    return told


def submissions(folder) -> list[list]:
    """The blocks of each array that was handed in, in turn."""
    paths = sorted((folder / "results/tiny/submitted").glob("*.json"))
    return [json.loads(path.read_text())["blocks"] for path in paths]


@pytest.mark.parametrize(
    ("scarce", "reasons"),
    [
        ((1500, 1), "TIMEOUT"),
        ((50, 20), "OUT_OF_MEMORY|FAILED"),  # without cgroups Slurm has no other word for it
    ],
    ids=["time", "memory"],
)
def test_a_job_that_runs_out_is_told_and_gets_more_the_next_time(cluster, project, local, scarce, reasons):
    with (
        submitting(project, scarce) as process,
        stopped(project, 1, lambda: process.poll() is not None),  # where memory runs out before a block is begun
    ):
        assert "came back undone" in ended(process, 1)
    told = call("status", "tiny", cwd=project)
    assert told.returncode == 1 and re.search(rf"failed: Slurm job \d+_\d ended: ({reasons})", told.stdout)
    with submitting(project, scarce, USUAL) as process:
        ended(process)
    assert len(submissions(project)) == 2
    assert contents(project / "results", *REPRODUCIBLE) == local and leftovers(project) == []


def test_jobs_of_a_node_that_is_lost_are_handed_in_again_elsewhere(cluster, project, local):
    other = slurm.hand_in("#!/bin/bash\nsleep 600\n", "--nodelist=n1", "--exclusive", "--output=/dev/null")
    with submitting(project, USUAL, USUAL, retries=1) as process:
        with stopped(project, 1):
            lose(cluster, "n2")
            slurm.cancel([other])
            wait_for(lambda: len(submissions(project)) == 2, 120)
        subprocess.run([tool("slurmd"), "-N", "n2"], check=True)
        ended(process)
    assert contents(project / "results", *REPRODUCIBLE) == local and leftovers(project) == []


def lose(cluster, node: str) -> None:
    """A node is lost with all that runs on it: its daemon, those of its jobs, and their processes."""
    listing = ["ps", "-ww", "-e", "-o", "pid=,ppid=,args="]
    listed = subprocess.run(listing, capture_output=True, text=True).stdout.splitlines()
    table = [(int(pid), int(parent), args) for pid, parent, args in (line.split(None, 2) for line in listed)]
    line = ["squeue", "--noheader", f"--nodelist={node}", "--states=RUNNING", "--format=%A"]
    jobs = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    steps = [pid for pid, _, args in table if any(args.startswith(f"slurmstepd: [{job}.") for job in jobs)]
    assert steps
    doomed = {int((cluster / f"slurmd-{node}.pid").read_text()), *steps}
    while found := {pid for pid, parent, _ in table if parent in doomed} - doomed:
        doomed |= found
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)


def test_a_controller_that_dies_and_comes_back_is_waited_for(cluster, project, local):
    with submitting(project, USUAL) as process:
        with stopped(project, 1):
            time.sleep(SAVED)
            pid = int((cluster / "slurmctld.pid").read_text())
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: processes.began(pid) is None)
            assert slurm.waiting_or_running() is None
            subprocess.run([tool("slurmctld")], check=True)
            wait_for(lambda: slurm.waiting_or_running() is not None)
        ended(process)
    assert len(submissions(project)) == 1
    assert contents(project / "results", *REPRODUCIBLE) == local and leftovers(project) == []


def test_a_killed_workflow_on_slurm_is_resumed_without_computing_a_block_twice(cluster, project, local):
    with started([sys.executable, "-m", "snakemake", *ON_SLURM], project) as process:
        with stopped(project, 2) as left:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed = datetime.now(UTC)
            line = command("resume", "tiny", f"--snakemake={shlex.join(ON_SLURM)}")
            going_on = subprocess.Popen(line, cwd=project, env=environment(), stderr=subprocess.PIPE, text=True)
            first = going_on.stderr.readline()
        told = ended(going_on)
    assert "waiting for 4 jobs in Slurm" in first and "unlocking" in told
    assert contents(project / "results", *REPRODUCIBLE) == local and leftovers(project) == []
    begun = [datetime.fromisoformat(record_of(project, attempt)["start"]) for attempt in left]
    assert len(begun) >= 2 and max(begun) <= killed


def test_a_second_cluster_is_refused(cluster):
    again = subprocess.run([SCRIPT, "up", cluster], capture_output=True, text=True)
    assert again.returncode == 1 and "already up" in again.stderr
    assert Path("/etc/slurm/slurm.conf").read_text().startswith("# slurm-one-machine.sh")
