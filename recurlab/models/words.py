"""What language models see of a text: windows of parallel streams whose state goes on, or sentences that begin anew.

Protocol "carry": the text is one sequence and a state goes on across its sentence ends, as in recurrent language models
since Mikolov 2010. Protocol "reset": every sentence is seen alone, behind a `<eos>`, as n-gram models see it.
"""

from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect, expect_size
from recurlab.text import Sentences, batched

PROTOCOLS = ("carry", "reset")


class Words(NamedTuple):
    """What a language model sees in one update; an array without the axis R is shared by all replicas."""

    ids: np.ndarray  # ([R,] T, B)
    targets: np.ndarray  # ([R,] T, B), the word behind each
    lengths: np.ndarray | None = None  # (B,), the steps of each row; None: T
    fresh: bool = True  # whether states begin at zero, or with what is carried


class Streams(NamedTuple):
    """Parallel parts of a text in windows of so many steps. Made by `streams`."""

    columns: np.ndarray  # (L, B)
    steps: int

    @property
    def updates(self) -> int:
        """Windows in an epoch; what is left behind them (fewer than `steps` words of each part) is not seen."""
        return (len(self.columns) - 1) // self.steps

    def take(self, update: int) -> Words:
        """The window of update 0, 1, …: epochs follow one another, and states begin at zero in each."""
        place = update % self.updates
        seen = self.columns[place * self.steps : (place + 1) * self.steps + 1]
        return Words(np.ascontiguousarray(seen[:-1]), np.ascontiguousarray(seen[1:]), fresh=place == 0)


def streams(tokens: np.ndarray, rows: int, steps: int) -> Streams:
    """B = rows parts of a text (N,) side by side; ValueError where a part has no word to predict behind `steps`."""
    cut = Streams(batched(tokens, expect_size("rows", rows)), expect_size("steps", steps))
    expect(cut.updates > 0, "steps", steps, f"at most {len(cut.columns) - 1}, what a part of the text predicts")
    return cut


def sentence_words(cut: Sentences, indices) -> Words:
    """Sentences by their numbers (B,): `<eos>` comes before the first word and is predicted behind the last."""
    targets, lengths = cut.take(indices)
    before = np.full((1, targets.shape[1]), cut.end, targets.dtype)
    return Words(np.concatenate([before, targets[:-1]]), targets, lengths)


def positions_in_sentence(tokens: np.ndarray, end: int) -> np.ndarray:
    """How many words stand between each token (N,) and the sentence end before it: 0 for the first of a sentence."""
    place = np.arange(len(tokens))
    first = np.concatenate([[True], np.asarray(tokens[:-1]) == end])
    return place - np.maximum.accumulate(np.where(first, place, 0))
