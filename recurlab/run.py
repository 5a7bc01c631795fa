"""Running an experiment: each block of seeds is one launch of its study and one file.

A block is a pure function of (case, seeds) and is written whole or not at all, so an interrupted run is resumed by
running again: blocks whose file is intact and whose sources are the present ones stay.
"""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from recurlab import attempts, journal, provenance, results
from recurlab.experiment import Block, Experiment, data_sums
from recurlab.files import checksums, read_record, write_bytes, write_record
from recurlab.journal import Journal
from recurlab.kernels.rebind import kernel_digest
from recurlab.processes import KEPT
from recurlab.studies import load_study
from recurlab.studies.study import Study, parameters_of

Tell = Callable[[str, str, int, int], None] | None  # (which block, what it does, how much is done, of how much)
KILLED = (
    f"a process was killed from outside, as a system does that runs out of memory; {KEPT} "
    "(with fewer --jobs, which need less)"
)
_TO_PARENT: list = []  # in a worker: the queue that its parent listens to


def run_block(folder, experiment: Experiment, block: Block, threads: int = 1, tell: Tell = None) -> Path:
    """Compute a block and write its rows, then the provenance record that makes it count as done.

    What a long block has kept of its state is taken up, if the same sources kept it, and removed at the end.
    """
    begun = provenance.start()
    source = provenance.source_digest(experiment.study)
    path = results.block_path(folder, experiment, block)
    within = tell and (lambda *told: tell(block.label, *told))
    notes = Journal(path.with_suffix(".state"), f"{block.case.id} {block.seeds} {source}", within)
    with journal.opened(notes):
        write_bytes(path, compute_block(experiment, block, source))
    told = {
        "study": experiment.study,
        "case": block.case.id,
        "parameters": block.case.parameters,
        "replicas": experiment.replicas,
        "seeds": block.seeds,
        "data": data_sums(block.case.parameters),
        "source_digest": source,
    }
    write_record(path.with_suffix(".json"), told | provenance.record(begun, threads) | {"checksums": checksums([path])})
    notes.clear()
    return path


def compute_block(experiment: Experiment, block: Block, source: str) -> bytes:
    """The rows of a block as parquet. RuntimeError with case, seeds and cause when the study fails."""
    study = load_study(experiment.study)
    try:
        returned = study.function(**arguments(experiment, block, study))
        _refuse_malformed(returned, study, len(results.launch_keys(experiment, block)["seed"]))
        return results.encode(results.block_table(experiment, block, study, returned, source))
    except Exception as error:
        told = f"{experiment.study} failed for case {block.case.id}, seeds {block.seeds}: {block.case.parameters}"
        raise RuntimeError(f"{told}\n{traceback.format_exc()}") from error


def arguments(experiment: Experiment, block: Block, study: Study) -> dict:
    """What the study is called with: seeds (R,), replica parameters (R,), all else as plain values of their kind."""
    keys = results.launch_keys(experiment, block)
    kinds = parameters_of(study)
    seeds = keys.pop("seed")
    plain = {name: kinds[name].convert(value) for name, value in block.case.parameters.items()}
    spread = {name: np.full(len(seeds), plain[name]) for name in study.replicas if name in plain}
    varied = {name: results.plain([*map(kinds[name].convert, values.tolist())]) for name, values in keys.items()}
    return {"seeds": seeds, **plain, **spread, **varied}


def _refuse_malformed(returned: dict, study: Study, replicas: int) -> None:
    """ValueError unless a study returned its columns and `replica`, all one-dimensional and of one length."""
    wanted = {"replica", *study.columns}
    if returned.keys() != wanted:
        raise ValueError(f"returned {sorted(returned)}, its Study declares {sorted(wanted)}")
    shapes = {name: np.shape(value) for name, value in returned.items()}
    if len(set(shapes.values())) != 1 or len(shapes["replica"]) != 1:
        raise ValueError(f"returned columns of shapes {shapes}, wanted one length for all")
    if not np.isin(returned["replica"], np.arange(replicas)).all():
        raise ValueError(f"returned replica numbers outside 0 ... {replicas - 1}")


def is_done(folder, experiment: Experiment, block: Block, source: str | None = None) -> bool:
    """Whether a block's file is there, intact by its checksum, and made by the present sources.

    Who asks of many blocks gives their digest, `source`: to form it takes 1 ms.
    """
    source = source or provenance.source_digest(experiment.study)
    return _current_record(results.block_path(folder, experiment, block), source) is not None


