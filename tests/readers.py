"""Everything that recurlab reads from outside: whole files, what reads them, and how they may be damaged.

A reader that meets a damaged file raises ValueError or OSError with the file's name. `Refused` is that for those which
tell it in another way: a list of problems, a warning and a start from nothing.
"""

import gzip
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple
from unittest import mock

import damage
import numpy as np
import pyarrow as pa
from engine import PROBE, write
from pyarrow import parquet
from safetensors.numpy import save
from scipy.io import savemat

import recurlab
from recurlab import (
    attempts,
    check,
    cli,
    corpora,
    experiment,
    files,
    formats,
    outputs,
    provenance,
    published,
    report,
    results,
    run,
    slurm,
    status,
    submit,
    text,
)
from recurlab.journal import Journal
from recurlab.layers.files import load_sequences
from recurlab.layers.recurrent import parameter_shapes
from recurlab.models.ngram import SMOOTHINGS, arpa, count, log_probabilities, read_arpa, write_arpa
from recurlab.provenance import _sources_file
from recurlab.studies.study import parameters_of
from recurlab.tasks import given, music
from recurlab.text import store

SOMEBODYS = "somebody's"  # what a reader returns where nothing shows any more that recurlab wrote the file


class Refused(ValueError):
    """A file was refused with this message."""


class Reader(NamedTuple):
    """`make` puts whole files into a folder and returns the one that is damaged; `read` returns what it holds."""

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    own: bool  # recurlab wrote it, so what is accepted must be what was written
    ways: tuple = damage.BYTES


# experiments


def make_yaml(folder: Path) -> Path:
    return write(folder, EVERYTHING)


EVERYTHING = PROBE | {
    "source": "here",
    "scales": {"quick": {"replicas": {"seeds": 2}}, "paper": {"grid": {"kind": ["a", "c"]}}},
    "summary": {"by": ["kind"], "values": ["value"]},
    "figures": {"far": {"plot": "lines", "caption": "so far", "x": "step", "y": "value", "hue": "gain"}},
    "claims": [
        {"says": "far", "test": "mean", "y": "value", "where": {"kind": "a", "gain": [1, 2]}, "at_least": 0},
        {"says": "apart", "test": "difference", "y": "value", "between": {"kind": ["a", "b"]}, "at_most": 0},
    ],
}
SPECIAL = (
    "&a [*a]",
    "<<: *a",
    "!!python/object/apply:os.abort []",
    "!!binary aGk=",
    "{a: 1, a: 2}",
    "? [a]\n: b",
    "---",
    "2001-13-45",
    "1:30",
    "9" * 5000,
    "[" * 40,
)


def yaml_bomb(content: bytes, chance) -> bytes:
    """Aliases of aliases: 9 to the power of 12 values, as lists or merged into mappings."""
    form = chance.choice(("[%s]", "{<<: [%s]}"))
    levels = ["a0: &a0 {k: 1}"] + [f"a{i}: &a{i} {form % ', '.join([f'*a{i - 1}'] * 9)}" for i in range(1, 13)]
    return content + "\n".join(levels).encode()


def yaml_special(content: bytes, chance) -> bytes:
    """A value that means something else than it seems to."""
    rows = content.split(b"\n")
    place = chance.randrange(len(rows))
    key = rows[place].partition(b":")[0]
    rows[place] = key + b": " + chance.choice((*SPECIAL, *damage.NUMBERS)).encode()
    return b"\n".join(rows)


def yaml_tree(content: bytes, chance) -> bytes:
    """JSON is YAML, so a tree is written as such."""
    path = Path(mkdtemp()) / "x.yaml"
    try:
        path.write_bytes(content)
        tree = experiment.load(path)[0] or EVERYTHING
    finally:
        shutil.rmtree(path.parent)
    return json.dumps(damage.regrown(tree, chance)).encode()


def read_yaml(path: Path) -> list:
    """The blocks at every scale of a file that nothing is wrong with."""
    problems = check.problems_of(path)
    if problems:
        raise Refused("\n".join(problems))
    expanded = [experiment.expand(path, scale) for scale in experiment.SCALES]
    kinds = parameters_of(run.load_study(expanded[0].study))
    for each in expanded:
        assert each.study == "probe" and set(each.settings) <= set(EVERYTHING)
        assert all(kinds[name].accepts(value) for case in each.cases for name, value in case.parameters.items())
    return [len(experiment.blocks_of(each)) for each in expanded]


