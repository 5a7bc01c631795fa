"""Sparsity: independent words beside exact sums, laws of growth and rank, and the study's rows counted by hand."""

import os
from itertools import pairwise

import naive_ngram
import numpy as np
import pytest

from recurlab import text
from recurlab.cli import main
from recurlab.measures import sparsity as measures
from recurlab.models.ngram import SMOOTHINGS, count, known_lengths
from recurlab.studies.sparsity import sparsity
from recurlab.tasks.grammar import AGREEMENT
from recurlab.tasks.zipf import ZIPF, ZipfWords

SETTINGS = {"level": "word", "least_count": 1, "train_share": 100, "sizes": (200, 1000), "test_tokens": 500}
SETTINGS |= {"longest": 3, "smoothings": ("witten_bell",), "hidden_size": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    monkeypatch.setenv("RECURLAB_CACHE", str(tmp_path / "cache"))


def run(seeds=(0,), **changes):
    return sparsity(seeds=np.array(seeds), **(SETTINGS | changes))


def where(found, **wanted):
    """The rows with these values, each a dict."""
    rows = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


# independent words


def test_shares_are_one_over_the_rank():
    words = ZipfWords(4)
    np.testing.assert_allclose(words.shares, np.array([12, 6, 4, 3]) / 25, rtol=1e-15)
    assert words.entropy == pytest.approx(-(words.shares * np.log(words.shares)).sum(), rel=1e-15)
    drawn = words.draw(range(20), "train", 0, 5000)
    assert drawn.shape == (20, 5000) and drawn.dtype == np.int32
    shares = np.bincount(drawn.ravel(), minlength=4) / drawn.size
    assert np.abs(shares - words.shares).max() < 5 * np.sqrt(0.25 / drawn.size)


def test_a_longer_stream_begins_with_the_shorter_and_seeds_are_alone():
    long, short = ZIPF.draw([3, 4], "test", 0, 900), ZIPF.draw([4], "test", 0, 300)
    assert np.array_equal(long[1, :300], short[0]) and not np.array_equal(long[0], long[1])
    assert np.array_equal(ZIPF.text(4, 10, 10, 300).test, short[0])


def test_expected_numbers_of_words_are_the_sums_over_all_texts():
    """Three words, texts of four: all 81 of them."""
    words = ZipfWords(3)
    texts = np.stack(np.meshgrid(*[range(3)] * 4), axis=-1).reshape(-1, 4)
    chances = words.shares[texts].prod(axis=1)
    kinds = np.array([len(set(row)) for row in texts.tolist()])
    unseen = np.array([sum(words.shares[w] for w in range(3) if w not in row) for row in texts.tolist()])
    assert words.expected_types(4) == pytest.approx(chances @ kinds, rel=1e-13)
    assert words.expected_unseen(4) == pytest.approx(chances @ unseen, rel=1e-13)


# measures


def test_a_power_law_is_found_exactly():
    x = np.array([1, 10, 200])
    law = measures.power_law(x, 3 * x**0.7)
    assert law.exponent == pytest.approx(0.7, rel=1e-12) and law.factor == pytest.approx(3, rel=1e-12)
    np.testing.assert_allclose(law.at(x), 3 * x**0.7, rtol=1e-12)
    assert np.isnan(measures.power_law([5, 5], [1, 2])).all()


def test_ranks_are_those_of_a_sorted_dict():
    tokens = np.random.default_rng(0).zipf(1.3, 3000).clip(max=500) - 1
    counts = count(tokens, 500, 2)
    grams = naive_ngram.occurrences(tokens.tolist(), 2)
    expected = sorted((c for gram, c in grams.items() if len(gram) == 2), reverse=True)
    ranks, frequencies = measures.by_rank(counts, 2)
    assert ranks[:8].tolist() == [1, 2, 3, 4, 6, 7, 10, 13] and ranks[-1] > len(expected) / 1.4
    assert frequencies.tolist() == [expected[rank - 1] for rank in ranks]
    law, fitted = measures.zipf_law(ranks, frequencies)
    often = frequencies >= 10
    assert law == measures.power_law(ranks[often], frequencies[often])
    assert np.array_equal(fitted[often], law.at(ranks[often])) and np.isnan(fitted[~often]).all()


@pytest.mark.parametrize(("protocol", "end"), [("carry", None), ("reset", 7)])
def test_types_are_counted_without_the_beginning_of_sentences(protocol, end):
    tokens = np.random.default_rng(1).integers(0, 12, 300)
    grams = naive_ngram.occurrences(tokens.tolist(), 3, end)
    expected = [sum(len(gram) == n for gram in grams) for n in (1, 2, 3)]
    assert measures.types(count(tokens, 12, 3, protocol, end)).tolist() == expected


def test_a_network_has_the_bytes_of_its_parameters():
    """V = 10, H = 3: embeddings, input and recurrent weights with two biases for four gates, softmax."""
    assert measures.network_bytes(10, 3) == 4 * (10 * 3 + 4 * 3 * (3 + 3 + 2) + 10 * 3 + 10)


# the study


def test_rows_are_what_counting_by_hand_gives():
    found = run(corpus="agreement", sizes=(1000, 200))
    drawn = AGREEMENT.text(0, 1000, 1, 500)
    for tokens in (200, 1000):
        grams = naive_ngram.occurrences(drawn.train[:tokens].tolist(), 3)
        words = sum(len(gram) == 1 for gram in grams)
        for n in (1, 2, 3):
            (row,) = where(found, quantity="growth", tokens=tokens, order=n)
            types = sum(len(gram) == n for gram in grams)
            assert (row["types"], row["whole"]) == (types, tokens == 1000)
            assert row["seen_share"] == pytest.approx(types / words**n, rel=1e-12)
            assert row["log10_possible"] == pytest.approx(n * np.log10(words), rel=1e-12)
            test = [tuple(drawn.test[t : t + n].tolist()) for t in range(500 - n + 1)]
            assert row["unseen"] == pytest.approx(np.mean([gram not in grams for gram in test]), rel=1e-12)
            naive = naive_ngram.Model("witten_bell", drawn.train[:tokens].tolist(), 100, n)
            assert row["loss"] == pytest.approx(-np.mean(naive.log_probabilities(drawn.test.tolist())), rel=1e-10)
            best = -AGREEMENT.log_probabilities(drawn.test, n - 1).mean()
            assert row["best_loss"] == pytest.approx(best, rel=1e-12)
            assert row["excess"] == pytest.approx(row["loss"] - best, rel=1e-9)
            entries = sum(len(gram) <= n for gram in grams)
            assert row["entries"] == entries and 28 * entries < row["table_bytes"] < 28 * entries + 200


def test_losses_of_counted_and_new_contexts_make_up_the_whole():
    found = run(corpus="agreement")
    drawn = AGREEMENT.text(0, 1000, 1, 500)
    lengths = known_lengths(SMOOTHINGS["witten_bell"](count(drawn.train, 100, 3)), drawn.test)
    (whole,) = where(found, quantity="growth", tokens=1000, order=3)
    parts = where(found, quantity="contexts", tokens=1000, order=3)
    assert [row["context"] for row in parts] == ["counted", "new"]
    assert parts[0]["share"] == pytest.approx((lengths[:-1] >= 2).sum() / 500, rel=1e-12)
    for name in ("loss", "best_loss", "excess"):
        assert sum(row["share"] * row[name] for row in parts) == pytest.approx(whole[name], rel=1e-9)
    assert [row["context"] for row in where(found, quantity="contexts", order=1)] == ["counted"] * 2


def test_the_laws_are_fitted_to_the_rows_beside_them():
    found = run(corpus="zipf", sizes=(100, 1000, 5000), longest=1)
    rows = where(found, quantity="growth")
    law = measures.power_law([100, 1000, 5000], [row["types"] for row in rows])
    assert {row["heaps_exponent"] for row in rows} == {law.exponent}
    np.testing.assert_allclose([row["fitted_types"] for row in rows], law.at([100, 1000, 5000]), rtol=1e-12)
    expected = np.array([ZIPF.expected_types(n) for n in (100, 1000, 5000)])
    assert (np.abs([row["types"] for row in rows] - expected) < 4 * np.sqrt(expected)).all()  # variance < expectation
    ranks = where(found, quantity="ranks")
    assert ranks[0]["tokens"] == 5000 and ranks[0]["zipf_exponent"] == pytest.approx(1, abs=0.2)


def test_a_text_of_ones_own_is_counted_in_stretches_and_as_a_whole(tmp_path):
    path = tmp_path / "own.txt"
    words = [f"w{k % 13 * (k % 7)}" for k in range(2000)]
    path.write_text("\n".join(" ".join(pair) for pair in pairwise(words)) + "\n", encoding="utf-8")
    given = {"corpus": str(path), "train_share": 90, "least_count": 2, "sizes": (100, 10**9), "longest": 2}
    found = run((0, 1), **given)
    known = text.load(str(path), least_count=2, shares=(90, 90))
    sizes = {row["tokens"] for row in where(found, quantity="growth")}
    assert sizes == {100, len(known.train)} and set(found["text"]) == {"own, word, <unk>"}
    short = [where(found, quantity="growth", replica=r, tokens=100, order=2)[0]["types"] for r in (0, 1)]
    whole = [where(found, quantity="growth", replica=r, whole=1, order=2)[0]["loss"] for r in (0, 1)]
    assert short[0] != short[1] and whole[0] == whole[1]
    assert np.isnan([row["best_loss"] for row in where(found, quantity="growth")]).all()


def test_without_test_text_there_are_counts_alone(tmp_path):
    (tmp_path / "own.txt").write_text("a b a\nb a c\n", encoding="utf-8")
    rows = where(run(corpus=str(tmp_path / "own.txt"), sizes=(100,)), quantity="growth")
    assert [row["types"] for row in rows] == [4, 6, 6] and np.isnan([row["loss"] for row in rows]).all()
    assert all(row["table_bytes"] > 0 and np.isnan(row["unseen"]) for row in rows)


@pytest.mark.data
def test_the_experiment_on_real_texts_runs_from_files_to_verdicts(tmp_path, capsys):
    if not os.environ.get("RECURLAB_DATA"):
        pytest.skip("RECURLAB_DATA names no folder")
    fewer = ["--set", "fixed.sizes=[2000, 20000]", "--set", "fixed.test_tokens=2000"]
    assert main(["run", "sparsity_texts", "--scale", "quick", *fewer, "--results", str(tmp_path), "--jobs", "1"]) == 0
    assert "reproduced" in capsys.readouterr().out
