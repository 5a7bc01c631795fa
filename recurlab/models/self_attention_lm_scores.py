"""What a self-attention language model says of a text: ln p of its words, and of every word that may come next.

A text that is longer than the context goes through in windows that overlap by half, so that every word but the first of
a text has at least half a context in front of it; a word is scored once.
"""

from collections.abc import Callable, Iterator

import numpy as np

from recurlab.layers import softmax
from recurlab.layers.checks import expect, expect_choice
from recurlab.layers.embedding import check_ids
from recurlab.models.self_attention_lm import SelfAttentionLM, read
from recurlab.models.words import PROTOCOLS, Words, positions_in_sentence

ROWS = 32  # windows of a forward pass


def log_probabilities(net: SelfAttentionLM, params: dict, tokens: np.ndarray, protocol: str = "carry") -> np.ndarray:
    """ln p(tokens[t] | tokens[:t]) of a text (N,): (R, N) float64.

    Protocol "carry" sees the words before across sentence ends, "reset" those of the sentence alone. The first word is
    told by a `<eos>` before it; a vocabulary without one has the uniform distribution there, and no "reset".
    """
    expect_choice("protocol", protocol, PROTOCOLS)
    expect(net.end is not None or protocol == "carry", "protocol", protocol, "carry for a vocabulary without <eos>")
    tokens = np.asarray(tokens)
    check_ids("tokens", tokens, net.words)
    first = 0 if net.end is not None else 1
    before = np.concatenate([[0 if net.end is None else net.end], tokens[:-1]])
    found = np.full((len(params["bias_out"]), len(tokens)), -np.log(net.words))
    for windows in _groups(_windows(net, tokens, protocol, first)):
        _score(net, params, before, tokens, windows, found)
    return found


def next_distribution(net: SelfAttentionLM, params: dict, contexts: np.ndarray) -> np.ndarray:
    """ln p of the word behind each context ([R,] B, T), of which the last C words count: (R, B, V) float64."""
    logs = softmax.log_probabilities(params["weight_out"], params["bias_out"], _behind(net, params, contexts))
    return logs.astype(np.float64)


def context_log_probabilities(
    net: SelfAttentionLM, params: dict, tokens: np.ndarray, at: np.ndarray, context: int
) -> np.ndarray:
    """ln p of the tokens at some places given the last `context` tokens alone, at most C: (R, len(at)).

    ValueError for a place with fewer tokens before it.
    """
    expect(1 <= context <= net.context, "context", context, f"1 … {net.context}, the context of the model")
    at = np.asarray(at)
    expect(bool(at.size and at.min() >= context and at.max() < len(tokens)), "at", at, f"{context} … {len(tokens) - 1}")
    found = []
    for some in (at[first : first + ROWS] for first in range(0, at.size, ROWS)):
        h = _behind(net, params, tokens[some[:, None] - np.arange(context, 0, -1)])
        found.append(softmax.target_log_probabilities(params["weight_out"], params["bias_out"], h, tokens[some]))
    return np.concatenate(found, axis=1)


def step(net: SelfAttentionLM, params: dict) -> Callable:
    """A function (states, words (R, B)) -> (ln p of the next word (R, B, V), states): what `generation` takes.

    Its state are the words so far, (R, 1, B, T), None or T = 0 at a beginning.
    """

    def next_words(states: tuple | None, words: np.ndarray):
        seen = words[:, None, :, None]
        if states is not None:
            seen = np.concatenate([states[0], seen], axis=3)[..., -net.context :]
        return next_distribution(net, params, seen[:, 0]), (seen,)

    return next_words


def _behind(net: SelfAttentionLM, params: dict, contexts: np.ndarray) -> np.ndarray:
    """h behind the last C words of contexts ([R,] B, T), (R, B, E)."""
    ids = np.ascontiguousarray(np.swapaxes(np.asarray(contexts)[..., -net.context :], -1, -2))
    return read(net, params, Words(ids, ids)).h[:, -ids.shape[-1] :]


def _windows(net: SelfAttentionLM, tokens: np.ndarray, protocol: str, first: int) -> np.ndarray:
    """(start, first place that counts, end) of every window, (J, 3)."""
    starts = np.array([first])
    if protocol == "reset":
        starts = np.flatnonzero(positions_in_sentence(tokens, net.end) == 0)
    ends = np.append(starts[1:], len(tokens))
    stride = max(1, net.context // 2)
    found = []
    for start, end in zip(starts, ends, strict=True):
        further = np.arange(start + stride, max(start, end - net.context) + stride, stride)
        counted = np.concatenate([[start], further + net.context - stride])
        begins = np.concatenate([[start], further])
        found.append(np.stack([begins, counted, np.minimum(begins + net.context, end)], axis=1))
    return np.concatenate(found)


def _groups(windows: np.ndarray) -> Iterator[np.ndarray]:
    """ROWS windows of similar length at a time; none without a place that counts."""
    windows = windows[windows[:, 1] < windows[:, 2]]
    order = np.argsort(windows[:, 2] - windows[:, 0], kind="stable")
    yield from (windows[order[first : first + ROWS]] for first in range(0, len(order), ROWS))


def _score(net: SelfAttentionLM, params: dict, before, tokens, windows: np.ndarray, found: np.ndarray) -> None:
    """Write ln p of the places that count in some windows."""
    lengths = windows[:, 2] - windows[:, 0]
    step = np.arange(lengths.max())[:, None]
    place = np.minimum(windows[:, 0] + step, windows[:, 2] - 1)  # (T, B); behind the end the last one
    words = Words(before[place], tokens[place], lengths)
    logs = softmax.target_log_probabilities(
        params["weight_out"], params["bias_out"], read(net, params, words).h, words.targets[step < lengths]
    )
    inside = place[step < lengths]
    counts = (place >= windows[:, 1])[step < lengths]
    found[:, inside[counts]] = logs[:, counts]
