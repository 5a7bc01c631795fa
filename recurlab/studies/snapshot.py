"""What does a network lose that sees a snapshot of the past, its last k inputs, against one that carries a state?

Of the series tasks the exact loss of the best guess from k inputs is known: no window can do better, and a recurrent
network that does has remembered what lies before the window.
"""

from collections.abc import Callable
from functools import partial
from itertools import count, takewhile
from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect
from recurlab.layers.recurrent import parameter_shapes, recurrent
from recurlab.models import sequence, window_mlp
from recurlab.models.gradients import loss_and_gradients
from recurlab.studies.kinds import CELL, DEVICE, DTYPE, POSITIVE, SIZE, WINDOW_TASK, list_of, optional
from recurlab.studies.study import Study, device_problems
from recurlab.tasks import TASKS
from recurlab.tasks.task import Task
from recurlab.train import ENDS, Plan, train
from recurlab.weights import init

TEST_ROWS = 512  # sequences of a test batch
POINTS = 10  # of a training run; the training loss is the mean over the last tenth


class Model(NamedTuple):
    """Networks of one kind, one for each seed, before training."""

    name: str
    net: object
    params: dict
    states: int  # numbers that are carried from one step to the next
    hidden_size: int
    gradients: Callable  # (net, params, batch) -> Result
    evaluate: Callable  # (net, params, batch) -> loss (R,), error (R,)


class Data(NamedTuple):
    """Batches of a task, as the networks of all kinds see them."""

    task: Task
    length: int
    batch_size: int
    dtype: str
    device: str

    def draw(self, purpose: str, seeds, step: int, rows: int | None = None) -> sequence.Batch:
        """The batch of an update, or `rows` sequences of the test set."""
        return self.task.draw(seeds, purpose, step, self.length, rows or self.batch_size, self.dtype)


def snapshot(
    *,
    seeds,
    task: WINDOW_TASK,
    length: SIZE,
    cell: optional(CELL),
    windows: list_of(SIZE),
    parameters: SIZE,
    batch_size: SIZE,
    updates: SIZE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    test_batches: SIZE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train a window MLP for each window, or (with a cell) one recurrent network, which stands beside every window.

    Adam with a learning rate that falls linearly to 0, new data at every update; the networks of a seed share them.
    """
    data = Data(TASKS[task], length, batch_size, dtype, device)
    plan = Plan(updates, learning_rate, schedule="linear", clip_norm=clip, every=-(-updates // POINTS))
    if cell is None:
        models = [_window(data, window, parameters, seeds) for window in windows]
        parts = [_rows(data, model, [k], seeds, plan, test_batches) for model, k in zip(models, windows, strict=True)]
    else:
        parts = [_rows(data, _recurrent(data, cell, parameters, seeds), windows, seeds, plan, test_batches)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _window(data: Data, window: int, parameters: int, seeds) -> Model:
    """Window MLPs with at most that many parameters."""
    task = data.task
    made = partial(window_mlp.window_mlp, task.inputs, window, outputs=task.outputs, loss=task.loss, dtype=data.dtype)
    net = made(hidden_size=_widest(lambda hidden: window_mlp.parameter_shapes(made(hidden_size=hidden)), parameters))
    functions = window_mlp.loss_and_gradients, window_mlp.evaluate
    kept = (window - 1) * task.inputs
    return Model("window MLP", net, window_mlp.initial(net, seeds), kept, net.hidden_size, *functions)


def _recurrent(data: Data, cell: str, parameters: int, seeds) -> Model:
    """Recurrent networks with at most that many parameters, from the defaults of PyTorch."""
    task, outputs = data.task, data.task.outputs
    made = partial(recurrent, cell, task.inputs, dtype=data.dtype, device=data.device)
    hidden = _widest(lambda hidden: parameter_shapes(made(hidden)) | {"out": (outputs, hidden + 1)}, parameters)
    net = sequence.network(made(hidden), outputs, task.loss, task.at)
    params = init(net.layer, seeds) | sequence.readout(net, seeds)
    kept = len(net.layer.spec.states) * hidden
    return Model(cell, net, params, kept, hidden, loss_and_gradients, sequence.evaluate)


def _widest(shapes: Callable[[int], dict], parameters: int) -> int:
    """The largest hidden size whose network has at most that many parameters."""
    sizes = takewhile(lambda hidden: _count(shapes(hidden)) <= parameters, count(1))
    widest = max(sizes, default=0)
    expect(widest > 0, "parameters", parameters, f"at least {_count(shapes(1))}, those of one hidden unit")
    return widest


def _count(shapes: dict) -> int:
    return sum(int(np.prod(shape)) for shape in shapes.values())


def _trained(data: Data, model: Model, seeds, plan: Plan, test_batches: int) -> dict[str, np.ndarray]:
    """Train and test: one number for each seed."""

    def gradients(params, live, batch, update, penalised):
        return model.gradients(model.net, params, batch)

    what = f"{data.task.name}, {model.name}"
    found = train(model.net, model.params, seeds, partial(data.draw, "train"), plan, gradients=gradients, what=what)
    tests = (data.draw("test", seeds, step, TEST_ROWS) for step in range(test_batches))
    return {
        "replica": np.arange(len(seeds)),
        "test_loss": np.mean([model.evaluate(model.net, found.params, batch)[0] for batch in tests], axis=0),
        "train_loss": found.history["loss"][-1],
        "diverged": (found.outcome == ENDS.index("diverged")).astype(int),
    }


def _rows(data: Data, model: Model, windows, seeds, *training) -> dict[str, np.ndarray]:
    """What trained networks have to do with the exact loss of each window: one row for each seed and window."""
    bounds = [data.task.window(data.length, window) for window in windows]
    same = {
        "network": model.name,
        "hidden_size": model.hidden_size,
        "weights": _count({name: array.shape[1:] for name, array in model.params.items()}),
        "states": model.states,
        "optimum": data.task.optimum(data.length),
    }
    found = _trained(data, model, seeds, *training)
    columns = {name: np.tile(values, len(windows)) for name, values in found.items()}
    columns |= {name: np.full(len(columns["replica"]), value) for name, value in same.items()}
    columns |= {"window": np.repeat(windows, len(seeds)), "window_bound": np.repeat(bounds, len(seeds))}
    excess = columns["test_loss"] - columns["window_bound"]
    return columns | {"excess": excess, "below": np.maximum(0, -excess)}


def problems(given: dict) -> list[str]:
    """What is wrong with the settings together, in words."""
    return device_problems(given, "a window MLP", given["cell"] is not None)


SNAPSHOT = Study(
    function=snapshot,
    replicas=(),
    together=problems,
    columns={
        "network": "name; window MLP, or the recurrent cell",
        "window": "steps; k, the inputs that the window MLP sees, or that the recurrent network is compared with",
        "window_bound": "of the task; exact expected loss of the best guess from the last k inputs",
        "test_loss": "of the task; mean squared error on new sequences (the targets' variance is 1)",
        "excess": "of the task; test_loss - window_bound",
        "below": "of the task; how far test_loss is below window_bound, 0 if it is not",
        "train_loss": "of the task; mean over the last tenth of the updates",
        "optimum": "of the task; exact expected loss of the best guess from all inputs",
        "hidden_size": "units; the most that the parameters allow",
        "weights": "numbers; parameters trained",
        "states": "numbers; carried from one step to the next, by the window its k - 1 last inputs",
        "diverged": "flag; 1 if loss or gradient became infinite or not a number",
    },
)
