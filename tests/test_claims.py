"""Claims: every estimator against scipy or a closed form, the coverage of its interval, verdicts, mistakes."""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recurlab.claims import ESTIMATORS, Region, check, evaluate, region, verdict
from recurlab.claims.keys import KEYS
from recurlab.claims.pairs import newcombe, pair_correlation
from recurlab.rows import bootstrap_median_interval, quantile_interval, select, summarise, t_half_width, wilson

NAN, INF = float("nan"), float("inf")
COLUMNS = ["seed", "cell", "gain", "lag", "y", "theory", "solved"]


class Experiment(NamedTuple):
    claims: list
    source: str = "the experiment's source"


def table(seeds=8, rows=5, slope=-0.3, spread=0.1, effect=0.2, number=0):
    """y = slope · lag + the seed's own level + noise, for two cells that share the level; theory = slope · lag."""
    rng = np.random.default_rng(number)
    level = rng.normal(0, effect, seeds)
    frame = pd.DataFrame(
        [(s, c, 0.9, lag, slope * lag) for s in range(seeds) for c in ("lstm", "gru") for lag in range(rows)],
        columns=["seed", "cell", "gain", "lag", "theory"],
    )
    noise = rng.normal(0, spread, len(frame))
    frame["y"] = frame["theory"] + level[frame["seed"]] + noise + 0.5 * (frame["cell"] == "lstm")
    frame["solved"] = rng.integers(0, 2, seeds)[frame["seed"]]
    return frame


def run(test, frame=None, **claim):
    return ESTIMATORS[test](table() if frame is None else frame, {"y": "y", **claim})


def paired(a, b, column="solved"):
    """One row a seed and group: `a` of lstm, `b` of gru."""
    sides = [pd.DataFrame({"seed": range(len(a)), "cell": cell, column: y}) for cell, y in (("lstm", a), ("gru", b))]
    return pd.concat(sides, ignore_index=True)


GROUPS = {"between": {"cell": ["lstm", "gru"]}}
SIDES = {"two-sided": {"expected": 0, "margin": 1}, "greater": {"at_least": 0}, "less": {"at_most": 0}}


def t_interval(values):
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def per_seed(frame, statistic):
    return np.array([statistic(part) for _, part in frame.groupby("seed")])


# estimators


def test_mean_is_the_t_interval_over_seeds():
    frame = table()
    means = per_seed(frame, lambda part: part["y"].mean())
    found = run("mean", frame)
    np.testing.assert_allclose(found, (means.mean(), *t_interval(means), 8, NAN), rtol=1e-12)


def test_slope_is_the_mean_of_the_slopes_of_the_seeds():
    frame = table()
    slopes = per_seed(frame, lambda part: stats.linregress(part["lag"], part["y"]).slope)
    np.testing.assert_allclose(run("slope", frame, x="lag"), (slopes.mean(), *t_interval(slopes), 8, NAN), rtol=1e-12)
    against = run("slope", frame, x="lag", minus="theory")
    np.testing.assert_allclose(against.estimate, slopes.mean() + 0.3, rtol=1e-12)


def test_by_takes_the_slope_in_each_group_of_a_seed():
    frame = table()
    frame.loc[frame["cell"] == "gru", "lag"] += 7  # one slope over both groups would see the step between the cells
    slopes = [
        [stats.linregress(part["lag"], part["y"]).slope for _, part in one.groupby("cell")]
        for _, one in frame.groupby("seed")
    ]
    means = np.mean(slopes, axis=1)
    found = run("slope", frame, x="lag", by="cell")
    np.testing.assert_allclose(found, (means.mean(), *t_interval(means), 8, NAN), rtol=1e-12)
    assert abs(run("slope", frame, x="lag").estimate - found.estimate) > 0.01


def test_difference_is_the_paired_t_interval():
    frame = table()
    sides = [per_seed(frame[frame["cell"] == cell], lambda part: part["y"].mean()) for cell in ("lstm", "gru")]
    tested = stats.ttest_rel(*sides)
    expected = np.mean(sides[0] - sides[1]), *tested.confidence_interval(0.95), 8, tested.pvalue
    np.testing.assert_allclose(run("difference", frame, **GROUPS), expected, rtol=1e-12)


