"""Figures from tidy tables: one file a kind, the plotted rows beside every picture.

`check` imports no drawing library, so an experiment can be checked in a fraction of a second; `draw` does.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas

from recurlab.experiment import suggest
from recurlab.figures import alignment, curves, histogram, lines, plane, points, runs, shares, surface
from recurlab.figures.kind import ESTIMATES, FigureKind, groups
from recurlab.files import checksums, write_bytes, write_record
from recurlab.rows import select

FIGURES: dict[str, FigureKind] = {
    "lines": lines.KIND,
    "points": points.KIND,
    "plane": plane.KIND,
    "histogram": histogram.KIND,
    "surface": surface.KIND,
    "shares": shares.KIND,
    "runs": runs.KIND,
    "curves": curves.KIND,
    "alignment": alignment.KIND,
}
FORMATS = ("pdf", "svg", "png")


def check(figure: dict, columns) -> list[str]:
    """Every mistake in a figure's YAML, in words, given the columns its table will have; an empty list if none."""
    plot = figure.get("plot")
    if plot not in list(FIGURES):
        return [f"key 'plot': {plot!r} is no kind of figure{suggest(plot, FIGURES)}"]
    needed = [] if "seed" in columns else ["the table has no column 'seed': seeds are the unit of replication"]
    return needed + FIGURES[plot].problems(figure, columns)


def draw(name: str, figure: dict, table, folder, record: dict) -> list[Path]:
    """Draws one figure of an experiment: name.pdf, .svg and .png, the plotted rows in name.csv, the facts in name.json.

    figure: its YAML. table: the experiment's tidy results. record: what is known of them, merged into the JSON (under
    "table" the table's checksum; else that of its contents is taken). The axes are labelled from the table's
    attrs["units"] and from record["columns"], both column -> "unit; what it is". Returns the paths, JSON last.
    Raises ValueError that names the figure: every mistake `check` finds, or rows that cannot be drawn so.
    """
    problems = check(figure, table.columns)
    if problems:
        raise ValueError(f"figure '{name}': " + "; ".join(problems))
    kind = FIGURES[figure["plot"]]
    try:
        frame = select(table, figure.get("where"))
        rows = kind.rows(_named_nulls(frame, figure), figure)
        units = {**table.attrs.get("units", {}), **record.get("columns", {})}
        contents = _pictures(kind, rows, figure, name, units)
    except ValueError as error:
        raise ValueError(f"figure '{name}': {error}") from error
    contents["csv"] = rows.to_csv(index=False, lineterminator="\n").encode()
    written = [write_bytes(Path(folder) / f"{name}.{form}", content) for form, content in contents.items()]
    facts = {**record, **_facts(kind, figure, frame, rows, units)}
    facts.setdefault("table", {"content": table_digest(table)})
    return [*written, write_record(Path(folder) / f"{name}.json", {**facts, "checksums": checksums(written)})]


def _named_nulls(frame, figure: dict):
    """The frame with the text 'none' where a grouping column is empty: a setting that is null is a group, too."""
    gaps = [name for name in groups(figure) if frame[name].isna().any()]
    return frame.assign(**{name: frame[name].astype(object).where(frame[name].notna(), "none") for name in gaps})


def _pictures(kind: FigureKind, rows, figure: dict, name: str, units: dict) -> dict[str, bytes]:
    """Format -> bytes of the drawn figure."""
    from recurlab.figures.canvas import house_style, render  # 1.5 s of imports that checking does not need
    from recurlab.figures.panels import picture

    with house_style():
        drawn = picture(kind, rows, figure, units)
        return {form: render(drawn, form, figure.get("title", name), figure["caption"]) for form in FORMATS}


def _facts(kind: FigureKind, figure: dict, frame, rows, units: dict) -> dict:
    """What a reader of the picture needs to know: caption, interval, number of seeds, what was left out."""
    facts = {
        "caption": figure["caption"],
        "figure": figure,
        "interval": ESTIMATES.get(figure.get("estimate"), kind.interval),
    }
    facts["columns"] = {name: units[name] for name in frame.columns if name in units}
    facts["seeds_drawn"] = int(frame["seed"].nunique())
    if "n" in rows:
        facts["n"] = {"least": int(rows["n"].min()), "most": int(rows["n"].max())}
    measured = frame[figure["z" if "z" in figure else "y"]].astype(float)
    return {**facts, "rows_without_finite_value": int((~np.isfinite(measured)).sum())}


def table_digest(table) -> str:
    """SHA-256 over the names and values of a table's columns, the same for the same table however it was stored."""
    digest = hashlib.sha256(json.dumps(list(map(str, table.columns))).encode())
    digest.update(pandas.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()
