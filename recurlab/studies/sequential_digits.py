"""Which recurrent network learns to read a digit pixel by pixel, and what happens to its gradient and its spectrum?"""

from functools import partial

import numpy as np

from recurlab.layers.recurrent import gate_blocks, recurrent
from recurlab.measures.spectrum import spectral_radius
from recurlab.models.sequence import Batch, Network, evaluate, network, readout
from recurlab.studies.kinds import CELL, DTYPE, INIT, POSITIVE, REAL, SIZE, optional
from recurlab.studies.study import Study
from recurlab.tasks.digits import Sequences, digits
from recurlab.train import Plan, minibatch, train
from recurlab.weights import init


def sequential_digits(
    *,
    seeds,
    cell: CELL,
    init_name: INIT,
    forget_bias: optional(REAL),
    hidden_size: SIZE,
    batch_size: SIZE,
    epochs: SIZE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    dtype: DTYPE,
):
    """Train one classifier for each seed with Adam and norm clipping; one row for each epoch, epoch 0 untrained."""
    data = digits(dtype)
    layer = recurrent(cell, data.x.shape[-1], hidden_size, dtype=dtype)
    net = network(layer, data.classes, "cross_entropy", "last")
    params = init(layer, seeds, recurrent=init_name, forget_bias=forget_bias) | readout(net, seeds)
    each = len(data.targets) // batch_size
    plan = Plan(epochs * each, learning_rate, clip_norm=clip, every=each)
    source, measure = partial(_minibatch, data, batch_size), partial(_measure, net, data)
    found = train(net, params, seeds, source, plan, measure=measure, what=f"{cell}, {init_name}")
    replicas, points = len(seeds), len(found.points)
    columns = {name: found.history[name].ravel() for name in MEASURED}
    return columns | {
        "replica": np.tile(np.arange(replicas), points),
        "epoch": np.repeat(found.points // each, replicas),
        "last": np.repeat(found.points == plan.updates, replicas).astype(int),
        "train_loss": found.history["loss"].ravel(),
        "network": np.full(points * replicas, f"{cell}, {init_name}"),
    }


MEASURED = ("gradient_norm", "test_loss", "test_accuracy", "spectral_radius")


def _minibatch(data: Sequences, batch_size: int, seeds, update: int) -> Batch:
    """The rows of an update, the same for all seeds: differences between networks come from their weights alone."""
    rows = minibatch(len(data.targets), batch_size, update)
    return Batch(np.ascontiguousarray(data.x[:, rows]), data.targets[rows])


def _measure(net: Network, data: Sequences, params: dict, live, update: int) -> dict[str, np.ndarray]:
    """The test set, and the recurrent weights that propose new content."""
    content = gate_blocks(net.layer, params["weight_hh_l0"])[:, net.layer.spec.gates.index(net.layer.spec.content)]
    loss, error = evaluate(net, params, Batch(data.x_test, data.targets_test))
    return {"test_loss": loss, "test_accuracy": 1 - error, "spectral_radius": spectral_radius(content)}


SEQUENTIAL_DIGITS = Study(
    function=sequential_digits,
    replicas=(),
    columns={
        "network": "name; cell and initialiser",
        "epoch": "epochs; passes over the 1,437 training images, 0 before training",
        "last": "flag; 1 for the last epoch of the run",
        "train_loss": "nats; mean cross-entropy over the updates of the epoch",
        "gradient_norm": "1; norm of the whole gradient before clipping, mean over the updates of the epoch",
        "test_loss": "nats; mean cross-entropy on the 360 test images",
        "test_accuracy": "share; test images classified right (chance 0.1)",
        "spectral_radius": "1; of the recurrent weights that propose new content (h, g of the LSTM, n of the GRU)",
    },
)
