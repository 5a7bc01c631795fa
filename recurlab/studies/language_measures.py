"""What is asked of a trained language model: losses by position, distance and context, agreement, mixtures."""

import numpy as np

from recurlab.models.ngram import SMOOTHINGS, count, known_lengths, log_probabilities
from recurlab.models.words import positions_in_sentence
from recurlab.studies.language_texts import Texts
from recurlab.studies.rungs import Rung
from recurlab.tasks.grammar import AGREEMENT, intervening, probes

POSITIONS = 20  # words of a sentence that are looked at one by one
LONGEST = 12  # words between subject and verb that are looked at one by one
PLACES = 2000  # of a test text that are predicted from a few words
PROBES = 500  # prefixes for each distance
WARM = 16  # words before a prefix
KNOWN = 5  # words of the n-grams that tell contexts that were seen from new ones
ROUNDS = 30  # of EM for one weight
QUANTITIES = (
    *("position", "distance", "context", "agreement", "contexts", "window", "interpolated", "dynamic", "held_out"),
)


def rows_of(made: Rung, texts: Texts, r: int, seed: int, measured, wanted: dict) -> list[dict]:
    """All rows of one model."""
    test, protocols = texts.of("test", r), _protocols(texts)
    logs = {protocol: made.score(r, test, protocol) for protocol in protocols}
    size = {"numbers": made.numbers[r], "log10_numbers": np.log10(made.numbers[r]), "nbytes": made.nbytes[r]}
    size |= {"flops": made.flops[r], "tape_bytes": np.nan if made.tape_bytes is None else made.tape_bytes}
    if made.diverged is not None:
        size["diverged"] = float(made.diverged[r])
    usual = protocols[-1] if made.history is None else "carry"
    rows = [
        {"quantity": "test", "protocol": name, "usual": float(name == usual), **size, **_losses(own, texts.entropy)}
        for name, own in logs.items()
    ]
    asked = {
        "position": lambda: _by_position(texts, test, logs["carry"]),
        "distance": lambda: _by_distance(test, logs["carry"]),
        "context": lambda: _by_context(made, texts, r, wanted["contexts"]),
        "agreement": lambda: _agreement(made, texts, r, seed),
        "contexts": lambda: _by_knowledge(texts, r, logs["carry"]),
        "window": lambda: _by_place_in_window(made, r, test),
        "interpolated": lambda: _interpolated(made, texts, r, logs),
        "held_out": lambda: _held_out(made, texts, r),
        "dynamic": lambda: _dynamic(made, texts, r, wanted["rate"]),
    }
    return rows + _epochs(made, r) + [row for name in measured for row in asked[name]()]


def _protocols(texts: Texts) -> tuple[str, ...]:
    return ("carry",) if texts.vocabulary.end is None else ("carry", "reset")


def _losses(logs: np.ndarray, best: float = np.nan) -> dict:
    """Means over tokens."""
    loss = float(-logs.mean())
    found = {"loss": loss, "perplexity": np.exp(loss), "bits": loss / np.log(2), "tokens": len(logs)}
    return found | {"best_loss": best, "excess": loss - best, "excess_share": (loss - best) / best}


def _epochs(made: Rung, r: int) -> list[dict]:
    """The losses on the way; those of the untrained network, ln V, are left out."""
    if made.history is None:
        return []
    points, train, valid = made.history
    share = points / points[-1]
    return [
        {"quantity": "epoch", "trained_share": s, "update": p, "train_loss": a, "loss": b, "perplexity": np.exp(b)}
        for s, p, a, b in zip(share[1:], points[1:], train[1:, r], valid[1:, r], strict=True)
    ]


def _by_position(texts: Texts, test: np.ndarray, logs: np.ndarray) -> list[dict]:
    """Losses by the number of words before the token in its sentence."""
    place = positions_in_sentence(test, texts.vocabulary.end)
    best = _best(texts, test)
    return [
        {"quantity": "position", "place": k, **_losses(logs[place == k], -best[place == k].mean())}
        for k in range(POSITIONS)
        if (place == k).any()
    ]


def _best(texts: Texts, test: np.ndarray) -> np.ndarray:
    """ln p of the best predictor; NaN where it is not known."""
    return np.full(len(test), np.nan) if texts.language is None else texts.language.log_probabilities(test)


def _by_distance(test: np.ndarray, logs: np.ndarray) -> list[dict]:
    """Losses at verbs by the number of words between them and their subject."""
    between, best = intervening(test), AGREEMENT.log_probabilities(test)
    return [
        {"quantity": "distance", "place": k, **_losses(logs[between == k], -best[between == k].mean())}
        for k in range(LONGEST + 1)
        if (between == k).any()
    ]


