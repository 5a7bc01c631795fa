"""Training on given sequences: which epoch and learning rate count, when a replica ends, what noise changes."""

import hashlib
import os

import numpy as np
import pytest
from scipy.io import savemat

from recurlab import corpora
from recurlab.cli import main
from recurlab.layers.recurrent import recurrent
from recurlab.models import regularised
from recurlab.models.gradients import loss_and_gradients
from recurlab.models.sequence import evaluate, network, readout
from recurlab.random import Stream, normal, uniform
from recurlab.studies import load_study
from recurlab.studies.dataset_training import best_points, selected
from recurlab.tasks import DATASETS, music
from recurlab.tasks.dataset import Data, FirstRows, first_rows, mean_loss
from recurlab.weights import init

FIXED = {
    "limit": None,
    "init_name": "orthogonal",
    "gain": 1.0,
    "input_init": "uniform",
    "input_gain": 1.0,
    "forget_bias": None,
    "batch_size": 4,
    "epochs": 12,
    "patience": None,
    "rule": "adam",
    "schedule": "constant",
    "regulariser": None,
    "dtype": "float32",
}


def run(seeds, learning_rate=0.003, strength=0.0, clip=1.0, **changes):
    spread = {"learning_rate": learning_rate, "strength": strength, "clip": clip}
    spread = {name: np.broadcast_to(value, len(seeds)).astype(float) for name, value in spread.items()}
    return load_study("dataset_training").function(seeds=np.array(seeds), **(FIXED | spread | changes))


def pieces(part, count):
    """Piano rolls of 3 to 12 steps in which each key comes again after three steps."""
    u = uniform(Stream(0, f"pieces {part}"), (count, 4, 88)) < 0.1
    return [np.tile(u[i, :3], (4, 1))[: 3 + i % 10].astype(np.uint8) for i in range(count)]


@pytest.fixture
def chorales(tmp_path, monkeypatch):
    """Small pieces in the place of the chorales."""
    (path := tmp_path / "polyphonic_music" / "JSB_Chorales.mat").parent.mkdir()
    cells = {}
    for part, count in zip(music.PARTS, (22, 9, 40), strict=True):
        cells[part] = np.empty(count, object)
        cells[part][:] = pieces(part, count)
    savemat(path, cells)
    known = corpora.Corpus("https://example.org", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(corpora.FILES, corpora.FILES_OF["jsb"][0], known)
    monkeypatch.setenv("RECURLAB_DATA", str(tmp_path))
    music._load.cache_clear()
    yield {"dataset": "jsb", "cell": "rnn_tanh", "hidden_size": 6}
    music._load.cache_clear()


def test_digits_are_learned_above_chance():
    found = run([0, 1], dataset="digits", cell="rnn_tanh", hidden_size=24, batch_size=32, epochs=2)
    last = found["last"] == 1
    assert found["epoch"].max() == 2 and last.sum() == 2 and found["selected"].all()
    assert found["test_accuracy"][last].min() > 0.2  # chance is 0.1, one standard error of 360 images 0.02
    assert np.isnan(found["train_loss"][found["epoch"] == 0]).all() and np.isnan(found["valid_loss"]).all()
    assert (found["best"] == found["last"]).all()  # nothing is chosen without validation images


def test_rows_end_where_a_replica_does_and_its_best_epoch_is_that_of_the_validation_loss(chorales):
    found = run([0, 0, 1, 1], learning_rate=[0.003, 0.3, 0.003, 0.3], patience=3, epochs=20, **chorales)
    for r, ended in enumerate((20, 9, 20, 6)):
        own = {name: values[found["replica"] == r] for name, values in found.items()}
        assert own["epoch"].tolist() == list(range(ended + 1)) and set(own["ended"]) == {ended}
        best = np.argmin(own["valid_loss"])
        assert own["best"].sum() == own["best"][best] == 1 and ended == min(best + 3, 20)
        assert own["last"].sum() == own["last"][-1] == 1
        assert set(own["selected"]) == {int(r in (0, 2))}


def test_the_learning_rate_is_chosen_within_a_seed_and_setting_by_validation_alone():
    seeds, noise = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0.1, 0.1, 0, 0])
    score = np.array([2.0, 1.0, 3.0, np.inf, 5.0, 5.0])
    chosen = selected(np.stack([seeds, noise], axis=1), score)
    assert chosen.tolist() == [False, True, True, False, True, False]
    assert selected(np.stack([seeds, noise], axis=1), np.full(6, np.nan)).all()


def test_the_best_point_is_the_first_of_the_least_finite_losses_before_the_end():
    losses = np.array([[4.0, 4, 4, np.nan], [3, np.nan, 3, np.nan], [3, 2, 1, np.nan], [5, 1, 0, np.nan]])
    there = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]], bool)
    best, score = best_points(losses, there)
    assert best.tolist() == [1, 3, 2, 0] and score.tolist() == [3, 1, 1, np.inf]
    best, score = best_points(np.full((4, 4), np.nan), there)
    assert best.tolist() == [3, 3, 2, 0] and np.isnan(score).all()


def music_networks(seeds, dtype="float64"):
    net = network(recurrent("gru", 88, 5, dtype=dtype), 88, "bernoulli", "every")
    return net, init(net.layer, list(seeds)) | readout(net, seeds)


