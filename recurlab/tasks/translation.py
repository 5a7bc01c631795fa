"""Pairs of sentences: a source to read and a target to write. Here are generated ones, which need no file.

A sentence of length n has n symbols or numbers; how many words that makes on either side is the task's business. What
is written follows from what is read, so the exact optimum is a loss of 0 and every sentence right; which word of the
source a target word comes from is known, too.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect_choice
from recurlab.models.pairs import Pairs
from recurlab.random import Stream, integers
from recurlab.tasks.task import PURPOSES, Draws
from recurlab.text import END, Vocabulary, vocabulary

BEGIN = "<bos>"  # what the decoder reads before its first word
SYMBOLS = tuple("abcdefghijklmnopqrst")
UNITS = ("ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
TENS = ("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
GERMAN = (*UNITS, *TENS, "hundert", "und")
DIGITS = tuple("123456789")


class Translation(NamedTuple):
    """A generated task; `draw` gives pairs of it."""

    name: str
    says: str
    source: Vocabulary
    target: Vocabulary
    generate: Callable  # (Draws, lengths (B,)) -> words of the source (R, S, B), of the target (R, T, B)
    each: tuple[int, int]  # words of source and target for a unit of length
    aligned: Callable[[int], np.ndarray]  # length -> the place of the source word that each target word comes from

    def draw(self, seeds, purpose: str, step: int, lengths: np.ndarray) -> Pairs:
        """R replicas with B pairs each, of these lengths (B,), which all replicas share."""
        expect_choice("purpose", purpose, PURPOSES)
        source, target = self.generate(Draws(seeds, self.name, purpose, step), lengths)
        ends = [words * lengths for words in self.each]
        sides = zip((source, target), ends, (self.source, self.target), strict=True)
        source, target = (_ended(words, count, types.end) for words, count, types in sides)
        return Pairs(source, ends[0] + 1, target, ends[1] + 1)


def drawn_lengths(step: int, shortest: int, longest: int, batch: int) -> np.ndarray:
    """Lengths (B,) of an update, uniform from `shortest` to `longest`; the same for all seeds."""
    return shortest + integers(Stream(0, "sentence lengths", step), longest - shortest + 1, (batch,))


def written(types: Vocabulary, ids) -> list[str]:
    """The words of ids (T,) up to `<eos>`."""
    words = types.decode(ids)
    return words[: words.index(END)] if END in words else words


def _ended(words: np.ndarray, count: np.ndarray, end: int) -> np.ndarray:
    """Words (R, T, B) up to `count` (B,) of each row, then `<eos>`: (R, T + 1, B)."""
    there = np.arange(words.shape[1])[:, None] < count
    ends = np.full((len(words), 1, words.shape[2]), end)
    return np.concatenate([np.where(there, words, end), ends], axis=1)


def _symbols(draws: Draws, lengths: np.ndarray, backwards: bool):
    """The same symbols on both sides, in order or from the last to the first."""
    steps = np.arange(lengths.max())[:, None]
    drawn = draws.integers("symbols", len(SYMBOLS), len(steps), len(lengths))
    place = np.maximum(lengths - 1 - steps, 0) if backwards else np.broadcast_to(steps, drawn.shape[1:])
    return drawn, np.take_along_axis(drawn, place[None], axis=1)


def _numbers(draws: Draws, lengths: np.ndarray):
    """h u t -> "h hundert u und t" on the left, h t u in digits on the right."""
    count = draws.integers("hundreds", 9, lengths.max(), len(lengths))
    tens = draws.integers("tens", 8, *count.shape[1:])
    units = draws.integers("units", 9, *count.shape[1:])
    hundert, und = (np.full(count.shape, GERMAN.index(word)) for word in ("hundert", "und"))
    source = [count, hundert, units, und, tens + len(UNITS)]
    target = [count, tens + 1, units]  # ids are those of 1 … 9
    return tuple(np.stack(side, axis=2).reshape(len(count), -1, count.shape[2]) for side in (source, target))


def _in_order(length: int) -> np.ndarray:
    return np.arange(length + 1)


def _from_the_last(length: int) -> np.ndarray:
    return np.append(np.arange(length)[::-1], length)


def _digits(length: int) -> np.ndarray:
    """Hundreds from word 0 of five, tens from word 4, units from word 2."""
    return np.append((5 * np.arange(length)[:, None] + [0, 4, 2]).ravel(), 5 * length)


def _task(name: str, says: str, source, target, generate: Callable, each: tuple[int, int], aligned: Callable):
    return Translation(
        name, says, vocabulary((*source, END)), vocabulary((*target, END, BEGIN)), generate, each, aligned
    )


_ALL = (
    _task(
        "copy_words",
        "the symbols of the source, 20 kinds, in their order",
        *(SYMBOLS, SYMBOLS),
        partial(_symbols, backwards=False),
        (1, 1),
        _in_order,
    ),
    _task(
        "reverse_words",
        "the symbols of the source, 20 kinds, from the last to the first",
        *(SYMBOLS, SYMBOLS),
        partial(_symbols, backwards=True),
        (1, 1),
        _from_the_last,
    ),
    _task(
        "number_words",
        "numbers of three digits in German words, as digits: drei hundert vier und zwanzig is 3 2 4; "
        "units come before tens; no digit is 0 and no tens are 1, so that each number has five words",
        *(GERMAN, DIGITS),
        _numbers,
        (5, 3),
        _digits,
    ),
)
TRANSLATIONS = {task.name: task for task in _ALL}
