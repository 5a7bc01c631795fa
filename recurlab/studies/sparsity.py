"""How sparse are counts: how many n-grams does a text hold, how many does it lack, and what does that cost?

A seed draws a text of its own from a generated language, or a stretch of a given text. Contexts run on over sentence
ends. Rows of the quantity `growth` are about the first so many tokens, those of `contexts` about the test tokens behind
contexts that were counted or were not, those of `ranks` about the longest text.
"""

from typing import NamedTuple

import numpy as np

from recurlab import text
from recurlab.measures import sparsity as measures
from recurlab.models.ngram import SMOOTHINGS, Counts, count, known_lengths, log_probabilities, shortened
from recurlab.random import Stream, integers
from recurlab.studies.kinds import CORPUS, SIZE, SMOOTHING, Kind, list_of, one_of
from recurlab.studies.study import Study
from recurlab.tasks.grammar import GRAMMARS
from recurlab.tasks.zipf import ZIPF

LANGUAGES = GRAMMARS | {ZIPF.name: ZIPF}
GROWING = Kind(
    f"{CORPUS.wanted}, or {ZIPF.name}",
    lambda value: value == ZIPF.name or CORPUS.accepts(value),
    names=lambda: (*CORPUS.names(), ZIPF.name),
)


def sparsity(
    *,
    seeds,
    corpus: GROWING,
    level: one_of(*text.LEVELS),
    least_count: SIZE,
    train_share: SIZE,
    sizes: list_of(SIZE),
    test_tokens: SIZE,
    longest: SIZE,
    smoothings: list_of(SMOOTHING),
    hidden_size: SIZE,
):
    """Growth of the n-grams of 1 … `longest` words with the tokens, what test text has new, losses; and ranks.

    `level`, `least_count` and `train_share` (per cent; the rest is test text) are those of a given corpus, see
    `text.load`; `sizes` are numbers of tokens, those above its length are its length.
    """
    rows = []
    for replica, seed in enumerate(seeds):
        source = _source(int(seed), corpus, (level, least_count, train_share), sizes, test_tokens, longest)
        found = _of_text(source, longest, smoothings, measures.network_bytes(source.size, hidden_size))
        rows += [{"replica": replica, "text": source.name, **row} for row in found]
    return {name: np.array([row.get(name, fill) for row in rows]) for name, fill in FILLS.items()}


class Source(NamedTuple):
    """A text, and what the best predictor from n - 1 tokens makes of its test part."""

    name: str
    size: int  # V
    stretches: list[np.ndarray]  # what is counted, the shortest first
    test: np.ndarray  # may be empty
    best: np.ndarray  # ln p of the test tokens, (longest, N); NaN where it is not known
    language: object  # of LANGUAGES, or None


def _source(seed: int, corpus: str, given, sizes, test_tokens: int, longest: int) -> Source:
    """The text of a seed."""
    if corpus in LANGUAGES:
        language = LANGUAGES[corpus]
        drawn = language.text(seed, max(sizes), 1, test_tokens)
        best = np.array([language.log_probabilities(drawn.test, n) for n in range(longest)])
        stretches = [drawn.train[:n] for n in sorted(set(sizes))]
        return Source(drawn.name, drawn.vocabulary.size, stretches, drawn.test, best, language)
    level, least_count, share = given
    whole = text.load(corpus, level, least_count=least_count, shares=(share, share))
    counted, test = sorted({min(n, len(whole.train)) for n in sizes}), whole.test[:test_tokens]
    stretches = [_stretch(whole.train, seed, n) for n in counted]
    name = f"{whole.name}, {level}" + f", {text.UNKNOWN}" * (least_count > 1)
    return Source(name, whole.vocabulary.size, stretches, test, np.full((longest, len(test)), np.nan), None)


def _stretch(tokens: np.ndarray, seed: int, count: int) -> np.ndarray:
    """So many tokens in a row, from any place."""
    start = int(integers(Stream(seed, f"sparsity stretch {count}"), len(tokens) - count + 1))
    return tokens[start : start + count]


def _of_text(source: Source, longest: int, smoothings, network_bytes: int) -> list[dict]:
    """All rows of a text."""
    counted, tokens = [count(s, source.size, longest) for s in source.stretches], list(map(len, source.stretches))
    types = np.array([measures.types(counts) for counts in counted])
    laws = [measures.power_law(tokens, types[:, n]) for n in range(longest)]
    rows = [row for n in range(1, longest + 1) for row in _ranks(counted[-1], n)]
    for size, counts in zip(tokens, counted, strict=True):
        lengths = known_lengths(SMOOTHINGS["maximum_likelihood"](counts), source.test) if len(source.test) else None
        for n, law in enumerate(laws, 1):
            seen = _seen(source, size, counts, n) | _new(lengths, n) | {"network_bytes": network_bytes}
            seen |= {"heaps_exponent": law.exponent, "fitted_types": float(law.at(size))}
            rows += [seen | row for name in smoothings for row in _model(source, shortened(counts, n), name, lengths)]
    return rows


