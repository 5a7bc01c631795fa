"""The command line as a user types it: exit codes, resuming, interrupts, folders that cannot be written."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from engine import (
    FAILING,
    PROBE,
    REPRODUCIBLE,
    TINY,
    add_studies,
    call,
    command,
    contents,
    environment,
    started,
    wait_for,
    write,
)

import recurlab
from recurlab.cli import THREAD_VARIABLES, main

SLOWER = {"fixed": {"hidden_size": 16, "lengths": [30]}, "replicas": {"seeds": 10}, "block": 1}  # 20 blocks of 50 ms
LISTED = ("experiments", "cells", "inits", "tasks", "studies", "figures", "estimators")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    return tmp_path


@pytest.fixture
def probe(folder, monkeypatch):
    """A folder with the experiment `tiny` on a study that needs no kernel."""
    add_studies(monkeypatch)
    write(folder / "experiments", PROBE)
    return folder


def test_help_imports_nothing_heavy(folder):
    code = """
import sys
from recurlab.cli import main
try:
    main(["--help"])
except SystemExit:
    print(*{"numpy", "numba", "pandas", "pyarrow", "scipy", "jsonschema", "rich"} & set(sys.modules) or ["light"])
"""
    result = subprocess.run([command()[0], "-c", code], env=environment(), capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "light"


@pytest.mark.parametrize("what", LISTED)
def test_every_table_of_names_is_listed(probe, capsys, what):
    assert main(["list", what]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 1


def test_an_experiment_that_cannot_be_read_does_not_hide_the_others(probe, capsys):
    (probe / "experiments" / "broken.yaml").write_text("title: [", encoding="utf-8")
    assert main(["list"]) == 0
    assert "not readable: `recurlab check broken` says why" in capsys.readouterr().out
    assert main(["check"]) == 2


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["run", "tinny"], "did you mean 'tiny'?"),
        (["run", "tiny", "--case", "abc"], "no such case"),
        (["run", "tiny", "--seeds", "0-9"], "no such seeds"),
        (["figure", "tiny", "nothing"], "has no figure 'nothing'"),
        (["claims", "tiny"], "has no table in results"),
        (["table", "tiny"], "6 of 6 blocks are missing"),
        (["diff", "a.parquet", "b.parquet"], "a.parquet: there is no such file"),
        (["inspect", "a.safetensors"], "a.safetensors: no such file"),
        (["check", "tiny.yaml"], "tiny.yaml: there is no such file"),
    ],
)
def test_what_is_not_there_is_refused_in_one_message(probe, capsys, arguments, part):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert part in told and told.startswith("recurlab: ") and "Traceback" not in told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["run"],
        ["run", "tiny", "--scale", "huge"],
        ["run", "tiny", "--jobs", "0"],
        ["run", "tiny", "--seeds", "3"],
    ],
)
def test_what_argparse_refuses_ends_with_2(probe, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert not (probe / "results").exists()


def test_threads_are_set_for_the_run(probe, monkeypatch):
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "7")
    assert main(["run", "tiny", "--jobs", "1", "--threads", "1"]) == 0
    assert {os.environ[variable] for variable in THREAD_VARIABLES} == {"1"}


def test_a_run_that_measures_times_takes_all_cores_alone(probe, monkeypatch, capsys):
    monkeypatch.setattr("recurlab.cli.TIMED", ("probe",))
    monkeypatch.setattr("recurlab.cli._cores", lambda: 3)
    monkeypatch.setattr("recurlab.run.run_blocks", lambda *given: iter(()))
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "7")
    assert main(["run", "tiny", "--case", "0"]) == 2  # as far as the threads
    assert {os.environ[variable] for variable in THREAD_VARIABLES} == {"3"}
    assert main(["run", "tiny", "--jobs", "2"]) == 2
    assert "--jobs 2: tiny measures times, so its jobs run one after the other" in capsys.readouterr().err


def test_a_run_makes_everything_and_a_second_one_computes_nothing(probe, capsys):
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    first = capsys.readouterr()
    assert "tiny: 6 of 6, case" in first.err and "results/tiny/default/table.parquet" in first.out
    times = {path: path.stat().st_mtime_ns for path in (probe / "results/tiny/cases").rglob("*.*")}
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    assert "6 of 6" not in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert main(["run", "tiny", "--jobs", "1", "--force"]) == 0
    assert "tiny: 6 of 6" in capsys.readouterr().err


def test_blocks_that_another_experiment_has_are_copied_unless_they_are_damaged_or_force_is_given(probe, capsys):
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    damaged, *whole = sorted((probe / "results/tiny/cases").rglob("*.parquet"))
    damaged.write_bytes(whole[0].read_bytes())
    write(probe / "experiments", PROBE, "other", title="The same by another name")
    capsys.readouterr()
    assert main(["run", "other", "--jobs", "1"]) == 0
    told = capsys.readouterr().err
    assert told.count("is copied from tiny") == 5 and "other: 1 of 1, case" in told
    for path in whole:
        twin = probe / "results/other" / path.relative_to(probe / "results/tiny")
        assert twin.read_bytes() == path.read_bytes()
        assert twin.with_suffix(".json").read_bytes() == path.with_suffix(".json").read_bytes()
    assert main(["run", "other", "--jobs", "1", "--force"]) == 0
    assert "other: 6 of 6, case" in capsys.readouterr().err
    assert main(["verify", "other"]) == 0


def test_more_seeds_and_values_add_blocks_and_another_scale_shares_them(probe, capsys):
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    write(
        probe / "experiments",
        PROBE,
        replicas={"seeds": 7},
        grid={"kind": ["a", "b", "c"]},
        scales={"quick": {"block": 2}},
    )
    capsys.readouterr()
    assert main(["run", "tiny", "--dry-run"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 * 2 + 4  # 4-5 and 6-6 of two cases, four blocks of the third
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    assert main(["run", "tiny", "--jobs", "1", "--scale", "quick"]) == 0
    quick, default = (probe / "results/tiny" / scale / "table.parquet" for scale in ("quick", "default"))
    assert quick.read_bytes() == default.read_bytes()


def test_the_commands_of_a_dry_run_make_the_blocks_and_nothing_else(probe, capsys):
    assert main(["run", "tiny", "--dry-run"]) == 0
    commands = [line.split()[1:] for line in capsys.readouterr().out.splitlines()]
    assert not (probe / "results").exists()
    assert [main(arguments) for arguments in commands] == [0] * 6
    assert len(list((probe / "results/tiny/cases").glob("*/*.parquet"))) == 6
    assert not (probe / "results/tiny/default").exists()


def test_a_changed_setting_goes_to_a_folder_of_its_own(probe):
    assert main(["run", "tiny", "--jobs", "1", "--set", "replicas.seeds=2"]) == 0
    (made,) = (probe / "results/tiny").glob("default*")
    assert made.name.startswith("default-")
    assert set(recurlab.load_results("results", "tiny", made.name).seed) == {0, 1}


def test_a_block_that_fails_is_told_and_the_others_are_kept(folder, monkeypatch, capsys):
    add_studies(monkeypatch)
    write(folder / "experiments", FAILING)
    assert main(["run", "tiny", "--jobs", "1"]) == 1
    told = capsys.readouterr().err
    assert "1 of 4 blocks failed, the others are kept" in told
    assert "seeds 2-2" in told and "seed 2 is unlucky" in told and "in failing" in told
    assert len(list((folder / "results/tiny/cases").glob("*/*.parquet"))) == 3
    assert not (folder / "results/tiny/default").exists()


def test_old_sources_are_told_on_stderr(probe, capsys, monkeypatch):
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    monkeypatch.setattr("recurlab.provenance.source_digest", lambda name: "changed00000")
    with pytest.warns(UserWarning, match="the sources are changed00000 now"):
        assert main(["table", "tiny"]) == 0
    assert main(["verify", "tiny"]) == 0
    assert "6 blocks were not looked at again: other sources computed them" in capsys.readouterr().out


# results that cannot be written: for root a folder without write permission is none, so a file stands in its place


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/recurlab"])
def test_a_results_folder_that_cannot_be_written_is_refused(probe, capsys, where):
    if where.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc on this system")
    (probe / "file").touch()
    assert main(["run", "tiny", "--jobs", "1", "--results", where]) == 2
    assert f"{where}: nothing can be written there" in capsys.readouterr().err
    assert (probe / "file").read_bytes() == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where permissions forbid it")
def test_a_folder_without_permission_is_refused(probe, capsys):
    (probe / "locked").mkdir(mode=0o500)
    assert main(["run", "tiny", "--jobs", "1", "--results", "locked"]) == 2
    assert "locked: nothing can be written there" in capsys.readouterr().err


def test_sigterm_ends_a_command_with_143_and_is_left_as_it_was(folder, monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("recurlab.listing.rows", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["list"]) == 143
    assert "recurlab: terminated; what was finished is kept" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


# processes: the real study, started as a user starts it


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The results of the slower experiment, computed in one go by one process."""
    folder = tmp_path_factory.mktemp("clean")
    path = write(folder, TINY, **SLOWER)
    result = call("run", path, "--jobs", "1", cwd=folder)
    assert result.returncode == 0, result.stderr
    return contents(folder / "results", *REPRODUCIBLE)


