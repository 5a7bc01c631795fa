"""Files: written whole or not at all, known by their SHA-256, never outside the folder they belong to."""

import fcntl
import hashlib
import json
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

MOST_WHOLE = 2**63  # what a column of whole numbers can hold
MOST_JSON = 2**28  # bytes of a record: that of a table of 1,000,000 blocks has 130 million
SUM = "record_sha256"  # the entry of a record with the SHA-256 of all its others


def write_bytes(path, content: bytes) -> Path:
    """Write a file whole or not at all: temporary file in the same folder, flush, fsync, rename.

    Who is killed leaves the temporary file, and who writes the same file next goes on with it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return path


def _temporary(path: Path) -> BinaryIO:
    """The empty temporary file of a path, locked against other writers; where nothing can be locked, one of its own."""
    while True:
        file = open(path.with_name(f".{path.name}.tmp"), "ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
                file.truncate(0)
                return file
        except FileNotFoundError:
            pass  # the writer before has renamed it
        except OSError:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            return open(path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp"), "xb")
        file.close()


def write_text(path, text: str) -> Path:
    """`write_bytes` of the text in UTF-8, line ends as they are."""
    return write_bytes(path, text.encode())


def write_json(path, record: dict) -> Path:
    """`write_bytes` of a record as indented JSON, keys in their own order."""
    return write_bytes(path, _json(record))


def _json(record: dict) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def write_record(path, record: dict) -> Path:
    """`write_json` of a record with one entry more, the SHA-256 of all others: no change of it goes unnoticed."""
    record = json.loads(json.dumps(record))  # as it will be read: lists, and texts as keys
    return write_json(path, record | {SUM: _record_sum(record)})


def _record_sum(record: dict) -> str:
    """SHA-256 of a record's canonical JSON without its entry SUM."""
    rest = {key: value for key, value in record.items() if key != SUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_json(path) -> dict:
    """The mapping in a JSON file; ValueError that names the file when it holds none, or a record that was changed."""
    try:
        record = json.loads(read_bytes(path, MOST_JSON), object_pairs_hook=_unrepeated, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({str(error).removeprefix(f'{path}: ')})") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}: expected a JSON mapping, found {type(record).__name__}")
    if SUM in record and record[SUM] != _record_sum(record):
        raise ValueError(f"{path}: its {SUM} is not that of its other entries: it was damaged or changed")
    return record


def read_record(path) -> dict:
    """The mapping that `write_record` was given; ValueError that names the file if one bit of it is another."""
    record = read_json(path)
    if SUM not in record:
        raise ValueError(f"{path}: has no {SUM}, so it is not whole, or not of this version")
    if _json(record) != read_bytes(path, MOST_JSON):  # 1E5 is 1e5
        raise ValueError(f"{path}: its values are the recorded ones and its bytes are not: it was damaged or changed")
    return {key: value for key, value in record.items() if key != SUM}


def _whole(text: str) -> int:
    """A whole number; ValueError for one of more than 64 bits, which no column holds."""
    if len(text) > 20 or not -MOST_WHOLE <= int(text) < MOST_WHOLE:
        raise ValueError(f"{text[:30]}: a whole number of more than 64 bits")
    return int(text)


def _unrepeated(pairs: list[tuple]) -> dict:
    """A JSON mapping; ValueError for a key that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)[:60]}")
    return found


def read_bytes(path, most: int) -> bytes:
    """The bytes of a file; ValueError that names it for more than `most` bytes, or for no regular file (a pipe has no
    end).
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path}: not a regular file")
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path}: more than {most:,} bytes, the most that is read")
    return content


def sha256(path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(paths) -> dict[str, str]:
    """File name -> SHA-256, for files of one folder."""
    return {Path(path).name: sha256(path) for path in paths}


def inside(folder, name) -> Path:
    """The path folder/name; ValueError when it leaves the folder (.., an absolute path, a link that leads out)."""
    folder = Path(folder)
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name}: lies outside the folder {folder}")
    return folder / name


def require_writable(folder) -> Path:
    """The folder, made when missing; PermissionError that names it when no file can be written there."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise PermissionError(f"{folder}: nothing can be written there ({error.strerror})") from None
