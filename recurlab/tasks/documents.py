"""Two classifications of documents: in one it only matters which words stand there, in the other only in which order.

A document is T words. `topic`: all words are independent, and those that name persons are more likely in one class,
those that name animals in the other, so the number of each says all. `order`: one word names a person and one an
animal; the class says which comes first, as in "dog bites farmer" and "farmer bites dog".
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect_choice, expect_size
from recurlab.tasks.grammar.automaton import zipf
from recurlab.tasks.task import PURPOSES, Draws
from recurlab.text import vocabulary

GROUPS = {  # words by falling frequency
    "person": "farmer doctor singer teacher sailor baker tailor writer".split(),
    "animal": "dog cat horse bird wolf goose sheep tiger".split(),
    "other": "near here often again slowly now then under over with from old new red big small dry wet cold warm"
    " late early loud calm thin round open plain whole".split(),
}
NAMING = 0.4  # topic: P(a word names a person or an animal)
OWN = 0.75  # topic: P(it is of the group of the class | it names one)
WORDS = vocabulary(word for group in GROUPS.values() for word in group)
GROUP = np.repeat(np.arange(len(GROUPS)), [len(words) for words in GROUPS.values()])  # of each word
PERSON, ANIMAL, OTHER = range(len(GROUPS))


class Documents(NamedTuple):
    """N documents of T words for each of R seeds."""

    words: np.ndarray  # (R, N, T) int32, ids of WORDS
    classes: np.ndarray  # (R, N) int64, 0 or 1

    def texts(self, replica: int) -> list[list[str]]:
        """The documents of a replica as words."""
        return np.array(WORDS.types)[self.words[replica]].tolist()


class DocumentTask(NamedTuple):
    """A classification of documents."""

    name: str
    says: str
    best: Callable[[int], float]  # length -> exact accuracy of the best classifier
    best_of_bags: Callable[[int], float]  # length -> exact accuracy of the best classifier of bags of words
    generate: Callable  # (Draws, count, length) -> Documents
    counterparts: Callable | None = None  # Documents -> as likely ones of the same bags and the other classes

    def draw(self, seeds, purpose: str, step: int, count: int, length: int) -> Documents:
        """`count` documents of `length` words for each seed. Those of a seed depend on it and the sizes alone."""
        expect_choice("purpose", purpose, PURPOSES)
        expect_size("count", count)
        expect_size("length", length, low=2)
        return self.generate(Draws(seeds, self.name, purpose, step), count, length)


def _words(groups: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The word of each group that a uniform number draws, by Zipf's law: ids in the shape of both."""
    found = np.empty(groups.shape, np.int32)
    for group in range(len(GROUPS)):
        here, words = groups == group, np.flatnonzero(GROUP == group)
        found[here] = words[np.searchsorted(np.cumsum(zipf(len(words)))[:-1], u[here], side="right")]
    return found


def _topic(draws: Draws, count: int, length: int) -> Documents:
    """The class is the group that is named more often in the long run."""
    classes, u = draws.integers("classes", 2, count), draws.uniforms("groups", count, length)
    own = classes[..., None]  # class 0 is about persons, 1 about animals: the numbers of their groups
    groups = np.where(u < NAMING * OWN, own, np.where(u < NAMING, 1 - own, OTHER))
    return Documents(_words(groups, draws.uniforms("words", count, length)), classes)


def _order(draws: Draws, count: int, length: int) -> Documents:
    """The class is 0 where the person comes first; two different places of T are drawn, all pairs alike."""
    person, animal = np.divmod(draws.integers("places", length * (length - 1), count), length - 1)
    animal = animal + (animal >= person)
    groups = np.full((*person.shape, length), OTHER)
    for place, group in ((person, PERSON), (animal, ANIMAL)):
        np.put_along_axis(groups, place[..., None], group, axis=-1)
    return Documents(_words(groups, draws.uniforms("words", count, length)), (person > animal).astype(np.int64))


def exchanged(documents: Documents) -> Documents:
    """Documents of `order` with person and animal in each other's place: the same bags, the other classes.

    It maps the documents one to one onto themselves and keeps their probabilities. So among all documents of one bag
    both classes are equally likely, and whatever looks at bags alone is right in exactly half of all cases.
    """
    words = documents.words.copy()
    person, animal = ((GROUP[words] == group).argmax(axis=-1)[..., None] for group in (PERSON, ANIMAL))
    first = np.take_along_axis(words, person, axis=-1)
    np.put_along_axis(words, person, np.take_along_axis(words, animal, axis=-1), axis=-1)
    np.put_along_axis(words, animal, first, axis=-1)
    return Documents(words, 1 - documents.classes)


def joined(*parts: Documents) -> Documents:
    """All documents of some parts."""
    return Documents(*(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


def _majority(length: int) -> float:
    """P(the class is named more often than the other) + P(as often) / 2: the words of a group tell no more."""
    steps = np.array([NAMING * (1 - OWN), 1 - NAMING, NAMING * OWN])  # one word less, none, one more
    lead = np.ones(1)
    for _ in range(length):
        lead = np.convolve(lead, steps)
    return float(lead[length + 1 :].sum() + lead[length] / 2)


def _sure(length: int) -> float:
    return 1.0


def _chance(length: int) -> float:
    return 0.5


_TASKS = (
    DocumentTask("topic", "whether persons or animals are named more often", _majority, _majority, _topic),
    DocumentTask("order", "whether the person or the animal is named first", _sure, _chance, _order, exchanged),
)
DOCUMENTS = {task.name: task for task in _TASKS}