@pytest.mark.parametrize("side", SIDES)
def test_p_counts_on_the_side_of_the_region(side):
    frame = table(effect=0.2, spread=2.0)
    sides = [per_seed(frame[frame["cell"] == cell], lambda part: part["y"].mean()) for cell in ("lstm", "gru")]
    above = (sides[0] > sides[1]).sum()
    expected = {
        "difference": stats.ttest_rel(*sides, alternative=side).pvalue,
        "z": stats.ttest_1samp(per_seed(frame, lambda part: (part["y"] - part["theory"]).mean()), 0, alternative=side)[
            1
        ],
        "sign_test": stats.binomtest(above, 8, 0.5, side).pvalue,
        "median_difference": stats.binomtest(above, 8, 0.5, side).pvalue,
    }
    extra = {"z": {"known": "theory"}}
    found = {test: run(test, frame, **extra.get(test, GROUPS), **SIDES[side]).p for test in expected}
    assert found == pytest.approx(expected, rel=1e-10)
    assert len(set(found.values())) == 3  # the sign test is both times the same


def test_ratio_is_the_paired_t_interval_of_logarithms():
    rng = np.random.default_rng(7)
    a, b = np.exp(rng.normal(5, 1, (2, 9)))
    tested = stats.ttest_rel(np.log(a), np.log(b))
    expected = np.exp(np.mean(np.log(a / b))), *np.exp(tested.confidence_interval(0.95)), 9, tested.pvalue
    np.testing.assert_allclose(run("ratio", paired(a, b, "y"), **GROUPS), expected, rtol=1e-12)
    budget = np.full(9, 8000.0)
    at_the_budget = run("ratio", paired(budget, budget, "y"), **GROUPS)
    np.testing.assert_array_equal(at_the_budget, (1, NAN, NAN, 9, NAN))  # all failed: nothing is known


def test_a_ratio_needs_values_above_zero():
    with pytest.raises(ValueError, match="'y' has values that are not above 0"):
        run("ratio", paired([1.0, 2.0], [1.0, 0.0], "y"), **GROUPS)


def test_sign_test_leaves_ties_out():
    a, b = np.array([3, 3, 3, 3, 3, 3, 3, 1, 2, 2.0]), np.array([1, 1, 1, 1, 1, 1, 1, 3, 2, 2.0])
    exact = stats.beta.ppf([0.025, 0.975], [7, 8], [2, 1])  # 7 of 8: Clopper & Pearson 1934
    p = (1 + 8) / 2**8  # 7 or 8 of 8
    found = run("sign_test", paired(a, b, "y"), at_least=0.5, **GROUPS)
    np.testing.assert_allclose(found, (7 / 8, *exact, 8, p), rtol=1e-12)
    assert np.isnan(run("sign_test", paired(b, b, "y"), at_least=0.5, **GROUPS)[:3]).all()


def test_median_difference_has_the_order_statistics_of_the_differences():
    rng = np.random.default_rng(8)
    a, b = rng.exponential(size=(2, 15))
    found = run("median_difference", paired(a, b, "y"), at_most=0, **GROUPS)
    p = stats.binomtest(int((a > b).sum()), 15, 0.5, "less").pvalue
    np.testing.assert_allclose(found, (np.median(a - b), *np.sort(a - b)[[3, 11]], 15, p), rtol=1e-12)


def counts_to_pairs(both, only_a, only_b, neither):
    kinds = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [both, only_a, only_b, neither], axis=0)
    return paired(*kinds.T)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, Statist. Med. 17, 2635, method 10
        ((0, 8, 0, 0), 1 - np.sqrt(2) * 0.324416, 1.0),  # Wilson of 8/8 is [0.675584, 1], of 0/8 [0, 0.324416]
    ],
)
def test_success_difference_of_pairs_is_newcombes(counts, low, high):
    found = run("success_difference", counts_to_pairs(*counts), y="solved", at_least=0, **GROUPS)
    n, (_, only_a, only_b, _) = sum(counts), counts
    np.testing.assert_allclose(found[:3], ((only_a - only_b) / n, low, high), atol=5e-5)
    assert (found.n, found.p) == (n, pytest.approx(stats.binom.sf(only_a - 1, only_a + only_b, 0.5), rel=1e-12))


