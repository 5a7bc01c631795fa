"""Token ids on disk: written once in a stream, read through the memory map, so a text may be longer than memory.

They lie in a folder of the cache, which may be deleted at any time: `RECURLAB_CACHE`, or else the user's cache
(`~/.cache/recurlab` on Linux). A folder of a text is named after all that its ids depend on, the bytes of the files
among them, and appears whole or not at all. It takes 4 bytes a token.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from recurlab.files import checksums, read_record, require_writable, sha256, write_record
from recurlab.text.vocabulary import Vocabulary, vocabulary

FOLDER = "RECURLAB_CACHE"
PARTS = ("train", "valid", "test")
PIECE = 2**22  # ids that are worked on at a time


def cache_folder() -> Path:
    """Where texts lie; PermissionError that names it when nothing can be written there."""
    given = os.environ.get(FOLDER)
    if given:
        return require_writable(Path(given) / "texts")
    import pooch  # 0.2 s to import

    return require_writable(Path(pooch.os_cache("recurlab")) / "texts")


@cache
def _source_digest() -> str:
    """Digest of this package: ids that other code made are not used again."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


def folder_of(name: str, decides: dict) -> Path:
    """The folder of a text, which may not be there yet; `decides` is all that its ids depend on."""
    content = json.dumps({"source": _source_digest()} | decides, sort_keys=True)
    return cache_folder() / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def numbered(path: Path, blocks: Iterable[list[str]], numbers: dict[str, int]) -> np.ndarray:
    """Write the numbers of tokens to a file, int32 (N,), and map it; new types get the next ones in `numbers`."""
    with open(path, "wb") as out:
        for tokens in blocks:
            for token in dict.fromkeys(tokens):
                numbers.setdefault(token, len(numbers))
            np.fromiter(map(numbers.__getitem__, tokens), np.int32, len(tokens)).tofile(out)
    return np.memmap(path, np.int32, "r") if path.stat().st_size else np.empty(0, np.int32)


def pieces(ids: np.ndarray) -> Iterator[np.ndarray]:
    """Ids, PIECE at a time."""
    return (ids[start : start + PIECE] for start in range(0, len(ids), PIECE))


def counted(ids: np.ndarray, kinds: int) -> np.ndarray:
    """How often each of the numbers 0 … kinds-1 occurs, int64."""
    return sum((np.bincount(piece, minlength=kinds) for piece in pieces(ids)), np.zeros(kinds, np.int64))


def write(place: Path, work: Path, types: Vocabulary, parts: Iterable[np.ndarray], lookup: np.ndarray) -> None:
    """Write a text whose ids are lookup[numbers], in the folder `work` first, then at its place."""
    whole = work / "text"
    whole.mkdir()
    for name, numbers in zip(PARTS, parts, strict=True):
        out = np.lib.format.open_memmap(whole / f"{name}.npy", "w+", np.int32, numbers.shape)
        for start, piece in zip(range(0, len(numbers), PIECE), pieces(numbers), strict=True):
            out[start : start + PIECE] = lookup[piece]
        out.flush()
    sums = checksums(whole / f"{name}.npy" for name in PARTS)
    write_record(whole / "vocabulary.json", {"types": types.types, "checksums": sums})
    try:
        whole.rename(place)
    except OSError:
        if not place.is_dir():  # if it is, another process was faster, with the same bytes
            raise


def read(place: Path) -> tuple[Vocabulary, list[np.ndarray]]:
    """The vocabulary of a text and the ids of its parts, mapped; what is written into them stays in this process.

    ValueError for a damaged file, which names it and the folder to be deleted. Summing up takes 0.1 s for 10^8 bytes.
    """
    try:
        record = read_record(place / "vocabulary.json")
        for name, total in record["checksums"].items():
            if sha256(place / name) != total:
                raise ValueError(f"{place / name}: its SHA-256 differs from the recorded one")
    except (ValueError, OSError) as error:
        raise ValueError(f"{error}; delete {place}, and it is made anew") from None
    return vocabulary(record["types"]), [
        np.load(place / f"{name}.npy", mmap_mode="c").view(np.ndarray) for name in PARTS
    ]


def workshop() -> TemporaryDirectory:
    """A folder beside the texts for what is not done yet; it goes when it is left."""
    return TemporaryDirectory(prefix=".making-", dir=cache_folder())
