"""n-grams on real corpora: published perplexities, Kneser-Ney on characters, the pairs of Shakespeare, seconds."""

import os
import time

import numpy as np
import pytest

from recurlab import text
from recurlab.models.ngram import SMOOTHINGS, SRILM_CUTOFFS, count, log_probabilities, shortened

pytestmark = pytest.mark.data


def known(name, level="word", **settings):
    if not os.environ.get("RECURLAB_DATA"):
        pytest.skip("RECURLAB_DATA names no folder")
    return text.load(name, level, **settings)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """A cache of its own for this file: each corpus is read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECURLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def ptb():
    corpus = known("ptb")
    return corpus, count(corpus.train, corpus.vocabulary.size, 5, "reset", corpus.vocabulary.end)


def perplexity(model, tokens):
    return np.exp(-log_probabilities(model, tokens).mean())


# Mikolov 2012 (PhD thesis, Brno), table 4.1. GT: SRILM's default, without n-grams of 3 and more words that occur once;
# KN: -kndiscount -interpolate, with them.
MIKOLOV = {
    ("good_turing", 3): (165.2, SRILM_CUTOFFS[:3]),
    ("good_turing", 5): (162.3, SRILM_CUTOFFS[:5]),
    ("modified_kneser_ney", 3): (148.3, ()),
    ("modified_kneser_ney", 5): (141.2, ()),
}


@pytest.mark.parametrize(("name", "order"), MIKOLOV)
def test_penn_treebank_has_the_published_perplexities(ptb, name, order):
    published, cutoffs = MIKOLOV[name, order]
    model = SMOOTHINGS[name](shortened(ptb[1], order), cutoffs=cutoffs)
    assert perplexity(model, ptb[0].test) == pytest.approx(published, abs=0.05)  # to the published digit


def test_what_the_flags_of_a_known_script_give(ptb):
    """-order 5 -kndiscount -interpolate -unk -gt3min 1 -gt4min 1: what is left out, -gt5min, is 2 by default.

    So 5-grams that occur once are dropped, 97 % of them, and the perplexity is 141.46 in place of 141.19.
    """
    model = SMOOTHINGS["modified_kneser_ney"](ptb[1], cutoffs=(1, 1, 1, 1, 2))
    assert model.entries[:4] == (10_001, 264_990, 586_558, 717_733) and model.entries[4] == 22_983
    assert perplexity(model, ptb[0].test) == pytest.approx(141.46, abs=0.01)


def test_penn_treebank_takes_seconds(ptb):
    corpus, start = ptb[0], time.perf_counter()
    counts = count(corpus.train, corpus.vocabulary.size, 5, "reset", corpus.vocabulary.end)
    perplexity(SMOOTHINGS["modified_kneser_ney"](counts), corpus.test)
    assert time.perf_counter() - start < 10


def test_kneser_ney_on_the_characters_of_tiny_shakespeare():
    """One discount a length, none for single characters; the last 10 % of the text, without a look into the rest."""
    corpus = known("tinyshakespeare", "character", shares=(90, 100))
    counts = count(corpus.train, 65, 8)
    losses = [
        -log_probabilities(SMOOTHINGS["kneser_ney"](shortened(counts, n), uniform=False), corpus.valid).mean()
        for n in range(1, 9)
    ]
    expected = [3.3473, 2.4844, 2.0449, 1.7290, 1.5789, 1.5581, 1.5648, 1.5741]
    np.testing.assert_allclose(losses, expected, atol=1e-4)
    best = -log_probabilities(SMOOTHINGS["modified_kneser_ney"](shortened(counts, 7)), corpus.valid).mean()
    assert best == pytest.approx(1.5165, abs=1e-4)  # three discounts: the best of orders 4 to 10


def test_two_million_words_of_wikipedia_take_seconds():
    corpus, start = known("wikitext2"), time.perf_counter()
    counts = count(corpus.train, corpus.vocabulary.size, 5, "reset", corpus.vocabulary.end)
    found = perplexity(SMOOTHINGS["modified_kneser_ney"](counts), corpus.test)
    assert time.perf_counter() - start < 20 and found == pytest.approx(220.14, abs=0.01)


def test_the_pairs_of_shakespeare_that_were_never_written():
    """Jurafsky & Martin: 884,647 tokens, 29,066 types, 300,000 pairs, 99.96 % of V² never seen.

    Here: Gutenberg's complete works, letters a-z with inner apostrophes and hyphens, in lower case.
    """
    works = known("shakespeare", "lower_case", shares=(100, 100))
    counts = count(works.train, works.vocabulary.size, 2)
    types, pairs = np.diff(counts.trie.starts)[1:]
    assert (len(works.train), types) == (955_564, 31_140) and 1 - pairs / types**2 > 0.9996