def test_the_loss_of_many_pieces_is_that_of_one_after_the_other(chorales):
    rows = DATASETS["jsb"].load("float64").test
    net, params = music_networks([0, 1])
    loss, error = mean_loss(net, params, rows)
    alone = [np.stack(evaluate(net, params, rows.take([i]))) * rows.lengths[i] for i in range(rows.count)]
    expected = np.sum(alone, axis=0) / rows.lengths.sum()
    assert np.abs(np.stack([loss, error]) - expected).max() < 1e-12 * expected.max()


def test_a_replica_is_measured_alike_alone_and_among_others(chorales):
    rows = DATASETS["jsb"].load("float32").test
    net, params = music_networks([0, 1, 2], "float32")
    together = mean_loss(net, params, rows)
    alone = mean_loss(net, {name: array[2:] for name, array in params.items()}, rows)
    assert [values[2] for values in together] == [values[0] for values in alone]


def test_the_first_rows_are_all_there_is(chorales):
    whole = DATASETS["jsb"].load("float32")
    few = first_rows(whole, 10)
    assert [part.count for part in few] == [10, 9, 10] and few.train.lengths.tolist() == list(range(2, 12))
    assert np.array_equal(few.train.take([3, 1]).x, whole.train.take([3, 1]).x)
    assert first_rows(Data(whole.train, None, whole.test), 3).valid is None
    assert first_rows(whole, None) is whole and FirstRows(whole.train, 4).lengths.shape == (4,)


def test_noise_is_where_the_gradient_is_taken_and_not_where_the_loss_is_measured(chorales):
    quiet, both = (
        run([0, 1], epochs=3, **chorales),
        run([0, 1], epochs=3, regulariser="weight_noise", strength=[0.0, 0.3], **chorales),
    )
    untrained = quiet["epoch"] == 0
    for name, values in ((name, values) for name, values in quiet.items() if name != "method"):
        same = (values == both[name]) | (values != values)
        assert same[quiet["replica"] == 0].all(), name  # no noise, whatever the neighbour has
        assert same[untrained].all(), name
    noisy = (quiet["replica"] == 1) & ~untrained
    assert (quiet["train_loss"] != both["train_loss"])[noisy].all()


def test_gradients_are_those_of_the_noisy_weights_and_biases_have_no_noise(chorales):
    net, params = music_networks([3, 5])
    batch, sd = DATASETS["jsb"].load("float64").train.take([0, 5, 7]), np.array([0.1, 0.2])
    call = regularised.gradients(net, np.array([4, 3, 5]), "weight_noise", np.array([0.0, *sd]))
    found = call(params, np.array([1, 2]), batch, 6, None)
    moved = dict(params)
    for name in ("weight_ih_l0", "weight_hh_l0", "weight_out"):
        drawn = [normal(Stream(seed, f"weight noise {name}", 6), params[name][0].shape) for seed in (3, 5)]
        moved[name] = params[name] + sd[:, None, None] * np.stack(drawn)
    expected = loss_and_gradients(net, moved, batch)
    for name, gradient in expected.grads.items():
        assert np.abs(found.grads[name] - gradient).max() < 1e-12 * np.abs(gradient).max(), name


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"patience": 3}, "patience: digits has no validation rows"),
        ({"limit": 20, "batch_size": 32}, "limit: got 20, wanted at least batch_size = 32"),
        ({"forget_bias": 1.0}, "rnn_tanh has no gate that keeps the state"),
    ],
)
def test_settings_that_cannot_be_meant_together_are_refused_before_any_job(changes, part):
    found = load_study("dataset_training").together(FIXED | {"dataset": "digits", "cell": "rnn_tanh"} | changes)
    assert len(found) == 1 and part in found[0]


def test_minibatches_larger_than_the_dataset_are_refused_before_training():
    with pytest.raises(ValueError, match="at most the 1437 training rows"):
        run([0], dataset="digits", cell="rnn_tanh", hidden_size=4, batch_size=1500)


def test_parameters_are_counted_in_the_recurrent_layer(chorales):
    found = run([0], **(chorales | {"epochs": 1, "cell": "lstm_peephole"}))
    assert set(found["parameters"]) == {4 * (88 * 6 + 6 * 6 + 2 * 6) + 3 * 6}


@pytest.mark.data
@pytest.mark.parametrize("name", ["music", "music_nottingham", "sequential_mnist"])
def test_experiments_on_real_data_run_from_files_to_verdicts(name, tmp_path, capsys):
    if not os.environ.get("RECURLAB_DATA"):
        pytest.skip("RECURLAB_DATA names no folder")
    fewer = ["--set", "fixed.limit=16", "--set", "fixed.batch_size=8", "--set", "fixed.epochs=1"]
    fewer = fewer if name.startswith("music") else [*fewer[:4], "--set", "grid=" + MNIST_GRID]
    assert main(["run", name, "--scale", "quick", *fewer, "--results", str(tmp_path), "--jobs", "1"]) == 0
    assert "reproduced" in capsys.readouterr().out


MNIST_GRID = """{dataset: [mnist_14], epochs: [1], cell: [rnn_tanh, lstm, gru, rnn_relu], init_name: [uniform],
    input_init: [uniform], input_gain: [1.0], forget_bias: [null], learning_rate: [0.001]}"""
