"""Files: written whole or not at all, known by their SHA-256, never outside the folder they belong to."""

import hashlib
import json
import os
import secrets
import tempfile
from pathlib import Path


def write_bytes(path, content: bytes) -> Path:
    """Write a file whole or not at all: temporary file in the same folder, flush, fsync, rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_text(path, text: str) -> Path:
    """`write_bytes` of the text in UTF-8, line ends as they are."""
    return write_bytes(path, text.encode())


def write_json(path, record: dict) -> Path:
    """`write_bytes` of a record as indented JSON, keys in their own order."""
    return write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_json(path) -> dict:
    """The mapping in a JSON file; ValueError that names the file when it holds none."""
    try:
        record = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}: expected a JSON mapping, found {type(record).__name__}")
    return record


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
