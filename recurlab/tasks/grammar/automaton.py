"""A language as a probabilistic automaton: words are drawn, followed, and predicted as well as can be.

A state gives each category of words a chance and the state that follows; which word of the category comes does not
depend on the state. No category leads to two states, so the words so far tell the state, and the best prediction is
that of the state. Sentences are independent: each ends with `<eos>`, and the next one begins in state 0.
"""

from typing import NamedTuple

import numpy as np

from recurlab.kernels import automaton
from recurlab.layers.checks import expect, expect_choice, expect_size
from recurlab.tasks.grammar import exact
from recurlab.tasks.task import PURPOSES, Draws
from recurlab.text import END, Text, Vocabulary, vocabulary


class Grammar(NamedTuple):
    """S states, C categories, V words. Made by `grammar`."""

    name: str
    source: str
    says: str
    vocabulary: Vocabulary
    categories: tuple[str, ...]
    states: tuple[str, ...]
    chances: np.ndarray  # (S, C), P(category | state)
    following: np.ndarray  # (S, C), the state after a category; 0 where its chance is
    category: np.ndarray  # (V,), of each word
    shares: np.ndarray  # (V,), P(word | category)

    @property
    def entropy(self) -> float:
        """H(sentence) / E[length], nats a token: the loss of the best predictor of all."""
        return exact.entropy_rate(self)

    @property
    def probabilities(self) -> np.ndarray:
        """P(word | state), (S, V)."""
        return self.chances[:, self.category] * self.shares

    def window_losses(self, longest: int) -> np.ndarray:
        """The exact loss of the best predictor from the last 0, 1, … longest - 1 tokens, nats a token (longest,).

        No n-gram model, whatever its counts and smoothing, has a lower expected loss than entry n - 1.
        """
        return exact.window_losses(self, expect_size("longest", longest))

    def draw(self, seeds, purpose: str, step: int, tokens: int) -> np.ndarray:
        """Streams of sentences, int32 (R, tokens), one for each seed; the last sentence may break off.

        Every token has its own random number, so a longer stream begins with the shorter one.
        """
        expect_choice("purpose", purpose, PURPOSES)
        u = Draws(seeds, self.name, purpose, step).uniforms("words", expect_size("tokens", tokens))
        cumulated = np.cumsum(self.probabilities, axis=1)
        cumulated[cumulated >= cumulated[:, -1:]] = 1  # rounded below 1, it would let through a word of chance 0
        return automaton.walk(u, cumulated, self._following)

    def text(self, seed: int, train: int, valid: int, test: int) -> Text:
        """Streams of these many tokens for training, validation and test."""
        parts = [self.draw([seed], purpose, 0, n)[0] for purpose, n in zip(PURPOSES, (train, valid, test), strict=True)]
        return Text(self.name, "word", self.vocabulary, *parts)

    def states_before(self, tokens: np.ndarray) -> np.ndarray:
        """The state before every token, (…, N); ValueError that names a token that cannot come where it stands."""
        tokens = np.asarray(tokens)
        low, high = tokens.min(initial=0), tokens.max(initial=0)
        expect(0 <= low and high < self.vocabulary.size, "tokens", f"{low} … {high}", f"0 … {self.vocabulary.size - 1}")
        rows = np.require(tokens.reshape(-1, tokens.shape[-1]), np.int32, ("C", "W"))  # read-only is one more type
        states = automaton.follow(rows, self._following).reshape(tokens.shape)
        wrong = np.argwhere((states < 0) | (self._following[states, tokens] < 0))
        if len(wrong):
            place = tuple(wrong[0].tolist())
            expect(
                False, "tokens", f"{self.vocabulary.types[tokens[place]]!r} at index {place}", "a word of the grammar"
            )
        return states

    def log_probabilities(self, tokens: np.ndarray, window: int | None = None) -> np.ndarray:
        """ln p(token | all before it) of streams (…, N) that begin with a sentence; with a window from so many alone.

        Both are the best predictions there are. ValueError for a stream that the grammar does not speak.
        """
        best = self._logarithms[self.states_before(tokens), tokens]
        if window is not None and expect_size("window", window, low=0) < tokens.shape[-1]:
            rows = zip(best.reshape(-1, best.shape[-1]), tokens.reshape(-1, best.shape[-1]), strict=True)
            for found, row in rows:  # before a stream begins there is the end of a sentence, which tells all
                found[window:] = exact.window_logarithms(self, row, window)
        return best

    def next_distribution(self, contexts: np.ndarray) -> np.ndarray:
        """ln p(next word | context) (…, V) of contexts (…, T) that begin with a sentence or the `<eos>` before it."""
        contexts = np.asarray(contexts)
        begun = contexts[..., 1:] if (contexts[..., 0] == self.vocabulary.end).all() else contexts
        last = begun[..., -1:]
        state = self._following[self.states_before(begun)[..., -1:], last][..., 0] if last.size else 0
        return np.broadcast_to(self._logarithms[state], (*contexts.shape[:-1], self.vocabulary.size))

    @property
    def _following(self) -> np.ndarray:
        """The state after each word, (S, V) int32, -1 where it cannot come."""
        return np.where(self.chances > 0, self.following, -1)[:, self.category].astype(np.int32)

    @property
    def _logarithms(self) -> np.ndarray:
        """ln P(word | state), (S, V)."""
        with np.errstate(divide="ignore"):
            return np.log(self.probabilities)


def grammar(name: str, source: str, says: str, rules: dict, words: dict[str, tuple[str, ...]]) -> Grammar:
    """A grammar of rules {state: {category: (chance, next state)}} and words {category: words by falling frequency}.

    The first state begins a sentence, `<eos>` ends it. Word r of its category has a share ∝ 1 / r (Zipf).
    """
    states, categories = tuple(rules), tuple(words)
    chances = np.zeros((len(states), len(categories)))
    following = np.zeros(chances.shape, int)
    for s, edges in enumerate(rules.values()):
        for kind, (chance, then) in edges.items():
            at = s, categories.index(kind)
            chances[at], following[at] = chance, states.index(then)
    types = vocabulary(word for some in words.values() for word in some)
    category = np.repeat(np.arange(len(categories)), [len(some) for some in words.values()])
    shares = np.concatenate([zipf(len(some)) for some in words.values()])
    expect(types.end is not None, "words", "none that ends a sentence", END)
    expect(np.allclose(chances.sum(axis=1), 1), "rules", chances.sum(axis=1), "chances that sum to 1 in every state")
    return Grammar(name, source, says, types, categories, states, chances, following, category, shares)


def zipf(count: int) -> np.ndarray:
    """Shares ∝ 1 / rank, (count,)."""
    shares = 1 / np.arange(1, count + 1)
    return shares / shares.sum()
