"""Generated sentence pairs against what their words mean, and Multi30k as it is in the data folder."""

import gzip
import hashlib
import os

import numpy as np
import pytest

from recurlab import corpora
from recurlab.tasks import multi30k
from recurlab.tasks.translation import BEGIN, DIGITS, TENS, TRANSLATIONS, UNITS, drawn_lengths, written
from recurlab.text import END

LENGTHS = np.array([3, 1, 4])
SEEDS = [5, 9]


def pairs_of(name, seeds=SEEDS, purpose="train", step=0, lengths=LENGTHS):
    """Every pair of every replica as two lists of words."""
    task = TRANSLATIONS[name]
    found = task.draw(np.array(seeds), purpose, step, lengths)
    rows = np.ndindex(len(seeds), len(lengths))
    sides = ((task.source, found.source), (task.target, found.target))
    return [[written(types, ids[r, :, b]) for types, ids in sides] for r, b in rows], found


def number(words):
    """The value of "drei hundert vier und zwanzig", as a German reads it."""
    hundreds, hundert, units, und, tens = words
    assert (hundert, und) == ("hundert", "und")
    return 100 * (UNITS.index(hundreds) + 1) + 10 * (TENS.index(tens) + 2) + UNITS.index(units) + 1


MEANING = {
    "copy_words": lambda source: source,
    "reverse_words": lambda source: source[::-1],
    "number_words": lambda source: list("".join(str(number(source[k : k + 5])) for k in range(0, len(source), 5))),
}


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_the_target_is_what_the_source_means_and_both_have_their_lengths(name):
    task = TRANSLATIONS[name]
    pairs, found = pairs_of(name)
    for (source, target), length in zip(pairs, [*LENGTHS, *LENGTHS], strict=True):
        assert target == MEANING[name](source)
        assert (len(source), len(target)) == (task.each[0] * length, task.each[1] * length)
    for ids, lengths, types in zip(found[::2], found[1::2], (task.source, task.target), strict=True):
        assert ids.shape == (2, lengths.max(), 3)
        there = np.arange(ids.shape[1])[:, None] < lengths - 1
        assert ((ids != types.end) == there).all()


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_target_word_comes_from_its_aligned_source_word(name):
    task, known = TRANSLATIONS[name], dict(zip(UNITS, DIGITS, strict=True))
    known |= dict(zip(TENS, DIGITS[1:], strict=True))
    for source, target in pairs_of(name)[0]:
        length = len(target) // task.each[1]
        places = task.aligned(length)
        assert [known.get(([*source, END])[k], ([*source, END])[k]) for k in places] == [*target, END]


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_pairs_depend_on_seed_purpose_and_step_alone(name):
    together = pairs_of(name)[1]
    assert np.array_equal(pairs_of(name, [9])[1].source, together.source[1:])
    changed = {"seeds": [6, 9], "purpose": "test", "step": 1}
    assert all(
        (pairs_of(name, **{key: value})[1].source[0] != together.source[0]).any() for key, value in changed.items()
    )
    with pytest.raises(ValueError, match="purpose"):
        pairs_of(name, purpose="exam")


def test_every_word_but_the_first_of_a_decoder_occurs():
    for name, task in TRANSLATIONS.items():
        seen = [{word for pair in pairs_of(name, range(40))[0] for word in pair[side]} for side in (0, 1)]
        assert seen == [set(task.source.types) - {END}, set(task.target.types) - {END, BEGIN}]


def test_lengths_are_uniform_and_change_with_the_step():
    drawn = drawn_lengths(3, 2, 5, 4000)
    assert np.allclose(np.bincount(drawn) / 4000, [0, 0, *[0.25] * 4], atol=0.03)
    assert not np.array_equal(drawn, drawn_lengths(4, 2, 5, 4000))


# Multi30k


def test_words_are_runs_of_letters_and_single_marks_in_lower_case():
    line = "Zwei Männer in T-Shirts, 3 Äpfel."
    assert multi30k.cut(line) == ["zwei", "männer", "in", "t", "-", "shirts", ",", "3", "äpfel", "."]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A Multi30k of a few lines."""
    lines = {
        "train.de": "Ein Hund.\nEin Hund schläft.\nEine Katze.\n",
        "train.en": "A dog.\nA dog sleeps.\nA cat.\n",
        "val.de": "Ein Hund.\n",
        "val.en": "A dog.\n",
        "test_2016_flickr.de": "Ein Vogel.\n",
        "test_2016_flickr.en": "A bird sleeps.\n",
    }
    (tmp_path / "multi30k").mkdir()
    for name, text in lines.items():
        path = tmp_path / "multi30k" / f"{name}.gz"
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
        known = corpora.Corpus(None, hashlib.sha256(path.read_bytes()).hexdigest())
        monkeypatch.setitem(corpora.FILES, f"multi30k/{name}.gz", known)
    monkeypatch.setenv("RECURLAB_DATA", str(tmp_path))
    multi30k.load.cache_clear()
    yield
    multi30k.load.cache_clear()


def test_a_vocabulary_holds_the_words_that_training_has_twice(shelf):
    data = multi30k.load(None)
    assert data.source.types == ("<unk>", "<eos>", ".", "ein", "hund")
    assert data.target.types == ("<unk>", "<eos>", ".", "a", "dog", "<bos>")
    assert multi30k.load(4).source.types == ("<unk>", "<eos>", ".", "ein")


def test_pairs_are_taken_by_number_and_cut_to_the_longest(shelf):
    data = multi30k.load(None)
    assert (data.train.count, data.valid.count, data.test.count) == (3, 1, 1)
    pairs = data.train.take([2, 0])
    assert written(data.source, pairs.source[:, 0]) == ["<unk>", "<unk>", "."]
    assert written(data.target, pairs.target[:, 1]) == ["a", "dog", "."]
    assert pairs.source.shape == (4, 2) and pairs.source_lengths.tolist() == [4, 4]
    assert data.train.take([1]).target_lengths.tolist() == [5]
    assert data.test.target.words == [["a", "bird", "sleeps", "."]]


@pytest.mark.data
def test_multi30k_has_the_pairs_and_words_that_were_counted():
    if not os.environ.get("RECURLAB_DATA"):
        pytest.skip("RECURLAB_DATA names no folder")
    data = multi30k.load(None)
    assert (data.train.count, data.valid.count, data.test.count) == (29000, 1014, 1000)
    assert (data.source.size, data.target.size) == (7880, 5897)  # 7,878 and 5,894 words, <unk>, <eos>, in English <bos>
    assert multi30k.load(4000).target.size == 4001
    assert data.test.target.words[0][:4] == ["a", "man", "in", "an"]
