"""Results: what stands in tables, that the split of the work does not matter, and what is noticed when files break."""

import errno
import functools
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas
import pytest
import scipy
from engine import FAILING, GONE, PROBE, TINY, add_studies, contents, write

import recurlab
from recurlab import compare, experiment, files, outputs, results, run, summary, verify
from recurlab.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    add_studies(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    return tmp_path


def made(folder, base=PROBE, where="results", **changes):
    """The expanded experiment, its blocks and tables made in a results folder."""
    expanded = experiment.expand(write(folder / "experiments", base, **changes))
    for block in experiment.blocks_of(expanded):
        run.run_block(folder / where, expanded, block)
    outputs.write_tables(folder / where, expanded)
    return expanded


def loaded(folder, where="results"):
    return recurlab.load_results(folder / where, experiment="tiny", scale="default")


# the launch


def test_replica_keys_multiply_out_and_seeds_run_fastest(folder):
    expanded = experiment.expand(write(folder, PROBE))
    keys = results.launch_keys(expanded, experiment.blocks_of(expanded)[1])
    assert keys["gain"].tolist() == [0.5, 0.5, 1.0, 1.0, 2.0, 2.0]
    assert keys["seed"].tolist() == [2, 3] * 3 and keys["seed"].dtype == np.int64


def test_replica_parameters_arrive_as_arrays_and_the_others_as_plain_values(folder):
    expanded = experiment.expand(write(folder, PROBE, replicas={"gain": GONE}, fixed={"gain": 2, "width": 3}))
    block = experiment.blocks_of(expanded)[0]
    given = run.arguments(expanded, block, run.load_study("probe"))
    assert given["gain"].tolist() == [2.0, 2.0] and given["gain"].dtype == np.float64
    assert repr(given["width"]) == "3.0" and given["steps"] == 2 and given["kind"] == "a"


# the table


def test_one_row_is_one_measurement_with_all_its_settings(folder):
    made(folder)
    table = loaded(folder)
    assert list(table) == ["case", "kind", "steps", "width", "gain", "seed", "step", "value", "even", "source"]
    assert len(table) == 2 * 3 * 5 * 2
    expected = table.gain * 100 + table.seed + table.step / 8 + (table.kind == "b") * 1000
    assert (table.value == expected).all() and (table.even == (table.seed % 2 == 0)).all()
    assert set(table.source) == {run.provenance.source_digest("probe")}


def test_rows_are_sorted_by_case_replica_key_seed_and_then_as_the_study_gave_them(folder):
    made(folder, replicas={"gain": [2.0, 0.5]})
    table = loaded(folder)
    order = pandas.MultiIndex.from_product([["a", "b"], [2.0, 0.5], range(5), range(2)])
    assert list(zip(table.kind, table.gain, table.seed, table.step, strict=True)) == list(order)


def test_the_table_does_not_depend_on_the_split_into_blocks(folder):
    for block in (1, 2, 3, 5, 100):
        made(folder, where=f"by_{block}", block=block)
    found = {path.read_bytes() for path in folder.glob("by_*/tiny/default/table.parquet")}
    assert len(found) == 1
    assert len({path.read_bytes() for path in folder.glob("by_*/tiny/default/summary.csv")}) == 1


def test_the_real_study_gives_the_same_bytes_again(folder):
    for where in ("one", "two"):
        made(folder, TINY, where=where)
    assert contents(folder / "one", "*/cases/*/*.parquet") == contents(folder / "two", "*/cases/*/*.parquet")


def test_units_and_roles_stand_in_the_columns_and_in_the_frame(folder):
    made(folder)
    stored = results.read(folder / "results/tiny/default/table.parquet")
    assert stored.schema.field("value").metadata == {b"role": b"result", b"unit": b"1", b"meaning": b"what it is"}
    assert results.roles_of(stored) | {"gain": "replica", "kind": "setting", "step": "result"} == results.roles_of(
        stored
    )
    assert loaded(folder).attrs["units"]["step"] == "steps; of the run"


def test_settings_of_mixed_types_share_a_column(folder):
    base = {**PROBE, "study": "settings", "fixed": GONE, "replicas": {"seeds": 1}}
    made(folder, base, grid={"size": [None, 3], "counts": [[1, 2]], "mode": ["all", 5], "kind": GONE})
    table = loaded(folder)
    assert table.counts.tolist() == ["[1, 2]"] * 4
    assert table["mode"].tolist() == ["all", "5", "all", "5"]
    assert table["size"].isna().tolist() == [True, True, False, False] and table["size"].max() == 3


def test_nan_stays_nan_and_narrow_types_become_wide(folder):
    assert results.plain(np.array([1, 2], np.float32)).dtype == np.float64
    assert results.plain(np.array([1, 2], np.uint8)).dtype == np.int64
    assert results.plain(["a", "bc"]).tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    ("returned", "part"),
    [
        ({"replica": [0], "one": [1.0], "two": [1.0]}, "its Study declares"),
        ({"replica": [0, 0], "one": [1.0]}, "wanted one length"),
        ({"replica": [9], "one": [1.0]}, "replica numbers outside 0 ... 0"),
    ],
)
def test_a_study_that_returns_something_else_fails_with_case_and_seeds(folder, monkeypatch, returned, part):
    expanded = experiment.expand(write(folder, FAILING))
    malformed = run.load_study("failing")._replace(function=lambda **_: returned)
    monkeypatch.setattr(run, "load_study", lambda name: malformed)
    monkeypatch.setattr(run, "arguments", lambda *_: {})
    with pytest.raises(RuntimeError, match="failing failed for case .* seeds 0-0") as caught:
        run.compute_block(expanded, experiment.blocks_of(expanded)[0], "digest")
    assert part in str(caught.value)


