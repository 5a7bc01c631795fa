"""Whatever stands in a file from outside: it is refused by its name, or read as what it is.

`readers` has what is read, `damage` what happens to it, `judge` what must come of it. `make fuzz` gives every reader
10,000 files in place of the few here.
"""

import gzip
import hashlib
import math
import os
import random
import stat
import struct
from functools import partial

import damage
import judge
import numpy as np
import pyarrow as pa
import pytest
from engine import GONE, PROBE, TINY, add_studies, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from readers import EVERYTHING, READERS, make_notes, read_looked_at

from recurlab import (
    attempts,
    check,
    corpora,
    document,
    experiment,
    files,
    formats,
    records,
    results,
    resume,
    run,
    status,
    text,
)
from recurlab.cli import main
from recurlab.journal import Journal
from recurlab.models.ngram import read_arpa

FEW = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Name of a reader -> its whole file, read; made once."""
    made = {}
    with pytest.MonkeyPatch.context() as patched:
        add_studies(patched)
        patched.setenv("RECURLAB_CACHE", str(tmp_path_factory.mktemp("cache")))

        def of(name):
            if name not in made:
                made[name] = judge.whole(READERS[name], tmp_path_factory.mktemp("whole"))
            return made[name]

        yield of


@pytest.mark.parametrize("name", READERS)
@FEW
@given(chance=st.randoms(use_true_random=False))
def test_a_damaged_file_is_refused_by_its_name_or_is_as_it_was(whole, name, chance):
    of = whole(name)
    judge.verdict(of, damage.damaged(of.content, chance, of.reader.ways))


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.own])
def test_one_flipped_bit_or_lost_end_of_an_own_file_is_never_accepted_as_something_else(whole, name):
    of, chance = whole(name), random.Random(name)
    for way in (damage.flip, damage.truncate, damage.blank):
        for _ in range(10):
            judge.verdict(of, way(of.content, chance))
    assert judge.verdict(of, of.content) == "accepted"
    assert judge.verdict(of, b"") == "refused"


# the judge itself


def test_the_judge_notices_every_fault(whole, tmp_path):
    def reads(read, own=False):
        return judge.Whole(judge.Reader(None, read, own), tmp_path / "file.bin", b"whole", "value")

    def late(path):
        while True:
            pass

    faults = {
        "without the file's name": reads(lambda path: int("x")),
        "KeyError": reads(lambda path: {}["x"]),
        "not what was written": reads(lambda path: "other", own=True),
        "more than 67,108,864 bytes": reads(lambda path: np.ones(judge.peak() + 2**27, np.uint8)),
        "more than 0.2 s": reads(late),
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(judge, "SECONDS", 0.2)
        patched.setattr(judge, "BYTES", 2**26)
        for part, of in faults.items():
            with pytest.raises(judge.Fault, match=part):
                judge.verdict(of, b"damaged")
    assert judge.verdict(reads(lambda path: "value", own=True), b"") == "accepted"


# experiments


def problem(tmp_path, content: str) -> str:
    (tmp_path / "bad.yaml").write_text(content, encoding="utf-8")
    (found,) = check.problems_of(tmp_path / "bad.yaml")
    assert str(tmp_path / "bad.yaml") in found or "bad.yaml" in found
    return found


def laughs(form: str) -> str:
    levels = [f"a{i}: &a{i} {form % ', '.join([f'*a{i - 1}'] * 9)}" for i in range(1, 13)]
    return "\n".join(["a0: &a0 {k: 1}", *levels])


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (laughs("[%s]"), "line 5: more than 30 levels or 20,000 values, aliases written out"),
        (laughs("{<<: [%s]}"), "line 5: more than 30 levels or 20,000 values"),
        ("a: &a [*a]", "line 1: more than 30 levels"),
        ("a: " + "[" * 100_000, "line 1: more than 30 levels"),
        ("a: " + "{a: " * 40, "line 1: more than 30 levels"),
        ("a: [" + "1, " * 30_000 + "]", "20,000 values"),
        ("a: " + "x" * document.MOST_BYTES, "more than 262,144 bytes"),
        ("a: !!python/object/apply:os.abort []", "the tag tag:yaml.org,2002:python/object/apply:os.abort"),
        ("a: !!binary aGk=", "the tag"),
        (f"a: {2**63}", "line 1: a whole number of more than 64 bits"),
        (f"a: {'9' * 5000}", "not readable as YAML"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_text_that_would_grow_or_act_is_refused_before_it_does(tmp_path, content, part):
    assert part in problem(tmp_path, content)


def test_aliases_and_merges_within_bounds_are_read(tmp_path):
    text = "a: &a {x: 1, y: [2, 3]}\nb: {<<: *a, x: 4}\nc: [*a, *a]\nd: -9223372036854775808\n"
    assert document.parse(text) == (
        {"a": {"x": 1, "y": [2, 3]}, "b": {"x": 4, "y": [2, 3]}, "c": [{"x": 1, "y": [2, 3]}] * 2, "d": -(2**63)},
        [],
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"replicas": {"seeds": 10**9}, "block": 1}, "blocks: at most 1,000,000"),
        ({"replicas": {"seeds": 10**9}, "block": 10**9}, "replicas of a block: at most 10,000,000"),
        ({"grid": {"steps": [*range(1, 500)], "width": [*range(1, 500)]}, "fixed": {}}, "cases: at most 100,000"),
    ],
)
def test_settings_that_multiply_out_to_too_much_are_counted_and_not_made(tmp_path, monkeypatch, changes, part):
    add_studies(monkeypatch)
    path = write(
        tmp_path, {**PROBE, "grid": {"kind": ["a"]}} | ({"fixed": {}} if "fixed" in changes else {}), **changes
    )
    assert any(part in found for found in check.problems_of(path))


@pytest.mark.parametrize("key", ["figures", "fixed"])
@pytest.mark.parametrize("name", ["../x", "a/b", "", "a\n", "x" * 101, "A"])
def test_a_name_that_could_become_another_path_is_refused(tmp_path, monkeypatch, key, name):
    add_studies(monkeypatch)
    path = write(tmp_path, EVERYTHING, **{key: {name: EVERYTHING["figures"]["far"]}})
    assert any("wanted a name of a-z, 0-9 and _" in found for found in check.problems_of(path))


def test_a_corpus_whose_path_is_too_long_is_refused(tmp_path):
    path = write(tmp_path, TINY, study="sparsity", fixed={"corpus": "x" * 5000})
    assert any("fixed.corpus: got" in found for found in check.problems_of(path))


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", "/dev/zero"):
        with pytest.raises(ValueError, match="not a regular file"):
            files.read_bytes(path, 10)
    assert "not a regular file" in check.problems_of(tmp_path / "pipe.yaml")[0]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe.yaml").st_mode)


# records and tables


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"a": ' + b"9" * 30 + b"}", "more than 64 bits"),
        (b"[" * 100_000, "recursion"),
        (b'{"a": 1, "record_sha256": "0"}', "it was damaged or changed"),
    ],
)
def test_json_that_is_not_meant_is_refused(tmp_path, content, part):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.json: .*{part}"):
        files.read_json(tmp_path / "a.json")


def test_a_record_without_its_checksum_is_read_as_json_and_not_as_a_record(tmp_path):
    path = files.write_record(tmp_path / "a.json", {"x": [1, 2.5, None], 3: "ä"})
    assert files.read_record(path) == {"x": [1, 2.5, None], "3": "ä"}
    assert files.read_json(path).keys() == {"x", "3", files.SUM}
    files.write_json(path, {"x": 1})
    assert files.read_json(path) == {"x": 1}
    with pytest.raises(ValueError, match="a.json: has no record_sha256"):
        files.read_record(path)


def test_a_table_of_very_many_equal_rows_is_refused_before_it_is_read(tmp_path, monkeypatch):
    parquet.write_table(pa.table({"a": np.zeros(10_000)}), tmp_path / "a.parquet")
    assert len(results.read(tmp_path / "a.parquet")) == 10_000
    monkeypatch.setattr(results, "MOST_CELLS", 9_999)
    with pytest.raises(ValueError, match="a.parquet: not a whole parquet file .10,000 cells, at most 9,999"):
        results.read(tmp_path / "a.parquet")


def test_a_block_of_another_case_is_not_taken_for_its_own(tmp_path, monkeypatch):
    add_studies(monkeypatch)
    expanded = experiment.expand(write(tmp_path, PROBE))
    first, *_, other = experiment.blocks_of(expanded)[:4]
    for block in (first, other):
        run.run_block(tmp_path, expanded, block)
    ours, theirs = (results.block_path(tmp_path, expanded, block) for block in (first, other))
    for kind in (".parquet", ".json"):
        ours.with_suffix(kind).write_bytes(theirs.with_suffix(kind).read_bytes())
    assert not run.is_done(tmp_path, expanded, first) and run.is_done(tmp_path, expanded, other)
    with pytest.raises(ValueError, match=f"{first.seeds}.json: is that of another block"):
        results.block_record(ours)


def test_a_state_that_was_forged_is_started_anew_from(tmp_path):
    notes = Journal(tmp_path / "0-1.state", "key")
    for content in (b"", b"no zip", b"PK\x03\x04"):
        notes.file_of(0).write_bytes(hashlib.sha256(content).hexdigest().encode() + content)
        with pytest.warns(UserWarning, match="0.npz: damaged .*; starting anew"):
            assert notes.recall(0) is None


# notes of jobs


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """Notes of jobs in a results folder, and the path of one of them."""
    add_studies(monkeypatch)
    return partial(make_notes, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("pid", -1),  # kill(2): every process that may be sent a signal
        ("pid", 0),  # and those of one's own group
        ("pid", True),
        ("pid", "../self"),
        ("clock", None),  # that of a process that is not there
        ("host", ["n1"]),
        ("job", "--help"),
        ("job", "7_1,9"),
        ("case", "../../escaped"),
        ("seeds", "1-0"),
        ("reason", None),
    ],
)
def test_an_attempt_that_was_forged_is_told_and_neither_waited_for_nor_ended(noted, tmp_path, entry, value):
    path = noted("attempt")
    (whole,) = attempts.read(tmp_path / "results", "tiny").values()
    files.write_record(path, whole._asdict() | {entry: value})
    with pytest.warns(
        UserWarning, match=f"{path.name}: {entry}: expected .*, got .*; so it tells nothing of its block"
    ):
        assert resume.living(tmp_path / "results", ["tiny"]) == []


def test_an_attempt_at_another_block_than_its_name_says_is_told(noted, tmp_path):
    path = noted("attempt")
    path.rename(path.with_name("0123456789ab-0-1.json"))
    with pytest.warns(UserWarning, match="0123456789ab-0-1.json: is that of another block"):
        assert attempts.read(tmp_path / "results", "tiny") == {}


@pytest.mark.parametrize("blocks", [None, [["0" * 12]], [["0" * 12, "0-1", 2]], [["..", "0-1"]], [[1, 2]], {"a": 1}])
def test_an_array_that_was_forged_is_refused_with_its_name(noted, blocks):
    path = noted("array")
    files.write_record(path, files.read_record(path) | {"blocks": blocks})
    with pytest.raises(ValueError, match="submitted/1.json: blocks: expected pairs of case and seeds, got "):
        read_looked_at(path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("seconds", -1), ("seconds", math.inf), ("seconds", "1"), ("threads", 0), ("peak_memory_mb", [1]), ("start", 1)]
    + [
        ("source_digest", None),
        ("vector_bits", "wide"),
        ("instructions", 3),
        ("checksums", {"0-1.parquet": 1}),
        ("cpu", GONE),
    ],
)
def test_a_record_of_a_block_that_was_forged_is_refused_with_its_entry(noted, entry, value):
    path = noted("record")
    forged = {name: given for name, given in (files.read_record(path) | {entry: value}).items() if given is not GONE}
    files.write_record(path, forged)
    with pytest.raises(
        ValueError, match=f"2-3.json: {entry}: expected .*, {'it is missing' if value is GONE else 'got'}"
    ):
        records.read_block(path)


def test_a_log_that_has_no_end_is_not_waited_for(noted, monkeypatch):
    log = noted("log")
    assert status._refusal(log) == "2 problems\nno data"
    monkeypatch.setattr(status, "MOST_LOG", 10)
    assert status._refusal(log) == ""
    log.unlink()
    os.mkfifo(log)
    assert status._refusal(log) == ""


@pytest.mark.parametrize("name", ["abc", "ab!d", "____", "README", "a" * 200, "cmVzdWx0cw==.txt"])
def test_a_file_among_snakemakes_marks_that_is_none_is_passed_over(tmp_path, name):
    (tmp_path / name).touch()
    (tmp_path / "cmVzdWx0cy9h").touch()
    assert "results/a" in resume._marked(tmp_path)


# data


@pytest.mark.parametrize("shape", [(2**16, 2**16, 2**16, 2**16), (), (1,) * 5, (0, 2**32 - 1, 2**32 - 1)])
def test_idx_sizes_that_wrap_around_or_are_too_many_are_refused(shape):
    head = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    with pytest.raises(ValueError, match="^pixels: "):
        formats.idx(head + (b"1" if math.prod(shape) == 1 else b""), "pixels")


def test_a_small_gzip_of_much_is_refused():
    packed = gzip.compress(bytes(2**20), mtime=0)
    assert corpora.gunzip(packed, "x.gz", 2**20) == bytes(2**20)
    with pytest.raises(ValueError, match="x.gz: more than 1,048,575 bytes decompressed"):
        corpora.gunzip(packed, "x.gz", 2**20 - 1)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


@pytest.mark.parametrize("shape", [(2**28, 1), (2**31 - 1,) * 2, (-1, 3), (0, 1)])
def test_matlab_sizes_that_the_file_does_not_hold_are_refused(shape):
    heads = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<2i", *shape)) + element(1, b"traindata")
    content = b"MATLAB 5.0".ljust(124) + b"\0\1IM" + element(14, heads)
    with pytest.raises(ValueError, match="^rolls.mat: "):
        formats.mat_cells(content, "rolls.mat", ["traindata"])


@pytest.mark.parametrize("line", ["ngram 1=" + "9" * 5000, "ngram " + "9" * 5000 + "=1", "ngram 1=-1"])
def test_counts_of_any_length_are_refused_with_their_line(tmp_path, line):
    (tmp_path / "a.arpa").write_text(f"\\data\\\n{line}\n\n\\1-grams:\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a.arpa, line 2: expected ngram"):
        read_arpa(tmp_path / "a.arpa")


def test_a_text_without_spaces_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("RECURLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(text.reading, "LONGEST", 1000)
    (tmp_path / "a.txt").write_text("x" * 2000, encoding="utf-8")
    with pytest.raises(ValueError, match="a.txt: more than 1,000 characters without a space"):
        text.load(str(tmp_path / "a.txt"))
    assert len(text.load(str(tmp_path / "a.txt"), "character").train) == 1800


@pytest.mark.parametrize("name", ["train.npy", "vocabulary.json"])
def test_a_damaged_text_in_the_cache_is_told_and_made_anew(tmp_path, monkeypatch, name):
    monkeypatch.setenv("RECURLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("a b c\n" * 100, encoding="utf-8")
    ids = text.load(str(tmp_path / "a.txt")).train.copy()
    (path,) = tmp_path.glob(f"cache/texts/*/{name}")
    whole = path.read_bytes()
    for content in (damage.flip(whole, random.Random(0)), None):
        path.write_bytes(content) if content else path.unlink()
        with pytest.warns(UserWarning, match=f"{name}.*; the text is made anew"):
            assert (text.load(str(tmp_path / "a.txt")).train == ids).all()
        assert path.read_bytes() == whole


def test_what_a_killed_process_left_of_a_text_is_gone_with_the_next_and_what_a_living_one_makes_stays(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("RECURLAB_CACHE", str(tmp_path))
    (tmp_path / "texts/.making-dead").mkdir(parents=True)
    (tmp_path / "texts/.making-dead/lock").touch()
    with text.store.workshop() as first, text.store.workshop() as second:
        assert {path.name for path in tmp_path.glob("texts/.*")} == {os.path.basename(first), os.path.basename(second)}
    assert [*tmp_path.glob("texts/.*")] == []


def test_a_record_of_the_bench_is_one_that_the_bench_wrote(tmp_path, capsys):
    files.write_json(tmp_path / "b.json", {"machine": {}, "rows": []})
    assert main(["bench", "--read", str(tmp_path / "b.json")]) == 2
    assert "b.json: has no record_sha256" in capsys.readouterr().err
