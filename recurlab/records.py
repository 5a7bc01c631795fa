"""What the entries of a record must be before anything is computed, ended or asked of Slurm by them.

A record's checksum finds damage. One that somebody forged has a right checksum; it is refused by its file and entry.
"""

import re
from pathlib import Path

from recurlab.files import read_record
from recurlab.studies.kinds import Kind


def matching(wanted: str, pattern: str) -> Kind:
    """Text that a pattern fits from end to end."""
    fits = re.compile(pattern).fullmatch
    return Kind(wanted, lambda value: isinstance(value, str) and bool(fits(value)))


def number(wanted: str, least: int, most: int, *types: type) -> Kind:
    """A number of one of some types within bounds: products of a few stay finite, and NaN is in no bounds."""
    return Kind(wanted, lambda value: type(value) in types and least <= value <= most)


def _is_range(value) -> bool:
    first, _, last = value.partition("-") if isinstance(value, str) else ("", "", "")
    return all(re.fullmatch("[0-9]{1,18}", part) for part in (first, last)) and int(first) <= int(last)


def _are_sums(value) -> bool:
    return isinstance(value, dict) and all(isinstance(total, str) for total in value.values())


def or_else(kind: Kind, other: str | None) -> Kind:
    """What a kind accepts, or one other value."""
    return Kind(f"{kind.wanted}, or {other!r}", lambda value: value == other or kind.accepts(value))


def list_of(wanted: str, *kinds: Kind) -> Kind:
    """A list whose elements are lists, one value of each kind."""

    def fits(row) -> bool:
        whole = isinstance(row, list) and len(row) == len(kinds)
        return whole and all(kind.accepts(value) for kind, value in zip(kinds, row, strict=True))

    return Kind(wanted, lambda value: isinstance(value, list) and all(map(fits, value)))


TEXT = Kind("a text", lambda value: isinstance(value, str))
CASE = matching("12 hex digits", "[0-9a-f]{12}")
SEEDS = Kind("seeds, first-last", _is_range)
JOB = matching("the number of a Slurm job", "[0-9]{1,18}(_[0-9]{1,18})?")
AMOUNT = number("a number from 0 to 10^9", 0, 10**9, int, float)
PROCESS = number("the number of a process", 1, 2**31 - 1, int)
CLOCK = number("a clock tick", 0, 2**63 - 1, int)
SUMS = Kind("a mapping of names to SHA-256", _are_sums)
BLOCK = {  # what is read of a block's record
    "case": CASE,
    "seeds": SEEDS,
    "source_digest": TEXT,
    "start": TEXT,
    "seconds": AMOUNT,
    "threads": number("a number of threads", 1, 10**6, int),
    "peak_memory_mb": AMOUNT,
    "cpu": TEXT,
    "vector_bits": or_else(number("a number of bits", 1, 2**16, int), None),
    "instructions": or_else(TEXT, None),  # records of earlier versions have none
    "checksums": SUMS,
}


def require(path, record: dict, kinds: dict[str, Kind]) -> dict:
    """The record; ValueError that names file and entry unless it has all of these, each of its kind."""
    for name, kind in kinds.items():
        if not kind.accepts(record.get(name)):
            found = f"got {record[name]!r:.60}" if name in record else "it is missing"
            raise ValueError(f"{path}: {name}: expected {kind.wanted}, {found}")
    return record


def read_block(path: Path) -> dict:
    """The record of a block; ValueError unless it is whole and of the block whose name it has."""
    record = require(path, read_record(path), BLOCK)
    if f"{record['case']}/{record['seeds']}" != f"{path.parent.name}/{path.stem}":
        raise ValueError(f"{path}: is that of another block")
    return record
