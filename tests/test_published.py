"""Published results: only what is finished and committed, only the rows of claims, and verdicts that come out again."""

from pathlib import Path

import pytest
from engine import PROBE, ROOT, add_studies, write

import recurlab
from recurlab import provenance, published, results, verdicts
from recurlab.cli import main
from recurlab.experiment import expand
from recurlab.files import checksums, read_json, write_record

KIND = {"kind": ["b", "a"]}
CLAIMS = [
    {"says": "a is what it is", "test": "mean", "y": "value", "where": {"kind": "a", "gain": 0.5}, "at_most": 60},
    {"says": "b is more", "test": "difference", "y": "value", "between": KIND, "where": {"step": 1}, "at_least": 1},
]
FIGURES = {"seen": {"plot": "lines", "caption": "What is seen.", "x": "step", "y": "value"}}
FILES = {"table.parquet", "summary.csv", "claims.csv", "provenance.json", "seen.png"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project whose experiment `tiny` has run at paper scale, in a checkout without changes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    add_studies(monkeypatch)
    monkeypatch.setattr(provenance, "repository", lambda: {"commit": "c0ffee", "dirty": False})
    write(tmp_path / "experiments", PROBE, claims=CLAIMS, figures=FIGURES)
    assert main(["run", "tiny", "--scale", "paper", "--jobs", "1"]) == 0
    return tmp_path


@pytest.fixture
def place(folder):
    """The folder of its published results."""
    assert main(["publish", "tiny"]) == 0
    return folder / "results" / "published" / "tiny" / "paper"


def test_all_files_are_published_with_their_sizes_and_sums(place, capsys):
    assert {path.name for path in place.iterdir()} == FILES
    record = read_json(place / "provenance.json")
    assert record["checksums"] == checksums([place / name for name in sorted(FILES - {"provenance.json"})])
    assert record["commit"] == "c0ffee" and record["run"]["commits"] == ["c0ffee"] and record["run"]["blocks"] == 6
    assert main(["publish", "tiny"]) == 0
    size = sum(path.stat().st_size for path in [*place.iterdir(), place.parents[1] / verdicts.PAGE])
    assert f"{size:,} bytes\n" in capsys.readouterr().out


def test_the_published_rows_are_those_that_some_claim_reads(place):
    whole = recurlab.load_results("results", "tiny", "paper")
    kept = recurlab.load_results("results/published", "tiny", "paper")
    asked = whole[((whole.kind == "a") & (whole.gain == 0.5)) | (whole.step == 1)]
    assert 0 < len(kept) < len(whole) and kept.equals(asked.reset_index(drop=True))
    assert kept.attrs["units"] == whole.attrs["units"]
    record = read_json(place / "provenance.json")
    assert (record["rows"], record["rows_of_the_run"]) == (len(kept), len(whole))


def test_the_page_counts_and_shows_every_verdict(place):
    page = (place.parents[1] / verdicts.PAGE).read_text()
    assert "| [tiny](#tiny) | 2 | 0 | 0 |" in page and "## tiny\n" in page and "commit c0ffee." in page
    assert "| a is what it is |  | mean | 52.1 | " in page and " | ≤ 60 | reproduced |" in page
    assert page.endswith("![seen](tiny/paper/seen.png)\n\n*What is seen.*\n")
    assert [line.count(" | ") for line in page.splitlines() if "is what" in line or "b is more" in line] == [8, 8]


def test_without_claims_all_rows_are_published(folder):
    write(folder / "experiments", PROBE)
    experiment = expand(folder / "experiments" / "tiny.yaml", "paper")
    table = results.assemble("results", experiment)
    assert published.claimed_rows(table, []).equals(table)


def test_verify_looks_at_published_results_even_where_the_run_is_gone(place, folder, capsys):
    (folder / "results" / "tiny").rename(folder / "gone")
    assert main(["verify"]) == 0
    assert "1 published tables checked, and their claims evaluated again" in capsys.readouterr().out
    assert published.places("results", ["other"]) == []


def spoil_table(place):
    (place / "table.parquet").write_bytes(b"no table")


def spoil_sum(place):
    (place / "claims.csv").write_text((place / "claims.csv").read_text().replace("reproduced", "not reproduced"))


def add_file(place):
    (place / "notes.txt").write_text("mine")


def remove_file(place):
    (place / "summary.csv").unlink()


def remove_record(place):
    (place / "provenance.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (spoil_table, "table.parquet: its SHA-256 differs from the recorded one"),
        (spoil_sum, "claims.csv: its SHA-256 differs"),
        (add_file, "notes.txt: stands in no provenance record"),
        (remove_file, "summary.csv: missing"),
        (remove_record, "has no provenance.json"),
    ],
)
def test_a_changed_file_is_found(place, capsys, spoil, part):
    spoil(place)
    assert main(["verify"]) == 1
    assert part in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        (",reproduced", ",undetermined", "verdict"),
        ("52.0625", "52.0626", "estimate"),
        ("a is what", "a was what", "claim"),
    ],
)
def test_verdicts_that_the_rows_do_not_give_again_are_found_though_their_sums_are_right(
    place, capsys, old, new, column
):
    text = (place / "claims.csv").read_text()
    assert old in text
    (place / "claims.csv").write_text(text.replace(old, new, 1))
    record = read_json(place / "provenance.json")
    record["checksums"] = checksums([place / name for name in record["checksums"]])
    write_record(place / "provenance.json", record)
    assert main(["verify"]) == 1
    assert f"its rows give another {column}" in capsys.readouterr().err


