"""Verdicts: a named estimator with its 95 % interval against a region written down before the run.

`reproduced`: the interval lies inside the region. `not reproduced`: it lies outside. Otherwise `undetermined`: more
seeds would be needed. The seed is the unit of replication (see `rows`): every estimator averages within a seed first,
and nothing about the interval can be chosen in a claim.
"""

from typing import NamedTuple

import numpy as np
import scipy

from recurlab.experiment import suggest
from recurlab.rows import CONFIDENCE, listed, quantile_interval, refuse_empty, select, t_half_width, wilson


class Estimate(NamedTuple):
    """An estimate, the ends of its 95 % interval (NaN: there is none) and the number of seeds it rests on."""

    estimate: float
    low: float
    high: float
    n: int


class Region(NamedTuple):
    """The values that agree with a claim: low <= value <= high."""

    low: float
    high: float
    text: str


def mean(frame, claim: dict) -> Estimate:
    """Mean over seeds of the mean of `y` within each seed; t interval over seeds."""
    return _mean_of(_per_seed(frame, claim, lambda y, x: y.mean()))


def slope(frame, claim: dict) -> Estimate:
    """Mean over seeds of each seed's least-squares slope of `y` on `x`; t interval over seeds.

    With `minus: theory` the slope of y - theory: 0 where the theory has the right rate. With `by: cell` one slope for
    each cell of a seed, averaged within the seed.
    """
    return _mean_of(_per_seed(frame, claim, _least_squares_slope))


def difference(frame, claim: dict) -> Estimate:
    """Mean over seeds of (mean of `y` in group a) - (mean in group b), `between: {column: [a, b]}`; paired t interval.

    A pair is one seed with the same weights or data in both groups. Raises ValueError if a seed lacks one of them.
    """
    ((column, groups),) = claim["between"].items()
    sides = [_by_seed(select(frame, {column: group}), claim, lambda y, x: y.mean()) for group in groups]
    unpaired = sorted(sides[0].keys() ^ sides[1].keys())
    if unpaired:
        raise ValueError(f"{column}: seeds {unpaired[:8]} are in one of the groups {groups} only; pairs need both")
    return _mean_of(np.array([sides[0][seed] - sides[1][seed] for seed in sides[0]]))


def proportion(frame, claim: dict) -> Estimate:
    """Share of seeds with `y` = 1, Wilson interval with n = number of seeds.

    Several 0/1 rows of one seed are averaged to that seed's share first; the interval is then wider than need be.
    Raises ValueError if `y` has another value than 0 and 1.
    """
    if not frame[claim["y"]].isin([0, 1]).all():
        raise ValueError(f"column '{claim['y']}' has values other than 0 and 1: a proportion needs 0/1")
    shares = _per_seed(frame, claim, lambda y, x: y.mean())
    low, high = wilson(shares.mean(), len(shares))
    return Estimate(float(shares.mean()), float(low), float(high), len(shares))


def maximum(frame, claim: dict) -> Estimate:
    """Largest |y| over all rows, an exact quantity: low = high = estimate, n = number of rows.

    For identities and deviations that hold for every row (a gradient check, a baseline), not for noisy outcomes.
    """
    largest = float(np.abs(_values(frame, claim)).max())
    return Estimate(largest, largest, largest, len(frame))


def z(frame, claim: dict) -> Estimate:
    """(mean - known) / standard error: how many standard errors the seeds' mean of `y` is off the `known` column.

    The score is itself random: over n seeds its standard deviation is about √(1 + z²/2(n-1)) (normal approximation to
    the noncentral t; Johnson & Welch 1940), and the interval is z ± 1.96 of these. So `expected: 0, margin: 4` is
    reproduced for |z| < 2.0, which exact agreement reaches in 95 % of runs, and not reproduced for |z| > 6.2 (n = 64).
    Few seeds also make a small z: `mean` with `minus` and a margin in the quantity's own units is the stronger claim.
    No interval if the seeds do not differ.
    """
    deviation = _per_seed(frame, {**claim, "minus": claim["known"]}, lambda y, x: y.mean())
    n = len(deviation)
    error = deviation.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    if not error > 0:
        return Estimate(np.nan, np.nan, np.nan, n)
    score = deviation.mean() / error
    half = scipy.special.ndtri(0.5 + CONFIDENCE / 2) * np.sqrt(1 + score**2 / (2 * (n - 1)))
    return Estimate(float(score), float(score - half), float(score + half), n)


def median(frame, claim: dict) -> Estimate:
    """Median over seeds of the mean of `y` within each seed; percentile bootstrap over seeds (none below 6 seeds)."""
    return quantile(frame, {**claim, "q": 0.5})


