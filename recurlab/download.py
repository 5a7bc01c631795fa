"""Fetching a known file: over https alone, going on where an earlier attempt ended, never more than is asked for.

What comes is trusted by its SHA-256, not by the server: pooch, with which requests comes, compares it before the file
takes its place.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import requests

BLOCK = 2**16  # bytes that are written at a time; what is lost when a connection breaks is less
SECONDS = 30  # without an answer, or without a byte of it
BEYOND = 416  # HTTP status: there is nothing behind what is here


def resuming(part: Path, most: int) -> Callable:
    """A downloader for pooch that keeps what has come in `part`, until all has; at most `most` bytes are taken.

    It raises OSError when the connection fails (what came is kept), when another process fetches the same, or for an
    address or a redirection that is not https; ValueError for a longer file.
    """

    def download(address: str, output, _pooch, check_only: bool = False) -> None:
        with open(part, "ab") as file:
            _lock(file, part)
            try:
                _append(address, file, most)
            except requests.RequestException as error:
                kept = f"{file.tell():,} bytes of it are kept, and the next attempt goes on from there"
                raise OSError(f"{address}: {error}; {kept}") from None
            except ValueError as error:
                part.unlink()
                raise ValueError(f"{address}: {error}") from None
            file.flush()
            os.replace(part, output)

    return download


def _lock(file: BinaryIO, part: Path) -> None:
    """OSError if another process writes the part, or has just made a whole file of it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(part)):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise OSError(f"{part}: another process is fetching this file; wait for it to end")


def _append(address: str, file: BinaryIO, most: int) -> None:
    """What is missing at the end of the file; all of it from a server that gives no part."""
    here = file.seek(0, os.SEEK_END)
    asked = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
    with _secure_session() as session, session.get(address, headers=asked, stream=True, timeout=SECONDS) as answer:
        if here and answer.status_code == BEYOND:
            return
        answer.raise_for_status()
        if here and not answer.headers.get("Content-Range", "").startswith(f"bytes {here}-"):
            file.truncate(0)
            file.seek(0)
        for block in answer.iter_content(BLOCK):
            if file.tell() + len(block) > most:
                raise ValueError(f"more than {most:,} bytes, the most that is fetched")
            file.write(block)


def _secure_session() -> requests.Session:
    """A session that can speak https only, whatever a server redirects to."""
    session = requests.Session()
    del session.adapters["http://"]
    return session
