"""Independent words: documents and their exact accuracies, bags of words, association, and the study of all of them."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from chance import assert_mean
from sklearn.linear_model import LogisticRegression

from recurlab.measures.association import association, pair_share, pointwise_mutual_information
from recurlab.models import bag_of_words, unigram
from recurlab.studies import document_classifiers as classifiers
from recurlab.studies.independence import INDEPENDENCE, independence
from recurlab.tasks import documents
from recurlab.tasks.documents import ANIMAL, DOCUMENTS, GROUP, OTHER, PERSON, WORDS
from recurlab.tasks.grammar import AGREEMENT
from recurlab.tasks.grammar.exact import pair_frequencies, word_frequencies
from recurlab.text import vocabulary

T, MANY = 7, 4000


def drawn(name, count=MANY, length=T, seeds=(0,), purpose="train", step=0):
    return DOCUMENTS[name].draw(np.array(seeds), purpose, step, count, length)


# documents


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_a_seed_depend_on_their_address_alone(name):
    both, alone = drawn(name, 50, seeds=(3, 8)), drawn(name, 50, seeds=(8,))
    assert both.words.shape == (2, 50, T) and both.words.dtype == np.int32 and both.classes.shape == (2, 50)
    assert np.array_equal(both.words[1], alone.words[0]) and np.array_equal(both.classes[1], alone.classes[0])
    for other in ({"purpose": "test"}, {"step": 1}, {"seeds": (3,)}):
        assert not np.array_equal(drawn(name, 50, **{"seeds": (8,)} | other).words, alone.words)
    assert alone.texts(0)[4] == WORDS.decode(alone.words[0, 4])


@pytest.mark.parametrize("wrong", [{"purpose": "exam"}, {"count": 0}, {"length": 1}])
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected"):
        drawn("topic", **wrong)


def test_words_of_a_topic_are_independent_with_their_shares():
    found = drawn("topic")
    groups, own = GROUP[found.words[0]], found.classes[0][:, None]
    assert_mean(found.classes[0], 0.5, 0.1)
    assert_mean((groups == own).ravel(), 0.4 * 0.75, 0.1)
    assert_mean((groups == 1 - own).ravel(), 0.4 * 0.25, 0.1)
    assert_mean(((groups[:, 0] == own[:, 0]) * (groups[:, 3] == own[:, 0])), 0.3**2, 0.1)  # of two places
    assert_mean((found.words[0][groups == OTHER] == np.flatnonzero(GROUP == OTHER)[1]), rank_share(1, OTHER), 0.03)


def rank_share(rank, group):
    weights = 1 / np.arange(1, (GROUP == group).sum() + 1)
    return weights[rank] / weights.sum()


def test_documents_of_an_order_name_one_of_each_anywhere():
    found = drawn("order", length=4)
    groups = GROUP[found.words[0]]
    assert (np.sort(groups, axis=1) == sorted([PERSON, ANIMAL, OTHER, OTHER])).all()
    places = np.stack([(groups == PERSON).argmax(axis=1), (groups == ANIMAL).argmax(axis=1)], axis=1)
    assert np.array_equal(found.classes[0], (places[:, 0] > places[:, 1]).astype(int))
    for pair in permutations(range(4), 2):
        assert_mean((places == pair).all(axis=1), 1 / 12, 0.05)
    assert_mean(found.words[0][groups == PERSON] == np.flatnonzero(GROUP == PERSON)[0], rank_share(0, PERSON), 0.1)


def test_the_counterpart_of_a_document_has_its_bag_and_the_other_class():
    found = drawn("order", 300)
    other = documents.exchanged(found)
    assert np.array_equal(np.sort(other.words), np.sort(found.words)) and (other.classes == 1 - found.classes).all()
    again = documents.exchanged(other)
    assert np.array_equal(again.words, found.words) and np.array_equal(again.classes, found.classes)
    assert ((other.words != found.words).sum(axis=-1) == 2).all()
    assert DOCUMENTS["order"].counterparts is documents.exchanged and DOCUMENTS["topic"].counterparts is None


@pytest.mark.parametrize("length", [2, 3, 6])
def test_the_best_accuracy_of_a_topic_is_that_of_bayes_rule(length):
    """Over all sequences of groups: half of max over the classes of P(groups | class)."""
    chance = np.array([[0.3, 0.1, 0.6], [0.1, 0.3, 0.6]])  # P(group | class)
    every = np.indices((3,) * length).reshape(length, -1)
    expected = np.maximum(*(row[every].prod(axis=0) for row in chance)).sum() / 2
    assert DOCUMENTS["topic"].best(length) == pytest.approx(expected, rel=1e-12)
    assert DOCUMENTS["topic"].best_of_bags(length) == DOCUMENTS["topic"].best(length)


def test_who_counts_names_is_as_good_as_the_best():
    found = drawn("topic", 5 * MANY)
    lead = (GROUP[found.words[0]] == ANIMAL).sum(axis=1) - (GROUP[found.words[0]] == PERSON).sum(axis=1)
    right = np.where(lead == 0, 0.5, (lead > 0) == found.classes[0])
    assert_mean(right, DOCUMENTS["topic"].best(T), 0.05)


def test_the_best_of_bags_of_an_order_is_right_in_half():
    """Of each bag of a small world, both classes are equally likely: all places and words, with their probabilities."""
    bags = Counter()
    words = {PERSON: {"p": 0.6, "P": 0.4}, ANIMAL: {"a": 0.9, "A": 0.1}, OTHER: {"x": 0.5, "y": 0.5}}
    for places in permutations(range(3), 2):
        (rest,) = {0, 1, 2} - set(places)
        for person, animal, other in np.ndindex(2, 2, 2):
            said = [list(words[g])[i] for g, i in ((PERSON, person), (ANIMAL, animal), (OTHER, other))]
            likely = np.prod([words[g][word] for g, word in zip(words, said, strict=True)]) / 6
            line = dict(zip((*places, rest), said, strict=True))
            bags["".join(sorted(line.values())), places[0] > places[1]] += likely
    assert sum(bags.values()) == pytest.approx(1)
    assert all(bags[bag, False] == pytest.approx(bags[bag, True], rel=1e-12) for bag, _ in list(bags))
    assert DOCUMENTS["order"].best_of_bags(3) == 0.5 and DOCUMENTS["order"].best(3) == 1


# bags of words, independent words


def test_bags_count_known_words_and_the_classifier_is_that_of_the_counts():
    texts, classes = [["a", "b", "a"], ["b"], ["c", "c"], ["a"]], np.array([0, 1, 1, 0])
    model = bag_of_words.fit(texts, classes, C=2.0)
    counts = np.array([[text.count(word) for word in "abc"] for text in texts])
    assert np.array_equal(bag_of_words.bags(model, texts), counts)
    assert np.array_equal(bag_of_words.bags(model, [["c", "d", "a"]]), [[1, 0, 1]])
    expected = LogisticRegression(C=2.0).fit(counts, classes)
    assert np.allclose(model.classifier.coef_, expected.coef_, atol=1e-6)
    assert np.array_equal(bag_of_words.predict(model, texts), expected.predict(counts))


@pytest.mark.parametrize("texts, classes", [([["a"], ["b"]], [1, 1]), ([[], []], [0, 1])])
def test_documents_that_teach_nothing_are_refused(texts, classes):
    with pytest.raises(ValueError, match="class|vocabulary"):
        bag_of_words.fit(texts, np.array(classes))


def test_words_in_another_order_are_the_same_bag():
    examples = classifiers.Examples(DOCUMENTS["topic"], np.array([1, 2]), 80, T, 10)
    models, found = classifiers.bags_of_words(examples), examples.test(60)
    changed = classifiers.moved(found, examples.seeds, T)
    for before, after in zip(classifiers.contexts(models, found), classifiers.contexts(models, changed), strict=True):
        assert np.array_equal(before, after) and classifiers.displacement(before, after) == 0
    assert np.array_equal(classifiers.accuracy(models, found), classifiers.accuracy(models, changed))


def test_independent_words_have_their_shares_by_laplaces_rule():
    model = unigram.fit(np.array([2, 0, 2, 2], np.int32), 4)
    assert np.allclose(np.exp(model.logarithms), np.array([2, 1, 4, 1]) / 8, rtol=1e-14)
    assert np.array_equal(unigram.log_probabilities(model, np.array([2, 1])), model.logarithms[[2, 1]])
    assert np.array_equal(unigram.next_distribution(model, np.zeros((3, 5), int)), np.tile(model.logarithms, (3, 1)))
    assert unigram.sizes(model) == (4, 32)
    with pytest.raises(ValueError, match="^tokens: expected 0 … 3, got the id 4"):
        unigram.fit(np.array([0, 4]), 4)


# association


def test_pairs_are_counted_in_order_at_their_distances():
    tokens = np.array([0, 1, 0, 0, 1, 2])
    assert pair_share(tokens, 0, 1, [1]) == 2 / 5 and pair_share(tokens, 1, 0, [1]) == 1 / 5
    assert pair_share(tokens, 0, 1, [1, 2, 4]) == (2 + 1 + 1) / (5 + 4 + 2)
    assert pair_share(tokens, 0, 0, [2, 3]) == (1 + 1) / (4 + 3)
    for wrong in ([0], [6], [1, 9]):
        with pytest.raises(ValueError, match="^distances: expected"):
            pair_share(tokens, 0, 1, wrong)


def test_association_is_the_logarithm_of_joint_over_independent():
    types, tokens = vocabulary("abc"), np.array([0, 1, 0, 0, 1, 2])
    assert association(tokens, types, "a b", [1]) == pytest.approx(np.log((2 / 5) / (3 / 6 * 2 / 6)), rel=1e-14)
    assert association(tokens, types, "c a", [1]) == -np.inf
    assert np.isnan(pointwise_mutual_information(0, 0, 0.5))
    with pytest.raises(ValueError, match="got 'd'"):
        association(tokens, types, "a d", [1])


def test_association_of_the_language_is_the_exact_one():
    streams, types, shares = (
        AGREEMENT.draw(range(20), "test", 0, 20_000),
        AGREEMENT.vocabulary,
        word_frequencies(AGREEMENT),
    )
    for pair, distance in (("peanut butter", 1), ("farmers speak", 1), ("farmers speak", 4)):
        words = types.encode(pair.split())
        theory = pointwise_mutual_information(pair_frequencies(AGREEMENT, distance)[tuple(words)], *shares[words])
        assert_mean([association(stream, types, pair, [distance]) for stream in streams], theory, 0.8)
    assert pair_frequencies(AGREEMENT, 2)[tuple(types.encode(["peanut", "butter"]))] == 0


# classifiers and the study


def test_words_that_are_moved_stand_in_each_others_places():
    found = drawn("topic", 200, seeds=(1, 2))
    each = documents.Documents(np.broadcast_to(np.arange(T, dtype=np.int32), (2, 200, T)), found.classes)
    for count in (2, 3, T):
        changed = classifiers.moved(each, np.array([1, 2]), count)
        assert (np.sort(changed.words) == np.arange(T)).all()
        assert ((changed.words != np.arange(T)).sum(axis=-1) == count).all()
        assert np.array_equal(
            changed.words[1:],
            classifiers.moved(documents.Documents(*(a[1:] for a in each)), np.array([2]), count).words,
        )
    assert len({tuple(row) for row in classifiers.moved(each, np.array([1, 2]), 2).words[0]}) == T * (T - 1) // 2


def test_displacement_is_relative_to_another_document():
    before = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert classifiers.displacement(before, before + [0.0, 1.0]) == pytest.approx(1 / 5)


def test_documents_to_learn_from_are_the_same_for_bags_and_networks_and_none_is_tested():
    examples = classifiers.Examples(DOCUMENTS["order"], np.array([5]), 40, T, 10)
    whole = examples.all()
    assert whole.words.shape == (1, 40, T) and np.array_equal(whole.words[:, 10:20], examples.batch(1).words)
    test = examples.test(30)
    assert test.words.shape == (1, 30, T) and test.classes.mean() == 0.5
    assert examples.test(7).classes.shape == (1, 8)
    long = classifiers.Examples(DOCUMENTS["topic"], np.array([5]), 40, 30, 10)
    assert not {*map(tuple, long.all().words[0])} & {*map(tuple, long.test(40).words[0])}


SETTINGS = {
    "length": 6,
    "hidden_size": 8,
    "batch_size": 10,
    "updates": 300,
    "learning_rate": 0.03,
    "clip": 1.0,
    "test_documents": 200,
    "moved": (2, 6),
    "tokens": (1000, 20_000),
    "test_tokens": 20_000,
    "pairs": ("peanut butter", "farmers speaks"),
    "distances": (1, 2),
    "dtype": "float32",
}


def of(found, quantity, **where):
    chosen = found["quantity"] == quantity
    for name, value in where.items():
        chosen &= found[name] == value
    return found["value"][chosen]


def test_a_network_learns_order_and_a_bag_of_words_does_not():
    seeds = np.array([1, 2])
    same = SETTINGS | {"part": "documents", "task": "order", "documents": 400}
    read, bag = (independence(seeds=seeds, cell=cell, **same) for cell in ("gru", None))
    assert (of(read, "accuracy") > 0.95).all() and (of(bag, "accuracy") == 0.5).all()
    assert set(read["network"]) == {"gru"} and set(bag["network"]) == {"bag of words"}
    assert (of(bag, "displacement") == 0).all()
    two, six = (of(read, "displacement", words_moved=count) for count in (2, 6))
    assert ((0.1 < two) & (two < six)).all()
    assert set(read["theory"][read["quantity"] == "accuracy"]) == {1.0}
    assert set(bag["theory"][bag["quantity"] == "accuracy"]) == {0.5}


def test_words_cost_what_the_language_says():
    found = independence(seeds=np.arange(4), part="words", task=None, cell=None, documents=None, **SETTINGS)
    assert_mean(of(found, "loss", text_length=20_000), AGREEMENT.window_losses(1)[0] + 49.5 / 20_000, 0.2)
    assert np.allclose(of(found, "perplexity"), np.exp(of(found, "loss")), rtol=1e-14)
    losses = found["quantity"] == "loss"
    assert np.allclose(found["theory"][losses], AGREEMENT.window_losses(1)[0])
    assert np.allclose(found["optimum"][losses], AGREEMENT.entropy) and (found["value"][losses] > 3.8).all()
    never = (found["pair"] == "peanut butter") & (found["distance"] == 2)
    assert np.isneginf(found["value"][never]).all() and np.isneginf(found["theory"][never]).all()
    assert of(found, "association", pair="peanut butter", distance=1) == pytest.approx(3.784, abs=0.1)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"task": None}, ["task: got null"]),
        ({"documents": None}, ["documents: got null"]),
        ({"documents": 50}, ["documents: got 50, wanted a multiple of 40"]),
        ({"moved": (2, 7)}, ["length: got 6, wanted at least 2 and the 7 words"]),
        ({"part": "words", "task": None, "documents": None}, []),
        ({}, []),
    ],
)
def test_settings_that_do_not_go_together_are_told(change, told):
    given = SETTINGS | {"part": "documents", "task": "order", "cell": None, "documents": 400} | change
    found = INDEPENDENCE.together(given)
    assert len(found) == len(told) and all(text.startswith(start) for text, start in zip(found, told, strict=True))
