"""Delayed XOR: are the two marked bits different? No linear function of both tells."""

import numpy as np

from recurlab.models.sequence import Batch
from recurlab.tasks.adding import halves
from recurlab.tasks.task import Draws, Task, at_steps, nothing, put_at_steps


def _delayed_xor(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    bits, places = draws.integers("bits", 2, length, batch), halves(draws, length, batch)
    x = np.zeros((*bits.shape, 2), dtype)
    x[..., 0] = bits
    for steps in places:
        put_at_steps(x[..., 1], steps, 1)
    return Batch(x, at_steps(bits, places[0]) ^ at_steps(bits, places[1]))


def _chance(length: int) -> float:
    return float(np.log(2))


DELAYED_XOR = Task(
    name="delayed_xor",
    source="as the XOR problem of Martens & Sutskever 2011, with the marks of adding",
    says="inputs (bit, mark), one mark in each half; target the XOR of the marked bits; chance ln 2",
    loss="cross_entropy",
    at="last",
    inputs=2,
    outputs=2,
    baseline=_chance,
    optimum=nothing,
    generate=_delayed_xor,
    shortest=2,
)
