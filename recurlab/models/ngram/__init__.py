"""n-gram models of any order: counts in a tree of sorted whole numbers, smoothings, files in the ARPA format.

counts = count(text.train, text.vocabulary.size, 5, "reset", text.vocabulary.end)
model = SMOOTHINGS["kneser_ney"](counts)
perplexity = np.exp(-log_probabilities(model, text.test).mean())
"""

from recurlab.models.ngram.arpa import read_arpa, write_arpa
from recurlab.models.ngram.counting import Counts, Trie, count, shortened
from recurlab.models.ngram.estimate import SRILM_CUTOFFS
from recurlab.models.ngram.model import Model, known_lengths, log_probabilities, next_distribution, stream
from recurlab.models.ngram.smoothing import SMOOTHINGS

__all__ = [
    "SMOOTHINGS",
    "SRILM_CUTOFFS",
    "Counts",
    "Model",
    "Trie",
    "count",
    "known_lengths",
    "log_probabilities",
    "next_distribution",
    "read_arpa",
    "shortened",
    "stream",
    "write_arpa",
]
