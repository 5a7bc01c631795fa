"""What studies of translation share: sentence pairs, generated or given, and networks of R seeds trained on them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from recurlab.models import translation
from recurlab.models.pairs import Pairs
from recurlab.models.translation import NOTHING, Translator, translator
from recurlab.models.translation_gradients import dropout, loss_and_gradients
from recurlab.tasks import multi30k
from recurlab.tasks.translation import BEGIN, TRANSLATIONS, drawn_lengths, written
from recurlab.text import Vocabulary
from recurlab.train import Patience, Plan, Trained, minibatch, train

ROWS = 64  # sentences of a batch that measures
POINTS = 10  # of a training run
CLASS, LONGEST = 4, 24  # words
MULTI30K = "multi30k"
DATASETS = (*TRANSLATIONS, MULTI30K)


class Test(NamedTuple):
    """Sentences to translate."""

    pairs: Pairs
    numbers: np.ndarray  # (B,), of the sentences within the test set
    lengths: np.ndarray  # (B,), symbols or numbers of the generated, words of the given
    classes: np.ndarray  # (B,), the lengths of generated ones; given ones are classed: to 4 words, 5 to 8, …, above 20
    references: list[list[str]]  # R lists of B texts


class Corpus(NamedTuple):
    """Sentence pairs of one kind, as a training run sees them."""

    source: Vocabulary
    target: Vocabulary
    train: Callable[[np.ndarray, int], Pairs]  # (seeds, update) ->
    valid: Callable[[np.ndarray], Iterator[Pairs]]  # seeds ->
    test: Callable[[np.ndarray], Iterator[Test]]  # seeds ->
    longest: int  # length of training


def generated(name: str, lengths: tuple[int, int], test_lengths, sentences: int, batch_size: int) -> Corpus:
    """New pairs at every update, of uniform lengths; `sentences` to test at each test length."""
    task = TRANSLATIONS[name]

    def training(seeds, update: int) -> Pairs:
        return task.draw(seeds, "train", update, drawn_lengths(update, *lengths, batch_size))

    def valid(seeds) -> Iterator[Pairs]:
        yield task.draw(seeds, "valid", 0, np.full(ROWS, lengths[1]))

    def test(seeds) -> Iterator[Test]:
        for k, length in enumerate(test_lengths):
            pairs = task.draw(seeds, "test", length, np.full(sentences, length))
            numbers = k * sentences + np.arange(sentences)
            references = [texts(task.target, own.T) for own in pairs.target]
            yield Test(pairs, numbers, *np.full((2, sentences), length), references)

    return Corpus(task.source, task.target, training, valid, test, lengths[1])


def given(vocabulary_size: int | None, batch_size: int) -> Corpus:
    """Multi30k; all seeds read the same sentences in the same order."""
    data = multi30k.load(vocabulary_size)

    def training(seeds, update: int) -> Pairs:
        return data.train.take(minibatch(data.train.target.lengths, batch_size, update))

    def valid(seeds) -> Iterator[Pairs]:
        yield from map(data.valid.take, _alike(data.valid))

    def test(seeds) -> Iterator[Test]:
        for numbers in _alike(data.test):
            pairs, references = data.test.take(numbers), [" ".join(data.test.target.words[k]) for k in numbers]
            lengths = pairs.source_lengths - 1
            classes = np.minimum(-(-lengths // CLASS) * CLASS, LONGEST)
            yield Test(pairs, numbers, lengths, classes, [references] * len(seeds))

    longest = int(data.train.source.lengths.max()) - 1
    return Corpus(data.source, data.target, training, valid, test, longest)


def _alike(rows: multi30k.Rows) -> Iterator[np.ndarray]:
    """The numbers of all sentences, ROWS of similar length at a time."""
    order = np.argsort(rows.source.lengths, kind="stable")
    yield from (order[first : first + ROWS] for first in range(0, rows.count, ROWS))


def texts(types: Vocabulary, ids: np.ndarray) -> list[str]:
    """The sentences of ids (B, T), words with spaces between them."""
    return [" ".join(written(types, own)) for own in ids]


def network(corpus: Corpus, cell: str, embedding_size: int, hidden_size: int, **options) -> Translator:
    """An encoder and a decoder for the words of a corpus; `options` are those of `translator`."""
    target = corpus.target
    sizes = corpus.source.size, target.size, target.ids[BEGIN], target.end, embedding_size, hidden_size
    return translator(cell, *sizes, **options)


def weights_of(init_name: str, forget_bias: float | None) -> dict:
    """The options of `initial` from a study's parameters."""
    return {"recurrent": init_name} | ({} if forget_bias is None else {"forget_bias": forget_bias})


def run(net: Translator, params: dict, seeds, corpus: Corpus, plan: Plan, rate: float, what: str) -> Trained:
    """Train with dropout at this rate; the parameters are those of the point with the least validation loss."""

    def gradients(params, live, pairs, update, penalised):
        dropped = dropout(net, seeds[live], update, pairs, rate) if rate > 0 else NOTHING
        return loss_and_gradients(net, params, pairs, dropped)

    def measure(params, live, update):
        return {"valid_loss": valid_loss(net, params, corpus.valid(seeds[live]))}

    chooses = Patience("valid_loss", plan.updates)  # longer than the run: it only chooses
    plan = plan._replace(patience=chooses, every=-(-plan.updates // POINTS))
    return train(None, params, seeds, corpus.train, plan, measure=measure, gradients=gradients, what=what)


def valid_loss(net: Translator, params: dict, batches: Iterator[Pairs]) -> np.ndarray:
    """Nats a target word, teacher-forced, (R,)."""
    total, words = 0, 0
    for pairs in batches:
        total = total - translation.log_probabilities(net, params, pairs).sum(axis=1)
        words += pairs.target_lengths.sum()
    return total / words
