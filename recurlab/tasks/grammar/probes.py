"""Does a model know the number of a subject k words back? Prefixes up to the verb, and both forms of the verb."""

from functools import cache
from typing import NamedTuple

import numpy as np

from recurlab.kernels import automaton
from recurlab.layers.checks import expect_choice, expect_size
from recurlab.tasks.grammar.agreement import AGREEMENT, NUMBERS
from recurlab.tasks.task import PURPOSES, Draws

PLAIN = 2  # words of a subject without an adjective: determiner and noun


class Probes(NamedTuple):
    """P prefixes of sentences with the same number k of words between subject and verb, for each of R seeds."""

    contexts: np.ndarray  # (R, P, 3 + k) int32: <eos>, determiner, subject, k words
    right: np.ndarray  # (R, P) int32, the verb that agrees
    wrong: np.ndarray  # (R, P) int32, the same verb in the other number: its probability is 0
    misled: np.ndarray  # (R, P), whether the noun nearest to the verb has the other number than the subject


def intervening(tokens: np.ndarray) -> np.ndarray:
    """How many words lie between a verb and its subject, -1 where the token is no verb: int64 (…, N).

    Streams (…, N) of the language `agreement` that begin with a sentence. The verb's context reaches one word further.
    """
    kinds, at = AGREEMENT.category[tokens], np.arange(tokens.shape[-1])
    states = AGREEMENT.states_before(tokens)
    subject = np.isin(states, _numbers_of(AGREEMENT.states, "subject")) & _are("noun")[kinds]
    last = np.maximum.accumulate(np.where(subject, at, 0), axis=-1)
    return np.where(_are("verb")[kinds], at - last - 1, -1)


def spans(longest: int) -> np.ndarray:
    """P(k words lie between subject and verb) for k = 0 … longest."""
    return _until_verb(expect_size("longest", longest, low=0))[:, _numbers_of(AGREEMENT.states, "after")[0]]


def probes(seeds, words: int, count: int, purpose: str = "test") -> Probes:
    """`count` prefixes for each seed with `words` words between subject and verb, as likely as in the language.

    The subject has no adjective, so that all prefixes are equally long.
    """
    expect_choice("purpose", purpose, PURPOSES)
    steps = expect_size("words", words, low=0) + PLAIN + 1
    u = Draws(seeds, AGREEMENT.name, purpose, words).uniforms("probes", expect_size("count", count), steps)
    drawn = automaton.walk(u.reshape(-1, steps), *_ending_in_a_verb(steps)).reshape(u.shape)
    right, kinds = drawn[..., -1], AGREEMENT.category[drawn]
    last = np.where(_are("noun")[kinds], np.arange(steps), 0).max(axis=-1, keepdims=True)
    nearest, verb = np.take_along_axis(kinds, last, axis=-1)[..., 0], kinds[..., -1]
    contexts = np.insert(drawn[..., :-1], 0, AGREEMENT.vocabulary.end, axis=-1)
    plural = _are(NUMBERS[1])
    return Probes(contexts, right, _other_forms()[right], plural[nearest] != plural[verb])


def _numbers_of(names: tuple[str, ...], beginning: str) -> np.ndarray:
    """The numbers of the names that begin so."""
    return np.array([i for i, name in enumerate(names) if name.startswith(beginning)])


def _are(word: str) -> np.ndarray:
    """Which categories have this word in their name, (C,)."""
    return np.array([word in name.split() for name in AGREEMENT.categories])


def _other_forms() -> np.ndarray:
    """The same noun or verb in the other number, (V,) int32; another word itself."""
    exchange = dict(zip(NUMBERS, NUMBERS[::-1], strict=True))
    names = [" ".join(exchange.get(part, part) for part in name.split()) for name in AGREEMENT.categories]
    other = np.array([AGREEMENT.categories.index(name) for name in names])
    first = np.searchsorted(AGREEMENT.category, np.arange(len(names)))
    shift = (first[other] - first)[AGREEMENT.category]
    return (np.arange(AGREEMENT.vocabulary.size) + shift).astype(np.int32)


def _until_verb(longest: int) -> np.ndarray:
    """P(exactly m more words come before a verb | state) for m = 0 … longest: (longest + 1, S)."""
    verb, within = _are("verb"), []
    chances, following = AGREEMENT.chances * ~verb, AGREEMENT.following
    now = (AGREEMENT.chances * verb).sum(axis=1)
    for _ in range(longest + 1):
        within.append(now)
        now = (chances * now[following]).sum(axis=1)
    return np.array(within)


@cache
def _ending_in_a_verb(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The language on condition that word `steps` is the first verb and no adjective precedes the subject.

    An automaton as `kernels.automaton` takes it; its states are those of the language for each number of words drawn.
    """
    states, verb = len(AGREEMENT.states), _are("verb")[AGREEMENT.category]
    words, after = AGREEMENT.probabilities.copy(), AGREEMENT.following[:, AGREEMENT.category]
    subject = AGREEMENT.states.index("subject")
    words[subject, _are("adjective")[AGREEMENT.category]] = 0
    likely = [words * ~verb * within[after] for within in _until_verb(steps - 2)[::-1]] + [words * verb]
    total = np.concatenate(likely).cumsum(axis=1)
    total = np.where(total < total[:, -1:], total / np.maximum(total[:, -1:], np.finfo(float).tiny), 1)
    following = np.concatenate([after + states * (drawn + 1) for drawn in range(steps)])
    return total, following.astype(np.int32)
