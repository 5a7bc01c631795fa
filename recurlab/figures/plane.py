"""`plane`: points of the complex plane (eigenvalues) with the unit circle and the circle that a theory gives."""

import numpy as np

from recurlab.figures.keys import RADIUS, column, number
from recurlab.figures.kind import NO_INTERVAL, FigureKind, groups
from recurlab.figures.style import GUIDE, INK
from recurlab.rows import listed, refuse_empty

MANY = 2000  # points of a panel above which they are pixels at 300 dpi: 10^5 vector dots make a PDF slow to open


def circles(figure: dict) -> list[dict]:
    """Each circle beside the unit circle as {value or column, label}."""
    return [_circle(given) for given in listed(figure.get("circle")) if given != 1]


def _circle(given) -> dict:
    if not isinstance(given, dict):
        given = {"column": given} if number(given, ()) else {"value": given}
    name = given["column"].replace("_", " ") if "column" in given else f"radius {given['value']:g}"
    return {"label": name, **given}


def rows(frame, figure: dict):
    """The points as they are, with their seed and the radius columns."""
    radii = [circle["column"] for circle in circles(figure) if "column" in circle]
    wanted = list(dict.fromkeys([*groups(figure), "seed", figure["x"], figure["y"], *radii]))
    refuse_empty(frame, wanted)
    return frame[wanted].reset_index(drop=True)


def paint(axes, rows, figure: dict, look) -> None:
    """Dots, the unit circle and one circle for each radius; the axes are equal and centred on 0."""
    y = figure["y"]
    room = (72 * axes.figure.get_figwidth() / axes.get_subplotspec().get_gridspec().ncols) ** 2  # square points
    size = float(np.clip(0.1 * room / len(rows), 0.3, min(8.0, 0.0008 * room)))
    for strand in look.strands(rows, figure):
        dots = {
            "s": size,
            "color": strand.colour,
            "alpha": 0.6,
            "linewidth": 0,
            "zorder": 3,
            "rasterized": len(rows) > MANY,
        }
        axes.scatter(strand.x, strand.rows[y], **dots)
    reach = max(1.0, float(rows[[figure["x"], y]].abs().to_numpy().max()))
    _circle_line(axes, 1.0, "unit circle", color=GUIDE, linewidth=0.7)
    for circle in circles(figure):
        for radius in rows[circle["column"]].unique() if "column" in circle else [circle["value"]]:
            _circle_line(axes, radius, circle["label"], color=INK, linewidth=0.8, linestyle=(0, (3, 1.6)))
            reach = max(reach, radius)
    axes.set_aspect("equal")
    axes.update_datalim([(-reach, -reach), (reach, reach)])
    axes.autoscale_view()


def _circle_line(axes, radius: float, label: str, **pen) -> None:
    angle = np.linspace(0, 2 * np.pi, 361)
    axes.plot(radius * np.cos(angle), radius * np.sin(angle), label=label, **pen)


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={"x": column, "y": column, "hue": column, "circle": RADIUS},
    needs=("x", "y"),
    interval=NO_INTERVAL,
    sign="marker",
    ratio=1.0,
)