# loading


def test_a_missing_experiment_or_scale_is_told_with_what_there_is(folder):
    made(folder)
    with pytest.raises(ValueError, match="experiment: 'tinny' has no table.*did you mean 'tiny'"):
        recurlab.load_results(folder / "results", experiment="tinny")
    with pytest.raises(ValueError, match=r"scale of tiny: 'paper' has no table.*known: default"):
        recurlab.load_results(folder / "results", experiment="tiny", scale="paper")
    with pytest.raises(ValueError, match="known: none"):
        recurlab.load_results(folder / "nowhere", experiment="tiny")
    with pytest.raises(ValueError, match="has no table"):
        recurlab.load_results(folder / "results", experiment="../results/tiny")


@pytest.mark.parametrize("damage", [lambda whole: whole[:-20], lambda whole: b"", lambda whole: b"no parquet at all"])
def test_a_damaged_table_is_told_by_its_name(folder, damage):
    made(folder)
    path = folder / "results/tiny/default/table.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="table.parquet: its SHA-256 differs from the recorded one"):
        loaded(folder)
    with pytest.raises(ValueError, match="table.parquet: not a whole parquet file"):
        results.read(path)


def test_missing_blocks_are_counted(folder, capsys):
    expanded = made(folder)
    blocks = sorted((folder / "results/tiny/cases").glob("*/*.parquet"))
    blocks[0].unlink()
    blocks[1].unlink()
    with pytest.raises(
        FileNotFoundError, match="2 of 6 blocks are missing, the first is .*parquet; `recurlab run tiny"
    ):
        outputs.write_tables(folder / "results", expanded)
    assert main(["table", "tiny"]) == 2
    assert "2 of 6 blocks are missing" in capsys.readouterr().err


def test_blocks_of_other_sources_are_told_and_computed_again(folder, monkeypatch):
    expanded = made(folder)
    first = experiment.blocks_of(expanded)[0]
    assert run.is_done(folder / "results", expanded, first)
    monkeypatch.setattr(run.provenance, "source_digest", lambda name: "changed00000")
    assert not run.is_done(folder / "results", expanded, first)
    run.run_block(folder / "results", expanded, first)
    with pytest.warns(
        UserWarning, match="tiny: blocks were computed by sources .*changed00000.*computes the old blocks"
    ):
        outputs.write_tables(folder / "results", expanded)


def test_a_changed_or_unrecorded_block_does_not_count_as_done(folder):
    expanded = made(folder)
    first, second, third, *_ = experiment.blocks_of(expanded)
    path = results.block_path(folder / "results", expanded, first)
    path.write_bytes(path.read_bytes()[:-1])
    results.block_path(folder / "results", expanded, second).with_suffix(".json").unlink()
    results.block_path(folder / "results", expanded, third).with_suffix(".json").write_text("[")
    assert [run.is_done(folder / "results", expanded, block) for block in (first, second, third)] == [False] * 3


