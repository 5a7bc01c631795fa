"""What does attention add to an encoder and decoder, and how does that depend on the length of a sentence?"""

import numpy as np

from recurlab.cells import CELLS
from recurlab.measures import bleu
from recurlab.models import translation as models
from recurlab.models.beam_search import Written
from recurlab.models.pairs import Pairs
from recurlab.models.translation import Translator
from recurlab.studies import translated
from recurlab.studies.kinds import (
    CELL,
    DEVICE,
    DTYPE,
    FLAG,
    INIT,
    NON_NEGATIVE,
    POSITIVE,
    RATE,
    REAL,
    SCORE,
    SIZE,
    TRANSLATION_DATA,
    list_of,
    optional,
    sizes,
)
from recurlab.studies.study import Study
from recurlab.studies.trained import gate_bias_problems, label_of
from recurlab.studies.translated import MULTI30K, Corpus, Test
from recurlab.train import ENDS, Plan, Trained

LONGER = 10  # words that a translation may have beyond those of its source


def translation(
    *,
    seeds,
    dataset: TRANSLATION_DATA,
    vocabulary_size: optional(SIZE),
    train_lengths: optional(sizes("shortest", "longest")),
    test_lengths: optional(list_of(SIZE)),
    test_sentences: optional(SIZE),
    cell: CELL,
    score: optional(SCORE),
    bidirectional: FLAG,
    embedding_size: SIZE,
    hidden_size: SIZE,
    init_name: INIT,
    forget_bias: optional(REAL),
    dropout: RATE,
    batch_size: SIZE,
    updates: SIZE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    beam_sizes: list_of(SIZE),
    length_power: NON_NEGATIVE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train a translator for each seed and let it translate the test sentences: one row for each and number of beams.

    Adam with a learning rate that falls linearly to 0; tested are the weights with the least validation loss.
    """
    if dataset == MULTI30K:
        corpus = translated.given(vocabulary_size, batch_size)
    else:
        corpus = translated.generated(dataset, train_lengths, test_lengths, test_sentences, batch_size)
    layer = {"bidirectional": bidirectional, "score": score, "dtype": dtype, "device": device}
    net = translated.network(corpus, cell, embedding_size, hidden_size, **layer)
    weights = translated.weights_of(init_name, forget_bias)
    params = models.initial(net, seeds, **weights)
    plan = Plan(updates, learning_rate, schedule="linear", clip_norm=clip)
    label = f"{label_of(cell, weights)}, {'no' if score is None else score} attention"
    found = translated.run(net, params, seeds, corpus, plan, dropout, f"{dataset}, {label}")
    parts = [_translated(net, found.params, corpus, test, beam_sizes, length_power) for test in corpus.test(seeds)]
    tested = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}
    attention = "without attention" if score is None else "with attention"
    return _rows(tested, found, {"network": label, "attention": attention, "signature": bleu.signature()})


def _translated(net: Translator, params: dict, corpus: Corpus, test: Test, beam_sizes, length_power: float) -> dict:
    """What a network makes of some sentences: name -> (K, R, B), K numbers of beams."""
    pairs, shape = test.pairs, (len(beam_sizes), len(test.references), len(test.numbers))
    logs = models.log_probabilities(net, params, pairs)
    columns = {"sentence": test.numbers, "length": test.lengths, "length_class": test.classes}
    columns |= {"stretch": test.lengths / corpus.longest}
    columns |= {"beam_size": np.array(beam_sizes)[:, None, None]}
    columns |= {"loss": -logs / pairs.target_lengths}
    longest = pairs.source.shape[-2] + LONGER
    found = (models.translate(net, params, *pairs[:2], longest, k, length_power) for k in beam_sizes)
    each = [_compared(corpus, test, written) for written in found]
    columns |= {name: np.stack([one[name] for one in each]) for name in each[0]}
    return {name: np.broadcast_to(values, shape) for name, values in columns.items()}


def _compared(corpus: Corpus, test: Test, found: Written) -> dict[str, np.ndarray]:
    """Translations beside the references: name -> (R, B)."""
    hypotheses = [translated.texts(corpus.target, own) for own in found.words]
    counts = [bleu.sentence_counts(*pair) for pair in zip(hypotheses, test.references, strict=True)]
    exact = [np.equal(*map(np.array, pair)) for pair in zip(hypotheses, test.references, strict=True)]
    columns = {"exact": np.array(exact).astype(int), "accuracy": _right_words(test.pairs, found)}
    return columns | dict(zip(bleu.COLUMNS, np.moveaxis(np.array(counts), -1, 0), strict=True))


def _right_words(pairs: Pairs, found: Written) -> np.ndarray:
    """Share of the words of a target, `<eos>` among them, that stand at their place in the translation, (R, B)."""
    target, lengths = np.swapaxes(pairs.target, -1, -2), pairs.target_lengths
    steps = min(found.words.shape[-1], target.shape[-1])
    there = np.arange(steps) < np.minimum(found.lengths, lengths)[..., None]
    return ((found.words[..., :steps] == target[..., :steps]) & there).sum(axis=-1) / lengths


def _rows(tested: dict, found: Trained, same: dict) -> dict[str, np.ndarray]:
    """One row for each number of beams, replica and sentence; `tested` (K, R, S)."""
    valid, shape = found.history["valid_loss"], tested["sentence"].shape
    counts = np.stack([tested[name] for name in bleu.COLUMNS], axis=-1)
    of_replica = {
        "replica": np.arange(shape[1]),
        "train_loss": found.history["loss"][-1],
        "valid_loss": valid.min(axis=0),
        "best_update": found.points[valid.argmin(axis=0)],
        "weights": np.full(shape[1], sum(array[0].size for array in found.params.values())),
        "diverged": (found.outcome == ENDS.index("diverged")).astype(int),
    }
    columns = {name: values[:, None] for name, values in of_replica.items()} | tested
    columns["bleu"] = np.array([[[bleu.bleu(own)] for own in part] for part in counts])
    columns["class_bleu"] = np.empty(shape)
    for value in np.unique(tested["length_class"]):
        of_class = tested["length_class"][0, 0] == value
        columns["class_bleu"][..., of_class] = [[[bleu.bleu(own[of_class])] for own in part] for part in counts]
    columns |= {name: np.array(text) for name, text in same.items()}
    return {name: np.broadcast_to(values, shape).ravel() for name, values in columns.items()}


def problems(given: dict) -> list[str]:
    """What is wrong with the settings together, in words."""
    found = gate_bias_problems(given, CELLS[given["cell"]])
    if given["bidirectional"] and given["hidden_size"] % 2:
        found.append(f"hidden_size: got {given['hidden_size']}, wanted an even number for two directions")
    lengths = ("train_lengths", "test_lengths", "test_sentences")
    if given["dataset"] == MULTI30K:
        return found + [f"{name}: got {given[name]}, wanted null for {MULTI30K}" for name in lengths if given[name]]
    found += [f"{name}: got null, wanted one for {given['dataset']}" for name in lengths if given[name] is None]
    if given["vocabulary_size"] is not None:
        found.append(f"vocabulary_size: got {given['vocabulary_size']}, wanted null for {given['dataset']}")
    shortest, longest = given["train_lengths"] or (1, 1)
    if shortest > longest:
        found.append(f"train_lengths: got {shortest} to {longest}, wanted the shortest first")
    return found


TRANSLATION = Study(
    function=translation,
    replicas=(),
    columns={
        "network": "name; cell, initialisation and score of attention",
        "attention": "name; with or without attention",
        "sentence": "index; of the sentence within the test set",
        "length": "symbols, numbers or words; of the source, without its <eos>",
        "stretch": "1; length / longest trained length",
        "length_class": "as length; the longest of the sentences that are counted together, 24 for all that are longer",
        "beam_size": "sentences; kept at every step of decoding, 1 is greedy",
        "loss": "nats; a word of the target, teacher-forced: the decoder reads the reference",
        "exact": "flag; 1 if the translation is the reference, free-running: the decoder reads what it has written",
        "accuracy": "share; words of the reference, with <eos>, that stand at their place, free-running",
        "hypothesis_length": "words; of the translation",
        "reference_length": "words; of the reference",
        **{
            f"matches_{n}": f"n-grams; of length {n} that match, as BLEU counts them" for n in range(1, bleu.ORDERS + 1)
        },
        "bleu": "BLEU; of all test sentences of the run together, 0 to 100",
        "class_bleu": "BLEU; of the test sentences of this length class together",
        "signature": "name; what sacrebleu says of the metric",
        "train_loss": "nats; a word, mean over the last tenth of the updates, with dropout",
        "valid_loss": "nats; a word of the validation sentences, teacher-forced, the least",
        "best_update": "updates; made where that was",
        "weights": "numbers; parameters trained",
        "diverged": "flag; 1 if loss or gradient became infinite or not a number",
    },
    together=problems,
)
