"""What a trained neural n-gram model says of a text, and how much it looks at each of the last words."""

from collections.abc import Callable

import numpy as np

from recurlab.layers import softmax
from recurlab.layers.checks import expect, expect_size
from recurlab.models.window_lm import NOTHING, WindowLM, contexts, output, read

PLACES = 4096  # words that the model is asked about at a time


def log_probabilities(net: WindowLM, params: dict, tokens: np.ndarray, protocol: str = "carry") -> np.ndarray:
    """ln p(tokens[t] | the k tokens before it) of a text (N,), (R, N) float64; see `contexts` for the protocols."""
    return context_log_probabilities(net, params, tokens, np.arange(len(tokens)), net.window, protocol)


def context_log_probabilities(
    net: WindowLM, params: dict, tokens: np.ndarray, at: np.ndarray, context: int, protocol: str = "carry"
) -> np.ndarray:
    """ln p of the tokens at some places given the last `context` tokens alone, (R, len(at))."""
    at = np.asarray(at)
    inside = bool(at.size and at.min() >= 0 and at.max() < len(tokens))
    expect(inside, "at", f"{at.size} places", f"at least one, of 0 … {len(tokens) - 1}")
    expect_size("context", context, low=0)
    found, out = [], output(net, params)
    for first in range(0, at.size, PLACES):
        seen = contexts(net, tokens, at[first : first + PLACES], protocol, context)
        features = read(net, params, seen.ids).features
        found.append(softmax.target_log_probabilities(*out, features, seen.targets))
    return np.concatenate(found, axis=1)


def next_distribution(net: WindowLM, params: dict, contexts: np.ndarray) -> np.ndarray:
    """ln p(next word | context) for contexts (B, T), (R, B, V): of their last k words; fewer are filled up in front."""
    return softmax.log_probabilities(*output(net, params), read(net, params, _last(net, contexts)).features)


def step(net: WindowLM, params: dict) -> Callable:
    """A function (states, words (R, B)) -> (ln p of the next word (R, B, V), states): what `generation` takes.

    The state is the last k words, (R, 1, B, k).
    """

    def next_words(states, words: np.ndarray):
        before = np.empty((*words.shape, 0), np.int64) if states is None else states[0][:, 0]
        seen = _last(net, np.concatenate([before, words[..., None]], axis=2))
        logs = softmax.log_probabilities(*output(net, params), read(net, params, seen).features)
        return logs, (seen[:, None],)

    return next_words


@np.errstate(invalid="ignore")  # 0 / 0, and what a diverged replica holds
def position_weights(net: WindowLM, params: dict, tokens: np.ndarray) -> np.ndarray:
    """What each word of the window is listened to, (R, k), the nearest first; the weights of a replica sum up to 1.

    The variance that the words of a text bring to the hidden units through the part of A at a position, over that of
    all positions. Without a hidden layer it is the logits and W; what all logits have in common, no softmax sees.
    NaN where nothing varies: in a text of one word.
    """
    if net.hidden_size is None:
        matrix = params["weight_direct"] - params["weight_direct"].mean(axis=1, keepdims=True)
    else:
        matrix = params["weight_hidden"]
    share = np.bincount(tokens, minlength=net.words) / len(tokens)
    apart = params["weight_embedding"] - np.einsum("v,rve->re", share, params["weight_embedding"])[:, None]
    spread = np.einsum("v,rve,rvf->ref", share, apart, apart)  # (R, E, E), the covariance of an embedded word
    parts = matrix.reshape(*matrix.shape[:2], net.window, net.embedding_size)
    variance = np.einsum("rhke,ref,rhkf->rk", parts, spread, parts, optimize=True)[:, ::-1]
    return variance / variance.sum(axis=1, keepdims=True)


def _last(net: WindowLM, contexts: np.ndarray) -> np.ndarray:
    """The last k words of contexts (…, T), filled up in front, (…, k)."""
    filler = NOTHING if net.end is None else net.end
    missing = max(0, net.window - contexts.shape[-1])
    before = np.full((*contexts.shape[:-1], missing), filler, contexts.dtype)
    return np.concatenate([before, contexts], axis=-1)[..., -net.window :]
