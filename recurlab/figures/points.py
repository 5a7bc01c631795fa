"""`points`: means (medians, shares) over seeds with 95 % error bars, at names or at numbers."""

import numpy as np

from recurlab.figures.keys import SERIES, switch
from recurlab.figures.kind import T_INTERVAL, FigureKind
from recurlab.figures.lines import rows
from recurlab.figures.overlay import draw_theories
from recurlab.figures.style import LETTER

DODGE = 0.6  # share of the distance between two names over which the hues spread


def paint(axes, rows, figure: dict, look) -> None:
    """A marker with its error bar for each row; `join: true` draws lines through them.

    `named: true` sets numbers on the x axis at equal distances with the hues side by side: bars that would coincide.
    """
    bar = {"elinewidth": 0.9, "capsize": 1.8, "capthick": 0.9, "linewidth": 0.9}
    for strand in look.strands(rows, figure, DODGE):
        y = strand.rows[figure["y"]].to_numpy()
        reach = np.nan_to_num(np.abs(strand.rows[["low", "high"]].to_numpy().T - y))  # one seed: no bar
        line = strand.dashes if figure.get("join", False) else "none"
        axes.errorbar(strand.x, y, yerr=reach, color=strand.colour, marker=strand.marker, linestyle=line, **bar)
    draw_theories(axes, rows, figure, look, DODGE)
    if look.places:
        name_ticks(axes, look.names(figure))


def name_ticks(axes, names: list[str]) -> None:
    """A tick a name; slanted if side by side they would run into each other."""
    across = axes.get_subplotspec().get_gridspec().ncols
    room = 0.8 * axes.figure.get_figwidth() / across
    slanted = (max(map(len, names)) + 2) * LETTER * len(names) > room
    slant = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(names)), names, **slant)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(names) - 0.5)


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={**SERIES, "join": switch, "named": switch},
    needs=("x", "y"),
    interval=T_INTERVAL,
    sign="marker",
)
