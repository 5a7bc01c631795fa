"""Walks through a tree of n-grams: suffixes, probabilities of running text, whole distributions.

Node 0 is the empty n-gram. Nodes stand in the order of their length, then of their first, second, … word, so the
children of node j, which add one word to it, are first[j] … first[j+1]-1, sorted by that word. `lower[j]` is the
longest suffix of j that is a node: 0, the empty one, if no other is. `starts[k]` is the first node of length k.
"""

from functools import cache

import numpy as np

from recurlab.kernels.target import cached, inlined


def _child(words, first, node, word):
    """The node that adds `word` to `node`, or -1: a binary search among the children."""
    low, high = first[node], first[node + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < end and words[low] == word else -1


child = inlined(_child)


def _link(words, first, lower):
    """Suffixes into `lower` (M,): a node's are those of its parent, with the node's word added."""
    lower[0] = 0
    for parent in range(words.size):
        for node in range(first[parent], first[parent + 1]):
            shorter, found = parent, -1
            while found < 0 and shorter != 0:
                shorter = lower[shorter]
                found = child(words, first, shorter, words[node])
            lower[node] = max(found, 0)


def _score(tokens, node, model, begin, end, log_p, length):
    """ln p of each token into log_p (N,) and the length of the n-gram it ends into length (N,); returns the context.

    Found among the children of its context, a token has that node's p; else back(context) times what the suffix of the
    context gives it, in the end 1/V. `direct` goes from the context to 1/V at once. Behind `end` stands `begin`.
    """
    words, first, lower, starts, own, back, direct = model
    order = starts.size - 2
    for t in range(tokens.size):
        context, total = node, 0.0
        found = child(words, first, context, tokens[t])
        while found < 0 and context != 0:
            total += back[context]
            context = lower[context]
            found = child(words, first, context, tokens[t])
        if direct and (found < 0 or context != node):
            log_p[t] = back[node] + own[0]
        else:
            log_p[t] = total + (back[0] + own[0] if found < 0 else own[found])
        found = max(found, 0)
        length[t] = np.searchsorted(starts, found, side="right") - 1
        node = begin if tokens[t] == end else (lower[found] if length[t] == order else found)
    return node


def _spread(nodes, model, out):
    """ln p of every word behind each context into out (B, V): from the shortest suffix of a context to the longest."""
    words, first, lower, starts, own, back, direct = model
    suffixes = np.empty(starts.size, np.int64)
    for row in range(nodes.size):
        suffixes[0], count = nodes[row], 1
        while suffixes[count - 1] != 0 and not direct:
            suffixes[count] = lower[suffixes[count - 1]]
            count += 1
        p = out[row]
        p[:] = own[0]
        for i in range(count - 1, -1, -1):
            p += back[suffixes[i]]
            for node in range(first[suffixes[i]], first[suffixes[i] + 1]):
                if words[node] >= 0:
                    p[words[node]] = own[node]


@cache
def compiled(function):
    """One of the walks of this module, compiled."""
    return cached(function)


def link(words: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The longest suffix of every node, int32 (M,): see `_link`."""
    lower = np.empty(words.size, np.int32)
    compiled(_link)(words, first, lower)
    return lower


def score(tokens: np.ndarray, node: int, model: tuple, begin: int, end: int):
    """ln p (N,), the lengths of the n-grams that ended (N,), and the context behind the last token: see `_score`."""
    log_p, length = np.empty(tokens.size), np.empty(tokens.size, np.int8)
    return log_p, length, compiled(_score)(tokens, node, model, begin, end, log_p, length)


def spread(nodes: np.ndarray, model: tuple, size: int) -> np.ndarray:
    """ln p of all V words behind each context, (B, V): see `_spread`."""
    out = np.empty((nodes.size, size))
    compiled(_spread)(nodes, model, out)
    return out


def warm() -> None:
    """Compile everything here, or load it: what `recurlab compile` calls."""
    words, first, starts = np.array([-1, 0], np.int32), np.array([1, 2, 2], np.int32), np.arange(3)
    model = words, first, link(words, first), starts, np.zeros(2), np.zeros(2), False
    score(np.zeros(1, np.int32), 0, model, 0, -1)
    spread(np.zeros(1, np.int64), model, 1)
