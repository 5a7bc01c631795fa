"""Studies as the engine uses them: declared columns, rows of a seed that depend on it alone, and known answers."""

import numpy as np
import pytest

from recurlab.bench.timing import FOREIGN, Competitor
from recurlab.studies import STUDIES, TIMED, load_study, throughput
from recurlab.studies.weight_sharing import STEPS, Examples
from recurlab.tasks import TASKS

SMALL = {
    "training": {
        "task": "temporal_order",
        "length": 10,
        "cell": "lstm",
        "hidden_size": 4,
        "init_name": "orthogonal",
        "gain": 1.0,
        "input_init": "uniform",
        "input_gain": 1.0,
        "output_sd": 0.1,
        "forget_bias": 1.0,
        "chrono": None,
        "batch_size": 3,
        "updates": 5,
        "every": 2,
        "rule": "rmsprop",
        "schedule": "linear",
        "learning_rate": np.array([0.01]),
        "clip": 1.0,
        "clip_value": None,
        "penalty": "spectral_norm",
        "penalty_weight": 0.1,
        "truncation": (2, 3),
        "carry": True,
        "solved_by": "error",
        "solved_below": 0.01,
        "dtype": "float32",
    },
    "eigenvalue_spectra": {
        "init_name": "orthogonal",
        "hidden_size": 6,
        "gain": 1.0,
        "powers": (1, 3),
        "product_cells": ("rnn_linear", "lstm"),
        "product_lengths": (1, 4),
        "drive": 0.1,
    },
    "gradient_decay": {
        "cell": "rnn_linear",
        "init_name": "orthogonal",
        "forget_bias": None,
        "chrono": None,
        "hidden_size": 6,
        "input_size": 2,
        "input_gain": 0.5,
        "batch_size": 2,
        "length": 20,
        "lags": (0, 5, 20, 50),
        "dtype": "float64",
    },
    "unrolling": {
        "cell": "lstm_peephole",
        "init_name": "uniform",
        "hidden_size": 5,
        "input_size": 2,
        "batch_size": 2,
        "lengths": (1, 7),
    },
    "error_surface": {
        "part": "descent",
        "steps": 50,
        "target": 0.7,
        "w_range": (4.4, 6.0),
        "b_range": (-3.4, -2.0),
        "resolution": 5,
        "start_w": 5.1,
        "start_b": -2.5,
        "learning_rate": 0.2,
        "clip": 0.5,
        "updates": 30,
        "bifurcation_w": 5.0,
        "latch_w": (1.5, 2.0),
    },
    "dataset_training": {
        "dataset": "digits",
        "limit": 100,
        "cell": "rnn_tanh",
        "hidden_size": 4,
        "init_name": "orthogonal",
        "gain": 1.0,
        "input_init": "uniform",
        "input_gain": 1.0,
        "forget_bias": None,
        "batch_size": 50,
        "epochs": 2,
        "patience": None,
        "rule": "adam",
        "schedule": "constant",
        "regulariser": "zoneout",
        "dtype": "float32",
    },
    "memory_capacity": {
        "cell": "rnn_tanh",
        "weights": "cycle",
        "hidden_size": 4,
        "input_gain": 0.1,
        "steps": 60,
        "memory": 12,
        "lags": (0, 3, 11, 40),
        "dtype": "float64",
    },
    "variable_length": {
        "part": "agreement",
        "cell": "lstm_peephole",
        "init_name": "orthogonal",
        "gain": 1.0,
        "forget_bias": None,
        "hidden_size": 5,
        "input_size": 2,
        "lengths": (3, 1, 5, 3),
        "paddings": (0,),
        "dtype": "float32",
    },
    "truncation": {
        "task": "embedded_reber",
        "length": 12,
        "decays": (0.0,),
        "cell": "gru",
        "init_name": "uniform",
        "forget_bias": 1.0,
        "hidden_size": 4,
        "batch_size": 3,
        "backs": (1, 4, 11, 30),
        "updates": 2,
        "learning_rate": 0.01,
        "dtype": "float32",
    },
    "snapshot": {
        "task": "sample_and_hold",
        "length": 3,
        "cell": None,
        "windows": (1, 4),
        "parameters": 40,
        "batch_size": 4,
        "updates": 5,
        "learning_rate": 0.01,
        "clip": 1.0,
        "test_batches": 1,
        "dtype": "float32",
    },
    "reber": {
        "length": 15,
        "cell": "lstm",
        "hidden_size": 5,
        "init_name": "uniform",
        "forget_bias": 1.0,
        "batch_size": 4,
        "updates": 6,
        "every": 3,
        "schedule": "linear",
        "learning_rate": 0.01,
        "clip": 1.0,
        "window": None,
        "carry": True,
        "test_pairs": 6,
        "dtype": "float32",
    },
    "weight_sharing": {
        "task": "adding",
        "cell": "gru",
        "init_name": "uniform",
        "forget_bias": None,
        "hidden_size": 3,
        "sharing": "tied",
        "sequences": 8,
        "train_lengths": (4, 6),
        "test_lengths": (6, 20),
        "test_sequences": 16,
        "batch_size": 4,
        "updates": 6,
        "learning_rate": 0.01,
        "clip": 1.0,
        "dtype": "float32",
    },
    "dynamics_in_training": {
        "task": "temporal_order",
        "length": 12,
        "lag": 6,
        "cell": "gru",
        "hidden_size": 5,
        "init_name": "uniform",
        "gain": 1.0,
        "forget_bias": None,
        "chrono": None,
        "batch_size": 4,
        "updates": 6,
        "every": 3,
        "learning_rate": 0.01,
        "clip": 1.0,
        "solved_by": "error",
        "solved_below": 0.01,
        "test_rows": 3,
        "burn_in": 2,
        "settle": 2,
        "dtype": "float32",
    },
    "constant_error": {
        "cell": "lstm",
        "init_name": "uniform",
        "forget_bias": 1.0,
        "chrono": None,
        "hidden_size": 5,
        "input_size": 2,
        "input_gain": 0.5,
        "batch_size": 2,
        "length": 12,
        "lags": (0, 3, 12, 50),
    },
    "sparsity": {
        "corpus": "agreement",
        "level": "word",
        "least_count": 1,
        "train_share": 100,
        "sizes": (60, 300),
        "test_tokens": 100,
        "longest": 3,
        "smoothings": ("add_k", "kneser_ney"),
        "hidden_size": 4,
    },
    "independence": {
        "part": "documents",
        "task": "order",
        "cell": "gru",
        "documents": 16,
        "length": 4,
        "hidden_size": 3,
        "batch_size": 2,
        "updates": 3,
        "learning_rate": 0.01,
        "clip": 1.0,
        "test_documents": 7,
        "moved": (2, 4),
        "tokens": (20, 50),
        "test_tokens": 50,
        "pairs": ("peanut butter",),
        "distances": (1, 2),
        "dtype": "float32",
    },
    "attention": {
        "dataset": "number_words",
        "train_lengths": (1, 2),
        "test_sentences": 5,
        "gradient_length": 3,
        "cell": "gru",
        "score": "additive",
        "embedding_size": 3,
        "hidden_size": 4,
        "init_name": "uniform",
        "forget_bias": 1.0,
        "batch_size": 4,
        "updates": 10,
        "learning_rate": 0.01,
        "clip": 1.0,
        "dtype": "float32",
    },
    "translation": {
        "dataset": "reverse_words",
        "vocabulary_size": None,
        "train_lengths": (1, 3),
        "test_lengths": (1, 3, 5),
        "test_sentences": 4,
        "cell": "lstm",
        "score": "dot",
        "bidirectional": True,
        "embedding_size": 3,
        "hidden_size": 4,
        "init_name": "uniform",
        "forget_bias": 1.0,
        "dropout": 0.2,
        "batch_size": 4,
        "updates": 6,
        "learning_rate": 0.01,
        "clip": 1.0,
        "beam_sizes": (1, 3),
        "length_power": 1.0,
        "dtype": "float32",
    },
    "language": {
        "corpus": "agreement",
        "level": "word",
        "vocabulary_size": None,
        "train_tokens": 300,
        "valid_tokens": 60,
        "test_tokens": 80,
        "rung": "recurrent",
        "order": None,
        "smoothing": None,
        "window": None,
        "direct": False,
        "cell": "lstm",
        "num_layers": 2,
        "heads": None,
        "embedding_size": 3,
        "hidden_size": 4,
        "tied": False,
        "forget_bias": 1.0,
        "init_scale": None,
        "batch_size": 3,
        "steps": 7,
        "truncation": 3,
        "epochs": 2,
        "points": 2,
        "patience": None,
        "rule": "adam",
        "schedule": "linear",
        "divide_after": None,
        "divide_by": 1.0,
        "dynamic_rate": 0.1,
        "contexts": (1, 3),
        "measured": (
            "position",
            "distance",
            "context",
            "agreement",
            "contexts",
            "window",
            "interpolated",
            "dynamic",
            "held_out",
        ),
        "dtype": "float32",
    },
    "throughput": {
        "cell": "rnn_tanh",
        "dtype": "float32",
        "sample_seconds": 1e-4,
        "shapes": ((3, 2, 4, 3), (5, 2, 4, 3)),
        "sweeps": ((3, 2, 4, 3, 2),),
        "base": (3, 2, 4),
        "lengths": (3, 6),
        "batch_sizes": (2, 4),
        "hidden_sizes": (4, 8),
        "replica_counts": (1, 2),
    },
}


