"""Processes of this machine: whether one still runs, what runs in a folder, and how to end one.

A number alone does not name a process, since numbers come again; with the clock tick of its start it does. Where the
system has no /proc (macOS) the number has to do.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
PATIENCE = 10.0  # seconds that a process has after a polite request to end
KEPT = "what was finished is kept, and the same command goes on from there"  # what it says as it ends


def began(pid: int) -> int | None:
    """The clock tick (since the machine started) at which a process began; None if it has ended, 0 without /proc."""
    if not PROC.is_dir():
        return _answers(pid)
    try:
        state, *rest = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(rest[18])  # proc(5): fields 3 and 22


def _answers(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0


def commands_in(folder) -> dict[int, list[str]]:
    """Process -> its command line, for those whose working folder this is; none where there is no /proc."""
    found = {}
    for place in PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if os.path.samefile(place / "cwd", folder):
                found[int(place.name)] = (place / "cmdline").read_text(errors="replace").split("\0")[:-1]
    return found


def end(pid: int, clock: int) -> None:
    """Ask a process to end, and kill it if it has not after PATIENCE; nothing happens to another of its number."""
    for sent, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        if began(pid) != clock:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, sent)
        until = time.monotonic() + patience
        while began(pid) == clock and time.monotonic() < until:
            time.sleep(0.05)
