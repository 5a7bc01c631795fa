"""Results: blocks of rows become one tidy table. The only place that knows parquet.

One row is one measurement with every setting as a column: `case`, the case's parameters, the replica keys, `seed`, what
the study returned, and `source` (the digest of the code). Units stand in the columns' metadata. A table holds no time,
no host and no path, and its rows are sorted: the same settings give the same bytes however the work was split. The one
exception are studies that measure times (TIMED): theirs are columns with the role `time`.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from recurlab import records
from recurlab.experiment import Block, Experiment, blocks_of, suggest
from recurlab.files import inside, read_json, sha256
from recurlab.studies.study import Study

ROWS_OF_GROUP = 1 << 20  # of a parquet row group: fixed, because it decides bytes
MOST_CELLS = 1 << 29  # rows times columns of a file: 4.3 GB of numbers, which may be a few kB where they are equal


def block_path(results, experiment: Experiment, block: Block) -> Path:
    """results/<experiment>/cases/<case>/<first>-<last>.parquet; its provenance record is the .json beside it."""
    return Path(results) / experiment.name / "cases" / block.case.id / f"{block.seeds}.parquet"


def table_folder(results, experiment: Experiment) -> Path:
    """results/<experiment>/<scale>: the folder of the table and of all that is made from it."""
    return Path(results) / experiment.name / experiment.folder


def launch_keys(experiment: Experiment, block: Block) -> dict[str, np.ndarray]:
    """Replica keys and `seed` of the replicas of a launch, each (R,): keys multiply out, seeds run fastest."""
    values = {name: plain(values) for name, values in experiment.replicas.items()}
    values["seed"] = np.arange(block.first, block.last + 1)
    places = np.indices([len(value) for value in values.values()]).reshape(len(values), -1)
    return {name: value[place] for (name, value), place in zip(values.items(), places, strict=True)}


def plain(values) -> np.ndarray:
    """Values as float64, int64, bool or text (n,): nothing else enters a table."""
    array = np.asarray(values)
    return array.astype({"f": np.float64, "i": np.int64, "u": np.int64}.get(array.dtype.kind, array.dtype))


def block_table(experiment: Experiment, block: Block, study: Study, returned: dict, source: str) -> pa.Table:
    """What a study returned for a block, as rows of the table: replica by replica, in each in the order returned."""
    replica = np.asarray(returned["replica"])
    order = np.argsort(replica, kind="stable")
    keys = {name: value[replica[order]] for name, value in launch_keys(experiment, block).items()}
    seed = keys.pop("seed")
    settings = {name: _repeated(block.case.parameters[name], len(order)) for name in sorted(block.case.parameters)}
    columns = {"case": _repeated(block.case.id, len(order)), **settings, **keys, "seed": seed}
    columns |= {name: plain(returned[name])[order] for name in study.columns}
    columns["source"] = _repeated(source, len(order))
    arrays = [_arrow(column, len(order)) for column in columns.values()]
    roles = {"case": "case", "seed": "seed", "source": "source"} | dict.fromkeys(settings, "setting")
    roles |= dict.fromkeys(keys, "replica") | dict.fromkeys(study.times, "time")
    typed = zip(columns, arrays, strict=True)
    fields = [_field(name, array.type, roles.get(name, "result"), study) for name, array in typed]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _repeated(value, n: int) -> np.ndarray | None:
    """A setting n times: a list as its JSON text, null as None."""
    if value is None:
        return None
    return plain(np.full(n, json.dumps(value) if isinstance(value, list | tuple) else value))


def _arrow(values: np.ndarray | None, n: int) -> pa.Array:
    """A column as Arrow. Buffers, because `pa.array` and `pa.scalar` import pandas: 0.3 s that every job would take."""
    if values is None:
        return pa.nulls(n)
    if values.dtype.kind == "b":
        return _arrow(values.astype(np.int64), n).cast(pa.bool_())
    if values.dtype.kind in "fi":
        return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), n, [None, pa.py_buffer(values)])
    texts = [text.encode() for text in values.tolist()]
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))


def _field(name: str, kind: pa.DataType, role: str, study: Study) -> pa.Field:
    """A column with its role (case, setting, replica, seed, result, time, source), and unit and meaning of a result."""
    unit, _, meaning = study.columns.get(name, "").partition(";")
    told = {"unit": unit.strip(), "meaning": meaning.strip()} if name in study.columns else {}
    return pa.field(name, kind, metadata={"role": role} | told)


def encode(table: pa.Table) -> bytes:
    """The table as parquet: one chunk a column, so that the bytes depend on the values alone."""
    sink = pa.BufferOutputStream()
    parquet.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=ROWS_OF_GROUP)
    return sink.getvalue().to_pybytes()


def encode_records(records: list[dict]) -> bytes:
    """Records with equal keys as parquet, one row each."""
    return encode(pa.Table.from_pylist(records))


def read(path) -> pa.Table:
    """The table in a parquet file; FileNotFoundError, or ValueError that names a file which is cut off or damaged."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        with parquet.ParquetFile(path) as file:
            cells = file.metadata.num_rows * file.metadata.num_columns
            if not 0 <= cells <= MOST_CELLS:
                raise OSError(f"{cells:,} cells, at most {MOST_CELLS:,} are read")
            return file.read().replace_schema_metadata(None)  # what pandas notes there may be anything
    except Exception as error:  # damaged metadata raise nearly anything, from UnicodeDecodeError to MemoryError
        raise ValueError(f"{path}: not a whole parquet file ({error})") from None


