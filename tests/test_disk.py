"""Compiled code on disk: run only if it is whole and was compiled for the same signature."""

import random

import damage
import numba
import pytest

from recurlab.kernels import disk, forward

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
KEY, OTHER = (numba.float32, ("x86", "skylake"), ("ab", "cd")), (numba.float64, ("x86", "skylake"), ("ab", "cd"))


@pytest.fixture
def code(tmp_path):
    return disk.CodeFiles(tmp_path, "forward._forward-1.py311", (1.5, 100))


def test_what_was_kept_is_found_by_its_key_alone(code, tmp_path):
    assert code.load(KEY) is None
    code.save(KEY, ("machine", b"code"))
    code.save(OTHER, "other")
    assert code.load(KEY) == ("machine", b"code") and code.load(OTHER) == "other"
    assert len([*tmp_path.iterdir()]) == 2
    code.flush()
    assert code.load(KEY) is None and [*tmp_path.iterdir()] == []


def test_code_of_another_source_or_under_another_name_is_not_found(code, tmp_path):
    code.save(KEY, "code")
    assert disk.CodeFiles(tmp_path, "forward._forward-1.py311", (2.5, 100)).load(KEY) is None
    code._file(KEY).rename(code._file(OTHER))
    assert code.load(OTHER) is None


def test_damaged_code_is_not_found_and_kept_anew(code):
    chance = random.Random(0)
    for way in (damage.flip, damage.truncate, damage.blank, lambda *_: b""):
        code.save(KEY, "code")
        whole = code._file(KEY).read_bytes()
        while (damaged := way(whole, chance)) == whole:
            pass
        code._file(KEY).write_bytes(damaged)
        assert code.load(KEY) is None
        code.save(KEY, "code")
        assert code.load(KEY) == "code"


def test_a_cache_that_cannot_be_written_costs_a_warning(code, monkeypatch):
    monkeypatch.setattr(disk, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.warns(UserWarning, match="compiled code is not kept, and compiled again next time: disk full"):
        code.save(KEY, "code")


def test_kernels_are_kept_so_and_numba_is_left_as_it_is(code):
    assert isinstance(forward.compiled()._cache._cache_file, disk.CodeFiles)
    assert numba.core.caching.IndexDataCacheFile is not disk.CodeFiles
    assert not isinstance(numba.njit(cache=True)(add)._cache._cache_file, disk.CodeFiles)


def add(a, b):
    return a + b
