"""The generated language: what is drawn, what is known exactly of it, and the probes of agreement."""

from itertools import product

import numpy as np
import pytest
from chance import assert_mean

from recurlab.random import Stream, uniform
from recurlab.tasks.grammar import AGREEMENT, GRAMMARS, exact, grammar, intervening, probes, spans
from recurlab.text import END

TOKENS = 40_000
# Two subjects, a word that may come any number of times in between, verbs that agree; and without the loop, finite.
TOY_WORDS = {
    "end": (END,),
    "a": ("cat", "dog"),
    "b": ("cats",),
    "near": ("here",),
    "one": ("is",),
    "two": ("are", "were"),
}
TOY = {
    "start": {"a": (0.7, "single"), "b": (0.3, "many")},
    "single": {"near": (0.4, "single"), "one": (0.6, "over")},
    "many": {"near": (0.4, "many"), "two": (0.6, "over")},
    "over": {"end": (0.9, "start"), "near": (0.1, "last")},
    "last": {"end": (1.0, "start")},
}
FINITE = TOY | {
    "single": {"near": (0.4, "close"), "one": (0.6, "over")},
    "close": {"one": (1.0, "over")},
    "many": {"two": (1.0, "over")},
}


def toy(rules=TOY):
    return grammar("toy", "this file", "a toy", rules, TOY_WORDS)


def drawn(seed=0, tokens=TOKENS, purpose="test"):
    return AGREEMENT.draw([seed], purpose, 0, tokens)[0]


def sentences_of(words):
    found = [[]]
    for word in words:
        found[-1].append(word)
        if word == END:
            found.append([])
    return found[:-1]


# oracles: a sentence as a person reads the rules, and sums over whatever can be said


KINDS = ["person", "animal", "machine", "plant"]
RANKED = {
    "determiner": "the my our",
    "preposition": "near behind beside beyond",
    "place": "outside here",
    "adverb": "often again slowly",
    "adjective": ["clever polite famous", "hungry wild tame", "rusty broken electric", "green tall thorny"],
    "noun": [
        "farmer doctor singer teacher sailor",
        "dog cat horse bird wolf",
        "engine clock lamp pump printer",
        "tree rose fern vine oak",
    ],
    "verb": ["speak laugh write argue", "sleep hunt bite howl", "hum rattle stall tick", "grow bloom wither sprout"],
}


def share(rank, count):
    return 1 / (rank + 1) / sum(1 / (i + 1) for i in range(count))


def chance_of(word, kind):
    """(class, P(word | kind [and class])) if the word, without its ending, is of the kind; else None."""
    lists = RANKED[kind] if isinstance(RANKED[kind], list) else [RANKED[kind]]
    for number, words in enumerate(map(str.split, lists)):
        if word in words:
            return number, share(words.index(word), len(words))
    return None


def stem(word):
    return {"wolves": ("wolf", "s"), "wolf": ("wolf", "")}.get(word) or (
        word.removesuffix("s"),
        "s" * word.endswith("s"),
    )


def naive_noun(words, at):
    """(class, plural, probability, next place) of [adjective] noun."""
    chance, adjective = 0.7, chance_of(words[at], "adjective")
    if adjective:
        kind, chance, at = adjective[0], 0.3 * adjective[1], at + 1
    base, ending = stem(words[at])
    found, likely = chance_of(base, "noun")
    assert not adjective or kind == found
    return found, ending == "s", chance * share(found, 4) * likely / 2, at + 1


