"""`import recurlab` is light, and the face has the names that it promises."""

import subprocess
import sys

import pytest

import recurlab as rl

NAMES = """recurrent init forward backward trace pack unpack memory_bytes replica_groups
    jacobians gradient_by_lag lyapunov diagnose save load from_keras to_keras load_results""".split()
HEAVY = {"numba", "llvmlite", "pandas", "pyarrow", "scipy", "sklearn", "matplotlib", "seaborn", "snakemake", "numpy"}


def modules_after(statement):
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_loads_nothing_heavy():
    assert modules_after("import recurlab") & HEAVY == set()


def test_the_command_line_loads_nothing_heavy():
    assert modules_after("import recurlab.cli") & HEAVY == set()


def test_a_name_of_the_face_loads_what_it_needs():
    assert "numba" in modules_after("from recurlab import recurrent")


@pytest.mark.parametrize("name", NAMES)
def test_the_face_has_its_names(name):
    assert callable(getattr(rl, name)) and getattr(rl, name).__doc__


def test_dir_lists_the_face():
    assert dir(rl) == sorted([*NAMES, "__version__"]) and set(rl.__all__) == set(dir(rl))


def test_an_unknown_name_is_refused_with_the_face():
    with pytest.raises(
        AttributeError, match="'recurlab' has no attribute 'lstm'; the face is recurrent, .*load_results"
    ):
        _ = rl.lstm
    assert not hasattr(rl, "numpy")


def test_a_star_import_brings_the_face():
    found = {}
    exec("from recurlab import *", found)
    assert set(NAMES) <= set(found)