# weights


def weights():
    layer = recurlab.recurrent("lstm", 2, 3)
    return layer, recurlab.init(layer, 0)


def make_weights(folder: Path) -> Path:
    recurlab.save(folder / "own.safetensors", *weights())
    return folder / "own.safetensors"


def make_foreign_weights(folder: Path) -> Path:
    (folder / "theirs.safetensors").write_bytes(save(weights()[1]))
    return folder / "theirs.safetensors"


def read_weights(path: Path, cell: str | None = None):
    """Layer and bits; what comes from elsewhere has at least the right shapes and finite numbers."""
    layer, params = recurlab.load(path, cell=cell)
    assert {name: array.shape for name, array in params.items()} == parameter_shapes(layer)
    assert all(np.isfinite(array).all() for array in params.values())
    return layer, {name: array.tobytes() for name, array in params.items()}


def make_sequences(folder: Path) -> Path:
    arrays = {"x": np.ones((3, 2, 2), np.float32), "lengths": np.array([3, 1])}
    (folder / "sequences.safetensors").write_bytes(save(arrays))
    return folder / "sequences.safetensors"


def read_sequences(path: Path):
    """Sequences have a time, a batch and inputs, all finite; lengths are told apart where they are used."""
    x, _ = load_sequences(path)
    assert x.ndim == 3 and np.isfinite(x).all()


# results


@cache
def _tiny_results() -> Path:
    """A folder with the results of PROBE at default scale, and its published rows; made once."""
    folder = Path(mkdtemp(prefix="whole-"))
    path = write(folder, PROBE | {"claims": EVERYTHING["claims"]})
    expanded = experiment.expand(path)
    for block in experiment.blocks_of(expanded):
        run.run_block(folder / "results", expanded, block)
    outputs.write_tables(folder / "results", expanded)
    outputs.write_claims(folder / "results", expanded)
    place = results.table_folder(folder / "results", expanded)
    target = folder / "results" / "published" / "tiny" / "default"
    target.mkdir(parents=True)
    kept = [shutil.copy(place / name, target / name) for name in ("table.parquet", "summary.csv", "claims.csv")]
    record = outputs.record(expanded, outputs.provenance.start()) | {"checksums": files.checksums(kept)}
    files.write_record(target / "provenance.json", record)
    return folder


def make_results(folder: Path, pattern: str) -> Path:
    shutil.copytree(_tiny_results(), folder, dirs_exist_ok=True)
    return sorted(folder.glob(f"results/{pattern}"))[0]


def _rows(table: pa.Table) -> tuple:
    return table.schema.to_string(), table.to_pydict()


def read_block(path: Path):
    path = path.with_suffix(".parquet")
    return results.block_record(path), _rows(results.read(path))


def read_table(path: Path):
    """What `load_results` gives, as text: the whole frame with its units."""
    frame = results.load_results(path.parents[2], "tiny")
    return frame.to_csv(), frame.attrs["units"]


def read_verdicts(path: Path):
    """The verdicts of the report; a warning takes the place of damaged ones."""
    expanded = experiment.expand(path.parents[3] / "tiny.yaml")
    return _warned(partial(report.verdicts, path.parents[2], expanded))


def _warned(read):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = read()
    if told:
        raise Refused(str(told[0].message))
    return found


def read_published(path: Path):
    problems = published.problems(path.parent)
    if problems:
        assert all(str(path.parent) in problem for problem in problems)  # which of its files is wrong cannot be told
        raise Refused(f"{path}: {problems}")
    return [(path.parent / name).read_bytes() for name in ("table.parquet", "claims.csv")]


def resigned(content: bytes, chance) -> bytes:
    """A record with another tree, its right checksum and the notation of recurlab: somebody's, not a damaged one."""
    try:
        record = damage.regrown(json.loads(content), chance)
        record = json.loads(json.dumps(record))
        return files._json(record | {files.SUM: files._record_sum(record)})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return content + b"}"


def make_foreign_table(folder: Path) -> Path:
    shutil.copy(next(_tiny_results().glob("results/tiny/default/table.parquet")), folder / "theirs.parquet")
    return folder / "theirs.parquet"


def read_foreign_table(path: Path):
    table = results.read(path)
    frame = results.to_frame(table)
    assert len(frame) == len(table) and set(results.roles_of(table)) == set(frame)


