"""Experiments: a YAML file becomes cases and blocks of seeds.

Reading is cheap (no NumPy, no study is imported), because each job of a workflow does it again. Whether the file makes
sense is the business of `check`.
"""

import hashlib
import json
import os
import re
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from recurlab import corpora
from recurlab.document import load, parse
from recurlab.files import sha256

SCALES = ("quick", "default", "paper")
NAME = re.compile(r"[a-z0-9_]+")
PACKAGE = Path(__file__).resolve().parent


class Case(NamedTuple):
    """One grid point: an id made from the study and all its settings but the seeds, and the study's parameters."""

    id: str
    parameters: dict[str, Any]

    @property
    def device(self) -> str:
        """Where its layers run: the parameter `device`, which a study may have and an experiment may leave out."""
        return self.parameters.get("device", "cpu")


class Block(NamedTuple):
    """The seeds first … last of a case: what one job computes and one file holds."""

    case: Case
    first: int
    last: int

    @property
    def seeds(self) -> str:
        """The seeds as they stand in file names: '0-31'."""
        return f"{self.first}-{self.last}"

    @property
    def label(self) -> str:
        """The block as progress and messages name it."""
        return f"case {self.case.id} seeds {self.seeds}"


class Experiment(NamedTuple):
    """A resolved experiment file: scale and overrides merged in, cases in the order of the file."""

    name: str
    scale: str
    folder: str  # of its tables in results/<name>/: the scale, with a digest of the overrides if there are any
    title: str
    question: str
    source: str
    study: str
    cases: tuple[Case, ...]
    replicas: dict[str, list]  # without the seeds, names sorted
    seeds: int
    block: int
    summary: dict
    figures: dict[str, dict]
    claims: list[dict]
    settings: dict  # the whole resolved mapping, for the provenance record

    @property
    def files(self) -> tuple[str, ...]:
        """The data files that its cases read."""
        return tuple(dict.fromkeys(name for case in self.cases for name in files_of(case.parameters)))


def project_root() -> Path:
    """The folder with Snakefile and experiments/ above the working folder, or beside the package, or the package."""
    here = Path.cwd()
    places = (here, *here.parents, PACKAGE.parent)
    whole = [place for place in places if (place / "Snakefile").is_file() and (place / "experiments").is_dir()]
    return whole[0] if whole else PACKAGE


def named() -> dict[str, Path]:
    """Name -> file of every experiment of the project, sorted by name."""
    return {path.stem: path for path in sorted((project_root() / "experiments").glob("*.yaml"))}


def find(name: str) -> Path:
    """The file of a named experiment, or the YAML file itself if `name` is a path; ValueError if there is none."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        if not Path(name).is_file():
            raise ValueError(f"{name}: there is no such file")
        return Path(name)
    known = named()
    if name not in known:
        folder = project_root() / "experiments"
        raise ValueError(f"{name}: no experiment of this name in {folder}{suggest(name, known)}")
    return known[name]


def suggest(name: str, known) -> str:
    """The end of an error message: '; did you mean x?' when a known name is close, then the known names (up to 24)."""
    from difflib import get_close_matches

    known = list(known)
    close = get_close_matches(str(name), known, n=1)
    shown = ", ".join(known[:24]) + (f" and {len(known) - 24} more" if len(known) > 24 else "")
    return (f"; did you mean '{close[0]}'?" if close else "") + f" (known: {shown or 'none'})"


def load_schema() -> dict:
    """The JSON Schema of an experiment file: beside the package in an installed copy, in workflow/schemas otherwise."""
    places = (PACKAGE / "experiment.schema.yaml", PACKAGE.parent / "workflow" / "schemas" / "experiment.schema.yaml")
    return load(next(path for path in places if path.is_file()))[0]


def merge(base: Any, override: Any) -> Any:
    """`override` on top of `base`: mappings merge key by key, everything else (lists too) is replaced."""
    if not (isinstance(base, dict) and isinstance(override, dict)):
        return override
    return base | {key: merge(base.get(key), value) for key, value in override.items()}


def parse_override(text: str) -> tuple[dict, list[str]]:
    """'replicas.seeds=5' -> {"replicas": {"seeds": 5}}, and what is wrong with it.

    A name alone that is no key of an experiment file is a parameter: 'device=cuda' is 'fixed.device=cuda'.
    """
    key, equals, value = text.partition("=")
    names = key.strip().split(".")
    if len(names) == 1 and names[0] not in load_schema()["properties"]:
        names = ["fixed", *names]
    if not equals or not all(names):
        return {}, [f"--set {text}: wanted key=value, with dots between keys (replicas.seeds=5)"]
    content, problems = parse(value)
    for name in reversed(names):
        content = {name: content}
    return content, [f"--set {text}: {problem}" for problem in problems]


def settings_at(content: dict, scale: str, overrides=()) -> dict:
    """The mapping of an experiment file at a scale: the scale's changes merged in, then the overrides in turn."""
    settings = {key: value for key, value in content.items() if key != "scales"}
    scales = content.get("scales")
    changes = scales.get(scale) if isinstance(scales, dict) else None
    settings = merge(settings, changes) if isinstance(changes, dict) else settings
    for text in overrides:
        settings = merge(settings, parse_override(text)[0])
    return settings


