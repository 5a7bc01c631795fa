"""`shares`: proportions against x with 95 % Wilson bands, or stacked so that they add up to the whole."""

from recurlab.figures.keys import column, switch
from recurlab.figures.kind import WILSON, FigureKind, groups, in_lines
from recurlab.figures.style import BAND
from recurlab.rows import summarise


def rows(frame, figure: dict):
    """Share of y at each x of each line: mean over seeds of 0/1 or of shares, with its Wilson interval."""
    x, y = figure["x"], figure["y"]
    if figure.get("stacked", False) and "hue" not in figure:
        raise ValueError("stacked shares need a hue: the parts of the whole")
    return in_lines(summarise(frame, [*groups(figure), x], y, estimate="share"), figure, x)


def paint(axes, rows, figure: dict, look) -> None:
    """Lines with bands, or areas on top of each other (which have no room for bands: they are in the rows)."""
    x, y = figure["x"], figure["y"]
    if figure.get("stacked", False):
        parts = rows.pivot(index=x, columns=figure["hue"], values=y).fillna(0.0)
        hues = [hue for hue in look.hues if hue in parts]
        areas = [parts[hue] for hue in hues]
        axes.stackplot(parts.index, areas, colors=[look.colours[hue] for hue in hues], alpha=0.85, linewidth=0)
        axes.margins(x=0)
        axes.set_ylim(0, 1)
    else:
        for strand in look.strands(rows, figure):
            part = strand.rows
            axes.fill_between(strand.x, part["low"], part["high"], color=strand.colour, alpha=BAND, linewidth=0)
            axes.plot(strand.x, part[y], color=strand.colour, linestyle=strand.dashes)
        axes.margins(x=0.02)
        axes.set_ylim(-0.02, 1.02)


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={"x": column, "y": column, "hue": column, "style": column, "stacked": switch},
    needs=("x", "y"),
    interval=WILSON,
    sign="patch",
)
