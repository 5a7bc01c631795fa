"""n-grams: counts and every smoothing against dicts of tuples and nltk, sums, running text, and what is refused."""

import os
import subprocess
import sys
from itertools import product

import naive_ngram
import numpy as np
import pytest
from nltk.lm import (
    MLE,
    AbsoluteDiscountingInterpolated,
    KneserNeyInterpolated,
    Lidstone,
    Vocabulary,
    WittenBellInterpolated,
)
from nltk.util import everygrams

from recurlab.models.ngram import (
    SMOOTHINGS,
    count,
    known_lengths,
    log_probabilities,
    next_distribution,
    shortened,
    stream,
)
from recurlab.models.ngram.counting import find
from recurlab.models.ngram.interpolation import Events, expectation_maximisation
from recurlab.models.ngram.smoothing import katz_factors

SIZE, END = 11, 3  # the last word of the vocabulary, 10, is in no text
PROTOCOLS = {"carry": None, "reset": END}
WEIGHTS = {"jelinek_mercer": {"weights": (0.6, 0.7, 0.5, 0.3)}}


def text(length=400, number=0):
    """Ids 0 … 9, small ones more often, some of them one more than the id before: some n-grams often, most once."""
    rng = np.random.default_rng(number)
    drawn = np.minimum(rng.zipf(1.6, length), 10) - 1
    return np.where(rng.random(length) < 0.3, (np.roll(drawn, 1) + 1) % 10, drawn).astype(np.int32)


def histories(tokens, end, order):
    """All contexts that occur, of 0 … order - 1 words, and some that do not."""
    seen = {gram[:-1] for gram in naive_ngram.occurrences(tokens.tolist(), order, end)}
    return sorted(seen, key=lambda h: (len(h), h)), [(10,), (0, 10), (10, 10, 10), (9, 9, 9), (2, 10, 0)][: order + 2]


def of_history(model, h):
    """ln p of all words behind a history; one that begins with <s> is a sentence so far."""
    words = [word for word in h if word >= 0]
    if model.end is not None and (not h or h[0] >= 0):  # not at the beginning of a sentence: something stands before
        words = [10] * (model.order - 1 - len(words)) + words
    return next_distribution(model, np.array([words], np.int32).reshape(1, -1))[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("order", [1, 2, 5, 8])
def test_counts_are_those_of_a_dict(protocol, order):
    tokens, end = text(), PROTOCOLS[protocol]
    counts, parents = count(tokens, SIZE, order, protocol, end), None
    tree, parents = counts.trie, counts.trie.parents
    grams = [()]
    for node in range(1, len(tree.words)):
        grams.append((*grams[parents[node]], int(tree.words[node])))
        assert grams[tree.lower[node]] == grams[node][1:]
    assert grams == sorted(grams, key=lambda gram: (len(gram), gram)) and len(set(grams)) == len(grams)
    found = {gram: c for gram, c in zip(grams, counts.counts.tolist(), strict=True) if c}
    assert found == naive_ngram.occurrences(tokens.tolist(), order, end)
    assert np.diff(tree.starts).tolist() == [sum(len(gram) == k for gram in grams) for k in range(order + 1)]


def test_counts_of_fewer_words_are_those_counted_so():
    counts = count(text(), SIZE, 5, "reset", END)
    for order in (1, 3, 5, 7):
        expected, found = count(text(), SIZE, min(order, 5), "reset", END), shortened(counts, order)
        assert all(np.array_equal(*pair) for pair in zip(found.trie, expected.trie, strict=True))
        assert np.array_equal(found.counts, expected.counts) and found[2:] == expected[2:]


def test_ids_up_to_two_to_the_31_count():
    tokens = np.array([2**31 - 1, 0, 2**31 - 1, 0, 2**31 - 2], np.int64)
    counts = count(tokens, 2**31, 3)
    assert counts.trie.words[counts.trie.level(1)].tolist() == [0, 2**31 - 2, 2**31 - 1]
    model = SMOOTHINGS["witten_bell"](counts)
    assert np.exp(log_probabilities(model, tokens[:1]))[0] == pytest.approx((2 + 3 / 2**31) / 8, rel=1e-14)


def variants(name):
    """The options that a smoothing is tried with."""
    cutoffs = [{}] if name == "add_k" else [{"cutoffs": c} for c in [(), (1, 1, 2, 2), (1, 2, 1, 3), (2, 1, 3)]]
    without = [] if name in ("maximum_likelihood", "add_k", "jelinek_mercer") else [{"uniform": False}]
    return [chosen | WEIGHTS.get(name, {}) for chosen in cutoffs + without]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("name", "options"), [(name, options) for name in SMOOTHINGS for options in variants(name)])
