"""How two tables differ: not at all, in bytes only, in values, or in rows."""

from itertools import product
from pathlib import Path

import numpy as np

from recurlab import instructions, results
from recurlab.instructions import BOUND

LABELS = ("setting", "replica", "seed")  # roles of the columns that say which measurement a row is


def difference(a, b) -> tuple[bool, list[str]]:
    """(whether all values are equal, what to tell) of two tables: parquet files, or folders with a table.parquet.

    Rows are matched by settings, replica keys and seed, then by their order. NaN equals NaN. Columns of times are left
    out, which is told: no run repeats them. So are columns within the bound where the instructions are others.
    """
    paths = [_table_file(path) for path in (a, b)]
    if paths[0].read_bytes() == paths[1].read_bytes():
        return True, ["equal to the byte"]
    tables = [results.read(path) for path in paths]
    roles = [results.roles_of(table) for table in tables]
    labels = [[name for name, role in own.items() if role in LABELS] for own in roles]
    times = [name for name, role in roles[0].items() if role == "time"]
    told = _only_in_one("column", *(set(table.column_names) for table in tables))
    if labels[0] != labels[1]:
        return False, [*told, "the tables have different settings, so no rows are compared"]
    frames = [_numbered(results.to_frame(table), labels[0]) for table in tables]
    both = frames[0].merge(frames[1], on=[*labels[0], "row"], how="outer", suffixes=(" A", " B"), indicator="side")
    told += [f"{n} rows are in {side[0]} only" for side, n in zip(("A", "B"), _one_sided(both), strict=True) if n]
    matched = both[both["side"] == "both"]
    aside = {*labels[0], *times}
    shared = [name for name in tables[0].column_names if name in tables[1].column_names and name not in aside]
    pairs = {name: (matched[f"{name} A"], matched[f"{name} B"]) for name in shared}
    bounded, note = _bounded(*paths)
    close = [name for name, pair in pairs.items() if bounded and 0 < share(*pair) <= BOUND]
    told += [text for name in shared if name not in close and (text := _column_difference(name, *pairs[name]))]
    note += [f"within that bound: {', '.join(close)}"] if close else []
    note += [f"not compared, for no run repeats a time: {', '.join(times)}"] if times else []
    told_or_equal = told or ([] if close else ["equal values, different bytes"])
    return not told, [*told_or_equal, *note]


def _bounded(*paths: Path) -> tuple[bool, list[str]]:
    """Whether a bound takes the place of equality, since records name different instructions, and what to tell."""
    found = [instructions.of_table(path.parent) for path in paths]
    if not any(instructions.differ(a, b) for a, b in product(*found)):
        return False, []
    sides = "A was computed with {}, B with {}".format(*(" and ".join(map(instructions.told, each)) for each in found))
    return True, [f"{sides}: numbers may differ by {BOUND:g} of the largest in their column"]


def share(left, right) -> float:
    """The largest difference of two columns as a share of their largest finite number, at least 1.

    inf where other things than numbers differ, and for NaN beside a number.
    """
    if not all(side.dtype.kind in "fiu" for side in (left, right)):
        return 0.0 if left.equals(right) else np.inf
    a, b = left.to_numpy(float), right.to_numpy(float)
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differs.any():
        return 0.0
    finite = np.abs(np.concatenate([a, b]))
    gap = np.abs(a[differs] - b[differs]).max()
    return np.inf if np.isnan(gap) else gap / finite[np.isfinite(finite)].max(initial=1.0)


def worst(a, b) -> tuple[str, float]:
    """(column, `share`) where two tables of the same rows are furthest apart; inf for other columns or rows."""
    if a.schema != b.schema or len(a) != len(b):
        return "columns or rows", np.inf
    frames = results.to_frame(a), results.to_frame(b)
    shares = {name: share(frames[0][name], frames[1][name]) for name in a.column_names}
    return max(shares.items(), key=lambda pair: pair[1])


def _table_file(path) -> Path:
    path = Path(path)
    path = path / "table.parquet" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    return path


def _numbered(frame, labels: list[str]):
    """The frame with a column `row` that numbers rows of equal labels."""
    return frame.assign(row=frame.groupby(labels, dropna=False).cumcount() if labels else np.arange(len(frame)))


def _one_sided(both) -> list[int]:
    return [int((both["side"] == side).sum()) for side in ("left_only", "right_only")]


def _only_in_one(what: str, a: set[str], b: set[str]) -> list[str]:
    return [f"{what} {name} is in {side} only" for side, only in (("A", a - b), ("B", b - a)) for name in sorted(only)]


def _column_difference(name: str, left, right) -> str:
    """How many values of a column differ and, for numbers, by how much; "" if none does."""
    differs = ((left != right) & ~(left.isna() & right.isna())).to_numpy(bool)
    if not differs.any():
        return ""
    told = f"{name}: {differs.sum()} of {len(left)} values differ"
    if not all(side.dtype.kind in "fiu" for side in (left, right)):
        return told
    pair = np.stack([left.to_numpy(float), right.to_numpy(float)])[:, differs]
    gap, size = np.abs(pair[0] - pair[1]), np.abs(pair).max(axis=0)
    return f"{told}, by at most {gap.max():.3g} (relative {(gap / size).max():.3g})"
