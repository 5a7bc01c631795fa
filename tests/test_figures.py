"""Figures: every kind draws, the CSV holds the plotted rows, bytes are reproducible, mistakes are named."""

import hashlib
import json
import os
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recurlab.figures import FIGURES, check, draw, table_digest
from recurlab.figures.style import GUIDE

FORMATS = ("pdf", "svg", "png")
LAGS = np.arange(0, 40, 4)


def decay_table():
    """log gradient norms of three gains and two cells, with the theory lag · log g."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"cell": cell, "gain": gain, "seed": seed, "lag": LAGS, "theory": LAGS * np.log10(gain)})
        for cell in ("rnn_tanh", "lstm")
        for gain in (0.5, 0.9, 1.1)
        for seed in range(4)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["norm"] = frame["theory"] * (frame["cell"] == "rnn_tanh") + rng.normal(0, 0.3, len(frame))
    frame["solved"] = rng.integers(0, 2, len(frame))
    frame.attrs["units"] = {"lag": "steps; distance from the loss", "norm": "1; log₁₀ gradient norm"}
    return frame


def eigenvalue_table():
    rng = np.random.default_rng(1)
    parts = []
    for name, scale in (("gaussian", 1.0), ("uniform", 3**-0.5), ("half", 0.5)):
        for seed in range(2):
            values = np.linalg.eigvals(rng.normal(0, scale / 4, (16, 16)))
            cells = {"init_name": name, "hidden_size": 16, "seed": seed, "radius": scale}
            parts.append(
                pd.DataFrame({**cells, "real": values.real, "imaginary": values.imag, "area": abs(values) ** 2})
            )
    return pd.concat(parts, ignore_index=True)


def surface_table():
    """z = w² + b² on a grid, and two paths downhill whose rows are out of order."""
    w, b = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 7)))
    grid = pd.DataFrame({"quantity": "surface", "w": w, "b": b, "z": w**2 + b**2 + 0.01, "step": -1})
    at = np.arange(5)[::-1]
    paths = [
        pd.DataFrame({"quantity": name, "w": 0.9 * rate**at, "b": 0.5 * rate**at, "step": at})
        for name, rate in (("plain", 0.5), ("clipped", 0.8))
    ]
    return pd.concat([grid, *paths], ignore_index=True).assign(seed=0)


def bifurcation_table():
    """x = 5 σ(x) + b: stable, unstable, stable along one curve that folds back."""
    state = np.linspace(-3, 3, 61)
    s = 1 / (1 + np.exp(-state))
    stable = np.where(5 * s * (1 - s) < 1, "stable", "unstable")
    return pd.DataFrame({"b": state - 5 * s, "state": state, "stability": stable, "weight": 5.0, "seed": 0})


def times_table():
    """Updates to solve, the budget of 8,000 where a run fails: seed 3 of the LSTM at 100, every tanh network at 200."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        [(c, t, s) for c in ("lstm", "rnn_tanh") for t in (200, 50, 100) for s in range(6)],
        columns=["cell", "length", "seed"],
    )
    frame["updates"] = rng.integers(1000, 7000, len(frame)) * 1.0
    failed = frame.eval("cell == 'lstm' and length == 100 and seed == 3 or cell == 'rnn_tanh' and length == 200")
    return frame.assign(updates=frame["updates"].mask(failed, 8000), solved=1 - failed.astype(int))


