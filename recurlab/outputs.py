"""What is made from an experiment's blocks: table, claims and figures, each with its provenance record.

`recurlab run` and the workflow call these functions, so both write the same tables to the byte.
"""

import warnings
from pathlib import Path

from recurlab import provenance, results, summary
from recurlab.experiment import Experiment, blocks_of, data_sums
from recurlab.files import checksums, write_bytes, write_record, write_text
from recurlab.instructions import TOLD, of_blocks

TIMED = ("case", "seeds", "start", "seconds", "peak_memory_mb", "threads", "cpu", *TOLD, "source_digest")


def write_tables(folder, experiment: Experiment) -> list[Path]:
    """table.parquet, summary.{csv,md,html}, timing.parquet and provenance.json of an experiment, from its blocks.

    Raises FileNotFoundError when blocks are missing; warns when the sources have changed since some were computed.
    """
    begun = provenance.start()
    table = results.assemble(folder, experiment)
    blocks = block_records(folder, experiment)
    sources = sorted({block["source_digest"] for block in blocks})
    _warn_of_sources(experiment, sources)
    frame = summary.summarise(results.to_frame(table), experiment, results.roles_of(table))
    target = results.table_folder(folder, experiment)
    timing = results.encode_records([{key: block.get(key) for key in TIMED} for block in blocks])
    written = [
        write_bytes(target / "table.parquet", results.encode(table)),
        write_text(target / "summary.csv", summary.csv(frame)),
        write_text(target / "summary.md", summary.markdown(experiment.title, experiment.question, frame)),
        write_text(target / "summary.html", summary.page(experiment.title, experiment.question, frame)),
        write_bytes(target / "timing.parquet", timing),
    ]
    told = {
        "rows": len(table),
        "sources": sources,
        "blocks": {
            f"cases/{block['case']}/{name}": sum for block in blocks for name, sum in block["checksums"].items()
        },
        "computed_with": of_blocks(blocks),
        "blocks_seconds": round(sum(block["seconds"] for block in blocks), 3),
        "blocks_peak_memory_mb": max(block["peak_memory_mb"] for block in blocks),
    }
    return [*written, write_record(target / "provenance.json", record(experiment, begun) | told | _sums(written))]


def write_claims(folder, experiment: Experiment) -> list[Path]:
    """claims.csv, claims.html and their record claims.json, from the experiment's table."""
    from recurlab import claims

    begun = provenance.start()
    target = results.table_folder(folder, experiment)
    frame = claims.evaluate(experiment, load_table(folder, experiment))
    written = [
        write_text(target / "claims.csv", summary.csv(frame)),
        write_text(target / "claims.html", summary.page(f"{experiment.title}: claims", experiment.question, frame)),
    ]
    told = record(experiment, begun) | _table_sum(target) | _sums(written)
    return [*written, write_record(target / "claims.json", told)]


def write_figure(folder, experiment: Experiment, name: str) -> list[Path]:
    """figures/<name>.{pdf,svg,png,csv,json} from the experiment's table."""
    from recurlab import figures

    target = results.table_folder(folder, experiment)
    told = record(experiment, provenance.start()) | _table_sum(target)
    return figures.draw(name, experiment.figures[name], load_table(folder, experiment), target / "figures", told)


def load_table(folder, experiment: Experiment):
    """The experiment's table as a DataFrame."""
    return results.load_results(folder, experiment.name, experiment.folder)


def record(experiment: Experiment, begun: provenance.Start, threads: int = 1) -> dict:
    """The provenance record of something made from an experiment's blocks."""
    return {
        "experiment": experiment.name,
        "scale": experiment.scale,
        "settings": experiment.settings,
        "data": {name: total for case in experiment.cases for name, total in data_sums(case.parameters).items()},
        "seeds": f"0-{experiment.seeds - 1}",
        "source_digest": provenance.source_digest(experiment.study),
        **provenance.record(begun, threads),
    }


def block_records(folder, experiment: Experiment) -> list[dict]:
    """The provenance records beside an experiment's blocks, in the order of the blocks."""
    return [results.block_record(results.block_path(folder, experiment, block)) for block in blocks_of(experiment)]


def _warn_of_sources(experiment: Experiment, digests: list[str]) -> None:
    now = provenance.source_digest(experiment.study)
    if digests != [now]:
        warnings.warn(
            f"{experiment.name}: blocks were computed by sources {', '.join(digests)}, and the sources are {now} now; "
            f"`recurlab run {experiment.name} --scale {experiment.scale}` computes the old blocks again",
            stacklevel=2,
        )


def _table_sum(target: Path) -> dict:
    return {"table": checksums([target / "table.parquet"])}


def _sums(written: list[Path]) -> dict:
    return {"checksums": checksums(written)}
