"""A figure kind: the rows it plots, how it paints them, and the keys its YAML may have."""

from collections.abc import Callable
from typing import NamedTuple

from pandas.api.types import is_numeric_dtype

from recurlab.experiment import suggest
from recurlab.figures.keys import COMMON
from recurlab.rows import listed

T_INTERVAL = "mean over seeds, each seed averaged first, with the 95 % Student t interval over seeds"
WILSON = "share of seeds, each seed averaged first, with the 95 % Wilson interval for that many seeds"
MEDIAN = "median over seeds, each seed averaged first, with its interval of at least 95 % from order statistics"
ESTIMATES = {"mean": T_INTERVAL, "median": MEDIAN, "share": WILSON}  # what `estimate` says of low and high
NO_INTERVAL = "none: every row is drawn as it is"


class FigureKind(NamedTuple):
    """One kind of plot: `rows` makes the table that is plotted and written, `paint` draws one panel's part of it.

    rows(frame, figure) -> DataFrame. paint(axes, rows, figure, look) -> None; what it labels appears in the legend,
    and what it returns, if anything, gets a colour bar.
    keys: key -> check(value, columns) -> what is wrong, or None. needs: keys without which there is no plot.
    interval: what `low` and `high` of the rows are. sign: how the legend shows a hue: line, marker or patch.
    x_axis, y_axis: the keys that name the axes' columns; y_text: the label where the y axis is not a column.
    ratio: width / height of a panel. named: numbers on the x axis stand at equal distances, as names do,
    unless the figure's key `named` says otherwise.
    """

    rows: Callable
    paint: Callable
    keys: dict[str, Callable]
    needs: tuple[str, ...]
    interval: str
    sign: str
    x_axis: str = "x"
    y_axis: str = "y"
    y_text: str | None = None
    ratio: float = 1.35
    named: bool = False

    def problems(self, figure: dict, columns) -> list[str]:
        """Missing keys, unknown keys and wrong values of a figure of this kind."""
        allowed = {**COMMON, **self.keys}
        missing = [f"key '{key}' is missing" for key in ("caption", *self.needs) if key not in figure]
        unknown = [f"key '{key}' is unknown{suggest(key, allowed)}" for key in figure if key not in allowed]
        alone = ["key 'behind' needs the key 'col'"] if "behind" in figure and "col" not in figure else []
        checked = [(key, allowed[key](figure[key], columns)) for key in figure if key in allowed]
        return missing + unknown + alone + [f"key '{key}': {wrong}" for key, wrong in checked if wrong]


def groups(figure: dict) -> list[str]:
    """The columns that tell panels and lines apart, each once: row, col, hue, style."""
    return list(dict.fromkeys(figure[key] for key in ("row", "col", "hue", "style") if key in figure))


def panels_by(figure: dict) -> list[str]:
    """The columns that tell panels apart: row, col."""
    return [figure[key] for key in ("row", "col") if key in figure]


def theories(figure: dict) -> list[tuple[str, str]]:
    """(column, shown text) of each theory of a figure."""
    parts = [entry if isinstance(entry, dict) else {"column": entry} for entry in listed(figure.get("theory"))]
    return [(part["column"], part.get("label", part["column"].replace("_", " "))) for part in parts]


def in_lines(rows, figure: dict, along: str):
    """`rows` line by line in the table's order, each line sorted by `along` (names keep their order)."""
    if not is_numeric_dtype(rows[along]):
        return rows
    names = groups(figure)
    line = rows.groupby(names, sort=False).ngroup() if names else 0
    return rows.assign(line_=line).sort_values(["line_", along], kind="stable").drop(columns="line_")