def naive_probability(words):
    """P(sentence) by reading it from left to right; ValueError or AssertionError for what is none."""
    chance = chance_of(words[0], "determiner")[1]
    kind, plural, likely, at = naive_noun(words, 1)
    chance *= likely
    while not chance_of(stem(words[at])[0], "verb"):
        if chance_of(words[at], "place"):
            chance, at = chance * 0.6 * 0.2 * chance_of(words[at], "place")[1], at + 1
            continue
        chance, at = chance * 0.6 * 0.8 * chance_of(words[at], "preposition")[1], at + 1
        with_determiner = chance_of(words[at], "determiner")
        chance, at = chance * 0.5 * (with_determiner[1] if with_determiner else 1), at + bool(with_determiner)
        _, _, likely, at = naive_noun(words, at)
        chance *= likely
    base, ending = stem(words[at])
    of, likely = chance_of(base, "verb")
    assert of == kind and (ending == "") == plural
    rest = tuple(words[at + 1 :])
    endings = {(END,): 0.5, ("without", "butter", END): 0.2 * 0.3, ("without", "peanut", "butter", END): 0.2 * 0.7}
    endings |= {(word, END): 0.3 * chance_of(word, "adverb")[1] for word in RANKED["adverb"].split()}
    return chance * 0.4 * likely * endings[rest]


def moves_of(language):
    """P(word v, then state u | state s), (V, S, S), word by word."""
    found = np.zeros((language.vocabulary.size, len(language.states), len(language.states)))
    for s, v in product(range(len(language.states)), range(language.vocabulary.size)):
        kind = language.category[v]
        found[v, s, language.following[s, kind]] = language.chances[s, kind] * language.shares[v]
    return found


def long_run(step):
    """The stationary distribution, by walking long."""
    p = np.full(len(step), 1 / len(step))
    for _ in range(4000):
        p = 0.5 * p + 0.5 * p @ step
    return p


def entropy_of(p):
    p = p[p > 0]
    return -(p * np.log(p)).sum()


def joint_of(language, n):
    """P(words 1 … n) of the stationary stream, (V, …, V)."""
    moves, joint = moves_of(language), long_run(moves_of(language).sum(axis=0))
    for _ in range(n):
        joint = np.einsum("...s,vsu->...vu", joint, moves)
    return joint.sum(axis=-1)


# what is drawn


def test_the_language_has_a_hundred_words_and_one_end():
    types = AGREEMENT.vocabulary
    assert types.size == 100 and types.end == 0 and types.unknown is None
    assert set(GRAMMARS) == {"agreement"}


@pytest.mark.parametrize("language", [AGREEMENT, toy(), toy(FINITE)], ids=["agreement", "toy", "finite"])
def test_chances_sum_to_one(language):
    assert np.allclose(language.probabilities.sum(axis=1), 1, rtol=1e-14)


def test_words_are_drawn_by_their_own_uniform_numbers():
    found = AGREEMENT.draw([5, 2**40], "valid", 3, 200)
    assert found.dtype == np.int32 and found.shape == (2, 200)
    probabilities = AGREEMENT.probabilities
    for row, seed in zip(found, (5, 2**40), strict=True):
        u, state = uniform(Stream(seed, "agreement valid words", 3), (200,)), 0
        for t in range(200):
            assert row[t] == np.searchsorted(np.cumsum(probabilities[state]), u[t], side="right")
            state = AGREEMENT.following[state, AGREEMENT.category[row[t]]]


def test_a_stream_depends_on_its_address_alone_and_begins_like_a_shorter_one():
    many = AGREEMENT.draw([3, 4], "train", 7, 500)
    assert np.array_equal(many[1:], AGREEMENT.draw([4], "train", 7, 500))
    assert np.array_equal(many[:, :99], AGREEMENT.draw([3, 4], "train", 7, 99))
    others = AGREEMENT.draw([3], "valid", 7, 500), AGREEMENT.draw([3], "train", 8, 500), many[1:]
    assert all((other != many[:1]).mean() > 0.5 for other in others)


def test_a_text_holds_streams_of_three_purposes():
    text = AGREEMENT.text(3, 300, 200, 100)
    assert (text.name, text.level, text.vocabulary) == ("agreement", "word", AGREEMENT.vocabulary)
    for part, purpose, size in zip(text[3:], ("train", "valid", "test"), (300, 200, 100), strict=True):
        assert np.array_equal(part, AGREEMENT.draw([3], purpose, 0, size)[0])