def quantile(frame, claim: dict) -> Estimate:
    """The `q`-quantile over seeds of the mean of `y` within each seed; percentile bootstrap over seeds, one stream."""
    values = _per_seed(frame, claim, lambda y, x: y.mean())
    if not np.isfinite(values).all():
        return Estimate(np.nan, np.nan, np.nan, len(values))
    return Estimate(float(np.quantile(values, claim["q"])), *quantile_interval(values, claim["q"]), len(values))


def ks(frame, claim: dict) -> Estimate:
    """Mean over seeds of the Kolmogorov–Smirnov distance between `y` within a seed and U[0, 1]; t interval over seeds.

    Even exact uniforms are about 0.87/√m away (m values a seed), so the region is `at_most`.
    """
    return _mean_of(_per_seed(frame, claim, lambda y, x: uniform_distance(y)))


ESTIMATORS = {
    "mean": mean,
    "slope": slope,
    "difference": difference,
    "proportion": proportion,
    "maximum": maximum,
    "z": z,
    "median": median,
    "quantile": quantile,
    "ks": ks,
}

# Keys of each estimator beyond says, source, test, y, where and the region: (those it needs, those it may have).
KEYS = {
    "mean": ((), ("by", "minus")),
    "slope": (("x",), ("by", "minus")),
    "difference": (("between",), ("by", "minus")),
    "proportion": ((), ()),
    "maximum": ((), ("minus",)),
    "z": (("known",), ("by",)),
    "median": ((), ("by", "minus")),
    "quantile": (("q",), ("by", "minus")),
    "ks": ((), ("by",)),
}
COMMON = ("says", "source", "test", "y", "where")
REGION = ("expected", "margin", "at_least", "at_most")


def uniform_distance(values) -> float:
    """max over u of |F(u) - u| between the empirical distribution F of `values` (m,) and U[0, 1]."""
    u = np.clip(np.sort(values), 0, 1)
    steps = np.arange(len(u) + 1) / len(u)
    return float(max((steps[1:] - u).max(), (u - steps[:-1]).max()))


def region(claim: dict) -> Region:
    """The region of a claim: expected ± margin, at_least, or at_most."""
    if "at_least" in claim:
        return Region(claim["at_least"], np.inf, f"≥ {claim['at_least']:g}")
    if "at_most" in claim:
        return Region(-np.inf, claim["at_most"], f"≤ {claim['at_most']:g}")
    expected, margin = claim["expected"], claim["margin"]
    return Region(expected - margin, expected + margin, f"{expected:g} ± {margin:g}")


def verdict(low: float, high: float, region: Region) -> str:
    """'reproduced' if [low, high] lies in the region, 'not reproduced' if outside it, otherwise 'undetermined'."""
    if region.low <= low and high <= region.high:
        return "reproduced"
    if high < region.low or low > region.high:
        return "not reproduced"
    return "undetermined"


def evaluate(experiment, table):
    """The claims of an experiment as a table, one row a claim, in the order of the file.

    experiment: has `claims` (a list of mappings as in the YAML file) and `source`. table: its tidy results.
    Columns: claim, source, estimator, estimate, low, high, n, expected, margin, region, verdict.
    Raises ValueError that names the claim: a mistake `check` finds, or a `where` without rows.
    """
    import pandas  # 0.5 s that checking an experiment does not need

    rows = [_evaluate_one(claim, experiment.source, table) for claim in experiment.claims]
    columns = ("claim", "source", "estimator", *Estimate._fields, "expected", "margin", "region", "verdict")
    return pandas.DataFrame(rows, columns=columns)


def _evaluate_one(claim: dict, source: str, table) -> tuple:
    problems = check(claim, table.columns)
    if problems:
        raise ValueError(f"claim '{claim.get('says')}': " + "; ".join(problems))
    try:
        result = ESTIMATORS[claim["test"]](select(table, claim.get("where")), claim)
    except ValueError as error:
        raise ValueError(f"claim '{claim['says']}': {error}") from error
    allowed = region(claim)
    written = (claim.get("expected", np.nan), claim.get("margin", np.nan), allowed.text)
    judged = verdict(result.low, result.high, allowed)
    return claim["says"], claim.get("source", source), claim["test"], *result, *written, judged


def check(claim: dict, columns) -> list[str]:
    """Every mistake in a claim, in words, given the columns its table will have; an empty list if there is none."""
    columns = list(columns)
    problems = _check_names(claim)
    problems += [] if "seed" in columns else ["the table has no column 'seed': seeds are the unit of replication"]
    problems += _check_columns(claim, columns)
    problems += _check_between(claim, columns)
    return problems + _check_region(claim) + _check_quantile(claim)