def weights_table():
    """Weights of three source words for two target words, of two seeds, in two panels with words of their own."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        [
            (task, s, row, column)
            for task in ("copy", "numbers")
            for s in range(2)
            for row in range(2)
            for column in range(3)
        ],
        columns=["task", "seed", "row", "column"],
    )
    words = {"copy": "abc", "numbers": ("drei", "und", "drei")}
    frame["source"] = [words[task][column] for task, column in zip(frame["task"], frame["column"], strict=True)]
    frame["target"] = frame["row"].map({0: "x", 1: "y"})
    return frame.assign(weight=rng.uniform(size=len(frame)))


# kind -> (table, figure): one of each, with facets, hues, theories or paths
SAMPLES = {
    "lines": (decay_table, {"x": "lag", "y": "norm", "hue": "gain", "col": "cell", "theory": "theory"}),
    "points": (decay_table, {"x": "cell", "y": "norm", "hue": "gain", "where": {"lag": 36}, "theory": "theory"}),
    "plane": (eigenvalue_table, {"x": "real", "y": "imaginary", "col": "init_name", "circle": "radius"}),
    "histogram": (eigenvalue_table, {"y": "area", "hue": "init_name", "bins": 8, "density": "uniform"}),
    "surface": (
        surface_table,
        {"x": "w", "y": "b", "z": "z", "zscale": "log", "path_x": "w", "path_y": "b"}
        | {"path_hue": "quantity", "path_step": "step"},
    ),
    "shares": (decay_table, {"x": "lag", "y": "solved", "hue": "cell"}),
    "runs": (
        times_table,
        {"x": "length", "y": "updates", "hue": "cell", "solved": "solved"}
        | {"hlines": {"value": 8000, "label": "budget"}},
    ),
    "curves": (
        bifurcation_table,
        {"x": "b", "y": "state", "hue": "weight", "style": "stability", "along": "state"}
        | {"vlines": [{"value": -2.655610, "label": "saddle-nodes"}, {"value": -2.344390}]},
    ),
    "alignment": (
        weights_table,
        {"x": "column", "y": "row", "z": "weight", "x_text": "source", "y_text": "target", "col": "task"}
        | {"sharex": False, "sharey": False},
    ),
}


def sample(kind, **change):
    table, figure = SAMPLES[kind]
    return table(), {"plot": kind, "caption": f"What {kind} shows.", **figure, **change}


def plotted(kind, **change):
    """The rows that a sample figure plots."""
    table, figure = sample(kind, **change)
    chosen = table[table["lag"] == 36] if "where" in figure else table
    return FIGURES[kind].rows(chosen, figure)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# files


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """kind -> the files of its sample figure, called 'name', drawn once."""
    record = {"experiment": "decay", "table": {"table.parquet": "sum"}}
    return {kind: draw("name", *sample(kind)[::-1], tmp_path_factory.mktemp(kind), record) for kind in FIGURES}


@pytest.mark.parametrize("kind", FIGURES)
def test_draws_pictures_rows_and_facts(kind, drawn):
    table, figure = sample(kind)
    paths = drawn[kind]
    assert check(figure, table.columns) == []
    assert [path.name for path in paths] == [f"name.{form}" for form in (*FORMATS, "csv", "json")]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)  # no temporary file is left
    heads = (b"%PDF", b"<?xml", b"\x89PNG")
    assert all(path.read_bytes().startswith(head) for path, head in zip(paths, heads, strict=False))
    facts = json.loads(paths[-1].read_text())
    assert facts["checksums"] == {path.name: sha256(path) for path in paths[:-1]}
    assert facts["caption"] == figure["caption"] and facts["figure"] == figure
    assert (facts["experiment"], facts["table"]) == ("decay", {"table.parquet": "sum"})
    assert facts["interval"] == FIGURES[kind].interval
    assert facts["seeds_drawn"] == table["seed"].nunique()


@pytest.mark.parametrize("kind", FIGURES)
def test_csv_is_what_is_plotted(kind, drawn):
    written = pd.read_csv(drawn[kind][3])
    pd.testing.assert_frame_equal(written, plotted(kind).reset_index(drop=True), check_dtype=False, check_exact=True)


def test_the_caption_stands_in_the_pictures(drawn):
    assert all(b"What lines shows." in path.read_bytes() for path in drawn["lines"][:3])


def test_a_table_is_known_by_its_contents():
    table = decay_table()
    same = [table, table.reset_index(drop=True), table.astype({"cell": "category"})]
    assert len({table_digest(frame) for frame in same}) == 1
    assert (
        len({table_digest(frame) for frame in (table, table.assign(seed=0), table.rename(columns={"lag": "k"}))}) == 3
    )


def test_values_that_are_not_finite_are_counted(tmp_path):
    table, figure = sample("lines")
    table.loc[[3, 5], "norm"] = [np.nan, -np.inf]
    draw("name", figure, table, tmp_path, {})
    facts = json.loads((tmp_path / "name.json").read_text())
    assert (facts["rows_without_finite_value"], facts["n"]) == (2, {"least": 3, "most": 4})


# rows


def test_lines_are_means_with_t_intervals():
    rows = plotted("lines")
    assert len(rows) == 2 * 3 * len(LAGS)
    row = rows[(rows["cell"] == "lstm") & (rows["gain"] == 0.9) & (rows["lag"] == 12)].iloc[0]
    table = decay_table().query("cell == 'lstm' and gain == 0.9 and lag == 12")
    low, high = stats.t.interval(0.95, 3, table["norm"].mean(), stats.sem(table["norm"]))
    np.testing.assert_allclose([row["norm"], row["low"], row["high"]], [table["norm"].mean(), low, high], rtol=1e-12)
    assert (row["n"], row["theory"]) == (4, pytest.approx(12 * np.log10(0.9), rel=1e-12))


def test_rows_of_a_seed_count_once():
    table, figure = sample("lines")
    figure = {key: value for key, value in figure.items() if key not in ("hue", "col", "theory")}
    rows = FIGURES["lines"].rows(table, figure)
    assert rows["n"].unique().tolist() == [4]  # four seeds, of six rows each at every lag


def test_shares_have_wilson_bands():
    rows = plotted("shares")
    solved = decay_table().query("cell == 'lstm' and lag == 8").groupby("seed")["solved"].mean()
    row = rows[(rows["cell"] == "lstm") & (rows["lag"] == 8)].iloc[0]
    assert row["solved"] == pytest.approx(solved.mean())
    p, z, n = solved.mean(), stats.norm.ppf(0.975), 4
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(p + z**2 / (2 * n) - half) / (1 + z**2 / n), (p + z**2 / (2 * n) + half) / (1 + z**2 / n)]
    np.testing.assert_allclose(row[["low", "high"]].astype(float), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["lines", "points"])
def test_a_share_has_the_wilson_interval_of_the_shares(kind, tmp_path):
    figure = {"plot": kind, "caption": "C", "x": "lag", "y": "solved", "hue": "cell", "estimate": "share"}
    rows = FIGURES[kind].rows(decay_table(), figure)
    pd.testing.assert_frame_equal(rows, plotted("shares"))
    draw("name", figure, decay_table(), tmp_path, {})
    assert "Wilson" in json.loads((tmp_path / "name.json").read_text())["interval"]


def test_named_numbers_stand_side_by_side(painted):
    figure = {"plot": "points", "caption": "C", "x": "length", "y": "solved", "hue": "cell", "estimate": "share"}
    plain, named = (painted({**figure, **more}, times_table()).axes[0].get_lines() for more in ({}, {"named": True}))
    assert plain[0].get_xdata().tolist() == [50, 100, 200]
    np.testing.assert_allclose([line.get_xdata() for line in named[::3]], [[-0.15, 0.85, 1.85], [0.15, 1.15, 2.15]])


def test_medians_have_their_order_statistics():
    table = times_table().query("cell == 'lstm' and length == 50")
    rows = FIGURES["points"].rows(table, {"x": "length", "y": "updates", "estimate": "median"})
    values = np.sort(table["updates"])
    assert rows[["updates", "low", "high", "n"]].iloc[0].tolist() == [np.median(values), values[0], values[-1], 6]
    rows = FIGURES["points"].rows(table.query("seed < 5"), {"x": "length", "y": "updates", "estimate": "median"})
    assert rows[["low", "high"]].isna().all(axis=None)


def test_every_run_is_a_mark_and_cut_off_runs_count_in_the_median():
    rows, table = plotted("runs"), times_table()
    runs, medians = rows[rows["part"] == "run"], rows[rows["part"] == "median"].set_index(["cell", "length"])
    assert len(runs) == 36 and sorted(runs["length"].unique()) == [50, 100, 200]
    own = table.query("cell == 'lstm' and length == 100")["updates"]
    assert medians.loc[("lstm", 100), ["updates", "solved", "n"]].tolist() == [own.median(), 5 / 6, 6]
    assert medians.loc[("rnn_tanh", 200), ["updates", "solved", "n"]].tolist() == [8000, 0, 6]


def test_runs_that_failed_are_open_marks_side_by_side(painted):
    drawn = painted(*sample_figure("runs"))
    assert legend_texts(drawn) == ["lstm", "rnn tanh", "not solved", "median", "budget"]
    failed = [
        line for line in drawn.axes[0].get_lines() if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    ]
    assert [line.get_ydata().tolist() for line in failed] == [[8000.0], [8000.0] * 6]
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["50", "100", "200"]
    assert len(set(failed[1].get_xdata())) == 6 and np.ptp(failed[1].get_xdata()) < 0.3


def test_runs_of_settings_that_do_not_cross_leave_a_panel_empty(painted):
    table = times_table().query("cell == 'lstm' or length == 50")
    figure = {"plot": "runs", "x": "length", "y": "updates", "solved": "solved", "col": "length", "row": "cell"}
    drawn = painted(figure, table)
    marks = [sum(len(line.get_xdata()) for line in axes.get_lines()) for axes in drawn.axes]
    assert sorted(marks) == [0, 0, 6, 6, 6, 6]


@pytest.mark.parametrize("density", ["uniform", "disc_radius", "quarter_circle", "semicircle", "normal"])
def test_densities_have_area_one(density):
    rows = plotted("histogram", density=density)
    measured, theory = rows[rows["part"] == "measured"], rows[rows["part"] == "theory"]
    areas = (measured["density"] * (measured["right"] - measured["left"])).groupby(measured["init_name"]).sum()
    np.testing.assert_allclose(areas, 1, rtol=1e-12)
    # trapezoids on 400 intervals; the quarter circle's vertical end costs most, the normal is cut at 4 (6e-5)
    assert np.trapezoid(theory["density"], theory["left"]) == pytest.approx(1, abs=3e-4)


def test_a_histogram_takes_its_theory_from_two_columns():
    table = eigenvalue_table()
    theory = pd.DataFrame({"place": [0.0, 0.5, 1.0], "height": [1.0, 1.0, 1.0], "seed": 0, "init_name": "half"})
    figure = {"plot": "histogram", "y": "area", "col": "init_name", "density": ["place", "height"], "caption": "C"}
    rows = FIGURES["histogram"].rows(pd.concat([table, theory]), figure)
    drawn = rows[rows["part"] == "theory"]
    assert drawn["left"].tolist() == [0.0, 0.5, 1.0] and drawn["init_name"].unique().tolist() == ["half"]


def test_histogram_densities_are_of_the_whole_sample():
    rows = plotted("histogram", xlim=[0.0, 0.1])
    measured = rows[rows["part"] == "measured"]
    share = (eigenvalue_table()["area"] <= 0.1).groupby(eigenvalue_table()["init_name"]).mean()
    areas = (measured["density"] * (measured["right"] - measured["left"])).groupby(measured["init_name"]).sum()
    np.testing.assert_allclose(areas.sort_index(), share.sort_index(), rtol=1e-12)


def test_a_surface_has_its_grid_and_its_paths_in_order():
    rows = plotted("surface")
    grid, paths = rows[rows["part"] == "surface"], rows[rows["part"] == "path"]
    assert len(grid) == 63 and grid["n"].unique().tolist() == [1]
    np.testing.assert_allclose(grid["z"], grid["w"] ** 2 + grid["b"] ** 2 + 0.01, rtol=1e-15)
    assert paths["quantity"].tolist() == ["plain"] * 5 + ["clipped"] * 5
    assert paths["step"].tolist() == [0, 1, 2, 3, 4] * 2


def test_curves_follow_their_parameter():
    table, figure = sample("curves")
    rows = FIGURES["curves"].rows(table.sample(frac=1, random_state=0), figure)
    np.testing.assert_array_equal(rows["state"], table["state"])


def test_stacked_shares_add_up(painted):
    parts = [
        pd.DataFrame({"band": band, "step": range(5), "seed": s, "share": 1 / 3}) for band in "abc" for s in (0, 1)
    ]
    figure = {"plot": "shares", "caption": "C", "x": "step", "y": "share", "hue": "band", "stacked": True}
    rows = FIGURES["shares"].rows(pd.concat(parts), figure)
    np.testing.assert_allclose(rows.groupby("step")["share"].sum(), 1, rtol=1e-12)
    axes = painted(figure, pd.concat(parts)).axes[0]
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in axes.collections]
    np.testing.assert_allclose(tops, [1 / 3, 2 / 3, 1], rtol=1e-12)


def test_a_setting_that_is_null_is_a_group(tmp_path):
    table, figure = sample("lines", hue="clip", col=None)
    del figure["col"]
    draw("name", figure, table.assign(clip=table["gain"].where(table["gain"] > 0.5)), tmp_path, {})
    assert set(pd.read_csv(tmp_path / "name.csv")["clip"]) == {"none", "0.9", "1.1"}


# looks


@pytest.fixture
def painted():
    """painted(figure, table): the matplotlib figure. The house style stays on, as ticks are made when looked at."""
    from recurlab.figures.canvas import house_style
    from recurlab.figures.panels import picture

    def paint(figure, table):
        kind = FIGURES[figure["plot"]]
        return picture(kind, kind.rows(table, figure), figure, table.attrs.get("units", {}))

    with house_style():
        yield paint


LARGE = {
    "grid of panels": ("lines", {"row": "gain", "hue": "cell", "style": "cell"}),
    "many panels": ("plane", {"col": "number", "col_wrap": 8}),
    "wrapped": ("plane", {"col_wrap": 2}),
    "one panel, right legend": ("curves", {"legend": "right", "title": "Fixed points of one neuron"}),
    "long labels": (
        "shares",
        {"ylabel": "share of the replicas that solve the task within the given number of updates"},
    ),
    "long names": ("points", {"labels": {"rnn_tanh": "Elman network with tanh", "lstm": "long short-term memory"}}),
    "log ticks": ("shares", {"x": "length", "xscale": "log"}),
    "close log ticks": ("shares", {"x": "length", "xscale": "log"}),
    "lines behind": ("lines", {"col": "gain", "hue": "cell", "behind": 0.9}),
    "top legend": ("lines", {"legend": "top", "title": "Decay"}),
}


def sample_figure(name):
    kind, change = LARGE.get(name, (name, {}))
    table, figure = sample(kind, **change)
    if kind == "plane":
        table = pd.concat([table.assign(number=k) for k in range(8)] if "number" in change.values() else [table])
    if kind == "shares":
        table["length"] = 2 ** (table["lag"] // 8 + 4) + 1000 * (name == "close log ticks")
    table = table[table["lag"] == 36] if "where" in figure else table
    return figure, table


def shown_ticks(axes):
    """The labels of the x axis that are seen."""
    low, high = sorted(axes.get_xlim())
    ticks = [tick for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1 for tick in ticks if tick.label1.get_visible() and tick.label1.get_text()]


def overlap(boxes):
    """Pairs of boxes that share more than half a point in both directions."""
    inner = [box.padded(-0.5) for box in boxes if box.width > 1 and box.height > 1]
    return [(a, b) for a, b in combinations(inner, 2) if a.overlaps(b)]


def test_an_alignment_has_the_mean_over_seeds_and_the_words_of_its_panel_from_the_top_down(painted):
    table, figure = sample("alignment")
    rows = plotted("alignment")
    assert len(rows) == 12 and (rows["n"] == 2).all()
    one = table.query("task == 'numbers' and row == 1 and column == 2")
    same = rows.query("task == 'numbers' and row == 1 and column == 2")
    assert same["weight"].item() == pytest.approx(one["weight"].mean())
    assert (same["source"].item(), same["target"].item()) == ("drei", "y")
    panels = painted(figure, table).axes[:2]
    assert [[label.get_text() for label in axes.get_xticklabels()] for axes in panels] == [
        list("abc"),
        ["drei", "und", "drei"],
    ]
    assert [label.get_rotation() for label in panels[1].get_xticklabels()] == [90, 90, 90]
    assert [label.get_text() for label in panels[1].get_yticklabels()] == ["x", "y"] and panels[1].get_ylim() == (2, 0)


@pytest.mark.parametrize("name", [*FIGURES, *LARGE])
def test_nothing_overlaps_or_leaves_the_page(name, painted):
    drawn = painted(*sample_figure(name))
    drawn.draw_without_rendering()
    renderer = drawn.canvas.get_renderer()
    page = drawn.bbox.padded(1)
    legends = [legend.get_window_extent(renderer) for legend in drawn.legends]
    panels = [axes.get_tightbbox(renderer) for axes in drawn.axes]
    ticks = [[label.get_window_extent(renderer) for label in shown_ticks(axes)] for axes in drawn.axes]
    texts = [text.get_window_extent(renderer) for text in drawn.texts if text.get_text()]
    for boxes in ticks:
        assert not any(a.padded(-0.5).overlaps(b.padded(-0.5)) for a, b in pairwise(boxes))
    titles = [axes.title.get_window_extent(renderer) for axes in drawn.axes if axes.get_title()]
    assert overlap(titles) == []
    assert overlap([*legends, *panels, *texts]) == []
    assert all(page.contains(*box.min) and page.contains(*box.max) for box in [*legends, *panels, *texts])
    assert drawn.get_figwidth() in (3.4, 7.0) and 1.0 < drawn.get_figheight() < 9.5


@pytest.mark.parametrize("name", ["lines", "plane", "wrapped", "curves"])
def test_panels_have_the_ratio_of_their_kind(name, painted):
    figure, table = sample_figure(name)
    drawn = painted(figure, table)
    box = drawn.axes[0].get_position(original=True)
    width, height = box.width * drawn.get_figwidth(), box.height * drawn.get_figheight()
    assert width / height == pytest.approx(FIGURES[figure["plot"]].ratio, rel=0.03)


def legend_texts(drawn):
    return [text.get_text() for legend in drawn.legends for text in legend.get_texts()]


def test_legend_has_each_hue_and_theory_once(painted):
    drawn = painted(*sample_figure("lines"))
    assert legend_texts(drawn) == ["0.5", "0.9", "1.1", "theory"]
    assert drawn.legends[0].get_title().get_text() == "gain"


def test_legend_leaves_out_what_the_titles_say(painted):
    drawn = painted(*sample_figure("grid of panels"))
    assert legend_texts(drawn) == ["theory"]
    assert [axes.get_title() for axes in drawn.axes][:2] == ["rnn tanh", "lstm"]


def test_many_ordered_hues_have_a_colour_bar(painted):
    table = pd.concat([decay_table().assign(gain=g) for g in np.linspace(0.1, 2, 20).round(1)])
    figure = {"plot": "lines", "caption": "C", "x": "lag", "y": "norm", "hue": "gain"}
    drawn = painted(figure, table)
    assert drawn.legends == [] and len(drawn.axes) == 2
    assert len(drawn.axes[1].get_yticks()) == 6


def test_labels_order_and_units_are_shown(painted):
    labels = {"rnn_tanh": "tanh RNN", "lstm": "LSTM"}
    table, figure = sample("lines", labels=labels, order={"cell": ["lstm", "rnn_tanh"]})
    drawn = painted(figure, table)
    assert [axes.get_title() for axes in drawn.axes] == ["LSTM", "tanh RNN"]
    assert drawn.get_supxlabel() == "distance from the loss (steps)"
    assert drawn.get_supylabel() == "log₁₀ gradient norm"


def test_the_lines_behind_stand_grey_in_every_other_panel_and_have_none_of_their_own(painted):
    table, figure = sample("lines", col="gain", hue="cell", behind=0.9)
    drawn = painted(figure, table)
    assert [axes.get_title() for axes in drawn.axes] == ["gain\xa0=\xa00.5", "gain\xa0=\xa01.1"]
    means = plotted("lines", col="gain", hue="cell").query("gain == 0.9").set_index("cell")["norm"]
    for axes in drawn.axes:
        grey = [line.get_ydata().tolist() for line in axes.get_lines() if line.get_color() == GUIDE]
        assert grey == [means[cell].tolist() for cell in dict.fromkeys(table["cell"])]
    assert "gain\xa0=\xa00.9" in legend_texts(drawn)


def test_a_theory_that_differs_takes_the_colour_of_its_line(painted):
    from matplotlib.colors import to_rgb

    drawn = painted(*sample_figure("lines"))
    lines = drawn.axes[0].get_lines()
    measured, theory = lines[:3], lines[3:6]
    for line, dashed in zip(measured, theory, strict=True):
        np.testing.assert_allclose(to_rgb(dashed.get_color()), 0.6 * np.array(to_rgb(line.get_color())), atol=1e-12)
    drawn = painted(*sample_figure("grid of panels"))
    assert to_rgb(drawn.axes[0].get_lines()[1].get_color()) == (0.15, 0.15, 0.15)


def test_unstable_stretches_are_dashed_and_joined(painted):
    drawn = painted(*sample_figure("curves"))
    pieces = drawn.axes[0].get_lines()[:3]
    assert [piece.get_linestyle() for piece in pieces] == ["-", "--", "-"]
    for piece, following in pairwise(pieces):
        assert (piece.get_xdata()[-1], piece.get_ydata()[-1]) == (following.get_xdata()[0], following.get_ydata()[0])


def test_wide_bands_of_few_seeds_do_not_stretch_a_histogram(painted):
    figure, table = sample_figure("histogram")
    drawn = painted(figure, table)
    highest = FIGURES["histogram"].rows(table, figure)["density"].max()
    low, high = drawn.axes[0].get_ylim()
    assert low == 0 and highest < high < 1.4 * highest


# reproducible bytes, no traces

WORKER = """
import sys, test_figures
from recurlab.figures import draw
for kind in sys.argv[2:]:
    table, figure = test_figures.sample(kind)
    draw(kind, figure, table, sys.argv[1], {"experiment": "decay"})