def test_every_smoothing_is_its_equation(name, options, protocol):
    tokens, end, order = text(), PROTOCOLS[protocol], 4
    model = SMOOTHINGS[name](count(tokens, SIZE, order, protocol, end), **options)
    naive = naive_ngram.Model(name, tokens.tolist(), SIZE, order, end, **options)
    seen, unseen = histories(tokens, end, order)
    for h in seen + unseen:
        expected = [naive.p(word, h) for word in range(SIZE)]
        np.testing.assert_allclose(np.exp(of_history(model, h)), expected, rtol=1e-11, atol=1e-15)
    fresh = np.append(text(300, 1), [10, 10, 0, 1]).astype(np.int32)
    expected = naive.log_probabilities(fresh.tolist(), end)
    np.testing.assert_allclose(log_probabilities(model, fresh), expected, rtol=1e-11)


@pytest.mark.parametrize("length", [1, 2, 400])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", SMOOTHINGS)
def test_probabilities_sum_to_one_behind_every_history(name, protocol, length):
    tokens, end = text(length, 2), PROTOCOLS[protocol]
    counts = count(tokens, SIZE, 4, protocol, end)
    for options in variants(name):
        model = SMOOTHINGS[name](counts, **options)
        for h in sum(histories(tokens, end, 4), []):
            assert np.exp(of_history(model, h)).sum() == pytest.approx(1, abs=1e-12)


def test_all_short_texts_together_have_probability_one():
    """Chain rule: Σ over all strings of three words of p(w1) p(w2 | w1) p(w3 | w1 w2), as running text."""
    tokens = text() % 4
    for name in SMOOTHINGS:
        model = SMOOTHINGS[name](count(tokens, 5, 3))
        total = sum(np.exp(log_probabilities(model, np.array(s)).sum()) for s in product(range(5), repeat=3))
        assert total == pytest.approx(1, abs=1e-12)


def test_a_context_that_every_word_followed_passes_its_mass_to_all_of_them():
    """Katz on a vocabulary of four: nothing is left that the full contexts lack."""
    tokens = text() % 4
    model = SMOOTHINGS["good_turing"](count(tokens, 4, 3))
    naive = naive_ngram.Model("good_turing", tokens.tolist(), 4, 3)
    full = [h for h in naive.followers if len(naive.followers[h]) == 4]
    assert len(full) > 10
    for h in full:
        p = np.exp(of_history(model, h))
        np.testing.assert_allclose(p, [naive.p(word, h) for word in range(4)], rtol=1e-11)
        assert p.sum() == pytest.approx(1, abs=1e-12)


# against nltk


def of_nltk(cls, tokens, order, *given, **named):
    model = cls(*given, order=order, vocabulary=Vocabulary(map(str, range(10))), **named)
    model.fit([list(everygrams(list(map(str, tokens)), max_len=order))])
    return model


def assert_equals_nltk(model, theirs, seen):
    """All words behind all seen histories; nltk's vocabulary has one word more, <UNK>, which is our word 10."""
    for h in seen:
        expected = [theirs.score(str(word), tuple(map(str, h))) for word in range(11)]
        np.testing.assert_allclose(np.exp(of_history(model, h)), expected, rtol=1e-12, atol=1e-15)


NLTK = {  # with the unigrams as nltk has them, relative frequencies
    "maximum_likelihood": (MLE, (), {}, {}),
    "add_k": (Lidstone, (0.3,), {}, {"k": 0.3}),
    "witten_bell": (WittenBellInterpolated, (), {}, {"uniform": False}),
    "absolute_discounting": (
        AbsoluteDiscountingInterpolated,
        (),
        {"discount": 0.7},
        {"uniform": False, "discounts": 0.7},
    ),
}


@pytest.mark.parametrize("name", NLTK)
def test_smoothings_are_those_of_nltk(name):
    cls, given, named, ours = NLTK[name]
    tokens = text(250, 3)
    model = SMOOTHINGS[name](count(tokens, 11, 3), **ours)
    assert_equals_nltk(model, of_nltk(cls, tokens, 3, *given, **named), histories(tokens, None, 3)[0])