# values of the parameters that vary within a launch
REPLICA = {"dropout": 0.2, "gain": 1.0, "radius": 0.9, "learning_rate": 0.003, "clip": 1.0, "strength": 0.01}


@pytest.fixture(autouse=True)
def no_peers(monkeypatch):
    """Times of peers need seconds, and are the business of test_bench."""
    monkeypatch.setattr("recurlab.bench.peers.module", lambda name: None)


def run(name, seeds, **changes):
    study = load_study(name)
    seeds = np.array(seeds)
    replicas = {key: np.full(len(seeds), REPLICA[key]) for key in study.replicas if key in REPLICA}
    return study.function(seeds=seeds, **(SMALL[name] | replicas | changes))


def rows_of(columns, replica):
    return {name: values[columns["replica"] == replica] for name, values in columns.items() if name != "replica"}


@pytest.mark.parametrize("name", STUDIES)
def test_columns_are_those_declared_with_units(name):
    columns, study = run(name, [0]), load_study(name)
    assert columns.keys() == {"replica", *study.columns}
    assert len({len(values) for values in columns.values()}) == 1
    assert all("; " in text for text in study.columns.values())


@pytest.mark.parametrize("name", STUDIES)
def test_rows_of_a_seed_depend_on_that_seed_only(name):
    together, alone = run(name, [4, 7]), run(name, [7])
    for column, values in rows_of(together, 1).items():
        if column not in load_study(name).times:
            np.testing.assert_array_equal(values, rows_of(alone, 0)[column], err_msg=column)


