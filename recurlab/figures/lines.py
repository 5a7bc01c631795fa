"""`lines`: a mean (median, share) over seeds against x with its 95 % band, and theories on the same axes."""

from recurlab.figures.keys import SERIES, scalar
from recurlab.figures.kind import T_INTERVAL, FigureKind, groups, in_lines, theories
from recurlab.figures.overlay import draw_theories
from recurlab.figures.style import BAND
from recurlab.rows import summarise


def rows(frame, figure: dict):
    """The `estimate` of y with its interval at each x of each line, and the theories there."""
    also = [name for name, _ in theories(figure)]
    summary = summarise(frame, [*groups(figure), figure["x"]], figure["y"], also, figure.get("estimate", "mean"))
    return in_lines(summary, figure, figure["x"])


def paint(axes, rows, figure: dict, look) -> None:
    """A line and a band for each hue and style, theories over them."""
    for strand in look.strands(rows, figure):
        part = strand.rows
        axes.fill_between(strand.x, part["low"], part["high"], color=strand.colour, alpha=BAND, linewidth=0)
        axes.plot(strand.x, part[figure["y"]], color=strand.colour, linestyle=strand.dashes)
    draw_theories(axes, rows, figure, look)
    axes.margins(x=0.02)


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={**SERIES, "behind": scalar},
    needs=("x", "y"),
    interval=T_INTERVAL,
    sign="line",
)
