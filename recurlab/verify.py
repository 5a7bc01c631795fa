"""Whether results still are what their records say, and whether running a block again gives the same bytes.

Blocks that hold times are not run again: their checksums alone are checked.
"""

import hashlib
import random
from pathlib import Path
from typing import NamedTuple

from recurlab import corpora, provenance
from recurlab.experiment import Block, Experiment, blocks_of
from recurlab.files import inside, read_json, sha256
from recurlab.results import block_path
from recurlab.run import compute_block, is_done
from recurlab.studies import TIMED

UNRECORDED = (".log", ".tmp")  # a job's log, and what a killed job may leave; every other file stands in a record


class Verified(NamedTuple):
    """What was found: problems in words, and the number of checksums, of recomputed blocks, and of those that were not
    looked at again because other sources computed them, because they hold times, or because their data are not here.
    """

    problems: list[str]
    checksums: int
    recomputed: int
    outdated: int
    timed: int = 0
    unread: int = 0


def verify(folder, experiments: list[Experiment], count: int, seed: int) -> Verified:
    """Check all checksums of experiments and compute `count` blocks of each again, chosen at random by `seed`."""
    recorded = [record for experiment in experiments for record in checksums_of(folder, experiment)]
    current = [(each, [block for block in blocks_of(each) if is_done(folder, each, block)]) for each in experiments]
    present = sum(block_path(folder, each, block).is_file() for each in experiments for block in blocks_of(each))
    timeless = [(each, blocks) for each, blocks in current if each.study not in TIMED]
    repeatable = [(each, blocks) for each, blocks in timeless if not corpora.missing(each.files)]
    samples = [(each, block) for each, blocks in repeatable for block in sample_of(each, blocks, count, seed)]
    found = [checksum_problem(*record) for record in recorded]
    found += [block_problem(folder, experiment, block) for experiment, block in samples]
    found = [problem for problem in found if problem]
    intact, repeated, read = (sum(len(blocks) for _, blocks in part) for part in (current, timeless, repeatable))
    return Verified(found, len(recorded), len(samples), present - intact, intact - repeated, repeated - read)


def has_results(folder, name: str) -> bool:
    """Whether there is anything of an experiment in the results folder."""
    return (Path(folder) / name).is_dir()


def checksums_of(folder, experiment: Experiment) -> list[tuple[Path, str]]:
    """(file, recorded SHA-256) of an experiment's blocks and tables at this scale; "" if no record names the file."""
    places = [Path(folder) / experiment.name / place for place in ("cases", experiment.folder)]
    files = [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]
    records = [path for path in files if path.suffix == ".json"]
    sums = {path: expected for record in records for path, expected in _sums(record).items()}
    unnamed = [path for path in files if path not in sums and path.suffix not in (".json", *UNRECORDED)]
    return [*sums.items(), *((path, "") for path in unnamed)]


def _sums(record: Path) -> dict[Path, str]:
    sums = read_json(record).get("checksums", {})
    return {inside(record.parent, name): expected for name, expected in sums.items()}


def checksum_problem(path: Path, expected: str) -> str:
    """What is wrong with a file, "" if its SHA-256 is the recorded one."""
    if not expected:
        return f"{path}: stands in no provenance record"
    if not path.is_file():
        return f"{path}: missing"
    return "" if sha256(path) == expected else f"{path}: its SHA-256 differs from the recorded one"


def sample_of(experiment: Experiment, blocks: list[Block], count: int, seed: int) -> list[Block]:
    """`count` of the blocks drawn at random, by seed and name of the experiment."""
    return random.Random(f"{seed} {experiment.name}").sample(blocks, min(count, len(blocks)))


def block_problem(folder, experiment: Experiment, block: Block) -> str:
    """What computing a block again shows, "" if it gives the same bytes."""
    path = block_path(folder, experiment, block)
    again = compute_block(experiment, block, provenance.source_digest(experiment.study))
    return "" if hashlib.sha256(again).hexdigest() == sha256(path) else f"{path}: computed again, its bytes differ"
