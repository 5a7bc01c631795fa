"""Faults: whatever happens to a run, running it again gives the bytes of an undisturbed one. `make test-faults`.

Kills, signals, full and read-only disks, memory that runs out, clocks that jump, several runs in one folder, stale
locks, damaged caches. `faults` has what is done and what must be true afterwards.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import damage
import faults
import pytest
from engine import ROOT, TINY, call, command, contents, environment, write

from recurlab import files, run
from recurlab.cli import DTYPES
from recurlab.studies import STUDIES

pytestmark = pytest.mark.faults
KILLS = 50


@pytest.fixture(scope="module", autouse=True)
def studies():
    """Those of the tests, as if they stood in the table."""
    with pytest.MonkeyPatch.context() as patched:
        for name, place in faults.OWN_STUDIES.items():
            patched.setitem(STUDIES, name, place)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed run of the experiment without kernels makes."""
    return faults.undisturbed(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """What an undisturbed run of the experiment that learns makes, and its seconds with compiled kernels."""
    folder = tmp_path_factory.mktemp("learned")
    faults.undisturbed(folder / "compiling", faults.LEARNING)
    begun = time.monotonic()
    return faults.undisturbed(folder / "run", faults.LEARNING), time.monotonic() - begun


# kills


def test_killed_at_fifty_random_moments(tmp_path, learned):
    whole, seconds = learned
    kills, done, chance = 0, set(), random.Random(1)
    for number, moment in enumerate(faults.moments(4 * KILLS, seconds)):
        folder = faults.project(tmp_path / str(number), faults.LEARNING)
        for wait in (moment, *faults.moments(chance.randrange(3), seconds, number)):  # and killed again in the resumed
            process = faults.started(folder, *faults.RUN)
            time.sleep(wait)
            process.kill()
            kills += faults.ended(process) == -signal.SIGKILL
            done.add(faults.require_no_false_done(folder, whole))
        assert faults.completed(folder, *faults.RUN) == 0, faults.told(folder)
        faults.require_whole(folder, whole)
        if kills >= KILLS:
            break
    assert kills >= KILLS and len(done) > 2  # early and late
    print(f"{kills} kills, {number + 1} resumed")


@pytest.mark.parametrize("first", [1, 2, 3])
def test_killed_at_operations_on_files(tmp_path, first):
    """Before or after the lock, flush and rename of every file: moments that chance would hardly hit. Six a file, so
    that steps of 7 meet each of them in turn; three tests meet all of them at three files of seven.
    """
    base = faults.MADE_UP | {"figures": {}}
    whole = faults.undisturbed(tmp_path / "whole", base)
    moment, code = first, -signal.SIGKILL
    while code == -signal.SIGKILL:
        folder = faults.project(tmp_path / str(moment), base)
        code = faults.completed(folder, *faults.RUN, prepare=faults.DieAt(moment))
        faults.require_no_false_done(folder, whole)
        assert faults.completed(folder, *faults.RUN) == 0, faults.told(folder)
        faults.require_whole(folder, whole)
        moment += 7
    assert code == 0 and moment - 7 > 6 * (4 * 3 + 6 + 3) >= moment - 14  # the files that a run writes


# signals


@pytest.mark.parametrize(("sent", "code", "says"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "inter")])
def test_a_signal_ends_a_run_that_can_be_resumed(tmp_path, learned, sent, code, says):
    whole, seconds = learned
    ended = 0
    for number, moment in enumerate(faults.moments(20, seconds, sent)):
        folder = faults.project(tmp_path / str(number), faults.LEARNING)
        process = faults.started(folder, *faults.RUN)
        while process.is_alive() and not any(folder.glob("results/tiny/cases/*/*")):
            time.sleep(0.005)
        time.sleep(moment / 2)
        if process.is_alive():
            os.kill(process.pid, sent)
        if faults.ended(process) == code:
            assert f"recurlab: {says}" in faults.told(folder) and "what was finished is kept" in faults.told(folder)
            assert not [*folder.glob("results/**/.*")]
            faults.require_no_false_done(folder, whole)
            assert faults.completed(folder, *faults.RUN) == 0, faults.told(folder)
            ended += 1
        faults.require_whole(folder, whole)
        if ended == 4:
            break
    assert ended == 4


