"""Is back-propagation through time plain back-propagation in the unrolled network?

The unrolled network has T layers of its own weights. Started from equal weights, its forward pass is that of the tied
network, and the gradients of its layers must sum to the tied gradient.
"""

import numpy as np

from recurlab.layers.recurrent import backward, forward, recurrent
from recurlab.models import untied
from recurlab.random import Stream, normal
from recurlab.studies.kinds import CELL, DEVICE, INIT, SIZE, list_of
from recurlab.studies.study import Study
from recurlab.weights import init


def unrolling(
    *,
    seeds,
    cell: CELL,
    init_name: INIT,
    hidden_size: SIZE,
    input_size: SIZE,
    batch_size: SIZE,
    lengths: list_of(SIZE),
    device: DEVICE = "cpu",
):
    """Compare the tied gradient with the summed gradients of the untied layers, in float64, for each length."""
    layer = recurrent(cell, input_size, hidden_size, dtype="float64", device=device)
    tied = sum(array.size for array in init(layer).values())
    worst = [
        _relative_difference(layer, init_name, int(seed), length, batch_size) for seed in seeds for length in lengths
    ]
    length = np.tile(lengths, len(seeds))
    return {
        "replica": np.repeat(np.arange(len(seeds)), len(lengths)),
        "length": length,
        "relative_difference": np.array(worst),
        "tied_parameters": np.full(len(length), tied),
        "untied_parameters": tied * length,
    }


def _relative_difference(layer, init_name, seed, length, batch) -> float:
    """max over all gradients of max|tied - Σ untied| / max|tied|; two zero gradients (W_hh at T = 1) do not differ."""
    params = init(layer, seed, recurrent=init_name, bias="uniform")
    x = normal(Stream(seed, "inputs"), (length, batch, layer.input_size))
    dy = normal(Stream(seed, "output gradients"), (length, batch, layer.hidden_size))
    _, _, tape = forward(layer, params, x)
    tied, tied_dx, _ = backward(layer, params, tape, dy)
    own = untied.untie({name: array[None] for name, array in params.items()}, length)
    _, tapes = untied.forward(layer, own, x)
    grads, dx = untied.backward(layer, own, tapes, dy[None])
    pairs = [(tied[name], grads[name][0].sum(axis=0)) for name in tied] + [(tied_dx, dx[0])]
    return max(np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(float).tiny) for a, b in pairs)


UNROLLING = Study(
    function=unrolling,
    replicas=(),
    columns={
        "length": "steps; T, the number of layers of the unrolled network",
        "relative_difference": "1; largest |tied - summed untied gradient|, relative to the largest entry",
        "tied_parameters": "numbers; parameters of the recurrent network",
        "untied_parameters": "numbers; parameters of the unrolled network without weight sharing",
    },
)
