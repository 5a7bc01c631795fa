"""Whether results still are what their records say, fit together, and come out with the same bytes once more.

Blocks that hold times are not run again: their checksums alone are checked.
"""

import hashlib
import random
from pathlib import Path
from typing import NamedTuple

from recurlab import corpora, instructions, provenance, records
from recurlab.compare import worst
from recurlab.experiment import Block, Case, Experiment, blocks_of
from recurlab.files import inside, read_record, sha256
from recurlab.instructions import BOUND
from recurlab.kernels.cuda import device
from recurlab.results import block_path, decode, read, table_folder
from recurlab.run import compute_block, is_done
from recurlab.studies import TIMED

CASES = "cases"
TIMESTAMP = ".snakemake_timestamp"  # an empty file by which Snakemake tells when a folder was made
UNRECORDED = (".json", ".log", ".tmp", ".npz")  # records, a job's log, what a killed job leaves; all else has a record


class Verified(NamedTuple):
    """What was found: problems in words, and the number of checksums, of recomputed blocks, and of those that were not
    looked at again because other sources computed them, because they hold times, or because data or GPU are not here;
    and the instructions of those which came out within their bound alone.
    """

    problems: list[str]
    checksums: int
    recomputed: int
    outdated: int
    timed: int = 0
    unread: int = 0
    elsewhere: tuple[str, ...] = ()


def verify(folder, experiments: list[Experiment], count: int, seed: int) -> Verified:
    """Check all files of experiments and compute `count` blocks of each again, chosen at random by `seed`."""
    recorded = [record for experiment in experiments for record in checksums_of(folder, experiment)]
    current = [(each, [block for block in blocks_of(each) if is_done(folder, each, block)]) for each in experiments]
    present = sum(block_path(folder, each, block).is_file() for each in experiments for block in blocks_of(each))
    timeless = [(each, blocks) for each, blocks in current if each.study not in TIMED]
    repeatable = [
        (each, [block for block in blocks if can_run_here(block.case)])
        for each, blocks in timeless
        if not corpora.missing(each.files)
    ]
    samples = [(each, block) for each, blocks in repeatable for block in sample_of(each, blocks, count, seed)]
    found = [problem for each in experiments for problem in record_problems(folder, each)]
    found += [checksum_problem(*record) for record in recorded]
    found += [problem for each in experiments for problem in table_problems(table_folder(folder, each))]
    again = [repeat(folder, experiment, block) for experiment, block in samples]
    found += [each.problem for each in again]
    found = [problem for problem in found if problem]
    elsewhere = tuple(each.elsewhere for each in again if each.elsewhere)
    intact, repeated, read = (sum(len(blocks) for _, blocks in part) for part in (current, timeless, repeatable))
    unlike = present - intact, intact - repeated, repeated - read
    return Verified(found, len(recorded), len(samples), *unlike, elsewhere)


def has_results(folder, name: str) -> bool:
    """Whether there is anything of an experiment in the results folder."""
    return (Path(folder) / name).is_dir()


def checksums_of(folder, experiment: Experiment) -> list[tuple[Path, str]]:
    """(file, recorded SHA-256) of an experiment's blocks and tables at this scale; "" if no record names the file."""
    files = _files_of(folder, experiment)
    records = {path: record for path in files if path.suffix == ".json" and isinstance(record := _record(path), dict)}
    sums = {path: total for record in records.items() for path, total in sums_in(*record).items()}
    damaged = {path.parent for path in files if path.suffix == ".json" and path not in records}
    unnamed = [path for path in files if path not in sums and path.suffix not in UNRECORDED]
    return [*sums.items(), *((path, "") for path in unnamed if path.parent not in damaged)]


def record_problems(folder, experiment: Experiment) -> list[str]:
    """The records of an experiment's blocks and tables that are damaged, of another version, or of another block."""
    records = [path for path in _files_of(folder, experiment) if path.suffix == ".json"]
    return [found for path in records if isinstance(found := _record(path), str)]


def _files_of(folder, experiment: Experiment) -> list[Path]:
    places = [Path(folder) / experiment.name / place for place in (CASES, experiment.folder)]
    return [path for place in places for path in sorted(place.rglob("*")) if path.is_file() and path.name != TIMESTAMP]