@pytest.mark.parametrize(
    "wrong, told",
    [
        (lambda: AGREEMENT.draw([0], "exam", 0, 5), "purpose"),
        (lambda: AGREEMENT.draw([0], "test", 0, 0), "tokens"),
        (lambda: AGREEMENT.window_losses(0), "longest"),
        (lambda: AGREEMENT.log_probabilities(drawn(tokens=5), window=-1), "window"),
        (lambda: probes([0], -1, 5), "words"),
        (lambda: probes([0], 1, 0), "count"),
        (lambda: probes([0], 1, 1, "exam"), "purpose"),
        (lambda: spans(-1), "longest"),
        (lambda: grammar("x", "", "", {"start": {"a": (0.9, "start")}}, TOY_WORDS), "rules"),
        (lambda: grammar("x", "", "", {"start": {"a": (1.0, "start")}}, {"a": ("b",)}), "words"),
    ],
)
def test_wrong_arguments_are_named(wrong, told):
    with pytest.raises(ValueError, match=f"^{told}: expected"):
        wrong()


# the best predictor


def test_a_sentence_has_the_probability_that_the_rules_give_it():
    words = AGREEMENT.vocabulary.decode(drawn(tokens=4000))
    logarithms, at = AGREEMENT.log_probabilities(drawn(tokens=4000)), 0
    longest = 0
    for sentence in sentences_of(words):
        expected = np.log(naive_probability(sentence))
        assert logarithms[at : at + len(sentence)].sum() == pytest.approx(expected, rel=1e-12), sentence
        at, longest = at + len(sentence), max(longest, len(sentence))
    assert longest > 20


def test_streams_of_any_shape_are_followed():
    streams = AGREEMENT.draw([1, 2, 3], "test", 0, 50)
    found = AGREEMENT.log_probabilities(streams)
    assert np.array_equal(found[2], AGREEMENT.log_probabilities(streams[2])) and found.shape == (3, 50)
    again = AGREEMENT.log_probabilities(np.broadcast_to(streams[2], (2, 50)))
    assert np.array_equal(again[1], found[2])


def test_what_the_language_does_not_say_is_refused_with_its_word_and_place():
    encode = AGREEMENT.vocabulary.encode
    with pytest.raises(
        ValueError, match=r"^tokens: expected a word of the grammar, got 'bark'|'sleeps' at index \(4,\)"
    ):
        AGREEMENT.log_probabilities(encode("the dogs near cats sleeps <eos> the".split()))
    with pytest.raises(ValueError, match=r"'dogs' at index \(1, 0\)"):
        AGREEMENT.log_probabilities(np.stack([encode("the dogs".split()), encode("dogs the".split())]))
    with pytest.raises(ValueError, match="^tokens: expected 0 … 99, got 0 … 100"):
        AGREEMENT.log_probabilities(np.array([0, 100]))


def test_the_next_word_has_its_distribution():
    encode = AGREEMENT.vocabulary.encode
    contexts = np.stack([encode("<eos> the dogs here".split()), encode("<eos> my clever doctor".split())])
    found = np.exp(AGREEMENT.next_distribution(contexts))
    assert np.allclose(found.sum(axis=-1), 1, rtol=1e-12)
    sleep, sleeps, speaks = encode("sleep sleeps speaks".split())
    assert found[0, sleep] == pytest.approx(0.4 * share(0, 4), rel=1e-12) and found[0, sleeps] == 0
    assert found[1, speaks] == pytest.approx(0.4 * share(0, 4), rel=1e-12)
    assert np.array_equal(AGREEMENT.next_distribution(contexts[:, 1:]), AGREEMENT.next_distribution(contexts))
    assert np.exp(AGREEMENT.next_distribution(contexts[:1, :1]))[0, encode(["the"])[0]] == pytest.approx(share(0, 3))
    stream = drawn(tokens=30)
    each = [AGREEMENT.next_distribution(stream[None, :t])[0, stream[t]] for t in range(1, 30)]
    assert np.array_equal(each, AGREEMENT.log_probabilities(stream)[1:])


# exact expectations


