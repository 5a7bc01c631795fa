"""Counts of all n-grams of a text, up to one order, in one tree of sorted whole numbers.

Two protocols. "carry": the text is one stream, and contexts run on over sentence ends (characters, or words as a
recurrent network sees them). "reset", as SRILM and KenLM: every sentence stands alone between one `<s>` (-1 here, no
word of the vocabulary, never predicted) and its `</s>` (the text's own `end`, predicted as any word).
"""

from typing import NamedTuple

import numpy as np

from recurlab.kernels import trie
from recurlab.layers.checks import expect, expect_choice, expect_size

BEGIN = -1  # <s>
PROTOCOLS = ("carry", "reset")
_LIMIT = 2**31  # nodes and words are int32


class Trie(NamedTuple):
    """M n-grams of up to `order` words, the empty one first; see `kernels.trie` for their order."""

    words: np.ndarray  # last word of each, int32 (M,)
    first: np.ndarray  # first child, int32 (M + 1,)
    lower: np.ndarray  # longest suffix that is a node, int32 (M,)
    starts: np.ndarray  # first node of each length, and M, int64 (order + 2,)

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return len(self.starts) - 2

    def level(self, k: int) -> slice:
        """The nodes of length k."""
        return slice(int(self.starts[k]), int(self.starts[k + 1]))

    @property
    def parents(self) -> np.ndarray:
        """The node of all words but the last, of each node, (M,); of the empty one itself."""
        return np.concatenate([[0], np.repeat(np.arange(len(self.words)), np.diff(self.first))])

    @property
    def begins(self) -> np.ndarray:
        """Which nodes begin with <s>, (M,): it sorts before all words, so they come first in every length."""
        mask, low, high = np.zeros(len(self.words), bool), 1, 1 + int(self.words[1] == BEGIN)
        while low < high:
            mask[low:high] = True
            low, high = self.first[low], self.first[high]
        return mask


class Counts(NamedTuple):
    """How often each n-gram of a text occurs. That of the empty one, and of `<s>` alone, is 0: they are no events."""

    trie: Trie
    counts: np.ndarray  # int64 (M,)
    size: int  # V
    end: int | None  # the word that ends sentences under the protocol "reset"; None under "carry"


def count(tokens: np.ndarray, size: int, order: int, protocol: str = "carry", end: int | None = None) -> Counts:
    """Count the n-grams of 1 … `order` words of a text: word ids 0 … size-1, (N,).

    ValueError for an order or size below 1, ids that are no words of the vocabulary, an empty text, and "reset" without
    `end`.
    """
    expect_choice("protocol", protocol, PROTOCOLS)
    expect(expect_size("size", size) <= _LIMIT, "size", size, "at most 2^31 words")
    expect_size("order", order)
    if protocol == "reset":
        expect(end is not None and 0 <= end < size, "end", end, f"a word 0 … {size - 1}, which ends sentences")
    tokens = checked(tokens, size)
    expect(tokens.size > 0, "tokens", "an empty text", "at least one token")
    text = tokens if protocol == "carry" else _with_begins(tokens, end)
    return _counted(text, order, size, end if protocol == "reset" else None)


def checked(tokens, size: int) -> np.ndarray:
    """The ids as int32 (N,); ValueError for one that is no word of a vocabulary of `size`."""
    tokens = np.asarray(tokens)
    expect(tokens.ndim == 1 and tokens.dtype.kind in "iu", "tokens", f"{tokens.dtype} {tokens.shape}", "ids (N,)")
    wrong = np.flatnonzero((tokens < 0) | (tokens >= size))
    if wrong.size:
        expect(False, "tokens", f"{tokens[wrong[0]]} at place {wrong[0]}", f"words 0 … {size - 1} of the vocabulary")
    return np.ascontiguousarray(tokens, np.int32)


