"""How far an experiment is: which blocks are done, running, failed or missing, what they cost, and what is left."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from recurlab import attempts, costs, provenance, results, run, submit
from recurlab.experiment import Block, Experiment, blocks_of, outputs_of
from recurlab.files import read_json

STATES = ("done", "running", "queued", "failed", "missing")
OUTDATED = "what is there was computed by other sources, or is not what its record says"


class Seen(NamedTuple):
    """A block and its state, with the reason in words and, if it is done, what it cost."""

    block: Block
    state: str
    reason: str = ""
    cost: costs.Cost | None = None


class Status(NamedTuple):
    """An experiment's blocks as they were seen, and what those that are not done are expected to cost."""

    experiment: Experiment
    seen: list[Seen]
    expected: list[costs.Cost | None]  # of blocks that are not done
    made: list[str]  # what there is of table, claims and figures, by file name
    wanted: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of blocks."""
        counted = Counter(seen.state for seen in self.seen)
        return {state: counted[state] for state in STATES}

    @property
    def spent(self) -> float:
        """Core seconds that the blocks which are done took."""
        return sum(seen.cost.core_seconds for seen in self.seen if seen.cost)

    @property
    def left(self) -> float | None:
        """Core seconds that the others are expected to take; None if no block was ever measured."""
        return None if None in self.expected else sum(cost.core_seconds for cost in self.expected)

    @property
    def memory_mb(self) -> float:
        """The largest memory of a block that is done."""
        return max((seen.cost.memory_mb for seen in self.seen if seen.cost), default=0.0)


def look(folder, experiment: Experiment) -> Status:
    """The status of an experiment at its scale, from its files and from the processes of this machine."""
    noted = attempts.read(folder, experiment.name)
    running, queued = attempts.running(noted.values()), submit.queued(folder, experiment)
    source = provenance.source_digest(experiment.study)
    seen = [
        Seen(block, "done", cost=_cost(folder, experiment, block))
        if run.is_done(folder, experiment, block, source)
        else _see_undone(folder, experiment, block, noted, running, queued)
        for block in blocks_of(experiment)
    ]
    known = costs.measured(folder, experiment)
    expected = [known.expected(each.block) for each in seen if each.state != "done"]
    target, wanted = results.table_folder(folder, experiment), outputs_of(experiment)
    return Status(experiment, seen, expected, [name for name in wanted if (target / name).is_file()], wanted)


def _cost(folder, experiment: Experiment, block: Block) -> costs.Cost:
    return costs.of(read_json(results.block_path(folder, experiment, block).with_suffix(".json")))


def _see_undone(folder, experiment: Experiment, block: Block, noted: dict, running: list, queued: dict) -> Seen:
    path, key = results.block_path(folder, experiment, block), (block.case.id, block.seeds)
    attempt = noted.get(key)
    if attempt in running:
        return Seen(block, "running", attempt.place)
    if key in queued:
        return Seen(block, "queued", f"Slurm job {queued[key]}")
    if attempt:
        return Seen(block, "failed", attempt.why)
    refusal = _refusal(path.with_suffix(".log"))
    return Seen(block, "failed", refusal) if refusal else Seen(block, "missing", OUTDATED if path.is_file() else "")


def _refusal(log: Path) -> str:
    """What `recurlab run` refused before it began with a block, by the log of the workflow's job; "" if it did not."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition("recurlab:")[2].strip() if "recurlab:" in text else ""
