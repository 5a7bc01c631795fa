"""n-gram models as their equations say, on dicts of tuples: slow, obvious, and without a line of recurlab.

A text is a list of ids. <s> is -1; it begins every sentence under the protocol "reset", where `end` ends them.
"""

import math
from collections import Counter, defaultdict

BEGIN = -1


def sentences(text, end):
    """The text as one piece (end None), or as its sentences with <s> before each."""
    if end is None:
        return [list(text)]
    pieces = [[BEGIN]]
    for word in text:
        pieces[-1].append(word)
        if word == end:
            pieces.append([BEGIN])
    return [piece for piece in pieces if len(piece) > 1]


def occurrences(text, order, end=None):
    """How often every n-gram of 1 … order words occurs; <s> alone is none."""
    found = Counter()
    for piece in sentences(text, end):
        for n in range(1, order + 1):
            found.update(tuple(piece[i : i + n]) for i in range(len(piece) - n + 1))
    found.pop((BEGIN,), None)
    return found


def different_before(counts, order):
    """Kneser-Ney: below the highest order the number of different words before, if none can stand there occurrences."""
    before = defaultdict(set)
    for gram in counts:
        if len(gram) > 1:
            before[gram[1:]].add(gram[0])
    return {g: c if len(g) == order or g[0] == BEGIN else len(before[g]) for g, c in counts.items()}


class Model:
    """p(w | h) as SRILM makes it: the kept n-grams' discounted and perhaps interpolated p, and back-off weights."""

    def __init__(self, method, text, size, order, end=None, cutoffs=(), uniform=True, **given):
        self.size, self.uniform, self.method, self.order, self.given = size, uniform, method, order, given
        self.cutoffs = (*cutoffs, *[1] * (order - len(cutoffs)))
        counts = occurrences(text, order, end)
        self.counts = different_before(counts, order) if method in ("kneser_ney", "modified_kneser_ney") else counts
        self.followers = defaultdict(dict)
        for gram, count in self.counts.items():
            if count:
                self.followers[gram[:-1]][gram[-1]] = count
        self.kept = {}
        for h in sorted(self.followers, key=len):
            self.kept[h] = self.explicit(h)

    def shares(self, h):
        """α of each word, γ, and what the words that h lacks get."""
        c, total = self.followers[h], sum(self.followers[h].values())
        if not h and not self.uniform:
            return {w: c[w] / total for w in c}, 0.0, 0.0
        return getattr(self, self.method)(h, c, total)

    def explicit(self, h):
        """(p of the kept words, back(h))."""
        own, weight, lacking = self.shares(h)
        kept = [w for w in own if self.followers[h][w] >= self.cutoffs[len(h)]]
        lower = {w: 1 / self.size if not h or self.method == "add_k" else self.p(w, h[1:]) for w in kept}
        room, mass = 1 - math.fsum(lower.values()), lacking + math.fsum(own[w] for w in own if w not in kept)
        if room < 3e-6:
            weight, mass, room = weight + mass, 0.0, 1.0
        return {w: own[w] + weight * lower[w] for w in kept}, weight + mass / room

    def p(self, word, h):
        """p(word | h); a history that was never followed by anything passes all on to the next shorter one."""
        h = tuple(h)[-(self.order - 1) :] if self.order > 1 else ()
        if h not in self.kept:
            return self.p(word, h[1:]) if h else 1 / self.size
        kept, back = self.kept[h]
        if word in kept:
            return kept[word]
        return back * (1 / self.size if not h or self.method == "add_k" else self.p(word, h[1:]))

    def log_probabilities(self, text, end=None):
        """ln p of every token of a text."""
        found = []
        for piece in sentences(text, end):
            for t in range(0 if end is None else 1, len(piece)):
                p = self.p(piece[t], piece[max(t - self.order + 1, 0) : t])
                found.append(math.log(p) if p > 0 else -math.inf)
        return found

    def with_count(self, length, times):
        """n_r: how many n-grams of a length occur that often."""
        return sum(len(gram) == length and count == times for gram, count in self.counts.items())

    def maximum_likelihood(self, h, c, total):
        return {w: c[w] / total for w in c}, 0.0, 0.0

    def add_k(self, h, c, total):
        k = self.given.get("k", 1.0)
        whole = total + k * self.size
        return {w: c[w] / whole for w in c}, k * self.size / whole, 0.0

    def witten_bell(self, h, c, total):
        return {w: c[w] / (total + len(c)) for w in c}, len(c) / (total + len(c)), 0.0

    def absolute_discounting(self, h, c, total):
        n1, n2 = (self.with_count(len(h) + 1, r) for r in (1, 2))
        d = n1 / (n1 + 2 * n2) if n1 else 0.5
        return {w: max(c[w] - d, 0) / total for w in c}, d * len(c) / total, 0.0

    kneser_ney = absolute_discounting

    def modified_kneser_ney(self, h, c, total):
        n = [0] + [self.with_count(len(h) + 1, r) for r in range(1, 5)]
        d = [0, 0.5, 1, 1.5]
        if min(n[1:]) > 0:
            y = n[1] / (n[1] + 2 * n[2])
            found = [r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3)]
            d = [0, *found] if min(found) >= 0 else d
        lost = {w: d[min(c[w], 3)] for w in c}
        return {w: (c[w] - lost[w]) / total for w in c}, sum(lost.values()) / total, 0.0

    def good_turing(self, h, c, total):
        most = 7
        n = [self.with_count(len(h) + 1, r) for r in range(most + 2)]
        if n[1] == 0:
            most = 0
        while most > 0 and n[most + 1] == 0:
            most -= 1
        factor = {}
        for r in range(1, most + 1):
            a = (most + 1) * n[most + 1] / n[1]
            ratio = (r + 1) * n[r + 1] / (r * n[r]) if n[r] else math.inf
            good = ratio <= 1 and a < 1 and (ratio - a) / (1 - a) > 0
            factor[r] = (ratio - a) / (1 - a) if good else 1.0
        kept = {w: c[w] * factor.get(c[w], 1.0) for w in c}
        if sum(kept.values()) > total * (1 - 3e-6) and len(c) < self.size:
            return {w: kept[w] / (total + 1) for w in c}, 0.0, (total + 1 - sum(kept.values())) / (total + 1)
        return {w: kept[w] / total for w in c}, 0.0, 1 - sum(kept.values()) / total

    def jelinek_mercer(self, h, c, total):
        weight = self.given["weights"][len(h)]
        return {w: weight * c[w] / total for w in c}, 1 - weight, 0.0
