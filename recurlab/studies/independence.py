"""What is lost by taking words as independent of each other, or a document as a bag of them?

Three answers. `documents`: bags of words beside recurrent networks, where only the words matter and where only their
order does. `words`: what independent words cost on a language whose entropy is known, and how far its pairs of words
are from independence, both beside exact values.
"""

from itertools import product

import numpy as np

from recurlab.measures.association import association, pointwise_mutual_information
from recurlab.models import unigram
from recurlab.studies import document_classifiers as classifiers
from recurlab.studies.document_classifiers import Examples
from recurlab.studies.kinds import CELL, DEVICE, DTYPE, POSITIVE, SIZE, Kind, list_of, one_of, optional
from recurlab.studies.study import Study, device_problems
from recurlab.tasks.documents import DOCUMENTS
from recurlab.tasks.grammar import AGREEMENT
from recurlab.tasks.grammar.exact import pair_frequencies, word_frequencies
from recurlab.train import Plan

BAG = "bag of words"
PAIR = Kind("two words of the language `agreement`", lambda value: isinstance(value, str) and _is_pair(value))


def _is_pair(text: str) -> bool:
    words = text.split()
    return len(words) == 2 and all(word in AGREEMENT.vocabulary.ids for word in words)


def independence(
    *,
    seeds,
    part: one_of("documents", "words"),
    task: optional(one_of(*DOCUMENTS)),
    cell: optional(CELL),
    documents: optional(SIZE),
    length: SIZE,
    hidden_size: SIZE,
    batch_size: SIZE,
    updates: SIZE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    test_documents: SIZE,
    moved: list_of(SIZE),
    tokens: list_of(SIZE),
    test_tokens: SIZE,
    pairs: list_of(PAIR),
    distances: list_of(SIZE),
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """One part of the answer for each case; without a cell documents are bags of words."""
    if part == "words":
        found = _losses(seeds, tokens, test_tokens) + _associations(seeds, max(tokens), pairs, distances)
    else:
        examples = Examples(DOCUMENTS[task], seeds, documents, length, batch_size)
        if cell is None:
            models = classifiers.bags_of_words(examples)
        else:
            plan = Plan(updates, learning_rate, schedule="linear", clip_norm=clip)
            models = classifiers.readers(examples, cell, hidden_size, plan, dtype, device)
        found = _documents(examples, models, cell or BAG, test_documents, moved)
    return _columns(found, len(seeds))


def _documents(examples: Examples, models, network: str, test_documents: int, moved) -> list[dict]:
    """Accuracy on new documents, and how far a document's context goes when its words change places."""
    test, task = examples.test(test_documents), examples.task
    best, best_of_bags = task.best(examples.length), task.best_of_bags(examples.length)
    exact_best = {"theory": best_of_bags if network == BAG else best, "best": best, "best_of_bags": best_of_bags}
    found = [{"quantity": "accuracy", "value": classifiers.accuracy(models, test)} | exact_best]
    before = classifiers.contexts(models, test)
    for count in moved:
        after = classifiers.contexts(models, classifiers.moved(test, examples.seeds, count))
        value = [classifiers.displacement(*each) for each in zip(before, after, strict=True)]
        found.append({"quantity": "displacement", "words_moved": count, "value": np.array(value)})
    return [{"network": network} | row for row in found]


def _losses(seeds, tokens, test_tokens: int) -> list[dict]:
    """Test loss and perplexity of one probability a word, from texts of these lengths."""
    train = AGREEMENT.draw(seeds, "train", 0, max(tokens))
    test = AGREEMENT.draw(seeds, "test", 0, test_tokens)
    (independent,), optimum, found = AGREEMENT.window_losses(1), AGREEMENT.entropy, []
    for count in tokens:
        models = [unigram.fit(text[:count], AGREEMENT.vocabulary.size) for text in train]
        paid = [-unigram.log_probabilities(model, text).mean() for model, text in zip(models, test, strict=True)]
        loss = {"value": np.array(paid), "theory": independent, "optimum": optimum}
        same = {"network": "independent words", "text_length": count}
        found.append(same | loss | {"quantity": "loss"})
        found.append(same | {name: np.exp(nats) for name, nats in loss.items()} | {"quantity": "perplexity"})
    return found


def _associations(seeds, count: int, pairs, distances) -> list[dict]:
    """Pointwise mutual information of pairs of words, estimated from a text and exact; -inf where they never come."""
    texts, types, shares = AGREEMENT.draw(seeds, "train", 0, count), AGREEMENT.vocabulary, word_frequencies(AGREEMENT)
    found = []
    for distance, pair in product(distances, pairs):
        words = types.encode(pair.split())
        joint = pair_frequencies(AGREEMENT, distance)[tuple(words)]
        value = np.array([association(text, types, pair, [distance]) for text in texts])
        same = {"quantity": "association", "pair": pair, "distance": distance, "text_length": count, "value": value}
        found.append(same | {"theory": pointwise_mutual_information(joint, *shares[words])})
    return found


def _columns(found: list[dict], replicas: int) -> dict[str, np.ndarray]:
    """One row for each measurement and seed; what a measurement has not is filled."""
    columns = {"replica": np.tile(np.arange(replicas), len(found))}
    for name, fill in FILLS.items():
        columns[name] = np.concatenate([np.broadcast_to(row.get(name, fill), replicas) for row in found])
    return columns


def problems(given: dict) -> list[str]:
    """What is wrong with the settings together, in words."""
    found = device_problems(given, "counts", given["part"] == "documents" and given["cell"] is not None)
    if given["part"] == "words":
        return found
    found += [f"{name}: got null, wanted one for documents" for name in ("task", "documents") if given[name] is None]
    rows, count, furthest = classifiers.BATCHES * given["batch_size"], given["documents"], max(given["moved"])
    if count is not None and count % rows:
        found.append(f"documents: got {count}, wanted a multiple of {rows}: {classifiers.BATCHES} batches")
    if not 2 <= given["length"] >= furthest:
        found.append(f"length: got {given['length']}, wanted at least 2 and the {furthest} words that are moved")
    return found


FILLS = {
    "quantity": "",
    "network": "none",
    "value": np.nan,
    "theory": np.nan,
    "best": np.nan,
    "best_of_bags": np.nan,
    "optimum": np.nan,
    "words_moved": 0,
    "text_length": 0,
    "pair": "none",
    "distance": 0,
}

INDEPENDENCE = Study(
    function=independence,
    replicas=(),
    columns={
        "quantity": "name; accuracy, displacement, loss, perplexity or association",
        "network": "name; bag of words, the recurrent cell, or independent words",
        "value": "of the quantity; share of right classes, distance of contexts over that to another document, nats a "
        "token, e to these, nats (-inf for words that never come so)",
        "theory": "of the quantity; exact: the best classifier of this kind, the best independent words, the "
        "association of the pair",
        "best": "share; exact accuracy of the best classifier",
        "best_of_bags": "share; exact accuracy of the best classifier of bags of words",
        "optimum": "of the quantity; that of the best predictor of the language (its entropy, or e to it)",
        "words_moved": "words; of a document that stand in each other's places",
        "text_length": "tokens; of the text that counts come from",
        "pair": "name; two words, the first before the second",
        "distance": "tokens; from the first word to the second",
    },
    together=problems,
)
