"""The texts of language models of R seeds: of a generated language one for each seed, of a given text one for all."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab import text
from recurlab.models.words import Words, streams
from recurlab.tasks.grammar import GRAMMARS, Grammar, exact
from recurlab.text import Vocabulary, vocabulary
from recurlab.train import minibatch

CHARACTER, WORD = "character", "word"
LEVELS = (WORD, CHARACTER)
BLANK, LINE = " ", "\n"


class Texts(NamedTuple):
    """Streams of token ids, each a tuple of R arrays (N,), or of one that all seeds share. Made by `texts_of`."""

    name: str
    vocabulary: Vocabulary
    train: tuple[np.ndarray, ...]
    valid: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]
    entropy: float  # nats a token, the loss of the best predictor; NaN of a given text
    language: Grammar | None  # whose words these are; None for characters and given texts

    def of(self, part: str, replica: int) -> np.ndarray:
        """The stream of a replica in the part train, valid or test."""
        own = getattr(self, part)
        return own[replica if len(own) > 1 else 0]


class Sizes(NamedTuple):
    """Tokens of each part: drawn of a generated language, the first so many of a given text (None: all)."""

    train: int | None
    valid: int | None
    test: int | None


def texts_of(seeds, corpus: str, level: str, vocabulary_size: int | None, sizes: Sizes) -> Texts:
    """The texts of R seeds. A given text has the vocabulary of its training part, see `text.load`."""
    if corpus in GRAMMARS:
        return _drawn(GRAMMARS[corpus], seeds, level, sizes)
    whole = text.load(corpus, level, vocabulary_size, shares=(90, 95))
    parts = (part[:size] for part, size in zip((whole.train, whole.valid, whole.test), sizes, strict=True))
    return Texts(whole.name, whole.vocabulary, *((part,) for part in parts), np.nan, None)


def _drawn(language: Grammar, seeds, level: str, sizes: Sizes) -> Texts:
    """Every seed has texts of its own."""
    drawn = [language.text(int(seed), *sizes) for seed in seeds]
    parts = [tuple(getattr(one, part) for one in drawn) for part in ("train", "valid", "test")]
    if level == WORD:
        return Texts(language.name, language.vocabulary, *parts, language.entropy, language)
    letters, spelling, lengths = spelled(language.vocabulary)
    parts = [tuple(_letters(one, spelling, lengths)[: len(one)] for one in part) for part in parts]
    each = float(exact.word_frequencies(language) @ lengths)
    return Texts(f"{language.name}, spelled", letters, *parts, language.entropy / each, None)


def spelled(words: Vocabulary) -> tuple[Vocabulary, np.ndarray, np.ndarray]:
    """The characters of a language, each word's ids (V, L) filled up at the end, and how many they are (V,).

    A word ends with a blank, `<eos>` is the end of a line. No blank is inside a word, so the characters tell the words
    and have their entropy, H(word) / E[characters of a word] each.
    """
    texts = [LINE if i == words.end else word + BLANK for i, word in enumerate(words.types)]
    letters = vocabulary(sorted(set("".join(texts))))
    lengths = np.array([len(one) for one in texts])
    spelling = np.zeros((len(texts), lengths.max()), np.int32)
    for row, one in zip(spelling, texts, strict=True):
        row[: len(one)] = letters.encode(one)
    return letters, spelling, lengths


def _letters(tokens: np.ndarray, spelling: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The characters of a stream of words."""
    return spelling[tokens][np.arange(spelling.shape[1]) < lengths[tokens][:, None]]


def windows(texts: Texts, seeds, rows: int, steps: int) -> tuple[Callable, int]:
    """A source for `train`: the windows (T, B) of parallel streams of every live seed; and the updates of an epoch."""
    cuts, place = [streams(tokens, rows, steps) for tokens in texts.train], _places(texts, seeds)

    def take(live, update: int) -> Words:
        if len(cuts) == 1:
            return cuts[0].take(update)
        own = [cuts[place[int(seed)]].take(update) for seed in live]
        ids, targets = (np.stack([getattr(words, name) for words in own]) for name in ("ids", "targets"))
        return Words(ids, targets, fresh=own[0].fresh)

    return take, cuts[0].updates


def _places(texts: Texts, seeds) -> dict[int, int]:
    """Seed -> the number of its text."""
    return {int(seed): r if len(texts.train) > 1 else 0 for r, seed in enumerate(seeds)}


def places(texts: Texts, seeds, count: int, take: Callable) -> tuple[Callable, int]:
    """A source for `train` of `count` places of a text in a new order in every epoch: take(tokens, at) -> a batch.

    All seeds have the same places; the batches of texts of their own are stacked.
    """
    lengths, place = np.ones(len(texts.train[0]), np.int64), _places(texts, seeds)

    def batch(live, update: int):
        at = minibatch(lengths, count, update)
        if len(texts.train) == 1:
            return take(texts.train[0], at)
        own = [take(texts.train[place[int(seed)]], at) for seed in live]
        return type(own[0])(*(np.stack(arrays) for arrays in zip(*own, strict=True)))

    return batch, len(lengths) // count
