"""Multi30k, German to English: given pairs of sentences, the captions of 31,014 pictures (Elliott et al. 2016).

A word is a run of letters and digits, or one other mark, in lower case. The vocabulary of a language holds the words
that its training part has at least twice, the most frequent ones if there are more than asked for; others are `<unk>`.
"""

import re
from functools import cache
from typing import NamedTuple

import numpy as np

from recurlab import corpora
from recurlab.models.pairs import Pairs
from recurlab.tasks.translation import BEGIN
from recurlab.text import END, Vocabulary, choose, vocabulary

FILES = corpora.FILES_OF["multi30k"]
PARTS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
LEAST_COUNT = 2
SAYS = "captions of pictures in German, to be translated to English: 29,000 to train, 1,014 to validate, 1,000 to test"
_WORDS = re.compile(r"\w+|[^\w\s]")


class Side(NamedTuple):
    """N sentences of one language."""

    words: list[list[str]]  # as they are in the text
    ids: np.ndarray  # (N, longest + 1) int32, `<eos>` at their ends and behind
    lengths: np.ndarray  # (N,), with `<eos>`


class Rows(NamedTuple):
    """N sentence pairs."""

    source: Side
    target: Side

    @property
    def count(self) -> int:
        """N."""
        return len(self.source.lengths)

    def take(self, indices) -> Pairs:
        """The pairs with these numbers (B,), the same for all replicas."""
        return Pairs(*(array for side in self for array in _columns(side, indices)))


class Multi30k(NamedTuple):
    """Three parts of pairs, and the vocabularies of the training part."""

    source: Vocabulary
    target: Vocabulary
    train: Rows
    valid: Rows
    test: Rows


def cut(line: str) -> list[str]:
    """The words of a line, see the head of this file."""
    return _WORDS.findall(line.lower())


@cache
def load(vocabulary_size: int | None) -> Multi30k:
    """All of it; `vocabulary_size` is the most words of each language, with `<unk>` and `<eos>`. None: no limit.

    ValueError for files that are not there.
    """
    sides = [_language(language, vocabulary_size) for language in ("de", "en")]
    (source, of_source), (target, of_target) = sides
    rows = [Rows(*pair) for pair in zip(of_source, of_target, strict=True)]
    return Multi30k(source, vocabulary((*target.types, BEGIN)), *rows)


def _language(language: str, vocabulary_size: int | None) -> tuple[Vocabulary, list[Side]]:
    """The vocabulary of a language and its three parts."""
    parts = [_lines(f"multi30k/{part}.{language}.gz") for part in PARTS.values()]
    counts: dict[str, int] = {END: len(parts[0])}
    for words in parts[0]:
        for word in words:
            counts[word] = counts.get(word, 0) + 1
    types = choose(counts, vocabulary_size, LEAST_COUNT)
    return types, [_side(types, words) for words in parts]


def _lines(name: str) -> list[list[str]]:
    """The words of every line of a file."""
    return [cut(line) for line in corpora.gunzip(corpora.read(name), name).decode().splitlines()]


def _side(types: Vocabulary, words: list[list[str]]) -> Side:
    lengths = np.array([len(line) + 1 for line in words])
    ids = np.full((len(words), lengths.max()), types.end, np.int32)
    for row, line in zip(ids, words, strict=True):
        row[: len(line)] = types.encode(line)
    return Side(words, ids, lengths)


def _columns(side: Side, indices) -> tuple[np.ndarray, np.ndarray]:
    """Ids (T, B) of some sentences, as long as the longest of them, and their lengths (B,)."""
    lengths = side.lengths[indices]
    return np.ascontiguousarray(side.ids[indices, : lengths.max()].T), lengths
