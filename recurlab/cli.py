"""The command line, `recurlab COMMAND`. Exit code 0 done, 1 something failed or differs, 2 refused, 130 interrupted,
143 terminated.

A command imports what it needs when it runs: thread counts must be in the environment before NumPy is loaded.
"""

import argparse
import os
import re
import shlex
import signal
import sys
import threading
import warnings
from collections import Counter
from contextlib import contextmanager

from recurlab import monitor, processes
from recurlab.experiment import SCALES
from recurlab.studies import TIMED

LISTS = (
    "experiments",
    "cells",
    "inits",
    "tasks",
    "texts",
    "smoothings",
    "regularisers",
    "optimisers",
    "studies",
    "figures",
    "estimators",
)
THREAD_VARIABLES = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
DTYPES = ("float32", "float64")


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as a cluster sends it before the time is over: all is left as after Ctrl-C."""


def main(arguments=None) -> int:
    """Run one command and return its exit code. What the user did wrong ends in one message on stderr and code 2."""
    options = parser().parse_args(arguments)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    with _heeding_termination():
        return _run(options)


@contextmanager
def _heeding_termination():
    """SIGTERM raises Terminated, in the main thread of a process; what it did before is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_) -> None:
    raise Terminated


def _run(options) -> int:
    """The exit code of a command."""
    try:
        if "threads" in options:
            options.threads = options.threads or _own_threads(options.experiment)
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
        return options.command(options)
    except KeyboardInterrupt as error:
        how, code = ("terminated", 143) if isinstance(error, Terminated) else ("interrupted", 130)
        return _tell(f"{how}; {processes.KEPT}", code)
    except (ValueError, OSError) as error:
        if options.traceback:
            raise
        return _tell(str(error), 2)
    except RuntimeError as error:
        return _tell(str(error), 1)


def _tell(message: str, code: int) -> int:
    """One message on stderr, on lines of its own if it has several; returns the exit code."""
    print("recurlab:" + ("\n" if "\n" in message else " ") + message, file=sys.stderr)
    return code


def _own_threads(name: str) -> int:
    """Threads of a job of an experiment: one, or all cores where it measures times."""
    from recurlab import experiment

    return _cores() if experiment.load(experiment.find(name))[0].get("study") in TIMED else 1


def list_things(options) -> int:
    """Show a table of experiments, or one of the tables that names come from."""
    from recurlab import listing, show

    show.table(listing.rows(options.what))
    return 0


def check(options) -> int:
    """Check experiments without running anything; those that want data which are not here are told, if not named."""
    from recurlab import check, experiment

    paths = [experiment.find(name) for name in options.experiments] or list(experiment.named().values())
    scales = (options.scale,) if options.scale else experiment.SCALES
    problems = [problem for path in paths for problem in check.problems_of(path, scales)]
    if not problems:
        found = [experiment.expand(path, scale) for path in paths for scale in scales]
        found = found if options.experiments else _with_data(found)
        problems = list(dict.fromkeys(filter(None, map(check.data_problem, found))))
    if problems:
        return _tell("\n".join([f"{len(problems)} problems", *problems]), 2)
    print(f"{len(paths)} experiments are fine at scale {', '.join(scales)}")
    return 0


def _with_data(found: list) -> list:
    """The experiments whose data are here; the others are told on stdout."""
    from recurlab.experiment import left_out

    reasons = [left_out(each) for each in found]
    for reason in dict.fromkeys(filter(None, reasons)):
        print(reason)
    return [each for each, reason in zip(found, reasons, strict=True) if not reason]


