"""`alignment`: a matrix of z, a row for each whole y from the top down, a column for each x, with texts at both.

For attention: source words along x, target words along y. Panels have texts of their own, so a figure with several of
them needs `sharex: false` and `sharey: false`.
"""

import numpy as np

from recurlab.figures.keys import column, limits, text
from recurlab.figures.kind import T_INTERVAL, FigureKind, panels_by
from recurlab.figures.style import SURFACE
from recurlab.rows import refuse_empty, summarise

UPRIGHT = 2  # letters at the x axis that have room beside one another; longer texts are turned


def rows(frame, figure: dict):
    """Mean of z over seeds at every x and y, and the texts there; one text a place in each panel."""
    names = [*panels_by(figure), figure["x"], figure["y"]]
    found = summarise(frame, names, figure["z"])
    for place, shown in _texts(figure):
        keys = [*panels_by(figure), place]
        refuse_empty(frame, [shown])
        texts = frame[[*keys, shown]].drop_duplicates()
        if texts.duplicated(keys).any():
            raise ValueError(f"column '{shown}' has two texts at one '{place}': narrow `where`")
        found = found.merge(texts, on=keys, how="left")
    return found


def paint(axes, rows, figure: dict, look):
    """The matrix with its texts; returns what the colour bar shows."""
    x, y = figure["x"], figure["y"]
    values = rows.pivot(index=y, columns=x, values=figure["z"])
    low, high = figure.get("zlim", look.span)
    mesh = axes.pcolormesh(values.to_numpy(dtype=float), cmap=SURFACE, vmin=low, vmax=high, rasterized=True)
    across, down = (rows.drop_duplicates(place).sort_values(place)[shown] for place, shown in _texts(figure))
    axes.set_xticks(np.arange(len(across)) + 0.5, across)
    for label in axes.get_xticklabels():
        label.set_rotation(90 if len(label.get_text()) > UPRIGHT else 0)
    axes.set_yticks(np.arange(len(down)) + 0.5, down)
    axes.tick_params(length=0)
    axes.set(xlim=(0, len(across)), ylim=(len(down), 0))
    return mesh


def _texts(figure: dict):
    """(places, texts) of the columns and of the rows."""
    return (figure["x"], figure["x_text"]), (figure["y"], figure["y_text"])


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={"x": column, "y": column, "z": column, "x_text": column, "y_text": column, "zlabel": text, "zlim": limits},
    needs=("x", "y", "z", "x_text", "y_text"),
    interval=T_INTERVAL,
    sign="patch",
    ratio=1.0,
    named=True,
)
