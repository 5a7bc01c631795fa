"""Tasks: sequences with inputs, targets and the exact loss of the best guess. A new task is one file and one line."""

from recurlab.tasks.adding import ADDING, ADDING_PASCANU, ADDING_TCN
from recurlab.tasks.copy import COPY, COPY_TCN
from recurlab.tasks.delayed_xor import DELAYED_XOR
from recurlab.tasks.latch import LATCH
from recurlab.tasks.reber import EMBEDDED_REBER, REBER
from recurlab.tasks.series import AUTOREGRESSION, LEAKY_SUM, SAMPLE_AND_HOLD
from recurlab.tasks.temporal_order import TEMPORAL_ORDER, TEMPORAL_ORDER_3BIT

_ALL = (
    *(ADDING, ADDING_TCN, ADDING_PASCANU),
    *(COPY, COPY_TCN),
    *(TEMPORAL_ORDER, TEMPORAL_ORDER_3BIT),
    LATCH,
    DELAYED_XOR,
    *(REBER, EMBEDDED_REBER),
    *(LEAKY_SUM, SAMPLE_AND_HOLD, AUTOREGRESSION),
)
TASKS = {task.name: task for task in _ALL}