def test_unfinished_runs_are_refused(folder, capsys):
    next((folder / "results" / "tiny" / "cases").rglob("*.parquet")).unlink()
    assert main(["publish", "tiny"]) == 2
    told = capsys.readouterr().err
    assert "1 of 6 blocks are missing or of other sources" in told and "`recurlab run tiny --scale paper`" in told
    assert not (folder / "results" / "published").exists()


def test_blocks_of_other_sources_are_refused(folder, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "source_digest", lambda name: "0" * 12)
    assert main(["publish", "tiny"]) == 2
    assert "6 of 6 blocks are missing or of other sources" in capsys.readouterr().err


@pytest.mark.parametrize("dirty", [True, None])
def test_what_no_commit_computes_is_refused(folder, monkeypatch, capsys, dirty):
    monkeypatch.setattr(provenance, "repository", lambda: {"commit": None, "dirty": dirty})
    assert main(["publish", "tiny"]) == 2
    assert "publish from a commit that others can have" in capsys.readouterr().err
    assert not (folder / "results" / "published").exists()


def test_large_tables_are_refused_with_the_sizes(folder, monkeypatch, capsys):
    monkeypatch.setattr(published, "MOST_BYTES", 2000)
    assert main(["publish", "tiny"]) == 2
    assert "table.parquet" in capsys.readouterr().err
    assert not (folder / "results" / "published").exists()


def test_tables_claims_and_figures_are_made_anew_before_they_are_published(folder):
    source = folder / "results" / "tiny" / "paper"
    made = [source / "claims.csv", source / "figures" / "seen.png"]
    for path in made:
        path.write_text("old")
    assert main(["publish", "tiny"]) == 0
    assert all(path.read_bytes() != b"old" for path in made)


def test_the_committed_page_is_that_of_the_committed_tables():
    folder = ROOT / "results" / "published"
    assert (folder / verdicts.PAGE).read_text() == verdicts.page(folder)


@pytest.mark.parametrize(
    "place", published.places(ROOT / "results"), ids=lambda place: f"{place.parent.name}-{place.name}"
)
def test_committed_tables_are_whole_small_and_give_their_verdicts_again(place: Path):
    assert published.problems(place) == []
    assert sum(path.stat().st_size for path in place.iterdir()) < published.MOST_BYTES + 100_000