def test_entropy_is_that_of_all_sentences():
    language = toy(FINITE)
    sentences = {}
    waiting = [((), 0, 1.0)]
    while waiting:
        said, state, p = waiting.pop()
        for v, kind in enumerate(language.category):
            likely = p * language.chances[state, kind] * language.shares[v]
            if likely and language.vocabulary.types[v] == END:
                sentences[(*said, v)] = likely
            elif likely:
                waiting.append(((*said, v), language.following[state, kind], likely))
    p = np.array(list(sentences.values()))
    length = p @ np.array([len(sentence) for sentence in sentences])
    assert p.sum() == pytest.approx(1, rel=1e-14)
    assert exact.visits(language).sum() == pytest.approx(length, rel=1e-12)
    assert language.entropy == pytest.approx(entropy_of(p) / length, rel=1e-12)


@pytest.mark.parametrize(
    "language, longest", [(toy(), 6), (toy(FINITE), 6), (AGREEMENT, 3)], ids=["toy", "finite", "agreement"]
)
def test_window_losses_are_differences_of_entropies_of_word_sequences(language, longest):
    entropies = [0.0] + [entropy_of(joint_of(language, n)) for n in range(1, longest + 1)]
    assert np.allclose(language.window_losses(longest), np.diff(entropies), rtol=0, atol=1e-11)


def test_window_losses_fall_to_the_entropy_and_no_window_reaches_it():
    losses = AGREEMENT.window_losses(60)
    assert (np.diff(losses) < 0).all() and losses[-1] > AGREEMENT.entropy
    assert losses[-1] == pytest.approx(AGREEMENT.entropy, abs=1e-5)


def test_the_best_predictors_pay_what_is_expected():
    """Eight sentences are a draw: sentences are independent, and a window spans two or three of them."""
    stream = AGREEMENT.draw([0], "test", 0, 4 * TOKENS)[0]
    last = np.flatnonzero(stream == 0)[7::8] + 1
    summed = lambda values: np.add.reduceat(values[: last[-1]], np.r_[0, last[:-1]])  # noqa: E731
    best = -AGREEMENT.log_probabilities(stream)
    assert_mean(summed(best - AGREEMENT.entropy), 0, 0.05 * AGREEMENT.entropy * len(stream) / len(last))
    for window, loss in enumerate(AGREEMENT.window_losses(6)):
        more = -AGREEMENT.log_probabilities(stream, window) - best
        gap = loss - AGREEMENT.entropy
        assert_mean(summed(more - gap), 0, gap * len(stream) / len(last), what=f"window {window}")


@pytest.mark.parametrize("language", [toy(), AGREEMENT], ids=["toy", "agreement"])
@pytest.mark.parametrize("window", [0, 1, 2, 5, 300])
def test_a_window_predicts_by_bayes_rule_from_its_tokens(language, window):
    stream = language.draw([1], "test", 0, 120)[0]
    found, moves = np.exp(language.log_probabilities(stream, window)), moves_of(language)
    start, anywhere = np.eye(len(language.states))[0], long_run(moves.sum(axis=0))
    for t in range(120):
        belief = start if t < window else anywhere
        for word in stream[max(0, t - window) : t]:
            belief = belief @ moves[word]
        assert found[t] == pytest.approx((belief @ moves[stream[t]]).sum() / belief.sum(), rel=1e-9), t


@pytest.mark.parametrize("language", [toy(), AGREEMENT], ids=["toy", "agreement"])
def test_pairs_of_words_have_their_frequencies(language):
    moves, p = moves_of(language), long_run(moves_of(language).sum(axis=0))
    assert np.allclose(exact.word_frequencies(language), np.einsum("s,vsu->v", p, moves), atol=1e-13)
    for distance in (1, 2, 4):
        between = np.linalg.matrix_power(moves.sum(axis=0), distance - 1)
        expected = np.einsum("s,asu,uw,bwx->ab", p, moves, between, moves, optimize=True)
        assert np.allclose(exact.pair_frequencies(language, distance), expected, atol=1e-13)


# agreement


