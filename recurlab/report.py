"""What the report's first page shows. Read with the standard library alone: every job of a workflow parses it."""

import csv
from pathlib import Path

from recurlab.experiment import Experiment

SHOWN = ("claim", "estimate", "low", "high", "n", "p", "region", "verdict")


def verdicts(folder, experiment: Experiment) -> list[dict[str, str]]:
    """The claims of an experiment with estimate, interval and verdict, from its claims.csv; [] if there is none yet."""
    path = Path(folder) / experiment.name / experiment.folder / "claims.csv"
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [{key: _short(row[key]) for key in SHOWN} for row in csv.DictReader(file)]


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
