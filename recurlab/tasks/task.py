"""A generated task: fresh sequences at every update, with the exact loss of the best guesses.

Every number is addressed by (seed, task, purpose, what it is, step), so the rows of a replica depend on its seed, the
purpose, the step and the sizes alone: not on the other replicas and not on what was drawn before.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab.kernels import draw
from recurlab.layers.checks import expect_choice, expect_size
from recurlab.layers.recurrent import DTYPES
from recurlab.models.sequence import Batch

PURPOSES = ("train", "valid", "test")


class Draws(NamedTuple):
    """The random numbers of one update of R replicas; every array has a leading R."""

    seeds: np.ndarray
    task: str
    purpose: str
    step: int

    def uniforms(self, what: str, *shape: int) -> np.ndarray:
        """Uniform float64 in [0, 1)."""
        return self._shaped(draw.uniforms, what, shape)

    def normals(self, what: str, *shape: int) -> np.ndarray:
        """Standard normal float64."""
        return self._shaped(draw.normals, what, shape)

    def integers(self, what: str, high: int, *shape: int) -> np.ndarray:
        """Uniform int64 in [0, high)."""
        return self._shaped(lambda seeds, *address: draw.integers(seeds, high, *address), what, shape)

    def _shaped(self, drawn, what, shape):
        numbers = drawn(self.seeds, f"{self.task} {self.purpose} {what}", self.step, int(np.prod(shape)))
        return numbers.reshape(len(self.seeds), *shape)


class Task(NamedTuple):
    """A family of sequences with one length parameter; `task.draw` gives batches of it."""

    name: str
    source: str
    says: str  # inputs, targets and the guess without memory, in a sentence
    loss: str  # of layers.loss.LOSSES
    at: str  # "last" or "every" step
    inputs: int
    outputs: int
    baseline: Callable[[int], float]  # length -> exact expected loss of the best guess without memory
    optimum: Callable[[int], float]  # length -> exact expected loss of the best guess of all
    generate: Callable  # (Draws, length, batch, dtype) -> Batch
    steps: Callable[[int], int] = int  # length -> T
    shortest: int = 1  # of length
    window: Callable[[int, int], float] | None = None  # (length, k) -> exact best loss of a guess from k inputs

    def draw(self, seeds, purpose: str, step: int, length: int, batch: int, dtype: str = "float32") -> Batch:
        """The batch of an update: R replicas with B sequences each.

        seeds (R,) whole numbers, purpose of PURPOSES. ValueError for a length the task does not have.
        """
        expect_choice("purpose", purpose, PURPOSES)
        expect_choice("dtype", dtype, DTYPES)
        expect_size("batch", batch)
        expect_size(f"length of {self.name}", length, self.shortest)
        return self.generate(Draws(seeds, self.name, purpose, step), length, batch, dtype)


def nothing(length: int) -> float:
    """The best loss of a task that can be solved."""
    return 0.0


def one_hot(symbols: np.ndarray, count: int, dtype: str) -> np.ndarray:
    """Symbols (…) -> (…, count), 1 at the symbol."""
    return np.take(np.eye(count, dtype=dtype), symbols, axis=0)


def at_steps(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Values (R, T, B) at one step for each row, (R, B)."""
    return np.take_along_axis(values, steps[:, None], axis=1)[:, 0]


def put_at_steps(values: np.ndarray, steps: np.ndarray, put) -> None:
    """Write into values (R, T, B) at one step for each row, steps (R, B)."""
    np.put_along_axis(values, steps[:, None], np.asarray(put)[..., None, :] if np.ndim(put) else put, axis=1)
