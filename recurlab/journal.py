"""What a long computation notes of itself: how far it is, and a state to go on from after it was ended.

The runner of a job opens a journal, the training loop writes to the one that is open; without one nothing is kept. A
state is a dict of arrays. What a computation gives does not depend on when it was ended and taken up again.
"""

import hashlib
import io
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from recurlab.files import write_bytes

SECONDS = 60.0  # between two states kept: a lost minute at most, for 10 ms of writing
KEY = "journal key"


class Journal:
    """The parts of one job, numbered in the order in which they begin: `path`.<n>.npz each.

    A file is the SHA-256 of what follows, 64 hex digits, and the arrays as npz: a damaged one is noticed before it is
    parsed.
    """

    def __init__(self, path=None, key: str = "", tell: Callable[[str, int, int], None] | None = None):
        self.path, self.key, self.tell = path and Path(path), key, tell
        self.parts, self.kept_at = 0, time.monotonic()

    def begin(self) -> int:
        """The number of a part that begins now."""
        self.parts += 1
        return self.parts

    def file_of(self, part: int) -> Path:
        """Where the state of a part is kept."""
        return self.path.with_name(f"{self.path.name}.{part}.npz")

    def recall(self, part: int) -> dict[str, np.ndarray] | None:
        """The state kept of a part by a job of the same key; None if there is none."""
        if self.path is None or not self.file_of(part).is_file():
            return None
        whole = self.file_of(part).read_bytes()
        total, content = whole[:64], whole[64:]
        if total != _sum(content):
            warnings.warn(f"{self.file_of(part)}: damaged (other SHA-256); starting anew", stacklevel=2)
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            state = dict(arrays)
        return state if str(state.pop(KEY, "")) == self.key else None

    def note(self, part: int, what: str, done: int, total: int, state: Callable[[], dict]) -> None:
        """Tell how far a part is, and keep its state if it is time to, or if it is done."""
        if self.tell is not None:
            self.tell(what, done, total)
        if self.path is not None and (done == total or time.monotonic() - self.kept_at >= SECONDS):
            sink = io.BytesIO()
            np.savez(sink, **state(), **{KEY: np.array(self.key)})
            write_bytes(self.file_of(part), _sum(sink.getvalue()) + sink.getvalue())
            self.kept_at = time.monotonic()

    def clear(self) -> None:
        """Remove what was kept."""
        for path in self.path.parent.glob(f"{self.path.name}.*.npz") if self.path is not None else ():
            path.unlink(missing_ok=True)  # another process that computes the same may be faster


def _sum(content: bytes) -> bytes:
    """SHA-256 in hex digits."""
    return hashlib.sha256(content).hexdigest().encode()


_OPEN: ContextVar[Journal] = ContextVar("journal")


def current() -> Journal:
    """The open journal, or one that keeps nothing."""
    return _OPEN.get(None) or Journal()


@contextmanager
def opened(journal: Journal) -> Iterator[Journal]:
    """`journal` is the one that `current` finds, until the block ends."""
    token = _OPEN.set(journal)
    try:
        yield journal
    finally:
        _OPEN.reset(token)
