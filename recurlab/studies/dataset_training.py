"""What do recurrent networks learn from given sequences, how soon, and how well do they do on others?"""

from functools import partial

import numpy as np

from recurlab.cells import CELLS
from recurlab.layers.checks import expect
from recurlab.layers.recurrent import gate_blocks
from recurlab.measures.spectrum import spectral_radius
from recurlab.models import regularised
from recurlab.models.sequence import Network, own_parameters
from recurlab.studies import trained
from recurlab.studies.kinds import (
    CELL,
    DATASET,
    DEVICE,
    DTYPE,
    INIT,
    NON_NEGATIVE,
    POSITIVE,
    REAL,
    REGULARISER,
    RULE,
    SCHEDULE,
    SIZE,
    optional,
)
from recurlab.studies.study import Study
from recurlab.tasks import DATASETS
from recurlab.tasks.dataset import Data, Rows, first_rows, mean_loss
from recurlab.train import ENDS, Patience, Plan, Trained, minibatch, train


def dataset_training(
    *,
    seeds,
    dataset: DATASET,
    limit: optional(SIZE),
    cell: CELL,
    hidden_size: SIZE,
    init_name: INIT,
    gain: REAL,
    input_init: INIT,
    input_gain: REAL,
    forget_bias: optional(REAL),
    batch_size: SIZE,
    epochs: SIZE,
    patience: optional(SIZE),
    rule: RULE,
    schedule: SCHEDULE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    regulariser: optional(REGULARISER),
    strength: NON_NEGATIVE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train one network for each seed; one row for each epoch until its training ends, epoch 0 untrained."""
    weights = {"recurrent": init_name, "gain": gain, "input": input_init, "input_gain": input_gain}
    made = trained.setting(
        dataset, seeds, cell, hidden_size, dtype, weights | {"forget_bias": forget_bias}, device=device
    )
    whole = made.task.load(dtype)
    data = first_rows(whole, limit)
    each = data.train.count // batch_size
    expect(each > 0, "batch_size", batch_size, f"at most the {data.train.count} training rows")
    plan = Plan(epochs * each, learning_rate, rule, schedule, clip, every=each)
    plan = plan if patience is None else plan._replace(patience=Patience("valid_loss", patience))
    stays = regulariser is None and device != "cpu"  # on a GPU; the CPU keeps the order in which norms are summed up
    gradients = None if stays else regularised.gradients(made.net, seeds, regulariser, strength)
    measure = partial(_measure, made.net, data, partial(regularised.at_test, made.net, regulariser), strength)
    what, source = f"{dataset}, {made.label}", partial(_batch, data.train, batch_size)
    found = train(made.net, made.params, seeds, source, plan, measure=measure, gradients=gradients, what=what)
    constant = {"network": made.label, "baseline": made.task.baseline(whole), "parameters": _size(made.params)}
    constant["method"] = regulariser or "none"
    return _rows(found, each, constant, rivals=np.stack([seeds, clip, strength], axis=1))


def problems(given: dict) -> list[str]:
    """What is wrong with the settings together, in words."""
    found = trained.gate_bias_problems(given, CELLS[given["cell"]])
    if given["patience"] is not None and not DATASETS[given["dataset"]].validates:
        found.append(f"patience: {given['dataset']} has no validation rows that could stop a run, wanted null")
    if regularised.takes_a_rate(given["regulariser"]) and given["strength"] >= 1:
        found.append(f"strength: got {given['strength']}, wanted a rate below 1 for {given['regulariser']}")
    if regularised.layers_needed(given["regulariser"]) > 1:
        found.append(f"regulariser: {given['regulariser']} is for two layers or more, this study has one")
    if given["limit"] is not None and given["limit"] < given["batch_size"]:
        found.append(f"limit: got {given['limit']}, wanted at least batch_size = {given['batch_size']}")
    return found


def _batch(rows: Rows, batch_size: int, seeds, update: int):
    """The rows of an update, the same for all seeds: differences between networks come from weights and noise alone."""
    return rows.take(minibatch(rows.lengths, batch_size, update))


def _measure(net: Network, data: Data, at_test, strength, params: dict, live, update: int) -> dict[str, np.ndarray]:
    """Validation and test sequences, and the recurrent weights that propose new content."""
    content = gate_blocks(net.layer, params["weight_hh_l0"])[:, net.layer.spec.gates.index(net.layer.spec.content)]
    measured = {"spectral_radius": spectral_radius(content)}
    for part, rows in (("valid", data.valid), ("test", data.test)):
        loss, error = (
            mean_loss(net, params, rows, partial(at_test, strength[live]))
            if rows is not None
            else (np.full(len(live), np.nan),) * 2
        )
        measured |= {f"{part}_loss": loss, f"{part}_accuracy": 1 - error}
    return measured


def _size(params: dict) -> int:
    """Trained numbers of one network's recurrent layer."""
    return sum(array[0].size for array in own_parameters(params).values())


def _rows(found: Trained, each: int, constant: dict, rivals: np.ndarray) -> dict[str, np.ndarray]:
    """One row for each epoch (P) and replica (R) until the replica's end; `rivals` (R, K): see `selected`."""
    point = np.arange(len(found.points))[:, None]
    there = (point == 0) | (found.points[:, None] - each < found.ended)
    best, score = best_points(found.history["valid_loss"], there)
    columns = {
        "replica": np.arange(there.shape[1]),
        "epoch": found.points[:, None] // each,
        "last": (point == there.sum(axis=0) - 1).astype(int),
        "best": (point == best).astype(int),
        "selected": selected(rivals, score).astype(int),
        "train_loss": found.history["loss"],
        "ended": found.ended // each,
        "diverged": (found.outcome == ENDS.index("diverged")).astype(int),
        **{name: found.history[name] for name in MEASURED},
        **constant,
    }
    return {name: np.broadcast_to(values, there.shape)[there] for name, values in columns.items()}


def best_points(valid_loss: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point of the least validation loss (R,) and that loss (R,); without validation set the last point and NaN.

    valid_loss and there (P, R); points that are not there do not count, nor do losses that are not finite.
    """
    if np.isnan(valid_loss).all():
        return there.sum(axis=0) - 1, np.full(there.shape[1], np.nan)
    losses = np.where(there & np.isfinite(valid_loss), valid_loss, np.inf)
    return losses.argmin(axis=0), losses.min(axis=0)


def selected(rivals: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Which replicas (R,) have the least score among those of the same row of `rivals` (R, K); all if scores are NaN.

    Of equal ones the first.
    """
    _, groups = np.unique(rivals, axis=0, return_inverse=True)
    chosen = np.isnan(score)
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups.ravel() == group)
        chosen[members[np.argmin(score[members])]] = True
    return chosen


MEASURED = ("gradient_norm", "valid_loss", "valid_accuracy", "test_loss", "test_accuracy", "spectral_radius")

DATASET_TRAINING = Study(
    function=dataset_training,
    replicas=("learning_rate", "clip", "strength"),
    columns={
        "network": "name; cell and initialisation",
        "method": "name; the regulariser",
        "parameters": "numbers; trained in the recurrent layer",
        "epoch": "epochs; passes over the training sequences, 0 before training",
        "last": "flag; 1 for the last epoch of the run",
        "best": "flag; 1 for the epoch of the least validation loss (the last one without validation sequences)",
        "selected": "flag; 1 for the learning rate of the least validation loss among those of this seed",
        "train_loss": "of the dataset; mean over the updates of the epoch, with its weight noise (nats, or squared)",
        "gradient_norm": "1; norm of the whole gradient before clipping, mean over the updates of the epoch",
        "valid_loss": "of the dataset; mean over the steps of the validation sequences, without noise",
        "valid_accuracy": "share; right classes or bits of the validation sequences (1 - loss where those are numbers)",
        "test_loss": "of the dataset; mean over the steps of the test sequences, without noise",
        "test_accuracy": "share; right classes or bits of the test sequences (1 - loss where those are numbers)",
        "spectral_radius": "1; of the recurrent weights that propose new content (h, g of the LSTM, n of the GRU)",
        "ended": "epochs; of the whole run",
        "diverged": "flag; 1 if loss or gradient became infinite or not a number",
        "baseline": "of the dataset; test loss of the best guess without memory",
    },
    together=problems,
)