def test_success_difference_of_different_seeds_is_newcombes_with_fishers_p():
    frame = pd.DataFrame({"seed": range(150), "cell": ["lstm"] * 70 + ["gru"] * 80})
    frame["solved"] = [1] * 56 + [0] * 14 + [1] * 48 + [0] * 32
    found = run("success_difference", frame, y="solved", at_least=0, **GROUPS)
    np.testing.assert_allclose(found[:3], (0.2, 0.0524, 0.3339), atol=5e-5)  # Newcombe 1998, 873, method 10
    assert (found.n, found.p) == (150, pytest.approx(stats.hypergeom.sf(55, 150, 104, 70), rel=1e-10))


def test_success_difference_wants_one_outcome_a_seed_and_all_pairs_or_none():
    frame = paired([1, 1, 0, 1], [0, 0, 1, 0])
    with pytest.raises(ValueError, match="'solved' is not one 0 or 1"):
        run("success_difference", pd.concat([frame, frame.assign(solved=0)]), y="solved", **GROUPS)
    with pytest.raises(ValueError, match="some seeds are in both groups"):
        run("success_difference", frame.iloc[:-1], y="solved", **GROUPS)


def test_bootstrap_median_of_five_seeds_reaches_from_end_to_end():
    """P(the median of 5 draws is the least) = P(3 of 5 draws are) = 0.058 > 0.025 (Efron 1979, sec. 3)."""
    frame = paired([3.0, 1.0, 4.0, 1.5, 9.0], [0.0] * 5, "y").query("cell == 'lstm'")
    assert run("bootstrap_median", frame)[:4] == (3.0, 1.0, 9.0, 5)
    assert run("bootstrap_median", frame) == pytest.approx(run("bootstrap_median", frame), nan_ok=True)  # no luck in it
    assert np.isnan(bootstrap_median_interval(np.arange(4.0))).all()


def test_proportion_is_wilson_over_seeds():
    frame = table(seeds=20)
    solved = int(frame.groupby("seed")["solved"].first().sum())
    expected = stats.binomtest(solved, 20).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(run("proportion", frame, y="solved"), (solved / 20, *expected, 20, NAN), rtol=1e-12)


@pytest.mark.parametrize(("solved", "n"), [(0, 5), (5, 5), (1, 2), (30, 200)])
def test_wilson_at_its_ends(solved, n):
    expected = stats.binomtest(solved, n).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson(solved / n, n), tuple(expected), rtol=1e-12, atol=1e-15)


def test_maximum_is_exact():
    frame = pd.DataFrame({"seed": [0, 1, 2], "y": [0.25, -0.75, 0.5], "theory": [0.25, -0.5, 0.5]})
    assert run("maximum", frame)[:4] == (0.75, 0.75, 0.75, 3)
    assert run("maximum", frame, minus="theory")[:4] == (0.25, 0.25, 0.25, 3)


def test_z_is_the_t_statistic_with_the_spread_of_a_noncentral_t():
    frame = table(seeds=64)
    deviations = per_seed(frame, lambda part: (part["y"] - part["theory"]).mean())
    found = run("z", frame, known="theory")
    np.testing.assert_allclose(found.estimate, stats.ttest_1samp(deviations, 0).statistic, rtol=1e-12)
    # 2.5 % of the noncentral t lie beyond the score at either end; the normal approximation is good to half a percent
    tails = [stats.nct.sf(found.estimate, 63, found.low), stats.nct.cdf(found.estimate, 63, found.high)]
    np.testing.assert_allclose(tails, 0.025, atol=0.005)


@pytest.mark.parametrize(("n", "q"), [(6, 0.5), (31, 0.5), (40, 0.8), (60, 0.1), (36, 0.9)])
def test_quantile_ends_are_the_innermost_ranks_that_hold_95_percent(n, q):
    values = np.random.default_rng(1).permutation(n) + 1.0  # a value is its rank
    found = run("quantile", pd.DataFrame({"seed": range(n), "y": values}), q=q)
    assert found.estimate == np.quantile(values, q)
    count = stats.binom(n, q)  # of values below the quantile
    assert count.cdf(found.low - 1) <= 0.025 < count.cdf(found.low)
    assert count.sf(found.high - 1) <= 0.025 < count.sf(found.high - 2)


