"""`histogram`: the density of y with its 95 % band over seeds, and the density that a theory gives."""

import numpy as np
import pandas

from recurlab.figures.keys import column, one_of, whole
from recurlab.figures.kind import FigureKind, groups, panels_by
from recurlab.figures.style import BAND, INK, THEORY_DASHES
from recurlab.rows import refuse_empty, summarise

GRID = 401  # points at which an analytic density is drawn


def uniform(u):
    """1 on [0, 1]: |λ|² of the circular law."""
    return np.ones_like(u)


def disc_radius(r):
    """2 r on [0, 1]: |λ| of the circular law."""
    return 2 * r


def quarter_circle(s):
    """√(4 - s²)/π on [0, 2]: singular values of a square Gaussian matrix of variance 1/N (Marchenko & Pastur 1967)."""
    return np.sqrt(4 - s**2) / np.pi


def semicircle(x):
    """√(4 - x²)/2π on [-2, 2]: eigenvalues of a symmetric Gaussian matrix of variance 1/N (Wigner 1958)."""
    return np.sqrt(4 - x**2) / (2 * np.pi)


def normal(x):
    """exp(-x²/2)/√(2π)."""
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


# name -> (density, first and last point drawn, text in the legend)
DENSITIES = {
    "uniform": (uniform, 0.0, 1.0, "uniform"),
    "disc_radius": (disc_radius, 0.0, 1.0, "2r"),
    "quarter_circle": (quarter_circle, 0.0, 2.0, "quarter circle"),
    "semicircle": (semicircle, -2.0, 2.0, "semicircle"),
    "normal": (normal, -4.0, 4.0, "normal"),
}


def density(value, columns):
    """The name of an analytic density, or the pair [column of places, column of densities]."""
    if isinstance(value, list) and len(value) == 2:
        return next((wrong for name in value if (wrong := column(name, columns))), None)
    return one_of(*DENSITIES)(value, columns)


def rows(frame, figure: dict):
    """Bins (left, right, density, low, high, n) of each panel and hue, then the theory's points (left = right)."""
    measured = _bins(frame, figure).assign(part="measured")
    return pandas.concat([measured, *_theory(frame, figure)], ignore_index=True)


def _bins(frame, figure: dict):
    """Density of y in each bin: of each seed's values first, then mean and t interval over seeds.

    Values outside `xlim` are in no bin but count in the total, so the densities are those of the whole sample.
    """
    frame = frame[np.isfinite(frame[figure["y"]].astype(float))]
    names = [*groups(figure), "seed"]
    refuse_empty(frame, names)
    values = frame[figure["y"]].to_numpy(dtype=float)
    edges = np.linspace(*figure.get("xlim", (values.min(), values.max())), figure.get("bins", 40) + 1)
    parts = []
    for key, index in frame.groupby(names, sort=False).indices.items():
        height = np.histogram(values[index], edges)[0] / (len(index) * np.diff(edges))
        cell = dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True))
        parts.append(pandas.DataFrame({**cell, "left": edges[:-1], "right": edges[1:], "density": height}))
    return summarise(pandas.concat(parts, ignore_index=True), [*names, "left", "right"], "density")


def _theory(frame, figure: dict) -> list:
    """The theory's rows: an analytic density on a grid in every panel, or the finite rows of its two columns."""
    wanted, names = figure.get("density"), panels_by(figure)
    if wanted is None:
        return []
    if isinstance(wanted, str):
        formula, first, last, _ = DENSITIES[wanted]
        grid = np.linspace(first, last, GRID)
        points = pandas.DataFrame({"left": grid, "right": grid, "density": formula(grid)})
        return [(frame[names].drop_duplicates().merge(points, how="cross") if names else points).assign(part="theory")]
    place, height = wanted
    points = frame.loc[frame[place].notna() & frame[height].notna(), [*names, place, height]]
    points = points.groupby([*names, place], as_index=False)[height].mean()
    return [points.rename(columns={place: "left", height: "density"}).assign(right=points[place], part="theory")]


def paint(axes, rows, figure: dict, look) -> None:
    """Steps with a band for each hue, the theory over them; wide bands of few seeds do not stretch the y axis."""
    strands = list(look.strands(rows[rows["part"] == "measured"], figure))
    for strand in strands:
        axes.stairs(strand.rows["density"], _edges(strand.rows), color=strand.colour, linewidth=1.0)
    theory = rows[rows["part"] == "theory"]
    if len(theory):
        label = _theory_label(figure["density"])
        axes.plot(theory["left"], theory["density"], color=INK, linestyle=THEORY_DASHES[0], linewidth=0.9, label=label)
    limits = axes.dataLim.frozen()
    for strand in strands:
        low, high = (strand.rows[end].fillna(strand.rows["density"]) for end in ("low", "high"))  # one seed: no band
        band = {"color": strand.colour, "alpha": BAND, "linewidth": 0, "zorder": 0.8}
        axes.stairs(high, _edges(strand.rows), baseline=low, fill=True, **band)
    axes.dataLim.set(limits)
    axes.margins(x=0.02, y=0.25)


def _edges(rows) -> list:
    return [*rows["left"], rows["right"].iloc[-1]]


def _theory_label(wanted) -> str:
    return DENSITIES[wanted][-1] if isinstance(wanted, str) else wanted[1].replace("_", " ")


KIND = FigureKind(
    rows=rows,
    paint=paint,
    keys={"y": column, "hue": column, "bins": whole, "density": density},
    needs=("y",),
    interval="density of each seed's values, mean over seeds with the 95 % Student t interval over seeds",
    sign="line",
    x_axis="y",
    y_text="density",
)
