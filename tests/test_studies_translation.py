"""Studies of translation: what they count, by hand and by sacrebleu; gradients on both ways against differences."""

import os
from itertools import product

import numpy as np
import pytest
import sacrebleu
from test_studies import SMALL, run
from test_translation import END, SOURCE, B, R, network
from test_translation_tasks import shelf  # noqa: F401 - a fixture

from recurlab.measures import attention as measures
from recurlab.measures import bleu
from recurlab.models import translation as models
from recurlab.models.beam_search import Written
from recurlab.models.pairs import Pairs
from recurlab.studies import translated
from recurlab.studies.attention import EXAMPLES
from recurlab.studies.attention import problems as attention_problems
from recurlab.studies.translation import _compared, problems
from recurlab.tasks.translation import TRANSLATIONS, written


def test_a_translation_is_compared_word_by_word_with_its_reference():
    corpus = translated.generated("reverse_words", (1, 4), (3,), 4, 8)
    (test,) = corpus.test(np.array([0]))
    end, right = corpus.target.end, test.pairs.target[0].T  # (4, 4): three words and <eos>
    words = np.full((1, 4, 6), end)
    words[0, 0, :4] = right[0]
    words[0, 1, :3] = (right[1, 0], (right[1, 1] + 1) % 20, right[1, 2])
    words[0, 2, :5] = (*right[2, :3], right[2, 0], right[2, 1])
    found = _compared(corpus, test, Written(words, np.zeros((1, 4)), np.array([[4, 4, 6, 1]])))
    assert found["exact"].tolist() == [[1, 0, 0, 0]]
    assert found["accuracy"].tolist() == [[1.0, 0.75, 0.75, 0.0]]  # the third goes on, the last ends at once
    assert found["hypothesis_length"].tolist() == [[3, 3, 5, 0]] and found["reference_length"].tolist() == [[3] * 4]
    short = _compared(corpus, test, Written(words[:, :, :2], np.zeros((1, 4)), np.array([[2, 2, 2, 1]])))
    assert short["accuracy"].tolist() == [[0.5, 0.25, 0.5, 0.0]]


def test_scores_of_a_run_and_of_a_length_are_sacrebleus():
    corpus = translated.generated("reverse_words", (1, 3), (5, 9), 6, 4)
    found = run("translation", [3], test_lengths=(5, 9), test_sentences=6, beam_sizes=(2,), length_power=0.0)
    assert found["sentence"].tolist() == list(range(12)) and set(found["beam_size"]) == {2}
    references = [text for test in corpus.test(np.array([3])) for text in test.references[0]]
    assert [len(text.split()) for text in references] == found["reference_length"].tolist() == [5] * 6 + [9] * 6
    counts = np.stack([found[name] for name in bleu.COLUMNS], axis=1)
    assert np.allclose(found["bleu"], bleu.bleu(counts))
    assert np.allclose(found["class_bleu"], np.repeat([bleu.bleu(counts[:6]), bleu.bleu(counts[6:])], 6))
    assert np.allclose(found["stretch"], found["length"] / 3)
    assert set(found["signature"]) == {f"nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:{sacrebleu.__version__}"}


def test_beams_share_the_weights_and_the_teacher_forced_loss():
    found = run("translation", [3, 4])
    one, three = (found["beam_size"] == k for k in (1, 3))
    for name in ("sentence", "loss", "valid_loss", "weights"):
        assert np.array_equal(found[name][one], found[name][three]), name


def test_given_pairs_are_the_same_for_all_seeds_and_classed_by_their_words(shelf):  # noqa: F811
    lengths = dict.fromkeys(("train_lengths", "test_lengths", "test_sentences"))
    found = run("translation", [0, 1], dataset="multi30k", batch_size=2, beam_sizes=(1,), score=None, **lengths)
    assert found["replica"].tolist() == [0, 1] and found["length"].tolist() == [3, 3]
    assert found["length_class"].tolist() == [4, 4] and np.allclose(found["stretch"], 3 / 4)
    assert found["reference_length"].tolist() == [4, 4]  # a bird sleeps .
    assert set(found["network"]) == {"lstm, forget bias 1, no attention"} and set(found["attention"]) == {
        "without attention"
    }


@pytest.mark.data
def test_multi30k_is_tested_on_all_its_sentences():
    if not os.environ.get("RECURLAB_DATA"):
        pytest.skip("RECURLAB_DATA names no folder")
    lengths = dict.fromkeys(("train_lengths", "test_lengths", "test_sentences"))
    found = run(
        "translation", [0], dataset="multi30k", vocabulary_size=50, batch_size=64, updates=2, beam_sizes=(1,), **lengths
    )
    assert sorted(found["sentence"]) == list(range(1000))
    assert set(found["length_class"]) == {8, 12, 16, 20, 24} and found["length"].max() == 35


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dataset": "multi30k"}, "train_lengths: got (1, 3), wanted null for multi30k"),
        ({"test_sentences": None}, "test_sentences: got null, wanted one for reverse_words"),
        ({"vocabulary_size": 100}, "vocabulary_size: got 100, wanted null for reverse_words"),
        ({"hidden_size": 5}, "hidden_size: got 5, wanted an even number"),
        ({"train_lengths": (3, 1)}, "train_lengths: got 3 to 1, wanted the shortest first"),
        ({"cell": "rnn_tanh"}, "rnn_tanh has no gate that keeps the state"),
    ],
)
def test_settings_that_do_not_go_together_are_told(changed, said):
    assert problems(SMALL["translation"]) == [] and attention_problems(SMALL["attention"]) == []
    assert any(said in problem for problem in problems(SMALL["translation"] | changed))
    if set(changed) == {"train_lengths"}:
        assert any(said in problem for problem in attention_problems(SMALL["attention"] | changed))


