"""Which recurrent network learns to read a digit pixel by pixel, and what happens to its gradient and its spectrum?"""

import numpy as np

from recurlab.layers.recurrent import Recurrent, gate_blocks, recurrent
from recurlab.measures.spectrum import spectral_radius
from recurlab.models.classifier import OUTPUT, output_layer
from recurlab.optimise import Adam
from recurlab.studies.kinds import CELL, DTYPE, INIT, POSITIVE, REAL, SIZE, optional
from recurlab.studies.study import Study
from recurlab.tasks.digits import digits
from recurlab.train import Epoch, evaluate, train_classifier
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
    params = init(layer, seeds, recurrent=init_name, forget_bias=forget_bias)
    params |= output_layer(layer, data.classes, seeds)
    rule = Adam(learning_rate)
    run = train_classifier(layer, params, data.x, data.targets, rule, clip, batch_size, epochs)
    rows = [_row(layer, epoch, data, epochs) for epoch in run]
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return columns | {"network": np.full(len(columns["epoch"]), f"{cell}, {init_name}")}


def _row(layer: Recurrent, epoch: Epoch, data, epochs: int) -> dict[str, np.ndarray]:
    """The measurements of all replicas after one epoch."""
    own = {name: array for name, array in epoch.params.items() if name not in OUTPUT}
    content = gate_blocks(layer, own["weight_hh_l0"])[:, layer.spec.gates.index(layer.spec.content)]
    test_loss, accuracy = evaluate(layer, epoch.params, data.x_test, data.targets_test)
    replicas = len(accuracy)
    return {
        "replica": np.arange(replicas),
        "epoch": np.full(replicas, epoch.number),
        "last": np.full(replicas, int(epoch.number == epochs)),
        "train_loss": epoch.train_loss,
        "gradient_norm": epoch.gradient_norm,
        "test_loss": test_loss,
        "test_accuracy": accuracy,
        "spectral_radius": spectral_radius(content),
    }


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