def other_columns(content: bytes, chance) -> bytes:
    """A whole parquet file of other columns, types and metadata."""
    columns = {"a": [1, None], "b": ["x", "y"], "c": [[1], []], "d": [{"e": 1}, None], "": [b"\xff", b""]}
    kept = {name: values for name, values in columns.items() if chance.randrange(2)}
    table = pa.table(kept).replace_schema_metadata({b"pandas": chance.choice((b"{", b"{}", b'{"index_columns": [1]}'))})
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


# what a run notes of itself


def make_state(folder: Path) -> Path:
    journal = Journal(folder / "0-1.state", "key")
    state = {"update": np.int64(7), "params/w": np.arange(6.0), "points": np.arange(3)}
    journal.note(1, "training", 1, 1, lambda: state)
    return journal.file_of(1)


def read_state(path: Path):
    state = _warned(partial(Journal(path.parent / "0-1.state", "key").recall, 1))
    return state and {name: (array.dtype, array.shape, array.tobytes()) for name, array in state.items()}


def make_flag(folder: Path) -> Path:
    return files.write_record(folder / "compiled.json", {"kernels": "ab", "dtypes": ["float32"], "cpu": "x"})


def read_flag(path: Path):
    if not run._is_noted(path, {"kernels": "ab", "dtypes": ["float32"], "cpu": "x"}):
        raise Refused(f"{path}: is no such note")


def make_bench(folder: Path) -> Path:
    return files.write_record(folder / "bench.json", {"machine": {"cpu": "x"}, "rows": [{"T": 1, "ratio": 1.5}]})


def make_sources(folder: Path) -> Path:
    return files.write_record(folder / _sources_file().name, {"sources": {"recurlab.maths": [["x", 1, 2], "ab", []]}})


# what is noted of jobs


ASKED = re.compile(r"squeue [-=%a-z iT]+|scontrol show job --oneliner [0-9]+|sacct [-=a-z0-9 ]+ --jobs=[0-9]+ --\S+")


def make_notes(folder: Path, name: str) -> Path:
    """One of two blocks is done; of the other an attempt, an array and a refusal are noted."""
    make_results(folder, "tiny")
    case = experiment.expand(write(folder, PROBE, grid={"kind": ["a"]}, replicas={"seeds": 4})).cases[0].id
    place = folder / "results" / "tiny"
    (place / "cases" / case / "0-1.json").unlink()
    noted = attempts.Attempt(case, "0-1", socket.gethostname(), 2**31 - 2, 1, "2026-01-01T00:00:00+00:00", "7_1")
    told = {"job": "7", "attempt": 1, "source_digest": "0" * 12, "memory_mb": 1500, "minutes": 20, "gpus": 0}
    written = {
        "attempt": files.write_record(place / "attempts" / f"{case}-0-1.json", noted._asdict()),
        "array": files.write_record(place / "submitted" / "1.json", told | {"blocks": [[case, "0-1"]]}),
        "record": place / "cases" / case / "2-3.json",
        "log": files.write_text(place / "cases" / case / "0-1.log", "recurlab: 2 problems\nno data\n"),
    }
    return written[name]


@cache
def _probe_of(path: Path):
    """The results folder above a path in it, and its experiment."""
    folder = next(place for place in path.parents if place.name == "results")
    return folder, experiment.expand(folder.parent / "tiny.yaml")


_digest = cache(provenance.source_digest)  # 9 ms that each file would take


def read_attempt(path: Path):
    return _warned(partial(attempts.read, path.parents[2], "tiny"))


def read_arrays(path: Path):
    return submit._records(*_probe_of(path))


def read_looked_at(path: Path):
    """What `status` tells and `submit` plans with these notes; Slurm is asked of jobs and of nothing else."""
    folder, expanded = _probe_of(path)

    def answer(*line: str, script: str | None = None) -> subprocess.CompletedProcess:
        assert ASKED.fullmatch(" ".join(line)), line
        return subprocess.CompletedProcess(line, 0, "", "")

    with (
        mock.patch.object(provenance, "source_digest", _digest),
        mock.patch.object(slurm, "_call", answer),
        mock.patch.object(shutil, "which", str),
    ):
        seen = _warned(partial(status.look, folder, expanded))
        planned = submit.plan(folder, expanded, 1000)
    assert sum(seen.counts.values()) == 2 and all(isinstance(each.reason, str) for each in seen.seen)
    assert np.isfinite([seen.spent, seen.left or 0, seen.memory_mb]).all()
    assert all(type(number) is int for array in planned for number in array.request)
    for noted in attempts.read(folder, "tiny").values():
        assert type(noted.pid) is int and noted.pid > 0  # 0 and -1 would be many processes


