"""The bench: its statistics, its filter, its rows and its peers. No time that is measured here decides anything."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.stats import binom

from recurlab import bench
from recurlab.bench import case as cases
from recurlab.bench import (
    ceiling,
    intervals,
    language,
    model,
    ours,
    peers,
    scaling,
    shown,
    single,
    startup,
    sweep,
    training,
)
from recurlab.bench.case import Case, problem_of, row, useful_flops
from recurlab.bench.suite import Result, Settings
from recurlab.bench.timing import ATTEMPTS, Clocks, Competitor, calibrated, measure, quietest
from recurlab.cells import CELLS
from recurlab.cli import main
from recurlab.figures import benchmark
from recurlab.files import write_record

COLUMNS = (
    "suite, cell, dtype, T, B, H, I, R, threads, seconds, flops, percent_of_peak, peer, peer_seconds, ratio, "
    "ratio_low, ratio_high, rounds, max_relative_error"
).split(", ")
TINY = (3, 2, 4, 3)


def settings(cells=("rnn_tanh",), rounds=2):
    return Settings(cells, ("float32",), 1, rounds, False, 1e-4, Clocks())


def needs(peer):
    reason = f"{peer} is not installed: the extra [oracle] has it"
    return [pytest.mark.oracle, pytest.mark.skipif(find_spec(peer) is None, reason=reason)]


def no_peers(monkeypatch):
    monkeypatch.setattr(peers, "module", lambda name: None)
    monkeypatch.setattr(peers, "installed", lambda: ())


# the interval of a median


@pytest.mark.parametrize("count", range(1, 41))
def test_rank_is_the_largest_that_covers_the_median(count):
    covers = {rank: 1 - 2 * binom.cdf(rank - 1, count, 0.5) for rank in range(1, count // 2 + 1)}
    for rank, chance in covers.items():
        assert intervals.coverage(count, rank) == pytest.approx(chance, abs=1e-12)
    assert intervals.rank_of(count) == max((rank for rank, chance in covers.items() if chance >= 0.95), default=0)


def test_ranks_of_the_tables():
    assert [intervals.rank_of(count) for count in (5, 6, 9, 15, 20, 30)] == [0, 1, 2, 4, 6, 10]


def test_interval_is_made_of_order_statistics():
    values = np.random.default_rng(0).permutation(15) + 1.0
    assert intervals.median(values) == (8.0, 4.0, 12.0)
    assert intervals.median([3.0, 1.0, 2.0]) == (2.0, None, None)
    assert intervals.median([]) == (None, None, None)


# the rounds


class Machine:
    """A machine whose clocks go by what is run: others take CPU time in the rounds named `polluted`."""

    def __init__(self, costs, polluted=(), foreign=0.07, workers=()):
        self.now, self.own, self.busy, self.log, self.child = 0.0, 0.0, 0.0, [], dict.fromkeys(costs, 0.0)
        self.polluted, self.foreign, self.workers = polluted, foreign, workers
        self.competitors = [
            Competitor(name, self.work(name, cost), children_cpu=lambda name=name: self.child[name])
            for name, cost in costs.items()
        ]
        self.clocks = Clocks(lambda: self.now, lambda: self.own, lambda: self.busy, 2)

    def round(self):
        """The number of the round: two entries in the log for every sample, two samples to calibrate."""
        return (len(self.log) - 1) // (2 * len(self.competitors)) - 1

    def work(self, name, cost):
        def run(repeats):
            self.log.append((name, repeats))
            seconds = repeats * cost
            self.now += seconds
            if name in self.workers:
                self.child[name] += 2 * seconds
            else:
                self.own += 2 * seconds
            self.busy += 2 * seconds * (1 + (self.foreign if self.round() in self.polluted else 0))

        return run


def test_quiet_rounds_are_kept_in_rotated_order():
    machine = Machine({"a": 1.0, "b": 2.0, "c": 4.0})
    samples = measure(machine.competitors, 3, 0.5, machine.clocks)
    assert samples.dropped == 0
    np.testing.assert_allclose(samples.seconds, [[1.0, 2.0, 4.0]] * 3)
    measured = [name for name, _ in machine.log[1::2]][3:]
    assert measured == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_every_sample_comes_right_after_a_call_that_is_not_measured():
    machine = Machine({"a": 0.25, "b": 1.0})
    measure(machine.competitors, 2, 1.0, machine.clocks)
    pairs = list(zip(machine.log[::2], machine.log[1::2], strict=True))
    assert all(first == (name, 1) for first, (name, _) in pairs)


def test_polluted_rounds_are_dropped_and_repeated():
    machine = Machine({"a": 1.0, "b": 2.0}, polluted={0, 2})
    samples = measure(machine.competitors, 3, 0.5, machine.clocks)
    assert (len(samples.seconds), samples.dropped) == (3, 2)


def test_what_others_take_below_the_limit_does_not_matter():
    machine = Machine({"a": 1.0, "b": 2.0}, polluted={0, 1, 2}, foreign=0.05)
    assert measure(machine.competitors, 3, 0.5, machine.clocks).dropped == 0


def test_a_machine_that_is_never_quiet_ends_the_attempts():
    machine = Machine({"a": 1.0}, polluted=range(100))
    samples = measure(machine.competitors, 4, 0.5, machine.clocks)
    assert samples.seconds.shape == (0, 1) and samples.dropped == 4 * ATTEMPTS


def test_the_quietest_rounds_make_up_for_quiet_ones():
    machine = Machine({"a": 1.0, "b": 2.0}, polluted={0, 1, 3})
    seconds, foreign = quietest(machine.competitors, 2, 0.5, machine.clocks)
    np.testing.assert_allclose(seconds, [[1.0, 2.0]] * 2)
    assert foreign[0] == pytest.approx(0.07) and foreign[1] == pytest.approx(0)  # 4 rounds: only the third was quiet


def test_work_of_worker_processes_is_our_own():
    machine = Machine({"a": 1.0, "b": 1.0}, workers={"b"})
    assert measure(machine.competitors, 3, 0.5, machine.clocks).dropped == 0


def test_every_round_is_kept_where_nothing_tells_what_others_took():
    machine = Machine({"a": 1.0}, polluted=range(100), foreign=5.0)
    assert measure(machine.competitors, 3, 0.5, machine.clocks._replace(machine=None)).dropped == 0


@pytest.mark.parametrize("cost", [1e-6, 3e-4, 0.02, 0.079, 0.08, 2.0])
def test_batches_last_at_least_as_long_as_asked(cost):
    machine = Machine({"a": cost})
    repeats = calibrated(machine.competitors[0], 0.08, machine.clocks)
    assert repeats * cost >= 0.08 * (1 - 1e-9)
    assert repeats == 1 or repeats * cost < 0.3


def test_seconds_are_those_of_one_unit_and_leave_follows_a_failure():
    machine, left = Machine({"a": 6.0}), []
    one = machine.competitors[0]._replace(units=3, leave=lambda: left.append(True))
    np.testing.assert_allclose(measure([one], 1, 0.5, machine.clocks).seconds, [[2.0]])
    with pytest.raises(ZeroDivisionError):
        calibrated(one._replace(run=lambda repeats: 1 / 0), 0.5, machine.clocks)
    assert len(left) == 3


# rows and counts


def test_rows_have_the_columns_of_the_table():
    found = row("single", Case("lstm", "float32", *TINY), seconds=1.0)
    assert list(found) == COLUMNS == list(cases.COLUMNS)
    assert (found["T"], found["R"], found["peer"], found["ratio"]) == (3, 1, "none", None)
    assert list(row("startup", None)) == COLUMNS
    with pytest.raises(ValueError, match="no column speed"):
        row("single", None, speed=1)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("rnn_tanh", 1)])
def test_flops_are_those_of_the_products(cell, gates):
    sized = Case(cell, "float32", 35, 20, 200, 100)
    assert useful_flops(sized) == 6 * 35 * 20 * gates * 200 * (200 + 100)
    assert useful_flops(sized) - useful_flops(sized, input_gradient=False) == 2 * 35 * 20 * gates * 200 * 100


def test_sizes_are_those_of_the_tables():
    assert (len(single.SHAPES), sum(map(len, (*sweep.SIZES.values(), (sweep.SHORT,))))) == (7, 6)
    assert len(bench.jobs(["single"], settings(bench.DEFAULT_CELLS))) == 21
    assert len(bench.jobs(["sweep"], settings(bench.DEFAULT_CELLS))) == 6


def test_worst_error_is_relative_to_each_array():
    expected = {"a": np.array([100.0, 1.0]), "b": np.array([1e-3])}
    assert cases.worst_error({"a": np.array([100.0, 2.0]), "b": np.array([1e-3])}, expected) == pytest.approx(0.01)
    assert cases.worst_error({"a": np.array([100.0, 1.0]), "b": np.array([2e-3])}, expected) == pytest.approx(1.0)


def scaling_rows(seconds_of):
    points = [("T", 25), ("T", 400), ("B", 8), ("H", 256), ("H", 1024), ("R", 16), ("T", 100)]
    found = [row("scaling", scaling.point("lstm", "float32", *point), threads=2) for point in points]
    return [{**one, "seconds": seconds_of(one)} for one in found]


def test_cost_model_finds_its_constants():
    truth = model.CostModel(1 / 170e9, 2e-9)
    rows = scaling_rows(lambda one: model.predicted(truth, one))
    np.testing.assert_allclose(model.fit(rows), truth, rtol=1e-9)
    assert model.table(rows)[0]["worst_percent"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("power", [-1, 1, 2])
def test_slopes_of_powers(power):
    values, scatter = np.array([1, 2, 4, 8]), np.exp(np.linspace(-0.1, 0.1, 9))[:, None]
    (found,) = scaling.slope_rows({"axis": "T"}, [1, 2, 4, 8], scatter * 1e-3 * values.astype(float) ** power)
    assert found["slope"] == pytest.approx(power) and found["low"] <= found["high"]
    assert scaling.slope_rows({"axis": "threads"}, [1], np.ones((3, 1))) == []


def test_chains_of_the_ceiling_are_computed():
    start = np.float32(1)
    assert ceiling._run(200, start) == 2 * ceiling.CHAINS  # x <- x/2 + 1 ends at 2
    assert ceiling.peak_flops("float32", 1) > 0


# the suites, tiny


def only(jobs):
    (job,) = jobs
    return job.run()


def test_single_from_the_command_line_to_json_and_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(single, "SHAPES", (TINY,))
    monkeypatch.setattr(bench, "system_clocks", Clocks)
    monkeypatch.setattr(bench, "SAMPLE_SECONDS", 1e-4)
    files = {"--json": tmp_path / "new" / "bench.json", "--figure": tmp_path / "bench.svg"}
    told = [str(part) for pair in files.items() for part in pair]
    peers_here = any(map(find_spec, ("torch", "jax")))  # without a ratio there is nothing to draw, and it says so
    code = main(["bench", "single", "--cells", "rnn_tanh,rnn_linear", "--threads", "1", "--rounds", "2", *told])
    record = json.loads(files["--json"].read_text(encoding="utf-8"))
    assert code == (0 if peers_here else 2) and list(record) == ["machine", "rows", "record_sha256"]
    assert files["--figure"].exists() == peers_here
    assert all(list(one) == COLUMNS for one in record["rows"])
    assert all(one["max_relative_error"] < 1e-5 and one["rounds"] == 2 for one in record["rows"])
    assert record["machine"]["ceiling_flops"]["float32"]["1"] > 0
    assert set(record["machine"]["peers_missing"]) == {name for name in ("torch", "jax") if not find_spec(name)}
    out = capsys.readouterr().out
    assert "ceiling float32" in out and "rnn_linear float32 (3, 2, 4, 3)" in out


def test_without_peers_a_case_has_one_row(monkeypatch):
    no_peers(monkeypatch)
    monkeypatch.setattr(single, "SHAPES", (TINY,))
    (found,) = only(bench.jobs(["single"], settings())).rows
    assert (found["peer"], found["ratio"], found["rounds"]) == ("none", None, 2)
    assert 0 < found["max_relative_error"] < 1e-5


def test_sweep_without_peers_in_groups(monkeypatch):
    no_peers(monkeypatch)
    monkeypatch.setattr(sweep, "SIZES", {"rnn_tanh": ((*TINY, 3),)})
    (found,) = only(bench.jobs(["sweep"], settings())).rows
    assert found["R"] == 3 and 0 < found["max_relative_error"] < 1e-5
    problem = problem_of(Case("rnn_tanh", "float32", *TINY, R=3))
    whole, parts = (ours.sweep_gradients(problem, each) for each in ([slice(3)], [slice(2), slice(2, 3)]))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_scaling_gives_rows_slopes_and_tapes(monkeypatch):
    no_peers(monkeypatch)
    monkeypatch.setattr(scaling, "BASE", {"T": 3, "B": 2, "H": 4, "I": 4, "R": 1})
    monkeypatch.setattr(scaling, "AXES", {"T": (3, 6), "H": (4, 8), "R": (1, 2)})
    record = {"rows": []}
    for job in bench.jobs(["scaling"], settings(rounds=6)):
        bench.add(record, job.run())
    assert len(record["rows"]) == 7 and [one["axis"] for one in record["slopes"]] == ["T", "H", "R"]
    assert [one["expected"] for one in record["slopes"]] == [1, 2, 1] and len(record["cost_model"]) == 1
    tapes = {(one["axis"], one["value"]): one["tape_bytes"] for one in record["tapes"]}
    assert all(0 <= one["tape_bytes"] - one["formula_bytes"] < 1e3 for one in record["tapes"])
    assert 0 < tapes["T", 3] < tapes["T", 6] and 0 < tapes["R", 1] < tapes["R", 2]
    assert {one["H"] for one in record["rows"] if one["H"] == one["I"]} == {4, 8}


def test_training_without_peers(monkeypatch):
    no_peers(monkeypatch)
    monkeypatch.setattr(training, "SIZES", ((*TINY, 2),))
    (found,) = only(bench.jobs(["training"], settings())).rows
    assert found["seconds"] > 0 and found["flops"] == 2 * useful_flops(Case("rnn_tanh", "float32", *TINY), False)


def test_language_without_peers(monkeypatch):
    no_peers(monkeypatch)
    monkeypatch.setattr(language, "SIZES", (TINY,))
    monkeypatch.setattr(language, "WORDS", 7)
    (found,) = only(bench.jobs(["language"], settings())).rows
    layers = 6 * 3 * 2 * 4 * (4 + 3) + 6 * 3 * 2 * 4 * (4 + 4)
    assert found["seconds"] > 0 and found["flops"] == layers + 6 * 3 * 2 * 4 * 7


def test_startup_times_the_command_in_a_new_process():
    (found,) = startup.help_rows(settings(rounds=1))
    assert (found["cell"], found["rounds"]) == ("recurlab --help", 1) and found["seconds"] > 0
    with pytest.raises(RuntimeError, match="nonsense"):
        startup._output([startup.sys.executable, "-m", "recurlab", "nonsense"])
    jobs = bench.jobs(["startup"], settings())
    assert len(jobs) == 3 and len(bench.jobs(["startup"], settings()._replace(quick=True))) == 2


def test_a_case_without_a_quiet_round_is_told_and_kept(monkeypatch):
    no_peers(monkeypatch)
    monkeypatch.setattr(single, "SHAPES", (TINY,))
    busy = iter(range(0, 10**9, 10**3))
    noisy = settings()._replace(clocks=Clocks(machine=lambda: next(busy), cores=1))
    with pytest.warns(UserWarning, match="0 of 2 rounds kept"):
        (found,) = only(bench.jobs(["single"], noisy)).rows
    assert (found["seconds"], found["rounds"]) == (None, 0) and shown.table([found])


# what is refused


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["singel"], "training, language, startup, got 'singel'"),
        (["single", "--cells", "lstm,gruu"], "got 'gruu'"),
        (["single", "--figure", "picture.txt"], "picture.txt: the name must end in .pdf, .svg, .png"),
    ],
)
def test_wrong_names_are_refused_in_one_line(capsys, arguments, part):
    assert main(["bench", *arguments, "--threads", "1"]) == 2
    told = capsys.readouterr().err
    assert part in told and told.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--dtype", "float16"], ["--rounds", "0"], ["--threads", "none"]])
def test_what_argparse_refuses_ends_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2


# what is shown


def compared(suite="single", **values):
    values = {"seconds": 1.0, "peer_seconds": 2.0, "ratio": 2.0, "rounds": 6, **values}
    return row(suite, Case("lstm", "float32", *TINY), **values)


def test_the_fastest_peer_is_marked_and_the_worst_ratio_told():
    rows = [compared(peer="slow", ratio=3.0), compared(peer="fast", ratio=0.9, ratio_low=0.8, ratio_high=1.1)]
    assert [one["peer"] for one in shown.table(rows)] == ["slow", "fast *"]
    assert shown.worst(rows) == ["worst single: lstm float32 (3, 2, 4, 3) against fast: 0.9 (0.8–1.1)"]
    assert shown.table([row("startup", None, cell="recurlab --help", seconds=0.1, rounds=3)])[0]["peer"] == "none"


MACHINE = {
    "system": "Linux", "cpu": "a processor", "vector_bits": 512, "threads": 2, "commit": "0123456789abcdef",
    "versions": {"numba": "0.68.1"}, "peers": {"torch": "2.13.0"}, "peers_missing": ["jax"], "method": "in turn",
    "date": "2026-01-02T03:04:05+00:00", "ceiling_flops": {"float32": {"1": 1e11, "2": 2e11}},
}  # fmt: skip


def test_a_page_gets_the_tables_of_a_record_and_keeps_its_text(tmp_path, capsys):
    rows = [compared(peer="fast", ratio=0.9, ratio_low=0.8, ratio_high=1.1), row("startup", None, cell="help")]
    record = {"machine": MACHINE, "rows": rows, "slopes": [{"axis": "T", "slope": 0.98765, "low": None}]}
    write_record(tmp_path / "bench.json", record)
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{shown.BEGIN}\nold\n{shown.END}\nAfter.\n", encoding="utf-8")
    command = ["bench", "--threads", "1", "--read", str(tmp_path / "bench.json"), "--markdown", str(page)]
    assert main(command) == 0 and capsys.readouterr().out.splitlines()[-1] == str(page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Before.\n") and text.endswith("After.\n") and "old" not in text
    assert "2026-01-02, commit 0123456789ab" in text and "jax was not installed" in text
    assert "* worst single: lstm float32 (3, 2, 4, 3) against fast: 0.9 (0.8–1.1)" in text
    assert "| lstm float32 (3, 2, 4, 3) |" in text and "| T | 0.9877 |  |" in text
    assert main(command) == 0 and page.read_text(encoding="utf-8") == text
    page.write_text("no lines", encoding="utf-8")
    assert main(command) == 2 and "has no lines <!-- bench -->" in capsys.readouterr().err
    write_record(tmp_path / "bench.json", {})
    assert main(command[:-2]) == 2 and "not a record of the bench" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_figure_of_ratios_and_scaling(tmp_path, form):
    timed = scaling_rows(lambda one: 1e-9 * one["T"] * one["B"] * one["H"] ** 2 * one["R"])
    rows = [compared(peer="a", ratio_low=1.5, ratio_high=2.5), compared("sweep", peer="b"), *timed]
    path = benchmark.draw({"rows": rows}, tmp_path / f"bench.{form}")
    again = benchmark.draw({"rows": rows}, tmp_path / f"again.{form}")
    assert path.read_bytes() == again.read_bytes()


def test_figure_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither a ratio"):
        benchmark.draw({"rows": [row("startup", None, seconds=1.0)]}, tmp_path / "bench.png")


# the peers compute the same


def assert_same(found, expected, bound=1e-12):
    assert set(found) == set(expected)
    assert cases.worst_error(found, expected) <= bound


TORCH_CELLS = [pytest.param(cell, marks=needs("torch")) for cell in ("rnn_tanh", "rnn_relu", "lstm", "gru")]
JAX_CELLS = [
    pytest.param(cell, marks=needs("jax"))
    for cell in ("rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_linear", "lstm", "gru")
]


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_torch_computes_what_recurlab_does(cell):
    torch = peers.module("torch")
    problem = problem_of(Case(cell, "float64", *TINY))
    assert_same(torch.every_gradient(problem, "float64"), ours.every_gradient(problem))
    problem = problem_of(Case(cell, "float64", *TINY, R=2))
    sweep_of_ours = ours.sweep_gradients(problem)
    for r in range(2):
        own = {name: array[r] for name, array in sweep_of_ours.items()}
        assert_same(torch.last_step_gradients(problem, "float64", r), own)


@pytest.mark.parametrize("cell", JAX_CELLS)
def test_jax_computes_what_recurlab_does(cell):
    jax = peers.module("jax")
    problem = problem_of(Case(cell, "float64", *TINY))
    assert_same(jax.every_gradient(problem), ours.every_gradient(problem))
    problem = problem_of(Case(cell, "float64", *TINY, R=2))
    assert_same(jax.sweep_gradients(problem), ours.sweep_gradients(problem))


@pytest.mark.parametrize(("clip", "bound"), [(1e3, 1e-12), (0.1, 1e-6)])  # torch adds 1e-6 to the norm when it clips
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_torch_trains_as_recurlab_does(cell, clip, bound):
    problem = problem_of(Case(cell, "float64", *TINY, R=2))
    targets = np.arange(problem.case.B)
    state = ours.Training(problem, targets, 0.01, clip)
    assert peers.error_of_training(problem, state) <= 1e-12
    torch = peers.module("torch").Training(problem, state.params, targets, state.learning_rate, state.clip, "float64")
    for _ in range(3):
        state.update()
        torch.update()
    for r, network in enumerate(torch.networks):
        own = {name: array[r] for name, array in state.params.items() if not name.endswith("_out")}
        assert_same(
            {name: value.detach().numpy() for name, value in network["recurrent"].named_parameters()}, own, bound
        )


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("peer", [pytest.param("torch", marks=needs("torch"))])
def test_updates_of_a_language_model_are_those_of_torch(monkeypatch, peer, cell):
    from recurlab.bench import torch_language

    setting = language.setting_of(Case(cell, "float64", *TINY), words=7, layers=2)
    state = language.Training(setting)
    assert peers.error_of_language(setting, language.Training(setting)) <= 1e-12
    monkeypatch.setattr(state, "rate", np.full(1, 0.5))
    monkeypatch.setattr(state, "bound", np.full(1, 0.1))
    torch = torch_language.Training(setting, 0.5, 0.1, "float64")
    for _ in range(3):  # states go on from update to update
        state.update()
        torch.update()
    own = {name: array[0] for name, array in state.params.items()}
    assert_same({torch_language.own_name(n): p.detach().numpy() for n, p in torch.model.named_parameters()}, own, 1e-12)


@pytest.mark.parametrize("peer", [pytest.param(name, marks=needs(name)) for name in ("torch", "jax")])
def test_peers_flush_denormals(peer):
    peers.prepare(1)
    assert peers.module(peer).flushes_denormals()


@pytest.mark.parametrize("peer", [pytest.param("torch", marks=needs("torch"))])
def test_sweep_has_a_row_for_each_way_of_torch(monkeypatch, peer):
    monkeypatch.setattr(sweep, "SIZES", {"rnn_tanh": ((*TINY, 3),)})
    monkeypatch.setattr(peers, "_jax", lambda cell: None)
    rows = only(bench.jobs(["sweep"], settings())).rows
    assert [one["peer"] for one in rows] == ["torch loop, 1 thread", "torch, 1 process × 1 thread"]
    assert all(one["ratio"] > 0 and one["max_relative_error"] < 1e-5 for one in rows)


def test_every_cell_has_its_row(monkeypatch):
    labels = [job.label for job in bench.jobs(["single"], settings(tuple(CELLS)))]
    assert all(any(f" {cell} " in label for label in labels) for cell in CELLS)


def test_a_result_without_tables_adds_rows_alone():
    record = {"rows": []}
    bench.add(record, Result([compared()], {}))
    assert list(record) == ["rows"]