"""


def in_own_process(folder, hash_seed, kinds, settings):
    """A new process that draws, with another hash seed and another user's matplotlib settings."""
    folder.mkdir()
    (folder / "matplotlibrc").write_text(settings)
    paths = {
        "MATPLOTLIBRC": str(folder / "matplotlibrc"),
        "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path]),
    }
    environment = {**os.environ, **paths, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder / "out"), *kinds], env=environment)


def test_two_processes_give_the_same_bytes(tmp_path):
    kinds = ("lines", "surface")  # bands, text and a legend; an image within the picture and a colour bar
    settings = {"a": "font.size: 20\naxes.grid: True\nsvg.fonttype: none\n", "b": ""}
    workers = [in_own_process(tmp_path / name, seed, kinds, settings[name]) for seed, name in enumerate(settings, 1)]
    assert [worker.wait() for worker in workers] == [0, 0]
    sums = [{path.name: sha256(path) for path in (tmp_path / name / "out").iterdir()} for name in settings]
    assert len(sums[0]) == 10 and sums[0] == sums[1]


def test_drawing_leaves_no_trace(tmp_path):
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    table, figure = sample("lines")
    draw("name", figure, table, tmp_path, {})
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_checking_imports_no_drawing_library():
    code = "import sys, recurlab.figures; print([m for m in ('matplotlib', 'seaborn', 'numba') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# mistakes


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("lines", {"plot": "line"}, ["'line' is no kind of figure", "did you mean 'lines'"]),
        ("lines", {"y": "loss"}, ["key 'y': 'loss' is no column"]),
        ("lines", {"hue": "gian"}, ["'gian' is no column", "did you mean 'gain'"]),
        ("lines", {"yscale": "logarithmic"}, ["key 'yscale': 'logarithmic' is unknown"]),
        ("lines", {"colour": "gain"}, ["key 'colour' is unknown"]),
        ("lines", {"bins": 3}, ["key 'bins' is unknown"]),
        ("lines", {"xlim": [1, 0]}, ["key 'xlim': [1, 0] is not [low, high]"]),
        ("lines", {"xlim": 3}, ["key 'xlim': 3 is not [low, high]"]),
        ("lines", {"where": {"depth": 2}}, ["key 'where': 'depth' is no column"]),
        ("lines", {"where": {"gain": {"above": 1}}}, ["key 'where'", "values or lists of values"]),
        ("lines", {"order": {"cell": "lstm"}}, ["key 'order'", "not a list"]),
        ("lines", {"labels": ["a"]}, ["key 'labels'", "is not a mapping"]),
        ("lines", {"theory": ["theory", {"column": "chi"}]}, ["key 'theory'", "'chi' is no column"]),
        ("lines", {"theory": {"name": "theory"}}, ["key 'theory'", "keys column, label"]),
        ("lines", {"hlines": [{"label": "half"}]}, ["key 'hlines'", "keys value, label"]),
        ("lines", {"hlines": {"value": "half"}}, ["key 'hlines'", "'half' is not a finite number"]),
        ("lines", {"col_wrap": 0}, ["key 'col_wrap': 0 is not a whole number >= 1"]),
        ("lines", {"behind": ["lstm"]}, ["key 'behind'", "is not a text or number"]),
        ("points", {"behind": "lstm", "col": "cell"}, ["key 'behind' is unknown"]),
        ("lines", {"estimate": "mode"}, ["key 'estimate': 'mode' is unknown"]),
        ("lines", {"sharey": "no"}, ["key 'sharey': 'no' is not true or false"]),
        ("lines", {"caption": 3}, ["key 'caption': 3 is not a text"]),
        ("histogram", {"density": "uniforn"}, ["key 'density': 'uniforn' is unknown", "did you mean 'uniform'"]),
        ("histogram", {"density": ["area", "height"]}, ["key 'density': 'height' is no column"]),
        ("plane", {"circle": "radios"}, ["key 'circle'", "'radios' is no column"]),
        ("surface", {"contours": {"column": "z"}}, ["key 'contours'", "keys column, level, label"]),
        ("surface", {"zscale": "symlog"}, ["key 'zscale': 'symlog' is unknown"]),
    ],
)
def test_check_names_key_value_and_what_is_allowed(kind, change, words):
    table, figure = sample(kind, **change)
    problems = check(figure, table.columns)
    assert len(problems) == 1
    assert all(word in problems[0] for word in words)


