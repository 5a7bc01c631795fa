"""Status and resume: what is told of blocks, and that nothing is lost, doubled or left over after a kill."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from engine import (
    FAILING,
    PROBE,
    REPRODUCIBLE,
    TINY,
    add_studies,
    attempts_in,
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

from recurlab import costs, experiment, processes, resume, status
from recurlab.cli import main
from recurlab.files import read_record, write_record
from recurlab.studies.kinds import SIZE
from recurlab.studies.study import Study

SLOW = {"fixed": {"hidden_size": 64, "lengths": [200]}, "replicas": {"seeds": 2}, "block": 1}  # 4 blocks of about 1 s


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with the experiments `tiny` (a study that needs no kernel) and `failing` (seed 2 fails)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    add_studies(monkeypatch)
    write(tmp_path / "experiments", PROBE)
    write(tmp_path / "experiments", FAILING, "failing")
    return tmp_path


def found(name, scale="default"):
    return status.look("results", experiment.expand(experiment.find(name), scale))


def counts(**given) -> dict[str, int]:
    """All states, those that are not given 0."""
    return dict.fromkeys(status.STATES, 0) | given


def note(folder, name, block, **changes):
    """Note an attempt of this process at a block, with changes."""
    told = {"case": block.case.id, "seeds": block.seeds, "host": socket.gethostname(), "pid": os.getpid()}
    told |= {"clock": processes.began(os.getpid()), "start": "2026-01-01T00:00:00+00:00"}
    told |= {"job": "", "reason": ""} | changes
    path = Path(folder) / "results" / name / "attempts" / f"{block.case.id}-{block.seeds}.json"
    return write_record(path, told)


# status


def test_before_a_run_everything_is_missing_and_nothing_is_known_of_its_cost(folder, capsys):
    assert found("tiny").counts == counts(missing=6)
    assert found("tiny").left is None and found("tiny").made == []
    assert main(["status", "tiny"]) == 0
    assert "unknown" in capsys.readouterr().out
    assert not (folder / "results").exists()


def test_after_a_run_everything_is_done_and_its_cost_is_that_of_the_records(folder):
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    seen = found("tiny")
    assert seen.counts == counts(done=6)
    records = [json.loads(path.read_text()) for path in Path("results/tiny/cases").glob("*/*.json")]
    assert seen.spent == pytest.approx(sum(record["seconds"] for record in records))
    assert seen.memory_mb == max(record["peak_memory_mb"] for record in records) > 50
    assert seen.left == 0 and seen.made == seen.wanted == ["table.parquet"]
    assert not list(Path("results/tiny/attempts").iterdir())


def test_a_block_that_failed_is_told_with_its_reason_until_it_is_done(folder, capsys, monkeypatch):
    assert main(["run", "failing", "--jobs", "1"]) == 1
    assert found("failing").counts == counts(done=3, failed=1)
    capsys.readouterr()
    assert main(["status", "failing"]) == 1
    assert "seeds 2-2 failed: ValueError: seed 2 is unlucky" in capsys.readouterr().out
    monkeypatch.setattr("engine.FAILING_STUDY", Study(healed, (), {"one": "1; always 1"}))
    assert main(["run", "failing", "--jobs", "1"]) == 0
    assert found("failing").counts["done"] == 4


def healed(*, seeds, size: SIZE):
    """The study `failing`, repaired."""
    return {"replica": np.arange(len(seeds)), "one": np.ones(len(seeds))}


def test_a_damaged_block_is_missing_and_says_why(folder, capsys):
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    path = next(Path("results/tiny/cases").glob("*/0-1.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    assert found("tiny").counts == counts(done=5, missing=1)
    assert main(["status", "tiny"]) == 0
    assert "missing: what is there was computed by other sources, or is not what" in capsys.readouterr().out


def test_what_is_left_goes_by_the_seeds_of_the_same_case(folder):
    write(folder / "experiments", PROBE, replicas={"seeds": 4})
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    for path in Path("results/tiny/cases").glob("*/*.json"):
        record = read_record(path)
        write_record(path, record | {"seconds": 3.0 if record["parameters"]["kind"] == "a" else 5.0, "threads": 2})
    write(folder / "experiments", PROBE, replicas={"seeds": 7}, grid={"kind": ["a", "b", "c"]})
    a, b, c = 3.0, 5.0, 4.0  # core seconds a seed: 3 s of 2 threads for 2 seeds; of the third case the median
    assert found("tiny").left == pytest.approx(3 * a + 3 * b + 7 * c)
    block = experiment.blocks_of(found("tiny").experiment)[-1]
    assert costs.measured("results", found("tiny").experiment).expected(block).core_seconds == c


def test_a_block_runs_as_long_as_its_process(folder, capsys):
    first, second, third, *_ = experiment.blocks_of(found("tiny").experiment)
    note(folder, "tiny", first)
    note(folder, "tiny", second, clock=1)  # another process that has the number now
    note(folder, "tiny", third, host="elsewhere", pid=1, clock=1)
    assert found("tiny").counts == counts(running=2, failed=1, missing=3)
    assert main(["status", "tiny"]) == 1
    told = capsys.readouterr().out
    assert f"seeds 0-1 running: on {socket.gethostname()}, process {os.getpid()}" in told
    assert "seeds 2-3 failed: its process ended before it was done" in told
    assert "seeds 4-4 running: on elsewhere, process 1" in told


def test_an_attempt_that_cannot_be_read_tells_nothing_and_that_is_told(folder):
    block, other, *_ = experiment.blocks_of(found("tiny").experiment)
    note(folder, "tiny", block)
    note(folder, "tiny", other).write_text("{", encoding="utf-8")
    with pytest.warns(
        UserWarning, match=f"{other.case.id}-{other.seeds}.json: not a JSON file .*; so it tells nothing"
    ):
        assert found("tiny").counts == counts(running=1, missing=5)


def test_a_refusal_in_the_log_of_a_job_is_told(folder):
    block = experiment.blocks_of(found("tiny").experiment)[0]
    log = Path("results/tiny/cases") / block.case.id / f"{block.seeds}.log"
    log.parent.mkdir(parents=True)
    log.write_text("warning: slow\nrecurlab: results: nothing can be written there\n", encoding="utf-8")
    (seen,) = [each for each in found("tiny").seen if each.state == "failed"]
    assert seen.block == block and seen.reason == "results: nothing can be written there"


def test_without_a_name_every_experiment_has_a_line(folder, capsys):
    assert main(["status"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["experiment", "failing", "tiny"]


# resume


def test_attempts_of_another_machine_are_not_resumed(folder, capsys):
    note(folder, "tiny", experiment.blocks_of(found("tiny").experiment)[0], host="elsewhere")
    assert main(["resume", "tiny"]) == 1
    assert "seeds 0-1 on elsewhere, process" in capsys.readouterr().err


def test_the_whole_workflow_has_no_settings_of_its_own(folder, capsys):
    assert main(["resume", "--set", "replicas.seeds=1"]) == 2
    assert "name an experiment" in capsys.readouterr().err


@pytest.fixture
def sleeper():
    """A process that would go on for a minute and does not end when asked to."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_was_left_running_is_ended_on_request_and_only_it(folder, sleeper, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    processes.end(sleeper.pid, clock=1)
    assert sleeper.poll() is None
    block = experiment.blocks_of(found("tiny").experiment)[0]
    note(folder, "tiny", block, pid=sleeper.pid, clock=processes.began(sleeper.pid))
    told = []
    resume.settle("results", ["tiny", "failing"], True, told.append)
    assert told == [f"ending process {sleeper.pid}, which computes case {block.case.id} seeds 0-1"]
    assert sleeper.wait(10) == -signal.SIGKILL
    assert resume.living("results", ["tiny"]) == []


