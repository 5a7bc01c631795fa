"""Temporal order: which of two symbols came at two (or three) places among distractors, asked at the last step.

Inputs are one of 6 symbols: 0 and 1 at the places, 2 … 5 everywhere else. Place i is uniform in a tenth of the length.
"""

from functools import partial

import numpy as np

from recurlab.models.sequence import Batch
from recurlab.tasks.task import Draws, Task, nothing, one_hot, put_at_steps

DISTRACTORS = 4
SYMBOLS = 2 + DISTRACTORS


def _temporal_order(draws: Draws, length: int, batch: int, dtype: str, tenths: tuple) -> Batch:
    """Bit i at a step of [tenths[i] L/10, (tenths[i] + 1) L/10); target Σ 2^i bit i."""
    symbols = 2 + draws.integers("distractors", DISTRACTORS, length, batch)
    bits = draws.integers("bits", 2, len(tenths), batch)
    places = draws.integers("places", length // 10, len(tenths), batch)
    for i, tenth in enumerate(tenths):
        put_at_steps(symbols, tenth * length // 10 + places[:, i], bits[:, i])
    return Batch(one_hot(symbols, SYMBOLS, dtype), np.tensordot(bits, 2 ** np.arange(len(tenths)), axes=(1, 0)))


def _chance(length: int, classes: int) -> float:
    return float(np.log(classes))


SHARED = {"loss": "cross_entropy", "at": "last", "inputs": SYMBOLS, "optimum": nothing, "shortest": 10}

TEMPORAL_ORDER = Task(
    name="temporal_order",
    source="Pascanu, Mikolov, Bengio 2013; github pascanur/trainingRNNs, tempOrder.py (its code, not its docstring)",
    says="symbols 0 or 1 in [.1 L, .2 L) and [.5 L, .6 L) among distractors 2 … 5; 4 classes; chance ln 4",
    outputs=4,
    baseline=partial(_chance, classes=4),
    generate=partial(_temporal_order, tenths=(1, 5)),
    **SHARED,
)
TEMPORAL_ORDER_3BIT = Task(
    name="temporal_order_3bit",
    source="Hochreiter & Schmidhuber 1997, task 6b, scaled by Pascanu et al. 2013; github pascanur/trainingRNNs, "
    "tempOrder3bit.py",
    says="as temporal_order, with symbols in [.1 L, .2 L), [.3 L, .4 L) and [.6 L, .7 L); 8 classes; chance ln 8",
    outputs=8,
    baseline=partial(_chance, classes=8),
    generate=partial(_temporal_order, tenths=(1, 3, 6)),
    **SHARED,
)