def _seen(source: Source, tokens: int, counts: Counts, n: int) -> dict:
    """What the counts of the first so many tokens hold of n-grams."""
    words, types = (float(measures.types(counts)[k - 1]) for k in (1, n))
    row = {"quantity": "growth", "tokens": tokens, "whole": int(tokens == len(source.stretches[-1])), "order": n}
    row |= {"types": types, "seen_share": types / words**n}
    row |= {"log10_tokens": np.log10(tokens), "log10_types": np.log10(types), "log10_possible": n * np.log10(words)}
    if n == 1 and source.language is ZIPF:
        row |= {"expected_types": ZIPF.expected_types(tokens), "expected_unseen": ZIPF.expected_unseen(tokens)}
    return row


def _new(lengths: np.ndarray | None, n: int) -> dict:
    """The share of the test text's n-grams, token by token, that were never counted."""
    if lengths is None:
        return {}
    share = float(measures.unseen(lengths, n).mean())
    return {"unseen": share, "log10_unseen": np.log10(share) if share else np.nan}


def _model(source: Source, counts: Counts, name: str, lengths: np.ndarray | None) -> list[dict]:
    """Size and losses of a model; then its losses behind contexts that were counted, and behind those that were not."""
    model = SMOOTHINGS[name](counts)
    size = {"smoothing": name, "entries": sum(model.entries), "table_bytes": model.nbytes}
    size |= {"log10_bytes": np.log10(model.nbytes)}
    if lengths is None:
        return [size]
    loss, best = -log_probabilities(model, source.test), -source.best[model.order - 1]
    known = np.append(0, lengths[:-1]) >= model.order - 1  # the context of a token ends with the token before it
    parts = {context: chosen for context, chosen in (("counted", known), ("new", ~known)) if chosen.any()}
    return [size | _losses(loss, best)] + [
        {"smoothing": name, "quantity": "contexts", "context": context, "share": chosen.mean()}
        | _losses(loss[chosen], best[chosen])
        for context, chosen in parts.items()
    ]


def _losses(loss: np.ndarray, best: np.ndarray) -> dict:
    """Means over test tokens."""
    mean = float(loss.mean())
    return {"loss": mean, "perplexity": np.exp(mean), "best_loss": best.mean(), "excess": (loss - best).mean()}


def _ranks(counts: Counts, n: int) -> list[dict]:
    """How often the n-grams of some ranks occur."""
    ranks, frequencies = measures.by_rank(counts, n)
    law, fitted = measures.zipf_law(ranks, frequencies)
    same = {"quantity": "ranks", "order": n, "whole": 1, "tokens": int(counts.counts[counts.trie.level(1)].sum())}
    same |= {"zipf_exponent": -law.exponent}
    columns = {"rank": ranks, "frequency": frequencies, "fitted_frequency": fitted}
    return [same | dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


COLUMNS = {
    "quantity": "name; growth (of a number of tokens, a length and a smoothing), contexts (of two kinds), or ranks",
    "text": "name; corpus, and of a given one the level and whether rare words are <unk>",
    "tokens": "tokens; of the training text that are counted",
    "whole": "flag; 1 where these are all that are counted of this text",
    "order": "words; n of the n-grams",
    "types": "n-grams; different ones in the text",
    "log10_tokens": "log10 tokens; the same as tokens",
    "log10_types": "log10 n-grams; the same as types",
    "log10_possible": "log10 n-grams; Vⁿ, of the V different words of the text so far",
    "seen_share": "share; of these Vⁿ n-grams, those that are in the text",
    "heaps_exponent": "1; β of types = k tokensᵝ, least squares on logarithms over the numbers of tokens",
    "fitted_types": "n-grams; k tokensᵝ",
    "expected_types": "words; expected number of different ones in so many independent words, exact (zipf, n = 1)",
    "unseen": "share; of the n-grams of the test text, token by token, those that are not in the training text",
    "log10_unseen": "log10 share; the same",
    "expected_unseen": "share; its expectation for independent words, exact (zipf, n = 1)",
    "smoothing": "name; of SMOOTHINGS",
    "entries": "n-grams; in the table of the model, of all lengths up to n",
    "table_bytes": "bytes; of the table as it is held, 28 an n-gram",
    "log10_bytes": "log10 bytes; the same",
    "network_bytes": "bytes; of an LSTM language model of `hidden_size` units, float32",
    "loss": "nats a token; of the test text, contexts running on",
    "perplexity": "1; exp loss",
    "best_loss": "nats a token; on the same test text, of the best predictor from n - 1 tokens that knows the language",
    "excess": "nats a token; loss - best_loss",
    "context": "name; counted or new: the n - 1 tokens before, in rows of the quantity contexts",
    "share": "share; of the test tokens that have such a context",
    "rank": "rank; of an n-gram by falling frequency",
    "frequency": "occurrences; of the n-gram of this rank in the longest text",
    "fitted_frequency": "occurrences; c / rankᵃ, least squares on logarithms from 10 occurrences on",
    "zipf_exponent": "1; a of that law",
}
NAMES = ("quantity", "text", "smoothing", "context")
FILLS = dict.fromkeys(COLUMNS, np.nan) | dict.fromkeys(NAMES, "") | {"replica": 0}

SPARSITY = Study(function=sparsity, replicas=(), columns=COLUMNS)
