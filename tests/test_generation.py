"""Writing on: draws against the exact distribution, by address; beams against all ways on that there are."""

from itertools import product

import numpy as np
import pytest
from cases import assert_same_bits
from chance import assert_mean
from language import END, R, V, model, text, zeros
from test_window_lm import model as window_model

from recurlab.models import recurrent_lm_scores, window_lm_scores
from recurlab.models.generation import _drawn, read_prompt, sample, search
from recurlab.models.window_lm import NOTHING


def recurrent(rows=1, end=END):
    """A step and its states before the first word."""
    net, params = model(end=end)
    params["weight_out"] *= 5
    return recurrent_lm_scores.step(net, params), zeros(net, rows=rows)


def window(rows=1, end=END):
    net, params = window_model(end=end)
    filler = NOTHING if end is None else end
    return window_lm_scores.step(net, params), (np.full((R, 1, rows, net.window), filler),)


MODELS = {"recurrent": recurrent, "window": window}


def logs_of(step, states, prompt, written):
    """ln p of words (R, B, T) behind prompts, one step after the other."""
    states, words = read_prompt(step, states, prompt)
    found = []
    for t in range(written.shape[2]):
        logs, states = step(states, words)
        words = written[:, :, t]
        found.append(np.take_along_axis(logs, words[..., None], axis=2)[..., 0])
    return np.stack(found, axis=2)


def prompts(rows, steps=3):
    return np.broadcast_to(text(rows * steps).reshape(rows, steps), (R, rows, steps)).copy()


