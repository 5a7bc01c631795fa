"""How kernels get their cell: names that tell bindings apart, a disk cache that hits; the same bits on any thread."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recurlab.cells import CELLS
from recurlab.kernels import pointwise, rebind
from recurlab.kernels.target import COMPILED, ELEMENTARY, column_product_of, row_product_of

ROOT = Path(__file__).resolve().parent.parent
needs_compiler = pytest.mark.skipif(not COMPILED, reason="nothing is compiled in this process")

# names


def names_of(cell):
    """The qualified name of every function that is compiled into the pointwise functions of a cell."""
    names = []

    def record(function):
        names.append(function.__qualname__)
        return function

    pointwise.bindings(CELLS[cell], record)
    return set(names)


def test_no_two_cells_share_a_qualified_name():
    owners = [(name, cell) for cell in CELLS for name in names_of(cell)]
    assert len({name for name, _ in owners}) == len(owners) > 10 * len(CELLS)
    assert all(name.endswith(rebind.kernel_digest()) for name, _ in owners)


@needs_compiler
def test_no_two_functions_on_disk_share_a_name():
    functions = [f for cell in CELLS for dtype in ("float32", "float64") for f in pointwise.pointwise_of(cell, dtype)]
    functions += [product(dtype) for product in (row_product_of, column_product_of) for dtype in ("float32", "float64")]
    names = [function._code._pyfunc.__qualname__ for function in functions if function]
    assert len(set(names)) == len(names) >= 4 * len(CELLS) + 4
    assert all(name.endswith(rebind.kernel_digest()) for name in names)


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


EDITED = ["maths.py", "cells/gru.py", "cells/cell.py", "cells/new.py", "kernels/simd.py", "kernels/tile.py"]


@pytest.mark.parametrize("path", EDITED)
def test_an_edited_source_changes_every_name(digest_of, path):
    before = digest_of()
    assert before == digest_of() != digest_of(path)


def test_a_source_that_no_kernel_contains_changes_no_name(digest_of):
    assert digest_of() == digest_of("layers/recurrent.py")


def test_every_width_has_names_of_its_own(digest_of, monkeypatch):
    found = set()
    for bits in ("128", "256", "512"):
        monkeypatch.setenv("RECURLAB_VECTOR_BITS", bits)
        found.add(digest_of())
    assert len(found) == 3


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


def test_the_target_has_every_function_of_maths():
    assert set(ELEMENTARY) == {"tanh", "sigmoid", "relu", "step"}


# Processes of their own: with a disk cache that was empty, with another source, with more threads.


def run(program, cache=None, root=ROOT, **settings):
    """What a program prints as JSON, in a process with a cache of machine code of its own if one is named."""
    lines = f"import sys\nsys.path[:0] = [{str(ROOT / 'tests')!r}, {str(root)!r}]\n{program}"
    settings = {"NUMBA_DISABLE_JIT": "0"} | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {}) | settings
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | settings
    command = [sys.executable, "-W", "error", "-c", lines]
    result = subprocess.run(command, env=environment, cwd=cache, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def contents(cache):
    """Every file of a cache, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}


# Cells that take every branch of the drivers. The sizes that are no whole vectors leave rests, which are indexed and
# therefore checked; an uncompiled run checks the vectors too (test_mutations runs the same checks on it).
LAYERS = """
from cases import SMALL
from test_conformance import check_forward, check_gradients
import json
import numpy as np
from numba import njit
from recurlab.kernels.blocks import put_row
from recurlab.kernels.rebind import OPTIONS
from recurlab.kernels import backward, forward

for cell in {cells!r}:
    check_forward(cell, SMALL)
    check_gradients(cell, SMALL)

def put(out, source, width):
    put_row(out, 0, 0, source, 0, 3, width)

try:
    njit(**OPTIONS)(put)(np.zeros(64), np.zeros(2), {width})
    refused = False
except IndexError:
    refused = True
stats = [driver.compiled().stats for driver in (forward, backward)]
counts = [[sum(s.cache_hits.values()), sum(s.cache_misses.values())] for s in stats]
print(json.dumps({{"refused": refused, "counts": counts}}))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("numba-cache")


def run_layers(cache, cells):
    """Run small conformance cases with NUMBA_BOUNDSCHECK=1."""
    return run(LAYERS.format(cells=cells, width=64), cache, NUMBA_BOUNDSCHECK="1")


@pytest.fixture(scope="module")
def first(cache):
    return run_layers(cache, ("lstm_peephole", "gru", "gru_reset_before", "indrnn"))


@needs_compiler
def test_no_kernel_indexes_out_of_bounds(first):
    assert first["refused"]  # the check was on: a row that is too short was seen
    assert first["counts"] == [[0, 1], [0, 1]]


@needs_compiler
def test_a_second_process_finds_all_machine_code_on_disk(first, cache):
    before = contents(cache)
    second = run_layers(cache, ("gru", "gru_reset_before"))
    assert second["counts"] == [[1, 0], [1, 0]]
    assert contents(cache) == before  # nothing was compiled anew: that would have been written


# The product of 2 · 3 with a start of 1, and the pointwise functions of a cell: seconds to compile.
PRODUCT = """
import json
import numpy as np
from test_tile import by_columns
from recurlab.kernels import packing, pointwise, simd, target