def test_kneser_ney_is_that_of_nltk_but_where_a_history_has_nothing_before_it():
    """nltk takes γ(h) from how many words followed h and T(h) from how many pairs stand around h.

    The two differ where h w stands at the beginning of the text alone, and there nltk's probabilities do not sum to 1:
    that is why padding spoils them, since nothing stands before a pad. Here both come from the pairs.
    """
    tokens = text(250, 3)
    model = SMOOTHINGS["kneser_ney"](count(tokens, 11, 3), discounts=0.4, uniform=False)
    theirs = of_nltk(KneserNeyInterpolated, tokens, 3, discount=0.4)
    seen = histories(tokens, None, 3)[0]
    assert_equals_nltk(model, theirs, seen)
    first = np.append([9, 5], tokens[tokens != 9])  # 5 follows 9 at the beginning alone, and other words never
    theirs = of_nltk(KneserNeyInterpolated, np.append(first, [9, 1]), 3, discount=0.4)
    model = SMOOTHINGS["kneser_ney"](count(np.append(first, [9, 1]), 11, 3), discounts=0.4, uniform=False)
    total = sum(theirs.score(str(word), ("9",)) for word in range(11))
    assert abs(total - 1) > 0.1 and np.exp(of_history(model, (9,))).sum() == pytest.approx(1, abs=1e-12)


# numbers that smoothings find in the counts


def test_katz_factors_of_a_table_worked_out_by_hand():
    """n = 100, 40, 24, 15 for r = 1 … 4, K = 3: A = 4·15 / 100 = 0.6, r*/r = 0.8, 0.9, 5/6."""
    expected = [1, (0.8 - 0.6) / 0.4, (0.9 - 0.6) / 0.4, (5 / 6 - 0.6) / 0.4, 1]
    np.testing.assert_allclose(katz_factors([0, 100, 40, 24, 15]), expected, rtol=1e-14)
    np.testing.assert_allclose(katz_factors([0, 100, 40, 24, 15, 0, 0]), expected, rtol=1e-14)  # K falls to 3
    assert katz_factors([5, 0, 3, 2]).tolist() == [1, 1, 1, 1]  # no n-gram that occurs once: nothing to go by
    assert katz_factors([0, 10, 40, 1]).tolist() == [1, 1, 1, 1]  # r*/r = 8: no discount


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_weights_of_held_out_text_are_where_its_probability_is_greatest(protocol):
    end = PROTOCOLS[protocol]
    counts, held_out = count(text(), SIZE, 2, protocol, end), text(300, 7)
    best = SMOOTHINGS["jelinek_mercer"](counts, held_out=held_out)
    grid = [(a, b) for a in (0.8, 0.9, 0.95, 0.99) for b in (0.2, 0.4, 0.5, 0.6, 0.8)]
    alike = [log_probabilities(SMOOTHINGS["jelinek_mercer"](counts, weights=w), held_out).mean() for w in grid]
    assert log_probabilities(best, held_out).mean() > max(alike) - 1e-3  # the first token of a stream has no events


def test_expectation_maximisation_finds_the_maximum():
    """Two lengths, one bucket each: against all pairs of weights on a fine grid."""
    rng = np.random.default_rng(5)
    shares = rng.dirichlet(np.ones(20), 2)[:, rng.integers(0, 20, 40)]
    shares[1, :10] = 0
    events = Events(rng.integers(1, 9, 40).astype(float), shares.T.copy(), np.zeros((40, 2), int))

    def objective(a, b):
        found = events.times @ np.log(b * shares[1] + (1 - b) * (a * shares[0] + (1 - a) * 0.05))
        return (found + np.log(a * b * (1 - a) * (1 - b)) / 2) / events.times.sum()

    grid = np.linspace(0.005, 0.995, 199)
    best = max(objective(a, b) for a in grid for b in grid)
    table = expectation_maximisation(events, 0.05)
    assert objective(*table[:, 0]) > best - 1e-5 and best > objective(0.5, 0.5) + 0.01  # where EM starts
    assert (table[:, 1:] == 0.5).all()


