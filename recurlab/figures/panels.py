"""The frame around the kinds: panels in rows and columns, shared labels, titles and the key."""

import math
import textwrap
from typing import NamedTuple

import numpy as np
import seaborn
from matplotlib.ticker import NullFormatter, NullLocator

from recurlab.figures.canvas import new_figure
from recurlab.figures.kind import panels_by
from recurlab.figures.legend import abreast, draw_hue_bar, draw_legend, entries, has_bar, heading
from recurlab.figures.look import look_of, name_value, ordered, shown
from recurlab.figures.overlay import draw_behind, draw_references
from recurlab.figures.style import LETTER, WIDTHS

WRAP = 4  # panels side by side unless `col_wrap` says otherwise
NARROW = 5  # more panels side by side than this have no room for a legend at their right
BARE = ("", "1", "-", "none")  # units that are not printed
TALLEST = 2.8  # inches: a wide panel is no higher, unless it must be square
ROUNDS = 8  # of layout at most; two to four are the rule
STILL = 1e-3  # of the page: a panel that moves less stands still
FEW = 8  # so many places on a logarithmic x axis are its ticks


class Frame(NamedTuple):
    """The panels in reading order, each {column: value}; the shape of their grid; the width of the figure in inches."""

    cells: list[dict]
    down: int
    across: int
    width: float


def picture(kind, rows, figure: dict, units: dict):
    """The whole figure: a panel for each value of `row` and `col`, painted by `kind` from its part of `rows`."""
    if "path_hue" in figure:
        figure = {**figure, "hue": figure["path_hue"]}  # on a surface it is the paths that are told apart
    look, frame = look_of(rows, figure, figure.get("named", kind.named)), _frame(rows, figure)
    canvas = new_figure(frame.width, frame.down * frame.width / frame.across / kind.ratio + 0.5)
    share = {"sharex": figure.get("sharex", True), "sharey": figure.get("sharey", True)}
    grid = canvas.subplots(frame.down, frame.across, squeeze=False, **share)
    for axes, cell in zip(grid.flat, frame.cells, strict=False):
        if "behind" in figure:
            col, value = figure["col"], figure["behind"]
            draw_behind(axes, _part(rows, {**cell, col: value}), figure, look, name_value(col, value, figure))
        painted = _panel(axes, kind, _part(rows, cell), figure, look, frame)
    found = _key(canvas, kind, look, figure)
    title = heading(look, figure)
    place = _place(figure, frame, found, title)
    panel = _panel_width(figure, frame, found, place)
    _clear_unused(grid, len(frame.cells))
    _titles(canvas, grid, figure, frame, place, panel, panel / kind.ratio)
    _axis_labels(canvas, grid, kind, figure, units, panel * frame.across, panel / kind.ratio * frame.down)
    if painted is not None:
        label = figure.get("zlabel") or label_of(figure["z"], figure, units)
        canvas.colorbar(painted, ax=canvas.axes, label=_broken(label, panel / kind.ratio), aspect=25)
    if has_bar(look):
        draw_hue_bar(canvas, look, figure)
    if place != "none":
        above = figure.get("title") if place == "top" and frame.cells != [{}] else None
        draw_legend(canvas, found, "\n".join(filter(None, [above, title])), place)
    _lay_out(canvas, grid, kind.ratio)
    return canvas


def _frame(rows, figure: dict) -> Frame:
    down, across = (ordered(rows, figure, figure.get(key)) for key in ("row", "col"))
    if "behind" in figure:  # it has no panel of its own
        across = _without(across, figure["behind"], figure["col"])
    pairs = [[value for value in (d, a) if value is not None] for d in down for a in across]
    cells = [dict(zip(panels_by(figure), pair, strict=True)) for pair in pairs]
    columns = len(across) if "row" in figure else min(len(across), figure.get("col_wrap", WRAP))
    narrow = columns == 1 and figure.get("legend") != "right"
    width = WIDTHS[figure.get("width", "single" if narrow else "double")]
    return Frame(cells, math.ceil(len(cells) / columns), columns, width)


def _without(values: list, value, column: str) -> list:
    if value not in values or len(values) < 2:
        raise ValueError(f"behind: expected one of at least two values of '{column}', got {value!r} of {values}")
    return [other for other in values if other != value]


def _place(figure: dict, frame: Frame, found: dict, title: str | None) -> str:
    """Where the legend stands unless `legend` says so: right of wide figures, above if one line or room is short."""
    if not found:
        return "none"
    one_line = abreast(found, frame.width) == len(found) and not title and "title" not in figure
    short = frame.width == WIDTHS["single"] or frame.across > NARROW or "z" in figure
    return figure.get("legend", "top" if one_line or short else "right")


def _panel_width(figure: dict, frame: Frame, found: dict, place: str) -> float:
    """Inches, estimated: what axis labels, colour bar and legend leave to a panel."""
    beside = 0.5 + LETTER * max(map(len, found)) if place == "right" else 0.0
    taken = 0.6 + 0.15 * (frame.across - 1) + (0.8 if "z" in figure else 0.0) + (0.2 if "row" in figure else 0.0)
    return max((frame.width - taken - beside) / frame.across, 0.6)