pointwise.pointwise_of("gru", "float32")
width = target.lanes("float32")
ones = np.ones((1, width), "float32")
came, _ = by_columns(2 * ones, 3 * ones, np.ones((width, width), "float32"), "in place", "float32")
square = np.arange(width * width, dtype="float32")
arrays = V_x, V_h, W_x, W_h = [np.zeros_like(square) for _ in range(4)]
b, bias, orders = ones.ravel(), 0 * ones.ravel(), np.zeros((2, 1), np.int64)
packing.prepare()(square, square, b, b, orders, *arrays, bias, 1, width, width, width, width, True)
right = all((W.reshape(width, width) == square.reshape(width, width).T).all() for W in (W_x, W_h))
right = right and (bias == 2).all()
print(json.dumps({"product": sorted(set(came.ravel().tolist())), "turned": bool(right), "width": simd.BITS}))
"""


@needs_compiler
def test_an_edited_intrinsic_is_compiled_anew(tmp_path):
    """x y + z becomes x y + y in a copy of the package; nothing that calls it was edited."""
    copy, cache = tmp_path / "copy", tmp_path / "cache"
    cache.mkdir()
    shutil.copytree(rebind.PACKAGE, copy / "recurlab", ignore=shutil.ignore_patterns("__pycache__"))
    assert run(PRODUCT, cache, copy)["product"] == [7]
    before = contents(cache)
    assert run(PRODUCT, cache, copy)["product"] == [7] and contents(cache) == before
    simd = copy / "recurlab" / "kernels" / "simd.py"
    text, old, new = simd.read_text(), "3), (x, y, z))", "3), (x, y, y))"
    assert text.count(old) == 1
    simd.write_text(text.replace(old, new))
    assert run(PRODUCT, cache, copy)["product"] == [9] and contents(cache) != before
    simd.write_text(text)
    after = contents(cache)
    assert run(PRODUCT, cache, copy)["product"] == [7] and contents(cache) == after


@pytest.mark.slow
@needs_compiler
def test_eight_processes_at_once_on_an_empty_cache(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: run(PRODUCT, tmp_path), range(8)))
    assert found == [found[0]] * 8 and found[0]["product"] == [7] and found[0]["turned"]
    before = contents(tmp_path)
    assert run(PRODUCT, tmp_path) == found[0]
    assert {path for path in contents(tmp_path) if path not in before} == set()


@needs_compiler
def test_a_width_that_is_none_stops_the_program_with_a_message(tmp_path):
    program = "from recurlab.kernels import simd"
    with pytest.raises(AssertionError, match="RECURLAB_VECTOR_BITS: expected one of 128, 256, 512, got '96'"):
        run(program, tmp_path, RECURLAB_VECTOR_BITS="96")


THREADS = """
import json
import numpy as np
from numba import get_num_threads, set_num_threads
from cases import Case, assert_same_bits, problem
from test_conformance import both, halving, layer_of, pick, replicated
from recurlab.cells import CELLS
from recurlab.kernels import blocks, denormals

case, done = Case(steps=4, batch=25, inputs=3, hidden=19), 0
assert blocks.slices_of(case.batch, case.hidden, 4) == 2
for cell in CELLS:
    for dtype in ("float32", "float64"):
        problems = [problem(cell, case, seed, dtype) for seed in range(3)]
        layer, together = layer_of(cell, case, dtype), replicated(problems, shared_x=False)
        found = []
        for threads in (1, 2, 4):
            set_num_threads(threads)
            found.append(both(layer, together))
            assert get_num_threads() == threads
        assert_same_bits(tuple(found[1:]), (found[0],) * 2)
        for r, p in enumerate(problems):
            assert_same_bits(pick(found[0], r), both(layer, p))
        done += 1
flushed = []
if denormals.SUPPORTED:
    for flush in (False, True, False):
        y, gradient = halving("float32", replicas=8)(flush_denormals=flush)
        flushed.append([bool((y == 0).any()), bool((y == 0).all()), bool((gradient == 0).any())])
print(json.dumps({"done": done, "flushed": flushed}))
"""


@needs_compiler
def test_one_two_and_four_threads_give_the_same_bits_and_each_puts_its_floating_point_state_back():
    """Batches in two slices, and replicas with the bits they have alone."""
    found = run(THREADS, NUMBA_NUM_THREADS="4")
    assert found["done"] == 2 * len(CELLS)
    assert found["flushed"] in ([], [[False, False, False], [True, True, True], [False, False, False]])
