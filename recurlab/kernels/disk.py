"""Compiled code on disk: run only if it is whole and was compiled for the very same signature and processor.

Numba keeps an index beside numbered files and checks neither. Of two processes that compile a function for two dtypes
at once, both may take the same number, and the index then leads one dtype to the machine code of the other; a damaged
file crashes or runs as it is. Here a file is named after what it was compiled for, and begins with its SHA-256.
"""

import hashlib
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
from numba import njit
from numba.core import caching
from numba.core.serialize import dumps

from recurlab.files import write_bytes


class CodeFiles:
    """The files of one function, in place of Numba's IndexDataCacheFile."""

    def __init__(self, cache_path, filename_base: str, source_stamp):
        self._base = Path(cache_path, filename_base)
        self._stamp = numba.__version__, source_stamp

    def _file(self, key) -> Path:
        return self._base.with_name(f"{self._base.name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc")

    def save(self, key, data) -> None:
        """Keep what was compiled for a key; a warning where it cannot be kept."""
        content = dumps((self._stamp, key, data))
        try:
            write_bytes(self._file(key), _sum(content) + content)
        except OSError as error:
            warnings.warn(f"compiled code is not kept, and compiled again next time: {error}", stacklevel=2)

    def load(self, key):
        """What was kept for a key; None if there is none, or it is damaged, or of another version of the source."""
        try:
            whole = self._file(key).read_bytes()
        except FileNotFoundError:
            return None
        if whole[:64] != _sum(whole[64:]):
            return None
        stamp, kept, data = pickle.loads(whole[64:])
        return data if (stamp, kept) == (self._stamp, key) else None

    def flush(self) -> None:
        """Forget all that was kept."""
        for path in self._base.parent.glob(f"{self._base.name}.*.nbc"):
            path.unlink(missing_ok=True)


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def kept(**options):
    """`njit(cache=True, **options)` whose code is kept in `CodeFiles`."""

    def compiled(function):
        with code_files():
            return njit(cache=True, **options)(function)

    return compiled


@contextmanager
def code_files() -> Iterator[None]:
    """Functions for Numba's disk cache that are defined within have `CodeFiles`."""
    numbas = caching.IndexDataCacheFile
    caching.IndexDataCacheFile = CodeFiles
    try:
        yield
    finally:
        caching.IndexDataCacheFile = numbas
