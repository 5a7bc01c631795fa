"""Checks of a figure's keys: check(value, columns of the table) -> what is wrong, or None."""

import math

from recurlab.experiment import suggest
from recurlab.rows import listed


def text(value, columns):
    """Any text."""
    return None if isinstance(value, str) else f"{value!r} is not a text"


def number(value, columns):
    """A finite number."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if fine else f"{value!r} is not a finite number"


def whole(value, columns):
    """A whole number of at least 1."""
    fine = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if fine else f"{value!r} is not a whole number >= 1"


def switch(value, columns):
    """True or false."""
    return None if isinstance(value, bool) else f"{value!r} is not true or false"


def column(value, columns):
    """The name of a column."""
    return None if value in list(columns) else f"{value!r} is no column of the table{suggest(value, columns)}"


def one_of(*choices):
    """One of a few words."""
    return lambda value, columns: None if value in choices else f"{value!r} is unknown{suggest(value, choices)}"


def scalar(value, columns):
    """A text, number or truth value, as a cell of a table is."""
    return None if isinstance(value, str | int | float) else f"{value!r} is not a text or number"


def limits(value, columns):
    """[low, high]."""
    fine = isinstance(value, list) and len(value) == 2 and not any(number(end, columns) for end in value)
    return None if fine and value[0] < value[1] else f"{value!r} is not [low, high]"


def texts(value, columns):
    """A mapping to texts."""
    fine = isinstance(value, dict) and all(isinstance(shown, str) for shown in value.values())
    return None if fine else f"{value!r} is not a mapping of raw values or column names to texts"


def per_column(value, columns):
    """A mapping of columns to a value or a list of values."""
    if not isinstance(value, dict) or any(isinstance(entry, dict) for entry in value.values()):
        return f"{value!r} is not a mapping of columns to values or lists of values"
    return next((wrong for name in value if (wrong := column(name, columns))), None)


def orders(value, columns):
    """A mapping of columns to lists of values."""
    if isinstance(value, dict) and not all(isinstance(values, list) for values in value.values()):
        return f"{value!r} has an order that is not a list"
    return per_column(value, columns)


def mapping(**checks):
    """A mapping with exactly these keys, `label` if one likes."""

    def check(value, columns):
        if not isinstance(value, dict) or not set(checks) - {"label"} <= set(value) <= set(checks):
            return f"{value!r} is not a mapping with the keys {', '.join(checks)}"
        return next((wrong for key, item in value.items() if (wrong := checks[key](item, columns))), None)

    return check


def either(*checks):
    """A value that one of the checks takes, or a list of such values."""

    def check(value, columns):
        for entry in listed(value):
            wrong = [each(entry, columns) for each in checks]
            if None not in wrong:
                return " and ".join(wrong)
        return None

    return check


REFERENCE = either(mapping(value=number, label=text))
THEORY = either(column, mapping(column=column, label=text))
RADIUS = either(number, column, mapping(value=number, label=text), mapping(column=column, label=text))
ESTIMATE = one_of("mean", "median", "share")
SCALE = one_of("linear", "log", "symlog")
# What an estimate over seeds is drawn by, in lines and points.
SERIES = {"x": column, "y": column, "hue": column, "style": column, "theory": THEORY, "estimate": ESTIMATE}

# Keys of every kind. `where` chooses rows, `row` and `col` make panels, `hue` tells lines apart.
COMMON = {
    "plot": text,
    "caption": text,
    "title": text,
    "where": per_column,
    "xlabel": text,
    "ylabel": text,
    "xscale": SCALE,
    "yscale": SCALE,
    "xlim": limits,
    "ylim": limits,
    "sharex": switch,
    "sharey": switch,
    "col": column,
    "row": column,
    "col_wrap": whole,
    "labels": texts,
    "order": orders,
    "hlines": REFERENCE,
    "vlines": REFERENCE,
    "width": one_of("single", "double"),
    "legend": one_of("top", "right", "none"),
}
