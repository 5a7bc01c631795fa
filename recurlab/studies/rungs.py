"""The rungs of the ladder from counts to attention: each makes language models of R seeds and trains them on texts.

Every rung answers the same two questions, ln p of a text and ln p of the next word, whatever it is made of.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from recurlab.layers.footprint import memory_bytes
from recurlab.layers.recurrent import recurrent as recurrent_layer
from recurlab.models import (
    ngram,
    recurrent_lm,
    recurrent_lm_gradients,
    recurrent_lm_scores,
    self_attention_lm,
    self_attention_lm_scores,
    window_lm,
    window_lm_scores,
)
from recurlab.optimise import Divided
from recurlab.studies.language_texts import Texts, places, windows
from recurlab.train import ENDS, Patience, Plan, Trained, train

ROWS = 16  # parts of a validation text that are read side by side during training
PRODUCTS = 6  # FLOP of a weight and token: a product and a sum, forward, to the inputs and to the weights
APART = ("weight_embedding", "weight_position")  # weights that are looked up, not multiplied


class Shape(NamedTuple):
    """What a model is made of; each rung reads what it has."""

    order: int | None
    smoothing: str | None
    window: int | None
    direct: bool
    cell: str | None
    num_layers: int
    heads: int | None
    embedding_size: int | None
    hidden_size: int | None
    tied: bool
    forget_bias: float | None
    init_scale: float | None


class Training(NamedTuple):
    """How networks are trained."""

    batch_size: int
    steps: int | None
    truncation: int | None
    epochs: int
    points: int
    patience: int | None
    rule: str
    learning_rate: np.ndarray
    schedule: str
    divide_after: int | None
    divide_by: float
    clip: np.ndarray
    dropout: np.ndarray
    dtype: str
    device: str


class Rung(NamedTuple):
    """Trained language models of R seeds."""

    label: str
    numbers: np.ndarray  # parameters, or entries of the table, (R,)
    nbytes: np.ndarray  # (R,)
    flops: np.ndarray  # of the products of training, (R,); 0 where nothing is trained
    score: Callable  # (replica, tokens (N,), protocol) -> ln p (N,)
    after: Callable  # (replica, contexts (P, T)) -> ln p (P, V)
    history: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # epochs (P,), training and validation loss (P, R)
    diverged: np.ndarray | None = None  # (R,)
    tape_bytes: int | None = None  # of the steps that the gradient goes back through at a time
    dynamic: Callable | None = None  # (replica, tokens, learning rate) -> ln p (N,), learning while it is tested
    listens: Callable | None = None  # (replica, tokens) -> weights (k,) of the words 1 … k places back


def counts(texts: Texts, seeds, shape: Shape, training: Training) -> Rung:
    """n-grams with a smoothing; for the protocol "reset" sentences are counted apart."""
    size, end = texts.vocabulary.size, texts.vocabulary.end
    protocols = ("carry",) if end is None else ("carry", "reset")
    models = [
        {
            name: ngram.SMOOTHINGS[shape.smoothing](ngram.count(tokens, size, shape.order, name, end))
            for name in protocols
        }
        for tokens in texts.train
    ]

    def of(replica: int) -> dict:
        return models[replica if len(models) > 1 else 0]

    return Rung(
        f"{shape.order}-gram",
        np.array([sum(of(r)["carry"].entries) for r in range(len(seeds))]),
        np.array([of(r)["carry"].nbytes for r in range(len(seeds))]),
        np.zeros(len(seeds)),
        lambda replica, tokens, protocol: ngram.log_probabilities(of(replica)[protocol], tokens),
        lambda replica, contexts: ngram.next_distribution(of(replica)["carry"], contexts),
    )


def window(texts: Texts, seeds, shape: Shape, training: Training) -> Rung:
    """The neural n-gram model, with or without hidden layer and direct connections."""
    sizes = shape.window, shape.embedding_size, shape.hidden_size
    net = window_lm.window_lm(texts.vocabulary.size, *sizes, shape.direct, texts.vocabulary.end, training.dtype)
    take = partial(window_lm.contexts, net, protocol="carry")
    source = places(texts, seeds, training.batch_size, lambda tokens, at: take(tokens, at))
    gradients = window_lm.gradients(net, seeds, training.dropout, training.dropout if shape.hidden_size else 0.0)
    kind = "window MLP" if shape.hidden_size else "window, linear"
    label = f"{kind}, direct" if shape.direct and shape.hidden_size else kind
    found = _trained(texts, seeds, net, window_lm.initial(net, seeds), source, gradients, training, window_lm_scores)
    made = _network(label, net, window_lm, window_lm_scores, found, training.batch_size)

    def listens(replica: int, tokens: np.ndarray) -> np.ndarray:
        return window_lm_scores.position_weights(net, _of(found.params, replica), tokens)[0]

    return made._replace(listens=listens)


def recurrent(texts: Texts, seeds, shape: Shape, training: Training) -> Rung:
    """A recurrent network of any cell, trained on windows of parallel streams whose states go on."""
    layer = recurrent_layer(
        *(shape.cell, shape.embedding_size, shape.hidden_size, shape.num_layers),
        dtype=training.dtype,
        device=training.device,
    )
    net = recurrent_lm.recurrent_lm(layer, texts.vocabulary.size, texts.vocabulary.end, shape.tied)
    bias = {} if shape.forget_bias is None else {"forget_bias": shape.forget_bias}
    usual = partial(recurrent_lm.initial, net, seeds, **bias)
    params = usual() if shape.init_scale is None else recurrent_lm.uniform_initial(net, seeds, shape.init_scale)
    between = training.dropout if shape.num_layers > 1 else 0.0
    noisy = recurrent_lm_gradients.Noise(training.dropout, between, training.dropout)
    gradients = recurrent_lm_gradients.gradients(net, seeds, noisy, training.truncation)
    source = windows(texts, seeds, training.batch_size, training.steps)
    states = recurrent_lm.zero_states(net, len(seeds), training.batch_size)
    given = texts, seeds, net, params, source, gradients, training, recurrent_lm_scores
    found = _trained(*given, carried=states)
    made = _network(shape.cell, net, recurrent_lm, recurrent_lm_scores, found, training.batch_size * training.steps)

    def dynamic(replica: int, tokens: np.ndarray, rate: float) -> np.ndarray:
        own = _of(found.params, replica)
        return recurrent_lm_scores.dynamic_log_probabilities(net, own, tokens, rate, training.steps)[0]

    back = min(training.truncation or training.steps, training.steps)
    tape = memory_bytes(layer, back, training.batch_size)["tape"]
    return made._replace(dynamic=dynamic, tape_bytes=tape)


def attention(texts: Texts, seeds, shape: Shape, training: Training) -> Rung:
    """Causal self-attention over windows; every window begins anew."""
    sizes = training.steps, shape.embedding_size, shape.heads, shape.num_layers, shape.hidden_size
    words = texts.vocabulary
    net = self_attention_lm.self_attention_lm(words.size, *sizes, end=words.end, dtype=training.dtype)

    def gradients(params, live, seen, update, penalised):
        rate = training.dropout[live]
        dropped = self_attention_lm.dropout(net, seeds[live], update, seen, rate) if rate.any() else None
        return self_attention_lm.loss_and_gradients(net, params, seen, dropped)

    source = windows(texts, seeds, training.batch_size, training.steps)
    params, scores = self_attention_lm.initial(net, seeds), self_attention_lm_scores
    found = _trained(texts, seeds, net, params, source, gradients, training, scores)
    return _network("self-attention", net, self_attention_lm, scores, found, training.batch_size * training.steps)


RUNGS = {"counts": counts, "window": window, "recurrent": recurrent, "attention": attention}


def _trained(texts, seeds, net, params, source, gradients, training: Training, scores, carried=None) -> Trained:
    """Train networks, with the validation loss at every point of the history."""
    take, each = source
    updates = training.epochs * each
    plan = Plan(
        updates=updates,
        learning_rate=training.learning_rate,
        rule=training.rule,
        schedule=_schedule(training, each),
        clip_norm=training.clip,
        every=-(-updates // training.points),
        patience=None if training.patience is None else Patience("valid_loss", training.patience),
    )
    rows = {"rows": ROWS} if scores is recurrent_lm_scores else {}

    def measure(params, live, update):
        logs = [
            scores.log_probabilities(net, _of(params, i), texts.of("valid", r), **rows)[0] for i, r in enumerate(live)
        ]
        return {"valid_loss": np.array([-own.mean() for own in logs])}

    what = f"{texts.name}, {type(net).__name__}"
    return train(net, params, seeds, take, plan, measure=measure, gradients=gradients, carried=carried, what=what)


def _schedule(training: Training, each: int):
    """The schedule in updates; one that divides counts epochs."""
    if training.divide_after is None:
        return training.schedule
    return Divided(training.divide_after * each, each, training.divide_by)


def _of(params: dict, replica: int) -> dict:
    """The parameters of one replica, its axis kept."""
    return {name: array[replica : replica + 1] for name, array in params.items()}


def _network(label: str, net, model, scores, found: Trained, tokens: int) -> Rung:
    """The rung of trained networks; `tokens` are those of an update."""
    shapes = model.parameter_shapes(net)
    weights = [_of(found.params, r) for r in range(len(found.ended))]
    multiplied = sum(int(np.prod(shape)) for name, shape in shapes.items() if name not in APART and len(shape) > 1)
    multiplied += int(np.prod(shapes["weight_embedding"])) if getattr(net, "tied", False) else 0
    return Rung(
        label,
        *(np.full(len(weights), number) for number in model.size(net)),
        PRODUCTS * multiplied * tokens * found.ended.astype(float),
        lambda replica, tokens, protocol: scores.log_probabilities(net, weights[replica], tokens, protocol)[0],
        lambda replica, contexts: scores.next_distribution(net, weights[replica], contexts)[0],
        (found.points, found.history["loss"], found.history["valid_loss"]),
        found.outcome == ENDS.index("diverged"),
    )