# attention


def test_rows_of_attention_are_gradients_learning_alignment_and_weights():
    found = run("attention", [0, 1])
    of = {name: found["quantity"] == name for name in ("gradient", "learning", "alignment", "weight")}
    assert sum(map(np.sum, of.values())) == len(found["replica"])
    lags = found["lag"][of["gradient"] & (found["way"] == "attention") & (found["replica"] == 0)]
    assert sorted(lags) == list(range(1, 17))  # three numbers of five words, and <eos>
    assert np.isfinite(found["log10_gradient_norm"][of["gradient"]]).all()
    assert set(found["update"][of["learning"]]) == set(range(1, 11))
    shares = np.zeros((2, 7))
    weights = {name: found[name][of["weight"]] for name in ("replica", "target_place", "source_place", "weight")}
    np.add.at(shares, (weights["replica"], weights["target_place"]), weights["weight"])
    assert np.allclose(shares, 1)
    first = of["weight"] & (found["replica"] == 0)
    words = {
        int(k): str(word) for k, word in zip(found["source_place"][first], found["source_word"][first], strict=True)
    }
    assert [words[k] for k in range(11)] == [*EXAMPLES["number_words"][0].split(), "<eos>"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_sentences_of_their_task(name):
    task, (source, target) = TRANSLATIONS[name], EXAMPLES[name]
    length = len(source.split()) // task.each[0]
    drawn_pairs = task.draw(np.arange(3), "train", 0, np.array([length]))
    texts = [
        (" ".join(written(task.source, s[:, 0])), " ".join(written(task.target, t[:, 0])))
        for s, t in zip(drawn_pairs.source, drawn_pairs.target, strict=True)
    ]
    places = task.aligned(length)[:-1]
    meaning = {s.split()[k]: t for s, text in texts for k, t in zip(places, text.split(), strict=True)}
    known = [(s, t) for s, t in zip((source.split()[k] for k in places), target.split(), strict=True) if s in meaning]
    assert known and all(meaning[s] == t for s, t in known)
    assert len(target.split()) == length * task.each[1]


def test_alignment_counts_words_at_and_beside_their_place():
    weights = np.array([[[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], [[0.2, 0.5, 0.3], [0.8, 0.1, 0.1]]]])  # (1, 2, 2, 3)
    found = measures.alignment(weights, np.array([0, 2]))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"aligned_weight": (0.7 + 0.6 + 0.2 + 0.1) / 4, "aligned": 0.5, "near": 0.75}
    )


def slopes(loss, params, place):
    """The norm of the slopes of loss(params) (R, B) along the three numbers of a word's embedding."""
    found = []
    for number in range(3):
        ends = [
            loss(params | {"weight_source": _moved(params["weight_source"], place, number, h)}) for h in (1e-5, -1e-5)
        ]
        found.append((ends[0] - ends[1]) / 2e-5)
    return np.linalg.norm(found, axis=0)


@pytest.mark.parametrize("name", ["tanh", "lstm"])
def test_without_attention_all_of_the_gradient_comes_through_the_states(name):
    net, params = network(name)
    source = np.arange(SOURCE.max())[:, None] * np.ones((1, B), int)  # every word of a sentence is another one
    pairs = Pairs(source, SOURCE, np.full((1, B), END), np.ones(B, int))
    ways = measures.gradient_by_way(net, params, pairs, 0)
    assert np.isneginf(ways["attention"]).all()
    assert np.isneginf(ways["states"][:, np.arange(SOURCE.max())[:, None] >= SOURCE]).all()
    for place in range(SOURCE.max()):
        expected = slopes(lambda p: models.log_probabilities(net, p, pairs), params, place)
        assert np.allclose(10 ** ways["states"][:, place], expected, rtol=1e-6, atol=1e-10)


def test_the_ways_are_what_is_left_when_the_other_one_is_held():
    net, params = network("gru, dot")
    pairs = Pairs(np.array([[0], [1], [2]]), np.array([3]), np.array([[END]]), np.array([1]))
    ways, begin = measures.gradient_by_way(net, params, pairs, 0), np.full((R, 1), net.begin)
    held = models.encode(net, params, pairs.source, pairs.source_lengths)

    def loss(p, way):
        moved = models.encode(net, p, pairs.source, pairs.source_lengths)
        encoded, states = (moved[0], held[1]) if way == "attention" else (held[0], moved[1])
        return models.next_words(net, params, encoded, pairs.source_lengths)(states, begin)[0][..., END]

    for way, place in product(measures.WAYS, range(3)):
        expected = slopes(lambda p: loss(p, way), params, place)  # noqa: B023 - used at once
        assert np.allclose(10 ** ways[way][:, place], expected, rtol=1e-6)


def _moved(weight, word, number, step):
    moved = weight.copy()
    moved[:, word, number] += step
    return moved
