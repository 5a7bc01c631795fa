"""GPUs without one: the simulator's tests in a process of their own, what kernels take, and why no GPU is used."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import gpu_code
import pytest

import recurlab as rl
from recurlab import devices
from recurlab.cells import CELLS
from recurlab.cli import main
from recurlab.experiment import Case
from recurlab.files import read_record
from recurlab.kernels.cuda import device
from recurlab.results import read
from recurlab.verify import can_run_here

TESTS = Path(__file__).resolve().parent
needs_compiler = pytest.mark.skipif(
    find_spec("numba_cuda") is None or gpu_code.ptxas() is None,
    reason="no compiler for GPUs is installed: make test-cuda installs it",
)


def run(*arguments, **settings):
    """A process of this interpreter; its result."""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0", "PYTHONPATH": str(TESTS.parent)} | settings
    return subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)


# the simulator


@pytest.mark.parametrize("path", sorted((TESTS / "simulated").glob("test_*.py")), ids=lambda path: path.stem)
def test_in_the_simulator(path):
    result = run("-m", "pytest", "-q", "-p", "no:xdist", path, NUMBA_ENABLE_CUDASIM="1")
    print(result.stdout.splitlines()[-1])
    assert result.returncode == 0, result.stdout[-20000:] + result.stderr


# what compiled kernels take

# The most of all cells; for threads that hold weights what launches of 384 and 256 threads leave each.
REGISTERS = {"steps": {"forward": 128, "backward": 192}, "resident": {"forward": 168, "backward": 255}}
REGISTERS |= {"together": {"forward": 168, "backward": 255}}  # one block of 256 threads a multiprocessor
OTHERS = {"tiles": 192, "products": 48, "learning": 80, "drawing": 64, "bench": 32}


def figures_of(capability, dtype, build, family, names):
    result = run(TESTS / "gpu_code.py", capability, dtype, build, family, *names)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def assert_within(found, dtype, registers):
    """Zero spills, stack, local memory and calls, and no more registers than are allowed.

    No float64 beside float32 but in what is exact: sums of losses and norms, random numbers.
    """
    assert found
    for name, figures in found.items():
        limits = gpu_code.LIMITS | {"registers": registers(name.split()[-1]), "shared": gpu_code.SHARED}
        limits |= {"float64": 0} if dtype == "float32" and not name.startswith("exact") else {}
        assert {key: figures[key] for key in limits if figures[key] > limits[key]} == {}, (name, figures, limits)


@pytest.mark.cuda
@needs_compiler
@pytest.mark.parametrize("family", gpu_code.KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("capability", ["8.0", "9.0"])
def test_kernels_fit(capability, dtype, family):
    found = figures_of(capability, dtype, "strict", family, list(CELLS))
    assert_within(found, dtype, lambda kernel: OTHERS.get(family) or REGISTERS[family][kernel])


@pytest.mark.cuda
@needs_compiler
def test_loops_of_kernels_on_the_chip_are_written_out():
    found = figures_of("9.0", "float32", "strict", "resident", ["rnn_tanh"])
    assert found["rnn_tanh forward"]["multiply_adds"] >= 4 * 32  # two rows, two columns
    assert found["rnn_tanh backward"]["multiply_adds"] >= 4 * 32 + 8 * 8  # and a tile of dW
    found = figures_of("9.0", "float32", "strict", "bench", [])
    assert found["multiply_add"]["multiply_adds"] >= 64


@pytest.mark.cuda
@needs_compiler
def test_the_fast_build_takes_approximate_functions_and_the_strict_one_does_not():
    strict, fast = (figures_of("9.0", "float32", build, "steps", ["lstm", "gru"]) for build in ("strict", "fast"))
    assert_within(fast, "float32", REGISTERS["steps"].get)
    for cell in ("lstm", "gru"):
        assert fast[f"{cell} forward"]["approximate"] > strict[f"{cell} forward"]["approximate"]


@pytest.mark.cuda
@needs_compiler
def test_the_limits_can_be_missed():
    """The same check refuses what float64 kernels are: something else than float32."""
    found = figures_of("9.0", "float64", "strict", "steps", ["rnn_tanh"])
    with pytest.raises(AssertionError, match="float64"):
        assert_within(found, "float32", lambda kernel: 255)
    with pytest.raises(AssertionError, match="registers"):
        assert_within(found, "float64", lambda kernel: 8)


# what is found


@pytest.fixture
def unusable(monkeypatch):
    monkeypatch.setattr(device, "problem", lambda: "the driver sees no GPU")


@pytest.mark.parametrize("name", ["cuda", "cuda_fast"])
def test_a_gpu_that_cannot_be_used_is_refused_with_the_reason_in_one_line(unusable, capsys, name):
    told = f"device: expected one that can be used here, got {name}, which cannot: the driver sees no GPU"
    with pytest.raises(ValueError) as caught:
        rl.recurrent("lstm", 2, 3, device=name)
    assert str(caught.value) == told
    assert main(["devices", name]) == 2
    assert capsys.readouterr().err == f"recurlab: {told}\n"


TINY = """
title: Tiny
question: Where?
study: gradient_decay
fixed: {cell: gru, init_name: orthogonal, forget_bias: 1, chrono: null, hidden_size: 3, input_size: 2, input_gain: 1,
        batch_size: 2, length: 4, lags: [0, 4], dtype: float64}
