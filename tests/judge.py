"""What becomes of a damaged file: refused with its name and a reason, accepted as what it was, or a fault.

A fault is any other exception, 5 s of computing, or 1 GiB of memory more than before.
"""

import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from readers import SOMEBODYS, Reader

SECONDS = 5  # of processor time, so that a busy machine makes no faults
BYTES = 2**30


class Fault(AssertionError):
    """A reader did what it must not do."""


class Whole(NamedTuple):
    """A reader's file before any damage."""

    reader: Reader
    path: Path
    content: bytes
    value: object


def whole(reader: Reader, folder: Path) -> Whole:
    """The whole file, read."""
    path = reader.make(folder)
    return Whole(reader, path, path.read_bytes(), reader.read(path))


def verdict(of: Whole, content: bytes) -> str:
    """'refused' or 'accepted'; Fault for anything else, or where an own file is accepted and is another one."""
    of.path.write_bytes(content)
    try:
        with _limits():
            value = of.reader.read(of.path)
    except (ValueError, OSError) as error:
        told = str(error)
        if of.path.name not in told and of.path.stem not in told or len(told) < len(of.path.name) + 8:
            raise Fault(f"refused without the file's name: {error!r}") from error
        return "refused"
    except Exception as error:
        raise Fault(f"{type(error).__name__}: {error}") from error
    if of.reader.own and value not in (of.value, SOMEBODYS):
        raise Fault("accepted, though it is not what was written")
    return "accepted"


def peak() -> int:
    """The most bytes that this process has held so far (ru_maxrss counts bytes on macOS, units of 1,024 elsewhere)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _limits():
    """Time and memory, taken back afterwards."""

    def late(*_):
        raise Fault(f"more than {SECONDS} s")

    before = peak()
    handler = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
    if peak() - before > BYTES:
        raise Fault(f"more than {BYTES:,} bytes of memory")
