"""The estimator whose unit is a test sentence and not a seed: a difference of two BLEU scores."""

import numpy as np

from recurlab.claims.estimate import Estimate
from recurlab.measures import bleu
from recurlab.rows import CONFIDENCE, RESAMPLES, select


def bleu_difference(frame, claim: dict) -> Estimate:
    """BLEU of group a less that of group b, `between: {column: [a, b]}`; percentile interval over test sentences.

    Paired bootstrap (Koehn 2004): both groups get the same sentences, drawn with replacement; the scores of several
    seeds are averaged. The interval says what other test sentences would change, and nothing of other trainings; n is
    the number of sentences. A row is one sentence (column `sentence`) with the counts of `measures.bleu`, and `y` names
    the score for the reader. Raises ValueError unless all seeds of both groups have the same sentences.
    """
    ((column, groups),) = claim["between"].items()
    a, b = (_systems(select(frame, {column: group})) for group in groups)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"column '{column}': {a.shape[1]} sentences in {groups[0]}, {b.shape[1]} in {groups[1]}")
    estimate = np.mean([bleu.bleu(counts) for counts in a]) - np.mean([bleu.bleu(counts) for counts in b])
    samples = [bleu.resampled(systems, RESAMPLES).mean(axis=1) for systems in (a, b)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples[0] - samples[1], [tail, 1 - tail])
    return Estimate(float(estimate), float(low), float(high), a.shape[1])


def _systems(frame) -> np.ndarray:
    """The counts of every seed's sentences in their order, int64 (seeds, S, 6)."""
    missing = [name for name in ("sentence", *bleu.COLUMNS) if name not in frame]
    if missing:
        raise ValueError(f"the table has no columns {', '.join(missing)}")
    parts = [rows.sort_values("sentence") for _, rows in frame.groupby("seed")]
    sentences = parts[0]["sentence"].to_numpy()
    if not all(np.array_equal(part["sentence"], sentences) for part in parts) or len(np.unique(sentences)) < len(
        sentences
    ):
        raise ValueError("column 'sentence': seeds with different sentences, or one twice: narrow `where`")
    return np.stack([part[list(bleu.COLUMNS)].to_numpy(np.int64) for part in parts])