# summary


def summarised(rows, unit="nats; a loss", **wanted):
    """The summary of a frame with columns kind (setting), gain (replica), seed, lag and value."""
    frame = pandas.DataFrame(rows, columns=["kind", "gain", "seed", "lag", "value"])
    frame.attrs["units"] = {"value": unit}
    roles = {"kind": "setting", "gain": "replica", "seed": "seed", "lag": "result", "value": "result"}
    asked = experiment.expand(write(os.curdir, PROBE))._replace(summary=wanted)
    return summary.summarise(frame, asked, roles)


def test_rows_of_a_seed_are_averaged_before_the_interval_over_seeds():
    values = {0: (1.0, 3.0), 1: (2.0, 4.0), 2: (6.0, 6.0)}
    rows = [("a", 0.5, seed, lag, value) for seed, pair in values.items() for lag, value in enumerate(pair)]
    line = summarised(rows).set_index("quantity").loc["value"]
    means = np.array([2.0, 3.0, 6.0])
    half = scipy.stats.t.ppf(0.975, 2) * means.std(ddof=1) / np.sqrt(3)
    assert (line.gain, line.n, line.unit) == (0.5, 3, "nats")
    np.testing.assert_allclose(
        [line["mean"], line.low, line.high], [means.mean(), means.mean() - half, means.mean() + half]
    )


def test_groups_are_the_settings_that_vary_and_the_replica_keys_unless_the_file_says_so():
    rows = [(kind, gain, seed, lag, 1.0) for kind in "ab" for gain in (1, 2) for seed in (0, 1) for lag in (0, 9)]
    assert summarised(rows).groupby(["kind", "gain"]).ngroups == 4
    chosen = summarised(rows, by=["lag"], values=["value"])
    assert list(chosen) == ["lag", "quantity", "unit", "mean", "low", "high", "n"]
    assert chosen.lag.tolist() == [0, 9] and set(chosen.quantity) == {"value"}
    assert len(summarised(rows, by=[], values=["value"])) == 1


def test_a_flag_has_the_score_interval_of_a_share():
    rows = [("a", 0.5, seed, 0, float(seed < 3)) for seed in range(4)]
    (line,) = summarised(rows, unit="flag; 1 if it is", by=[], values=["value"]).to_dict("records")
    z, p, n = scipy.stats.norm.ppf(0.975), 0.75, 4
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(p + z**2 / (2 * n) + side * half) / (1 + z**2 / n) for side in (-1, 1)]
    np.testing.assert_allclose([line["mean"], line["low"], line["high"]], [p, *expected])


def test_rows_that_do_not_count_are_left_out():
    rows = [("a", 0.5, seed, lag, 10.0 * seed + lag) for seed in (0, 1) for lag in (0, 9)]
    (line,) = summarised(rows, by=[], values=["value"], where={"lag": 9}).to_dict("records")
    assert (line["mean"], line["n"]) == (14.0, 2)
    with pytest.raises(ValueError, match="selects no row of 4; lag has 0, 9"):
        summarised(rows, where={"lag": 5})


def test_a_setting_that_is_null_is_a_group_of_its_own():
    rows = [(kind, 1.0, seed, 0, 1.0) for kind in (None, "a") for seed in (0, 1)]
    assert summarised(rows, values=["value"]).kind.tolist() == ["null", "a"]


def test_one_seed_has_a_mean_and_no_interval():
    line = summarised([("a", 1.0, 0, 0, 5.0)], values=["value"]).iloc[0]
    assert line["mean"] == 5.0 and np.isnan(line.low) and line.n == 1


def test_long_tables_are_cut_for_reading_and_say_so():
    frame = pandas.DataFrame({"kind": ["<b>|"] * 100, "mean": np.linspace(0, 1, 100)})
    text, page = summary.markdown("T", "Q?", frame), summary.page("T", "Q?", frame)
    assert "40 more rows are in summary.csv." in text and "40 more rows" in page
    assert text.count("<b>\\|") == 60 and "<b>" not in page and page.count("&lt;b&gt;|") == 60
    assert len(summary.csv(frame).splitlines()) == 101


