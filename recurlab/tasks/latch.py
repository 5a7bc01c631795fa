"""Latch: hold the sign of the first input against noise until the end."""

import numpy as np

from recurlab.models.sequence import Batch
from recurlab.tasks.task import Draws, Task, nothing

NOISE = 0.2  # variance


def _latch(draws: Draws, length: int, batch: int, dtype: str) -> Batch:
    x = np.sqrt(NOISE) * draws.normals("noise", length, batch)
    targets = draws.integers("class", 2, batch)
    x[:, 0] = 2 * targets - 1
    return Batch(x[..., None].astype(dtype), targets)


def _chance(length: int) -> float:
    return float(np.log(2))


LATCH = Task(
    name="latch",
    source="Bengio, Simard, Frasconi 1994; as variant II of Hochreiter & Schmidhuber 1996, 'Bridging long time lags by "
    "weight guessing and LSTM': fixed inputs, noise of variance 0.2",
    says="first input ±1, then Gaussian noise of variance 0.2; 2 classes, the first sign; chance ln 2",
    loss="cross_entropy",
    at="last",
    inputs=1,
    outputs=2,
    baseline=_chance,
    optimum=nothing,
    generate=_latch,
)
