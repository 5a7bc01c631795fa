"""results/published/README.md: every published verdict in tables that a person reads, made from the published files."""

import csv
from collections import Counter
from pathlib import Path

from recurlab.files import read_json, write_bytes
from recurlab.markup import markdown_table

PAGE = "README.md"
HEAD = ("claim", "source", "estimator", "estimate", "95 % interval", "n", "p", "claimed", "verdict")
HOURS = 3600.0
INTRODUCTION = """# Published verdicts

Made by `recurlab publish` from the files in these folders. The rows behind every line are in `table.parquet` beside it;
`recurlab verify` evaluates the claims on them again. A claim is *reproduced* if its 95 % interval lies in the claimed
region, *not reproduced* if it lies outside, *undetermined* if it does both. Each p is one-sided. Figures show all rows
of the run, of which the table has those that the claims read.
"""


def write(folder) -> Path:
    """Write the page of a folder of published results (<experiment>/<scale>/), from all that it holds; its path."""
    return write_bytes(Path(folder) / PAGE, page(folder).encode())


def page(folder) -> str:
    """The page as Markdown: counts of verdicts by experiment, then the claims of each with estimate and interval."""
    places = sorted(path.parent for path in Path(folder).glob("*/*/claims.csv"))
    claims = {place: _claims(place) for place in places}
    counts = ["", *_counts(claims)]
    parts = [part for place, rows in claims.items() for part in _part(place, rows)]
    return "\n".join([INTRODUCTION.rstrip("\n"), *counts, *parts]) + "\n"


def _claims(place: Path) -> list[dict[str, str]]:
    with open(place / "claims.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _counts(claims: dict[Path, list[dict]]) -> list[str]:
    """A table of the experiments with the number of their claims by verdict."""
    kinds = ("reproduced", "not reproduced", "undetermined")
    counts = {place.parent.name: Counter(row["verdict"] for row in rows) for place, rows in claims.items()}
    lines = [(f"[{name}](#{name})", *(str(found[kind]) for kind in kinds)) for name, found in counts.items()]
    return markdown_table(("experiment", *kinds), lines)


def _part(place: Path, rows: list[dict]) -> list[str]:
    """Heading, question, source, what the run took, one line a claim (with a source of its own), and the figures."""
    record = read_json(place / "provenance.json")
    settings, run = record["settings"], record["run"]
    source = settings.get("source", "")
    took = f"{run['core_seconds'] / HOURS:.1f} core-hours on {', '.join(run['cpus'])}"
    origin = f"Scale {place.name}, seeds {record['seeds']}, {took}, commit {record['commit'][:12]}."
    told = [settings["question"], *([f"Source: {source}."] if source else []), origin]
    table = markdown_table(HEAD, (_cells(row, source) for row in rows))
    return ["", f"## {place.parent.name}", "", *told, "", *table, *_pictures(place, settings.get("figures", {}))]


def _pictures(place: Path, figures: dict[str, dict]) -> list[str]:
    """The figures that were published, each above its caption."""
    lines = []
    for name, figure in figures.items():
        if (place / f"{name}.png").is_file():
            lines += ["", f"![{name}]({place.parent.name}/{place.name}/{name}.png)", "", f"*{figure['caption']}*"]
    return lines


def _cells(row: dict[str, str], source: str) -> tuple[str, ...]:
    own = "" if row["source"] == source else row["source"]
    interval = f"{_short(row['low'])} … {_short(row['high'])}"
    numbers = (_short(row["estimate"]), interval, row["n"], _short(row["p"]))
    return (row["claim"], own, row["estimator"].replace("_", " "), *numbers, row["region"], row["verdict"])


def _short(text: str) -> str:
    """A number to three digits, at most 12 of them after the point; nothing as nothing."""
    return f"{round(float(text), 12):.3g}" if text else ""