replicas: {gain: [1], seeds: 2}
block: 2
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


def test_an_experiment_on_a_gpu_that_cannot_be_used_is_refused_before_any_work(unusable, tiny, capsys):
    results = tiny.parent / "results"
    asked = ["run", str(tiny), "--results", str(results), "--set", "device=cuda"]
    assert main(asked) == 2
    told = "device: expected one that can be used here, got cuda, which cannot: the driver sees no GPU"
    assert capsys.readouterr().err == f"recurlab: {told}\n" and not results.exists()
    assert main([*asked, "--dry-run"]) == 0 and "--set device=cuda" in capsys.readouterr().out


def test_the_table_of_a_gpu_is_that_of_the_cpu(tiny):
    results, tables = tiny.parent / "results", []
    for device_name in ("cpu", "cuda"):
        asked = "run", tiny, "--results", results, "--set", f"device={device_name}"
        result = run("-m", "recurlab", *asked, NUMBA_ENABLE_CUDASIM="1")
        assert result.returncode == 0, result.stderr
        path = next(Path(line) for line in result.stdout.splitlines() if line.endswith("table.parquet"))
        tables.append(read(path).to_pandas())
    assert [set(table["device"]) for table in tables] == [{"cpu"}, {"cuda"}]
    cpu, cuda = (table["log10_gradient_norm"] for table in tables)
    assert (cpu - cuda).abs().max() < 1e-13
    records = [read_record(path) for path in (results / "tiny" / "cases").rglob("0-1.json")]
    assert {record["parameters"]["device"]: record.get("gpu") for record in records} == {
        "cpu": None,
        "cuda": "Numba's simulator",
    }


def test_blocks_of_a_gpu_are_not_computed_again_without_one(unusable):
    cases = [Case("id", {"device": name}) for name in ("cpu", "cuda")] + [Case("id", {})]
    assert list(map(can_run_here, cases)) == [True, False, True]


def test_devices_are_shown_with_the_reason(unusable, capsys):
    assert main(["devices"]) == 0
    head, cpu, cuda = capsys.readouterr().out.splitlines()
    assert head.split("\t") == ["device", "usable", "found"] and cpu.split("\t")[:2] == ["cpu", "yes"]
    assert cuda.split("\t") == ["cuda", "no", "the driver sees no GPU"]
    assert main(["devices", "cpu"]) == 0


def test_a_device_that_is_none_is_refused(capsys):
    assert main(["devices", "tpu"]) == 2
    assert capsys.readouterr().err == "recurlab: device: expected one of cpu, cuda, cuda_fast, got 'tpu'\n"


def test_the_reason_is_the_first_thing_that_is_missing(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    device.problem.cache_clear()
    assert device.problem() == 'numba-cuda is not installed (pip install "recurlab[cuda]")'
    device.problem.cache_clear()


@pytest.mark.cuda
@needs_compiler
def test_without_a_driver_the_reason_is_the_drivers():
    if not device.problem():
        pytest.skip("there is a GPU")
    assert "driver" in device.problem() and "\n" not in device.problem()


def test_the_simulator_is_a_device_for_tests():
    result = run("-m", "recurlab", "devices", "cuda", NUMBA_ENABLE_CUDASIM="1")
    assert result.returncode == 0 and "cuda\tyes\tNumba's simulator" in result.stdout


def test_gpus_are_described(monkeypatch):
    found = [{"name": "Card", "compute_capability": "9.0", "memory": 79.1}]
    monkeypatch.setattr(device, "gpus", lambda: found)
    (row,) = devices.rows()[1:]
    assert row["usable"] == "yes" and row["found"].startswith("Card, compute capability 9.0, 79.1 GiB")


def test_every_cell_can_be_laid_out():
    from recurlab.kernels.cuda.layout import structure_of  # imports numba.cuda

    assert all(structure_of(cell).GATES == len(cell.gates) for cell in CELLS.values())
    wrong = CELLS["gru"]._replace(name="wrong", gates=("n", "r", "z"))
    with pytest.raises(ValueError, match="expected .* as the last gates on a GPU, got wrong"):
        structure_of(wrong)