def test_median_is_the_quantile_at_a_half():
    assert run("median") == run("quantile", q=0.5)


@pytest.mark.parametrize(("q", "smallest"), [(0.5, 6), (0.9, 36)])
def test_a_quantile_of_few_seeds_has_no_interval(q, smallest):
    assert np.isnan(quantile_interval(np.arange(smallest - 1.0), q)).all()
    assert np.isfinite(quantile_interval(np.arange(smallest * 1.0), q)).all()


def test_ks_is_the_mean_distance_of_the_seeds():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"seed": np.repeat(range(6), 50), "y": rng.uniform(size=300)})
    distances = per_seed(frame, lambda part: stats.kstest(part["y"], "uniform").statistic)
    np.testing.assert_allclose(run("ks", frame), (distances.mean(), *t_interval(distances), 6, NAN), rtol=1e-12)


# coverage: the share of intervals that hold the true value, against 95 %, by its own standard error


def coverage(test, frames, truth, **claim):
    found = [run(test, frame, **claim) for frame in frames]
    return np.mean([result.low <= truth <= result.high for result in found])


def assert_covers(share, repeats, above=0.0):
    """Within 4 s.e. of 0.95; s.e. = √(0.95 · 0.05 / repeats). `above`: by how much a method may be too careful."""
    error = np.sqrt(0.95 * 0.05 / repeats)
    assert 0.95 - 4 * error <= share <= 0.95 + above + 4 * error, f"{share} of {repeats}, s.e. {error}"


@pytest.mark.parametrize(
    ("test", "truth", "claim"),
    [
        ("mean", 0.25, {"minus": "theory"}),
        ("slope", -0.3, {"x": "lag", "by": "cell"}),
        ("difference", 0.5, GROUPS),
    ],
)
def test_intervals_cover_the_truth(test, truth, claim):
    frames = [table(seeds=6, rows=3, number=k) for k in range(400)]  # s.e. 0.011
    assert_covers(coverage(test, frames, truth, **claim), 400)


def test_rows_of_a_seed_are_not_independent():
    """20 rows a seed under a seed effect of 10 times the noise: taken as independent they would cover 1 in 3 times."""
    frames = [table(seeds=6, rows=10, spread=0.02, number=k) for k in range(400)]
    assert_covers(coverage("mean", frames, 0.25, minus="theory"), 400)
    rows = [(frame["y"] - frame["theory"]).to_numpy() for frame in frames]
    naive = np.mean([low <= 0.25 <= high for low, high in map(t_interval, rows)])
    assert naive < 0.8


def test_z_covers_the_expected_score():
    rng = np.random.default_rng(3)
    samples = rng.normal(0.5, 1, (400, 25))
    frames = [pd.DataFrame({"seed": range(25), "y": sample, "theory": 0.0}) for sample in samples]
    assert_covers(coverage("z", frames, 0.5 * np.sqrt(25), known="theory"), 400)


@pytest.mark.parametrize(("n", "q"), [(20, 0.5), (48, 0.9)])
def test_quantile_intervals_cover_at_least_95_percent(n, q):
    samples = np.random.default_rng(4).exponential(size=(400, n))
    found = [quantile_interval(sample, q) for sample in samples]
    assert_covers(np.mean([low <= -np.log(1 - q) <= high for low, high in found]), 400, above=0.05)


def test_ratios_cover_the_ratio_of_the_medians():
    rng = np.random.default_rng(5)
    logs = rng.normal(0, 1, (400, 2, 1, 6)) + [[[1.0]], [[0.5]]] + rng.normal(0, 1, (400, 1, 1, 6))
    frames = [paired(*np.exp(sample[:, 0]), "y") for sample in logs]
    assert_covers(coverage("ratio", frames, np.exp(0.5), **GROUPS), 400)


@pytest.mark.parametrize(("n", "share"), [(5, 0.9375), (8, 0.925)])
def test_bootstrap_medians_cover_what_their_docstring_says(n, share):
    samples = np.random.default_rng(6).exponential(size=(1000, n))
    found = np.array([bootstrap_median_interval(sample) for sample in samples])
    covered = np.mean((found[:, 0] <= np.log(2)) & (np.log(2) <= found[:, 1]))
    assert abs(covered - share) < 4 * np.sqrt(0.93 * 0.07 / 1000)


