"""What a recurrent language model says of a text: both protocols, parts, contexts, dynamic evaluation, step by step."""

import numpy as np
import pytest
from cases import assert_close, assert_same_bits
from language import END, R, V, model, naive_logs, text, zeros

from recurlab.models import text_scores
from recurlab.models.recurrent_lm_gradients import loss_and_gradients
from recurlab.models.recurrent_lm_scores import (
    context_log_probabilities,
    dynamic_log_probabilities,
    log_probabilities,
    next_distribution,
    step,
)
from recurlab.models.words import Words

EXACT = 1e-12


def one_by_one(net, params, tokens, before):
    """ln p of a text from zeros, with `before` in front of it, by the slow twin."""
    ids = np.concatenate([before, tokens[:-1]])[-len(tokens) :, None]
    targets = tokens[-len(ids) :, None]
    return naive_logs(net, params, Words(ids, targets), zeros(net, rows=1))[0][..., 0]


def test_carried_is_the_text_read_from_its_beginning(monkeypatch):
    net, params = model()
    tokens = text()
    expected = one_by_one(net, params, tokens, [END])
    assert_close(log_probabilities(net, params, tokens), expected, EXACT)
    monkeypatch.setattr(text_scores, "PLACES", 7)
    assert_close(log_probabilities(net, params, tokens), expected, EXACT)


def test_reset_is_every_sentence_by_itself(monkeypatch):
    net, params = model("gru")
    tokens = text()
    borders = np.flatnonzero(tokens == END) + 1
    parts = [one_by_one(net, params, part, [END]) for part in np.split(tokens, borders) if part.size]
    expected = np.concatenate(parts, axis=1)
    assert len(parts) > 3
    assert_close(log_probabilities(net, params, tokens, "reset"), expected, EXACT)
    monkeypatch.setattr(text_scores, "PLACES", 20)
    assert_close(log_probabilities(net, params, tokens, "reset"), expected, EXACT)


@pytest.mark.parametrize("rows", [2, 7, 60, 1000])
def test_parts_side_by_side_begin_with_the_token_before_them(rows):
    net, params = model()
    tokens, rows_there = text(), min(rows, 60)
    each = -(-60 // rows_there)
    starts = range(0, 60, each)
    parts = [one_by_one(net, params, tokens[s : s + each], [tokens[s - 1] if s else END]) for s in starts]
    found = log_probabilities(net, params, tokens, rows=rows)
    assert_close(found, np.concatenate(parts, axis=1), EXACT)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_without_a_sentence_end_the_first_token_is_given_nothing(count):
    net, params = model(end=None)
    tokens = text(count)
    found = log_probabilities(net, params, tokens)
    z = params["bias_out"]
    first = z[:, tokens[0]] - np.log(np.exp(z).sum(axis=1))
    assert_close(found[:, 0], first, EXACT)
    if count > 1:
        assert_close(
            found[:, 1:],
            naive_logs(net, params, Words(tokens[:-1, None], tokens[1:, None]), zeros(net, rows=1))[0][..., 0],
            EXACT,
        )


def test_step_by_step_is_the_same_and_every_distribution_sums_to_one():
    net, params = model()
    tokens, states, logs = text(20), None, []
    before = np.concatenate([[END], tokens[:-1]])
    for word, target in zip(before, tokens, strict=True):
        every, states = step(net, params)(states, np.full((R, 1), word))
        assert every.shape == (R, 1, V) and np.allclose(np.exp(every).sum(axis=2), 1, rtol=0, atol=1e-13)
        logs.append(every[:, 0, target])
    assert_close(np.stack(logs, axis=1), log_probabilities(net, params, tokens), EXACT)


def test_contexts_alone():
    net, params = model()
    tokens, at, context = text(), np.array([4, 59, 30, 17]), 4
    found = context_log_probabilities(net, params, tokens, at, context)
    contexts = np.stack([tokens[k - context : k] for k in at])
    every = next_distribution(net, params, contexts)
    assert every.shape == (R, 4, V) and np.allclose(np.exp(every).sum(axis=2), 1, rtol=0, atol=1e-13)
    for k, place in enumerate(at):
        window = Words(tokens[place - context : place, None], tokens[place - context + 1 : place + 1, None])
        expected = naive_logs(net, params, window, zeros(net, rows=1))[0][:, -1, 0]
        assert_close(found[:, k], expected, EXACT)
        assert_close(every[:, k, tokens[place]], expected, EXACT)
    whole = context_log_probabilities(net, params, tokens, np.arange(4, 60), context)
    assert_close(whole[:, at - 4], found, EXACT)


def test_dynamic_evaluation_predicts_a_window_before_it_learns_from_it():
    net, params = model()
    tokens, moved = text(17), {name: array.copy() for name, array in params.items()}
    found = dynamic_log_probabilities(net, params, tokens, 0.5, steps=5, clip_norm=0.2)
    states, expected = zeros(net, rows=1), []
    ids = np.concatenate([[END], tokens[:-1]])
    for first in range(0, 17, 5):
        words = Words(ids[first : first + 5, None], tokens[first : first + 5, None])
        logs, after = naive_logs(net, moved, words, states)
        grads = loss_and_gradients(net, moved, words, states).grads
        norm = np.sqrt(sum((g**2).reshape(R, -1).sum(axis=1) for g in grads.values()))
        factor = 0.5 * np.minimum(1, 0.2 / (norm + 1e-6))
        moved = {name: p - factor.reshape(-1, *[1] * (p.ndim - 1)) * grads[name] for name, p in moved.items()}
        states = after
        expected.append(logs[..., 0])
    assert_close(found, np.concatenate(expected, axis=1), EXACT)
    assert_same_bits(params, model()[1])
    assert not np.allclose(found[:, 5:], log_probabilities(net, params, tokens)[:, 5:], rtol=1e-3)


def test_dynamic_evaluation_without_a_sentence_end_has_every_token_once():
    net, params = model(end=None)
    found = dynamic_log_probabilities(net, params, text(11), 1e-300, steps=4)
    assert_close(found, log_probabilities(net, params, text(11)), EXACT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, p: log_probabilities(net, p, text(), "both"), "protocol: expected one of carry, reset"),
        (lambda net, p: log_probabilities(net, p, text(0 + 1)[:0]), "tokens: expected at least one, got none"),
        (lambda net, p: log_probabilities(net, p, text(), rows=0), "rows"),
        (lambda net, p: log_probabilities(net, p, text() + V), "ids: expected words 0 … 10"),
        (
            lambda net, p: log_probabilities(net._replace(end=None), p, text(), "reset"),
            "ids: expected tokens with <eos>",
        ),
        (lambda net, p: context_log_probabilities(net, p, text(), [3], 4), "at: expected 4 … 59"),
        (lambda net, p: context_log_probabilities(net, p, text(), [60], 4), "at: expected 4 … 59"),
        (lambda net, p: context_log_probabilities(net, p, text(), [5], 0), "context"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(*model())
