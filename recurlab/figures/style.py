"""The one place for how figures look: sizes, type, colours, dashes. Data only; `canvas` hands it to matplotlib."""

WIDTHS = {"single": 3.4, "double": 7.0}  # inches: one and two columns of a journal page
LETTER = 0.066  # inches: mean width of a character at 8 pt, to break labels and to place the legend

# Okabe & Ito 2008, told apart by colour-blind readers; without their yellow, which is too light for a line on white.
# Wine and olive (Tol 2021) follow, so that eight cells have colours.
CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255", "#999933")
ORDERED = "viridis"  # ordered hues: perceptually uniform, lightness falls or rises throughout
SURFACE, CENTRED = "mako", "vlag"  # heat maps: from dark to light, or white at a centre
DASHES = ("-", (0, (4, 1.6)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
THEORY_DASHES = ((0, (3.5, 1.8)), (0, (1, 1.3)), (0, (5, 1.3, 1, 1.3)))
REFERENCE_DASHES = ((0, (1, 1.6)), (0, (7, 2)), (0, (7, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "0.15"  # theories
GUIDE = "0.55"  # reference lines and signs that stand for no colour
BAND = 0.22  # opacity of an interval

SETTINGS = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so the glyphs are the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.titlesize": 8,
    "figure.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.6,
    "ytick.minor.size": 1.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "patch.linewidth": 0.6,
    "axes.titlepad": 4,
    "axes.labelpad": 3,
    "legend.frameon": False,
    "legend.handlelength": 1.9,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.2,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # TrueType: text stays text in the PDF
    "svg.fonttype": "path",
    "svg.hashsalt": "recurlab",  # element ids follow from the drawing, not from a random salt
    "savefig.dpi": 300,
}