def test_leaving_one_out_is_what_it_says():
    """Every occurrence in turn is taken out of the counts and predicted; EM on these events gives the same weights."""
    tokens = text(120, 4)
    counts = count(tokens, SIZE, 2)
    grams = naive_ngram.occurrences(tokens.tolist(), 2)
    behind = {h: sum(c for gram, c in grams.items() if gram[:-1] == h) for h in {gram[:-1] for gram in grams}}
    shares, buckets = [], []
    for a, b in zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True):
        pairs = [((b,), ()), ((a, b), (a,))]
        shares.append([(grams[gram] - 1) / max(behind[h] - 1, 1) for gram, h in pairs])
        buckets.append([int(np.log2(behind[h] - 1)) if behind[h] > 1 else -1 for _, h in pairs])
    events = Events(np.ones(len(shares)), np.array(shares), np.array(buckets))
    table = expectation_maximisation(events, 1 / SIZE)
    model = SMOOTHINGS["jelinek_mercer"](counts)
    for h in [(0,), (1,), (9,)]:
        c, total = np.array([grams[(*h, w)] for w in range(SIZE)]), behind[h]
        lower = table[0, int(np.log2(behind[()]))] * np.array([grams[(w,)] for w in range(SIZE)]) / behind[()]
        lower += (1 - table[0, int(np.log2(behind[()]))]) / SIZE
        weight = table[1, int(np.log2(total))]
        np.testing.assert_allclose(np.exp(of_history(model, h)), weight * c / total + (1 - weight) * lower, rtol=1e-9)


# running text


def test_a_text_in_pieces_and_on_disk_has_the_probabilities_of_the_whole(tmp_path):
    fresh = text(500, 9)
    model = SMOOTHINGS["kneser_ney"](count(text(), SIZE, 4, "reset", END))
    whole = log_probabilities(model, fresh, "reset")
    pieces = [log_p for log_p, _ in stream(model, np.split(fresh, [1, 2, 77, 300]))]
    assert np.array_equal(np.concatenate(pieces), whole)
    fresh.tofile(tmp_path / "text.bin")
    assert np.array_equal(log_probabilities(model, np.memmap(tmp_path / "text.bin", np.int32)), whole)


def test_known_lengths_are_those_of_the_longest_n_grams_that_were_seen():
    tokens, fresh = text(), text(200, 9)
    grams = naive_ngram.occurrences(tokens.tolist(), 4)
    expected = [
        max(n for n in range(5) if n <= t + 1 and (n == 0 or tuple(fresh[t + 1 - n : t + 1].tolist()) in grams))
        for t in range(len(fresh))
    ]
    assert known_lengths(SMOOTHINGS["witten_bell"](count(tokens, SIZE, 4)), fresh).tolist() == expected


UNCOMPILED = """
import sys
import numpy as np
from recurlab.models.ngram import SMOOTHINGS, count, log_probabilities, next_distribution
counts = count(np.arange(90) % 7 * (np.arange(90) % 5) % 6, 7, 3, "reset", 4)
for name in ("add_k", "kneser_ney"):
    model = SMOOTHINGS[name](counts)
    rows = [log_probabilities(model, np.arange(40) % 7), next_distribution(model, np.arange(8).reshape(4, 2) % 7)]
    sys.stdout.buffer.write(b"".join(row.tobytes() for row in rows))
"""


