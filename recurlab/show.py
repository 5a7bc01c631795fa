"""What the command line shows: tables and progress, plain lines where no terminal is looking."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

SECONDS = 15.0  # between two lines about a part that goes on


def table(rows: list[dict], title: str = "") -> None:
    """Rows with equal keys on stdout: a drawn table in a terminal, tab-separated lines elsewhere."""
    if not rows:
        return
    if not sys.stdout.isatty():
        print("\n".join("\t".join(map(text, line)) for line in [rows[0], *(row.values() for row in rows)]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*rows[0], title=title or None)
    for row in rows:
        drawn.add_row(*(Text(text(value)) for value in row.values()))  # Text: a bracket is no markup
    Console().print(drawn)


def text(value) -> str:
    """A value in a cell: floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """A time in words, in its two largest units: '3 h 20 min'; None is unknown."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


class Progress(NamedTuple):
    """What to call as work goes on: `advance` when one of the parts is done, `within` as one of them goes on."""

    advance: Callable[[str], None]  # (which part)
    within: Callable[[str, str, int, int], None]  # (which part, what it does, how much is done, of how much)


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """Progress on stderr with rate and time left: bars in a terminal, lines elsewhere."""
    begun = time.perf_counter()
    if not (total and sys.stderr.isatty()):
        yield Progress(_line_writer(what, total, begun), _slow_line_writer())
        return
    from rich import progress as parts
    from rich.console import Console

    texts = (parts.TextColumn("{task.description}"), parts.BarColumn(), parts.MofNCompleteColumn())
    times = (parts.TextColumn("{task.fields[rate]}"), parts.TimeElapsedColumn(), parts.TimeRemainingColumn())
    with parts.Progress(*texts, *times, console=Console(stderr=True)) as bar:
        yield _bars(bar, what, total, begun)


def _bars(bar, what: str, total: int, begun: float) -> Progress:
    """A bar for all parts, and one below it for each part that tells how far it is."""
    task, within_task = bar.add_task(what, total=total, rate=""), {}

    def advance(part: str) -> None:
        if part in within_task:
            bar.remove_task(within_task.pop(part))
        bar.advance(task)
        bar.update(task, rate=_rate(bar.tasks[0].completed, begun))

    def within(part: str, doing: str, done: int, of: int) -> None:
        if part not in within_task:
            within_task[part] = bar.add_task("", rate="")
        bar.update(within_task[part], description=f"  {part} {doing}", completed=done, total=of)

    return Progress(advance, within)


def _rate(done: float, begun: float) -> str:
    return f"{60 * done / (time.perf_counter() - begun):.3g}/min"


def _line_writer(what: str, total: int, begun: float) -> Callable[[str], None]:
    """One line for each part: how many are done, which, how fast, and how long the rest takes at that rate."""
    done = 0

    def advance(part: str) -> None:
        nonlocal done
        done += 1
        left = (time.perf_counter() - begun) * (total - done) / done
        line = f"{what}: {done} of {total}, {part}, {_rate(done, begun)}, {left:.0f} s left"
        print(line, file=sys.stderr, flush=True)

    return advance


def _slow_line_writer() -> Callable[[str, str, int, int], None]:
    """A line every SECONDS for each part that goes on: how far it is, how fast, and how long the rest takes."""
    first: dict[tuple, tuple[float, int]] = {}
    told: dict[str, float] = {}

    def within(part: str, doing: str, done: int, of: int) -> None:
        now = time.perf_counter()
        begun, before = first.setdefault((part, doing), (now, done))
        if now - told.setdefault(part, now) < SECONDS or done == before:
            return
        told[part] = now
        rate = (done - before) / (now - begun)
        print(
            f"{part} {doing}: {done} of {of}, {rate:.3g}/s, {(of - done) / rate:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    return within