def test_rows_of_a_seed_go_on_after_it_has_solved_its_task_and_the_others_not():
    learning = {"cell": "gru", "hidden_size": 16, "batch_size": 16, "updates": 400, "every": 20, "rule": "adam"}
    learning |= {"penalty": None, "truncation": None, "solved_below": 0.2, "forget_bias": 1.0}
    rate = {"learning_rate": np.full(3, 0.01)}
    together = run("training", [0, 1, 2], **learning, **rate)
    ends = [rows_of(together, r)["updates_needed"][0] for r in range(3)]
    assert len(set(ends)) > 1 and min(ends) < 400
    for r in range(3):
        alone = run("training", [r], **learning, learning_rate=np.array([0.01]))
        for column, values in rows_of(together, r).items():
            np.testing.assert_array_equal(values, rows_of(alone, 0)[column], err_msg=column)


@pytest.mark.parametrize("name", STUDIES)
def test_studies_whose_jobs_run_alone_are_those_that_measure_times(name):
    study = load_study(name)
    assert bool(study.times) == (name in TIMED) and set(study.times) <= set(study.columns)


def test_orthogonal_linear_network_keeps_the_gradient_and_lags_beyond_the_run_are_left_out():
    found = run("gradient_decay", [0, 1])
    assert sorted(set(found["lag"])) == [0, 5, 20]
    assert np.abs(found["log10_gradient_norm"]).max() < 1e-13
    assert not found["underflow"].any() and not found["overflow"].any()