@pytest.mark.parametrize(("n", "correlation", "expected"), [(4, 0.0, 0.963), (8, 0.0, 0.960), (16, 0.6, 0.971)])
def test_newcombe_of_pairs_covers_what_its_docstring_says(n, correlation, expected):
    """Exact coverage, Σ over tables of P(table) [p_a - p_b in interval], mean over 21 pairs of shares."""
    both, only_a, only_b = (axis.ravel() for axis in np.indices((n + 1,) * 3))
    tables = np.stack([both, only_a, only_b, n - both - only_a - only_b])[:, both + only_a + only_b <= n].astype(float)
    ends = newcombe((tables[0] + tables[1]) / n, n, (tables[0] + tables[2]) / n, n, pair_correlation(*tables))
    low, high = ends[0] - 1e-12, ends[1] + 1e-12
    covered = []
    for b, a in combinations_with_replacement((0.05, 0.2, 0.4, 0.6, 0.8, 0.95), 2):
        joint = min(a * b + correlation * np.sqrt(a * (1 - a) * b * (1 - b)), a, b)
        cells = np.maximum([joint, a - joint, b - joint, 1 - a - b + joint], 0)
        chance = stats.multinomial.pmf(tables.T, n, cells / cells.sum())
        covered.append(chance[(low <= a - b) & (a - b <= high)].sum())
    assert len(covered) == 21 and np.mean(covered) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
def test_wilson_covers_on_average_over_counts(p):
    """Exact coverage, Σ over counts of P(count) [p in interval]; Wilson swings about 0.95, by up to 0.035 at n = 32."""
    counts = np.arange(33)
    low, high = wilson(counts / 32, 32)
    share = stats.binom.pmf(counts, 32, p)[(low <= p) & (p <= high)].sum()
    assert abs(share - 0.95) < 0.035


# no interval


@pytest.mark.parametrize("test", sorted(set(ESTIMATORS) - {"maximum", "bleu_difference"}))
def test_one_seed_has_no_interval_and_no_verdict(test):
    frame = table(seeds=1)
    frame["y"] = frame["y"].rank(pct=True)
    extra = {"slope": {"x": "lag"}, "z": {"known": "theory"}} | {
        name: GROUPS for name in KEYS if "between" in KEYS[name][0]
    }
    y = "solved" if test in ("proportion", "success_difference") else "y"
    found = run(test, frame, y=y, q=0.5, **extra.get(test, {}))
    assert found.n == 1
    assert np.isnan([found.low, found.high, found.p]).all() or test == "median_difference"
    assert np.isnan([found.low, found.high]).all()
    assert verdict(found.low, found.high, Region(-INF, INF, "")) == "undetermined"


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("test", ["mean", "median", "z"])
def test_a_value_that_is_not_finite_leaves_no_interval(test, value):
    frame = table()
    frame.loc[3, "y"] = value
    found = run(test, frame, known="theory")
    assert np.isnan([found.low, found.high]).all()


def test_a_maximum_that_is_not_finite_agrees_with_nothing():
    frame = table()
    frame.loc[3, "y"] = INF
    assert verdict(*run("maximum", frame)[1:3], Region(-INF, 1e300, "")) == "not reproduced"
    frame.loc[3, "y"] = NAN
    assert verdict(*run("maximum", frame)[1:3], Region(-INF, 1e300, "")) == "undetermined"


def test_seeds_that_agree_exactly_have_no_z():
    frame = pd.DataFrame({"seed": [0, 1, 2], "y": 1.0, "theory": 1.0})
    assert np.isnan(run("z", frame, known="theory")[:3]).all()


# verdicts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.02, 0.02, "reproduced"),  # the region's ends belong to it
        (-0.01, 0.01, "reproduced"),
        (0.03, 0.04, "not reproduced"),
        (-9.0, -0.021, "not reproduced"),
        (-0.03, 0.01, "undetermined"),
        (0.01, 0.03, "undetermined"),
        (-1.0, 1.0, "undetermined"),
        (NAN, NAN, "undetermined"),
    ],
)
def test_the_interval_decides(low, high, expected):
    assert verdict(low, high, region({"expected": 0.0, "margin": 0.02})) == expected


