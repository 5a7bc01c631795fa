"""The keys that a claim may have, and every mistake in them."""

import numpy as np

from recurlab.claims.estimators import ESTIMATORS
from recurlab.experiment import suggest
from recurlab.rows import listed

# Keys of each estimator beyond says, source, test, y, where and the region: (those it needs, those it may have).
KEYS = {
    "mean": ((), ("by", "minus")),
    "slope": (("x",), ("by", "minus")),
    "difference": (("between",), ("by", "minus")),
    "median_difference": (("between",), ("by", "minus")),
    "ratio": (("between",), ("by",)),
    "sign_test": (("between",), ("by", "minus")),
    "success_difference": (("between",), ()),
    "bleu_difference": (("between",), ()),
    "proportion": ((), ()),
    "maximum": ((), ("minus",)),
    "z": (("known",), ("by",)),
    "median": ((), ("by", "minus")),
    "bootstrap_median": ((), ("by", "minus")),
    "quantile": (("q",), ("by", "minus")),
    "ks": ((), ("by",)),
}
COMMON = ("says", "source", "test", "y", "where")
REGION = ("expected", "margin", "at_least", "at_most")


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
    if claim["test"] not in list(ESTIMATORS):  # a list compares what has no hash, too
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
