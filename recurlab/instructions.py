"""With which instructions numbers are computed, and how far apart they may come out with others.

NumPy and OpenBLAS choose by the processor, and add up in another order with wider vectors. The kernels do not: each
number is summed up in one lane. docs/cluster.md has what was measured.
"""

import os
from pathlib import Path

from recurlab.files import read_record

BOUND = 1e-6  # of the largest number of a column, or of 1 where all are smaller
TOLD = ("vector_bits", "instructions")  # what a record says of them
VECTOR_BITS = {"avx512f": 512, "avx2": 256, "avx": 256, "sse2": 128, "neon": 128, "asimd": 128}  # first that fits


def used() -> dict:
    """What a provenance record says of instructions: the width of the kernels' vectors, and the sets by name."""
    return {"vector_bits": _vector_bits(), "instructions": f"{_of_kernels()}, {_of_numpy()}, {_of_blas()}"}


def _vector_bits() -> int | None:
    """The width that is asked for, else the widest that LLVM sees here; None when none of VECTOR_BITS is there."""
    asked = os.environ.get("RECURLAB_VECTOR_BITS")
    return int(asked) if asked else _first(VECTOR_BITS.items(), _of_processor())


def _first(pairs, features: set[str]):
    return next((value for name, value in pairs if name in features), None)


def _of_processor() -> set[str]:
    from llvmlite import binding

    return {name for name, there in binding.get_host_cpu_features().items() if there}


def _of_kernels() -> str:
    """The widest set that Numba compiles for, and whether it fuses multiplying and adding."""
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        return "kernels uncompiled"
    asked = os.environ.get("NUMBA_CPU_FEATURES", "" if os.environ.get("NUMBA_CPU_NAME") == "generic" else None)
    features = _of_processor() if asked is None else {name[1:] for name in asked.split(",") if name.startswith("+")}
    widest = _first(zip(VECTOR_BITS, VECTOR_BITS, strict=True), features) or "scalar"
    return f"kernels {widest}{' fma' if 'fma' in features else ''}"


def _of_numpy() -> str:
    import numpy as np

    sets = np.show_config(mode="dicts")["SIMD Extensions"]
    return f"NumPy {[*sets['baseline'], *sets.get('found', [])][-1]}"


def _of_blas() -> str:
    from threadpoolctl import threadpool_info

    found = {library.get("architecture") for library in threadpool_info() if library["user_api"] == "blas"}
    return f"BLAS {'/'.join(sorted(filter(None, found))) or 'unknown'}"


def others(record: dict) -> str:
    """With which instructions something was computed, if by its record they are others than here; "" otherwise.

    Records of earlier versions tell of the width alone.
    """
    return told(record) if differ(record, used()) else ""


def differ(a: dict, b: dict) -> bool:
    """Whether two records tell of different instructions; what one of them does not tell is taken as the same."""
    pairs = [(a.get(name), b.get(name)) for name in TOLD]
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def of_blocks(records: list[dict]) -> list[dict]:
    """What the records of blocks tell, each thing once: a sweep may have run on several kinds of processor."""
    return list(
        {told(record): {name: record.get(name) for name in TOLD} for record in sorted(records, key=told)}.values()
    )


def of_table(folder: Path) -> list[dict]:
    """What the blocks of the table in a folder tell, by its provenance record; nothing where there is no whole one.

    Records of earlier versions tell where the table was put together.
    """
    try:
        record = read_record(folder / "provenance.json")
    except (OSError, ValueError):
        return []
    found = record.get("computed_with")
    return found if isinstance(found, list) and all(isinstance(each, dict) for each in found) else [record]


def told(record: dict) -> str:
    """The instructions of a record in words."""
    return f"vectors of {record.get('vector_bits')} bits ({record.get('instructions') or 'sets not recorded'})"
