"""`curves`: exact results without an interval (bifurcation diagrams, closed forms), one curve a hue."""

from recurlab.figures.keys import column
from recurlab.figures.kind import NO_INTERVAL, FigureKind, groups, in_lines
from recurlab.rows import refuse_empty


def rows(frame, figure: dict):
    """The points of every curve in order of `along` (default x; a curve that folds back needs its own parameter).

    Raises ValueError if two rows differ at one place of one curve: such a result has a spread and needs `lines`.
    """
    along = figure.get("along", figure["x"])
    line = list(dict.fromkeys([*(figure[key] for key in ("row", "col", "hue") if key in figure), along]))
    refuse_empty(frame, line)
    points = frame[list(dict.fromkeys([*groups(figure), along, figure["x"], figure["y"]]))].drop_duplicates()
    twice = points.duplicated(line, keep=False)
    if twice.any():
        raise ValueError(f"{int(twice.sum())} rows differ at the same {', '.join(line)}: curves are exact, use `lines`")
    figure = {key: value for key, value in figure.items() if key != "style"}  # a curve goes on where its style changes
    return in_lines(points, figure, along).reset_index(drop=True)


def paint(axes, rows, figure: dict, look) -> None:
    """A line for each hue; its dashes follow the style column along the curve (stable, unstable)."""
    for hue in look.hues:
        curve = rows[rows[figure["hue"]] == hue] if "hue" in figure else rows
        for style, piece in _pieces(curve, figure.get("style")):
            axes.plot(piece[figure["x"]], piece[figure["y"]], color=look.colours[hue], linestyle=look.dashes[style])


def _pieces(curve, column: str | None):
    """(style, rows) of each stretch of one style, up to and including the first point of the next."""
    if column is None:
        return [(None, curve)]
    styles = curve[column].to_numpy()
    starts = [0, *(k for k in range(1, len(styles)) if styles[k] != styles[k - 1])]
    ends = [*starts[1:], len(styles) - 1]
    return [(styles[start], curve.iloc[start : end + 1]) for start, end in zip(starts, ends, strict=True)]


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={"x": column, "y": column, "hue": column, "style": column, "along": column},
    needs=("x", "y"),
    interval=NO_INTERVAL,
    sign="line",
)
