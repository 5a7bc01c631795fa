"""Everything that is wrong with an experiment file, all at once and before the first job.

Every message names file, key, value and what is wanted. The schema knows shapes, the tables know names, the study's
signature knows parameters; figures and claims know what they need of the table's columns.
"""

import json
import math
import os
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from recurlab import corpora
from recurlab import experiment as experiments
from recurlab.experiment import NAME, SCALES, Block, Experiment, suggest
from recurlab.studies import STUDIES, load_study
from recurlab.studies.kinds import Kind
from recurlab.studies.study import Study, parameters_of, required

MOST_CASES, MOST_BLOCKS, MOST_REPLICAS = 100_000, 1_000_000, 10_000_000  # of an experiment at one scale; of a block


class Given(NamedTuple):
    """Values that a file gives to a parameter, and the key under which they stand: fixed, grid, grid[1], replicas."""

    place: str
    name: str
    values: list[Any]


def checked(name: str, scale: str = "default", overrides=(), outputs: bool = True) -> Experiment:
    """The experiment of that name or file at a scale; ValueError with every problem of it.

    `outputs` False leaves out figures, claims and summary: a job that computes a block does without seaborn.
    """
    path = experiments.find(name)
    problems = problems_of(path, (scale,), overrides, outputs)
    if problems:
        raise ValueError("\n".join(problems))
    return experiments.expand(path, scale, overrides)


def data_problem(experiment: Experiment) -> str:
    """What is wrong with the data files that an experiment reads, "" if they are there and whole."""
    try:
        corpora.require(experiment.files)
        return ""
    except ValueError as error:
        return f"{experiment.name}: {error}"


def require_data(experiment: Experiment) -> None:
    """ValueError, before any work starts, unless the data files that an experiment reads are there and whole."""
    problem = data_problem(experiment)
    if problem:
        raise ValueError(problem)


def require_devices(blocks: list[Block]) -> None:
    """ValueError, before any work starts, unless every device that blocks ask for can be used here."""
    for device in dict.fromkeys(block.case.device for block in blocks):
        if device != "cpu":
            from recurlab.layers.checks import expect_device  # numba: 0.3 s

            expect_device(device)


def problems_of(path, scales=SCALES, overrides=(), outputs: bool = True) -> list[str]:
    """Every problem of an experiment file at the given scales, once, with the file's name in front."""
    content, problems = experiments.load(path)
    readable = bool(content) or not problems  # {} is a mapping, too: of no key
    if not NAME.fullmatch(Path(path).stem):
        problems.append("file name: wanted a-z, 0-9 and _ before .yaml (it names the folder of the results)")
    problems += [problem for text in overrides for problem in experiments.parse_override(text)[1]]
    found: dict[str, list[str]] = {}  # problem -> the scales that have it
    for scale in scales if readable else ():
        for problem in dict.fromkeys(_problems_at(content, scale, overrides, outputs)):
            found.setdefault(problem, []).append(scale)
    problems += [text if len(at) == len(scales) else f"{text} (scale {', '.join(at)})" for text, at in found.items()]
    return [f"{_shown_path(path)}: {problem}" for problem in problems]


def _problems_at(content: dict, scale: str, overrides, outputs: bool) -> list[str]:
    settings = experiments.settings_at(content, scale, overrides)
    problems = _shape(settings | {"scales": content["scales"]} if "scales" in content else settings)
    name = settings.get("study")
    if not isinstance(name, str):
        return problems
    if name not in STUDIES:
        return [*problems, f"study: got {_shown(name)}, wanted a study{suggest(name, STUDIES)}"]
    study, given = load_study(name), _given(settings)
    problems += [problem for place, entries in given.items() for problem in _parameters(place, entries, name, study)]
    problems = problems or _too_many(settings, given)
    problems = problems or [problem for place, entries in given.items() for problem in _together(place, entries, study)]
    return problems + (_outputs(settings, given, study) if outputs else [])


def _shape(settings: dict) -> list[str]:
    """What the JSON Schema has against a mapping."""
    from jsonschema import Draft202012Validator

    schema = experiments.load_schema()
    errors = sorted(Draft202012Validator(schema).iter_errors(settings), key=lambda error: str(error.json_path))
    return [problem for error in errors for problem in _shape_problems(error)]


def _shape_problems(error) -> list[str]:
    """A schema error in words: one for each key when keys are unknown or missing."""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        return [f"{_join(place, key)}: unknown key{suggest(key, known)}" for key in error.instance if key not in known]
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        known = error.schema["properties"]
        return [f"{_join(place, key)}: missing, wanted {known[key]['description']}" for key in missing]
    if "propertyNames" in error.absolute_schema_path:
        place = _join(place, error.instance)
    return [f"{_join(place)}: got {_shown(error.instance)}, wanted {error.schema['description']}"]


def _given(settings: dict) -> dict[str, list[Given]]:
    """What the file gives to the parameters for each grid; parts of a wrong shape (the schema told) are left out."""
    fixed = [Given("fixed", str(name), [value]) for name, value in _mapping(settings.get("fixed")).items()]
    replicas = [entry for entry in _listed("replicas", _mapping(settings.get("replicas"))) if entry.name != "seeds"]
    grid = settings.get("grid", {})
    places = [(f"grid[{i}]", part) for i, part in enumerate(grid)] if isinstance(grid, list) else [("grid", grid)]
    return {place: [*fixed, *_listed(place, _mapping(part)), *replicas] for place, part in places}