def _with_begins(tokens: np.ndarray, end: int) -> np.ndarray:
    """The text with `<s>` before each sentence."""
    behind = np.flatnonzero(tokens[:-1] == end) + 1
    return np.insert(tokens, np.concatenate([[0], behind]), BEGIN)


def _counted(text: np.ndarray, order: int, size: int, end: int | None) -> Counts:
    """Length by length: an n-gram is its first n-1 words, a node already, and its last one; sorted, these are nodes."""
    words, contexts, counts = [np.array([BEGIN], np.int32)], [], [np.array([0])]
    place, node, total = np.arange(len(text)), np.zeros(len(text), np.int64), 1
    for k in range(order):
        kinds, own, occurrences = np.unique(keys(node, text[place + k]), return_inverse=True, return_counts=True)
        contexts.append(kinds >> 32)
        words.append(((kinds & 0xFFFFFFFF) - 1).astype(np.int32))
        counts.append(occurrences)
        inside = place + k + 1 < len(text)
        inside[inside] = text[place[inside] + k + 1] != BEGIN
        place, node = place[inside], own[inside] + total
        total += len(kinds)
        expect(total < _LIMIT, "tokens", f"{total} n-grams", "fewer than 2^31")
    tree = grown(words, contexts)
    counts = np.concatenate(counts)
    counts[: 2 if end is not None else 1] = 0  # <s> is the first of the unigrams
    return Counts(tree, counts, size, end)


def keys(node: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Whole numbers that sort as the pairs (node, word) do."""
    return node.astype(np.int64) << 32 | (word.astype(np.int64) + 1)


def shortened(counts: Counts, order: int) -> Counts:
    """The counts of the n-grams of at most `order` words."""
    tree = counts.trie
    stop = int(tree.starts[min(order, tree.order) + 1])
    short = Trie(
        tree.words[:stop], np.minimum(tree.first[: stop + 1], stop), tree.lower[:stop], tree.starts[: order + 2]
    )
    return counts._replace(trie=short, counts=counts.counts[:stop])


def lookup(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The places of numbers among sorted ones, -1 for those that are not there."""
    place = np.searchsorted(known, wanted)
    return np.where(np.append(known, -1)[place] == wanted, place, -1)


def grown(words: list, contexts: list) -> Trie:
    """The tree of nodes given length by length: last words, and from length 1 on contexts; both sorted."""
    starts = np.concatenate([[0], np.cumsum([len(level) for level in words])])
    first = np.searchsorted(np.concatenate(contexts), np.arange(starts[-1] + 1)) + 1
    words, first = np.concatenate(words), first.astype(np.int32)
    return Trie(words, first, trie.link(words, first), starts)


def pruned(tree: Trie, kept: np.ndarray) -> tuple[Trie, np.ndarray]:
    """The tree of the kept nodes (M,) and of those that these begin with, and which nodes those are."""
    kept, parents = kept.copy(), tree.parents
    kept[0] = True
    for k in range(tree.order, 1, -1):
        kept[parents[tree.level(k)][kept[tree.level(k)]]] = True
    before = np.concatenate([[0], np.cumsum(kept)])
    words, first = tree.words[kept], before[tree.first[np.append(kept, True)]].astype(np.int32)
    return Trie(words, first, trie.link(words, first), before[tree.starts]), np.flatnonzero(kept)


def find(tree: Trie, other: Trie) -> np.ndarray:
    """For every node of `other` the node of the same words in `tree`, or -1; int64 (M of other,)."""
    found, parents, contexts = np.full(len(other.words), -1), tree.parents, other.parents
    found[0] = 0
    for k in range(1, min(tree.order, other.order) + 1):
        own, level = tree.level(k), other.level(k)
        context = found[contexts[level]]
        place = lookup(keys(parents[own], tree.words[own]), keys(np.maximum(context, 0), other.words[level]))
        found[level] = np.where((place < 0) | (context < 0), -1, place + own.start)
    return found
