"""ln p of every token of a text, whatever the language model: the windows it is asked about, and what it says put back.

A model is a score(words, states) -> (ln p of the targets that count (R, N), states); `states` is None at a beginning.
Before the first token stands `<eos>`; without one in the vocabulary the first token is asked for by itself.
"""

from collections.abc import Callable, Iterator

import numpy as np

from recurlab.layers.checks import expect, expect_choice, expect_size
from recurlab.models.words import PROTOCOLS, Words, sentence_words
from recurlab.text import sentences

PLACES = 512  # words that a model is asked about at a time


def log_probabilities(
    score: Callable, tokens: np.ndarray, end: int | None, protocol: str, rows: int = 1, alone: Callable | None = None
) -> np.ndarray:
    """ln p(tokens[t] | all before it, or all before it in its sentence) of a text (N,), (R, N) float64.

    With several `rows` a text of "carry" goes in so many parts side by side: every part begins with the token before it
    and no state. alone(tokens (N,)) -> (R, N) is what the model says of tokens before which nothing stands; it is
    needed without an `end`. ValueError for a text of no tokens, or "reset" without an `end`.
    """
    expect_choice("protocol", protocol, PROTOCOLS)
    expect(len(tokens) > 0, "tokens", "none", "at least one")
    if protocol == "reset":
        return _by_sentence(score, tokens, end)
    rows = min(expect_size("rows", rows), len(tokens))
    found = [] if end is not None else [alone(tokens[:1])]
    if len(tokens) > len(found):
        found.append(_carried(score, tokens, end, rows))
    return np.concatenate(found, axis=1)


def windows(tokens: np.ndarray, end: int | None, rows: int, steps: int) -> Iterator[Words]:
    """All tokens, or all but the first without an `end`, as targets of windows (T, B) of parts side by side.

    Parts that are shorter than the first are filled up with the last token.
    """
    first = 0 if end is not None else 1
    each = -(-(len(tokens) - first) // rows)
    for begin in range(0, each, steps):
        at = first + np.arange(begin, min(begin + steps, each))[:, None] + each * np.arange(rows)
        at = np.minimum(at, len(tokens) - 1)
        ids = tokens[np.maximum(at - 1, 0)]
        yield Words(ids if end is None else np.where(at == 0, ids.dtype.type(end), ids), tokens[at], fresh=begin == 0)


def _carried(score: Callable, tokens: np.ndarray, end: int | None, rows: int) -> np.ndarray:
    """ln p of all tokens, or all but the first without an `end`, in parts side by side."""
    states, parts = None, []
    for words in windows(tokens, end, rows, max(1, PLACES // rows)):
        logs, states = score(words, states)
        parts.append(logs.reshape(len(logs), -1, rows))
    count = len(tokens) - (end is None)
    return np.concatenate(parts, axis=1).swapaxes(1, 2).reshape(len(parts[0]), -1)[:, :count]


def _by_sentence(score: Callable, tokens: np.ndarray, end: int | None) -> np.ndarray:
    """ln p with every sentence read alone; sentences of similar length go side by side."""
    cut = sentences(tokens, end)
    order, logs, places = np.argsort(cut.lengths, kind="stable"), [], []
    while order.size:
        together = max(1, PLACES // int(cut.lengths[order[-1]]))  # the longest last
        some, order = order[-together:], order[:-together]
        words = sentence_words(cut, some)
        logs.append(score(words, None)[0])
        time, row = np.nonzero(np.arange(len(words.ids))[:, None] < words.lengths)
        places.append(cut.starts[some][row] + time)
    return np.concatenate(logs, axis=1)[:, np.argsort(np.concatenate(places))]