def read_log(path: Path):
    assert isinstance(status._refusal(path), str)


# texts


STORY = ("the cat <unk> sat on the mat\n" * 30 + "naïve ’tis N N o'er — dogs' tales\n" * 10).encode()


def make_text(folder: Path) -> Path:
    (folder / "story.txt").write_bytes(STORY)
    return folder / "story.txt"


def _with_cache(path: Path, level: str) -> text.Text:
    os.environ[store.FOLDER] = str(path.parent / "cache")
    return text.load(str(path), level, least_count=2)


def read_text(path: Path):
    levels = list(text.LEVELS)
    for level in {"word", levels[path.stat().st_size % len(levels)]}:
        found = _with_cache(path, level)
        for ids in (found.train, found.valid, found.test):
            assert ids.dtype == np.int32 and (ids >= 0).all() and (ids < found.vocabulary.size).all()
        shutil.rmtree(path.parent / "cache")


def make_ids(folder: Path, name: str) -> Path:
    _with_cache(make_text(folder), "word")
    return next(folder.glob(f"cache/texts/*/{name}"))


def read_ids(path: Path):
    vocabulary, parts = store.read(path.parent)
    return vocabulary.types, [part.tobytes() for part in parts]


# n-gram models


def make_arpa(folder: Path) -> Path:
    ids = np.arange(200, dtype=np.int32) ** 2 % 7
    model = SMOOTHINGS["kneser_ney"](count(ids, 7, 3, "reset", 0))
    write_arpa(folder / "own.arpa", model, ["<eos>", *"abcde", "ß"])
    return folder / "own.arpa"


def read_own_model(path: Path):
    """Without its first line a file is not recurlab's any more; nothing can be said of who wrote it."""
    found = read_model(path)
    return found if path.read_bytes().startswith(arpa.SUM) else SOMEBODYS


def make_foreign_arpa(folder: Path) -> Path:
    path = make_arpa(folder)
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    return path.rename(folder / "theirs.arpa")


def read_model(path: Path):
    model, names = read_arpa(path)
    assert not np.isnan(model.log_p).any() and (model.log_p <= 1e-5).all() and (model.log_back < 1000).all()
    if names:
        words = np.arange(len(names), dtype=np.int32)
        assert not np.isnan(log_probabilities(model, np.concatenate([words, words[::-1]]))).any()
    return names, [array.tobytes() for array in (*model.trie, model.log_p, model.log_back)]


# data of other people


def make_idx(folder: Path) -> Path:
    array = np.arange(24, dtype=np.uint8)
    (folder / "pixels").write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 3, 4) + array.tobytes())
    return folder / "pixels"


def read_idx(path: Path):
    content = path.read_bytes()
    array = formats.idx(content, path)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    assert head + array.tobytes() == content


def make_mat(folder: Path) -> Path:
    cells = np.empty(3, object)
    cells[:] = [(np.arange(n * 88).reshape(n, 88) % 7 == 0).astype(np.uint8) for n in (2, 5, 3)]
    savemat(folder / "rolls.mat", dict.fromkeys(music.PARTS, cells), do_compression=True)
    return folder / "rolls.mat"


def read_mat(path: Path):
    cells = formats.mat_cells(path.read_bytes(), path, music.PARTS)
    for part in music.PARTS:
        assert all(np.isin(roll, (0, 1)).all() for roll in music.rolls(cells[part], path))


def other_cells(content: bytes, chance) -> bytes:
    """A whole MATLAB file with other values in it."""
    values = (np.zeros((2, 87)), "text", {"a": 1}, np.array([[1j]]), np.full((2, 88), 3), [], [[np.ones((2, 88))]])
    path = Path(mkdtemp()) / "x.mat"
    parts = {part: chance.choice(values) for part in music.PARTS}
    savemat(path, parts, do_compression=chance.choice((True, False)))
    found = path.read_bytes()
    shutil.rmtree(path.parent)
    return found


