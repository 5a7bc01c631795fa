"""Classifiers of documents, one for each seed: bags of words, and recurrent networks that read word by word.

Both learn from the same documents. A quarter of them only tells a network which of its weights to keep.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recurlab.layers.recurrent import recurrent
from recurlab.models import bag_of_words, sequence
from recurlab.models.bag_of_words import BagOfWords
from recurlab.models.sequence import Batch, Network, of_replicas
from recurlab.tasks.dataset import steps_first
from recurlab.tasks.documents import WORDS, Documents, DocumentTask, joined
from recurlab.tasks.task import Draws, one_hot
from recurlab.train import Patience, Plan, minibatch, train
from recurlab.weights import init

BATCHES = 4  # the documents come in so many batches at least: one in four validates
POINTS = 20  # of a training run
TESTED = 500  # documents in a batch of a test


class Examples(NamedTuple):
    """The documents of a task, for some seeds."""

    task: DocumentTask
    seeds: np.ndarray
    count: int  # to learn from
    length: int
    rows: int  # of a batch

    @property
    def batches(self) -> int:
        """How many batches there are to learn from."""
        return self.count // self.rows

    def batch(self, step: int, seeds=None) -> Documents:
        """Batch 0, 1, … of the documents to learn from."""
        return self.task.draw(self.seeds if seeds is None else seeds, "train", step, self.rows, self.length)

    def all(self) -> Documents:
        """All documents to learn from."""
        return joined(*map(self.batch, range(self.batches)))

    def test(self, count: int) -> Documents:
        """Other documents; half of them are the counterparts of the others if there are such.

        Whatever looks at bags alone is then right in exactly half of these very documents, not only in the long run.
        """
        if self.task.counterparts is None:
            return self.task.draw(self.seeds, "test", 0, count, self.length)
        half = self.task.draw(self.seeds, "test", 0, -(-count // 2), self.length)
        return joined(half, self.task.counterparts(half))


class Readers(NamedTuple):
    """Trained networks, one for each seed."""

    net: Network
    params: dict


def bags_of_words(examples: Examples) -> list[BagOfWords]:
    """A bag-of-words classifier for each seed, fitted to all its documents."""
    found = examples.all()
    return [bag_of_words.fit(found.texts(r), classes) for r, classes in enumerate(found.classes)]


def readers(examples: Examples, cell: str, hidden_size: int, plan: Plan, dtype: str, device: str) -> Readers:
    """Networks from the defaults of PyTorch, trained by a plan; of its points the one with the least loss on a quarter
    of the documents is kept.
    """
    layer = recurrent(cell, WORDS.size, hidden_size, dtype=dtype, device=device)
    net = sequence.network(layer, 2, "cross_entropy", "last")
    params = init(layer, examples.seeds) | sequence.readout(net, examples.seeds)
    first = examples.batches - examples.batches // BATCHES
    valid = _as_batch(joined(*map(examples.batch, range(first, examples.batches))), dtype)

    def source(seeds, update):
        return _as_batch(examples.batch(int(minibatch(np.zeros(first), 1, update)[0]), seeds), dtype)

    def measure(params, live, update):
        return {"valid_loss": sequence.evaluate(net, params, of_replicas(net, valid, live))[0]}

    plan = plan._replace(every=-(-plan.updates // POINTS), patience=Patience("valid_loss", plan.updates))
    what = f"{examples.task.name}, {cell}, {examples.count} documents"
    return Readers(net, train(net, params, examples.seeds, source, plan, measure=measure, what=what).params)


def _as_batch(documents: Documents, dtype: str) -> Batch:
    """Words one-hot, (R, T, B, V), and the class at the last step, (R, B)."""
    return Batch(steps_first(one_hot(documents.words, WORDS.size, dtype)), documents.classes)


def accuracy(models: list[BagOfWords] | Readers, documents: Documents) -> np.ndarray:
    """The share of documents whose class is right, (R,)."""
    if isinstance(models, Readers):
        scores = [sequence.outputs(*models, batch) for batch in _batches(models, documents)]
        found = np.concatenate(scores, axis=1).argmax(axis=-1)
    else:
        found = np.stack([bag_of_words.predict(model, documents.texts(r)) for r, model in enumerate(models)])
    return (found == documents.classes).mean(axis=1)


def contexts(models: list[BagOfWords] | Readers, documents: Documents) -> list[np.ndarray]:
    """What a document is to its classifier, (N, ·) for each seed: its bag, or the network's last hidden state."""
    if isinstance(models, Readers):
        return list(np.concatenate([sequence.read(*models, batch).h for batch in _batches(models, documents)], axis=1))
    return [bag_of_words.bags(model, documents.texts(r)) for r, model in enumerate(models)]


def _batches(models: Readers, documents: Documents) -> Iterator[Batch]:
    """TESTED documents at a time."""
    for first in range(0, documents.classes.shape[1], TESTED):
        part = Documents(*(array[:, first : first + TESTED] for array in documents))
        yield _as_batch(part, models.net.layer.dtype)


def moved(documents: Documents, seeds, count: int) -> Documents:
    """The same documents with `count` words of each, drawn at random, in each other's places: none stays in its own."""
    replicas, rows, length = documents.words.shape
    order = Draws(seeds, "documents", "test", count).uniforms("moved", rows, length).argsort(axis=-1)[..., :count]
    words = documents.words.copy()
    np.put_along_axis(words, order, np.take_along_axis(words, np.roll(order, 1, axis=-1), axis=-1), axis=-1)
    return documents._replace(words=words)


def displacement(before: np.ndarray, after: np.ndarray) -> float:
    """Mean distance of contexts (N, ·) to those of changed documents, over that to another document's."""
    other = np.roll(before, 1, axis=0)
    return float(np.linalg.norm(after - before, axis=1).mean() / np.linalg.norm(other - before, axis=1).mean())
