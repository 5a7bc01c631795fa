"""The workflow: the same bytes as `recurlab run`, nothing computed twice, and only what is new computed at all."""

import math
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from engine import REPRODUCIBLE, ROOT, TINY, call, contents, copy_workflow, environment, write

from recurlab.files import read_record, write_record

FIGURE = {"plot": "points", "caption": "How *far* apart, by_cell |x|.", "x": "cell", "y": "relative_difference"}
DATA = os.environ.get("RECURLAB_DATA") and os.path.abspath(os.environ["RECURLAB_DATA"])  # jobs run in other folders
SMALL = {**TINY, "block": 3, "figures": {"far": FIGURE}}


def snakemake(folder, *arguments) -> subprocess.CompletedProcess:
    """Run Snakemake in a folder, with this interpreter and this checkout."""
    line = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True)


def jobs(folder) -> dict[str, int]:
    """Rule -> number of jobs that a run would start; {} if there is nothing to do."""
    result = snakemake(folder, "--dry-run")
    assert result.returncode == 0, result.stderr
    told = result.stdout + result.stderr
    table = told.partition("Job stats:")[2].partition("\n\n")[0]
    assert table or "Nothing to be done" in told
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of its own, in a folder with spaces, that has been run."""
    folder = tmp_path_factory.mktemp("work") / "a project with spaces"
    copy_workflow(folder)
    write(folder / "experiments", SMALL)
    result = snakemake(folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_the_snakefile_is_a_table_of_contents():
    assert len((ROOT / "Snakefile").read_text(encoding="utf-8").splitlines()) <= 40


def test_the_workflow_makes_the_bytes_of_the_command_line(project, tmp_path):
    path = write(tmp_path, SMALL)
    result = call("run", path, "--jobs", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    patterns = [*REPRODUCIBLE, *(f"*/*/figures/*.{kind}" for kind in ("svg", "pdf", "png", "csv"))]
    made = contents(project / "results", *patterns)
    assert len(made) == 4 + 1 + 3 + 2 + 4
    assert made == contents(tmp_path / "results", *patterns)


def test_results_of_the_workflow_are_verified(project):
    result = call("verify", cwd=project)
    assert result.returncode == 0, result.stderr
    assert "15 checksums checked, 2 blocks computed again: 0 mismatches" in result.stdout


CHANGES = {  # what is changed in the file -> the jobs that follow
    "nothing but another scale, in a newer file": ({"scales": {"quick": {"replicas": {"seeds": 2}}}}, {}),
    "a grid value": (
        {"grid": {"cell": ["rnn_tanh", "gru", "lstm"]}},
        {"block": 2, "table": 1, "claims": 1, "figures": 1, "all": 1, "total": 6},
    ),
    "a seed": (
        {"replicas": {"seeds": 6}},  # the last block, 3-4, becomes 3-5
        {"block": 2, "table": 1, "claims": 1, "figures": 1, "all": 1, "total": 6},
    ),
    "a new figure and a claim": (
        {"figures": {"near": FIGURE}, "claims": [{**TINY["claims"][0], "at_most": 1}]},
        {"figures": 1, "claims": 1, "all": 1, "total": 3},
    ),
    "a caption": ({"figures": {"far": {"caption": "Other words."}}}, {"figures": 1, "all": 1, "total": 2}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_runs_only_what_is_new(project, name):
    changes, expected = CHANGES[name]
    write(project / "experiments", SMALL, **changes)
    assert jobs(project) == expected


def test_a_job_that_measures_times_takes_all_cores(project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("results", ".snakemake"))
    shutil.copy(ROOT / "experiments" / "throughput.yaml", folder / "experiments")
    write(folder / "experiments", SMALL)
    told = snakemake(folder, "--dry-run", "--printshellcmds", "--quiet", "host")
    assert told.returncode == 0, told.stderr
    lines = re.findall(r"recurlab run (\w+) .*--threads (\d)", told.stdout + told.stderr)
    assert {(name, threads) for name, threads in lines} == {("tiny", "1"), ("throughput", "2")}


def test_jobs_ask_for_what_blocks_of_their_case_took(project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "a copy")
    grid = {"cell": ["rnn_tanh", "gru", "lstm"]}
    write(folder / "experiments", SMALL, grid=grid, replicas={"seeds": 300}, block=295)
    records = {path: read_record(path) for path in (folder / "results").glob("tiny/cases/*/*.json")}
    for path, record in records.items():
        first, last = map(int, record["seeds"].split("-"))
        write_record(path, record | {"seconds": 2.0 * (last - first + 1), "threads": 1})  # 2 s a seed
    told = snakemake(folder, "--dry-run", "results/tiny/default/table.parquet", "--quiet", "host")
    asked = re.findall(r"runtime=(\d+), gpu=(\d), mem_mb=(\d+)", told.stdout + told.stderr)
    memory = max(500, math.ceil(1.5 * max(record["peak_memory_mb"] for record in records.values()) / 100) * 100)
    assert len(asked) == 6 and {int(mb) for _, _, mb in asked} == {memory + 400}  # and Snakemake itself
    minutes = sorted(int(minutes) for minutes, _, _ in asked)
    assert {gpu for _, gpu, _ in asked} == {"0"}
    assert minutes == [5, 5, 5, 30, 30, 30]  # the least for 5 seeds; thrice 590 s for 295


CHORALES = {  # an experiment of one job that reads a file from outside
    **TINY,
    "study": "dataset_training",
    "fixed": {
        **{"dataset": "jsb", "limit": 8, "cell": "rnn_tanh", "hidden_size": 4, "batch_size": 8, "epochs": 1},
        **{"init_name": "uniform", "gain": 1.0, "input_init": "uniform", "input_gain": 1.0, "forget_bias": None},
        **{"patience": None, "rule": "adam", "schedule": "constant", "learning_rate": 0.01, "clip": 1.0},
        **{"regulariser": None, "strength": 0.0, "dtype": "float32"},
    },
    "grid": {},
    "replicas": {"seeds": 2},
    "claims": [],
}


@pytest.fixture
def with_chorales(project, tmp_path, monkeypatch):
    """A copy of the project without results, with an experiment whose data are not here."""
    monkeypatch.setenv("RECURLAB_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RECURLAB_DOWNLOAD", raising=False)
    folder = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("results", ".snakemake"))
    write(folder / "experiments", SMALL)
    write(folder / "experiments", CHORALES, "chorales")
    return folder


def test_an_experiment_whose_data_are_not_here_is_left_out_with_a_line_that_says_so(with_chorales):
    told = snakemake(with_chorales, "--dry-run")
    assert told.returncode == 0, told.stderr
    wanted = "polyphonic_music/JSB_Chorales.mat"
    assert f"chorales is left out: RECURLAB_DATA names no folder with {wanted}" in told.stderr
    expected = {"compile": 1, "block": 4, "table": 1, "claims": 1, "figures": 1, "all": 1, "total": 9}
    assert jobs(with_chorales) == expected


def test_a_wrong_file_stops_the_workflow_before_its_first_job(with_chorales, tmp_path):
    (tmp_path / "polyphonic_music").mkdir()
    (tmp_path / "polyphonic_music" / "JSB_Chorales.mat").write_bytes(b"not Bach")
    result = snakemake(with_chorales)
    assert result.returncode != 0 and "JSB_Chorales.mat: its SHA-256 is" in result.stderr
    assert not (with_chorales / "results").exists()


@pytest.mark.data
def test_an_experiment_whose_data_are_here_is_made(with_chorales, monkeypatch):
    if not DATA:
        pytest.skip("RECURLAB_DATA names no folder")
    monkeypatch.setenv("RECURLAB_DATA", DATA)
    assert jobs(with_chorales)["block"] == 5 and jobs(with_chorales)["table"] == 2
    result = snakemake(with_chorales, "results/chorales/default/table.parquet")
    assert result.returncode == 0, result.stderr


def test_a_mistake_stops_the_workflow_before_its_first_job(project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("results", ".snakemake"))
    write(folder / "experiments", SMALL, fixed={"hidden_size": -1}, grid={"cell": ["gruu"]})
    result = snakemake(folder)
    assert result.returncode != 0
    assert "fixed.hidden_size: got -1" in result.stderr and "did you mean 'gru'?" in result.stderr
    assert not (folder / "results").exists()
    result = snakemake(folder, "--config", "scale=papr")
    assert result.returncode != 0 and "wanted one of quick, default, paper" in result.stderr


def test_the_report_opens_with_the_claims(project):
    write(project / "experiments", SMALL)
    result = snakemake(project, "--report", "report.zip")
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr and "ERROR" not in result.stderr
    page = zipfile.ZipFile(project / "report.zip").read("report/report.html").decode()
    assert page.index("What was found") < page.index("they agree") < page.index("reproduced</strong>")
    assert "Claims: 1 reproduced, 0 not reproduced, 0 undetermined." in page
    assert page.index("reproduced</strong>") < page.index("What was asked") < page.index("How to read the figures")
    assert "Do the gradients *agree*, case_by_case?" in page and "How *far* apart, by_cell |x|." in page
    assert {"claims.html", "summary.html", "far.svg", "far.png"} <= set(re.findall(r"[\w.]+\.(?:html|svg|png)", page))


def test_lint_has_nothing_but_its_wish_for_a_conda_environment_per_rule(project):
    result = snakemake(project, "--lint")
    wishes = re.findall(r"^ +\* (.*)$", result.stdout + result.stderr, flags=re.MULTILINE)
    assert set(wishes) == {"Specify a conda environment or container for each rule.:"}
