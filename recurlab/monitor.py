"""The commands that look after runs: `recurlab status`, `recurlab resume` and `recurlab submit`."""

import os
import shlex
import subprocess
import sys

MOST = 20  # blocks that `status` tells of one by one


def status(options) -> int:
    """Show which blocks are done, running, failed or missing, what they cost, and what is left; code 1 for failures."""
    from recurlab import check, experiment, show, status

    names = options.experiments or list(experiment.named())
    chosen = [check.checked(name, options.scale, options.set, outputs=False) for name in names]
    found = [status.look(options.results, each) for each in chosen]
    show.table([_row(each, options.jobs) for each in found])
    for each in found if options.experiments else ():
        _show_blocks(each)
    return int(any(each.counts["failed"] for each in found))


def _row(found, jobs: int) -> dict:
    """An experiment in one line."""
    from recurlab.show import duration

    return {
        "experiment": found.experiment.name,
        "scale": found.experiment.folder,
        "blocks": len(found.seen),
        **found.counts,
        "core time so far": duration(found.spent),
        "left": duration(found.left),
        f"left for {jobs} jobs": duration(found.left and found.left / jobs),
        "memory (MB)": round(found.memory_mb) or "unknown",
        "files made": f"{len(found.made)} of {len(found.wanted)}",
    }


def _show_blocks(found) -> None:
    """A line for each block that runs, has failed, or is missing for a reason; more than MOST are counted."""
    told = [each for each in found.seen if each.reason]
    for each in told[:MOST]:
        print(f"{found.experiment.name} {each.block.label} {each.state}: {each.reason.splitlines()[-1]}")
    if len(told) > MOST:
        print(f"and {len(told) - MOST} more")


def resume(options) -> int:
    """Go on after a kill: wait for what was left running (or end it), unlock, then compute what is missing."""
    from recurlab import check, experiment, resume

    root, names = experiment.project_root(), [options.experiment] if options.experiment else list(experiment.named())
    if not options.experiment and not _is_of_workflow(options, root):
        raise ValueError(
            "resume without NAME: the workflow takes neither --set nor another --results; name an experiment"
        )
    chosen = [check.checked(name, options.scale, options.set, outputs=False) for name in names]
    resume.refuse_living_snakemake(root)
    resume.settle_slurm(root, options.cancel, _tell)
    resume.settle(options.results, [each.name for each in chosen], options.cancel, _tell)
    resume.sweep(options.results, [each.name for each in chosen], _tell)
    locked = resume.unlock(root, _tell)
    if locked:
        resume.adopt(root, chosen, _tell)
    asked = locked or options.snakemake is not None or not options.experiment
    command = _workflow(options, chosen) if asked and _is_of_workflow(options, root) else _run(options)
    _tell(f"going on: {shlex.join(command[2:])}")
    return subprocess.call(command, cwd=root if command[2] == "snakemake" else None)


def _is_of_workflow(options, root) -> bool:
    """Whether Snakemake makes these files: of a named experiment as it is written, in the project's results."""
    from recurlab import experiment

    named = not options.experiment or options.experiment in experiment.named()
    return named and not options.set and os.path.realpath(options.results) == os.path.realpath(root / "results")


def _workflow(options, chosen) -> list[str]:
    """The command with which Snakemake makes all files of one experiment, or everything."""
    from recurlab.experiment import targets_of

    folders = {f"results/{each.name}/{each.folder}": each for each in chosen if options.experiment}
    targets = [f"{folder}/{name}" for folder, each in folders.items() for name in targets_of(each)]
    more = shlex.split(options.snakemake or "")
    return [sys.executable, "-m", "snakemake", *targets, *more, "--config", f"scale={options.scale}"]


def _run(options) -> list[str]:
    """The command that computes what is missing of one experiment."""
    changed = [part for text in options.set for part in ("--set", text)]
    asked = ["--scale", options.scale, "--results", options.results]
    return [sys.executable, "-m", "recurlab", "run", options.experiment, *asked, *changed]


def submit(options) -> int:
    """Compute the blocks that are missing as a job array of Slurm, then table, claims and figures in a job after it."""
    from recurlab import check, slurm, submit
    from recurlab.files import require_writable

    experiment = check.checked(options.experiment, options.scale, options.set)
    check.require_data(experiment)
    slurm.require()
    require_writable(options.results)
    arrays = submit.plan(options.results, experiment, slurm.most_tasks())
    for array in arrays:
        _tell(_plan_line(array))
    busy = submit.under_way(options.results, experiment)
    if busy:
        _tell(f"{len(busy)} blocks are under way already, and are left alone")
    if options.dry_run or (busy and not arrays):
        return 0
    if not arrays:
        return subprocess.call(_run(options))  # nothing is left but table, claims and figures
    return _watch(experiment, arrays, options) if options.wait else _send(experiment, arrays, options)


def _plan_line(array) -> str:
    asked = array.request
    gpu = f", {asked.gpus} GPU" if asked.gpus else ""
    return f"{len(array.blocks)} blocks, attempt {array.attempt}: {asked.memory_mb} MB, {asked.minutes} min{gpu} each"


def _send(experiment, arrays, options) -> int:
    from recurlab import submit

    jobs = submit.send(experiment, arrays, _settings(options))
    _tell(f"handed in: {', '.join(jobs)} (compiling, blocks, table); `recurlab status {options.experiment}` tells more")
    return 0


def _watch(experiment, arrays, options) -> int:
    """Wait for the jobs, and hand in what came back undone up to --retries times more; code 1 if some stays undone."""
    from recurlab import slurm, status, submit

    for _ in range(options.retries + 1):
        submit.wait(submit.send(experiment, arrays, _settings(options)), _tell)
        arrays = submit.plan(options.results, experiment, slurm.most_tasks())
        if not arrays:
            break
        _tell(f"{sum(len(array.blocks) for array in arrays)} blocks came back undone")
    seen = status.look(options.results, experiment)
    _show_blocks(seen)
    return int(seen.made != seen.wanted or seen.counts["done"] < len(seen.seen))


def _settings(options):
    from recurlab.submit import Settings

    more = [shlex.split(text) for text in (options.sbatch, options.gpu_sbatch)]
    return Settings(options.experiment, options.scale, options.set, options.results, options.jobs, *more)


def _tell(text: str) -> None:
    print(f"recurlab: {text}", file=sys.stderr, flush=True)
