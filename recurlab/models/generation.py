"""Writing on from a prompt with any model that tells the next word: drawn at a temperature, or searched with beams.

A model is a step(states, words (R, B)) -> (ln p of the next word (R, B, V), states), `states` a tuple of arrays
(R, X, B, Y), or None at a beginning: R replicas, B rows. Without an `end` (None) rows are written to their full length.
"""

from collections.abc import Callable

import numpy as np

from recurlab.kernels import draw
from recurlab.layers.checks import expect, expect_size
from recurlab.models.beam_search import Written, write

NEVER = -1  # the end of rows that have none


def read_prompt(step: Callable, states: tuple | None, prompt: np.ndarray) -> tuple[tuple | None, np.ndarray]:
    """The states behind all but the last word of prompts (R, B, T), and that word (R, B)."""
    expect(prompt.ndim == 3 and prompt.shape[2] > 0, "prompt", f"shape {prompt.shape}", "(R, B, T) with T ≥ 1")
    for t in range(prompt.shape[2] - 1):
        _, states = step(states, prompt[:, :, t])
    return states, prompt[:, :, -1]


def sample(
    step: Callable,
    states: tuple | None,
    prompt: np.ndarray,
    seeds,
    length: int,
    temperature=1.0,
    end: int | None = None,
) -> Written:
    """Words drawn from p^(1 / temperature), normalised; temperature a number or (R,), 0 takes the most probable
    word (of equals, one that is drawn).

    Word t of row b of a replica takes the number at (seed, "generation", t, b): it does not depend on the other rows.
    `log_probability` is that of the model itself, at temperature 1.
    """
    expect_size("length", length)
    temperature = np.asarray(temperature, float)
    expect(
        bool(np.all((temperature >= 0) & np.isfinite(temperature))), "temperature", temperature, "finite numbers ≥ 0"
    )
    states, words = read_prompt(step, states, prompt)
    expect(len(seeds) == len(words), "seeds", f"{len(seeds)} seeds", f"one for each of {len(words)} replicas")
    ended, total, text = np.zeros(words.shape, bool), np.zeros(words.shape), []
    for t in range(length):
        logs, states = step(states, words)
        words = _drawn(logs.astype(np.float64), temperature, draw.uniforms(seeds, "generation", t, words.shape[1]))
        words = np.where(ended, NEVER if end is None else end, words)
        total += np.where(ended, 0, np.take_along_axis(logs, words[..., None], axis=2)[..., 0])
        text.append(words)
        ended = ended | (words == end)
    text = np.stack(text, axis=2)
    lengths = np.where(ended, (text == end).argmax(axis=2) + 1, length)
    return Written(text, total, lengths)


def search(
    step: Callable,
    states: tuple,
    prompt: np.ndarray,
    longest: int,
    beams: int,
    end: int | None = None,
    length_power: float = 0.0,
) -> Written:
    """The most probable way on of at most `longest` words that `beams` find, see `beam_search.write`."""
    expect_size("beams", beams)
    states, words = read_prompt(step, states, prompt)
    expect(states is not None, "states", states, "those of a beginning, to be repeated for every beam")
    states = tuple(np.repeat(state, beams, axis=2) for state in states)
    begin = np.repeat(words, beams, axis=1)
    return write(step, states, begin, NEVER if end is None else end, longest, beams, length_power)


@np.errstate(over="ignore")  # of logarithms over a temperature near 0
def _drawn(logs: np.ndarray, temperature: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The words at which the sum of p^(1 / temperature) passes u of its whole, (R, B)."""
    beside, temperature = logs - logs.max(axis=2, keepdims=True), temperature.reshape(-1, 1, 1)
    shares = np.where(temperature > 0, np.exp(beside / np.where(temperature > 0, temperature, 1)), beside == 0)
    passed = np.cumsum(shares, axis=2)
    return (passed <= u[..., None] * passed[..., -1:]).sum(axis=2)  # u < 1: the product is rounded below the whole