def _check_names(claim: dict) -> list[str]:
    """Unknown estimator, missing keys, keys that the estimator does not use."""
    missing = [f"key '{key}' is missing" for key in ("says", "test", "y") if key not in claim]
    texts = [
        f"key '{key}': {claim[key]!r} is not a text" for key in ("says", "source") if _not_text(claim.get(key, ""))
    ]
    if "test" not in claim:
        return missing + texts
    if claim["test"] not in ESTIMATORS:
        return [*missing, *texts, f"key 'test': {claim['test']!r} is no estimator{suggest(claim['test'], ESTIMATORS)}"]
    needs, may = KEYS[claim["test"]]
    missing += [f"key '{key}' is missing: {claim['test']} needs it" for key in needs if key not in claim]
    known = (*COMMON, *needs, *may, *REGION)
    unknown = [
        f"key '{key}' means nothing to {claim['test']}{suggest(key, known)}" for key in claim if key not in known
    ]
    return missing + texts + unknown


def _check_columns(claim: dict, columns: list) -> list[str]:
    """Columns named by y, x, by, minus, known and where that the table does not have."""
    where = claim.get("where", {})
    if not isinstance(where, dict):
        return [f"key 'where': {where!r} is not a mapping of columns to values"]
    named = [(key, claim[key]) for key in ("y", "x", "minus", "known") if key in claim]
    named += [("by", name) for name in listed(claim.get("by"))] + [("where", name) for name in where]
    return [
        f"key '{key}': {name!r} is no column of the table{suggest(name, columns)}"
        for key, name in named
        if name not in columns
    ]


def _check_between(claim: dict, columns: list) -> list[str]:
    """`between` is one column of the table with two different values."""
    between = claim.get("between", None)
    if between is None:
        return []
    if not (isinstance(between, dict) and len(between) == 1):
        return [f"key 'between': {between!r} is not one column with two values, {{column: [a, b]}}"]
    ((column, groups),) = between.items()
    problems = (
        [] if column in columns else [f"key 'between': {column!r} is no column of the table{suggest(column, columns)}"]
    )
    if not (isinstance(groups, list) and len(groups) == 2 and groups[0] != groups[1]):
        problems.append(f"key 'between': {groups!r} is not two different values [a, b]")
    return problems


def _check_region(claim: dict) -> list[str]:
    """Exactly one region, of finite numbers."""
    forms = [
        form for form in (("expected", "margin"), ("at_least",), ("at_most",)) if any(key in claim for key in form)
    ]
    allowed = "one region: expected and margin, or at_least, or at_most"
    problems = []
    if len(forms) != 1:
        problems.append(
            f"a claim has {allowed}; this one has {'none' if not forms else ' and '.join(map(_join, forms))}"
        )
    if ("expected" in claim) != ("margin" in claim):
        problems.append("keys 'expected' and 'margin' come together")
    problems += [
        f"key '{key}': {claim[key]!r} is not a finite number" for key in REGION if _not_number(claim.get(key, 0))
    ]
    if not problems and claim.get("margin", 0) < 0:
        problems.append(f"key 'margin': {claim['margin']!r} is negative")
    return problems


def _check_quantile(claim: dict) -> list[str]:
    q = claim.get("q", 0.5)
    return [] if not _not_number(q) and 0 < q < 1 else [f"key 'q': {q!r} is not a number between 0 and 1"]


def _join(keys) -> str:
    return " + ".join(keys)


def _not_text(value) -> bool:
    return not isinstance(value, str)


def _not_number(value) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value)


def _values(frame, claim: dict) -> np.ndarray:
    """`y`, less the column `minus` if the claim has one: float64 (rows,)."""
    values = frame[claim["y"]].to_numpy(dtype=float)
    return values - frame[claim["minus"]].to_numpy(dtype=float) if "minus" in claim else values


def _by_seed(frame, claim: dict, statistic) -> dict:
    """seed -> statistic(y, x) of its rows; with `by`, taken in each group of the seed and averaged over them."""
    keys = ["seed", *listed(claim.get("by"))]
    refuse_empty(frame, keys)
    y = _values(frame, claim)
    x = frame[claim["x"]].to_numpy(dtype=float) if "x" in claim else y
    parts: dict = {}
    for key, rows in frame.groupby(keys).indices.items():
        parts.setdefault(key[0] if isinstance(key, tuple) else key, []).append(statistic(y[rows], x[rows]))
    return {seed: float(np.mean(values)) for seed, values in parts.items()}


def _per_seed(frame, claim: dict, statistic) -> np.ndarray:
    return np.array(list(_by_seed(frame, claim, statistic).values()))


def _mean_of(values: np.ndarray) -> Estimate:
    """Mean of one value a seed with its t interval; no interval from one seed, or if a value is not finite."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return Estimate(float(values.mean()), np.nan, np.nan, n)
    half = t_half_width(values.std(ddof=1), n)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), n)


def _least_squares_slope(y: np.ndarray, x: np.ndarray) -> float:
    """Σ (x-x̄)(y-ȳ) / Σ (x-x̄)²."""
    centred = x - x.mean()
    spread = centred @ centred
    if not spread > 0:
        raise ValueError("a slope needs two different values of x in every seed")
    return float(centred @ (y - y.mean()) / spread)
