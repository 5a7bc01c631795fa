"""What the command line shows: tables and progress, plain lines where no terminal is looking."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A function to call with a text as each of `total` parts is done; it shows rate and time left on stderr."""
    begun = time.perf_counter()
    if not (total and sys.stderr.isatty()):
        yield _line_writer(what, total, begun)
        return
    from rich import progress as parts
    from rich.console import Console

    texts = (parts.TextColumn("{task.description}"), parts.BarColumn(), parts.MofNCompleteColumn())
    times = (parts.TextColumn("{task.fields[rate]}"), parts.TimeElapsedColumn(), parts.TimeRemainingColumn())
    with parts.Progress(*texts, *times, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(part: str) -> None:
            bar.advance(task)
            bar.update(task, rate=_rate(bar.tasks[0].completed, begun))

        yield advance


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
