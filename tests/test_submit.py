"""Jobs for Slurm without one: what is asked for, how often, and that the tasks write the files of the workflow."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from engine import (
    FAILING,
    GONE,
    ON_DEVICE,
    PROBE,
    REPRODUCIBLE,
    TINY,
    add_studies,
    call,
    contents,
    environment,
    write,
)

from recurlab import attempts, costs, experiment, provenance, results, slurm, status
from recurlab.cli import main
from recurlab.files import read_record, write_bytes, write_record
from recurlab.processes import KEPT


class Handed(NamedTuple):
    """A job that was handed in."""

    script: str
    options: list[str]

    def value(self, name: str) -> str:
        """What an option says; the last one counts."""
        return [option.partition("=")[2] for option in self.options if option.partition("=")[0] == name][-1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project of three experiments that need no kernel."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    add_studies(monkeypatch)
    for name, base in {"tiny": PROBE, "failing": FAILING, "devices": ON_DEVICE}.items():
        write(tmp_path / "experiments", base, name)
    return tmp_path


@pytest.fixture
def handed(monkeypatch):
    """The jobs that were handed in, to a Slurm that runs none of them: they have ended when it is asked."""
    jobs = []

    def hand_in(script, *options):
        jobs.append(Handed(script, list(options)))
        return str(len(jobs))

    monkeypatch.setattr(slurm, "require", lambda: None)
    monkeypatch.setattr(slurm, "hand_in", hand_in)
    monkeypatch.setattr(slurm, "waiting_or_running", lambda: {})
    monkeypatch.setattr(slurm, "most_tasks", lambda: 1000)
    return jobs


def arrays(handed) -> list[Handed]:
    return [job for job in handed if any(option.startswith("--array=") for option in job.options)]


def test_an_array_stands_between_compiling_and_the_table(folder, handed, capsys):
    assert main(["submit", "tiny", "--jobs", "3", "--sbatch=--partition=big --account=me"]) == 0
    assert "6 blocks, attempt 1: 1500 MB, 20 min each" in capsys.readouterr().err
    first, array, last = handed
    assert "recurlab compile --flag results/compiled.json" in first.script
    assert array.value("--array") == "1-6%3" and array.value("--dependency") == "afterok:1"
    assert "recurlab table tiny" in last.script and last.value("--dependency") == "afterok:2"
    assert "claims" not in last.script and "figure" not in last.script  # it has none
    for job in handed:
        assert {"--partition=big", "--account=me", "--no-requeue", "--job-name=recurlab_tiny"} <= set(job.options)


def test_what_is_asked_for_comes_from_what_blocks_took_and_grows_with_every_attempt(folder, handed):
    write(folder / "experiments", PROBE, replicas={"seeds": 2})
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    for path in Path("results/tiny/cases").glob("*/*.json"):
        write_record(path, read_record(path) | {"seconds": 400.0, "peak_memory_mb": 1234.5})
    write(folder / "experiments", PROBE)  # 2 seeds took 400 s; 2 + 1 more in each of two cases
    for attempt in (1, 2, 3):
        handed.clear()
        assert main(["submit", "tiny"]) == 0
        (array,) = arrays(handed)
        assert array.value("--array") == "1-4%200"
        assert array.value("--mem") == f"{attempt * 1900}M"  # 1.5 * 1234.5, in whole 100 MB
        assert array.value("--time") == str(attempt * 20)  # 3 * 400 s


def test_what_a_case_took_is_told_by_a_few_whole_records_of_its_largest_blocks(folder, monkeypatch):
    monkeypatch.setattr(costs, "ENOUGH", 2)
    expanded = experiment.expand(write(folder / "experiments", PROBE, grid={"kind": ["a"]}))
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    place = Path("results/tiny/cases") / expanded.cases[0].id
    for seeds, seconds, memory in (("4-4", 1000.0, 5000.0), ("2-3", 30.0, 300.0), ("0-1", 10.0, 100.0)):
        path = place / f"{seeds}.json"
        write_record(path, read_record(path) | {"seconds": seconds, "peak_memory_mb": memory})
    (place / "no-block.json").write_text("{}", encoding="utf-8")
    assert costs.measured("results", expanded) == ({place.name: 10.0}, 300.0)  # 5 and 15 a seed; 4-4 is the smallest
    (place / "0-1.json").write_text("{", encoding="utf-8")
    assert costs.measured("results", expanded) == ({place.name: 507.5}, 5000.0)


def test_attempts_of_other_sources_do_not_count(folder, handed, monkeypatch):
    assert main(["submit", "tiny"]) == 0
    monkeypatch.setattr(provenance, "source_digest", lambda study: "0123456789ab")
    assert main(["submit", "tiny"]) == 0
    assert [array.value("--time") for array in arrays(handed)] == ["20", "20"]


def test_blocks_that_are_done_are_not_handed_in_and_without_others_only_tables_are_made(folder, handed, monkeypatch):
    assert main(["run", "failing", "--jobs", "1"]) == 1
    assert main(["submit", "failing"]) == 0
    assert arrays(handed)[0].value("--array") == "1-1%200"
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    called = []
    monkeypatch.setattr(subprocess, "call", lambda line: called.append(line) or 0)
    handed.clear()
    assert main(["submit", "tiny"]) == 0
    assert handed == [] and called[0][2:5] == ["recurlab", "run", "tiny"]


def test_cases_on_a_gpu_ask_for_one_in_an_array_of_their_own(folder, handed):
    assert main(["submit", "devices", "--gpu-sbatch=--partition=gpu"]) == 0
    on_cpu, on_gpu = arrays(handed)
    assert "--gpus=1" not in on_cpu.options and "--partition=gpu" not in on_cpu.options
    assert "--gpus=1" in on_gpu.options and "--partition=gpu" in on_gpu.options
    case = experiment.expand(experiment.find("devices")).cases[1]
    assert on_gpu.value("--array") == "1-2%200" and case.parameters == {"device": "cuda"}
    assert f"blocks=(\n{case.id} 0-1\n{case.id} 2-3\n)" in on_gpu.script and case.id not in on_cpu.script


def test_jobs_that_measure_times_have_a_node_to_themselves(folder, handed, monkeypatch):
    monkeypatch.setattr("recurlab.submit.TIMED", ("probe",))
    assert main(["submit", "tiny"]) == 0
    (array,) = arrays(handed)
    assert "--exclusive" in array.options and "--threads" not in array.script


def test_no_array_has_more_tasks_than_the_cluster_allows(folder, handed, monkeypatch):
    monkeypatch.setattr(slurm, "most_tasks", lambda: 4)
    assert main(["submit", "tiny"]) == 0
    assert [array.value("--array") for array in arrays(handed)] == ["1-4%200", "1-2%200"]
    assert handed[-1].value("--dependency") == "afterok:2:3"


PLANNED = """
import re, sys
from recurlab.cli import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])  # what it had at most, in kB
sys.exit(code)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_hundred_thousand_replicas_are_planned_as_5000_jobs_within_500_mb(tmp_path):
    grid = {"cell": ["rnn_tanh", "gru"], "init_name": ["orthogonal", "uniform"], "hidden_size": [*range(2, 27)]}
    path = write(tmp_path, TINY, fixed={"hidden_size": GONE}, grid=grid, replicas={"seeds": 1000}, block=20)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sbatch").symlink_to(shutil.which("true"))
    told = environment() | {"PATH": f"{tools}:{os.environ['PATH']}"}
    line = [sys.executable, "-c", PLANNED, "submit", path, "--dry-run"]
    planned = subprocess.run(line, cwd=tmp_path, env=told, capture_output=True, text=True)
    assert planned.returncode == 0 and planned.stderr.count("1000 blocks") == 5
    assert int(planned.stdout.split()[-1]) < 500_000  # kB; 182,000 on the machine it was written on


