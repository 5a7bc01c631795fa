"""The study `reber`: the exact bounds of a window, and a gap that is that of the cross-entropy."""

import numpy as np
import pytest

from recurlab.models.gradients import Truncation, loss_and_gradients
from recurlab.models.sequence import evaluate
from recurlab.studies import reber, trained
from recurlab.tasks.reber import entropy, predictions

SETTINGS = {
    "length": 15,
    "cell": "lstm",
    "hidden_size": 8,
    "init_name": "uniform",
    "forget_bias": None,
    "batch_size": 8,
    "updates": 30,
    "every": 30,
    "schedule": "linear",
    "learning_rate": 0.02,
    "clip": 1.0,
    "window": None,
    "carry": True,
    "test_pairs": 50,
    "dtype": "float32",
}


def run(**changes):
    return reber.reber(seeds=np.array([0, 1]), **(SETTINGS | changes))


def made_and_test(pairs=50, length=15):
    seeds = np.arange(3)
    made = trained.setting("embedded_reber", seeds, "gru", 8, "float32", {})
    return made, reber._test(made, seeds, length, pairs)


@pytest.mark.parametrize("window", [1, 3, 6])
def test_a_reset_window_that_is_too_short_pays_a_bit_for_the_outer_symbol_whatever_was_learned(window):
    found = run(window=window, carry=False)
    assert (found["outer_least"] == 1).all() and (found["outer"] >= 1 - 1e-6).all()
    assert (found["saved"] < 1e-6).all() and not found["solved"].any()


def test_a_longer_window_shows_the_outer_symbols_of_short_strings():
    found, carried = run(window=8, carry=False), run(window=8)
    assert (0.1 < found["outer_least"]).all() and (found["outer_least"] < 0.9).all()  # 4 of 9 symbols … 15 are out
    assert (carried["outer_least"] == 0).all() and (carried["state"] == "carried").all()


def test_work_and_memory_of_windows():
    whole, cut = run(updates=1, every=1), run(updates=1, every=1, window=5)
    assert (whole["work"] == 1).all() and (cut["work"] == 15 / 14).all()
    assert (cut["tape_bytes"] < whole["tape_bytes"]).all() and set(whole["back"]) == {14} and set(cut["back"]) == {5}


def test_the_exact_conditional_probabilities_have_no_gap():
    _, test = made_and_test()
    shares = np.log2(test.ideal, out=np.full(test.ideal.shape, -99.0), where=test.ideal > 0)
    gap, outer = reber._costs(shares, test)
    assert np.abs(gap).max() < 1e-12 and np.abs(outer).max() < 1e-12


def test_the_gap_is_that_of_the_cross_entropy_of_many_strings():
    made, test = made_and_test(pairs=4000)
    gap = reber._measure(made.net, test, None, made.params, np.arange(3), 0)["gap"]
    loss, _ = evaluate(made.net, made.params, test.batch)
    bits = loss * test.batch.weights.sum(axis=(1, 2)) / test.batch.x.shape[2] / np.log(2)
    expected = bits - entropy("embedded_reber", 15) / np.log(2)
    # untrained, a network pays about log2 7 bits for each of the symbols, whose number varies by 1.8 between strings
    assert np.abs(gap - expected).max() < 4 * 1.8 * np.log2(7) / np.sqrt(4000)
    assert gap.min() > (np.log2(7) - 1) * predictions("embedded_reber", 15) * 0.9


def test_windows_measured_with_reset_states_are_those_that_are_trained():
    made, test = made_and_test()
    cut = Truncation(4, 4, carry=False)
    shares = reber._log2_shares(made.net, made.params, test.batch, cut)
    paid = -np.take_along_axis(shares, test.batch.targets[..., None], axis=-1)[..., 0] * test.batch.weights
    loss = loss_and_gradients(made.net, made.params, test.batch, cut).loss
    mean = paid.sum(axis=(1, 2)) / test.batch.weights.sum(axis=(1, 2))
    assert np.allclose(mean * np.log(2), loss, rtol=1e-5)


def test_a_window_beyond_the_strings_is_refused():
    assert reber.problems(SETTINGS | {"window": 14}) == []
    assert "15" in reber.problems(SETTINGS | {"window": 15})[0]