def _current_record(path: Path, source: str) -> dict | None:
    """The record of a block's file, None unless the file is there, intact, and made by these sources."""
    try:
        record = results.block_record(path)
        return record if record["source_digest"] == source else None
    except (OSError, ValueError):
        return None


def take_over(folder, experiment: Experiment, block: Block, source: str) -> str:
    """Copy rows and record of an equal block from another experiment, whose name is returned; "" if there is none.

    A block's rows depend on study, settings, seeds and sources alone: all but the last stand in its path.
    """
    path = results.block_path(folder, experiment, block)
    for twin in sorted(Path(folder).glob(f"*/cases/{block.case.id}/{path.name}")):
        if record := _current_record(twin, source):
            write_bytes(path, twin.read_bytes())
            write_record(path.with_suffix(".json"), record)
            return twin.relative_to(folder).parts[0]
    return ""


def run_blocks(folder, experiment: Experiment, blocks: list[Block], jobs: int, threads: int, tell: Tell = None):
    """Run blocks, one job in this process, several in a pool of spawned ones; yields (block, "" or why it failed).

    A block that fails stops no other. Workers end with this process, however it ends. `tell` is called as blocks go on.
    """
    if min(jobs, len(blocks)) < 2:
        for block in blocks:
            yield block, _attempt(folder, experiment, block, threads, tell)
        return
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(told, tell), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(min(jobs, len(blocks)), context, _end_with_parent, (told,))
    try:
        waiting = {pool.submit(_attempt_in_worker, folder, experiment, block, threads): block for block in blocks}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
        pool.shutdown()
        told.put(None)
        listener.join()
    except BaseException as error:
        for worker in multiprocessing.active_children():
            worker.kill()  # nothing is lost: a block under way has no file yet
        attempts.forget(folder, experiment, [block for future, block in waiting.items() if not future.done()])
        pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError(KILLED) from None
        raise


def _listen(told, tell: Tell) -> None:
    """Pass on what workers tell until None comes."""
    while (news := _next(told)) is not None:
        if tell is not None:
            tell(*news)


def _next(told):
    """What a worker tells next; None at the end, and where an interrupted run has closed the queue or cut it off."""
    try:
        return told.get()
    except (OSError, EOFError):
        return None


def _attempt_in_worker(folder, experiment: Experiment, block: Block, threads: int) -> str:
    return _attempt(folder, experiment, block, threads, lambda *told: _TO_PARENT[0].put(told))


def _attempt(folder, experiment: Experiment, block: Block, threads: int, tell: Tell) -> str:
    try:
        with attempts.noted(folder, experiment, block):
            run_block(folder, experiment, block, threads, tell)
        return ""
    except RuntimeError as error:
        return str(error)


def _end_with_parent(told) -> None:
    """Make a worker leave Ctrl-C and SIGTERM to its parent, and end as soon as that has ended; it tells to `told`."""
    import signal

    _TO_PARENT.append(told)
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def compiled_flag(folder) -> Path:
    """The file in a results folder that says for which kernels, processor and Numba the disk cache is filled."""
    return Path(folder) / "compiled.json"


def compile_kernels(flag, dtypes) -> Iterator[tuple[str, float]]:
    """Compile every kernel into Numba's disk cache; yields (name, seconds). Does nothing if the file `flag` notes it.

    One command does this before many jobs start: each would compile for itself what it does not find.
    """
    noted = compiled_note(dtypes)
    if flag is not None and _is_noted(flag, noted):
        return
    from recurlab.layers import warm

    yield from warm.compile_all(tuple(dtypes))
    if flag is not None:
        write_record(flag, noted)


def compiled_note(dtypes) -> dict:
    """What decides whether kernels have to be compiled."""
    host = {"cpu": provenance.machine()["cpu"], "numba": provenance.versions()["numba"]}
    return {"kernels": kernel_digest(), "dtypes": list(dtypes), **host}


def _is_noted(flag, noted: dict) -> bool:
    """Whether a flag says just this; a damaged one says nothing."""
    try:
        return read_record(flag).items() >= noted.items()
    except (OSError, ValueError):
        return False
