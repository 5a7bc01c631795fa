"""What claims, figures and summaries do with the rows of a tidy table: choose them, average within a seed, put an
interval over seeds.

The unit of replication is the seed. Rows of one seed (its lags, its batch, its other settings) share weights and data,
so they are averaged first and count once; only seeds are independent. The level is 95 % everywhere and is no
parameter: an interval that could be chosen after the result is no test.
"""

import numpy as np
import scipy

from recurlab.random import Stream, integers

CONFIDENCE = 0.95
RESAMPLES = 4000  # of a bootstrap: its 2.5 % point is then known to 0.25 % of probability


def listed(value) -> list:
    """`value` as a list: None is empty, a list is itself, anything else has one entry."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def select(table, where: dict | None):
    """The rows of `table` in which every column of `where` has the value, or one of the values, asked for.

    Raises ValueError if no row is left, with the values that each column does have.
    """
    chosen = np.ones(len(table), dtype=bool)
    for column, wanted in (where or {}).items():
        values = [None] if wanted is None else listed(wanted)
        null = table[column].isna() if None in values else False  # a setting that is null is an empty cell
        chosen &= (table[column].isin([value for value in values if value is not None]) | null).to_numpy()
    if not chosen.any():
        raise ValueError(f"where {where or {}} selects no row of {len(table)}{_present(table, where or {})}")
    return table[chosen]


def _present(table, where: dict) -> str:
    """'; column has a, b, c' for each column of `where`, for error messages (at most 12 values each)."""
    return "".join(f"; {column} has {', '.join(map(str, table[column].unique()[:12]))}" for column in where)


def refuse_empty(frame, columns) -> None:
    """Raises ValueError if a grouping column has an empty cell: such rows would drop out without a word."""
    for column in columns:
        empty = int(frame[column].isna().sum())
        if empty:
            raise ValueError(f"column '{column}' is empty in {empty} of the {len(frame)} chosen rows: narrow `where`")


def t_half_width(deviation, n):
    """Half the 95 % Student t interval of a mean: t(0.975, n-1) · deviation / √n; NaN for n < 2. Broadcasts."""
    n = np.asarray(n, dtype=float)
    freedom = np.where(n > 1, n - 1, np.nan)
    return scipy.special.stdtrit(freedom, 0.5 + CONFIDENCE / 2) * deviation / np.sqrt(n)


def wilson(share, n):
    """(low, high) of the 95 % score interval of a proportion; NaN for n < 2. Broadcasts.

    Wilson 1927: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). A share that is itself an average within each of n
    seeds varies less than 0/1 outcomes do, so for it the interval is at least 95 %.
    """
    share, n = np.asarray(share, dtype=float), np.asarray(n, dtype=float)
    n = np.where(n > 1, n, np.nan)
    z = scipy.special.ndtri(0.5 + CONFIDENCE / 2)
    centre = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    shrink = 1 + z**2 / n
    return np.clip((centre - half) / shrink, 0, 1), np.clip((centre + half) / shrink, 0, 1)


def quantile_interval(values, q: float) -> tuple[float, float]:
    """(low, high) of the q-quantile from the order statistics of `values` (n,): at least 95 % for any distribution.

    The number of values below the quantile is binomial, so x_(l) and x_(u) enclose it unless the count is < l or >= u,
    each at most 2.5 % likely (Conover 1999, sec. 3.2). NaN where no such rank exists: n < 6 for the median, n < 36 for
    q = 0.9. The percentile bootstrap would do it with fewer values, but holds 0.84 in place of 0.95 at n = 32, q = 0.9.
    """
    tail = (1 - CONFIDENCE) / 2
    below = scipy.special.bdtr(np.arange(len(values)), len(values), q)  # P(count <= k)
    low, high = (below <= tail).sum(), (below < 1 - tail).sum() + 1  # ranks, from 1
    if low < 1 or high > len(values):
        return np.nan, np.nan
    ordered = np.sort(values)
    return float(ordered[low - 1]), float(ordered[high - 1])


def bootstrap_median_interval(values) -> tuple[float, float]:
    """(low, high): the 2.5 % and 97.5 % points of the medians of RESAMPLES samples of `values` (n,) with replacement.

    Efron 1979. The samples have an address of their own, so the same values have the same interval. NaN below 5 values,
    of which the interval would reach from the least to the largest and still hold too little.
    """
    n = len(values)
    if n < 5:
        return np.nan, np.nan
    drawn = np.asarray(values)[integers(Stream(0, "bootstrap"), n, (RESAMPLES, n))]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.median(drawn, axis=1), [tail, 1 - tail])
    return float(low), float(high)


def summarise(frame, groups, y: str, also=(), estimate: str = "mean"):
    """One row a group: an estimate of `y` over seeds with its 95 % interval in `low`, `high`, number of seeds `n`.

    `estimate`: one of ESTIMATES. Each seed is averaged first. Values that are not finite are left out, so `n` says how
    many seeds it rests on (n = 0: NaN). `also`: columns averaged beside `y` (a theory). Groups keep the order of the
    table.
    """
    groups, also = list(dict.fromkeys(groups)), [column for column in dict.fromkeys(also) if column not in groups]
    refuse_empty(frame, [*groups, "seed"])
    numbers = frame[[y, *also]].astype(float)
    numbers = numbers.where(np.isfinite(numbers))
    keys = [column for column in groups if column != "seed"]
    seeds = frame[[*keys, "seed"]].assign(**numbers).groupby([*keys, "seed"], sort=False, as_index=False).mean()
    parts = seeds.groupby(keys, sort=False)
    found = ESTIMATES[estimate](parts[y])
    summary = found.rename(columns={"estimate": y}).assign(**parts[also].mean()).reset_index()
    return summary[[*keys, y, "low", "high", "n", *also]]


def _means(parts):
    """Mean with its t interval."""
    found = parts.agg(estimate="mean", deviation="std", n="count")
    half = t_half_width(found["deviation"], found["n"])
    return found.assign(low=found["estimate"] - half, high=found["estimate"] + half)


def _medians(parts):
    """Median with its interval from order statistics, NaN below 6 seeds."""
    found = parts.agg(estimate="median", n="count")
    ends = [quantile_interval(values.dropna().to_numpy(), 0.5) for _, values in parts]
    low, high = np.array(ends).T
    return found.assign(low=low, high=high)


def _shares(parts):
    """Share of seeds with its Wilson interval."""
    found = parts.agg(estimate="mean", n="count", least="min", most="max")
    if not (found["least"].fillna(0).ge(0) & found["most"].fillna(1).le(1)).all():
        raise ValueError(f"column '{parts.obj.name}' has values outside [0, 1]: they are no shares")
    low, high = wilson(found["estimate"], found["n"])
    return found.assign(low=low, high=high)


ESTIMATES = {"mean": _means, "median": _medians, "share": _shares}
