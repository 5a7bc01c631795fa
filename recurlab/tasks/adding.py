"""Adding: sum the two numbers that are marked. Three generators share the name; each stands here under its own.

Inputs (value, mark), values uniform in [0, 1). Whoever has forgotten them guesses the mean: Var(u₁ + u₂) = 1/6 is left.
"""

import numpy as np

from recurlab.models.sequence import Batch
from recurlab.tasks.task import Draws, Task, at_steps, nothing, put_at_steps


def _marked(values: np.ndarray, first, second, dtype) -> tuple[np.ndarray, np.ndarray]:
    """x (R, T, B, 2) from values (R, T, B) and two steps (R, B), and the sum of both values (R, B)."""
    x = np.zeros((*values.shape, 2), dtype)
    x[..., 0] = values
    for steps in (first, second):
        put_at_steps(x[..., 1], steps, 1)
    return x, at_steps(x[..., 0], first) + at_steps(x[..., 0], second)


def halves(draws: Draws, length: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """One step in each half, (R, B) each; the last step of an odd length is never chosen."""
    half = length // 2
    return draws.integers("first", half, batch), half + draws.integers("second", half, batch)


def _adding(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    x, total = _marked(draws.uniforms("values", length, batch), *halves(draws, length, batch), dtype)
    return Batch(x, total[..., None])


def _adding_tcn(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    first = draws.integers("first", length, batch)
    second = (first + 1 + draws.integers("distance", length - 1, batch)) % length
    x, total = _marked(draws.uniforms("values", length, batch), first, second, dtype)
    return Batch(x, total[..., None])


def _longest(length: int) -> int:
    """The longest of Pascanu's sequences: their lengths are uniform over L … L + ⌊L/10⌋ - 1."""
    return length + length // 10 - 1


def _adding_pascanu(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    own = length + draws.integers("length", length // 10, 1)  # (R, 1): one length for all sequences of an update
    first = np.floor(draws.uniforms("first", batch) * (own // 10)).astype(int)
    second = own // 10 + np.floor(draws.uniforms("second", batch) * (2 * own // 5)).astype(int)
    values = draws.uniforms("values", _longest(length), batch)
    x, total = _marked(values * (np.arange(_longest(length))[:, None] < own[:, None]), first, second, dtype)
    return Batch(x, total[..., None] / 2, ends=np.repeat(own - 1, batch, axis=1))


def _variance_of_sum(length: int) -> float:
    return 1 / 6


def _variance_of_mean(length: int) -> float:
    return 1 / 24


SHARED = {"loss": "squared_error", "at": "last", "inputs": 2, "outputs": 1, "optimum": nothing}

ADDING = Task(
    name="adding",
    source="Arjovsky, Shah, Bengio 2016; github amarshah/complex_RNN, adding_problem.py",
    says="inputs (value, mark), one mark in each half; target the sum of the marked values; the mean leaves 1/6",
    baseline=_variance_of_sum,
    generate=_adding,
    shortest=2,
    **SHARED,
)
ADDING_TCN = Task(
    name="adding_tcn",
    source="Bai, Kolter, Koltun 2018; github locuslab/TCN, adding_problem/utils.py",
    says="as adding, but the two marks are anywhere",
    baseline=_variance_of_sum,
    generate=_adding_tcn,
    shortest=2,
    **SHARED,
)
ADDING_PASCANU = Task(
    name="adding_pascanu",
    source="Pascanu, Mikolov, Bengio 2013; github pascanur/trainingRNNs, addition.py",
    says="l steps, l uniform in [L, 1.1 L) for each update, marks in [0, .1 l) and [.1 l, .5 l); target the mean of "
    "the marked values; its own mean leaves 1/24",
    baseline=_variance_of_mean,
    generate=_adding_pascanu,
    steps=_longest,
    shortest=10,
    **SHARED,
)