def test_uncompiled_code_gives_the_same_bits():
    runs = [
        subprocess.run(
            [sys.executable, "-c", UNCOMPILED],
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for disabled in "01"
    ]
    assert runs[0] == runs[1] and len(runs[0]) == 2 * 8 * (40 + 4 * 7)


def test_n_grams_of_one_tree_are_found_in_another():
    one, other = count(text(), SIZE, 3).trie, count(text(100, 9), SIZE, 4).trie
    grams = [[()], [()]]
    for found, tree in zip(grams, (one, other), strict=True):
        for node in range(1, len(tree.words)):
            found.append((*found[tree.parents[node]], int(tree.words[node])))
    places = {gram: node for node, gram in enumerate(grams[0])}
    assert find(one, other).tolist() == [places.get(gram, -1) for gram in grams[1]]


def test_a_model_says_how_large_it_is():
    counts = count(text(), SIZE, 3)
    model = SMOOTHINGS["kneser_ney"](counts)
    assert model.entries == tuple(np.diff(counts.trie.starts)[1:]) and model.protocol == "carry" and model.order == 3
    assert model.nbytes == 28 * (1 + sum(model.entries)) + 4 + 8 * 5
    sentences = SMOOTHINGS["kneser_ney"](count(text(), SIZE, 3, "reset", END))
    assert sentences.trie.words[1] == -1 and sentences.log_p[1] == -np.inf and sentences.protocol == "reset"
    fewer = SMOOTHINGS["kneser_ney"](counts, cutoffs=(1, 1, 2))
    assert fewer.entries[2] == (counts.counts[counts.trie.level(3)] >= 2).sum() and fewer.nbytes < model.nbytes


# what is refused, and what is right though it looks odd


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": 0}, r"order: expected a whole number ≥ 1, got 0"),
        ({"order": 2.5}, r"order: expected a whole number ≥ 1, got 2\.5"),
        ({"size": 0}, r"size: expected a whole number ≥ 1, got 0"),
        ({"tokens": np.zeros(0, np.int32)}, r"tokens: expected at least one token, got an empty text"),
        ({"tokens": np.array([0, 4, 1])}, r"tokens: expected words 0 … 3 of the vocabulary, got 4 at place 1"),
        ({"tokens": np.array([0, -1])}, r"tokens: expected words 0 … 3 of the vocabulary, got -1 at place 1"),
        ({"tokens": np.array([0.0, 1.0])}, r"tokens: expected ids \(N,\), got float64 \(2,\)"),
        ({"tokens": np.zeros((2, 2), int)}, r"tokens: expected ids \(N,\), got int64 \(2, 2\)"),
        ({"protocol": "sentences"}, r"protocol: expected one of carry, reset, got 'sentences'"),
        ({"protocol": "reset"}, r"end: expected a word 0 … 3, which ends sentences, got None"),
        ({"protocol": "reset", "end": 4}, r"end: expected a word 0 … 3, which ends sentences, got 4"),
    ],
)
def test_texts_that_cannot_be_counted_are_refused(changes, message):
    given = {"tokens": np.array([0, 1, 2, 3]), "size": 4, "order": 2} | changes
    with pytest.raises(ValueError, match=message):
        count(**given)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("add_k", {"k": 0}, r"k: expected a number > 0, got 0"),
        ("witten_bell", {"cutoffs": (0, 1)}, r"cutoffs: expected up to 2 whole numbers ≥ 1, got \(0, 1\)"),
        ("witten_bell", {"cutoffs": (1, 1, 1)}, r"cutoffs: expected up to 2 whole numbers ≥ 1, got \(1, 1, 1\)"),
        ("kneser_ney", {"discounts": 1.5}, r"discounts: expected numbers 0 … 1, got 1\.5"),
        (
            "jelinek_mercer",
            {"weights": (0.5,)},
            r"weights: expected 2 numbers 0 … 1, one for each length, got \(0\.5,\)",
        ),
        ("jelinek_mercer", {"weights": (0.5, -1)}, r"weights: expected 2 numbers 0 … 1"),
    ],
)
def test_settings_that_make_no_probabilities_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        SMOOTHINGS[name](count(np.array([0, 1, 0]), 2, 2), **options)


def test_text_that_cannot_be_scored_is_refused():
    model = SMOOTHINGS["witten_bell"](count(np.array([0, 1, 0]), 3, 2))
    with pytest.raises(ValueError, match=r"tokens: expected words 0 … 2 of the vocabulary, got 3 at place 1"):
        log_probabilities(model, np.array([0, 3]))
    with pytest.raises(ValueError, match=r"tokens: expected at least one token, got an empty text"):
        log_probabilities(model, np.array([], np.int32))
    with pytest.raises(ValueError, match=r"protocol: expected carry, that of the counts, got reset"):
        log_probabilities(model, np.array([0]), "reset")
    with pytest.raises(ValueError, match=r"contexts: expected shape \(B, T\), got shape \(2,\)"):
        next_distribution(model, np.array([0, 1]))


@pytest.mark.parametrize("name", SMOOTHINGS)
def test_a_text_of_one_word_has_a_model(name):
    model = SMOOTHINGS[name](count(np.array([2]), 5, 4))
    p = np.exp(next_distribution(model, np.array([[2]])))
    assert p.sum() == pytest.approx(1, abs=1e-12) and p[0, 2] == p.max()


def test_a_word_that_was_never_seen_is_impossible_only_where_nothing_is_left_for_it():
    counts = count(text(), SIZE, 3)
    for name in SMOOTHINGS:
        (log_p,) = log_probabilities(SMOOTHINGS[name](counts), np.array([10]))
        assert (log_p == -np.inf) == (name == "maximum_likelihood")