def _mapping(value) -> dict:
    return value if isinstance(value, dict) else {}


def _sequence(value) -> list:
    return value if isinstance(value, list) else []


def _listed(place: str, lists: dict) -> list[Given]:
    return [Given(place, str(name), values) for name, values in lists.items() if isinstance(values, list)]


def _parameters(place: str, entries: list[Given], study_name: str, study: Study) -> list[str]:
    """What the study's signature has against the fixed values, one grid and the replicas together."""
    kinds = parameters_of(study)
    times = Counter(entry.name for entry in entries)
    problems = [problem for entry in entries for problem in _entry_problems(entry, study_name, study, kinds)]
    problems += [
        f"{name}: stands in {' and '.join(entry.place for entry in entries if entry.name == name)}, wanted once"
        for name, n in times.items()
        if n > 1
    ]
    missing = [name for name in required(study) if name not in times]
    return problems + [
        f"{name}: missing in fixed or {place}, {study_name} wants {kinds[name].wanted}" for name in missing
    ]


def _too_many(settings: dict, given: dict[str, list[Given]]) -> list[str]:
    """Settings that multiply out to more than can be planned: they are counted, not made."""
    seeds, block = settings["replicas"]["seeds"], settings["block"]
    entries = list(given.values())
    cases = sum(math.prod(len(e.values) for e in part if e.place.startswith("grid")) for part in entries)
    spread = math.prod(len(e.values) for e in entries[0] if e.place == "replicas")
    counts = {
        "cases": (cases, MOST_CASES),
        "blocks": (cases * -(-seeds // block), MOST_BLOCKS),
        "replicas of a block": (spread * min(block, seeds), MOST_REPLICAS),
    }
    return [f"{n:,} {what}: at most {most:,} are planned" for what, (n, most) in counts.items() if n > most]


def _together(place: str, entries: list[Given], study: Study) -> list[str]:
    """What the study has against the values of its grid points, each of which is right by itself."""
    names, points = [entry.name for entry in entries], product(*(entry.values for entry in entries))
    problems = [problem for point in points for problem in study.together(dict(zip(names, point, strict=True)))]
    return [f"{place}: {problem}" for problem in dict.fromkeys(problems)]


def _entry_problems(entry: Given, study_name: str, study: Study, kinds: dict[str, Kind]) -> list[str]:
    key = f"{entry.place}.{entry.name}"
    if entry.name not in kinds:
        return [f"{key}: {study_name} has no such parameter{suggest(entry.name, kinds)}"]
    if entry.place == "replicas" and entry.name not in study.replicas:
        allowed = ", ".join(study.replicas) or "none but seeds"
        return [f"{key}: {study_name} cannot vary it within a launch, put it into grid (allowed: {allowed})"]
    kind = kinds[entry.name]
    return [
        f"{key}: got {_shown(value)}, wanted {_wanted(kind, value)}"
        for value in entry.values
        if not kind.accepts(value)
    ]


def _wanted(kind: Kind, value) -> str:
    names = list(kind.names())
    return kind.wanted + (suggest(value, names) if names and isinstance(value, str) else "")


def _outputs(settings: dict, given: dict[str, list[Given]], study: Study) -> list[str]:
    """What summary, figures and claims ask of the table and do not get."""
    columns = _columns(given, study)
    figures, claims = _mapping(settings.get("figures")), settings.get("claims")
    problems = _summary(_mapping(settings.get("summary")), columns, study)
    problems += _figures(figures, columns) if figures else []
    return problems + (_claims(claims, columns) if isinstance(claims, list) else [])


def _figures(figures: dict, columns: list[str]) -> list[str]:
    from recurlab.figures import check  # 1.2 s: seaborn

    given = [(name, figure) for name, figure in figures.items() if isinstance(figure, dict)]
    return [f"figures.{name}: {problem}" for name, figure in given for problem in check(figure, columns)]


def _claims(claims: list, columns: list[str]) -> list[str]:
    from recurlab.claims import check

    given = [(i, claim) for i, claim in enumerate(claims) if isinstance(claim, dict)]
    return [f"claims[{i}]: {problem}" for i, claim in given for problem in check(claim, columns)]


def _columns(given: dict[str, list[Given]], study: Study) -> list[str]:
    """The columns of the table, as `experiment.table_columns` has them, from settings that may have mistakes."""
    names = {entry.name: entry.place == "replicas" for entries in given.values() for entry in entries}
    replicas = sorted(name for name, replica in names.items() if replica)
    return ["case", *sorted(names.keys() - set(replicas)), *replicas, "seed", *study.columns, "source"]


def _summary(summary: dict, columns: list[str], study: Study) -> list[str]:
    known = {"by": [name for name in columns if name != "seed"], "values": list(study.columns), "where": columns}
    return [
        f"summary.{key}: got {_shown(name)}, wanted a column{suggest(name, names)}"
        for key, names in known.items()
        for name in _sequence(summary.get(key)) or _mapping(summary.get(key))
        if name not in names
    ]


def _join(*steps) -> str:
    return ".".join(str(step) for step in steps if step != "").lstrip(".") or "the file"


def _shown(value) -> str:
    """A value as YAML would write it, at most 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _shown_path(path) -> str:
    """The path, relative to the working folder if it lies below it."""
    path = Path(path)
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