def make_gzip(folder: Path) -> Path:
    (folder / "x.gz").write_bytes(gzip.compress(STORY, mtime=0))
    return folder / "x.gz"


def read_gzip(path: Path):
    assert len(corpora.gunzip(path.read_bytes(), path, 2**23)) <= 2**23


def make_csv(folder: Path) -> Path:
    rows = "".join(f'"{i}",{np.sin(i):.6f}\n' for i in range(400))
    (folder / "series.csv").write_text(f'"t","x"\n{rows}')
    return folder / "series.csv"


def read_csv(path: Path):
    data = given.series_in(path).load("float64")
    assert np.isfinite(data.train.values).all() and np.isfinite(data.test.values).all()


OWN_JSON = (*damage.BYTES, *damage.JSON)
READERS = {
    "experiment": Reader(make_yaml, read_yaml, False, (*damage.TEXT, yaml_tree, yaml_tree, yaml_special, yaml_bomb)),
    "experiment bytes": Reader(make_yaml, read_yaml, False),
    "weights": Reader(make_weights, read_weights, True, (*damage.BYTES, damage.safetensors_header)),
    "weights of others": Reader(
        make_foreign_weights, partial(read_weights, cell="lstm"), False, (*damage.BYTES, damage.safetensors_header)
    ),
    "sequences": Reader(make_sequences, read_sequences, False, (*damage.BYTES, damage.safetensors_header)),
    "block": Reader(partial(make_results, pattern="tiny/cases/*/*.parquet"), read_block, True),
    "block record": Reader(partial(make_results, pattern="tiny/cases/*/*.json"), read_block, True, OWN_JSON),
    "table": Reader(partial(make_results, pattern="tiny/default/table.parquet"), read_table, True),
    "table of others": Reader(
        make_foreign_table, read_foreign_table, False, (*damage.BYTES, *damage.BYTES, other_columns)
    ),
    "verdicts": Reader(partial(make_results, pattern="tiny/default/claims.csv"), read_verdicts, True),
    "claims record": Reader(
        partial(make_results, pattern="tiny/default/claims.json"),
        lambda path: read_verdicts(path.with_suffix(".csv")),
        True,
        OWN_JSON,
    ),
    "published rows": Reader(partial(make_results, pattern="published/*/*/table.parquet"), read_published, True),
    "published record": Reader(
        partial(make_results, pattern="published/*/*/provenance.json"), read_published, True, (resigned, *OWN_JSON)
    ),
    "attempt": Reader(partial(make_notes, name="attempt"), read_attempt, True, OWN_JSON),
    "attempt of others": Reader(partial(make_notes, name="attempt"), read_looked_at, False, (resigned,)),
    "array": Reader(partial(make_notes, name="array"), read_arrays, True, OWN_JSON),
    "array of others": Reader(partial(make_notes, name="array"), read_looked_at, False, (resigned,)),
    "record of others": Reader(partial(make_notes, name="record"), read_looked_at, False, (resigned,)),
    "log": Reader(partial(make_notes, name="log"), read_log, False, (*damage.BYTES, *damage.TEXT)),
    "state": Reader(make_state, read_state, True, (*damage.BYTES, damage.zip_members)),
    "flag": Reader(make_flag, read_flag, True, OWN_JSON),
    "bench": Reader(make_bench, cli._read_bench, True, OWN_JSON),
    "sources": Reader(make_sources, files.read_record, True, OWN_JSON),
    "text": Reader(make_text, read_text, False, (*damage.BYTES, *damage.TEXT)),
    "ids": Reader(partial(make_ids, name="train.npy"), read_ids, True),
    "vocabulary": Reader(partial(make_ids, name="vocabulary.json"), read_ids, True, OWN_JSON),
    "arpa": Reader(make_arpa, read_own_model, True, (*damage.BYTES, *damage.TEXT)),
    "arpa of others": Reader(make_foreign_arpa, read_model, False, (*damage.BYTES, *damage.TEXT)),
    "idx": Reader(make_idx, read_idx, False),
    "mat": Reader(make_mat, read_mat, False, (*damage.BYTES, other_cells)),
    "gzip": Reader(make_gzip, read_gzip, False, (*damage.BYTES, damage.bomb)),
    "series": Reader(make_csv, read_csv, False, (*damage.BYTES, *damage.TEXT)),
}