def expand(path, scale: str = "default", overrides=()) -> Experiment:
    """The experiment of a file that `check` has found right, at a scale."""
    settings = settings_at(load(path)[0], scale, overrides)
    replicas = {key: values for key, values in sorted(settings["replicas"].items()) if key != "seeds"}
    return Experiment(
        name=Path(path).stem,
        scale=scale,
        folder=f"{scale}-{digest(sorted(overrides))[:8]}" if overrides else scale,
        title=settings["title"],
        question=settings["question"],
        source=settings.get("source", ""),
        study=settings["study"],
        cases=_cases(settings, replicas),
        replicas=replicas,
        seeds=settings["replicas"]["seeds"],
        block=settings["block"],
        summary=settings.get("summary", {}),
        figures=settings.get("figures", {}),
        claims=settings.get("claims", []),
        settings=settings,
    )


def _cases(settings: dict, replicas: dict) -> tuple[Case, ...]:
    """Every grid point once, in the order of the file: the grids in turn, the first key of each slowest."""
    points = [settings.get("fixed", {}) | point for grid in grids_of(settings) for point in _points(grid)]
    cases = (Case(case_id(settings["study"], parameters, replicas), parameters) for parameters in points)
    return tuple({case.id: case for case in cases}.values())


def grids_of(settings: dict) -> list[dict]:
    """The grids of an experiment: `grid` is one mapping or a list of them, and without it there is one grid point."""
    grid = settings.get("grid", {})
    return grid if isinstance(grid, list) else [grid]


def _points(grid: dict) -> list[dict]:
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def digest(value) -> str:
    """SHA-256 of a value's canonical JSON: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def case_id(study: str, parameters: dict, replicas: dict) -> str:
    """The first 12 hex digits of the digest of all that decides a case's numbers, but for seeds and source code."""
    data = data_sums(parameters)
    decides = {"study": study, "parameters": parameters, "replicas": replicas} | ({"data": data} if data else {})
    return digest(decides)[:12]


def files_of(parameters: dict) -> tuple[str, ...]:
    """The known data files that a case reads: those of the dataset or corpus that its parameter of this name is."""
    named = (parameters.get(key) for key in ("dataset", "corpus"))
    return tuple(file for name in named for file in corpora.FILES_OF.get(name, ()))


def data_sums(parameters: dict) -> dict[str, str]:
    """Data file -> its SHA-256, for the files that a case reads. Other bytes are refused when a known file is read."""
    own = parameters.get("corpus")
    sums = {name: corpora.FILES[name].sha256 for name in files_of(parameters)}
    return sums | ({own: _own_sum(own, Path(own).stat().st_mtime_ns)} if own and _is_own(own) else {})


def _is_own(corpus: str) -> bool:
    """Whether a corpus is a file of the user's own, not a known name."""
    return corpus not in corpora.FILES_OF and os.path.isfile(corpus)


@lru_cache
def _own_sum(path: str, changed: int) -> str:
    """The SHA-256 of a file that may be large: taken again when its time has changed."""
    return sha256(path)


def left_out(experiment: Experiment) -> str:
    """Why an experiment is left out of a run of all, in one line: its data are not here; "" where they are."""
    absent = ", ".join(corpora.missing(experiment.files))
    return f"{experiment.name} is left out: {corpora.FOLDER} names no folder with {absent}" if absent else ""


def blocks_of(experiment: Experiment) -> list[Block]:
    """Every block of every case: `block` seeds each, the last one what is left."""
    firsts = range(0, experiment.seeds, experiment.block)
    ranges = [(first, min(first + experiment.block, experiment.seeds) - 1) for first in firsts]
    return [Block(case, first, last) for case in experiment.cases for first, last in ranges]


def outputs_of(experiment: Experiment) -> list[str]:
    """What is made from an experiment's blocks, as files of the folder of its table: one for table, claims, figures."""
    claims = ["claims.csv"] if experiment.claims else []
    return ["table.parquet", *claims, *(f"figures/{name}.svg" for name in experiment.figures)]


def targets_of(experiment: Experiment) -> list[str]:
    """The same as the workflow's rules make it: the figures are one folder, drawn by one job."""
    files = [name for name in outputs_of(experiment) if not name.startswith("figures/")]
    return [*files, *(["figures"] if experiment.figures else [])]


def settings_columns(experiment: Experiment) -> list[str]:
    """The table's columns that hold settings of a case: its fixed and grid parameters, sorted by name."""
    return sorted({name for case in experiment.cases for name in case.parameters})


def table_columns(experiment: Experiment, results) -> list[str]:
    """All columns of the experiment's table, given those its study returns."""
    return ["case", *settings_columns(experiment), *experiment.replicas, "seed", *results, "source"]
