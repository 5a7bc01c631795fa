"""What studies that train share: networks of R seeds for a task, how they are trained, and the rows that come of it."""

from functools import partial
from typing import NamedTuple

import numpy as np

from recurlab.cells import CELLS
from recurlab.layers.omega import ELMAN
from recurlab.layers.recurrent import recurrent
from recurlab.models.gradients import Truncation
from recurlab.models.sequence import Network, network, readout
from recurlab.tasks import DATASETS, TASKS
from recurlab.tasks.dataset import Dataset
from recurlab.tasks.task import Task
from recurlab.train import ENDS, MEASURED, Plan, Solved, Trained, train
from recurlab.weights import init


class Setting(NamedTuple):
    """Networks of one cell for one task, before training."""

    task: Task | Dataset
    net: Network
    params: dict
    label: str  # cell and initialisation, as a legend shows them


def setting(
    task: str,
    seeds,
    cell: str,
    hidden_size: int,
    dtype: str,
    weights: dict,
    output_sd: float | None = None,
    device: str = "cpu",
) -> Setting:
    """Networks for a task or a dataset, one for each seed; `weights` are for `init`, see `readout` for output_sd."""
    found = (TASKS | DATASETS)[task]
    layer = recurrent(cell, found.inputs, hidden_size, dtype=dtype, device=device)
    net = network(layer, found.outputs, found.loss, found.at)
    weights = {name: value for name, value in weights.items() if value is not None}
    return Setting(found, net, init(layer, seeds, **weights) | readout(net, seeds, output_sd), label_of(cell, weights))


def label_of(cell: str, weights: dict) -> str:
    """'lstm, orthogonal, forget bias 1': the cell and what its initialisation is beside the default."""
    told = [cell, *[str(weights[name]) for name in ("recurrent",) if weights.get(name, "uniform") != "uniform"]]
    told += [f"forget bias {weights['forget_bias']:g}"] if weights.get("forget_bias") is not None else []
    told += ["chrono"] if weights.get("chrono") is not None else []
    return ", ".join(told)


def run(made: Setting, seeds, plan: Plan, length: int, batch_size: int, **options) -> Trained:
    """Train the networks of a setting on fresh data of its task; the history goes to the end of the budget."""
    draw = partial(_draw, made.task, length, batch_size, made.net.layer.dtype)
    found = train(made.net, made.params, seeds, draw, plan, what=f"{made.task.name}, {made.label}", **options)
    return to_budget(found, plan)


def to_budget(found: Trained, plan: Plan) -> Trained:
    """With the last values at every point to the end of the budget: training ends with the last live network of a
    launch, and the rows of a seed must not depend on the others.
    """
    points = np.append(np.arange(0, plan.updates, plan.every), plan.updates)
    there = np.minimum(np.arange(len(points)), len(found.points) - 1)
    return found._replace(points=points, history={name: values[there] for name, values in found.history.items()})


def _draw(task: Task, length: int, batch_size: int, dtype: str, seeds, update: int):
    return task.draw(seeds, "train", update, length, batch_size, dtype)


def problems(given: dict) -> list[str]:
    """What is wrong with a task, its length, the truncation and the initialisation together, in words."""
    task, cell = TASKS[given["task"]], CELLS[given["cell"]]
    found = []
    if given["length"] < task.shortest:
        return [f"length: got {given['length']}, wanted at least {task.shortest} for {task.name}"]
    found += _of_truncation(given.get("truncation"), task.steps(given["length"]))
    found += gate_bias_problems(given, cell)
    if given.get("penalty") in ("omega_paper", "omega_code") and given["cell"] not in ELMAN:
        found.append(f"penalty: {given['penalty']} is about {', '.join(ELMAN)}, got {given['cell']}")
    return found


def _of_truncation(truncation, steps: int) -> list[str]:
    if truncation is None:
        return []
    ahead, back = truncation
    found = [f"truncation: back is {back}, wanted at most the {steps} steps of a sequence"] if back > steps else []
    return found + ([f"truncation: ahead is {ahead}, wanted at most back = {back}"] if ahead > back else [])


def gate_bias_problems(given: dict, cell) -> list[str]:
    """What is wrong with the bias of the gate that keeps the state."""
    bias, chrono = given.get("forget_bias"), given.get("chrono")
    found = ["forget_bias, chrono: got both, wanted one of them"] if None not in (bias, chrono) else []
    if (bias, chrono) != (None, None) and not cell.holds:
        found.append(f"forget_bias, chrono: {cell.name} has no gate that keeps the state")
    return found + ([f"chrono: got {chrono}, wanted at least 3"] if chrono is not None and chrono < 3 else [])


def solved_if(measure: str | None, below: float) -> Solved | None:
    """The criterion of a study's parameters; without a measure nobody stops."""
    return None if measure is None else Solved(measure, below)


def truncation_of(steps: tuple[int, int] | None, carry: bool) -> Truncation | None:
    """(k1, k2) of a study's parameters."""
    return None if steps is None else Truncation(*steps, carry)


def rows(made: Setting, found: Trained, baseline: float) -> dict[str, np.ndarray]:
    """One row for each point and replica: what was measured, and how the replica ended."""
    points, replicas = len(found.points), len(found.ended)
    columns = {name: found.history[name].ravel() for name in MEASURED if name != "penalty"}
    return columns | {
        "penalty_value": found.history["penalty"].ravel(),
        "replica": np.tile(np.arange(replicas), points),
        "network": np.full(points * replicas, made.label),
        "update": np.repeat(found.points, replicas),
        "last": np.repeat(found.points == found.points[-1], replicas).astype(int),
        "relative_loss": found.history["loss"].ravel() / baseline,
        "solved": np.tile(found.outcome == ENDS.index("solved"), points).astype(int),
        "diverged": np.tile(found.outcome == ENDS.index("diverged"), points).astype(int),
        "updates_needed": np.tile(found.ended, points),
    }


COLUMNS = {
    "network": "name; cell and initialisation",
    "update": "updates; made so far",
    "last": "flag; 1 for the last point of the run",
    "loss": "of the task; mean over the updates since the point before, on new data (nats, or squared)",
    "error": "of the task; share of wrong classes, or the loss itself where targets are numbers",
    "relative_loss": "1; loss / exact loss of the best guess without memory",
    "gradient_norm": "1; norm of the whole gradient before clipping, mean since the point before",
    "largest_norm": "1; the largest of these norms",
    "applied_norm": "1; norm after clipping, mean since the point before",
    "penalty_value": "1; value of the penalty before its weight, mean since the point before",
    "solved": "flag; 1 if the task was solved within the budget",
    "diverged": "flag; 1 if loss or gradient became infinite or not a number",
    "updates_needed": "updates; to solve the task, or the budget if it was not solved (to diverge, if it diverged)",
}
