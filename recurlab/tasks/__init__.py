"""Tasks: sequences with inputs, targets and the exact loss of the best guess. A new task is one file and one line.

TASKS are drawn anew at every update, DATASETS are given.
"""

from recurlab.tasks.adding import ADDING, ADDING_PASCANU, ADDING_TCN
from recurlab.tasks.characters import TINYSHAKESPEARE
from recurlab.tasks.copy import COPY, COPY_TCN
from recurlab.tasks.delayed_xor import DELAYED_XOR
from recurlab.tasks.given import SUNSPOTS, TEMPERATURES
from recurlab.tasks.images import DIGITS, MNIST_14, MNIST_28, PERMUTED_DIGITS, PERMUTED_MNIST_14, PERMUTED_MNIST_28
from recurlab.tasks.latch import LATCH
from recurlab.tasks.music import JSB, NOTTINGHAM
from recurlab.tasks.reber import EMBEDDED_REBER, REBER
from recurlab.tasks.series import AUTOREGRESSION, LEAKY_SUM, SAMPLE_AND_HOLD
from recurlab.tasks.temporal_order import TEMPORAL_ORDER, TEMPORAL_ORDER_3BIT

_DRAWN = (
    *(ADDING, ADDING_TCN, ADDING_PASCANU),
    *(COPY, COPY_TCN),
    *(TEMPORAL_ORDER, TEMPORAL_ORDER_3BIT),
    LATCH,
    DELAYED_XOR,
    *(REBER, EMBEDDED_REBER),
    *(LEAKY_SUM, SAMPLE_AND_HOLD, AUTOREGRESSION),
)
_GIVEN = (
    *(DIGITS, PERMUTED_DIGITS),
    *(MNIST_14, PERMUTED_MNIST_14, MNIST_28, PERMUTED_MNIST_28),
    *(JSB, NOTTINGHAM),
    TINYSHAKESPEARE,
    *(SUNSPOTS, TEMPERATURES),
)
TASKS = {task.name: task for task in _DRAWN}
DATASETS = {dataset.name: dataset for dataset in _GIVEN}
