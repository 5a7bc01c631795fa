"""The rows of the bench as a person reads them: tables for a terminal, and a page in Markdown."""

from pathlib import Path

from recurlab.bench.case import Case
from recurlab.files import write_text
from recurlab.markup import markdown_table

BEGIN, END = "<!-- bench -->", "<!-- end of bench -->"  # lines of a page between which its tables stand
SIZES = ("cell", "dtype", "T", "B", "H", "I", "R")


def heading(machine: dict) -> str:
    """Machine, versions, threads and ceilings in one line."""
    peaks = [
        f"{dtype} {flops / 1e9:.0f} GFLOP/s on {threads}"
        for dtype, by_threads in machine["ceiling_flops"].items()
        for threads, flops in by_threads.items()
    ]
    versions = {"numba": machine["versions"]["numba"], **machine["peers"]}
    told = [f"{name} {version}" for name, version in versions.items()]
    return f"{_place(machine)}; {', '.join(told)}; ceiling {', '.join(peaks)}"


def _place(machine: dict) -> str:
    """What did the work."""
    if "gpu" not in machine:
        return f"{machine['cpu']}, {machine['threads']} threads"
    described = ", ".join(str(value) for value in machine["gpu"].values() if value)
    return f"{described}; memory {machine['bandwidth'] / 1e9:.0f} GB/s"


def table(rows: list[dict]) -> list[dict]:
    """One line a row, sorted by case; the fastest peer of each case is marked."""
    order = {name: list(dict.fromkeys(row[name] for row in rows)) for name in ("suite", "dtype", "cell")}
    ordered = sorted(rows, key=lambda row: [values.index(row[name]) for name, values in order.items()])
    return [_line(row, row is fastest_peer(_of_case(rows, row))) for row in ordered]


def _of_case(rows: list[dict], one: dict) -> list[dict]:
    return [row for row in rows if all(row[name] == one[name] for name in ("suite", *SIZES))]


def fastest_peer(rows: list[dict]) -> dict | None:
    """The row with the smallest ratio among those of one case; None without a ratio."""
    return min((row for row in rows if row["ratio"] is not None), key=lambda row: row["ratio"], default=None)


def label(row: dict) -> str:
    """The case of a row."""
    return Case(**{name: row[name] for name in SIZES}).label if row["T"] else row["cell"]


def _line(row: dict, fastest: bool) -> dict:
    return {
        "suite": row["suite"],
        "case": label(row),
        "threads": row["threads"],
        "ms": _number(row["seconds"], 1e3),
        "% of peak": _number(row["percent_of_peak"]),
        "peer": row["peer"] + " *" * fastest,
        "peer ms": _number(row["peer_seconds"], 1e3),
        "ratio": _ratio(row),
        "rounds": row["rounds"],
        "error": "" if row["max_relative_error"] is None else f"{row['max_relative_error']:.1e}",
    }


def _number(value: float | None, scale: float = 1.0) -> str:
    return "" if value is None else f"{scale * value:.3g}"


def _ratio(row: dict) -> str:
    """'1.42 (1.38–1.47)', without the interval where there is none."""
    if row["ratio"] is None:
        return ""
    interval = "" if row["ratio_low"] is None else f" ({row['ratio_low']:.3g}–{row['ratio_high']:.3g})"
    return f"{row['ratio']:.3g}{interval}"


def worst(rows: list[dict]) -> list[str]:
    """One line for each suite, cell and dtype: its smallest ratio against any peer."""
    groups: dict = {}
    for row in rows:
        groups.setdefault((row["suite"], row["cell"], row["dtype"]), []).append(row)
    found = [fastest_peer(group) for group in groups.values()]
    return [f"worst {row['suite']}: {label(row)} against {row['peer']}: {_ratio(row)}" for row in found if row]


def markdown(record: dict) -> str:
    """All of a record: machine and method, the worst ratios first, then every row of every table."""
    machine = record["machine"]
    parts = [
        f"{heading(machine)}.",
        f"{machine['date'][:10]}, commit {(machine['commit'] or 'unknown')[:12]}, vectors of {machine['vector_bits']} "
        f"bits, {machine['system']}. Method: {machine['method']}.",
        "\n".join(f"* {line}" for line in [*_missing(machine), *worst(record["rows"])]),
    ]
    for suite in dict.fromkeys(row["suite"] for row in record["rows"]):
        lines = table([row for row in record["rows"] if row["suite"] == suite])
        parts += [f"### {suite}", _markdown_table([{k: v for k, v in line.items() if k != "suite"} for line in lines])]
    extra = {name: rows for name, rows in record.items() if name not in ("machine", "rows")}
    for name, rows in extra.items():
        parts += [f"### {name.replace('_', ' ')}", _markdown_table(rows)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _missing(machine: dict) -> list[str]:
    return [f"{name} was not installed: no rows against it" for name in machine["peers_missing"]]


def _markdown_table(rows: list[dict]) -> str:
    """Rows with equal keys; floats to four digits."""
    return "\n".join(markdown_table(rows[0], (map(_cell, row.values()) for row in rows)))


def _cell(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def page_parts(path) -> tuple[str, str]:
    """What stands before the line BEGIN and after the line END of a page; a page that is not there yet is empty."""
    if not Path(path).is_file():
        return "", "\n"
    head, begin, rest = Path(path).read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: has no lines {BEGIN} and {END} to write between")
    return head, tail


def write_page(path, record: dict) -> Path:
    """Write the tables between the lines BEGIN and END of a page."""
    head, tail = page_parts(path)
    return write_text(path, f"{head}{BEGIN}\n\n{markdown(record)}\n{END}{tail}")