# provenance


def test_a_record_says_what_when_where_and_with_which_versions(folder):
    made(folder)
    record = files.read_json(folder / "results/tiny/default/provenance.json")
    for key in ("settings", "source_digest", "commit", "dirty", "cpu", "vector_bits", "threads", "start", "seconds"):
        assert key in record
    assert record["rows"] == 60 and len(record["blocks"]) == 6 and record["peak_memory_mb"] > 10
    assert record["versions"]["numba"] and record["settings"]["replicas"]["gain"] == [0.5, 1, 2.0]
    assert record["checksums"]["table.parquet"] == files.sha256(folder / "results/tiny/default/table.parquet")
    timing = results.to_frame(results.read(folder / "results/tiny/default/timing.parquet"))
    assert len(timing) == 6 and (timing.seconds >= 0).all()


def test_a_git_that_is_not_there_or_fails_is_no_error(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    assert run.provenance._git(folder, "rev-parse", "HEAD") is None
    run.provenance.repository.cache_clear()
    monkeypatch.setattr(run.provenance, "PACKAGE", folder / "recurlab")
    assert run.provenance.repository() == {"commit": None, "dirty": None}
    run.provenance.repository.cache_clear()


# verify


def found_in(folder, expanded):
    return verify.verify(folder / "results", [expanded], count=2, seed=0)


def test_untouched_results_are_verified(folder):
    expanded = made(folder)
    found = found_in(folder, expanded)
    assert found == verify.Verified([], checksums=6 + 5, recomputed=2, outdated=0)


def test_blocks_that_hold_times_are_not_computed_again(folder, monkeypatch, capsys):
    expanded = made(folder)
    monkeypatch.setattr(verify, "TIMED", ("probe",))
    assert found_in(folder, expanded) == verify.Verified([], checksums=6 + 5, recomputed=0, outdated=0, timed=6)
    assert main(["verify", "tiny"]) == 0
    assert "6 blocks hold times, which no run repeats" in capsys.readouterr().out


FIGURE = {"far": {"plot": "lines", "caption": "so far", "x": "step", "y": "value", "hue": "gain"}}
CLAIM = [{"says": "it is much", "test": "mean", "y": "value", "at_least": 0}]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Results with blocks, tables, claims and a figure; made once."""
    folder = tmp_path_factory.mktemp("everything")
    with pytest.MonkeyPatch.context() as patched:
        add_studies(patched)
        expanded = made(folder, PROBE | {"figures": FIGURE, "claims": CLAIM})
        outputs.write_claims(folder / "results", expanded)
        outputs.write_figure(folder / "results", expanded, "far")
    return folder / "results", expanded


def flipped(content: bytes, chance) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def cut(content: bytes, chance) -> bytes:
    return content[: chance.randrange(len(content))]


@pytest.mark.parametrize("damage", [flipped, cut])
def test_one_flipped_bit_or_a_lost_end_of_any_file_is_found_with_its_name(everything, damage):
    folder, expanded = everything
    chance, paths = random.Random(0), sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(paths) == 6 * 2 + 9 + 5 and not verify.verify(folder, [expanded], 0, 0).problems
    for path in paths:
        whole = path.read_bytes()
        for _ in range(2):
            path.write_bytes(damage(whole, chance))
            assert str(path) in " ".join(verify.verify(folder, [expanded], 0, 0).problems), path
        path.write_bytes(whole)
    assert not verify.verify(folder, [expanded], 0, 0).problems


def test_numbers_in_another_notation_are_another_record(folder):
    path = files.write_record(folder / "a.json", {"x": 1e-9})
    path.write_text(path.read_text().replace("e-", "E-"))
    assert files.read_json(path)["x"] == 1e-9
    with pytest.raises(ValueError, match="a.json: its values are the recorded ones and its bytes are not"):
        files.read_record(path)


def test_rows_of_several_sources_are_found(folder, monkeypatch, capsys):
    expanded = made(folder)
    with monkeypatch.context() as patched:
        patched.setattr(run.provenance, "source_digest", lambda name: "changed00000")
        run.run_block(folder / "results", expanded, experiment.blocks_of(expanded)[0])
    with pytest.warns(UserWarning, match="blocks were computed by sources"):
        outputs.write_tables(folder / "results", expanded)
    now = run.provenance.source_digest("probe")
    told = f"table.parquet: its rows were computed by 2 sources: {', '.join(sorted((now, 'changed00000')))}"
    assert [told in problem for problem in found_in(folder, expanded).problems] == [True]
    assert files.read_record(folder / "results/tiny/default/provenance.json")["sources"] == sorted(
        (now, "changed00000")
    )
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    assert found_in(folder, expanded).problems == [] and main(["verify", "tiny"]) == 0


def test_a_table_of_other_blocks_than_are_there_is_found_and_one_whose_blocks_are_gone_is_not(folder):
    expanded = made(folder)
    first, second, *_ = experiment.blocks_of(expanded)
    path = results.block_path(folder / "results", expanded, first)
    rows = results.read(path)
    path.write_bytes(results.encode(rows.slice(1)))
    record = files.read_record(path.with_suffix(".json"))
    files.write_record(path.with_suffix(".json"), record | {"checksums": files.checksums([path])})
    told = f"table.parquet: 1 of the 6 blocks it was made of are others now, the first is cases/{first.case.id}/"
    assert [told in problem for problem in found_in(folder, expanded).problems[:1]] == [True]
    for each in (first, second):
        for kind in (".parquet", ".json"):
            results.block_path(folder / "results", expanded, each).with_suffix(kind).unlink()
    assert found_in(folder, expanded).problems == []


def test_claims_of_another_table_are_found(folder):
    expanded = made(folder, PROBE | {"claims": CLAIM})
    outputs.write_claims(folder / "results", expanded)
    assert found_in(folder, expanded).problems == []
    path = folder / "results/tiny/default/table.parquet"
    path.write_bytes(results.encode(results.read(path).slice(1)))
    record = files.read_record(path.with_name("provenance.json"))
    sums = record["checksums"] | files.checksums([path])
    files.write_record(path.with_name("provenance.json"), record | {"checksums": sums})
    assert found_in(folder, expanded).problems == [
        f"{path.with_name('claims.json')}: was made of another table.parquet"
    ]


def test_a_block_that_was_copied_over_another_is_found(folder):
    expanded = made(folder)
    first, second, *_ = (results.block_path(folder / "results", expanded, b) for b in experiment.blocks_of(expanded))
    for kind in (".parquet", ".json"):
        first.with_suffix(kind).write_bytes(second.with_suffix(kind).read_bytes())
    assert f"{first.with_suffix('.json')}: is that of another block" in found_in(folder, expanded).problems


def test_missing_and_unrecorded_files_are_found_and_logs_are_not(folder):
    expanded = made(folder)
    (folder / "results/tiny/default/summary.md").unlink()
    (folder / "results/tiny/default/extra.csv").touch()
    (folder / "results/tiny/default/table.log").touch()
    problems = found_in(folder, expanded).problems
    assert [problem.split(": ")[1] for problem in problems] == ["missing", "stands in no provenance record"]


def test_a_block_that_comes_out_differently_is_found(folder, monkeypatch, capsys):
    expanded = made(folder)
    study = run.load_study("probe")

    @functools.wraps(study.function)
    def doubled(**given):
        return study.function(**given | {"gain": given["gain"] * 2})

    changed = study._replace(function=doubled)
    monkeypatch.setattr(run, "load_study", lambda name: changed)
    assert len(found_in(folder, expanded).problems) == 2
    monkeypatch.setattr("recurlab.check.load_study", lambda name: study)
    assert main(["verify", "tiny"]) == 1
    assert "2 mismatches" in capsys.readouterr().err


def test_a_record_that_points_out_of_its_folder_is_refused(folder):
    expanded = made(folder)
    files.write_record(folder / "results/tiny/default/evil.json", {"checksums": {"../../../secret": "0"}})
    with pytest.raises(ValueError, match="lies outside the folder"):
        found_in(folder, expanded)


# compare


def tables(folder, change):
    """The table's file and that of a changed copy."""
    made(folder)
    path = folder / "results/tiny/default/table.parquet"
    table = results.read(path)
    files.write_bytes(folder / "other.parquet", results.encode(change(table)))
    return path, folder / "other.parquet"


def set_value(table, index, value):
    values = table["value"].to_numpy().copy()
    values[index] = value
    return table.set_column(table.schema.get_field_index("value"), table.schema.field("value"), [values])


DIFFERENCES = {  # a change of the table -> whether all values are equal, and what is told
    "none": (lambda table: table, True, "equal to the byte"),
    "metadata": (lambda table: table.replace_schema_metadata({"x": "y"}), True, "equal values, different bytes"),
    "value": (
        lambda table: set_value(table, 0, 51.0),
        False,
        "value: 1 of 60 values differ, by at most 1 (relative 0.0196)",
    ),
    "rows": (lambda table: table.slice(4), False, "4 rows are in A only"),
    "column": (lambda table: table.drop_columns(["even"]), False, "column even is in A only"),
    "setting": (lambda table: table.drop_columns(["kind"]), False, "column kind is in A only"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_tables_are_compared_value_by_value(folder, capsys, name):
    change, equal, told = DIFFERENCES[name]
    paths = tables(folder, change)
    assert compare.difference(*paths)[0] == equal
    assert main(["diff", *map(str, paths)]) == (0 if equal else 1)
    assert capsys.readouterr().out.splitlines()[0] == told


def test_times_are_not_compared_and_that_is_told(folder, monkeypatch):
    study = run.load_study("probe")._replace(times=("value",))
    monkeypatch.setattr(run, "load_study", lambda name: study)
    path, other = tables(folder, lambda table: set_value(table, 5, 7.0))
    told = ["equal values, different bytes", "not compared, for no run repeats a time: value"]
    assert compare.difference(path, other) == (True, told)
    assert loaded(folder).attrs["units"]["value"] == "1; what it is"


def test_nan_equals_nan(folder):
    path, other = tables(folder, lambda table: set_value(table, 5, np.nan))
    again = files.write_bytes(
        folder / "again.parquet", results.encode(results.read(other).replace_schema_metadata({"x": "y"}))
    )
    assert compare.difference(other, again) == (True, ["equal values, different bytes"])
    equal, told = compare.difference(path, other)
    assert not equal and told[0].startswith("value: 1 of 60 values differ")


# files


def test_a_file_is_written_whole_or_not_at_all(folder, monkeypatch):
    path = files.write_text(folder / "deep/down/a.txt", "old")
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_is_gone_when_the_file_is_written(folder):
    (folder / ".a.txt.tmp").write_text("half of a long te")
    assert files.write_text(folder / "a.txt", "text").read_text() == "text"
    assert [path.name for path in folder.glob("*a.txt*")] == ["a.txt"] and [*folder.glob(".a*")] == []


def test_many_writers_of_one_file_leave_one_whole_file(folder):
    def write_often(number):
        return [files.write_bytes(folder / "a.bin", bytes([number]) * 100_000) for _ in range(25)]

    with ThreadPoolExecutor(8) as pool:
        assert len([path for paths in pool.map(write_often, range(8)) for path in paths]) == 200
    assert (folder / "a.bin").read_bytes() in {bytes([number]) * 100_000 for number in range(8)}
    assert [*folder.glob(".a*")] == []


def test_where_nothing_can_be_locked_files_are_written_all_the_same(folder, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    files.write_text(folder / "a.txt", "old")
    assert files.write_text(folder / "a.txt", "new").read_text() == "new"
    assert [*folder.glob(".a*")] == []


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "link/x"])
def test_no_name_leads_out_of_its_folder(folder, name):
    (folder / "in").mkdir()
    (folder / "in" / "link").symlink_to(folder)
    with pytest.raises(ValueError, match="lies outside the folder"):
        files.inside(folder / "in", name)
    assert files.inside(folder / "in", "a/b.txt") == folder / "in" / "a" / "b.txt"


def test_json_that_is_none_is_told_by_its_name(folder):
    for text in ("[1]", "{", ""):
        (folder / "a.json").write_text(text)
        with pytest.raises(ValueError, match="a.json: "):
            files.read_json(folder / "a.json")
    assert json.loads(files.write_json(folder / "b.json", {"ä": 1}).read_text(encoding="utf-8")) == {"ä": 1}
