"""Kernels, NumPy and BLAS with other instructions: the same numbers to a bound, and whoever compares is told."""

import functools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from engine import PROBE, TINY, add_studies, call, environment, write
from llvmlite import binding

from recurlab import compare, experiment, files, instructions, provenance, results, run, verify
from recurlab.cli import main
from recurlab.files import read_record, write_record


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project whose experiment `tiny` was run here."""
    add_studies(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    write(tmp_path / "experiments", PROBE)
    assert main(["run", "tiny", "--jobs", "1"]) == 0
    return tmp_path


@pytest.fixture
def nudged(monkeypatch):
    """Makes the study give values that are larger by a share."""
    study = run.load_study("probe")

    def by(share: float) -> None:
        @functools.wraps(study.function)
        def function(**given):
            found = study.function(**given)
            return found | {"value": found["value"] * (1 + share)}

        monkeypatch.setattr(run, "load_study", lambda name: study._replace(function=function))
        monkeypatch.setattr("recurlab.check.load_study", lambda name: study)

    return by


def verified():
    return verify.verify("results", [experiment.expand(experiment.find("tiny"))], 2, 0)


def test_a_record_tells_width_and_sets():
    found = provenance.machine()
    assert found["vector_bits"] in (128, 256, 512)
    assert found["instructions"].startswith("kernels ") and ", NumPy " in found["instructions"]
    assert instructions.others(found) == ""


def test_what_is_asked_for_is_what_is_told(monkeypatch):
    monkeypatch.setenv("RECURLAB_VECTOR_BITS", "128")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx,+fma,-avx2,-avx512f")
    found = instructions.used()
    assert found["vector_bits"] == 128 and found["instructions"].startswith("kernels avx fma, ")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    assert instructions.used()["instructions"].startswith("kernels scalar, ")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert instructions.used()["instructions"].startswith("kernels uncompiled, ")


def test_a_block_of_other_instructions_is_held_to_the_bound_in_place_of_its_bytes(folder, nudged, monkeypatch, capsys):
    there = instructions.told(instructions.used())
    nudged(1e-9)
    assert [problem.split(": ", 1)[1] for problem in verified().problems] == ["computed again, its bytes differ"] * 2
    monkeypatch.setattr(instructions, "_vector_bits", lambda: 64)
    assert verified().problems == [] and verified().elsewhere == (there, there)
    assert main(["verify", "tiny"]) == 0
    told = f"2 blocks were computed with {there}: here they come out within 1e-06 of their largest values"
    assert told in capsys.readouterr().out
    nudged(1e-3)
    problems = verified().problems
    assert len(problems) == 2 and verified().elsewhere == ()
    assert all("value by 0.001 of its largest value, where 1e-06 is the bound; it was" in text for text in problems)


def test_records_of_earlier_versions_tell_of_the_width_alone():
    assert instructions.others({"vector_bits": instructions.used()["vector_bits"]}) == ""
    assert instructions.others({"vector_bits": 64}) == "vectors of 64 bits (sets not recorded)"


def other_table(folder, share: float, told: str) -> str:
    """The folder of a table whose values are larger by a share, and whose record tells of these instructions."""
    source, target = folder / "results/tiny/default", folder / "other"
    table = results.read(source / "table.parquet")
    place = table.column_names.index("value")
    changed = table.set_column(place, table.schema.field(place), [table["value"].to_numpy() * (1 + share)])
    files.write_bytes(target / "table.parquet", results.encode(changed))
    record = read_record(source / "provenance.json")
    blocks = [*record["computed_with"], record["computed_with"][0] | {"instructions": told}]
    write_record(target / "provenance.json", record | {"computed_with": instructions.of_blocks(blocks)})
    return str(target)


def test_a_table_tells_of_the_instructions_of_its_blocks_each_once():
    blocks = [
        {"vector_bits": bits, "instructions": sets, "seconds": 1} for bits, sets in ((512, "b"), (256, "a"), (512, "b"))
    ]
    assert instructions.of_blocks(blocks) == [
        {"vector_bits": 256, "instructions": "a"},
        {"vector_bits": 512, "instructions": "b"},
    ]
    assert instructions.of_blocks([{"vector_bits": 512}]) == [{"vector_bits": 512, "instructions": None}]


@pytest.mark.parametrize("forged", [3, [3], {"instructions": "a"}, None])
def test_what_is_no_list_of_records_is_not_taken_for_one(tmp_path, forged):
    write_record(tmp_path / "provenance.json", {"vector_bits": 512, "computed_with": forged})
    assert [found["vector_bits"] for found in instructions.of_table(tmp_path)] == [512]


def test_tables_of_other_instructions_are_compared_within_the_bound(folder, capsys):
    ours = str(folder / "results/tiny/default")
    (here,) = {found["instructions"] for found in instructions.of_table(folder / "results/tiny/default")}
    assert main(["diff", ours, other_table(folder, 1e-9, here)]) == 1
    capsys.readouterr()
    assert main(["diff", ours, other_table(folder, 1e-9, "kernels neon")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("A was computed with vectors of ") and f"({here}) and vectors" in told[0]
    assert "(kernels neon): numbers may differ by" in told[0]
    assert told[1:] == ["within that bound: value"]
    assert main(["diff", ours, other_table(folder, 1e-3, "kernels neon")]) == 1
    assert "value: 60 of 60 values differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("left", "right", "share"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0),
        ([1.0, -4.0], [1.0, -4.0004], 0.0004 / 4.0004),
        ([1e-3, 0.0], [1e-3, 1e-7], 1e-7),  # of 1, since all are smaller
        ([np.nan, np.inf], [np.nan, np.inf], 0),
        ([np.nan, 1.0], [2.0, 1.0], np.inf),
        ([np.inf, 1.0], [2.0, 1.0], np.inf),
        (["a"], ["a"], 0),
        (["a"], ["b"], np.inf),
    ],
)
def test_a_share_is_that_of_the_largest_number(left, right, share):
    assert compare.share(pd.Series(left), pd.Series(right)) == pytest.approx(share)


# two builds


PASSES = """
import sys
import numpy as np
import recurlab as rl
found = {}
for dtype in ("float32", "float64"):
    for cell in ("rnn_tanh", "lstm", "gru"):
        layer = rl.recurrent(cell, 7, 18, dtype=dtype)
        params = rl.init(layer, seed=0)
        x = np.cos(np.arange(20 * 3 * 7.0)).reshape(20, 3, 7).astype(dtype)
        y, state, tape = rl.forward(layer, params, x)
        grads, dx, _ = rl.backward(layer, params, tape, np.sin(np.arange(y.size)).reshape(y.shape).astype(dtype))
        found |= {f"{cell} {dtype} {name}": array for name, array in {"y": y, "dx": dx, **grads}.items()}
