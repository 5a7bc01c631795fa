"""Documents as bags of words: how often each word stands in a document, and nothing of where.

The counts are scikit-learn's CountVectorizer, the classifier of them its LogisticRegression: L2 penalty of weight
1 / (2 C) beside the sum of the losses, by L-BFGS.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from recurlab.blas import on_one_thread

ITERATIONS = 1000  # of L-BFGS at most; 100 documents need 20


class BagOfWords(NamedTuple):
    """A fitted classifier of documents, each a sequence of words. Made by `fit`."""

    counter: CountVectorizer
    classifier: LogisticRegression


@on_one_thread
def fit(documents: Sequence[Sequence[str]], labels: np.ndarray, C: float = 1.0) -> BagOfWords:
    """Fit to documents and their classes (N,); ValueError without words or with one class only."""
    counter = CountVectorizer(analyzer=list)
    counts = counter.fit_transform(documents)
    return BagOfWords(counter, LogisticRegression(C=C, max_iter=ITERATIONS).fit(counts, labels))


def bags(model: BagOfWords, documents: Sequence[Sequence[str]]) -> np.ndarray:
    """How often each known word stands in each document, (N, V); words that are not known do not count."""
    return model.counter.transform(documents).toarray()


@on_one_thread
def predict(model: BagOfWords, documents: Sequence[Sequence[str]]) -> np.ndarray:
    """The class of each document, (N,)."""
    return model.classifier.predict(model.counter.transform(documents))
