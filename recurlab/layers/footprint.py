"""The memory of a layer from its shapes alone: what a forward and backward pass takes, how replicas go in groups."""

import numpy as np

from recurlab.kernels import backward, blocks, cpu, forward
from recurlab.layers.matrices import packed_shape
from recurlab.layers.passes import segments
from recurlab.layers.recurrent import Recurrent

# What a group of replicas may hold: tapes that stay in the last cache between forward and backward pass. Measured with
# 32 MiB of it on two cores: the same speed from 4 to 32 replicas of 2.5 MB each, 5 % less from 160 MB on.
GROUP_BYTES = 2**24


def memory_bytes(
    layer: Recurrent, steps: int, batch: int, replicas: int = 1, checkpoint: bool = False, threads: int = 1
) -> dict[str, int]:
    """Bytes of a forward and backward pass without zoneout, beside parameters, x and dL/dy, by what they are for.

    * tape: kept values and states of all steps, (K + S)·R·T·B·H with H and the batch filled up, and the weights, packed
      twice; with `checkpoint` the states at the start of each of about √T segments;
    * segment: kept values and states of one segment, with `checkpoint`;
    * output: y of every layer; input_gradient: dL/dx of the two widest neighbours;
    * gradients: those of the parameters, of each slice of the batch and summed;
    * work: what the threads share out.
    """
    item, total = np.dtype(layer.dtype).itemsize, dict.fromkeys(("tape", "segment", "output", "gradients", "work"), 0)
    for level, _, _ in layer.passes:
        inputs = layer.input_size if level == 0 else layer.directions * layer.hidden_size
        n = blocks.sizes_of(layer.spec, layer.dtype, replicas, batch, steps, inputs, layer.hidden_size)
        parts = segments(n) if checkpoint else [n]
        history = [_history(part) for part in parts]
        weights = sum(int(np.prod(packed_shape(n, columns))) for columns in (inputs, n.recurrent))
        starts = len(parts) * replicas * n.states * batch * n.hidden
        total["tape"] += 2 * replicas * weights + (starts if checkpoint else history[0])
        total["segment"] = max(total["segment"], max(history) if checkpoint else 0)
        total["gradients"] += (n.units + 2 * replicas) * weights
        work = max(forward.working_numbers(n), backward.working_numbers(n, False))
        total["work"] = max(total["work"], min(threads, n.units) * work)
    row = replicas * steps * batch
    total["output"] = layer.num_layers * row * layer.directions * layer.hidden_size
    widths = [layer.input_size, *[layer.directions * layer.hidden_size] * (layer.num_layers - 1)]
    total["input_gradient"] = row * max(map(sum, zip(widths, [0, *widths], strict=False)))
    return {name: item * numbers for name, numbers in total.items()}


def _history(n) -> int:
    """Numbers in kept and states of all steps of a pass."""
    row = n.units * n.blocks * n.rows * n.lanes
    return row * (n.states * (n.steps + 1) + (0 if n.kept_is_state else n.kept * n.steps))


def replica_groups(layer: Recurrent, replicas: int, steps: int, batch: int) -> list[slice]:
    """The replicas in groups whose tapes fit GROUP_BYTES, or one for each thread; all at once for a GPU."""
    if layer.device != "cpu":
        return [slice(0, replicas)]
    size = max(cpu.most_threads(), GROUP_BYTES // memory_bytes(layer, steps, batch)["tape"])
    return [slice(first, min(first + size, replicas)) for first in range(0, replicas, size)]


def row_groups(layer: Recurrent, count: int, steps: int, batch: int) -> list[slice]:
    """Batches side by side as rows, in groups whose tapes fit GROUP_BYTES: the same for any number of replicas."""
    size = max(1, GROUP_BYTES // memory_bytes(layer, steps, batch)["tape"])
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]