@pytest.mark.parametrize("kind", FIGURES)
def test_check_names_every_missing_key(kind):
    needs = FIGURES[kind].needs
    found = check({"plot": kind}, SAMPLES[kind][0]().columns)
    assert found == [f"key '{key}' is missing" for key in ("caption", *needs)]


def test_check_reports_every_mistake_at_once():
    assert len(check({"plot": "lines", "x": "lags", "colour": "gain", "xscale": "ln"}, ["cell"])) == 6


def test_check_refuses_a_kind_that_is_no_text():
    assert len(check({"plot": ["lines"]}, ["seed"])) == 1


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("lines", {"y": "loss"}, "figure 'name'.*'loss' is no column"),
        ("lines", {"where": {"gain": 7.0}}, "figure 'name'.*selects no row.*gain has 0.5, 0.9, 1.1"),
        ("lines", {"order": {"cell": ["lstm"]}}, "figure 'name'.*leaves out 'rnn_tanh'"),
        ("lines", {"behind": "gru"}, "figure 'name'.*behind: expected one of at least two values of 'cell', got 'gru'"),
        ("lines", {"behind": "lstm", "col": None}, "figure 'name'.*key 'behind' needs the key 'col'"),
        ("lines", {"x": "gap"}, "figure 'name'.*'gap' is empty in 240"),
        ("shares", {"y": "lag"}, "figure 'name'.*outside"),
        ("lines", {"y": "lag", "estimate": "share"}, "figure 'name'.*outside"),
        ("runs", {"solved": "length"}, "figure 'name'.*other than 0 and 1"),
        ("runs", {"hue": None}, "figure 'name'.*several rows of one seed"),
        ("shares", {"stacked": True, "hue": None}, "figure 'name'.*need a hue"),
        ("curves", {"along": "weight"}, "figure 'name'.*61 rows differ.*use `lines`"),
        ("surface", {"x": "seed"}, "figure 'name'.*two different values"),
        ("alignment", {"x_text": "target"}, "figure 'name'.*'target' has two texts at one 'column'"),
    ],
)
def test_draw_names_the_figure(kind, change, message, tmp_path):
    table, figure = sample(kind, **change)
    figure = {key: value for key, value in figure.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        draw("name", figure, table.assign(gap=np.nan), tmp_path, {})
    assert list(tmp_path.iterdir()) == []