@contextmanager
def group_of(line: list[str], cwd):
    """A command in a process group of its own, which is killed at the end."""
    with open(cwd / "told", "ab") as out:
        process = subprocess.Popen(
            line, cwd=cwd, env=environment(), start_new_session=True, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        kill_group(process)


def kill_group(process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def noted_as_compiled(folder):
    """Nothing is compiled before the jobs: each compiles the few kernels that it needs, not all there are."""
    files.write_record(run.compiled_flag(folder / "results"), run.compiled_note(DTYPES))


def wait_for(condition, seconds: float = 120):
    """What the condition gives, as soon as that is true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.02)
    return found


def workers_of(process) -> list[int]:
    """The processes below a process that compute."""
    listing = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)]
    found = subprocess.run(listing, capture_output=True, text=True)
    lines = [line.split(maxsplit=1) for line in found.stdout.splitlines()]
    return [int(pid) for pid, line in lines if "spawn_main" in line]


LONGER = {"fixed": {"hidden_size": 16, "lengths": [30]}, "replicas": {"seeds": 20}, "block": 1}


@pytest.mark.parametrize(("fault", "code"), [("worker", 1), ("group", 143)])
def test_two_processes_of_which_one_or_all_are_ended_leave_what_can_be_resumed(tmp_path, fault, code):
    """The system ends one that takes too much memory; a cluster sends SIGTERM to all of a job."""
    path = write(tmp_path, TINY, **LONGER)
    noted_as_compiled(tmp_path)
    with group_of(command("run", path, "--jobs", "2"), tmp_path) as process:
        wait_for(lambda: any(tmp_path.glob("results/*/cases/*/*.json")) and len(workers_of(process)) == 2)
        if fault == "worker":
            os.kill(workers_of(process)[0], signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == code, faults.told(tmp_path)
        wait_for(lambda: not workers_of(process))
    says = "a process was killed from outside" if fault == "worker" else "recurlab: terminated"
    assert says in faults.told(tmp_path) and "Traceback" not in faults.told(tmp_path)
    for folder in (tmp_path, tmp_path / "undisturbed"):
        folder.mkdir(exist_ok=True)
        result = call("run", path, "--jobs", "1", cwd=folder)
        assert result.returncode == 0, result.stderr
    assert faults.made(tmp_path) == faults.made(tmp_path / "undisturbed")
    faults.require_nothing_left(tmp_path)


# disks


@contextmanager
def disk(folder, size: str):
    """A disk of some size at a folder, in memory."""
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "recurlab", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("no small disk can be mounted here: that takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def remounted(folder, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.mark.parametrize("kilobytes", [16, 32, 48, 64, 88, 120])
def test_a_full_disk_is_told_by_the_file_and_the_run_resumed_when_there_is_room(tmp_path, whole, kilobytes):
    folder = faults.project(tmp_path / "run")
    with disk(folder / "results", f"{kilobytes}k"):
        assert faults.completed(folder, *faults.RUN) == 2
        assert "No space left on device: 'results/tiny/" in faults.told(folder)
        assert "Traceback" not in faults.told(folder)
        faults.require_nothing_left(folder)
        faults.require_no_false_done(folder, whole)
        remounted(folder / "results", "size=50m")
        assert faults.completed(folder, *faults.RUN) == 0, faults.told(folder)
        faults.require_whole(folder, whole)


def test_a_disk_that_becomes_read_only_is_told_before_any_work(tmp_path, whole):
    folder = faults.project(tmp_path / "run")
    with disk(folder / "results", "50m"):
        remounted(folder / "results", "ro")
        assert faults.completed(folder, *faults.RUN) == 2
        assert "results: nothing can be written there" in faults.told(folder)
        remounted(folder / "results", "rw")
        assert faults.completed(folder, *faults.RUN) == 0
        faults.require_whole(folder, whole)
        remounted(folder / "results", "ro")
        for line in (("verify", "experiments/tiny.yaml"), ("run", "experiments/tiny.yaml", "--dry-run")):
            assert faults.completed(folder, *line) == 0, faults.told(folder)


# memory and time


def test_a_block_for_which_memory_runs_out_is_told_and_the_others_kept(tmp_path):
    whole = faults.undisturbed(tmp_path / "whole", faults.HUNGRY)
    folder = faults.project(tmp_path / "run", faults.HUNGRY)
    assert faults.completed(folder, *faults.RUN, prepare=faults.MemoryLimit(500)) == 1
    assert "1 of 3 blocks failed, the others are kept" in faults.told(folder) and "'megabytes': 2000" in faults.told(
        folder
    )
    assert "MemoryError" in faults.told(folder) and faults.require_no_false_done(folder, whole) == 2
    assert faults.completed(folder, *faults.RUN) == 0
    faults.require_whole(folder, whole)


@pytest.mark.parametrize("clocks", [((2090, 1), (1999, 1)), ((1999, -1), (2090, -1))])
def test_a_clock_that_jumps_changes_no_byte(tmp_path, whole, clocks):
    folder = faults.project(tmp_path / "run")
    first, second = (faults.Clock(*clock) for clock in clocks)
    case = next(name for name in whole if "/cases/" in name).split("/")[2]
    assert faults.completed(folder, *faults.RUN, "--case", case, prepare=first) == 0
    for path in (folder / "results").rglob("*.*"):
        os.utime(path, (first.now, first.now))
    assert faults.completed(folder, *faults.RUN, prepare=second) == 0, faults.told(folder)
    faults.require_whole(folder, whole)
    years = {files.read_record(path)["start"][:4] for path in folder.glob("results/tiny/cases/*/*.json")}
    assert len(years) > 1  # the clocks were seen


# several at once, and locks


@pytest.mark.parametrize("count", [2, 4])
def test_runs_that_share_a_folder_leave_the_bytes_of_one(tmp_path, learned, count):
    whole, seconds = learned
    for number in range(3):
        folder = faults.project(tmp_path / str(number), faults.LEARNING)
        processes = [faults.started(folder, *faults.RUN) for _ in range(count)]
        assert [faults.ended(process) for process in processes] == [0] * count, faults.told(folder)
        faults.require_whole(folder, whole)


def test_of_runs_that_share_a_folder_one_is_killed(tmp_path, learned):
    whole, seconds = learned
    for number, moment in enumerate(faults.moments(5, seconds)):
        folder = faults.project(tmp_path / str(number), faults.LEARNING)
        killed, other = (faults.started(folder, *faults.RUN) for _ in range(2))
        time.sleep(moment)
        killed.kill()
        assert faults.ended(other) == 0, faults.told(folder)
        assert faults.ended(killed) in (-signal.SIGKILL, 0)
        assert faults.completed(folder, *faults.RUN) == 0
        faults.require_whole(folder, whole)


@pytest.mark.parametrize(
    ("moment", "place"), [(4, "attempts/.*.json.tmp"), (10, "cases/*/.*.parquet.tmp"), (16, "cases/*/.*.json.tmp")]
)
def test_what_a_killed_run_left_locked_holds_nobody_up(tmp_path, whole, moment, place):
    folder = faults.project(tmp_path / "run")
    assert faults.completed(folder, *faults.RUN, prepare=faults.DieAt(moment)) == -signal.SIGKILL
    assert [*folder.glob(f"results/tiny/{place}")]  # its temporary file, which it had locked
    begun = time.monotonic()
    assert faults.completed(folder, *faults.RUN) == 0
    assert time.monotonic() - begun < 60
    faults.require_whole(folder, whole)


def test_two_workflows_in_one_folder_and_the_lock_of_one_that_was_killed(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Snakefile", "workflow", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    path = write(folder / "experiments", TINY, **{**LONGER, "replicas": {"seeds": 5}})
    noted_as_compiled(folder)
    line = [sys.executable, "-m", "snakemake", "--cores", "1"]
    with group_of(line, folder) as first:
        wait_for(lambda: any(folder.glob("results/tiny/cases/*/*.json")))
        second = subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True)
        assert second.returncode == 1 and "lock" in second.stderr.lower()
        assert first.poll() is None  # the first goes on undisturbed
    stale = subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True)
    assert stale.returncode == 1 and "--unlock" in stale.stderr
    for arguments in (["--unlock"], []):
        result = subprocess.run([*line, *arguments], cwd=folder, env=environment(), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    result = call("run", path, "--jobs", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert faults.made(folder) == faults.made(tmp_path)
    faults.require_nothing_left(folder)


# caches


def test_compiled_code_that_was_damaged_is_compiled_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "code"))
    path = write(tmp_path, TINY, grid={"cell": ["rnn_tanh"]})
    found, chance = [], random.Random(0)
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        result = call("run", path, "--jobs", "1", cwd=tmp_path / str(number))
        assert result.returncode == 0, result.stderr
        found.append(faults.made(tmp_path / str(number)))
        code = contents(tmp_path / "code", "**/*.nbc")
        assert len(code) > 3 and {name.rpartition(".")[2] for name in contents(tmp_path / "code", "**/*.*")} == {"nbc"}
        for name, content in code.items():
            way = chance.choice((damage.flip, damage.truncate, damage.blank))
            (tmp_path / "code" / name).write_bytes(way(content, chance))
    assert found[0] == found[1]
