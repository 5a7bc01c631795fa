"""Where numbers come from: the digest of the sources that computed them, and a record of machine, versions and time.

The digest stands in every row and decides what is computed again; the rest is for the reader. Nothing of the record
enters a table, so the same job gives the same bytes on every machine of one instruction set and lock file.
"""

import ast
import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from recurlab import __version__, instructions
from recurlab.files import read_record, write_record
from recurlab.studies import STUDIES

PACKAGE = Path(__file__).resolve().parent
KERNELS = (
    "maths",
    "cells",
    "kernels",
)  # in every digest: cells are bound to kernels where no import statement shows it
VERSIONS = ("numba", "llvmlite", "numpy", "scipy", "pandas", "pyarrow", "snakemake")


def source_digest(study_name: str) -> str:
    """12 hex digits that change with the code behind a study's numbers, and not with comments or docstrings.

    SHA-256 over the normalised syntax of the study's module, every recurlab module it imports, directly or not, and all
    modules of maths, cells and kernels. Reads files only.
    """
    return _digest_of({STUDIES[study_name].split(":")[0], *kernel_modules()})


def kernel_modules() -> list[str]:
    """Names of all modules of maths, cells and kernels."""
    paths = [path for name in KERNELS for path in (PACKAGE / f"{name}.py", *(PACKAGE / name).rglob("*.py"))]
    return [_module_name(path) for path in paths if path.is_file()]


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _digest_of(modules: set[str]) -> str:
    """SHA-256, 12 digits, of the modules and all they import of recurlab."""
    found: dict[str, str] = {}
    waiting = set(modules)
    known = _known_sources()
    before = dict(known)
    while waiting:
        name = waiting.pop()
        found[name], imported = _read_source(module_file(name), name, known)
        waiting |= set(imported) - found.keys()
    if known != before:
        _keep_sources(known)
    return hashlib.sha256("\n".join(f"{name} {found[name]}" for name in sorted(found)).encode()).hexdigest()[:12]


def module_file(name: str) -> Path:
    """The file of a module, found without importing it if it belongs to recurlab."""
    steps = name.split(".")
    if steps[0] != "recurlab":
        return Path(find_spec(name).origin)
    path = PACKAGE.joinpath(*steps[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _read_source(path: Path, name: str, known: dict) -> tuple[str, list[str]]:
    """(digest of a file's normalised syntax, the recurlab modules it imports); read again when it has changed.

    `known` is where both are looked up and noted: every job of a workflow asks, and to read 76 files takes 0.25 s.
    """
    state = path.stat()
    same = [str(path), state.st_mtime_ns, state.st_size]
    if name not in known or known[name][0] != same:
        words, imports = normal_form(ast.parse(path.read_bytes(), str(path)))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        imported = [module for node in imports for module in _imports(node, package)]
        known[name] = [same, hashlib.sha256(" ".join(words).encode()).hexdigest(), imported]
    return known[name][1], known[name][2]


def _sources_file() -> Path:
    """Beside the package's bytecode, one for each Python: its syntax trees are its own."""
    return PACKAGE / "__pycache__" / f"sources.{sys.implementation.cache_tag}.json"


@cache
def _known_sources() -> dict:
    """What earlier processes read of the sources; empty where that was not kept."""
    try:
        return read_record(_sources_file())["sources"]
    except (OSError, ValueError, KeyError):
        return {}


def _keep_sources(known: dict) -> None:
    """For the next process, if the folder can be written."""
    with suppress(OSError):
        write_record(_sources_file(), {"sources": known})


def normal_form(tree: ast.AST) -> tuple[list[str], list]:
    """A syntax tree as words, without positions, docstrings and empty fields, and its import statements.

    Empty fields are left out because newer Pythons add some; lengths of lists make the words unambiguous.
    """
    words, imports, waiting = [], [], [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            words.append(str(len(node)))
            waiting += node
        elif isinstance(node, ast.AST):
            fields = [(name, value) for name in node._fields if (value := getattr(node, name, None)) not in (None, [])]
            words += [type(node).__name__, *(name for name, _ in fields)]
            waiting += [value[1:] if name == "body" and _has_docstring(node) else value for name, value in fields]
            imports += [node] if isinstance(node, ast.Import | ast.ImportFrom) else []
        else:
            words.append(repr(node))
    return words, imports


def _has_docstring(node) -> bool:
    """Whether the body of a module, class or function begins with a text."""
    if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    first = node.body[0].value if node.body and isinstance(node.body[0], ast.Expr) else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str)


def _imports(node, package: str) -> list[str]:
    """The recurlab modules that an import statement names: `from package import name` may name a module, too."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] == "recurlab"]
    if not isinstance(node, ast.ImportFrom):
        return []
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*above, *([node.module] if node.module else [])])
    if base.split(".")[0] != "recurlab":
        return []
    names = [f"{base}.{alias.name}" for alias in node.names]
    return [name if module_file(name).is_file() else base for name in names]


class Start(NamedTuple):
    """When something started: UTC for the reader, the monotonic clock for the duration."""

    at: str
    clock: float


def start() -> Start:
    """Now."""
    return Start(datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter())


def record(begun: Start, threads: int = 1) -> dict:
    """What a provenance record says of time, memory, machine, versions and commit, for work that is done now."""
    return {
        "start": begun.at,
        "seconds": round(time.perf_counter() - begun.clock, 3),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "threads": threads,
        **machine(),
        **gpu(),
        **repository(),
        "versions": versions(),
    }


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, in MB = 10^6 bytes (several blocks of one process share it)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@cache
def machine() -> dict:
    """System, processor, the instructions used of it and its number of cores; nothing that names the machine."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        **instructions.used(),
        "cores": os.cpu_count(),
    }


def gpu() -> dict:
    """The GPU of a process that has loaded the kernels for one, and the version of their compiler; else nothing."""
    if "recurlab.kernels.cuda.target" not in sys.modules:
        return {}
    from recurlab.kernels.cuda import device  # numba: 0.3 s

    found = ["{name}, compute capability {compute_capability}".format(**one) for one in device.gpus()]
    found += ["Numba's simulator"] if device.SIMULATED else []
    return {"gpu": found[0], "numba-cuda": installed("numba-cuda")} if found else {}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


@cache
def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that numbers, tables and jobs rest on; None for one not installed."""
    return {"recurlab": __version__, "python": platform.python_version()} | {name: installed(name) for name in VERSIONS}


def installed(name: str) -> str | None:
    """The version of a package that is installed, or None."""
    from importlib.metadata import PackageNotFoundError, version  # 40 ms that parsing a workflow does not need

    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def repository() -> dict:
    """Commit of the checkout this package stands in and whether tracked files differ from it; None without one.

    Published results do not count: to write those of one experiment changes nothing that another is computed from.
    """
    folder = PACKAGE.parent
    if not (folder / ".git").exists():  # a copy inside somebody else's repository must not report their commit
        return {"commit": None, "dirty": None}
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results/published")
    return {"commit": commit, "dirty": None if changes is None else changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command that reads only; None without git, without a commit, or after 10 s."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
