"""The key of a figure: one legend for all panels, or a colour bar where the hues are many ordered values."""

from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from recurlab.figures.kind import panels_by
from recurlab.figures.look import name_value, numeric, shown
from recurlab.figures.style import DASHES, GUIDE, LETTER

MANY = 7  # more ordered hues than this have a colour bar in place of legend entries
TICKS = 6  # labels such a colour bar has at most


def _line(colour, look, style):
    return Line2D([], [], color=colour, linestyle=look.dashes.get(style, DASHES[0]))


def _marker(colour, look, style):
    return Line2D([], [], color=colour, linestyle="none", marker=look.markers.get(style, "o"))


def _patch(colour, look, style):
    return Patch(facecolor=colour, linewidth=0)


SIGNS = {"line": _line, "marker": _marker, "patch": _patch}


def has_bar(look) -> bool:
    """Whether the hues are too many for entries."""
    return len(look.hues) > MANY and numeric(look.hues)


def entries(sign: str, look, figure: dict) -> dict:
    """text -> handle of each hue and style that the panels' titles do not tell already."""
    hue, style = (figure.get(key) if figure.get(key) not in panels_by(figure) else None for key in ("hue", "style"))
    found = {}
    if hue and not has_bar(look):
        for value in look.hues:
            found[shown(value, figure)] = SIGNS[sign](look.colours[value], look, value if style == hue else None)
    if style and style != hue:
        for value in look.styles:
            found[name_value(style, value, figure)] = SIGNS[sign](look.colours.get(None, GUIDE), look, value)
    return found


def heading(look, figure: dict) -> str | None:
    """The legend's title: the hue's name over bare numbers; names need none."""
    bare = "hue" in figure and figure["hue"] not in panels_by(figure) and numeric(look.hues) and not has_bar(look)
    return shown(figure["hue"], figure) if bare else None


def abreast(texts, width: float) -> int:
    """How many entries of these texts stand side by side in `width` inches."""
    widest = max(len(text) for text in texts) * LETTER + 0.42
    return max(1, min(len(texts), int(width / widest)))


def draw_legend(canvas, found: dict, title: str | None, place: str) -> None:
    """One legend above the panels or right of them."""
    where = {"top": "outside upper center", "right": "outside right upper"}[place]
    columns = abreast(found, canvas.get_figwidth()) if place == "top" else 1
    canvas.legend(list(found.values()), list(found), loc=where, ncols=columns, title=title)


def draw_hue_bar(canvas, look, figure: dict) -> None:
    """One swatch a hue, dark to light; at most TICKS of them are named."""
    count = len(look.hues)
    norm = BoundaryNorm([k - 0.5 for k in range(count + 1)], count)
    swatches = ScalarMappable(norm, ListedColormap([look.colours[hue] for hue in look.hues]))
    named = sorted({round(k * (count - 1) / (TICKS - 1)) for k in range(TICKS)})
    bar = canvas.colorbar(swatches, ax=canvas.axes, ticks=named, label=shown(figure["hue"], figure), aspect=30)
    bar.ax.set_yticklabels([shown(look.hues[k], figure) for k in named])
    bar.ax.tick_params(length=0, which="both")
    bar.outline.set_visible(False)
