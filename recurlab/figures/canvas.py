"""matplotlib under the house style: figures that leave no global state, and bytes that depend on the drawing alone."""

import contextlib
import io

import matplotlib
import seaborn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recurlab.figures.style import ORDERED, SETTINGS


@contextlib.contextmanager
def house_style():
    """Draw with the house settings only, whatever matplotlib is set to outside; the outside is put back."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**seaborn.axes_style("ticks"), **SETTINGS})
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches on the Agg canvas, known to no pyplot."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def sequential(count: int) -> list[tuple]:
    """`count` colours of rising lightness for ordered values, none of them too light for a line on white."""
    ramp = matplotlib.colormaps[ORDERED]
    return [ramp(0.04 + 0.82 * k / max(count - 1, 1)) for k in range(count)]


def darker(colour) -> tuple:
    """The colour at 60 % of its lightness: a theory beside the measurement it belongs to."""
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return 0.6 * red, 0.6 * green, 0.6 * blue


def render(figure: Figure, form: str, title: str, caption: str) -> bytes:
    """The picture as 'pdf', 'svg' or 'png': title and caption inside, no date, no name of a program or its version."""
    about = {
        "pdf": {"Title": title, "Subject": caption, "CreationDate": None, "Producer": None, "Creator": None},
        "svg": {"Title": title, "Description": caption, "Date": None, "Creator": None},
        "png": {"Title": title, "Description": caption, "Software": None},
    }
    target = io.BytesIO()
    figure.savefig(target, format=form, metadata=about[form])
    return target.getvalue()
