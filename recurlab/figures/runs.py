"""`runs`: times to solve, one mark a seed, open where the run was cut off at its budget, and their median."""

import numpy as np
import pandas

from recurlab.figures.keys import column
from recurlab.figures.kind import FigureKind, groups
from recurlab.figures.points import DODGE, name_ticks
from recurlab.figures.style import GUIDE, INK
from recurlab.rows import refuse_empty

WIDE = 0.7  # share of its place over which the seeds of one hue spread
INTERVAL = "none: one mark a seed; the bar is the median over seeds, a run that was cut off counted at its own y"


def rows(frame, figure: dict):
    """Every run (part 'run'), then the median of each place and hue with its share of successes and seeds n.

    Raises ValueError for two rows of one seed in one place, or successes other than 0 and 1.
    """
    places, y, solved = list(dict.fromkeys([*groups(figure), figure["x"]])), figure["y"], figure["solved"]
    refuse_empty(frame, [*places, y, solved])
    if not frame[solved].isin([0, 1]).all():
        raise ValueError(f"column '{solved}' has values other than 0 and 1: it does not tell which runs succeeded")
    if frame.duplicated([*places, "seed"]).any():
        raise ValueError(f"several rows of one seed at one {', '.join(places)}: a run is one mark, narrow `where`")
    runs = frame[[*places, "seed", y, solved]].assign(part="run")
    medians = runs.groupby(places, sort=False).agg(**{y: (y, "median"), solved: (solved, "mean"), "n": (y, "count")})
    return pandas.concat([runs, medians.reset_index().assign(part="median")], ignore_index=True)


def paint(axes, rows, figure: dict, look) -> None:
    """The marks of a hue side by side in the order of their seeds, and the medians as short bars."""
    strands = list(look.strands(rows, figure, DODGE))
    width = WIDE * DODGE / max(len(strands), 1)  # a panel of settings that were not run is empty
    for strand in strands:
        own, pen = strand.rows, {"color": strand.colour, "marker": strand.marker, "linestyle": "none"}
        for success, fill in ((1, strand.colour), (0, "white")):
            marks = ((own["part"] == "run") & (own[figure["solved"]] == success)).to_numpy()
            x = strand.x[marks] + width * _aside(own, figure["x"])[marks]
            axes.plot(x, own[figure["y"]][marks], markerfacecolor=fill, markeredgewidth=0.8, **pen)
        bars = (own["part"] == "median").to_numpy()
        reach = width / 2 + 0.04
        axes.hlines(own[figure["y"]][bars], strand.x[bars] - reach, strand.x[bars] + reach, color=INK, linewidth=1.1)
    empty = {"color": GUIDE, "marker": "o", "linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 0.8}
    axes.plot([], [], label="not solved", **empty)
    axes.plot([], [], color=INK, linewidth=1.1, label="median")
    name_ticks(axes, look.names(figure))


def _aside(rows, x: str) -> np.ndarray:
    """Where in its place each row stands, (rows,) from -1/2 to 1/2 in the order of seeds; medians are not moved."""
    rank = rows.groupby(x)["seed"].rank(method="first")
    count = rows.groupby(x)["seed"].transform("count")
    return np.nan_to_num((rank - (count + 1) / 2) / np.maximum(count - 1, 1))


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={"x": column, "y": column, "hue": column, "style": column, "solved": column},
    needs=("x", "y", "solved"),
    interval=INTERVAL,
    sign="marker",
    named=True,
)