np.savez(sys.argv[1], **found)
"""


LIBRARIES = ("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE")


def narrow() -> dict[str, str]:
    """The variables with which a processor that has AVX-512 works as one that ends with AVX2."""
    features = binding.get_host_cpu_features()
    kept = {name: there and not name.startswith("avx512") for name, there in features.items()}
    listed = ",".join(f"{'+' if there else '-'}{name}" for name, there in sorted(kept.items()))
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    wide = " ".join(name for name in found if name == "X86_V4" or name.startswith("AVX512"))
    kernels = {"RECURLAB_VECTOR_BITS": "256", "NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": listed}
    return kernels | {"NPY_DISABLE_CPU_FEATURES": wide, "OPENBLAS_CORETYPE": "Haswell"}


needs_avx512 = pytest.mark.skipif(
    not binding.get_host_cpu_features().get("avx512f"), reason="two builds need a processor with AVX-512"
)


@needs_avx512
@pytest.mark.slow
def test_the_passes_of_layers_have_the_same_bits_in_two_builds(tmp_path):
    """Every number is summed up in one lane, in an order that no width decides."""
    found = []
    for number, variables in enumerate(({}, narrow())):
        line = [sys.executable, "-c", PASSES, str(tmp_path / f"{number}.npz")]
        subprocess.run(line, env=environment() | variables, check=True)
        found.append(np.load(tmp_path / f"{number}.npz"))
    assert len(found[0]) == 36
    for name, array in found[0].items():
        assert np.array_equal(array, found[1][name]), name


@needs_avx512
@pytest.mark.slow
def test_results_of_avx2_are_verified_on_avx512_within_the_bound(tmp_path):
    path = write(tmp_path, TINY)
    half = {name: narrow()[name] for name in LIBRARIES}
    for where, variables in {"narrow": narrow(), "wide": {}, "half": half}.items():
        line = [sys.executable, "-m", "recurlab", "run", path, "--jobs", "1", "--results", where]
        subprocess.run(line, cwd=tmp_path, env=environment() | variables, check=True, capture_output=True)
    tables = [(tmp_path / where / "tiny/default/table.parquet").read_bytes() for where in ("narrow", "half")]
    assert tables[0] == tables[1]  # what differs comes from NumPy and BLAS
    records = [read_record(next(tmp_path.glob(f"{where}/tiny/cases/*/0-1.json"))) for where in ("narrow", "wide")]
    assert [record["vector_bits"] for record in records] == [256, 512]
    assert [record["instructions"].split(",")[0] for record in records] == ["kernels avx2 fma", "kernels avx512f fma"]
    told = call("verify", path, "--results", "narrow", "--sample", "6", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "blocks were computed with vectors of 256 bits (kernels avx2 fma, NumPy X86_V3, BLAS Haswell)" in told.stdout
    told = call("diff", "narrow/tiny/default", "wide/tiny/default", cwd=tmp_path)
    assert told.returncode == 0 and "within that bound: relative_difference" in told.stdout
