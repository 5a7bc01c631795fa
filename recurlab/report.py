"""What the report's first page shows. Read with the standard library alone: every job of a workflow parses it."""

import csv
import warnings
from pathlib import Path

from recurlab.experiment import Experiment
from recurlab.files import read_record, sha256

SHOWN = ("claim", "estimate", "low", "high", "n", "p", "region", "verdict")


def verdicts(folder, experiment: Experiment) -> list[dict[str, str]]:
    """The claims of an experiment with estimate, interval and verdict, from its claims.csv; [] if there is none yet."""
    path = Path(folder) / experiment.name / experiment.folder / "claims.csv"
    if not (path.is_file() and _is_whole(path)):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [{key: _short(row[key]) for key in SHOWN} for row in csv.DictReader(file)]


def _is_whole(path: Path) -> bool:
    """Whether a claims.csv is as its record says; if not, a warning: a job that was killed may leave one like that."""
    try:
        if read_record(path.with_suffix(".json"))["checksums"][path.name] == sha256(path):
            return True
        told = "its SHA-256 differs from the recorded one"
    except (OSError, ValueError, KeyError, TypeError) as error:
        told = f"no record of it ({error})"
    warnings.warn(f"{path}: {told}; its verdicts are left out until it is made anew", stacklevel=3)
    return False


def landing(folder, experiments: list[Experiment]) -> list[dict]:
    """Title, question, source, figures and verdicts of every experiment."""
    return [
        {
            "name": experiment.name,
            "title": experiment.title,
            "question": experiment.question,
            "source": experiment.source,
            "figures": list(experiment.figures),
            "verdicts": verdicts(folder, experiment),
        }
        for experiment in experiments
    ]


def _short(text: str) -> str:
    """A number to four digits, a count or any other text as it is."""
    if text.isdecimal():
        return text
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text
