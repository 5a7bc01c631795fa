"""The picture of a bench: ratios to every peer with intervals and the line of parity; scaling with the cost model."""

from pathlib import Path

import numpy as np
import seaborn
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from recurlab.bench import model, scaling
from recurlab.bench.shown import label
from recurlab.figures.canvas import darker, house_style, new_figure, render
from recurlab.figures.style import CATEGORIES, GUIDE, MARKERS, THEORY_DASHES, WIDTHS
from recurlab.files import write_bytes

LINE, FRAME, SCALING = 0.2, 0.6, 1.6  # inches: height of a case, of what stands around a panel, of a scaling panel
SPREAD = 0.6  # share of a case's height over which its peers spread
AXES = ("T", "B", "H", "R", "threads")
NAMES = {"T": "length T", "B": "batch B", "H": "hidden units H = I", "R": "replicas R", "threads": "threads"}
CAPTION = "Ratios above 1: recurlab is faster. Bars: 95 % intervals of the median. Dashed: fitted cost model."


def draw(record: dict, path) -> Path:
    """Draw the rows of a bench into one file, its format by the suffix; ValueError if there is nothing to draw."""
    panels = _ratio_panels(record["rows"])
    groups = model.groups(record["rows"])
    if not (panels or groups):
        raise ValueError("no figure: the rows have neither a ratio to a peer nor a scaling")
    with house_style():
        figure = _figure(panels, groups)
        return write_bytes(path, render(figure, Path(path).suffix[1:], "recurlab bench", CAPTION))


def _ratio_panels(rows: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """(suite, dtype) -> the rows with a ratio."""
    found: dict = {}
    for row in rows:
        if row["ratio"] is not None:
            found.setdefault((row["suite"], row["dtype"]), []).append(row)
    return found


def _figure(panels: dict, groups: dict):
    """A ratio panel a line, then a line of scaling panels for each dtype."""
    dtypes = list(dict.fromkeys(dtype for _, dtype in groups))
    heights = [LINE * len({label(row) for row in rows}) + FRAME for rows in panels.values()]
    heights += [SCALING + FRAME] * len(dtypes)
    figure = new_figure(WIDTHS["double"], sum(heights) + FRAME)
    parts = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
    peers = list(dict.fromkeys(row["peer"] for rows in panels.values() for row in rows))
    colours = dict(zip(peers, _cycle(CATEGORIES, peers), strict=True))
    for part, ((suite, dtype), rows) in zip(parts, panels.items(), strict=False):
        _draw_ratios(part.subplots(), f"{suite}, {dtype}", rows, colours)
    for part, dtype in zip(parts[len(panels) :], dtypes, strict=True):
        _draw_scaling(part, dtype, {cell: rows for (cell, own), rows in groups.items() if own == dtype})
    _draw_legend(figure, colours)
    return figure


def _cycle(forms, values) -> list:
    return [forms[k % len(forms)] for k in range(len(values))]


def _draw_legend(figure, colours: dict) -> None:
    """The peers, above everything."""
    if colours:
        markers = zip(colours.items(), _cycle(MARKERS, colours), strict=True)
        handles = [Line2D([], [], color=c, marker=m, linestyle="none", label=peer) for (peer, c), m in markers]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(3, len(handles)))


def _draw_ratios(axes, title: str, rows: list[dict], colours: dict) -> None:
    """A line for each case, a marker with its interval for each peer; 1 is parity."""
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    cases = list(dict.fromkeys(label(row) for row in sorted(rows, key=lambda row: cells.index(row["cell"]))))
    peers = [peer for peer in colours if any(row["peer"] == peer for row in rows)]
    markers = dict(zip(colours, _cycle(MARKERS, colours), strict=True))
    for k, peer in enumerate(peers):
        own = [row for row in rows if row["peer"] == peer]
        y = np.array([cases.index(label(row)) for row in own]) + SPREAD * ((k + 0.5) / len(peers) - 0.5)
        look = {"color": colours[peer], "marker": markers[peer], "linestyle": "none", "elinewidth": 0.9, "capsize": 1.5}
        axes.errorbar([row["ratio"] for row in own], y, xerr=_reach(own), **look)
    axes.axvline(1, color=GUIDE, linewidth=0.8)
    axes.set(xscale="log", xlabel="time of the peer / time of recurlab", ylim=(len(cases) - 0.5, -0.5), title=title)
    axes.set_yticks(range(len(cases)), [case.replace(f" {rows[0]['dtype']}", "") for case in cases])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    seaborn.despine(ax=axes)


def _reach(rows: list[dict]) -> np.ndarray:
    """Lengths of the bars below and above the ratios, (2, n); 0 where there is no interval."""
    ends = [[row[end] or row["ratio"] for row in rows] for end in ("ratio_low", "ratio_high")]
    return np.abs(np.array(ends) - [row["ratio"] for row in rows])


def _draw_scaling(part, dtype: str, cells: dict[str, list[dict]]) -> None:
    """Seconds against every size that varies: points measured, lines from the cost model."""
    grid = part.subplots(1, len(AXES), sharey=True)
    for axes, name in zip(grid, AXES, strict=True):
        axes.set(xscale="log", yscale="log", xlabel=NAMES[name])
        axes.xaxis.set_minor_locator(NullLocator())
        for (cell, rows), colour in zip(cells.items(), _cycle(CATEGORIES, cells), strict=True):
            _draw_axis(axes, name, cell, rows, colour)
        seaborn.despine(ax=axes)
    grid[0].set_ylabel("seconds")
    named = next((found for axes in grid if (found := axes.get_legend_handles_labels())[1]), ([], []))
    part.legend(*named, loc="outside upper center", ncols=len(cells), title=f"scaling, {dtype}")


def _draw_axis(axes, name: str, cell: str, rows: list[dict], colour) -> None:
    own = sorted(along(rows, name), key=lambda row: row[name])
    if not own:
        return
    places, fitted = [row[name] for row in own], model.fit(rows)
    marked = sorted(set(places))[:: max(1, len(set(places)) // 3)]
    axes.plot(places, [row["seconds"] for row in own], "o", color=colour, label=cell)
    line = [model.predicted(fitted, row) for row in own]
    axes.plot(places, line, color=darker(colour), linestyle=THEORY_DASHES[0], linewidth=0.9)
    axes.set_xticks(marked, [str(place) for place in marked])


def along(rows: list[dict], name: str) -> list[dict]:
    """The rows of one axis: all other sizes are those of the base (on the axis H, I = H)."""
    most = max(row["threads"] for row in rows)
    same = {**scaling.BASE, "threads": most}
    del same[name]
    if name == "H":
        del same["I"]
        rows = [row for row in rows if row["I"] == row["H"]]
    return [row for row in rows if all(row[key] == value for key, value in same.items())]
