"""The bench: recurlab's kernels against its peers and against the machine, on sizes that are fixed here.

A new suite is one file with a function `jobs(settings)` and one line in SUITES. Thread counts must be in the
environment before this is imported.
"""

from datetime import UTC, datetime
from importlib.metadata import version

from recurlab.bench import language, model, peers, scaling, single, startup, sweep, training
from recurlab.bench.ceiling import peak_flops
from recurlab.bench.suite import Job, Result, Settings
from recurlab.bench.timing import FOREIGN, Clocks, system_clocks
from recurlab.cells import CELLS
from recurlab.layers.checks import expect_choice, expect_device

SUITES = {
    "single": single,
    "sweep": sweep,
    "scaling": scaling,
    "training": training,
    "language": language,
    "startup": startup,
}
DEFAULT_CELLS = ("lstm", "gru", "rnn_tanh")
ROUNDS, QUICK_ROUNDS = 15, 6  # fewer than 6 have no 95 % interval
SAMPLE_SECONDS, QUICK_SAMPLE_SECONDS = 0.08, 0.02
PACKAGES = {"torch": ("torch",), "jax": ("jax", "jaxlib")}  # peer -> distributions whose versions are noted


def on_gpu():
    """The bench of a GPU: numba.cuda is loaded by those who have one."""
    from recurlab.bench import gpu

    return gpu


def settings(cells, dtypes, threads: int, rounds: int | None = None, quick: bool = False, device: str = "cpu"):
    """The settings of a run: cells None means DEFAULT_CELLS.

    ValueError for a name that CELLS has not, and for a device that cannot be used here.
    """
    expect_device(device)
    cells = tuple(expect_choice("cells", cell, CELLS) for cell in cells or DEFAULT_CELLS)
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    seconds = QUICK_SAMPLE_SECONDS if quick else SAMPLE_SECONDS
    clocks = system_clocks() if device == "cpu" else Clocks()  # while the GPU works, the processor may have others
    return Settings(cells, tuple(dtypes), threads, rounds, quick, seconds, clocks, device)


def jobs(suites, chosen: Settings) -> list[Job]:
    """The measurements of the named suites, all without names; ValueError for a name that the device has not."""
    if chosen.device != "cpu":
        return on_gpu().jobs(suites, chosen)
    names = [expect_choice("suite", name, SUITES) for name in suites] or list(SUITES)
    peers.prepare(chosen.threads)
    return [job for name in dict.fromkeys(names) for job in SUITES[name].jobs(chosen)]


def facts(chosen: Settings) -> dict:
    """What a reader must know of a run: date, method, threads, FLOP/s ceilings, peers with their versions."""
    if chosen.device != "cpu":
        return on_gpu().facts(chosen)
    counts = peers.thread_counts(chosen.threads)
    installed = peers.installed()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": method(chosen),
        "threads": chosen.threads,
        "ceiling_flops": {dtype: {str(n): peak_flops(dtype, n) for n in counts} for dtype in chosen.dtypes},
        "peers": {package: version(package) for name in installed for package in PACKAGES[name]},
        "peers_missing": [name for name in peers.PEERS if name not in installed],
        "peers_flush_denormals": peers.flushing(),
    }


def method(chosen: Settings) -> str:
    """How the times were taken, in words."""
    filtered = f"rounds in which others took more than {FOREIGN:.0%} of the CPU time dropped"
    if chosen.clocks.machine is None:
        filtered = "every round kept: this system does not tell what other processes took"
    return (
        "one process, competitors in turn, order rotated each round; each sample a batch of at least "
        f"{chosen.sample_seconds} s right after an unmeasured call; {filtered}; medians of ratios within a round, "
        "95 % intervals from order statistics"
    )


def add(record: dict, result: Result) -> None:
    """Put the rows of a job into a record {"rows": [...]}, those of its further tables under their names."""
    record["rows"] += result.rows
    for name, rows in result.tables.items():
        record[name] = record.get(name, []) + rows
    if models := model.table(record["rows"]):
        record["cost_model"] = models
