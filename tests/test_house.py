"""The house rules that a machine can check: lock file, environments, sizes, floors, formats, paths."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"matplotlib": "matplotlib-base"}
CONDA_ONLY = {"python", "pip"}


def source_files():
    return sorted((ROOT / "recurlab").rglob("*.py"))


def committed_files():
    """Tracked files, and new ones that git does not ignore; all but none where this is not a git checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files are committed cannot be told")
    return [ROOT / name for name in listing.stdout.split("\0") if (ROOT / name).is_file()]


# lock file and environments


@pytest.mark.parametrize(
    "leak", ["http", "index-url", "find-links", "trusted-host", "@ file", "file:", r"^\s*(-e|--editable)\b"]
)
def test_lock_names_no_host(leak):
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.search(leak, line)] == []


def test_every_locked_package_has_hashes_and_none_is_torch():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    names = re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9-]+==)", lock, flags=re.MULTILINE)[1:]
    assert len(names) == len(blocks) and all("--hash=sha256:" in block for block in blocks)
    assert not {"torch", "jax", "jaxlib"} & set(names)


def name_and_bounds(requirement):
    name, bounds = re.fullmatch(r"([A-Za-z0-9_-]+)\s*(.*)", requirement).groups()
    return name, frozenset(bounds.replace(" ", "").split(",")) - {""}


def test_conda_environment_agrees_with_pyproject():
    wanted = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    wanted = {CONDA_NAMES.get(name, name): bounds for name, bounds in map(name_and_bounds, wanted)}
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    listed = dict(name_and_bounds(entry) for entry in listed if isinstance(entry, str))
    assert listed.pop("python") == {PYPROJECT["project"]["requires-python"]}
    assert {name: bounds for name, bounds in listed.items() if name not in CONDA_ONLY} == wanted


@pytest.mark.parametrize(("extra", "variables"), [("oracle", "TORCH|JAX|KERAS"), ("slurm", "PLUGIN")])
def test_makefile_installs_the_extras(extra, variables):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installed = re.findall(rf"^(?:{variables})\s*:=\s*(\S+)", makefile, flags=re.MULTILINE)
    assert sorted(installed) == sorted(PYPROJECT["project"]["optional-dependencies"][extra])


def test_makefile_installs_the_cuda_extra():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (installed,) = re.findall(r"^CUDA\s*:=\s*(.*)", makefile, flags=re.MULTILINE)
    assert sorted(installed.split()) == sorted(PYPROJECT["project"]["optional-dependencies"]["cuda"])


# sizes and floors


def body_lines(function):
    """Lines of a function, signature included, decorators and docstring not."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def test_functions_are_short():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in source_files()]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    lines = np.array([body_lines(function) for function in functions])
    assert np.median(lines) <= 12
    assert np.mean(lines <= 40) >= 0.9


@pytest.mark.parametrize("path", sorted((ROOT / "tests").glob("naive*.py")), ids=lambda path: path.stem)
def test_the_naive_oracles_import_nothing_of_recurlab(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {"." * node.level + (node.module or "") for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module for module in modules if module.split(".")[0] in ("recurlab", "")} == set()


LINTERS = {
    "import floors": ["-c", "from importlinter.cli import lint_imports_command as run; run()"],
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "snakefmt": ["-m", "snakefmt", "--check", "Snakefile", "workflow"],
}


@pytest.mark.parametrize("linter", LINTERS)
def test_linters_pass(linter):
    result = subprocess.run([sys.executable, *LINTERS[linter]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


# what is committed


def test_readme_names_the_two_commands():
    lines = {line.split("#")[0].strip() for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()}
    assert {"make", "make test"} <= lines


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.yaml")), ids=lambda path: path.stem)
def test_experiments_parse(path):
    assert {"question", "study"} <= set(yaml.safe_load(path.read_text(encoding="utf-8")))


# Put together here, so that this file does not match itself.
TOP_FOLDERS = b"|".join([b"home", b"root", b"work", b"Users", b"tmp"])
MACHINE_PATH = re.compile(rb"(?<![\w.~$}/-])/(" + TOP_FOLDERS + rb")/[\w.$-]+")


def test_no_committed_file_names_a_path_of_a_machine():
    named = {path.relative_to(ROOT): MACHINE_PATH.search(path.read_bytes()) for path in committed_files()}
    assert {str(path): match.group() for path, match in named.items() if match} == {}
