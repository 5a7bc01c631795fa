"""The bench of a GPU, in the simulator: everything runs on toy sizes; its times mean nothing."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from cases import relative_error

from recurlab import bench
from recurlab.bench.case import Case, problem_of
from recurlab.bench.gpu import ceiling, floor, ours
from recurlab.cli import main

SWEEP, SINGLE = Case("lstm", "float32", 3, 2, 5, 2, 3), Case("gru", "float64", 3, 2, 5, 3)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed: make test-oracle does it")


def test_a_dry_run(tmp_path, capsys):
    path, page = tmp_path / "gpu.json", tmp_path / "page.md"
    page.write_text("<!-- bench -->\n<!-- end of bench -->\n")
    line = ["bench", "--device", "cuda", "--threads", "1", "--cells", "lstm,rnn_relu", "--rounds", "1", "--quick"]
    assert main([*line, "--json", str(path), "--markdown", str(page)]) == 0
    record, shown = json.loads(path.read_text()), capsys.readouterr().out
    assert record["machine"]["gpu"]["name"].startswith("Numba's simulator") and "in which times mean nothing" in shown
    assert {(row["suite"], row["cell"]) for row in record["rows"]} == {
        (suite, cell) for suite in ("single", "sweep") for cell in ("lstm", "rnn_relu")
    }
    assert all(0 < row["max_relative_error"] < 1e-6 and row["seconds"] > 0 for row in record["rows"])
    assert [row["case"] for row in record["floors"]][-1] == "rnn_relu float32 (3, 2, 5, 2) × 3"
    assert all(row["arithmetic ms"] > 0 and row["memory ms"] > 0 for row in record["floors"])
    assert "### floors" in page.read_text() and "GB/s" in page.read_text()
    if find_spec("torch"):
        peers = {row["peer"] for row in record["rows"]}
        assert peers >= {"cuDNN float32", "cuDNN tf32", "cuDNN float16", "cuDNN bfloat16"}
        assert peers >= {"bmm in a graph, float32", "bmm in a graph, tf32", "cuDNN, a call a replica"}


def test_suites_of_the_cpu_are_refused(capsys):
    assert main(["bench", "--device", "cuda", "--threads", "1", "scaling"]) == 2
    assert capsys.readouterr().err == "recurlab: suite: expected one of single, sweep, got 'scaling'\n"


def test_a_cell_that_torch_has_not_has_a_row_without_a_peer():
    settings = bench.settings(["mgu"], ["float64"], 1, 1, True, "cuda")
    (job,) = bench.jobs(["sweep"], settings)
    (row,) = job.run().rows
    assert row["peer"] == "none" and row["max_relative_error"] < 1e-14


@pytest.mark.parametrize("whole", [True, False])
def test_work_on_the_device_is_that_of_float64(whole):
    case = SINGLE if whole else SWEEP._replace(dtype="float64")
    problem, work = problem_of(case), ours.Work(case, whole)
    found = ours.Device(problem, work).arrays()
    assert ("dx" in found) == whole
    for r in range(case.R):
        exact = ours.exact(problem, work, r)
        assert set(exact) == set(found)
        for name, array in exact.items():
            assert relative_error(found[name][r] if case.R > 1 else found[name], array) < 1e-13


@needs_torch
@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_batched_products_of_torch_give_the_same_gradients(cell):
    import torch

    from recurlab.bench.gpu import torch_gpu

    case = SWEEP._replace(cell=cell, dtype="float64")
    problem, work = problem_of(case), ours.Work(case, False)
    found = dict(zip(problem.params, torch_gpu.sweep(problem, torch.float64)(), strict=True))
    for r in range(case.R):
        for name, array in ours.exact(problem, work, r).items():
            assert relative_error(found[name][r].numpy(), array) < 1e-13
    y, _ = torch_gpu.single(problem_of(SINGLE), torch.float64)()
    assert relative_error(y.detach().numpy(), ours.exact(problem_of(SINGLE), ours.Work(SINGLE, True), 0)["y"]) < 1e-13


def test_floors_are_what_the_card_can_do(monkeypatch):
    monkeypatch.setattr(ceiling, "peak_flops", lambda dtype: 1e12)
    monkeypatch.setattr(ceiling, "bandwidth", lambda: 1e9)
    plain = SWEEP._replace(cell="rnn_tanh")  # 3 · 2 · 5 numbers of 3 replicas, written and read; h alone is kept
    assert floor.history_bytes(plain, ours.Work(plain, False)) == 2 * 4 * 3 * 30
    assert floor.history_bytes(SWEEP, ours.Work(SWEEP, False)) == 2 * 4 * 3 * 30 * (2 + len(SWEEP.layer.spec.kept))
    row = floor.row(plain, ours.Work(plain, False), 10**6, 0.5)
    assert row["arithmetic ms"] == pytest.approx(3e-3) and row["memory ms"] == pytest.approx(720e-6)
    assert row["ms"] == 1500 and row["% that is floor"] == pytest.approx(100 * 3e-6 / 1.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_measures_the_card_computes_what_it_says(dtype):
    from recurlab.kernels.cuda import target

    factor, one = np.array([0.5, 1.0], dtype)
    out = target.empty(2, dtype)
    target.launch_with(target.kernel(ceiling.multiply_add, "bench"), 1, 2, 0, 3, factor, one, out)
    chains = np.array([0.5, 0.25, -0.5, 0.5, 0.125, -0.25, -0.125, 0.125])
    for _ in range(3 * ceiling.UNROLLED):
        chains = chains * 0.5 + 1
    assert target.to_host(out).tolist() == pytest.approx([chains.sum()] * 2, rel=1e-6)
    source = target.to_device(np.arange(7, dtype=dtype))
    copied = target.zeros(7, dtype)
    target.spread(target.kernel(ceiling.copy, "bench"), 7, source, copied)
    assert target.to_host(copied).tolist() == list(range(7))