def _record(path: Path) -> dict | str:
    """A record, or what is wrong with it."""
    try:
        return records.read_block(path) if path.parent.parent.name == CASES else read_record(path)
    except ValueError as error:
        return str(error)


def sums_in(path: Path, record: dict) -> dict[Path, str]:
    """File -> SHA-256 by the record at a path; ValueError unless its checksums are of files in its folder."""
    sums = record.get("checksums", {})
    if not (isinstance(sums, dict) and all(isinstance(total, str) for total in sums.values())):
        raise ValueError(f"{path}: checksums are not a mapping of names to SHA-256")
    return {inside(path.parent, name): total for name, total in sums.items()}


def checksum_problem(path: Path, expected: str) -> str:
    """What is wrong with a file, "" if its SHA-256 is the recorded one."""
    if not expected:
        return f"{path}: stands in no provenance record"
    if not path.is_file():
        return f"{path}: missing"
    return "" if sha256(path) == expected else f"{path}: its SHA-256 differs from the recorded one"


def table_problems(place: Path) -> list[str]:
    """What does not fit together in a folder of whole files: rows of several sources, a table of other blocks than are
    there, claims or figures of another table.
    """
    try:
        record = read_record(place / "provenance.json")
        table = read(place / "table.parquet")
    except (OSError, ValueError):
        return []  # found missing or damaged already
    outputs = [path for path in sorted(place.rglob("*.json")) if path.name != "provenance.json"]
    return [
        *mixed_sources(place / "table.parquet", table),
        *_other_blocks(place / "table.parquet", record.get("blocks", {})),
        *(found for path in outputs if (found := _other_table(path, sha256(place / "table.parquet")))),
    ]


def mixed_sources(path: Path, table) -> list[str]:
    """One problem if the rows of a table were computed by several sources."""
    sources = sorted(map(str, table["source"].unique().to_pylist())) if "source" in table.column_names else ["unknown"]
    told = f"its rows were computed by {len(sources)} sources: {', '.join(sources)}"
    return [f"{path}: {told}; running the experiment again puts that right"] if len(sources) > 1 else []


def _other_blocks(path: Path, blocks: dict[str, str]) -> list[str]:
    """One problem if blocks that are there are not those that a table was made of."""
    root = path.parent.parent
    there = {name: inside(root, name) for name in blocks if inside(root, name).is_file()}
    other = [name for name, block in there.items() if sha256(block) != blocks[name]]
    told = f"{len(other)} of the {len(blocks)} blocks it was made of are others now"
    return [f"{path}: {told}, the first is {other[0]}; `recurlab table` makes it anew"] if other else []


def _other_table(path: Path, total: str) -> str:
    """What is wrong with a record of claims or of a figure, "" if they were made of the table with this SHA-256."""
    record = _record(path)
    used = record.get("table", {}).get("table.parquet") if isinstance(record, dict) else None
    return f"{path}: was made of another table.parquet" if used not in (None, total) else ""


def can_run_here(case: Case) -> bool:
    """Whether the device that a case asks for can be used here."""
    return case.device == "cpu" or not device.problem()


def sample_of(experiment: Experiment, blocks: list[Block], count: int, seed: int) -> list[Block]:
    """`count` of the blocks drawn at random, by seed and name of the experiment."""
    return random.Random(f"{seed} {experiment.name}").sample(blocks, min(count, len(blocks)))


class Repeated(NamedTuple):
    """A block computed again: what is wrong, and with which instructions one was computed that is within the bound."""

    problem: str = ""
    elsewhere: str = ""


def repeat(folder, experiment: Experiment, block: Block) -> Repeated:
    """What computing a block again shows: the same bytes, or the same to the bound of other instructions."""
    path = block_path(folder, experiment, block)
    again = compute_block(experiment, block, provenance.source_digest(experiment.study))
    if hashlib.sha256(again).hexdigest() == sha256(path):
        return Repeated()
    told = f"{path}: computed again, its bytes differ"
    used = instructions.others(records.read_block(path.with_suffix(".json")))
    if not used:
        return Repeated(told)
    column, share = worst(read(path), decode(again))
    if share <= BOUND:
        return Repeated(elsewhere=used)
    how = f"{column} by {share:.2g} of its largest value, where {BOUND:g} is the bound"
    return Repeated(f"{told}: {how}; it was computed with {used}, and there its bytes must come out")