def run(options) -> int:
    """Compute the blocks that are missing, then table, claims and figures."""
    from recurlab import check, provenance, run
    from recurlab.files import require_writable

    whole = options.case is None and options.seeds is None
    experiment = check.checked(options.experiment, options.scale, options.set, outputs=whole)
    check.require_data(experiment)
    blocks = _chosen_blocks(experiment, options)
    source = provenance.source_digest(experiment.study)
    todo = [block for block in blocks if options.force or not run.is_done(options.results, experiment, block, source)]
    if options.dry_run:
        print(*(_command(options, block) for block in todo), sep="\n")
        return 0
    check.require_devices(todo)
    require_writable(options.results)
    todo = todo if options.force else _not_taken_over(experiment, todo, options.results, source)
    jobs = _jobs(experiment, options)
    if min(jobs, len(todo)) > 1:
        _compile(run.compiled_flag(options.results), DTYPES)
    failures = _run_blocks(experiment, todo, jobs, options)
    if failures:
        return _tell("\n".join([f"{len(failures)} of {len(todo)} blocks failed, the others are kept", *failures]), 1)
    return _finish(experiment, options.results) if whole else 0


def _not_taken_over(experiment, todo, folder, source: str) -> list:
    """The blocks that no other experiment has; what is copied from one is told on stderr."""
    from recurlab import run

    left = []
    for block in todo:
        other = run.take_over(folder, experiment, block, source)
        left += [] if other else [block]
        if other:
            print(f"{experiment.name}: {block.label} is copied from {other}", file=sys.stderr)
    return left


