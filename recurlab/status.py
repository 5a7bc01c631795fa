"""How far an experiment is: which blocks are done, running, failed or missing, what they cost, and what is left."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from recurlab import attempts, costs, provenance, records, results, run, submit
from recurlab.experiment import Block, Experiment, blocks_of, outputs_of
from recurlab.files import read_bytes
from recurlab.processes import KEPT

MOST_LOG = 2**20
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
    source, told = provenance.source_digest(experiment.study), _told(folder, experiment)
    seen = [
        Seen(block, "done", cost=_cost(folder, experiment, block))
        if run.is_done(folder, experiment, block, source)
        else _see_undone(folder, experiment, block, told)
        for block in blocks_of(experiment)
    ]
    seen = _with_endings(folder, experiment, seen)
    known = costs.measured(folder, experiment)
    expected = [known.expected(each.block) for each in seen if each.state != "done"]
    target, wanted = results.table_folder(folder, experiment), outputs_of(experiment)
    return Status(experiment, seen, expected, [name for name in wanted if (target / name).is_file()], wanted)


def _cost(folder, experiment: Experiment, block: Block) -> costs.Cost:
    return costs.of(records.read_block(results.block_path(folder, experiment, block).with_suffix(".json")))


def _told(folder, experiment: Experiment) -> dict[tuple[str, str], tuple[str, str]]:
    """(case, seeds) -> state and reason of blocks that were begun or handed in; the last of these counts."""
    noted = attempts.read(folder, experiment.name).values()
    running = set(attempts.running(noted))
    told = {key: ("failed", why) for key, why in attempts.reasons(set(noted) - running).items()}
    told |= {key: ("queued", f"Slurm job {job}") for key, job in submit.queued(folder, experiment).items()}
    return told | {(attempt.case, attempt.seeds): ("running", attempt.place) for attempt in running}


def _see_undone(folder, experiment: Experiment, block: Block, told: dict) -> Seen:
    if _key(block) in told:
        return Seen(block, *told[_key(block)])
    path = results.block_path(folder, experiment, block)
    refusal = _refusal(path.with_suffix(".log"))
    return Seen(block, "failed", refusal) if refusal else Seen(block, "missing", OUTDATED if path.is_file() else "")


def _with_endings(folder, experiment: Experiment, seen: list[Seen]) -> list[Seen]:
    """What was seen, with how their jobs ended for blocks that leave no reason, or only that they were asked to end.

    A job whose time is up is asked to end, as one that somebody cancels: Slurm alone knows which it was.
    """
    unknown = [each for each in seen if each.state == "missing" or KEPT in each.reason]
    ended = submit.endings(folder, experiment, [_key(each.block) for each in unknown])
    return [Seen(each.block, "failed", ended[_key(each.block)]) if _key(each.block) in ended else each for each in seen]


def _key(block: Block) -> tuple[str, str]:
    return block.case.id, block.seeds


def _refusal(log: Path) -> str:
    """What `recurlab run` refused before it began with a block, by the log of the workflow's job; "" if it did not.

    A refusal is all that its log holds, so one of more than MOST_LOG bytes holds none.
    """
    try:
        text = read_bytes(log, MOST_LOG).decode(errors="replace")
    except (OSError, ValueError):
        return ""
    return text.rpartition("recurlab:")[2].strip() if "recurlab:" in text else ""
