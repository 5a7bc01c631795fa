"""BLEU from counts of sentences against sacrebleu on texts, and the estimator that draws sentences again."""

import numpy as np
import pandas as pd
import pytest
import sacrebleu

from recurlab.claims import check
from recurlab.claims.sentences import bleu_difference
from recurlab.measures import bleu
from recurlab.random import Stream, integers, uniform

WORDS = np.array(["the", "a", "man", "dog", "runs", "sits", ".", ","])
BETWEEN = {"between": {"model": ["good", "bad"]}}


def sentences(name, count=60, shortest=1):
    lengths = shortest + integers(Stream(0, f"lengths {name}"), 12, (count,))
    return [" ".join(WORDS[integers(Stream(0, name, k), len(WORDS), (n,))]) for k, n in enumerate(lengths)]


def spoilt(references, share):
    """The references with so many words replaced by one that no reference has."""
    kept = (uniform(Stream(0, f"spoilt {share}", k), (len(r.split()),)) >= share for k, r in enumerate(references))
    return [" ".join(np.where(k, r.split(), "?")) for k, r in zip(kept, references, strict=True)]


REFERENCES = sentences("references")


@pytest.mark.parametrize(
    "hypotheses",
    [spoilt(REFERENCES, 0.2), sentences("others"), [""] * 60, ["", *REFERENCES[:-1]], ["dog"] * 60, REFERENCES],
    ids=["some words wrong", "other sentences", "nothing", "shifted, one empty", "one word", "the references"],
)
def test_the_score_of_counts_is_sacrebleus_of_texts(hypotheses):
    counts = bleu.sentence_counts(hypotheses, REFERENCES)
    expected = sacrebleu.corpus_bleu(hypotheses, [REFERENCES], tokenize="none", force=True)
    assert counts.shape == (60, len(bleu.COLUMNS))
    assert counts.sum(axis=0).tolist() == [expected.sys_len, expected.ref_len, *expected.counts]
    assert bleu.bleu(counts) == expected.score


def test_the_signature_says_how_texts_are_cut_and_the_version():
    expected = f"nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:{sacrebleu.__version__}"
    assert bleu.signature() == expected


def test_as_many_hypotheses_as_references():
    with pytest.raises(ValueError, match="hypotheses: expected 60, as references, got 59"):
        bleu.sentence_counts(REFERENCES[1:], REFERENCES)


def test_systems_are_scored_on_the_same_drawn_sentences():
    one, other = (bleu.sentence_counts(spoilt(REFERENCES, share), REFERENCES) for share in (0.2, 0.5))
    scores = bleu.resampled(np.stack([one, other, one]), 200)
    assert np.array_equal(scores[:, 0], scores[:, 2])
    assert np.array_equal(scores[:, 1], bleu.resampled(other[None], 200)[:, 0])
    assert abs(scores[:, 0].mean() - bleu.bleu(one)) < 1 and scores[:, 0].std() > 1


def rows_of(model, share, seed, count=60):
    counts = bleu.sentence_counts(spoilt(REFERENCES[:count], share), REFERENCES[:count])
    frame = pd.DataFrame(counts, columns=bleu.COLUMNS).assign(model=model, seed=seed, sentence=range(count))
    return frame.assign(bleu=bleu.bleu(counts)).sample(frac=1, random_state=seed)


def test_the_difference_averages_seeds_and_has_the_percentiles_of_paired_resamples(monkeypatch):
    monkeypatch.setattr("recurlab.claims.sentences.RESAMPLES", 400)
    parts = [("good", 0.1, 0), ("good", 0.2, 1), ("bad", 0.4, 0), ("bad", 0.5, 1)]
    frame = pd.concat([rows_of(*part) for part in parts])
    found = bleu_difference(frame, BETWEEN)
    a, a2, b, b2 = (bleu.sentence_counts(spoilt(REFERENCES, share), REFERENCES) for _, share, _ in parts)
    scores = bleu.resampled(np.stack([a, a2, b, b2]), 400)
    differences = scores[:, :2].mean(axis=1) - scores[:, 2:].mean(axis=1)
    assert found.estimate == pytest.approx((bleu.bleu(a) + bleu.bleu(a2) - bleu.bleu(b) - bleu.bleu(b2)) / 2)
    assert (found.low, found.high) == pytest.approx(np.quantile(differences, [0.025, 0.975]))
    assert found.n == 60 and found.low < found.estimate < found.high


def test_a_difference_of_bleu_needs_the_same_sentences_once_each():
    good, bad = rows_of("good", 0.1, 0), rows_of("bad", 0.4, 0)
    with pytest.raises(ValueError, match="60 sentences in good, 59 in bad"):
        bleu_difference(pd.concat([good, rows_of("bad", 0.4, 0, 59)]), BETWEEN)
    with pytest.raises(ValueError, match="seeds with different sentences, or one twice"):
        bleu_difference(pd.concat([good, bad, bad]), BETWEEN)
    with pytest.raises(ValueError, match="no columns sentence"):
        bleu_difference(pd.concat([good, bad]).drop(columns="sentence"), BETWEEN)
    claim = {"says": "better", "test": "bleu_difference", "y": "bleu", "at_least": 0} | BETWEEN
    assert check(claim, ["seed", "bleu", "model"]) == []