@pytest.mark.parametrize(
    ("claim", "low", "high", "text"),
    [
        ({"expected": 1.0, "margin": 0.25}, 0.75, 1.25, "1 ± 0.25"),
        ({"at_least": 0.95}, 0.95, INF, "≥ 0.95"),
        ({"at_most": 1e-6}, -INF, 1e-6, "≤ 1e-06"),
    ],
)
def test_regions(claim, low, high, text):
    assert region(claim) == (low, high, text)


def test_evaluate_gives_one_row_a_claim_in_order():
    claims = [
        {"says": "B", "test": "slope", "x": "lag", "y": "y", "expected": -0.3, "margin": 0.1},
        {
            "says": "A",
            "source": "own",
            "test": "mean",
            "y": "y",
            "where": {"cell": "gru", "lag": [0, 1]},
            "at_most": -9,
        },
    ]
    frame = evaluate(Experiment(claims), table())
    head = [
        "claim",
        "source",
        "estimator",
        "estimate",
        "low",
        "high",
        "n",
        "p",
        "expected",
        "margin",
        "region",
        "verdict",
    ]
    assert list(frame.columns) == head
    assert frame["claim"].tolist() == ["B", "A"]
    assert frame["source"].tolist() == ["the experiment's source", "own"]
    assert frame["verdict"].tolist() == ["reproduced", "not reproduced"]
    assert frame["region"].tolist() == ["-0.3 ± 0.1", "≤ -9"]
    assert frame["expected"].isna().tolist() == [False, True]
    chosen = table().query("cell == 'gru' and lag < 2")
    assert frame["estimate"][1] == pytest.approx(chosen.groupby("seed")["y"].mean().mean(), rel=1e-12)


def test_no_claims_are_an_empty_table():
    assert len(evaluate(Experiment([]), table())) == 0


# mistakes

GOOD = {"says": "S", "test": "mean", "y": "y", "expected": 0, "margin": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"where": {"cell": "elman"}}, "claim 'S'.*selects no row.*cell has lstm, gru"),
        ({"y": "loss"}, "claim 'S'.*'loss' is no column"),
        ({"test": "proportion"}, "claim 'S'.*other than 0 and 1"),
        ({"test": "slope", "x": "gain"}, "claim 'S'.*two different values"),
        ({"test": "difference", "between": {"cell": ["lstm", "elman"]}}, "claim 'S'.*cell has lstm, gru"),
        ({"by": "gap"}, "claim 'S'.*'gap' is empty in 80"),
    ],
)
def test_evaluate_names_the_claim(change, message):
    with pytest.raises(ValueError, match=message):
        evaluate(Experiment([{**GOOD, **change}]), table().assign(gap=np.nan))


def test_a_difference_needs_both_groups_of_every_seed():
    frame = table().query("not (seed == 3 and cell == 'gru')")
    with pytest.raises(ValueError, match=r"seeds \[3\] are in one of the groups"):
        run("difference", frame, between={"cell": ["lstm", "gru"]})


@pytest.mark.parametrize("test", ESTIMATORS)
def test_a_claim_with_what_its_estimator_needs_is_right(test):
    values = {
        "x": "lag",
        "between": {"cell": ["lstm", "gru"]},
        "known": "theory",
        "q": 0.9,
        "by": "cell",
        "minus": "theory",
    }
    needs, may = KEYS[test]
    claim = {**GOOD, "test": test, "where": {"cell": "gru", "gain": [0.5, 0.9]}, "source": "S"}
    assert check({**claim, **{key: values[key] for key in needs}}, COLUMNS) == []
    assert check({**claim, **{key: values[key] for key in (*needs, *may)}}, COLUMNS) == []
    assert len(check(claim, COLUMNS)) == len(needs)