def decode(content: bytes) -> pa.Table:
    """The table that `encode` made these bytes of."""
    return parquet.read_table(pa.BufferReader(content))


def block_record(path) -> dict:
    """The record beside a block's file; ValueError unless it is whole, of this block, and has its checksum."""
    record = records.read_block(Path(path).with_suffix(".json"))
    _refuse_changed(Path(path), record)
    return record


def _refuse_changed(path: Path, record: dict) -> None:
    """ValueError unless a file's SHA-256 is the one in its record."""
    sums = record.get("checksums")
    if not isinstance(sums, dict) or sums.get(path.name) != sha256(path):
        raise ValueError(f"{path}: its SHA-256 differs from the recorded one; making it anew puts that right")


def assemble(results, experiment: Experiment) -> pa.Table:
    """The table of an experiment from its blocks: cases in the experiment's order, in each replica keys, then seeds.

    Raises FileNotFoundError that counts the blocks not yet there, ValueError that names a damaged one.
    """
    paths = [block_path(results, experiment, block) for block in blocks_of(experiment)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        told = f"{len(missing)} of {len(paths)} blocks are missing, the first is {missing[0]}"
        raise FileNotFoundError(f"{told}; `recurlab run {experiment.name} --scale {experiment.scale}` makes them")
    tables = [_block(path) for path in paths]
    per_case = len(paths) // len(experiment.cases)
    cases = [tables[first : first + per_case] for first in range(0, len(tables), per_case)]
    return concatenate([_in_replica_order(concatenate(blocks), experiment) for blocks in cases])


def _block(path: Path) -> pa.Table:
    """The rows of a block, which are those that its record tells of."""
    block_record(path)
    return read(path)


def _in_replica_order(table: pa.Table, experiment: Experiment) -> pa.Table:
    """The rows of a case sorted by replica keys (in the order of the file), then seed, then as they were."""
    place = np.zeros(len(table), np.int64)
    for name, values in experiment.replicas.items():
        place = place * len(values) + pc.index_in(table[name], pa.array(plain(values))).to_numpy()
    return table.take(np.lexsort((table["seed"].to_numpy(), place)))


def concatenate(tables: list[pa.Table]) -> pa.Table:
    """Tables of the same columns below each other, each column in the type that holds all its values."""
    kinds = [_common_type([table.schema.types[i] for table in tables]) for i in range(tables[0].num_columns)]
    schema = pa.schema([field.with_type(kind) for field, kind in zip(tables[0].schema, kinds, strict=True)])
    return pa.concat_tables([table.cast(schema) for table in tables]).combine_chunks()


def _common_type(kinds: list[pa.DataType]) -> pa.DataType:
    """float64 for whole numbers among floats, text for anything else that is mixed; nothing but null stays null."""
    kinds = [kind for kind in dict.fromkeys(kinds) if not pa.types.is_null(kind)]
    if len(kinds) < 2:
        return kinds[0] if kinds else pa.null()
    return pa.float64() if set(kinds) == {pa.int64(), pa.float64()} else pa.string()


def roles_of(table: pa.Table) -> dict[str, str]:
    """Column -> role (case, setting, replica, seed, result, time, source), from the columns' metadata."""
    return {field.name: (field.metadata or {}).get(b"role", b"").decode(errors="replace") for field in table.schema}


def to_frame(table: pa.Table):
    """The table as a pandas DataFrame; `frame.attrs["units"]` maps each result to "unit; what it is"."""
    frame = table.to_pandas()
    told = {field.name: field.metadata for field in table.schema if b"unit" in (field.metadata or {})}
    frame.attrs["units"] = {name: _told(text[b"unit"], text.get(b"meaning", b"")) for name, text in told.items()}
    return frame


def _told(unit: bytes, meaning: bytes) -> str:
    """Unit and meaning of a column as one text, for a reader: bytes that are no UTF-8 show as such."""
    return b"; ".join([unit, meaning]).decode(errors="replace")


def load_results(folder, experiment: str, scale: str = "default"):
    """The tidy table of an experiment as a pandas DataFrame; `attrs["units"]` maps each result to "unit; what it is".

    Raises ValueError that names what there is when experiment or scale is missing, or the file that is damaged.
    """
    tables = [path.parts[-3:] for path in Path(folder).glob("*/*/table.parquet")]
    _refuse_unknown("experiment", experiment, folder, {name for name, _, _ in tables})
    _refuse_unknown(f"scale of {experiment}", scale, folder, {found for name, found, _ in tables if name == experiment})
    path = inside(folder, f"{experiment}/{scale}/table.parquet")
    _refuse_changed(path, read_json(path.with_name("provenance.json")))
    return to_frame(read(path))


def _refuse_unknown(what: str, name: str, folder, known: set[str]) -> None:
    if name not in known:
        raise ValueError(f"{what}: '{name}' has no table in {folder}{suggest(name, sorted(known))}")
