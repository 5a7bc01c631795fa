"""Writing a sentence with a model that tells the next word: the K most probable beginnings are kept at every step.

A model is a step(states, words (R, B)) -> (ln p (R, B, V), states) with states a tuple of arrays (R, L, B, H): R
replicas, B rows. With K = 1 this is greedy decoding.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect_size


class Written(NamedTuple):
    """The best sentence of each row."""

    words: np.ndarray  # (R, B, T) int64, with `end`, filled up with it; without it where a sentence was cut off
    log_probability: np.ndarray  # (R, B) float64, ln p of these words
    lengths: np.ndarray  # (R, B), with `end`


def write(
    step: Callable,
    states: tuple,
    begin: int | np.ndarray,
    end: int,
    longest: int,
    beams: int = 1,
    length_power: float = 0.0,
) -> Written:
    """Sentences of at most `longest` words; `states` are those of B·K rows, the K beams of a row one after the other.

    `begin` is the word before the first, for all rows or (R, B·K).

    Of the K sentences of a row that with the largest ln p / length^length_power is returned (0: ln p itself, which
    favours short sentences; Wu et al. 2016, eq. 14, without its constants). The search ends when all have ended.
    """
    expect_size("longest", longest)
    expect_size("beams", beams)
    replicas, _, rows, _ = states[0].shape
    totals = np.full((replicas, rows // beams, beams), -np.inf)
    totals[..., 0] = 0  # all beams of a row begin alike: one of them
    words, text = np.full((replicas, rows), begin), np.empty((replicas, rows, 0), np.int64)
    while text.shape[2] < longest and not _ended(text, end).all():
        logs, states = step(states, words)
        logs = _after_end(logs.astype(np.float64), _ended(text, end), end)
        totals, parents, words = _best(totals, logs.reshape(*totals.shape, -1))
        states = tuple(np.take_along_axis(state, parents[:, None, :, None], axis=2) for state in states)
        text = np.concatenate([np.take_along_axis(text, parents[..., None], axis=1), words[..., None]], axis=2)
    return _chosen(totals, text, end, length_power)


def _ended(text: np.ndarray, end: int) -> np.ndarray:
    """Which rows have written `end`, (R, B·K)."""
    return (text == end).any(axis=2)


def _after_end(logs: np.ndarray, ended: np.ndarray, end: int) -> np.ndarray:
    """Behind `end` comes `end`, for certain."""
    logs[ended] = -np.inf
    logs[ended, end] = 0
    return logs


def _best(totals: np.ndarray, logs: np.ndarray):
    """The K best ways on of each row: their ln p (R, B, K), and the beam and word of each, (R, B·K)."""
    replicas, rows, beams, size = logs.shape
    scores = (totals[..., None] + logs).reshape(replicas, rows, -1)
    some = np.argpartition(-scores, beams - 1, axis=2)[..., :beams]
    order = np.argsort(-np.take_along_axis(scores, some, axis=2), axis=2, kind="stable")
    best = np.take_along_axis(some, order, axis=2)
    parents = best // size + np.arange(rows)[:, None] * beams
    return np.take_along_axis(scores, best, axis=2), parents.reshape(replicas, -1), (best % size).reshape(replicas, -1)


def _chosen(totals: np.ndarray, text: np.ndarray, end: int, length_power: float) -> Written:
    """The best sentence of each row."""
    replicas, rows, beams = totals.shape
    ended = _ended(text, end)
    lengths = np.where(ended, (text == end).argmax(axis=2) + 1, text.shape[2]).reshape(totals.shape)
    best = (totals / lengths**length_power).argmax(axis=2)[..., None]
    words = text.reshape(replicas, rows, beams, -1)
    chosen = np.take_along_axis(words, best[..., None], axis=2)[:, :, 0]
    return Written(chosen, *(np.take_along_axis(each, best, axis=2)[..., 0] for each in (totals, lengths)))