def test_a_dry_run_hands_in_nothing(folder, handed, capsys):
    assert main(["submit", "tiny", "-n"]) == 0
    assert handed == [] and "6 blocks" in capsys.readouterr().err and not Path("results/tiny").exists()


def test_blocks_under_way_are_not_handed_in_again(folder, handed, monkeypatch, capsys):
    assert main(["submit", "tiny"]) == 0
    monkeypatch.setattr(slurm, "waiting_or_running", lambda: {"2_1": "RUNNING", "2_2": "PENDING", "3": "PENDING"})
    assert main(["submit", "tiny"]) == 0
    assert "2 blocks are under way already" in capsys.readouterr().err
    assert [array.value("--array") for array in arrays(handed)] == ["1-6%200", "1-4%200"]
    monkeypatch.setattr(slurm, "waiting_or_running", lambda: {f"2_{i}": "PENDING" for i in range(1, 7)})
    handed.clear()
    assert main(["submit", "tiny"]) == 0 and handed == []


def test_waiting_hands_in_again_what_came_back_undone_and_gives_up(folder, handed, capsys):
    assert main(["submit", "tiny", "--wait", "--retries", "2"]) == 1
    assert [array.value("--mem") for array in arrays(handed)] == ["1500M", "3000M", "4500M"]
    assert capsys.readouterr().err.count("6 blocks came back undone") == 3


