"""Experiments that read data from outside: named in their ids, asked for before any work, left out of a run of all."""

import hashlib
import os

import pooch
import pytest
from engine import READER, add_studies, write

from recurlab import corpora
from recurlab.cli import main
from recurlab.experiment import case_id, data_sums, expand, files_of
from recurlab.files import read_json
from recurlab.studies import STUDIES, load_study
from recurlab.studies.kinds import CORPUS, DATASET
from recurlab.studies.study import parameters_of

BOOK, SEQUEL = "shelf/book.txt", "shelf/sequel.txt"
CONTENT = b"once upon a time"


def known(content):
    return corpora.Corpus("https://example.org/book.txt", hashlib.sha256(content).hexdigest())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with the experiment `reading` of a book, and at paper scale of its sequel, too; no data are here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "data" / "shelf").mkdir(parents=True)
    monkeypatch.setenv("RECURLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RECURLAB_DOWNLOAD", raising=False)
    monkeypatch.setattr(corpora, "FILES", {BOOK: known(CONTENT), SEQUEL: known(CONTENT + b"!")})
    monkeypatch.setattr(corpora, "FILES_OF", {"book": (BOOK,), "sequel": (SEQUEL,)})
    add_studies(monkeypatch)
    write(tmp_path / "experiments", READER, "reading")
    return tmp_path


def put(folder, content=CONTENT, name=BOOK):
    (folder / "data" / name).write_bytes(content)


def test_the_checksums_of_what_a_case_reads_are_part_of_its_id(folder, monkeypatch):
    book, none = ({"dataset": name} for name in ("book", "none"))
    before = [case_id("reader", parameters, {}) for parameters in (book, none, {})]
    monkeypatch.setitem(corpora.FILES, BOOK, known(b"another edition"))
    after = [case_id("reader", parameters, {}) for parameters in (book, none, {})]
    assert before[0] != after[0] and before[1:] == after[1:] and len({*before, *after}) == 4


def test_a_file_of_the_users_own_is_known_by_its_bytes(folder):
    own = folder / "mine.txt"
    own.write_bytes(CONTENT)
    named = {"corpus": str(own)}
    before = case_id("reader", named, {})
    assert data_sums(named) == {str(own): hashlib.sha256(CONTENT).hexdigest()} and files_of(named) == ()
    own.write_bytes(CONTENT + b"!")
    os.utime(own, ns=(1, 1))
    assert case_id("reader", named, {}) != before
    assert data_sums({"corpus": "book"}) == {BOOK: corpora.FILES[BOOK].sha256}
    assert data_sums({"corpus": "none"}) == {}


def test_an_experiment_needs_the_files_of_its_cases_at_that_scale(folder):
    path = folder / "experiments" / "reading.yaml"
    assert expand(path).files == (BOOK,) and expand(path, "paper").files == (BOOK, SEQUEL)
    assert expand(path, overrides=["grid.dataset=[none]"]).files == ()


@pytest.mark.parametrize("command", [["run", "reading"], ["check", "reading"], ["run", "reading", "--dry-run"]])
def test_what_is_missing_is_refused_by_name_before_any_work(folder, capsys, command):
    assert main(command) == 2
    told = capsys.readouterr()
    assert f"reading: {BOOK}: no such file" in told.err and "RECURLAB_DATA" in told.err
    assert told.out == "" and not (folder / "results").exists()


def test_what_a_scale_does_not_read_may_be_missing(folder, capsys):
    put(folder)
    assert main(["check", "reading", "--scale", "default"]) == 0
    assert main(["run", "reading"]) == 0
    assert main(["run", "reading", "--scale", "paper"]) == 2
    assert f"reading: {SEQUEL}: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "reading"], ["check", "reading"], ["check"]])
def test_other_bytes_are_refused_before_any_work(folder, capsys, command):
    put(folder, b"upon a time")
    assert main(command) == 2
    assert f"{folder / 'data' / BOOK}: its SHA-256 is" in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_a_check_of_all_says_what_is_left_out_and_passes(folder, capsys):
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"reading is left out: RECURLAB_DATA names no folder with {BOOK}"
    assert lines[1] == f"reading is left out: RECURLAB_DATA names no folder with {BOOK}, {SEQUEL}"
    assert lines[2] == "1 experiments are fine at scale quick, default, paper"
    put(folder)
    assert main(["check", "--scale", "default"]) == 0
    assert capsys.readouterr().out == "1 experiments are fine at scale default\n"


def test_a_check_of_all_is_not_passed_by_a_mistake_beside_missing_data(folder, capsys):
    write(folder / "experiments", READER, "broken", block=0)
    assert main(["check"]) == 2
    assert "block: got 0" in capsys.readouterr().err


def test_the_list_of_experiments_shows_what_each_needs_and_lacks(folder, capsys):
    put(folder)
    assert main(["list"]) == 0
    assert f"{BOOK}, {SEQUEL} (missing)" in capsys.readouterr().out


def test_where_fetching_is_allowed_a_check_fetches_and_nothing_is_left_out(folder, monkeypatch, capsys):
    monkeypatch.setenv("RECURLAB_DOWNLOAD", "1")
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: put(folder) or folder / "data" / BOOK)
    assert main(["check", "--scale", "default"]) == 0
    assert "left out" not in capsys.readouterr().out and (folder / "data" / BOOK).is_file()


def test_records_name_the_data_and_results_outlive_them(folder, capsys):
    put(folder)
    assert main(["run", "reading"]) == 0
    sums = {BOOK: corpora.FILES[BOOK].sha256}
    (block,) = (folder / "results" / "reading" / "cases").rglob("*.json")
    assert read_json(block)["data"] == read_json(folder / "results/reading/default/provenance.json")["data"] == sums
    assert main(["verify"]) == 0
    assert "1 blocks computed again: 0 mismatches" in capsys.readouterr().out
    (folder / "data" / BOOK).unlink()
    assert main(["table", "reading"]) == 0 and main(["claims", "reading"]) == 0
    assert main(["verify"]) == 0
    told = capsys.readouterr().out
    assert "0 blocks computed again: 0 mismatches" in told and "1 blocks want data or a GPU that is not here" in told


@pytest.mark.parametrize("name", STUDIES)
def test_a_parameter_that_names_a_dataset_or_a_corpus_is_called_so(name):
    """The case id and the list of files look at the parameters `dataset` and `corpus` alone."""
    for kind, called in ((DATASET, "dataset"), (CORPUS, "corpus")):
        assert {key for key, each in parameters_of(load_study(name)).items() if each is kind} <= {called}


def test_a_corpus_is_a_language_a_known_text_or_a_file(tmp_path):
    (tmp_path / "mine.txt").write_text("my text", encoding="utf-8")
    assert all(map(CORPUS.accepts, ["agreement", "ptb", str(tmp_path / "mine.txt")]))
    assert not any(map(CORPUS.accepts, ["ptbb", str(tmp_path), 3, None]))
