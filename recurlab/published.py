"""Published results: the rows that an experiment's claims rest on, small enough to be committed, and their origin.

They stand in results/published/<experiment>/<scale>/: table.parquet, summary.csv, claims.csv, provenance.json and a
PNG of every figure. The rows are enough to evaluate the claims again, which `recurlab verify` does; figures show all.
"""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurlab import claims, outputs, provenance, results, verdicts
from recurlab.experiment import Experiment, blocks_of
from recurlab.files import checksums, read_json, write_bytes, write_record
from recurlab.rows import select
from recurlab.run import is_done
from recurlab.summary import csv
from recurlab.verify import checksum_problem, mixed_sources, sums_in

FOLDER = "published"
COPIED = ("summary.csv", "claims.csv")
MOST_BYTES = 1_000_000  # of an experiment's files at a scale together: a repository keeps them for ever


class Claimed(NamedTuple):
    """What `claims.evaluate` asks of an experiment."""

    claims: list[dict]
    source: str


def publish(folder, experiment: Experiment) -> list[Path]:
    """Write the files of an experiment that is finished, from a checkout whose commit computes it, and the page of all.

    Returns the paths written.

    ValueError when blocks are missing or of other sources, when tracked files are changed, or for more than MOST_BYTES.
    """
    begun = provenance.start()
    _refuse_unfit(folder, experiment)
    outputs.write_tables(folder, experiment)
    if experiment.claims:
        outputs.write_claims(folder, experiment)
    place = results.table_folder(folder, experiment)
    whole = results.read(place / "table.parquet")
    kept = claimed_rows(whole, experiment.claims)
    contents = {"table.parquet": results.encode(kept)}
    contents |= {name: (place / name).read_bytes() for name in COPIED if (place / name).is_file()}
    contents |= _pictures(folder, experiment)
    _refuse_large(experiment, contents)
    target = Path(folder) / FOLDER / experiment.name / experiment.folder
    written = [write_bytes(target / name, content) for name, content in contents.items()]
    told = {"rows": len(kept), "rows_of_the_run": len(whole), "run": _run_of(folder, experiment)}
    record = outputs.record(experiment, begun) | told | {"checksums": checksums(written)}
    written.append(write_record(target / "provenance.json", record))
    return [*written, verdicts.write(Path(folder) / FOLDER)]


def claimed_rows(table, asked: list[dict]):
    """The rows of a table that some claim reads, in their order; all rows if there is no claim."""
    frame = results.to_frame(table)
    kept = {row for claim in asked for row in select(frame, claim.get("where")).index}
    return table.take(np.array(sorted(kept))) if asked else table


def _pictures(folder, experiment: Experiment) -> dict[str, bytes]:
    """<figure>.png -> its bytes, every figure drawn anew from the whole table."""
    drawn = [path for name in experiment.figures for path in outputs.write_figure(folder, experiment, name)]
    return {path.name: path.read_bytes() for path in drawn if path.suffix == ".png"}


def _refuse_unfit(folder, experiment: Experiment) -> None:
    blocks = blocks_of(experiment)
    lacking = sum(not is_done(folder, experiment, block) for block in blocks)
    if lacking:
        told = f"{experiment.name}: {lacking} of {len(blocks)} blocks are missing or of other sources"
        raise ValueError(f"{told}; `recurlab run {experiment.name} --scale {experiment.scale}` computes them")
    if provenance.repository()["dirty"] is not False:
        raise ValueError(
            "tracked files are changed, or this is no checkout: publish from a commit that others can have"
        )


def _refuse_large(experiment: Experiment, contents: dict[str, bytes]) -> None:
    size = sum(map(len, contents.values()))
    if size > MOST_BYTES:
        told = ", ".join(f"{name} {len(content):,}" for name, content in contents.items())
        raise ValueError(
            f"{experiment.name}: {size:,} bytes ({told}), at most {MOST_BYTES:,} are published; "
            "narrow the `where` of its claims or its `summary`"
        )


def _run_of(folder, experiment: Experiment) -> dict:
    """When, where and for how long the blocks were computed."""
    blocks = outputs.block_records(folder, experiment)
    return {
        "blocks": len(blocks),
        "start": min(block["start"] for block in blocks),
        "core_seconds": round(sum(block["seconds"] * block["threads"] for block in blocks), 3),
        "peak_memory_mb": max(block["peak_memory_mb"] for block in blocks),
        "cpus": sorted({block["cpu"] for block in blocks}),
        "commits": sorted({str(block["commit"]) for block in blocks}),
    }


def places(folder, names=()) -> list[Path]:
    """The folders <experiment>/<scale> of published results, of all experiments or of those named."""
    found = sorted(path for path in (Path(folder) / FOLDER).glob("*/*") if path.is_dir())
    return [path for path in found if not names or path.parent.name in names]


def problems(place: Path) -> list[str]:
    """What is wrong with published results: checksums, files without one, verdicts that the rows do not give again."""
    if not (place / "provenance.json").is_file():
        return [f"{place}: has no provenance.json"]
    try:
        record = read_json(place / "provenance.json")
        sums, asked = sums_in(place / "provenance.json", record), _claimed_of(place, record)
        paths = sorted({*sums, *place.iterdir()} - {place / "provenance.json"})
        found = [problem for path in paths if (problem := checksum_problem(path, sums.get(path, "")))]
        return found or _rows_problems(place, asked)
    except ValueError as error:
        return [str(error) if str(place) in str(error) else f"{place}: {error}"]


def _claimed_of(place: Path, record: dict) -> Claimed:
    """The claims in a record's settings; ValueError unless they are a list of mappings."""
    settings = record.get("settings")
    settings = settings if isinstance(settings, dict) else {"claims": None}
    found = Claimed(settings.get("claims", []), settings.get("source", ""))
    if not (isinstance(found.claims, list) and all(isinstance(claim, dict) for claim in found.claims)):
        raise ValueError(f"{place / 'provenance.json'}: its settings hold no list of claims")
    return found


def _rows_problems(place: Path, asked: Claimed) -> list[str]:
    """Rows of several sources, or the first column in which the claims come out otherwise on the published rows."""
    table = results.read(place / "table.parquet")
    mixed = mixed_sources(place / "table.parquet", table)
    return mixed or (_claims_problems(place, asked, results.to_frame(table)) if asked.claims else [])


def _claims_problems(place: Path, asked: Claimed, frame) -> list[str]:
    import pandas

    again = pandas.read_csv(io.StringIO(csv(claims.evaluate(asked, frame))))
    published = pandas.read_csv(place / "claims.csv")
    differs = [name for name in again if name not in published or not _same(again[name], published[name])]
    return [f"{place / 'claims.csv'}: its rows give another {differs[0]}"] if differs else []


def _same(a, b) -> bool:
    """Whether columns hold the same texts, or numbers equal but for rounding: other versions sum in other orders."""
    if len(a) != len(b) or a.dtype.kind != b.dtype.kind:
        return False
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)) if a.dtype.kind in "fi" else a.equals(b)