def test_every_estimator_has_its_keys():
    assert KEYS.keys() == ESTIMATORS.keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": "slop"}, ["'slop' is no estimator", "did you mean 'slope'"]),
        ({"y": "yy"}, ["key 'y': 'yy' is no column"]),
        ({"y": ["y", "lag"]}, ["key 'y'", "is no column"]),
        ({"says": 3}, ["key 'says': 3 is not a text"]),
        ({"confidence": 0.9}, ["key 'confidence' means nothing to mean"]),
        ({"x": "lag"}, ["key 'x' means nothing to mean"]),
        ({"test": "slope"}, ["key 'x' is missing: slope needs it"]),
        ({"minus": "chi"}, ["key 'minus': 'chi' is no column"]),
        ({"by": ["cell", "init"]}, ["key 'by': 'init' is no column"]),
        ({"where": {"depth": 3}}, ["key 'where': 'depth' is no column"]),
        ({"where": "cell"}, ["key 'where': 'cell' is not a mapping"]),
        ({"at_most": 3}, ["expected + margin and at_most"]),
        ({"margin": "2 %"}, ["key 'margin': '2 %' is not a finite number"]),
        ({"margin": -1.0}, ["key 'margin': -1.0 is negative"]),
        ({"expected": NAN}, ["key 'expected': nan is not a finite number"]),
        ({"expected": True}, ["key 'expected': True is not a finite number"]),
        ({"test": "quantile", "q": 1.0}, ["key 'q': 1.0 is not a number between 0 and 1"]),
        ({"test": "difference", "between": {"cell": ["gru"]}}, ["key 'between'", "two different values"]),
        ({"test": "difference", "between": {"cell": ["gru", "gru"]}}, ["key 'between'", "two different values"]),
        ({"test": "difference", "between": {"kind": ["gru", "lstm"]}}, ["key 'between': 'kind' is no column"]),
        ({"test": "difference", "between": ["gru", "lstm"]}, ["key 'between'", "is not one column with two values"]),
    ],
)
def test_check_names_key_value_and_what_is_allowed(change, words):
    problems = check({**GOOD, **change}, COLUMNS)
    assert len(problems) == 1
    assert all(word in problems[0] for word in words)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (("says",), "key 'says' is missing"),
        (("y",), "key 'y' is missing"),
        (("test",), "key 'test' is missing"),
        (("expected", "margin"), "this one has none"),
        (("margin",), "keys 'expected' and 'margin' come together"),
    ],
)
def test_check_names_what_is_missing(missing, words):
    claim = {key: value for key, value in GOOD.items() if key not in missing}
    assert [words in problem for problem in check(claim, COLUMNS)] == [True]


def test_check_reports_every_mistake_at_once():
    problems = check({"test": "slope", "y": "loss", "where": {"depth": 1}, "confidence": 0.9}, COLUMNS[1:])
    assert len(problems) == 7  # says, x, confidence, seed, y, where, region


# rows


def test_select_takes_null_as_an_empty_cell():
    frame = pd.DataFrame({"clip": [np.nan, 1.0, 2.0], "cell": ["gru", "gru", None]})
    assert select(frame, {"clip": None}).index.tolist() == [0]
    assert select(frame, {"clip": [None, 2.0]}).index.tolist() == [0, 2]
    assert select(frame, {"clip": [1.0, 7.0], "cell": "gru"}).index.tolist() == [1]
    assert select(frame, None).index.tolist() == [0, 1, 2]


def test_summarise_leaves_out_what_is_not_finite_and_counts_the_seeds_that_remain():
    frame = pd.DataFrame({"x": [1, 1, 1, 1, 2, 2], "seed": [0, 0, 1, 2, 0, 1], "y": [1, 3, 6, INF, NAN, NAN], "k": 7.0})
    summary = summarise(frame, ["x"], "y", ["k"])
    assert summary["n"].tolist() == [2, 0]
    assert summary["y"][0] == 4.0  # the mean of seed 0 (2) and seed 1 (6)
    np.testing.assert_allclose(summary.loc[0, ["low", "high"]].astype(float), t_interval([2, 6]), rtol=1e-12)
    assert summary.loc[1, ["y", "low", "high"]].isna().all()
    assert summary["k"].tolist() == [7.0, 7.0]


def test_half_widths_broadcast():
    widths = t_half_width(np.array([1.0, 1.0, 0.0]), np.array([1, 4, 4]))
    np.testing.assert_allclose(widths, [NAN, stats.t.ppf(0.975, 3) / 2, 0.0])