def test_without_slurm_it_is_refused_before_anything_is_written(folder, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert main(["submit", "tiny"]) == 2
    assert "sbatch is not on PATH" in capsys.readouterr().err and not Path("results").exists()


def test_the_tasks_write_the_files_of_a_run(tmp_path, handed, monkeypatch):
    for place in ("here", "by tasks"):
        write(tmp_path / place, TINY, block=3)
    assert call("run", "tiny.yaml", "--jobs", "1", cwd=tmp_path / "here").returncode == 0
    monkeypatch.chdir(tmp_path / "by tasks")
    assert main(["submit", "tiny.yaml"]) == 0
    for job in handed:
        count = int(re.match(r"1-(\d+)", job.value("--array"))[1]) if job in arrays(handed) else 1
        for task in range(1, count + 1):
            told = environment() | {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(task)}
            subprocess.run(["bash"], input=job.script, text=True, env=told, check=True, stdout=subprocess.DEVNULL)
    made = contents("results", *REPRODUCIBLE)
    assert len(made) == 4 + 1 + 3 + 2 and made == contents(tmp_path / "here" / "results", *REPRODUCIBLE)
    logs = {path.with_suffix(".parquet") for path in Path("results/tiny/cases").glob("*/*.log")}
    assert logs == set(Path("results/tiny/cases").glob("*/*.parquet"))


# what Slurm's commands say, in its own words (22.05)


@pytest.fixture
def says(tmp_path, monkeypatch):
    """Makes a command that says something and ends with a code."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))

    def make(command: str, text: str, code: int = 0) -> None:
        told = tools / f"{command}.txt"
        told.write_text(text, encoding="utf-8")
        cat = shutil.which("cat", path=os.defpath)
        script = f"#!/bin/sh\n{cat} '{told}'\nexit {code}\n"
        (tools / command).write_text(script, encoding="utf-8")
        (tools / command).chmod(0o755)

    return make


def test_tasks_that_wait_or_run_are_told_apart(says):
    assert slurm.waiting_or_running() is None
    says("squeue", "12_1 RUNNING\n12_2 PENDING\n9 COMPLETING\n")
    assert slurm.waiting_or_running() == {"12_1": "RUNNING", "12_2": "PENDING", "9": "COMPLETING"}
    says("squeue", "slurm_load_jobs error: Unable to contact slurm controller", 1)
    assert slurm.waiting_or_running() is None


def test_jobs_of_a_project_are_known_by_name_and_folder(says, tmp_path):
    place = tmp_path / "a | b"
    place.mkdir()
    assert slurm.jobs_of(place) is None
    says("squeue", f"5|recurlab_tiny|{place}\n5|recurlab_tiny|{place}\n6|recurlab_x|/elsewhere\n7|other|{place}\n")
    assert slurm.jobs_of(place) == ["5"]


def test_how_a_job_ended_is_asked_of_the_controller_and_then_of_the_accounts(says):
    jobs = ["7_1", "7_2", "7_3", "9"]
    assert slurm.endings(jobs) == {}
    says("sacct", "7_1|OUT_OF_MEMORY\n7_2|CANCELLED by 0\n7_4|FAILED\n")
    assert slurm.endings(jobs) == {"7_1": "OUT_OF_MEMORY", "7_2": "CANCELLED"}
    controller = "JobId=8 ArrayJobId=7 ArrayTaskId=1 JobName=x UserId=a(1) JobState=TIMEOUT Reason=TimeLimit\n"
    says("scontrol", controller + "JobId=9 JobName=y JobState=NODE_FAIL Reason=None\n")
    assert slurm.endings(jobs) == {"7_1": "TIMEOUT", "9": "NODE_FAIL"}


def test_the_limit_of_an_array_is_the_cluster_s(says):
    assert slurm.most_tasks() == 1000
    says("scontrol", "MaxArraySize            = 501\n")
    assert slurm.most_tasks() == 500


def test_what_sbatch_refuses_is_told(says):
    says("sbatch", "123;cluster\n")
    assert slurm.hand_in("#!/bin/bash\n") == "123"
    says("sbatch", "", 1)
    with pytest.raises(RuntimeError, match="sbatch refused"):
        slurm.hand_in("#!/bin/bash\n")


# status of blocks in Slurm


def test_a_block_of_a_job_on_a_node_runs_as_long_as_slurm_says_so(folder, says, handed, monkeypatch, capsys):
    assert main(["submit", "tiny"]) == 0
    (record,) = map(json.loads, (path.read_text() for path in Path("results/tiny/submitted").glob("*.json")))
    begun = {"host": "n17", "pid": 1, "clock": 1, "start": "2026-01-01T00:00:00+00:00", "reason": ""}
    for task in (1, 2):
        case, seeds = record["blocks"][task - 1]
        path = Path("results/tiny/attempts") / f"{case}-{seeds}.json"
        write_record(path, {"case": case, "seeds": seeds, **begun, "job": f"2_{task}"})
    monkeypatch.setattr(slurm, "waiting_or_running", lambda: {"2_1": "RUNNING", "2_3": "PENDING"})
    says("scontrol", "JobId=3 ArrayJobId=2 ArrayTaskId=2 JobState=NODE_FAIL Reason=NodeDown\n")
    seen = status.look("results", experiment.expand(experiment.find("tiny")))
    assert seen.counts == {"done": 0, "running": 1, "queued": 1, "failed": 1, "missing": 3}
    assert main(["status", "tiny"]) == 1
    told = capsys.readouterr().out
    assert "running: on n17, Slurm job 2_1, since 2026" in told and "queued: Slurm job 2_3" in told
    assert "failed: Slurm job 2_2 ended: NODE_FAIL" in told
    monkeypatch.setattr(slurm, "waiting_or_running", lambda: None)  # no answer: nobody can know
    assert len(attempts.running(attempts.read("results", "tiny").values())) == 2


def test_a_job_that_died_before_it_began_with_its_block_is_told_as_failed(folder, says, handed, capsys):
    assert main(["submit", "tiny"]) == 0
    task = "JobId={} ArrayJobId=2 ArrayTaskId={} JobState={}\n"
    says("scontrol", task.format(3, 1, "OUT_OF_MEMORY") + task.format(4, 2, "COMPLETED"))
    assert main(["status", "tiny"]) == 1
    assert "seeds 0-1 failed: Slurm job 2_1 ended: OUT_OF_MEMORY" in capsys.readouterr().out
    seen = status.look("results", experiment.expand(experiment.find("tiny")))
    assert seen.counts == {"done": 0, "running": 0, "queued": 0, "failed": 1, "missing": 5}


def test_a_job_that_was_asked_to_end_is_told_in_slurm_s_words_and_a_refusal_in_its_own(folder, says, handed, capsys):
    assert main(["submit", "tiny"]) == 0
    tiny = experiment.expand(experiment.find("tiny"))
    said = (f"terminated; {KEPT}", f"terminated; {KEPT}", "no such cell")
    for block, told in zip(experiment.blocks_of(tiny)[:3], said, strict=True):
        log = results.block_path("results", tiny, block).with_suffix(".log")
        write_bytes(log, f"recurlab: {told}\n".encode())
    task = "JobId={} ArrayJobId=2 ArrayTaskId={} JobState={}\n"
    says("scontrol", task.format(3, 1, "TIMEOUT") + task.format(5, 3, "FAILED"))
    assert main(["status", "tiny"]) == 1
    told = capsys.readouterr().out
    assert "seeds 0-1 failed: Slurm job 2_1 ended: TIMEOUT" in told
    assert f"seeds 2-3 failed: terminated; {KEPT}" in told  # Slurm remembers nothing of it
    assert "seeds 4-4 failed: no such cell" in told


def test_an_attempt_knows_its_job(folder, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    assert slurm.own_job() == "41"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "40")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert main(["run", "failing", "--jobs", "1"]) == 1
    (attempt,) = attempts.read("results", "failing").values()
    assert attempt.job == "40_2" and attempt.reason.strip().endswith("seed 2 is unlucky")


def test_cases_ask_for_a_gpu_by_their_device():
    cases = [experiment.Case("0" * 12, {"device": device}) for device in ("cpu", "cuda")]
    assert [costs.gpus(case) for case in cases] == [0, 1] and costs.gpus(experiment.Case("0" * 12, {})) == 0