def naive_spans(words):
    """Words between subject and verb of each sentence."""
    found = []
    for sentence in sentences_of(words):
        nouns = [t for t, word in enumerate(sentence) if chance_of(stem(word)[0], "noun")]
        verbs = [t for t, word in enumerate(sentence) if chance_of(stem(word)[0], "verb")]
        (verb,) = verbs
        found.append((verb, verb - nouns[0] - 1))
    return found


def test_words_between_subject_and_verb_are_counted():
    stream = drawn(tokens=3000)
    found, at = intervening(np.stack([stream, stream])), 0
    assert np.array_equal(found[0], found[1])
    expected = np.full(3000, -1)
    for sentence, (verb, between) in zip(
        sentences_of(words := AGREEMENT.vocabulary.decode(stream)), naive_spans(words), strict=True
    ):
        expected[at + verb] = between
        at += len(sentence)
    assert np.array_equal(found[0][:at], expected[:at]) and found.max() > 15


def test_spans_have_their_exact_distribution():
    unit = {
        1: 0.2,
        2: 0.8 * 0.5 * 0.7,
        3: 0.8 * 0.5,
        4: 0.8 * 0.5 * 0.3,
    }  # lengths: place; of noun, adjective, determiner
    expected = [0.4]
    for k in range(1, 31):
        expected.append(0.6 * sum(p * expected[k - n] for n, p in unit.items() if n <= k))
    assert np.allclose(spans(30), expected, rtol=1e-12)
    stream = drawn(tokens=TOKENS)
    counts = np.bincount(intervening(stream)[intervening(stream) >= 0], minlength=31)[:9]
    verbs = (intervening(stream) >= 0).sum()
    error = np.sqrt(spans(8) * (1 - spans(8)) / verbs)
    assert (np.abs(counts / verbs - spans(8)) < 4 * error).all()


@pytest.mark.parametrize("words", [0, 1, 2, 7])
def test_probes_are_prefixes_of_sentences_and_the_wrong_verb_is_impossible(words):
    found = probes([3, 4], words, 50)
    assert found.contexts.shape == (2, 50, 3 + words) and found.contexts.dtype == np.int32
    assert np.array_equal(found.contexts[1:], probes([4], words, 50).contexts)
    assert not np.array_equal(found.contexts, probes([3, 4], words, 50, "valid").contexts)
    for replica, row in np.ndindex(2, 50):
        said = AGREEMENT.vocabulary.decode(found.contexts[replica, row])
        right, wrong = AGREEMENT.vocabulary.decode([found.right[replica, row], found.wrong[replica, row]])
        assert said[0] == END and naive_probability([*said[1:], right, END]) > 0
        assert naive_spans([*said[1:], right, END]) == [(words + 2, words)]
        assert stem(right)[0] == stem(wrong)[0] and right != wrong
        nouns = [stem(word)[1] for word in said if chance_of(stem(word)[0], "noun")]
        assert found.misled[replica, row] == (nouns[-1] != nouns[0])
    likely = AGREEMENT.next_distribution(found.contexts)
    assert np.isfinite(np.take_along_axis(likely, found.right[..., None].astype(int), -1)).all()
    assert np.isneginf(np.take_along_axis(likely, found.wrong[..., None].astype(int), -1)).all()


def test_probes_are_as_likely_as_in_the_language():
    found = probes([0], 2, 8000)
    assert_mean(AGREEMENT.category[found.contexts[0, :, 3]] == AGREEMENT.categories.index("place"), place_twice(), 0.3)
    assert_mean(found.right[0] == AGREEMENT.vocabulary.encode(["speak"])[0], share(0, 4) * share(0, 4) / 2, 0.05)
    assert_mean(probes([0], 5, 8000).misled[0], misled_at_five(), 0.1)


def place_twice():
    """P(two words of place | two words come between): else preposition and noun."""
    place, noun = (0.6 * 0.2) ** 2, 0.6 * 0.8 * 0.5 * 0.7
    return place / (place + noun)


def misled_at_five():
    """P(the nearest noun has the other number | five words between): half of all but those without a noun."""
    return (1 - (0.6 * 0.2) ** 5 * 0.4 / spans(5)[5]) / 2