def _by_context(made: Rung, texts: Texts, r: int, contexts) -> list[dict]:
    """Losses at the same places when only the last so many tokens are given, and the least that is possible so."""
    test, longest = texts.of("test", r), max(contexts)
    at = np.arange(longest, len(test))[:PLACES]
    bounds = None if texts.language is None else texts.language.window_losses(longest + 1)
    rows = []
    for n in contexts:
        seen = test[at[:, None] - np.arange(n, 0, -1)]
        logs = np.take_along_axis(made.after(r, seen), test[at][:, None].astype(np.int64), axis=1)[:, 0]
        bound = np.nan if bounds is None else bounds[n]
        rows.append({"quantity": "context", "place": n, **_losses(logs, bound)})
    return rows


def _agreement(made: Rung, texts: Texts, r: int, seed: int) -> list[dict]:
    """How often the right form of a verb is more probable than the wrong one, by the words between subject and verb.

    Before each prefix stand the last WARM words of a text: networks whose states were carried in training have never
    seen a beginning but that of the text.
    """
    rows, before = [], _ending(texts, r)
    for k in range(LONGEST + 1):
        asked = probes([seed], k, PROBES)
        prefixes = np.broadcast_to(before, (PROBES, len(before)))
        logs = made.after(r, np.concatenate([prefixes, asked.contexts[0, :, 1:]], axis=1))
        right, wrong = (np.take_along_axis(logs, form[0][:, None].astype(np.int64), 1)[:, 0] for form in asked[1:3])
        hits = np.where(right == wrong, 0.5, right > wrong)
        for which, chosen in (("all", np.ones(PROBES, bool)), ("misled", asked.misled[0])):
            if chosen.any():
                rows.append({"quantity": "agreement", "place": k, "subset": which, "accuracy": hits[chosen].mean()})
    return rows


def _ending(texts: Texts, r: int) -> np.ndarray:
    """The last WARM words of a validation text that end with a sentence."""
    valid = texts.of("valid", r)
    stop = np.flatnonzero(valid == texts.vocabulary.end)[-1] + 1
    return valid[max(0, stop - WARM) : stop]


def _by_knowledge(texts: Texts, r: int, logs: np.ndarray) -> list[dict]:
    """Losses behind contexts of KNOWN - 1 words that are in the training text, and behind those that are not."""
    counted = SMOOTHINGS["maximum_likelihood"](count(texts.of("train", r), texts.vocabulary.size, KNOWN - 1))
    test = texts.of("test", r)
    seen = np.append(0, known_lengths(counted, test)[:-1]) == KNOWN - 1
    best = _best(texts, test)
    return [
        {"quantity": "contexts", "subset": name, **_losses(logs[chosen], -best[chosen].mean())}
        for name, chosen in (("seen", seen), ("new", ~seen))
        if chosen.any()
    ]


def _by_place_in_window(made: Rung, r: int, test: np.ndarray) -> list[dict]:
    """What a window network listens to, by the words back."""
    weights = () if made.listens is None else made.listens(r, test)
    return [{"quantity": "window", "place": k, "weight": weight} for k, weight in enumerate(weights, 1)]


def _interpolated(made: Rung, texts: Texts, r: int, logs: dict) -> list[dict]:
    """Losses of λ p + (1 - λ) q with q a 5-gram model, modified Kneser-Ney, and λ by EM on the validation text."""
    protocol = _protocols(texts)[-1]
    counted = count(texts.of("train", r), texts.vocabulary.size, KNOWN, protocol, texts.vocabulary.end)
    other = SMOOTHINGS["modified_kneser_ney"](counted)
    valid, test = texts.of("valid", r), texts.of("test", r)
    share = _weight(made.score(r, valid, "carry"), log_probabilities(other, valid))
    both = np.logaddexp(np.log(share) + logs["carry"], np.log1p(-share) + log_probabilities(other, test))
    return [{"quantity": "interpolated", "weight": share, **_losses(both, texts.entropy)}]


def _weight(p: np.ndarray, q: np.ndarray) -> float:
    """The λ of λ p + (1 - λ) q under which a text is most probable, from ln p and ln q of its tokens."""
    share = 0.5
    for _ in range(ROUNDS):
        own = np.log(share) + p
        share = float(np.exp(own - np.logaddexp(own, np.log1p(-share) + q)).mean())
    return share


def _held_out(made: Rung, texts: Texts, r: int) -> list[dict]:
    """The loss of validation and test text as one."""
    both = np.concatenate([texts.of("valid", r), texts.of("test", r)])
    return [{"quantity": "held_out", **_losses(made.score(r, both, "carry"), texts.entropy)}]


def _dynamic(made: Rung, texts: Texts, r: int, rate: float | None) -> list[dict]:
    """The loss of a network that goes on learning while it is tested."""
    if made.dynamic is None or rate is None:
        return []
    return [{"quantity": "dynamic", **_losses(made.dynamic(r, texts.of("test", r), rate), texts.entropy)}]
