"""How the values of a figure's columns are shown: their order, colour, dashes, marker, place and text."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from recurlab.figures.canvas import darker, sequential
from recurlab.figures.style import CATEGORIES, DASHES, MARKERS


class Strand(NamedTuple):
    """The rows of one hue and style in one panel, where they stand on the x axis, and how they are drawn."""

    rows: object
    x: np.ndarray | None
    colour: object
    shade: object
    dashes: object
    marker: str


class Look(NamedTuple):
    """The shown form of every hue, style and name on the x axis, the same in all panels of a figure.

    colours, dashes, markers: value -> form. places: name -> position, empty for an axis of numbers. span: (smallest,
    largest) finite z of a surface.
    """

    hues: list
    colours: dict
    styles: list
    dashes: dict
    markers: dict
    places: dict
    span: tuple

    def strands(self, rows, figure: dict, dodge: float = 0.0) -> Iterator[Strand]:
        """The lines of a panel in legend order; at names on the x axis they stand side by side over a width `dodge`."""
        parts = self._parts(rows, figure)
        for k, (hue, style, part) in enumerate(parts):
            aside = dodge * ((k + 0.5) / len(parts) - 0.5) if self.places else 0.0
            x = self.place(part[figure["x"]]) + aside if "x" in figure else None
            colour = self.colours[hue]
            yield Strand(part, x, colour, darker(colour), self.dashes[style], self.markers[style])

    def _parts(self, rows, figure: dict) -> list[tuple]:
        """(hue, style, rows) of each pair that the panel has."""
        found = []
        for hue, style in product(self.hues, self.styles):
            part = rows
            for key, value in (("hue", hue), ("style", style)):
                part = part[part[figure[key]] == value] if key in figure else part
            found += [(hue, style, part)] if len(part) else []
        return found

    def place(self, values) -> np.ndarray:
        """Positions on the x axis: numbers are their own, names stand at 0, 1, 2 …"""
        return np.array([self.places[value] for value in values] if self.places else values, dtype=float)

    def names(self, figure: dict) -> list[str]:
        """The shown texts of the names on the x axis."""
        return [shown(name, figure) for name in self.places]


def look_of(rows, figure: dict, named: bool = False) -> Look:
    """The look of the values that `rows` holds; `named`: numbers on the x axis stand at 0, 1, 2 … as names do."""
    hues, styles = ordered(rows, figure, figure.get("hue")), ordered(rows, figure, figure.get("style"))
    names = ordered(rows, figure, figure.get("x"))
    places = names != [None] and (named or not numeric(names))
    return Look(
        hues=hues,
        colours=dict(zip(hues, colours(hues), strict=True)),
        styles=styles,
        dashes=_cycle(styles, DASHES),
        markers=_cycle(styles, MARKERS),
        places={name: k for k, name in enumerate(names)} if places else {},
        span=_span(rows[figure["z"]]) if "z" in figure else (),
    )


def _span(values) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return float(finite.min()), float(finite.max())


def _cycle(values: list, forms: tuple) -> dict:
    return {value: forms[k % len(forms)] for k, value in enumerate(values)}


def ordered(rows, figure: dict, column: str | None) -> list:
    """The values of a column: as `order` has them, else numbers ascending and names as they come in the table.

    [None] for no column. Raises ValueError if `order` leaves out a value that is plotted.
    """
    if column is None:
        return [None]
    values = list(dict.fromkeys(rows[column].dropna().tolist()))
    wanted = figure.get("order", {}).get(column)
    if wanted is None:
        return sorted(values) if numeric(values) else values
    missing = [value for value in values if value not in wanted]
    if missing:
        raise ValueError(f"order of '{column}' leaves out {', '.join(map(repr, missing))}")
    return [value for value in wanted if value in values]


def numeric(values) -> bool:
    """Whether all values are numbers, which have an order (booleans are names)."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def colours(values: list) -> list:
    """Three or more numbers, or more names than the palette has: dark to light; otherwise one colour a name."""
    if (numeric(values) and len(values) > 2) or len(values) > len(CATEGORIES):
        return sequential(len(values))
    return list(CATEGORIES[: len(values)])


def shown(value, figure: dict) -> str:
    """The text for a raw value or a column's name: from `labels`, else itself with blanks for underscores."""
    labels = figure.get("labels", {})
    if value in labels:
        return labels[value]
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")


def name_value(column: str, value, figure: dict) -> str:
    """'gain = 0.9' for a number, the text alone for a name or a value that `labels` renames."""
    if numeric([value]) and value not in figure.get("labels", {}):
        return f"{shown(column, figure)}\u00a0=\u00a0{shown(value, figure)}"  # no line break at the sign
    return shown(value, figure)
