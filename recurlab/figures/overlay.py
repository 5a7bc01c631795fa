"""What is drawn over or behind a panel's data: theories, another panel's lines and reference lines.

Each has one entry in the legend.
"""

from recurlab.figures.kind import theories
from recurlab.figures.style import GUIDE, INK, REFERENCE_DASHES, THEORY_DASHES
from recurlab.rows import listed

SAME = 1e-9  # relative: theories of two lines that differ by less are one theory


def draw_theories(axes, rows, figure: dict, look, dodge: float = 0.0) -> None:
    """Each theory against x: black where all lines share it, else in a darker shade of the colour of its own line.

    At names on the x axis a theory is a short bar over the markers that it is about.
    """
    for k, (column, label) in enumerate(theories(figure)):
        pen = {"linestyle": THEORY_DASHES[k % len(THEORY_DASHES)], "linewidth": 0.9}
        own = _differs(rows, figure["x"], column) or _partial(look.strands(rows, figure), column)
        strands = list(look.strands(rows, figure, dodge if own else 0.0))
        for strand in strands:
            ink = strand.shade if own else INK
            if look.places:
                reach = dodge / 2 / len(strands) if own else 0.42
                axes.hlines(strand.rows[column], strand.x - reach, strand.x + reach, color=ink, zorder=4, **pen)
            else:
                axes.plot(strand.x, strand.rows[column], color=ink, zorder=4, **pen)
        axes.plot([], [], color=INK, label=label, **pen)


def _differs(rows, x: str, column: str) -> bool:
    """Whether the theory of two lines differs at some x."""
    values = rows.groupby(x)[column]
    spread = (values.max() - values.min()).max()
    return bool(spread > SAME * rows[column].abs().max())


def _partial(strands, column: str) -> bool:
    """Whether only some of the lines have a theory."""
    known = [bool(strand.rows[column].notna().any()) for strand in strands]
    return any(known) and not all(known)


def draw_behind(axes, rows, figure: dict, look, label: str) -> None:
    """The lines of the panel `behind` in grey, to hold those of another panel against: means alone, without bands."""
    for strand in look.strands(rows, figure):
        pen = {"color": GUIDE, "linestyle": strand.dashes, "linewidth": 0.9, "zorder": 1.5}
        axes.plot(strand.x, strand.rows[figure["y"]], label=label, **pen)


def draw_references(axes, figure: dict) -> None:
    """The grey lines of `hlines` and `vlines`, behind the data; one without a label looks like the one before it."""
    marks = [(axes.axhline, entry) for entry in listed(figure.get("hlines"))]
    marks += [(axes.axvline, entry) for entry in listed(figure.get("vlines"))]
    form = -1
    for k, (draw, entry) in enumerate(marks):
        form += k == 0 or "label" in entry
        dashes = REFERENCE_DASHES[form % len(REFERENCE_DASHES)]
        draw(entry["value"], color=GUIDE, ls=dashes, lw=0.9, zorder=0.5, label=entry.get("label", "_nolegend_"))
