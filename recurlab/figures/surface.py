"""`surface`: a heat map of z over a grid of x and y, contours of other columns, and paths that walk over it."""

import numpy as np
import pandas

from recurlab.figures.keys import column, either, limits, mapping, number, one_of, text
from recurlab.figures.kind import T_INTERVAL, FigureKind, panels_by
from recurlab.figures.style import CENTRED, GUIDE, INK, SURFACE, THEORY_DASHES
from recurlab.rows import listed, refuse_empty, summarise


def rows(frame, figure: dict):
    """Mean of z at each grid point (part 'surface'), then the points of each path in their order (part 'path').

    With paths, grid points are the rows with quantity == 'surface'; all others are steps of a path.
    """
    walked = frame["quantity"].ne("surface") if "path_x" in figure else pandas.Series(False, index=frame.index)
    names = panels_by(figure)
    contours = [entry["column"] for entry in listed(figure.get("contours"))]
    grid = summarise(frame[~walked], [*names, figure["x"], figure["y"]], figure["z"], contours)
    return pandas.concat([grid.assign(part="surface"), *_paths(frame[walked], figure)], ignore_index=True)


def _paths(frame, figure: dict) -> list:
    """The steps of every path, in the order of `path_step` or else of the table."""
    if "path_x" not in figure:
        return []
    names = [*panels_by(figure), *listed(figure.get("path_hue")), "seed"]
    refuse_empty(frame, names)
    kept = [figure[key] for key in ("path_step", "path_x", "path_y") if key in figure]
    path = frame.groupby(names, sort=False).ngroup().to_numpy()
    order = np.lexsort((frame[figure["path_step"]], path)) if "path_step" in figure else np.argsort(path, kind="stable")
    return [frame[list(dict.fromkeys([*names, *kept]))].iloc[order].assign(part="path")]


def paint(axes, rows, figure: dict, look):
    """The heat map with its contours and paths; returns what the colour bar shows."""
    grid = rows[rows["part"] == "surface"]
    values = grid.pivot(index=figure["y"], columns=figure["x"], values=figure["z"])
    x, y = values.columns.to_numpy(dtype=float), values.index.to_numpy(dtype=float)
    edges = [_edges(x, figure.get("xscale")), _edges(y, figure.get("yscale"))]
    mesh = axes.pcolormesh(*edges, values.to_numpy(dtype=float), rasterized=True, **_colours(figure, look))
    _draw_contours(axes, grid, figure)
    _draw_paths(axes, rows[rows["part"] == "path"], figure, look)
    axes.set(xlim=edges[0][[0, -1]], ylim=edges[1][[0, -1]])
    return mesh


def _edges(centres: np.ndarray, scale: str | None) -> np.ndarray:
    """Borders of the cells around sorted centres (m,): half-way on the axis' own scale, (m+1,)."""
    at = np.log(centres) if scale == "log" else centres
    if len(at) < 2:
        raise ValueError("a surface needs two different values on each axis")
    inner = (at[1:] + at[:-1]) / 2
    edges = np.concatenate([[2 * at[0] - inner[0]], inner, [2 * at[-1] - inner[-1]]])
    return np.exp(edges) if scale == "log" else edges


def _colours(figure: dict, look) -> dict:
    """Map, scale and range of the colours, the same in all panels."""
    low, high = figure.get("zlim", look.span)
    if "centre" in figure:
        reach = max(abs(high - figure["centre"]), abs(low - figure["centre"]))
        return {"cmap": CENTRED, "vmin": figure["centre"] - reach, "vmax": figure["centre"] + reach}
    return {"cmap": SURFACE, "norm": figure.get("zscale", "linear"), "vmin": low, "vmax": high}


def _draw_contours(axes, grid, figure: dict) -> None:
    """The line where a column has a level: a critical line of theory, or of the measurement itself."""
    ink = INK if "centre" in figure else "white"
    for k, entry in enumerate(listed(figure.get("contours"))):
        values = grid.pivot(index=figure["y"], columns=figure["x"], values=entry["column"])
        pen = {"colors": ink, "linestyles": [THEORY_DASHES[k % len(THEORY_DASHES)]], "linewidths": 1.0}
        axes.contour(values.columns, values.index, values, levels=[entry["level"]], **pen)
        label = entry.get("label", f"{entry['column']} = {entry['level']:g}")
        axes.plot([], [], color=GUIDE if ink == "white" else ink, linestyle=pen["linestyles"][0], label=label)


def _draw_paths(axes, rows, figure: dict, look) -> None:
    """One line a path, with a white seam against the map, its steps as dots and its start as a ring."""
    if not len(rows):
        return
    walk = {**figure, "x": figure["path_x"]}
    for strand in look.strands(rows, walk):
        for _, path in strand.rows.groupby("seed", sort=False):
            x, y = path[figure["path_x"]], path[figure["path_y"]]
            axes.plot(x, y, color="white", linewidth=2.2, marker="o", markersize=3.4, markeredgewidth=0)
            axes.plot(x, y, color=strand.colour, linewidth=1.0, marker="o", markersize=2.2, markeredgewidth=0)
            axes.plot(x.iloc[:1], y.iloc[:1], color=strand.colour, marker="o", markersize=5, markerfacecolor="white")


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={
        "x": column,
        "y": column,
        "z": column,
        "zlabel": text,
        "zscale": one_of("linear", "log"),
        "zlim": limits,
        "centre": number,
        "contours": either(mapping(column=column, level=number, label=text)),
        "path_x": column,
        "path_y": column,
        "path_hue": column,
        "path_step": column,
    },
    needs=("x", "y", "z"),
    interval=T_INTERVAL,
    sign="line",
    ratio=1.15,
)
