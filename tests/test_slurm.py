"""A real Slurm of two virtual nodes on this machine: the bytes of a local run, by arrays and by the workflow.

`make test-slurm` runs these; alone they are left out, since they start daemons and write to /etc/slurm.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from engine import REPRODUCIBLE, ROOT, TINY, call, contents, environment, wait_for, write

from recurlab import slurm

pytestmark = pytest.mark.slurm

SCRIPT = ROOT / "tests" / "slurm" / "slurm-one-machine.sh"
DAEMONS = ("slurmctld", "slurmd", "munged")
SMALL = {**TINY, "block": 3}
ON_SLURM = ["--workflow-profile", "slurm", "--slurm-status-command", "squeue"]
ON_SLURM += ["--slurm-init-seconds-before-status-checks", "2"]


def why_not() -> str:
    """Why Slurm cannot be started here; "" if it can."""
    if os.environ.get("RECURLAB_SLURM") != "1":
        return "make test-slurm runs the tests on Slurm"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Slurm is started on Linux as root only"
    missing = [name for name in DAEMONS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
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
    for name in ("Snakefile", "workflow", "profiles"):
        folder.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
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
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed: the extra [slurm]")
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


def test_jobs_left_in_the_queue_are_cancelled_by_resume_and_the_work_goes_on(cluster, project, local):
    held = ["--hold", "--mem=100M", "--output=/dev/null", "--job-name=recurlab_tiny", f"--chdir={project}"]
    job = slurm.hand_in("#!/bin/bash\nsleep 600\n", *held)
    assert slurm.jobs_of(project) == [job] and slurm.waiting_or_running()[job] == "PENDING"
    result = call("resume", "tiny", "--cancel", cwd=project)
    assert result.returncode == 0 and f"cancelling 1 jobs in Slurm: {job}" in result.stderr
    assert slurm.ending(job) == "CANCELLED"
    assert contents(project / "results", *REPRODUCIBLE) == local


def test_a_second_cluster_is_refused(cluster):
    again = subprocess.run([SCRIPT, "up", cluster], capture_output=True, text=True)
    assert again.returncode == 1 and "already up" in again.stderr
    assert Path("/etc/slurm/slurm.conf").read_text().startswith("# slurm-one-machine.sh")
