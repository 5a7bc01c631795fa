"""Copy memory: ten symbols, a long pause, then the ten symbols again. Two generators, which differ in the recall cue.

Inputs are one of 10 symbols: 0 blank, 1 … 8 to remember, 9 the cue. T = length + 20 steps; all but the last ten targets
are blank. Who counts the steps but has forgotten the symbols pays ln 8 for each of them: 10 ln 8 / (T + 20) on average.
"""

from functools import partial

import numpy as np

from recurlab.models.sequence import Batch
from recurlab.tasks.task import Draws, Task, nothing, one_hot

KEPT = 10  # symbols to remember
ALPHABET = 8
CUE = 9


def _copy(draws: Draws, length: int, batch: int, dtype: str, cued: int) -> Batch:
    """Ten symbols, length - 1 blanks, then the cue for `cued` steps and blanks up to length + 20 steps."""
    symbols = 1 + draws.integers("symbols", ALPHABET, KEPT, batch)
    inputs = np.zeros((len(draws.seeds), _steps(length), batch), np.int64)
    targets = np.zeros_like(inputs)
    inputs[:, :KEPT], targets[:, -KEPT:] = symbols, symbols
    cue = KEPT + length - 1
    inputs[:, cue : cue + cued] = CUE
    return Batch(one_hot(inputs, CUE + 1, dtype), targets)


def _steps(length: int) -> int:
    return length + 2 * KEPT


def _baseline(length: int) -> float:
    return KEPT * np.log(ALPHABET) / _steps(length)


SHARED = {
    "loss": "cross_entropy",
    "at": "every",
    "inputs": CUE + 1,
    "outputs": CUE,
    "baseline": _baseline,
    "optimum": nothing,
    "steps": _steps,
}

COPY = Task(
    name="copy",
    source="Hochreiter & Schmidhuber 1997; Arjovsky, Shah, Bengio 2016; github amarshah/complex_RNN, memory_problem.py",
    says="10 of 8 symbols, `length` - 1 blanks, one cue, 10 blanks in which the symbols come back; blanks and then any "
    "symbol leave 10 ln 8 / (length + 20)",
    generate=partial(_copy, cued=1),
    **SHARED,
)
COPY_TCN = Task(
    name="copy_tcn",
    source="Bai, Kolter, Koltun 2018; github locuslab/TCN, copy_memory/utils.py (there the symbol is one number)",
    says="as copy, but the cue is given in all of the last 11 steps",
    generate=partial(_copy, cued=KEPT + 1),
    **SHARED,
)