def test_gradients_under_and_overflow_where_the_closed_form_says():
    lags = (0, 100, 140, 160, 200)  # 0.5^149 is the smallest float32, 2^128 the first that is too large
    found = {
        gain: run(
            "gradient_decay", [0], gain=np.array([gain]), length=200, lags=lags, dtype="float32", init_name="identity"
        )
        for gain in (0.5, 2.0)
    }
    assert found[0.5]["underflow"].tolist() == [0, 0, 0, 1, 1] and not found[0.5]["overflow"].any()
    assert found[2.0]["overflow"].tolist() == [0, 0, 1, 1, 1] and not found[2.0]["underflow"].any()


@pytest.mark.parametrize("cell", ["gru", "mgu", "ugrnn", "min_gru"])
def test_forget_gate_with_zero_weights_decays_as_its_bias_says(cell):
    found = run("gradient_decay", [0], cell=cell, gain=np.array([1e-9]), input_gain=1e-9, forget_bias=1.0)
    assert np.isnan(found["spectral_radius"]).all() == (cell == "min_gru")
    assert np.allclose(found["log10_gradient_norm"], found["forget_decay"], rtol=1e-7, atol=1e-12)


def test_orthogonal_powers_and_linear_products_keep_every_singular_value():
    found = run("eigenvalue_spectra", [0])
    powers = found["value"][found["quantity"] == "singular_value"]
    products = found["value"][(found["quantity"] == "jacobian_product") & (found["cell"] == "rnn_linear")]
    assert len(powers) == 12 and np.abs(powers - 1).max() < 1e-13
    assert len(products) == 12 and np.abs(products).max() < 1e-13


def test_untied_gradients_sum_to_the_tied_one():
    assert run("unrolling", range(4))["relative_difference"].max() < 1e-14


def test_clipped_steps_are_never_longer_than_learning_rate_times_threshold():
    found = run("error_surface", [0])
    walks = {
        method: np.column_stack([found[name][found["method"] == method] for name in "wb"])
        for method in ("clipped", "unclipped")
    }
    lengths = {method: np.hypot(*np.diff(walk, axis=0).T) for method, walk in walks.items()}
    assert lengths["clipped"].max() <= 0.2 * 0.5 * (1 + 1e-12) < lengths["unclipped"].max()


@pytest.mark.parametrize(("part", "quantity"), [("bifurcation", "saddle-node"), ("latch", "latch")])
def test_measured_bifurcations_lie_at_the_closed_form(part, quantity):
    found = run("error_surface", [0], part=part)
    difference = found["difference"][found["quantity"] == quantity]
    assert len(difference) == 2 and np.abs(difference).max() < 1e-6


def test_error_surface_gradient_is_that_of_the_error():
    near = run(
        "error_surface", [0], part="surface", w_range=(5.0, 5.0 + 1e-6), b_range=(-2.0, -2.0 + 1e-6), resolution=2
    )
    error = near["error"].reshape(2, 2)
    slope = np.hypot((error[1, 0] - error[0, 0]) / 1e-6, (error[0, 1] - error[0, 0]) / 1e-6)
    assert near["log10_gradient_norm"][0] == pytest.approx(np.log10(slope), abs=1e-4)


@pytest.mark.parametrize("cell", ["lstm", "lstm_no_forget_gate", "lstm_coupled", "gru"])
def test_without_recurrent_weights_the_error_takes_the_direct_path_alone(cell):
    bias = None if cell == "lstm_no_forget_gate" else 1.0
    alone = run("constant_error", [0, 1], cell=cell, forget_bias=bias, gain=np.zeros(2), input_gain=0.0)
    assert sorted(set(alone["lag"])) == [0, 3, 12]
    assert alone["relative_difference"].max() < 1e-13 and np.abs(alone["cosine"] - 1).max() < 1e-13
    kept = 1.0 if bias is None else 1 / (1 + np.exp(-bias))
    assert np.allclose(alone["log10_gradient_norm"], alone["lag"] * np.log10(kept), rtol=1e-12, atol=1e-13)
    coupled = run("constant_error", [0, 1], cell=cell, forget_bias=bias, gain=np.full(2, 2.0))
    assert coupled["relative_difference"].max() > 0.1


