"""How kernels get their cell: names that tell bindings apart, a disk cache that hits, no index out of bounds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recurlab.cells import CELLS
from recurlab.kernels import compile_all, cpu, rebind

ROOT = Path(__file__).resolve().parent.parent

# names


def names_of(cell):
    """The qualified name of every function that is compiled into the kernels of a cell."""
    names = []

    def record(function):
        names.append(function.__qualname__)
        return function

    cpu._bindings(CELLS[cell], record)
    return {*names, *(getattr(kernel, "py_func", kernel).__qualname__ for kernel in cpu.kernels_of(cell))}


def test_no_two_cells_share_a_qualified_name():
    owners = [(name, cell) for cell in CELLS for name in names_of(cell)]
    assert len({name for name, _ in owners}) == len(owners) > 10 * len(CELLS)
    assert all(name.endswith(rebind.kernel_digest()) for name, _ in owners)


@pytest.fixture
def digest_of(monkeypatch, tmp_path):
    """The name that `rebind` gives in a copy of the package in which one file was edited, or none."""
    shutil.copytree(rebind.PACKAGE, tmp_path / "recurlab", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(rebind, "PACKAGE", tmp_path / "recurlab")

    def name_after_edit(path=None, text="\n# edited\n"):
        if path:
            edited = tmp_path / "recurlab" / path
            edited.write_text((edited.read_text() if edited.exists() else "") + text)
        rebind.kernel_digest.cache_clear()
        return rebind.rebind(names_of, "label").__qualname__

    yield name_after_edit
    monkeypatch.undo()
    rebind.kernel_digest.cache_clear()


@pytest.mark.parametrize("path", ["maths.py", "cells/gru.py", "cells/cell.py", "kernels/cpu.py", "cells/new.py"])
def test_an_edited_source_changes_every_name(digest_of, path):
    before = digest_of()
    assert before == digest_of() != digest_of(path)


def test_a_source_that_no_kernel_contains_changes_no_name(digest_of):
    assert digest_of() == digest_of("layers/recurrent.py")


def test_rebinding_replaces_names_in_the_copy_alone():
    copy = rebind.rebind(names_of, "label", CELLS={})
    assert copy.__globals__["CELLS"] == {} and names_of.__globals__["CELLS"] is CELLS
    assert copy.__code__ is names_of.__code__ and copy.__module__ == names_of.__module__
    assert copy.__qualname__ != names_of.__qualname__


def test_a_cell_function_is_compiled_with_its_helpers_and_the_targets_functions():
    compiled = []

    def record(function):
        compiled.append(function)
        return function

    target = {"tanh": object(), "sigmoid": object()}
    top = rebind.compile_tree(CELLS["lstm"].backward, "lstm", target, record)
    assert [function.__name__ for function in compiled] == ["cell_gradient", "gate_gradients", "backward"]
    assert top.__globals__["cell_gradient"] is compiled[0]
    assert compiled[0].__globals__["tanh"] is target["tanh"]


def test_compiling_ahead_names_each_kernel_and_its_seconds():
    found = list(compile_all(dtypes=("float64",), cells=["gru", "lstm"]))
    assert [name for name, _ in found] == ["gru float64", "lstm float64"]
    assert all(seconds >= 0 for _, seconds in found)


# One process that checks every index, and a second one that finds its machine code: cells that take every branch.

CHECKED = ("lstm_peephole", "gru", "gru_reset_before")
PROGRAM = """
import json, sys
sys.path[:0] = [{tests!r}, {root!r}]
import numpy as np
from cases import SMALL
from test_conformance import check_forward, check_gradients
from recurlab.kernels import cpu

for cell in {cells!r}:
    check_forward(cell, SMALL)
    check_gradients(cell, SMALL)
try:
    cpu.add_row(np.zeros(3), np.ones(5), np.ones((4, 3)))
    refused = False
except IndexError:
    refused = True
functions = [cpu.weight_gradients, cpu.add_row] + [kernel for cell in {cells!r} for kernel in cpu.kernels_of(cell)]
stats = [function.stats for function in functions]
counts = [[sum(s.cache_hits.values()) for s in stats], [sum(s.cache_misses.values()) for s in stats]]
print(json.dumps({{"refused": refused, "hits": counts[0], "misses": counts[1]}}))
"""


def run_checked(cache, cells):
    """Run small conformance cases with NUMBA_BOUNDSCHECK=1 in a process of its own."""
    program = PROGRAM.format(tests=str(ROOT / "tests"), root=str(ROOT), cells=cells)
    settings = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache), "NUMBA_DISABLE_JIT": "0"}
    command = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(command, env=os.environ | settings, cwd=cache, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("numba-cache")


@pytest.fixture(scope="module")
def first(cache):
    return run_checked(cache, CHECKED)


def test_no_kernel_indexes_out_of_bounds(first):
    assert first["refused"]  # the check was on: a row that is too long for its matrix was seen
    assert sum(first["misses"]) >= 1 + 2 * len(CHECKED)


def test_a_second_process_finds_all_machine_code_on_disk(first, cache):
    second = run_checked(cache, CHECKED[:1])
    assert second["misses"] == [0, 0, 0, 0]
    assert all(second["hits"])
