"""The tables a person reads: means with 95 % intervals over seeds, as CSV, Markdown and HTML."""

import html
import math

from recurlab import rows
from recurlab.experiment import Experiment
from recurlab.markup import markdown_table

ROWS_SHOWN = 60  # in summary.md and summary.html; summary.csv has all of them
STYLE = """body {font: 14px/1.4 sans-serif; margin: 2em} table {border-collapse: collapse}
td, th {border-bottom: 1px solid #ccc; padding: .3em .8em; text-align: left; vertical-align: top}
td.number {text-align: right; font-variant-numeric: tabular-nums}"""


def summarise(frame, experiment: Experiment, roles: dict[str, str]):
    """One row for each group and quantity: the group's settings, quantity, unit, mean, low, high, n (seeds).

    Groups and quantities are those of the experiment's `summary`; without it the groups are the settings that differ
    between cases and the replica keys, the quantities all numeric results. `where` chooses rows; those of a seed are
    averaged first.
    """
    import pandas

    frame = rows.select(frame, experiment.summary.get("where"))
    by = experiment.summary.get("by", _groups(frame, roles))
    numeric = [name for name in frame.select_dtypes(["number", "bool"]) if roles[name] in ("result", "time")]
    values = experiment.summary.get("values", numeric)
    texts = frame[by].astype(object)  # a setting that is null is a group, too
    named = frame.assign(**{name: texts[name].where(texts[name].notna(), "null") for name in by})
    parts = [_quantity(named, by, name, _unit(frame, name)) for name in values]
    return pandas.concat(parts, ignore_index=True) if parts else frame[by].drop_duplicates()


def _unit(frame, name: str) -> str:
    return frame.attrs.get("units", {}).get(name, "").partition(";")[0]


def _groups(frame, roles: dict[str, str]) -> list[str]:
    """Replica keys, and the settings with more than one value."""
    return [
        name
        for name, role in roles.items()
        if role == "replica" or (role == "setting" and frame[name].nunique(dropna=False) > 1)
    ]


def _quantity(frame, by: list[str], name: str, unit: str):
    """The rows of one quantity; without groups the whole table is one. Of a flag the share, with its score interval."""
    means = rows.summarise(frame.assign(**{"": ""}), by or [""], name, estimate="share" if unit == "flag" else "mean")
    means = means.rename(columns={name: "mean"}).assign(quantity=name, unit=unit)
    return means[[*by, "quantity", "unit", "mean", "low", "high", "n"]]


def csv(frame) -> str:
    """The frame as CSV, floats in full."""
    return frame.to_csv(index=False, lineterminator="\n")


def markdown(title: str, question: str, frame) -> str:
    """Title, question and at most ROWS_SHOWN rows, numbers to four digits."""
    lines = [f"# {title}", "", question, "", "Means over seeds with 95 % t intervals; n counts seeds.", ""]
    lines += markdown_table(frame.columns, ((str(_short(value)) for value in row) for row in _first(frame)))
    return "\n".join([*lines, *_left_out(frame)]) + "\n"


def page(title: str, text: str, frame) -> str:
    """Title, text and at most ROWS_SHOWN rows as an HTML page."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in _first(frame))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style></head>
<body><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table><p>{" ".join(_left_out(frame))}</p></body></html>
"""


def _cell(value) -> str:
    kind = "" if isinstance(value, str) else ' class="number"'
    return f"<td{kind}>{html.escape(str(_short(value)))}</td>"


def _first(frame) -> list[tuple]:
    return list(frame.head(ROWS_SHOWN).itertuples(index=False, name=None))


def _left_out(frame) -> list[str]:
    left = len(frame) - ROWS_SHOWN
    return ["", f"{left} more rows are in summary.csv."] if left > 0 else []


def _short(value):
    """A float to four significant digits, an empty place for NaN, everything else as it is."""
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.4g}"
