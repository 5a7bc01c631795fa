"""Verdicts: a named estimator with its 95 % interval against a region written down before the run.

`reproduced`: the interval lies inside the region. `not reproduced`: it lies outside. Otherwise `undetermined`: more
seeds would be needed. Where two groups are compared, p stands beside the interval for readers who look for it; it
decides nothing.
"""

from typing import NamedTuple

import numpy as np
import pandas

from recurlab.claims.estimate import Estimate
from recurlab.claims.estimators import ESTIMATORS
from recurlab.claims.keys import check
from recurlab.rows import select

__all__ = ["ESTIMATORS", "Estimate", "Region", "check", "evaluate", "region", "verdict"]


class Region(NamedTuple):
    """The values that agree with a claim: low <= value <= high."""

    low: float
    high: float
    text: str


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
    Columns: claim, source, estimator, estimate, low, high, n, p, expected, margin, region, verdict.
    Raises ValueError that names the claim: a mistake `check` finds, or a `where` without rows.
    """
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