def test_chrono_biases_keep_the_gradient_as_their_mean_square_says():
    # zero weights: the mean of f^2k over 512 units, whose own deviation moves log10 by less than 0.05 at these lags
    settings = {"cell": "gru", "gain": np.array([1e-9]), "input_gain": 1e-9, "chrono": 40, "hidden_size": 512}
    found = run("gradient_decay", [0], **settings)
    assert set(found["gate_bias"]) == {"chrono 40"}
    assert np.abs(found["log10_gradient_norm"] - found["forget_decay"]).max() < 0.05


def test_a_few_replicas_at_a_time_give_the_bits_of_all_together(monkeypatch):
    together = run("gradient_decay", [0, 1, 2], cell="lstm", forget_bias=1.0)
    monkeypatch.setattr("recurlab.studies.gradient_decay.TAPE_BYTES", 1)
    for name, values in run("gradient_decay", [0, 1, 2], cell="lstm", forget_bias=1.0).items():
        np.testing.assert_array_equal(values, together[name], err_msg=name)


def test_snapshot_networks_have_as_many_parameters_as_allowed_and_the_states_they_say():
    windows, cell = run("snapshot", [0, 1]), run("snapshot", [0, 1], cell="lstm", parameters=200)
    assert windows["hidden_size"].tolist() == [9, 9, 3, 3] and windows["weights"].tolist() == [37, 37, 31, 31]
    assert windows["states"].tolist() == [0, 0, 6, 6]
    assert set(cell["hidden_size"]) == {5} and set(cell["weights"]) == {4 * 5 * (2 + 5 + 2) + 6}
    assert set(cell["states"]) == {10} and cell["window"].tolist() == [1, 1, 4, 4]
    with pytest.raises(ValueError, match="parameters: expected at least 22"):
        run("snapshot", [0], cell="lstm", parameters=21)


def test_snapshot_measures_from_the_exact_loss_of_the_window():
    found = run("snapshot", [0, 1], task="leaky_sum", windows=(1, 2), updates=300, batch_size=16, test_batches=4)
    assert np.allclose(found["excess"], found["test_loss"] - found["window_bound"])
    assert found["below"].max() < 0.05 and found["excess"].max() < 0.05  # 2,048 sequences: one standard error is 0.01
    assert found["window_bound"][0] > 1.5 * found["window_bound"][-1]


UNTIED = {"sharing": "untied", "train_lengths": (5, 5), "test_lengths": (5,)}


def test_an_untied_network_has_weights_for_each_step_and_for_no_other_length():
    tied, apart = (run("weight_sharing", [0, 1], **UNTIED | {"sharing": sharing}) for sharing in ("tied", "untied"))
    inner, readout = 3 * 3 * (2 + 3 + 2), 4
    assert set(tied["weights"]) == {inner + readout} and set(apart["weights"]) == {5 * inner + readout}
    for wrong in ({"test_lengths": (5, 6)}, {"train_lengths": (4, 5)}):
        with pytest.raises(ValueError, match="untied network has weights for no other length"):
            run("weight_sharing", [0], **UNTIED | wrong)
    with pytest.raises(ValueError, match="multiple of the batch size 4"):
        run("weight_sharing", [0], sequences=9)
    with pytest.raises(ValueError, match="train_lengths"):
        run("weight_sharing", [0], train_lengths=(6, 4))


