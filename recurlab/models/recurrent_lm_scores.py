"""What a trained recurrent language model says of a text: ln p of every token, carried over sentence ends or reset.

The first token of all is given the `<eos>` before it; in a vocabulary without `<eos>` it is given nothing, a state of
zeros behind which no word was read. All results are for R replicas, ln p in float64.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from recurlab import optimise
from recurlab.layers import softmax
from recurlab.layers.checks import expect, expect_size
from recurlab.models import text_scores
from recurlab.models.recurrent_lm import RecurrentLM, output, read, targets_of
from recurlab.models.recurrent_lm_gradients import loss_and_gradients
from recurlab.models.words import Words


def log_probabilities(
    net: RecurrentLM, params: dict, tokens: np.ndarray, protocol: str = "carry", rows: int = 1
) -> np.ndarray:
    """ln p(tokens[t] | all before it, or all before it in its sentence) of a text (N,), (R, N).

    `rows` and what is refused: see `text_scores`.
    """
    score, alone = partial(scored, net, params), partial(_given_nothing, net, params)
    return text_scores.log_probabilities(score, tokens, net.end, protocol, rows, alone)


def scored(net: RecurrentLM, params: dict, words: Words, states=None) -> tuple[np.ndarray, tuple]:
    """ln p of the targets that count, (R, N), and the states behind the window."""
    reading = read(net, params, words, states)
    targets = targets_of(words, reading.places)
    return softmax.target_log_probabilities(*output(params), reading.h, targets), reading.states


def next_distribution(net: RecurrentLM, params: dict, contexts: np.ndarray) -> np.ndarray:
    """ln p(next word | context) for contexts (B, T) that begin with a state of zeros, (R, B, V)."""
    return softmax.log_probabilities(*output(params), _behind(net, params, contexts))


def context_log_probabilities(
    net: RecurrentLM, params: dict, tokens: np.ndarray, at: np.ndarray, context: int
) -> np.ndarray:
    """ln p of the tokens at some places given the last `context` tokens alone, (R, len(at)).

    ValueError for a place with fewer tokens before it.
    """
    expect_size("context", context)
    at = np.asarray(at)
    expect(bool(at.size and at.min() >= context and at.max() < len(tokens)), "at", at, f"{context} … {len(tokens) - 1}")
    found, together = [], max(1, text_scores.PLACES // context)
    for some in (at[first : first + together] for first in range(0, at.size, together)):
        h = _behind(net, params, tokens[some[:, None] - np.arange(context, 0, -1)])
        found.append(softmax.target_log_probabilities(*output(params), h, tokens[some]))
    return np.concatenate(found, axis=1)


def dynamic_log_probabilities(
    net: RecurrentLM, params: dict, tokens: np.ndarray, learning_rate: float, steps: int = 20, clip_norm: float = np.inf
) -> np.ndarray:
    """ln p under dynamic evaluation, (R, N): the network goes on learning while it is tested (Mikolov et al. 2010).

    Every window of `steps` tokens is predicted, then learned from by one step of SGD on its mean loss. `params` stay as
    they are.
    """
    params = {name: array.copy() for name, array in params.items()}
    replicas, slots = len(params["bias_out"]), optimise.start("sgd", params)
    rate, bound, unlimited = (np.full(replicas, float(number)) for number in (learning_rate, clip_norm, np.inf))
    states, found = None, [] if net.end is not None else [_given_nothing(net, params, tokens[:1])]
    for k, words in enumerate(text_scores.windows(tokens, net.end, 1, expect_size("steps", steps))):
        logs, after = scored(net, params, words, states)
        grads = loss_and_gradients(net, params, words, states).grads
        factors = optimise.clip_factors(optimise.norms(grads), bound)
        optimise.update("sgd", k + 1, params, grads, slots, rate, factors, unlimited)
        states = after
        found.append(logs)
    return np.concatenate(found, axis=1)


def step(net: RecurrentLM, params: dict) -> Callable:
    """A function (states, words (R, B)) -> (ln p of the next word (R, B, V), states): what `generation` takes."""

    def next_words(states, words: np.ndarray):
        ids = np.ascontiguousarray(words)[:, None]
        reading = read(net, params, Words(ids, ids), states)
        return softmax.log_probabilities(*output(params), reading.h), reading.states

    return next_words


def _behind(net: RecurrentLM, params: dict, contexts: np.ndarray) -> np.ndarray:
    """h of the last layer behind contexts (B, T) read from zeros, (R, B, H)."""
    ids = np.ascontiguousarray(np.asarray(contexts).T)
    return read(net, params, Words(ids, ids)).states[0][:, -1]


def _given_nothing(net: RecurrentLM, params: dict, tokens: np.ndarray) -> np.ndarray:
    """ln p of tokens (N,) before which nothing was read, (R, N): h = 0."""
    zeros = np.zeros((len(params["bias_out"]), len(tokens), net.layer.hidden_size), net.layer.dtype)
    return softmax.target_log_probabilities(*output(params), zeros, tokens)