def _lay_out(canvas, grid, ratio: float) -> None:
    """Gives the canvas the height at which the panels have their ratio, then fixes every place for all formats.

    A round can change the ticks and with them the room that their labels need, so it goes on until nothing moves.
    """
    before = None
    for _ in range(ROUNDS):
        canvas.get_layout_engine().execute(canvas)
        width, height = canvas.get_size_inches()
        panel = grid[0, 0].get_position(original=True)
        if before is not None and np.allclose(panel.bounds, before, atol=STILL):
            break
        before = panel.bounds
        across, tall = panel.width * width, panel.height * height
        wanted = across if ratio == 1 else min(across / ratio, TALLEST)
        canvas.set_size_inches(width, height + grid.shape[0] * (wanted - tall))
    canvas.set_layout_engine("none")


def _part(rows, cell: dict):
    for column, value in cell.items():
        rows = rows[rows[column] == value]
    return rows


def _panel(axes, kind, rows, figure: dict, look, frame: Frame):
    """Scales, data, reference lines, limits and ticks of one panel; returns what `kind.paint` returns."""
    axes.set_xscale(figure.get("xscale", "linear"))
    axes.set_yscale(figure.get("yscale", "linear"))
    painted = kind.paint(axes, rows, figure, look)
    draw_references(axes, figure)
    if "xlim" in figure:
        axes.set_xlim(*figure["xlim"])
    if "ylim" in figure:
        axes.set_ylim(*figure["ylim"])
    seaborn.despine(ax=axes)
    if not look.places:
        _ticks(axes, rows, figure, frame.width / frame.across)
    return painted


def _ticks(axes, rows, figure: dict, inches: float) -> None:
    """As many x ticks as have room; a logarithmic axis with few places has its ticks at them."""
    scale = figure.get("xscale", "linear")
    if scale == "linear":
        axes.locator_params(axis="x", nbins=max(3, min(8, int(inches / 0.4))))
    elif scale == "log" and "x" in figure:
        places = sorted(rows[figure["x"]].dropna().unique())
        if len(places) <= FEW:
            named = _with_room({place: f"{place:g}" for place in places}, inches)
            axes.set_xticks([*named], [*named.values()])
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())


def _with_room(named: dict[float, str], inches: float) -> dict[float, str]:
    """The places of a logarithmic axis, from the left, whose labels stand clear of the one before."""
    scale = math.log(max(named) / min(named)) / inches if len(named) > 1 and min(named) > 0 else 0.0
    kept: dict[float, str] = {}
    for place, name in named.items():
        before = next(reversed(kept), None)
        if not (scale and before) or math.log(place / before) >= scale * (len(name) + 2) * LETTER:
            kept[place] = name
    return kept


def _clear_unused(grid, used: int) -> None:
    """Takes away the empty panels of the last row; the panels above them get their tick labels back."""
    for k in range(used, grid.size):
        grid.flat[k].remove()
        grid.flat[k - grid.shape[1]].tick_params(labelbottom=True)


def _titles(canvas, grid, figure: dict, frame: Frame, place: str, wide: float, tall: float) -> None:
    """Column values above the panels, row values at the right edge, the figure's title over all."""
    row, col = figure.get("row"), figure.get("col")
    for k, (axes, cell) in enumerate(zip(grid.flat, frame.cells, strict=False)):
        if col and (k < frame.across or not row):
            axes.set_title(_broken(name_value(col, cell[col], figure), wide))
        if row and k % frame.across == frame.across - 1:
            text = _broken(name_value(row, cell[row], figure), tall)
            axes.annotate(text, (1.03, 0.5), xycoords="axes fraction", rotation=270, va="center", ha="left")
    if "title" in figure and frame.cells == [{}]:
        grid[0, 0].set_title(_broken(figure["title"], wide))
    elif "title" in figure and place != "top":  # where the legend stands on top it has the title
        canvas.suptitle(_broken(figure["title"], frame.width))


def _broken(text: str, inches: float) -> str:
    """The text in as few lines as fit into `inches`, of about equal length; words stay whole."""
    room = max(8, int(inches / LETTER))
    fewest = len(_wrap(text, room))
    evenly = next(n for n in range(1, room + 1) if len(_wrap(text, n)) <= fewest)
    return "\n".join(_wrap(text, evenly))


def _wrap(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def label_of(column: str, figure: dict, units: dict) -> str:
    """'what it is (unit)' of a column, or its name where the record says nothing."""
    unit, _, what = units.get(column, "").partition(";")
    what = figure.get("labels", {}).get(column) or what.strip() or shown(column, figure)
    return what if unit.strip() in BARE else f"{what} ({unit.strip()})"


def _axis_labels(canvas, grid, kind, figure: dict, units: dict, wide: float, tall: float) -> None:
    """One label an axis, broken to its length: at the panel if there is one, else for the whole grid."""
    x = figure.get("xlabel") or label_of(figure[kind.x_axis], figure, units)
    y = figure.get("ylabel") or kind.y_text or label_of(figure[kind.y_axis], figure, units)
    x, y = _broken(x, wide), _broken(y, tall + 0.3)
    if grid.size == 1:
        grid[0, 0].set(xlabel=x, ylabel=y)
    else:
        canvas.supxlabel(x)
        canvas.supylabel(y)


def _key(canvas, kind, look, figure: dict) -> dict:
    """text -> handle of hues and styles, then of what the panels labelled themselves (theories, circles), each once."""
    found = entries(kind.sign, look, figure)
    for axes in canvas.axes:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    return found