def _jobs(experiment, options) -> int:
    """Processes at a time; ValueError for several that would measure times."""
    if experiment.study not in TIMED:
        return options.jobs or max(1, _cores() // options.threads)
    if options.jobs not in (None, 1):
        raise ValueError(
            f"--jobs {options.jobs}: {experiment.name} measures times, so its jobs run one after the other"
        )
    return 1


def _chosen_blocks(experiment, options) -> list:
    """The blocks of --case and --seeds, all without; ValueError that names what there is."""
    from recurlab.experiment import blocks_of, suggest

    blocks = blocks_of(experiment)
    known = {"case": [case.id for case in experiment.cases], "seeds": [*dict.fromkeys(block.seeds for block in blocks)]}
    for name, values in known.items():
        asked = getattr(options, name)
        if asked is not None and asked not in values:
            where = f"{experiment.name} at scale {experiment.scale}"
            raise ValueError(f"--{name} {asked}: {where} has no such {name}{suggest(asked, values)}")
    return [b for b in blocks if options.case in (None, b.case.id) and options.seeds in (None, b.seeds)]


def _command(options, block) -> str:
    """The command that computes one block."""
    changed = [part for text in options.set for part in ("--set", text)]
    asked = ["--scale", options.scale, "--case", block.case.id, "--seeds", block.seeds, "--results", options.results]
    return shlex.join(["recurlab", "run", options.experiment, *changed, *asked])


def _run_blocks(experiment, todo, jobs: int, options) -> list[str]:
    """Run blocks with progress on stderr; what the failed ones say."""
    from recurlab import run, show

    failures = []
    with show.progress(experiment.name, len(todo)) as shown:
        for block, failure in run.run_blocks(options.results, experiment, todo, jobs, options.threads, shown.within):
            failures += [failure] if failure else []
            shown.advance(f"{block.label}{' FAILED' if failure else ''}")
    return failures


def _finish(experiment, folder) -> int:
    """Table, claims and figures from the blocks, and the verdicts on stdout."""
    from recurlab import outputs, show

    written = outputs.write_tables(folder, experiment)
    if experiment.claims:
        written += outputs.write_claims(folder, experiment)
        _show_verdicts(experiment, folder)
    with show.progress(f"{experiment.name} figures", len(experiment.figures)) as shown:
        for name in experiment.figures:
            written += outputs.write_figure(folder, experiment, name)
            shown.advance(name)
    return _wrote(written)


def _wrote(paths) -> int:
    print(*paths, sep="\n")
    return 0


def table(options) -> int:
    """Make the table, its summary and its timings from the blocks."""
    from recurlab import outputs

    return _wrote(outputs.write_tables(options.results, _for_outputs(options)))


def claims(options) -> int:
    """Evaluate the claims on the table and show the verdicts."""
    from recurlab import outputs

    experiment = _for_outputs(options)
    written = outputs.write_claims(options.results, experiment)
    _show_verdicts(experiment, options.results)
    return _wrote(written)


def _show_verdicts(experiment, folder) -> None:
    from recurlab import report, show

    show.table(report.verdicts(folder, experiment), experiment.title)


def figure(options) -> int:
    """Draw figures from the table: those named, or all."""
    from recurlab import outputs
    from recurlab.experiment import suggest

    experiment = _for_outputs(options)
    unknown = [name for name in options.figures if name not in experiment.figures]
    if unknown:
        raise ValueError(f"{experiment.name} has no figure '{unknown[0]}'{suggest(unknown[0], experiment.figures)}")
    names = options.figures or experiment.figures
    return _wrote([path for name in names for path in outputs.write_figure(options.results, experiment, name)])


def _for_outputs(options):
    """The checked experiment (figures and claims check themselves) whose results can be written."""
    from recurlab import check
    from recurlab.files import require_writable

    experiment = check.checked(options.experiment, options.scale, options.set, outputs=False)
    require_writable(options.results)
    return experiment


def verify(options) -> int:
    """Check all checksums of the results and compute a random sample of blocks again."""
    from recurlab import check, experiment, verify
    from recurlab.instructions import BOUND

    names = options.experiments or [name for name in experiment.named() if verify.has_results(options.results, name)]
    experiments = [check.checked(name, options.scale, outputs=False) for name in names]
    found = verify.verify(options.results, experiments, options.sample, options.seed)
    counts = f"{found.checksums} checksums checked, {found.recomputed} blocks computed again"
    print(f"{counts}: {len(found.problems)} mismatches")
    if found.outdated:
        print(f"{found.outdated} blocks were not looked at again: other sources computed them")
    if found.unread:
        print(f"{found.unread} blocks want data or a GPU that is not here: only their checksums were checked")
    if found.timed:
        print(f"{found.timed} blocks hold times, which no run repeats: only their checksums were checked")
    for used, count in Counter(found.elsewhere).items():
        print(f"{count} blocks were computed with {used}: here they come out within {BOUND:g} of their largest values")
    problems = found.problems + _published_problems(options)
    return _tell("\n".join([f"{len(problems)} mismatches", *problems]), 1) if problems else 0


def _published_problems(options) -> list[str]:
    """What is wrong with published results; how many were looked at is told on stdout."""
    from recurlab import published

    places = published.places(options.results, options.experiments)
    if places:
        print(f"{len(places)} published tables checked, and their claims evaluated again")
    return [problem for place in places for problem in published.problems(place)]


def publish(options) -> int:
    """Copy the rows that the claims rest on, summary, verdicts and provenance to results/published, to be committed."""
    from recurlab import published

    written = published.publish(options.results, _for_outputs(options))
    print(f"{sum(path.stat().st_size for path in written):,} bytes")
    return _wrote(written)


def diff(options) -> int:
    """Compare two tables value by value."""
    from recurlab import compare

    equal, told = compare.difference(options.a, options.b)
    print(*told, sep="\n")
    return 0 if equal else 1


def compile_kernels(options) -> int:
    """Compile every kernel into the disk cache."""
    _compile(options.flag, [options.dtype] if options.dtype else DTYPES)
    return 0


def _compile(flag, dtypes) -> None:
    """Compile the kernels and note it in the file `flag`; nothing happens if it is noted there."""
    from recurlab import run

    for name, seconds in run.compile_kernels(flag, dtypes):
        if seconds > 0.5:  # less is loading from the disk cache
            print(f"compiled {name} in {seconds:.1f} s", file=sys.stderr, flush=True)


def devices(options) -> int:
    """Show what layers can run on, and why a GPU cannot be used; with a name, exit code 2 if that one cannot."""
    from recurlab import devices, show
    from recurlab.layers.checks import expect_device

    if options.device:
        expect_device(options.device)
    show.table(devices.rows())
    return 0


def inspect(options) -> int:
    """Show spectra, norms and time scales of the weights in a safetensors file."""
    from recurlab import measures, show
    from recurlab.layers import files

    layer, params = files.load(options.file, cell=options.cell, prefix=options.prefix)
    show.table(measures.inspect_weights(layer, params), options.file)
    return 0


def diagnose(options) -> int:
    """Say why a network forgets: its gates and gradients on your sequences, and what changed weights would do."""
    from recurlab import show
    from recurlab.layers import files
    from recurlab.measures import diagnosis

    layer, params = files.load(options.file, cell=options.cell, prefix=options.prefix)
    sequences = files.load_sequences(options.data)
    with show.progress("diagnosing", len(diagnosis.networks_of(layer.spec))) as progress:
        found = diagnosis.diagnose(layer, params, *sequences, options.seed, progress.advance)
    for title, rows in (("gates", found.gates), ("reach of the gradient", found.reach)):
        show.table(rows, title)
        print()
    print("\n".join(diagnosis.findings(found)))
    if options.out:
        from recurlab.figures import decay

        return _wrote(decay.write(found, options.out))
    return 0


def bench(options) -> int:
    """Time the kernels against torch, JAX and this machine."""
    from recurlab.bench import shown

    _require_format(options.figure)
    if options.markdown:
        shown.page_parts(options.markdown)
    record = _read_bench(options.read) if options.read else _measured_bench(options)
    _show_bench(record)
    if options.figure:
        _draw_bench(options.figure, record)
    if options.markdown:
        shown.write_page(options.markdown, record)
    written = [None if options.read else options.json, options.figure, options.markdown]
    return _wrote(filter(None, written)) if any(written) else 0


def _read_bench(path) -> dict:
    """The record that a --json wrote; ValueError for another file."""
    from recurlab.files import read_record

    record = read_record(path)
    if not {"machine", "rows"} <= record.keys():
        raise ValueError(f"{path}: not a record of the bench (it has machine and rows)")
    return record


def _measured_bench(options) -> dict:
    """The record of the suites, written after every job: machine, rows and further tables."""
    from recurlab import bench, show

    dtypes = DTYPES if options.dtype == "both" else (options.dtype,)
    cells = options.cells and options.cells.split(",")
    settings = bench.settings(cells, dtypes, options.threads, options.rounds, options.quick, options.device)
    jobs = bench.jobs(options.suites, settings)
    _require_files(options.json, options.figure, options.markdown)
    record = {"machine": _machine(bench.facts(settings)), "rows": []}
    with show.progress("bench", len(jobs)) as shown:
        for job in jobs:
            bench.add(record, job.run())
            _write_record(options.json, record)
            shown.advance(job.label)
    return record


def _require_files(*paths) -> None:
    """PermissionError unless files can be written there; None is no file."""
    from recurlab.files import require_writable

    for path in filter(None, paths):
        require_writable(os.path.dirname(path) or ".")


def _require_format(path) -> None:
    """ValueError unless the figure's name ends in a format that can be drawn."""
    from recurlab.figures import FORMATS

    if path and os.path.splitext(path)[1].removeprefix(".") not in FORMATS:
        raise ValueError(f"--figure {path}: the name must end in {', '.join('.' + form for form in FORMATS)}")


def _machine(facts: dict) -> dict:
    """Machine, versions and commit beside the facts of a bench; peers that are missing are told on stderr."""
    from recurlab import provenance

    for name in facts["peers_missing"]:
        print(f"recurlab: {name} is not installed: no rows against it", file=sys.stderr)
    for name, flushes in facts["peers_flush_denormals"].items():
        if not flushes:
            print(f"recurlab: {name} computes with denormals here, recurlab without", file=sys.stderr)
    return {**provenance.machine(), **provenance.repository(), "versions": provenance.versions(), **facts}


def _write_record(path, record: dict) -> None:
    """After every job, so that an interrupted bench leaves what it has."""
    from recurlab.files import write_record

    if path:
        write_record(path, record)


def _show_bench(record: dict) -> None:
    """Heading, rows, further tables, and the worst ratios at the end."""
    from recurlab import show
    from recurlab.bench import shown

    print(shown.heading(record["machine"]))
    show.table(shown.table(record["rows"]), "* the fastest peer of the case")
    for name, rows in record.items():
        if name not in ("machine", "rows"):
            show.table(rows, name.replace("_", " "))
    for line in shown.worst(record["rows"]):
        print(line)


def _draw_bench(path, record: dict) -> None:
    from recurlab.figures import benchmark

    benchmark.draw(record, path)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser("recurlab", description="A laboratory for recurrent networks.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    one = _one_experiment()
    listing = _command_parser(commands, "list", list_things)
    listing.add_argument("what", nargs="?", default="experiments", choices=LISTS, metavar="WHAT", help=", ".join(LISTS))
    checking = _command_parser(commands, "check", check)
    checking.add_argument("experiments", nargs="*", metavar="NAME", help="names or YAML files; all without")
    checking.add_argument("--scale", choices=SCALES, help="one scale; all without")
    _add_run_options(_command_parser(commands, "run", run, one))
    _add_status_options(_command_parser(commands, "status", monitor.status))
    _add_resume_options(_command_parser(commands, "resume", monitor.resume))
    _add_submit_options(_command_parser(commands, "submit", monitor.submit, one))
    _command_parser(commands, "table", table, one)
    _command_parser(commands, "claims", claims, one)
    figures = _command_parser(commands, "figure", figure, one)
    figures.add_argument("figures", nargs="*", metavar="FIGURE", help="names of figures; all without")
    _add_verify_options(_command_parser(commands, "verify", verify))
    _command_parser(commands, "publish", publish, _one_experiment("paper"))
    comparing = _command_parser(commands, "diff", diff)
    comparing.add_argument("a", metavar="A", help="a table, or a folder with a table.parquet")
    comparing.add_argument("b", metavar="B")
    compiling = _command_parser(commands, "compile", compile_kernels)
    compiling.add_argument("--dtype", choices=DTYPES, help="one dtype; all without")
    compiling.add_argument("--flag", metavar="FILE", help="note it in this file, and do nothing if it is noted there")
    _add_bench_options(_command_parser(commands, "bench", bench))
    asking = _command_parser(commands, "devices", devices)
    asking.add_argument("device", nargs="?", metavar="DEVICE", help="cpu or cuda: exit code 2 unless it can be used")
    _add_weights(_command_parser(commands, "inspect", inspect))
    _add_diagnose_options(_command_parser(commands, "diagnose", diagnose))
    return top


def _add_weights(parser) -> None:
    parser.add_argument("file", metavar="FILE.safetensors")
    parser.add_argument("--cell", help="the cell, for a file that does not name it (`recurlab list cells`)")
    parser.add_argument("--prefix", default="", help="what the names of its weights begin with: encoder.lstm.")


def _add_diagnose_options(parser) -> None:
    _add_weights(parser)
    parser.add_argument(
        "--data", required=True, metavar="FILE.safetensors", help="x (time, batch, input), and lengths if you like"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the directions of the gradient")
    parser.add_argument("--out", metavar="FOLDER", help="write the tables and a figure there")


def _command_parser(commands, name: str, function, *parents) -> argparse.ArgumentParser:
    """A command that calls `function`, whose docstring is the help."""
    parser = commands.add_parser(name, parents=parents, help=function.__doc__, description=function.__doc__)
    parser.add_argument("--traceback", action="store_true", help="show where in the code a refusal comes from")
    parser.set_defaults(command=function)
    return parser


def _one_experiment(scale: str = "default") -> argparse.ArgumentParser:
    """What every command on one experiment takes."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("experiment", metavar="NAME", help="an experiment of `recurlab list`, or a YAML file")
    _add_setting_options(parser, scale)
    return parser


def _add_setting_options(parser: argparse.ArgumentParser, scale: str = "default") -> None:
    parser.add_argument("--scale", choices=SCALES, default=scale, help=f"(default: {scale})")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting (replicas.seeds=5)"
    )
    parser.add_argument("--results", default="results", metavar="FOLDER")


def _add_status_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiments", nargs="*", metavar="NAME", help="names or YAML files; one line each without")
    _add_setting_options(parser)
    parser.add_argument("--jobs", type=_positive, default=_cores(), metavar="N", help="at a time, for the time left")


def _add_resume_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", nargs="?", metavar="NAME", help="name or YAML file; the whole workflow without")
    _add_setting_options(parser)
    parser.add_argument(
        "--cancel", action="store_true", help="end processes that were left running; else wait for them"
    )
    passed = "go on with Snakemake and these arguments, even if it left no lock (--snakemake='--jobs 4')"
    parser.add_argument("--snakemake", metavar="ARGS", help=passed)


def _add_submit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=_positive, default=200, metavar="N", help="tasks at a time (default: 200)")
    parser.add_argument("--sbatch", default="", metavar="ARGS", help="for every job (--sbatch='--partition=main')")
    parser.add_argument("--gpu-sbatch", default="", metavar="ARGS", help="besides, for jobs that ask for a GPU")
    parser.add_argument("--wait", action="store_true", help="stay; what comes back undone is asked for again")
    parser.add_argument("--retries", type=int, default=2, metavar="N", help="how often, with --wait (default: 2)")
    parser.add_argument("--dry-run", "-n", action="store_true", help="say what would be asked for")


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", metavar="ID", help="the blocks of this case only")
    parser.add_argument("--seeds", type=_seeds, metavar="A-B", help="the blocks of these seeds only")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="processes at a time (default: cores / threads)")
    threads = "threads of a process (default: 1; all cores for an experiment that measures times)"
    parser.add_argument("--threads", type=_positive, metavar="N", help=threads)
    parser.add_argument("--force", action="store_true", help="compute blocks again that are there")
    parser.add_argument("--dry-run", "-n", action="store_true", help="print the commands of the missing blocks")


def _add_verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experiments", nargs="*", metavar="NAME", help="names or YAML files; all that have results without"
    )
    parser.add_argument("--scale", choices=SCALES, default="default")
    parser.add_argument("--results", default="results", metavar="FOLDER")
    parser.add_argument("--sample", type=int, default=2, metavar="N", help="blocks of each experiment to compute again")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of blocks")
    parser.add_argument("--threads", type=_positive, default=1, metavar="N")


def _add_bench_options(parser: argparse.ArgumentParser) -> None:
    suites = "single, sweep, scaling, training, language, startup; all without"
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=suites)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda has the suites single, sweep")
    parser.add_argument("--cells", metavar="A,B", help="cells (default: lstm,gru,rnn_tanh)")
    parser.add_argument("--dtype", choices=(*DTYPES, "both"), default="float32")
    parser.add_argument("--threads", type=_positive, default=_cores(), metavar="N", help="(default: all cores)")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="rounds to keep (default: 15, quick 6)")
    parser.add_argument("--quick", action="store_true", help="a first look: few sizes, short samples, few rounds")
    parser.add_argument("--json", metavar="FILE", help="write machine and rows there")
    parser.add_argument("--figure", metavar="FILE", help="draw ratios and scaling there: .png, .svg or .pdf")
    page = "write all tables into this page, between its lines <!-- bench --> and <!-- end of bench -->"
    parser.add_argument("--markdown", metavar="FILE", help=page)
    parser.add_argument("--read", metavar="FILE", help="show the record of a --json again and measure nothing")


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a whole number >= 1")
    return int(text)


def _seeds(text: str) -> str:
    if not re.fullmatch(r"\d+-\d+", text):
        raise argparse.ArgumentTypeError(f"got {text}, wanted first-last, as in 0-31")
    return text
