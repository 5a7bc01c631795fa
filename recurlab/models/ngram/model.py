"""A back-off model: p(w | h) = p of the n-gram h w if the table has it, else back(h) p(w | h without its first word).

Interpolated models have this form too: the table holds the sum over the orders, back(h) the weight of the lower ones. A
context that the table lacks is shortened until it has it: behind a history that was never seen p is that behind its
longest suffix that was.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from recurlab.kernels import trie
from recurlab.layers.checks import expect
from recurlab.models.ngram.counting import BEGIN, Trie, checked

PIECE = 1 << 20  # tokens scored at a time: a text may be longer than memory


class Model(NamedTuple):
    """The table. p of the empty n-gram is that of every word where no n-gram says anything, 1/V."""

    trie: Trie
    log_p: np.ndarray  # ln p of the last word behind the others, (M,); -inf for <s>, which is never predicted
    log_back: np.ndarray  # ln of the weight of shorter contexts, (M,)
    size: int  # V
    end: int | None  # the word that ends sentences (protocol "reset"), or None ("carry")
    direct: bool = False  # a word that is not found behind its context has the empty n-gram's p, not a suffix's

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return self.trie.order

    @property
    def protocol(self) -> str:
        """Whether contexts run on over sentence ends ("carry") or not ("reset")."""
        return "carry" if self.end is None else "reset"

    @property
    def entries(self) -> tuple[int, ...]:
        """n-grams in the table for each length 1 … order."""
        return tuple(np.diff(self.trie.starts)[1:].tolist())

    @property
    def nbytes(self) -> int:
        """Bytes of the table as it is held: 28 an n-gram."""
        return sum(array.nbytes for array in (*self.trie, self.log_p, self.log_back))


def stream(model: Model, pieces: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each piece of a text ln p of its tokens (N,) and the length of the longest known n-gram ending at each (N,).

    Contexts run on from piece to piece, so a text need not fit in memory. ValueError for an id that is no word.
    """
    table, begin, end = _table(model), _begin(model), -1 if model.end is None else model.end
    node = begin
    for piece in pieces:
        log_p, length, node = trie.score(checked(piece, model.size), node, table, begin, end)
        yield log_p, length


def log_probabilities(model: Model, tokens: np.ndarray, protocol: str | None = None) -> np.ndarray:
    """ln p(tokens[t] | tokens[:t]), float64 (N,), the first given nothing; -inf for what the model holds impossible.

    ValueError for an id that is no word, an empty text, and a protocol other than that of the counts.
    """
    return np.concatenate([log_p for log_p, _ in stream(model, _pieces(model, tokens, protocol))])


def known_lengths(model: Model, tokens: np.ndarray) -> np.ndarray:
    """How many words, <s> one of them, the longest n-gram of the table has that ends with tokens[t], int8 (N,)."""
    return np.concatenate([length for _, length in stream(model, _pieces(model, tokens))])


def _pieces(model: Model, tokens: np.ndarray, protocol: str | None = None) -> Iterator[np.ndarray]:
    """The text in pieces."""
    expect(protocol in (None, model.protocol), "protocol", protocol, f"{model.protocol}, that of the counts")
    expect(len(tokens) > 0, "tokens", "an empty text", "at least one token")
    return (tokens[i : i + PIECE] for i in range(0, len(tokens), PIECE))


def next_distribution(model: Model, contexts: np.ndarray) -> np.ndarray:
    """ln p of every word behind each context: (B, T) ids -> float64 (B, V).

    A context of fewer than order - 1 words is the beginning of a text or sentence; of a longer one only the last
    order - 1 words count.
    """
    contexts = np.asarray(contexts)
    expect(contexts.ndim == 2, "contexts", f"shape {contexts.shape}", "shape (B, T)")
    return trie.spread(np.array([_context(model, row) for row in contexts], np.int64), _table(model), model.size)


def unigrams(model: Model) -> np.ndarray:
    """ln p of every word behind no context at all, (V,)."""
    return trie.spread(np.zeros(1, np.int64), _table(model), model.size)[0]


def _context(model: Model, row: np.ndarray) -> int:
    """The node of the longest suffix of a context that the table has."""
    start = _begin(model) if len(row) < model.order - 1 else 0
    recent = checked(row[max(len(row) - model.order + 1, 0) :], model.size)
    return trie.score(recent, start, _table(model), _begin(model), -1 if model.end is None else model.end)[2]


def _table(model: Model) -> tuple:
    """The model as the kernels take it."""
    return (*model.trie, model.log_p, model.log_back, model.direct)


def _begin(model: Model) -> int:
    """The node of <s>, if there is one: the first of the unigrams."""
    return 1 if model.end is not None and len(model.trie.words) > 1 and model.trie.words[1] == BEGIN else 0
