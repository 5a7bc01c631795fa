"""What does attention look at, how does the gradient reach the source through it, and does the score matter?

The encoder runs forwards only, so that the steps between a word of the source and a loss are a number.
"""

from collections.abc import Iterator

import numpy as np

from recurlab.cells import CELLS
from recurlab.measures import attention as measures
from recurlab.models import translation as models
from recurlab.models.pairs import Pairs
from recurlab.models.translation import Translator
from recurlab.studies import translated
from recurlab.studies.kinds import (
    CELL,
    DEVICE,
    DTYPE,
    GENERATED_TRANSLATION,
    INIT,
    POSITIVE,
    REAL,
    SCORE,
    SIZE,
    optional,
    sizes,
)
from recurlab.studies.study import Study
from recurlab.studies.trained import gate_bias_problems
from recurlab.tasks.translation import TRANSLATIONS, Translation
from recurlab.text import END
from recurlab.train import Plan, Trained

EXAMPLES = {  # source and target whose weights are shown
    "copy_words": ("g d n a k b", "g d n a k b"),
    "reverse_words": ("g d n a k b", "b k a n d g"),
    "number_words": ("drei hundert vier und zwanzig acht hundert sechs und fünfzig", "3 2 4 8 5 6"),
}
ROWS = 16  # sentences whose gradients are averaged


def attention(
    *,
    seeds,
    dataset: GENERATED_TRANSLATION,
    train_lengths: sizes("shortest", "longest"),
    test_sentences: SIZE,
    gradient_length: SIZE,
    cell: CELL,
    score: SCORE,
    embedding_size: SIZE,
    hidden_size: SIZE,
    init_name: INIT,
    forget_bias: optional(REAL),
    batch_size: SIZE,
    updates: SIZE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train a translator for each seed; rows of four kinds by `quantity`: gradient, learning, alignment and weight."""
    task = TRANSLATIONS[dataset]
    corpus = translated.generated(dataset, train_lengths, train_lengths[1:], test_sentences, batch_size)
    net = translated.network(corpus, cell, embedding_size, hidden_size, score=score, dtype=dtype, device=device)
    params = models.initial(net, seeds, **translated.weights_of(init_name, forget_bias))
    far = task.draw(seeds, "test", 0, np.full(ROWS, gradient_length))
    plan = Plan(updates, learning_rate, schedule="linear", clip_norm=clip)
    found = translated.run(net, params, seeds, corpus, plan, 0.0, f"{dataset}, {cell}, {score}")
    (test,) = corpus.test(seeds)
    parts = [
        *_gradients(net, params, far),
        *_learning(found),
        *_alignment(net, found.params, test.pairs, task.aligned(train_lengths[1])),
        *_weights(net, found.params, task),
    ]
    return {name: np.array([row.get(name, fill) for row in parts]) for name, fill in FILLS.items()}


def _gradients(net: Translator, params: dict, pairs: Pairs) -> Iterator[dict]:
    """Untrained: the gradient of the loss of the first word, means over sentences, at every lag and on both ways."""
    for way, logs in measures.gradient_by_way(net, params, pairs, 0).items():
        for (replica, place), value in np.ndenumerate(logs.mean(axis=2, dtype=float)):
            lag = logs.shape[1] - place
            yield {"replica": replica, "quantity": "gradient", "way": way, "lag": lag, "log10_gradient_norm": value}


def _learning(found: Trained) -> Iterator[dict]:
    """The loss of training at every point."""
    for (point, replica), loss in np.ndenumerate(found.history["loss"][1:]):
        yield {"replica": replica, "quantity": "learning", "update": found.points[point + 1], "loss": loss}


def _alignment(net: Translator, params: dict, pairs: Pairs, places: np.ndarray) -> Iterator[dict]:
    """Trained: loss and weights on new sentences of the longest trained length."""
    weights = models.read(net, params, pairs).weights[:, :, :-1]  # not of <eos>, which comes from no word
    found = measures.alignment(weights, places[:-1])
    found["loss"] = -models.log_probabilities(net, params, pairs).sum(axis=1) / pairs.target_lengths.sum()
    for replica in range(len(found["loss"])):
        own = {name: values[replica] for name, values in found.items()}
        yield {"replica": replica, "quantity": "alignment"} | own


def _weights(net: Translator, params: dict, task: Translation) -> Iterator[dict]:
    """Trained: the weights of a sentence that is the same for all seeds."""
    source, target = ([*text.split(), END] for text in EXAMPLES[task.name])
    ids = task.source.encode(source)[:, None], task.target.encode(target)[:, None]
    pairs = Pairs(ids[0], np.array([len(source)]), ids[1], np.array([len(target)]))
    for (replica, _, row, column), weight in np.ndenumerate(models.read(net, params, pairs).weights):
        words = {"target_word": target[row], "source_word": source[column]}
        places = {"target_place": row, "source_place": column}
        yield {"replica": replica, "quantity": "weight", "weight": weight} | places | words


def problems(given: dict) -> list[str]:
    """What is wrong with the settings together, in words."""
    shortest, longest = given["train_lengths"]
    found = gate_bias_problems(given, CELLS[given["cell"]])
    return found + (
        [f"train_lengths: got {shortest} to {longest}, wanted the shortest first"] if shortest > longest else []
    )


FILLS = {"replica": 0, "quantity": "", "way": "", "lag": 0, "log10_gradient_norm": np.nan, "update": 0, "loss": np.nan}
FILLS |= {"aligned_weight": np.nan, "aligned": np.nan, "near": np.nan, "weight": np.nan}
FILLS |= {"target_place": 0, "source_place": 0, "target_word": "", "source_word": ""}

ATTENTION = Study(
    function=attention,
    replicas=(),
    columns={
        "quantity": "name; gradient, learning, alignment or weight: what the row is about; other columns are empty",
        "way": "name; through attention, or through the states of decoder and encoder",
        "lag": "steps; of encoder and decoder between a source word and the loss of the first target word",
        "log10_gradient_norm": "1; log₁₀ of the norm of that loss' gradient by the embedding of the word, untrained",
        "update": "updates; made so far",
        "loss": "nats; a word, teacher-forced: mean over the updates of a tenth of the run, or of new sentences",
        "aligned_weight": "1; weight of the source word that a target word comes from, mean",
        "aligned": "share; target words for which that weight is the largest",
        "near": "share; target words for which the largest weight is at most one word away",
        "weight": "1; of a source word for a target word, in a sentence that is the same for all seeds",
        "target_place": "index; of the target word",
        "source_place": "index; of the source word",
        "target_word": "name; the word there",
        "source_word": "name; the word there",
    },
    together=problems,
)