def test_a_training_set_is_gone_through_again_and_its_lengths_stay_in_their_range():
    examples = Examples(TASKS["adding"], (4, 6), 3, 2, "float32")
    first, second = ([examples.train([5], 3 * epoch + k).x for k in range(3)] for epoch in (0, 1))
    assert sorted(x.tobytes() for x in first) == sorted(x.tobytes() for x in second)
    fresh = [examples._replace(batches=None).train([5], update).x for update in range(40)]
    assert len({x.tobytes() for x in fresh}) == 40 and {x.shape[1] for x in fresh} == {4, 5, 6}
    tests = [batch.x.shape for batch in examples.test([5], STEPS // 3, 7)]
    assert tests == [(1, STEPS // 3, 3, 2)] * 3


def test_weights_that_are_tested_are_those_of_the_best_validation_loss():
    settings = {"sequences": 4, "hidden_size": 8, "updates": 400, "learning_rate": 0.03, "test_sequences": 512}
    found = run("weight_sharing", range(3), **settings | UNTIED)
    assert (found["train_loss"] < 0.01).all()  # four sequences are known by heart
    assert (found["test_loss"] < 2 * found["valid_loss"]).all() and (found["best_update"] < 400).all()
    assert np.allclose(found["relative_loss"], 6 * found["test_loss"])


def test_throughput_times_shapes_sweeps_and_every_axis():
    found = run("throughput", [0, 1])
    assert {"single": 4, "sweep": 2} == {suite: int((found["suite"] == suite).sum()) for suite in ("single", "sweep")}
    axes = set(zip(found["axis"], found["value"].tolist(), strict=True)) - {("", 0)}
    sizes = {("T", 3), ("T", 6), ("B", 2), ("B", 4), ("H", 4), ("H", 8), ("R", 1), ("R", 2)}
    assert sizes <= axes and {axis for axis, _ in axes - sizes} == {"threads"}
    assert (found["seconds"] > 0).all() and (found["percent_of_peak"] > 0).all()
    scaling = found["suite"] == "scaling"
    assert (found["model_seconds"][scaling] > 0).all() and (found["tape_bytes"][scaling] > 0).all()
    assert (found["max_relative_error"][~scaling] < 1e-5).all()
    assert set(found["implementation"]) == {"recurlab"} and np.isnan(found["ratio"]).all()


class Table:
    """Times by competitor in the place of a clock: two rounds, in the second of which others take `share`."""

    def __init__(self, share=0.0):
        self.share, self.seen = share, 0

    def __call__(self, competitors, rounds, seconds, clocks):
        self.seen += 1
        times = np.array([[1.0, 3.0, 2.0], [2.0, 5.0, 8.0]])[:, : len(competitors)]
        return times * [1.0, *[float(self.seen)] * (len(competitors) - 1)], np.array([0.0, self.share])


def with_peers(monkeypatch, table):
    peer = [Competitor(name, lambda repeats: None) for name in ("slow", "fast")]
    monkeypatch.setattr(throughput.peers, "single", lambda problem, threads: peer)
    monkeypatch.setattr(throughput, "quietest", table)
    return run("throughput", [0, 1])


def test_ratios_are_those_to_the_fastest_peer_and_the_least_of_all_shapes(monkeypatch):
    found = with_peers(monkeypatch, Table())
    single = found["suite"] == "single"
    of = {name: found["ratio"][single & (found["implementation"] == name)] for name in ("recurlab", "slow", "fast")}
    assert of["slow"].tolist() == [3.0, 2.5, 6.0, 5.0] and of["fast"].tolist() == [2.0, 4.0, 4.0, 8.0]
    assert of["recurlab"].tolist() == [2.0, 2.5, 4.0, 5.0]
    least = found["least_ratio"][single & (found["implementation"] == "recurlab")]
    assert least.tolist() == [2.0, 2.5, 2.0, 2.5]
    assert np.isnan(found["least_ratio"][~single]).all()  # no peer had a sweep


def test_a_disturbed_round_keeps_its_times_and_decides_no_claim(monkeypatch):
    found = with_peers(monkeypatch, Table(share=2 * FOREIGN))
    second = found["replica"] == 1
    assert np.isfinite(found["seconds"]).all() and np.isfinite(found["log10_seconds"][~second]).all()
    assert np.isnan(found["log10_seconds"][second]).all() and np.isnan(found["least_ratio"][second]).all()