def test_two_processes_give_the_bytes_of_one_in_a_folder_with_spaces(tmp_path, clean):
    folder = tmp_path / "a folder with spaces"
    path = write(folder, TINY, **SLOWER)
    result = call("run", path, "--jobs", "2", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert contents(folder / "results", *REPRODUCIBLE) == clean


def test_killed_at_ten_random_points_and_run_again_the_bytes_are_the_same(tmp_path, clean):
    path = write(tmp_path, TINY, **SLOWER)
    whole_run = ("run", path, "--force", "--jobs", "1")
    begun = time.monotonic()
    assert call(*whole_run, cwd=tmp_path).returncode == 0
    seconds, moments, kills = time.monotonic() - begun, random.Random(0), 0
    for _ in range(40):
        killed = killed_after(seconds * moments.uniform(0.1, 0.9), *whole_run, cwd=tmp_path) == -signal.SIGKILL
        kills += killed
        seconds *= 1 if killed else 0.8  # it ended before its moment: the machine had less to do than in the first run
        if kills == 10:
            break
    assert kills == 10
    result = call("run", path, "--jobs", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "results", *REPRODUCIBLE) == clean


def killed_after(seconds: float, *arguments, cwd) -> int:
    """Start a command, kill its whole process group after some seconds, and return how it ended."""
    with started(command(*arguments), cwd) as process:
        time.sleep(seconds)
    return process.returncode


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_keeps_what_is_finished_and_leaves_no_process(tmp_path, jobs):
    path = write(tmp_path, TINY, **SLOWER, grid={"cell": ["rnn_tanh", "gru", "lstm"]})
    with started(command("run", path, "--jobs", jobs), tmp_path) as process:
        wait_for(lambda: any((tmp_path / "results").glob("*/cases/*/*.json")))
        os.kill(process.pid, signal.SIGINT)
        told = process.communicate(timeout=60)[1]
        assert process.returncode == 130
        assert told.splitlines()[-1].startswith("recurlab: interrupted; what was finished is kept")
        wait_for(lambda: not running(process.pid))
    assert 0 < call("run", path, "--dry-run", cwd=tmp_path).stdout.count("recurlab run") < 30


def test_workers_end_when_their_parent_is_killed(tmp_path):
    path = write(tmp_path, TINY, **{**SLOWER, "replicas": {"seeds": 200}})
    with started(command("run", path, "--jobs", "2"), tmp_path) as process:
        wait_for(lambda: any((tmp_path / "results").glob("*/cases/*/*.json")))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not running(process.pid))


def running(group: int) -> list[str]:
    """The processes of a group that have not ended, from /proc; none where there is no /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgid, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += [stat.parent.name] if int(pgid) == group and state != "Z" else []
    return found


def test_weights_are_inspected(folder, capsys):
    layer = recurlab.recurrent("gru", 2, 3)
    recurlab.save("weights.safetensors", layer, recurlab.init(layer, seed=0, recurrent="orthogonal"))
    assert main(["inspect", "weights.safetensors"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    radius = lines[0].index("spectral_radius")
    np.testing.assert_allclose([float(line[radius]) for line in lines[1:]], 1, rtol=1e-3)


def test_kernels_are_compiled_once_and_the_flag_says_so(folder, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("recurlab.layers.warm.compile_all", lambda dtypes: calls.append(dtypes) or iter([("gru", 1.5)]))
    assert main(["compile", "--flag", "compiled.json", "--dtype", "float64"]) == 0
    assert "compiled gru in 1.5 s" in capsys.readouterr().err
    assert main(["compile", "--flag", "compiled.json", "--dtype", "float64"]) == 0
    assert main(["compile", "--flag", "compiled.json"]) == 0
    assert calls == [("float64",), ("float32", "float64")]
