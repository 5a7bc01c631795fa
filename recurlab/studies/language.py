"""What does each rung of the ladder from counts to attention know of a language, and of what lies far back in it?

One model for each seed, trained on a text, asked in several ways. Of the generated language the loss of the best
predictor is exact, and so is that of the best predictor from the last words alone, below which no n-gram model is.
"""

import numpy as np

from recurlab import text
from recurlab.studies.kinds import (
    CELL,
    CORPUS,
    COUNT,
    DEVICE,
    DTYPE,
    FLAG,
    POSITIVE,
    RATE,
    REAL,
    RULE,
    SCHEDULE,
    SIZE,
    SMOOTHING,
    list_of,
    one_of,
    optional,
)
from recurlab.studies.language_measures import QUANTITIES, rows_of
from recurlab.studies.language_texts import CHARACTER, Sizes, texts_of
from recurlab.studies.rungs import RUNGS, Shape, Training
from recurlab.studies.study import Study, device_problems
from recurlab.tasks.grammar import GRAMMARS


def language(
    *,
    seeds,
    corpus: CORPUS,
    level: one_of("word", *text.LEVELS),
    vocabulary_size: optional(SIZE),
    train_tokens: optional(SIZE),
    valid_tokens: optional(SIZE),
    test_tokens: optional(SIZE),
    rung: one_of(*RUNGS),
    order: optional(SIZE),
    smoothing: optional(SMOOTHING),
    window: optional(SIZE),
    direct: FLAG,
    cell: optional(CELL),
    num_layers: SIZE,
    heads: optional(SIZE),
    embedding_size: optional(SIZE),
    hidden_size: optional(SIZE),
    tied: FLAG,
    forget_bias: optional(REAL),
    init_scale: optional(POSITIVE),
    batch_size: SIZE,
    steps: optional(SIZE),
    truncation: optional(SIZE),
    epochs: SIZE,
    points: SIZE,
    patience: optional(SIZE),
    rule: RULE,
    learning_rate: POSITIVE,
    schedule: SCHEDULE,
    divide_after: optional(COUNT),
    divide_by: POSITIVE,
    clip: optional(POSITIVE),
    dropout: RATE,
    dynamic_rate: optional(POSITIVE),
    contexts: list_of(SIZE),
    measured: list_of(one_of(*QUANTITIES)),
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train the models of a rung on a text and ask them; see `quantity`. Tokens null: all of a given text."""
    texts = texts_of(seeds, corpus, level, vocabulary_size, Sizes(train_tokens, valid_tokens, test_tokens))
    shape = Shape(
        *(order, smoothing, window, direct, cell, num_layers, heads, embedding_size, hidden_size),
        *(tied, forget_bias, init_scale),
    )
    bounds = np.where(np.equal(clip, None), np.inf, clip).astype(float)
    training = Training(
        *(batch_size, steps, truncation, epochs, points, patience, rule, learning_rate, schedule),
        *(divide_after, divide_by, bounds, np.asarray(dropout, float), dtype, device),
    )
    made = RUNGS[rung](texts, seeds, shape, training)
    wanted = {"contexts": contexts, "rate": dynamic_rate}
    rows = [
        {"replica": r, "model": made.label, **row}
        for r, seed in enumerate(seeds)
        for row in rows_of(made, texts, r, int(seed), measured, wanted)
    ]
    return {name: np.array([row.get(name, fill) for row in rows]) for name, fill in FILLS.items()}


NEEDED = {  # rung -> what it is made of
    "counts": ("order", "smoothing"),
    "window": ("window", "embedding_size"),
    "recurrent": ("cell", "embedding_size", "hidden_size", "steps"),
    "attention": ("heads", "embedding_size", "hidden_size", "steps"),
}
OF_AGREEMENT = ("distance", "agreement")  # quantities that are about the words of the generated language


def problems(given: dict) -> list[str]:
    """What is wrong with the settings together, in words."""
    rung, measured = given["rung"], given["measured"]
    found = device_problems(given, rung, rung == "recurrent")
    found += [f"{name}: got null, wanted a value for {rung}" for name in NEEDED[rung] if given[name] is None]
    if rung == "window" and given["hidden_size"] is None and not given["direct"]:
        found.append("hidden_size: got null, wanted a size, or direct connections without it")
    generated = given["corpus"] in GRAMMARS
    if generated and given["level"] not in ("word", CHARACTER):
        found.append(f"level: got {given['level']}, wanted word or {CHARACTER} for {given['corpus']}")
    if generated and None in (given["train_tokens"], given["valid_tokens"], given["test_tokens"]):
        found.append("train_tokens, valid_tokens, test_tokens: wanted numbers for a generated language")
    words = generated and given["level"] == "word"
    found += [
        f"measured: {name} is about words of a generated language"
        for name in OF_AGREEMENT
        if name in measured and not words
    ]
    if "position" in measured and given["level"] == CHARACTER:
        found.append(f"measured: position is about sentences of words, got level {CHARACTER}")
    if rung == "attention" and None not in (given["heads"], given["embedding_size"]):
        wrong = given["embedding_size"] % given["heads"] != 0
        found += [f"heads: got {given['heads']}, wanted a divisor of embedding_size"] if wrong else []
    if rung == "attention" and max(given["contexts"]) > (given["steps"] or 0):
        found.append(f"contexts: got {max(given['contexts'])}, wanted at most steps = {given['steps']} for attention")
    truncation = given["truncation"]
    if truncation is not None and (given["steps"] is None or truncation > given["steps"]):
        found.append(f"truncation: got {truncation}, wanted at most steps = {given['steps']}")
    return found


COLUMNS = {
    "quantity": "name; test (the whole test text), epoch (on the way), position (by words before in the sentence), "
    "distance (at verbs, by words since their subject), context (from the last so many tokens), agreement (of a verb), "
    "contexts (seen in training or new), window (by words back in a window network), interpolated (with a 5-gram "
    "model), dynamic (learning while tested), held_out (validation and test text as one)",
    "model": "name; what the model is",
    "protocol": "name; carry: the text is one sequence, reset: every sentence is seen alone",
    "usual": "flag; 1 in the protocol that is usual for the model, counts by sentences and networks carried on",
    "subset": "name; contexts that were seen in training or are new; all probes, or those with a noun of the other "
    "number before the verb",
    "place": "tokens; position, distance, words back, or length of the context",
    "loss": "nats a token; mean of -ln p",
    "perplexity": "1; exp loss",
    "bits": "bits a token; loss / ln 2",
    "tokens": "tokens; that the loss is a mean of",
    "best_loss": "nats a token; of the best predictor: of all (exact for the test text, else on the same tokens), or "
    "from the context alone",
    "excess": "nats a token; loss - best_loss",
    "excess_share": "1; excess / best_loss",
    "accuracy": "share; of the probes in which the right form of the verb is the more probable one, ties by half",
    "train_loss": "nats a token; mean over the updates since the point before, under dropout",
    "trained_share": "share; of the updates that were made",
    "update": "updates; made so far",
    "weight": "share; of the model beside the 5-gram model, by EM on the validation text; or of a place in "
    "a window in the variance that its words bring to the hidden units",
    "numbers": "numbers; parameters, or entries of the table",
    "log10_numbers": "log10 numbers; the same",
    "nbytes": "bytes; of the parameters, or of the table",
    "flops": "FLOP; of the products of training, 6 a weight and token (attention's own products apart)",
    "tape_bytes": "bytes; of a recurrent network's tape of the steps that the gradient goes back through at a time",
    "diverged": "flag; 1 if loss or gradient became infinite or not a number",
}
NAMES = ("quantity", "model", "protocol", "subset")
FILLS = dict.fromkeys(COLUMNS, np.nan) | dict.fromkeys(NAMES, "") | {"replica": 0}

LANGUAGE = Study(function=language, replicas=("learning_rate", "clip", "dropout"), columns=COLUMNS, together=problems)