# drawing


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_words_come_as_often_as_the_model_says(temperature):
    """A model without state whose p are known: 40,000 draws of one word."""
    p = np.array([0.5, 0.3, 0.15, 0.05])
    step = lambda states, words: (np.log(np.broadcast_to(p, (*words.shape, 4))), states)  # noqa: E731
    drawn = sample(step, None, np.zeros((1, 20_000, 1), int), [5], 2, temperature)
    expected = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
    for word, share in enumerate(expected):
        assert_mean((drawn.words == word).reshape(-1), share, effect=abs(share - 0.25) + 0.03)
    twice = (drawn.words == 0).all(axis=2).ravel()  # steps have numbers of their own
    assert_mean(twice, expected[0] ** 2, effect=expected[0] * (1 - expected[0]))
    assert np.allclose(drawn.log_probability, np.log(p)[drawn.words].sum(axis=2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_drawn_has_the_probability_that_the_model_gives_it(name):
    step, states = MODELS[name](rows=4)
    found = sample(step, states, prompts(4), [3, 5], 6)
    assert found.words.shape == (R, 4, 6) and (found.lengths == 6).all()
    assert len(np.unique(found.words)) > 5
    logs = logs_of(step, states, prompts(4), found.words)
    assert np.allclose(found.log_probability, logs.sum(axis=2), rtol=0, atol=1e-12)


def test_temperature_0_takes_the_most_probable_word_and_may_differ_between_replicas():
    step, states = recurrent(rows=4)
    cold, mixed = (sample(step, states, prompts(4), [3, 5], 5, t) for t in (0.0, [0.0, 1.0]))
    assert np.array_equal(cold.words[0], mixed.words[0]) and not np.array_equal(cold.words[1], mixed.words[1])
    greedy = search(step, states, prompts(4), 5, 1)
    assert np.array_equal(cold.words, greedy.words)
    assert np.array_equal(cold.words, sample(step, states, prompts(4), [8, 9], 5, 1e-300).words)


def test_draws_go_by_the_address_of_seed_row_and_step():
    step, states = recurrent(rows=4)
    found = sample(step, states, prompts(4), [3, 5], 6)
    assert_same_bits(tuple(sample(step, states, prompts(4), [3, 5], 6)), tuple(found))
    longer = sample(step, states, prompts(4), [3, 5], 9)
    assert np.array_equal(longer.words[:, :, :6], found.words)
    fewer = sample(step, tuple(state[:, :, :2] for state in states), prompts(4)[:, :2], [3, 5], 6)
    assert np.array_equal(fewer.words, found.words[:, :2])
    other = sample(step, states, prompts(4), [5, 3], 6)
    assert not np.array_equal(other.words, found.words)


def test_behind_an_end_comes_nothing_else():
    step, states = recurrent(rows=40)
    found = sample(step, states, np.broadcast_to(prompts(1), (R, 40, 3)), [3, 5], 12, 2.0, END)
    logs = logs_of(step, states, np.broadcast_to(prompts(1), (R, 40, 3)), found.words)
    assert (found.lengths < 12).any() and (found.lengths == 12).any()
    for r in range(R):
        for b in range(40):
            n = found.lengths[r, b]
            assert (found.words[r, b, : n - 1] != END).all() and (found.words[r, b, n:] == END).all()
            assert n == 12 or found.words[r, b, n - 1] == END
            assert found.log_probability[r, b] == pytest.approx(logs[r, b, :n].sum(), abs=1e-12)


def test_a_number_belongs_to_the_word_whose_interval_begins_with_it():
    logs, most = np.array([[[-np.inf, 0, np.log(2), 0, -np.inf]]]), 1 - 2.0**-53
    for u, word in ((0.0, 1), (0.25, 2), (0.7499, 2), (0.75, 3), (most, 3)):
        assert _drawn(logs, np.ones(1), np.array([[u]]))[0, 0] == word


def test_a_word_of_no_chance_is_never_drawn():
    logs = np.array([-np.inf, 0, -np.inf, 0, -np.inf])
    step = lambda states, words: (np.broadcast_to(logs, (*words.shape, 5)), states)  # noqa: E731
    assert set(np.unique(sample(step, None, np.zeros((1, 500, 1), int), [1], 3).words)) == {1, 3}


# searching


def every_way_on(step, states, prompt, steps, end):
    """(words, ln p) of every sentence of at most `steps` words for one replica and row, ended ones filled up."""
    found = {}
    for words in product(range(V), repeat=steps):
        stop = words.index(end) + 1 if end in words else steps
        found[words[:stop] + (end,) * (steps - stop)] = stop
    rows = np.array(list(found))
    states = tuple(np.repeat(state, len(rows), axis=2) for state in states)
    logs = logs_of(step, states, np.repeat(prompt, len(rows), axis=1), np.broadcast_to(rows, (R, *rows.shape)))
    counted = np.arange(steps) < np.array(list(found.values()))[:, None]
    return rows, (logs * counted).sum(axis=2), counted.sum(axis=1)


@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("name", MODELS)
def test_enough_beams_find_the_best_of_all_ways_on(name, power):
    step, states = MODELS[name]()
    rows, totals, lengths = every_way_on(step, states, prompts(1), 3, END)
    found = search(step, states, prompts(1), 3, V**2, END, power)
    for r in range(R):
        best = (totals[r] / lengths**power).argmax()
        assert found.words[r, 0].tolist() == rows[best, : found.words.shape[2]].tolist()
        assert found.log_probability[r, 0] == pytest.approx(totals[r, best], abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_rows_with_prompts_of_their_own_are_searched_as_each_alone(name):
    step, states = MODELS[name](rows=3)
    together = search(step, states, prompts(3), 4, 5)
    for b in range(3):
        one = MODELS[name]()
        alone = search(*one, prompts(3)[:, b : b + 1], 4, 5)
        assert np.array_equal(together.words[:, b], alone.words[:, 0])
    assert max(len({tuple(row) for row in words}) for words in together.words.tolist()) > 1


def test_without_an_end_every_row_has_its_full_length():
    step, states = recurrent(end=None)
    assert search(step, states, prompts(1), 7, 3).words.shape == (R, 1, 7)
    assert (sample(step, states, prompts(1), [3, 5], 7).lengths == 7).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda step, states: sample(step, states, prompts(1), [3, 5], 0), "length"),
        (lambda step, states: sample(step, states, prompts(1), [3, 5], 2, -1.0), "temperature"),
        (lambda step, states: sample(step, states, prompts(1), [3, 5], 2, np.nan), "temperature"),
        (lambda step, states: sample(step, states, prompts(1), [3], 2), "seeds: expected one for each of 2 replicas"),
        (lambda step, states: sample(step, states, prompts(1)[0], [3, 5], 2), "prompt: expected .R, B, T."),
        (lambda step, states: search(step, states, prompts(1), 2, 0), "beams"),
        (lambda step, states: search(step, None, prompts(1)[:, :, :1], 2, 2), "states: expected those of a beginning"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(*recurrent())