def test_a_process_is_known_by_its_start(sleeper):
    assert processes.began(sleeper.pid) >= processes.began(os.getpid()) > 0
    sleeper.kill()
    wait_for(lambda: processes.began(sleeper.pid) is None)  # a zombie has ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of the slow experiment, computed in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = call("run", write(folder, TINY, **SLOW), "--jobs", "2", cwd=folder)
    assert result.returncode == 0, result.stderr
    return contents(folder / "results", *REPRODUCIBLE)


def test_a_killed_run_is_resumed_with_the_same_bytes_and_nothing_left_over(tmp_path, undisturbed):
    path = write(tmp_path, TINY, **SLOW)
    with started(command("run", path, "--jobs", "2"), tmp_path) as process:
        wait_for(lambda: attempts_in(tmp_path))
        os.killpg(process.pid, signal.SIGSTOP)
        assert "running: on" in call("status", path, cwd=tmp_path).stdout
    half = tmp_path / "results/tiny/cases/0123456789ab/.0-0.parquet.0123456789ab.tmp"
    half.parent.mkdir(parents=True)
    half.touch()
    told = call("status", path, cwd=tmp_path)
    assert told.returncode == 1 and "failed: its process ended before it was done" in told.stdout
    result = call("resume", path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search("removed [1-9] temporary files of killed processes", result.stderr)
    assert contents(tmp_path / "results", *REPRODUCIBLE) == undisturbed
    assert leftovers(tmp_path) == []


@pytest.fixture
def project(tmp_path):
    """A project of the slow experiment, not yet run."""
    copy_workflow(tmp_path)
    write(tmp_path / "experiments", TINY, **SLOW)
    return tmp_path


def test_a_killed_snakemake_is_resumed_beside_its_living_jobs_without_computing_a_block_twice(project, undisturbed):
    with started([sys.executable, "-m", "snakemake", "--cores", "2"], project) as process:
        with stopped(project, 2) as left:
            refused = call("resume", "tiny", cwd=project)
            assert refused.returncode == 1 and f"process {process.pid}" in refused.stderr  # nothing was killed yet
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed = datetime.now(UTC)
            line = command("resume", "tiny")
            going_on = subprocess.Popen(line, cwd=project, env=environment(), stderr=subprocess.PIPE, text=True)
            first = going_on.stderr.readline()
        told = going_on.communicate()[1]
    assert going_on.returncode == 0, told
    assert "waiting for process" in first and "unlocking" in told
    assert "2 blocks were finished after Snakemake was killed, and are kept" in told
    assert contents(project / "results", *REPRODUCIBLE) == undisturbed
    assert leftovers(project) == []
    begun = [datetime.fromisoformat(record_of(project, attempt)["start"]) for attempt in left]
    assert len(begun) == 2 and max(begun) <= killed
