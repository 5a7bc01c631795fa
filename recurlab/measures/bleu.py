"""BLEU (Papineni et al. 2002) as sacrebleu has it, from counts of single sentences that can be drawn again.

A sentence is six numbers: the lengths of hypothesis and reference, and how many of its n-grams, n = 1 … 4, match. The
score of a corpus is a function of their sum, so resampled corpora need no text. Texts come as words with spaces between
them: how they were cut is the task's business, and sacrebleu cuts them no further (tok:none in the signature).
"""

from functools import cache

import numpy as np

from recurlab.layers.checks import expect
from recurlab.random import Stream, integers

ORDERS = 4
COLUMNS = ("hypothesis_length", "reference_length", *(f"matches_{n}" for n in range(1, ORDERS + 1)))


@cache
def _metric():
    from sacrebleu.metrics import BLEU  # 0.2 s to import: only for those who score

    return BLEU(tokenize="none", force=True)  # force: no warning that the texts are cut already


def signature() -> str:
    """What sacrebleu says of the metric: references, case, tokeniser, smoothing, version."""
    metric = _metric()
    metric.corpus_score(["a"], [["a"]])  # the number of references is known behind a score
    return str(metric.get_signature())


def sentence_counts(hypotheses: list[str], references: list[str]) -> np.ndarray:
    """The numbers of COLUMNS for every sentence, int64 (S, 6); ValueError unless there are as many of both."""
    expect(len(hypotheses) == len(references), "hypotheses", len(hypotheses), f"{len(references)}, as references")
    scores = [_metric().corpus_score([h], [[r]]) for h, r in zip(hypotheses, references, strict=True)]
    return np.array([[score.sys_len, score.ref_len, *score.counts] for score in scores], np.int64)


def bleu(counts: np.ndarray) -> float:
    """Corpus BLEU, 0 to 100, of sentences with these counts (S, 6)."""
    hypothesis, reference, *matches = counts.sum(axis=0).tolist()
    possible = np.maximum(counts[:, :1] - np.arange(ORDERS), 0).sum(axis=0).tolist()  # n-grams of the hypotheses
    return _metric().compute_bleu(matches, possible, hypothesis, reference, _metric().smooth_method).score


def resampled(systems: np.ndarray, samples: int) -> np.ndarray:
    """Corpus BLEU of K systems on corpora of S sentences drawn with replacement from theirs: (K, S, 6) -> (samples, K).

    Koehn 2004. All systems get the same corpora, so their differences are paired; every corpus has its own address.
    """
    sentences = systems.shape[1]
    scores = np.empty((samples, len(systems)))
    for sample in range(samples):
        drawn = integers(Stream(0, "bleu sentences", sample), sentences, (sentences,))
        scores[sample] = [bleu(counts[drawn]) for counts in systems]
    return scores
