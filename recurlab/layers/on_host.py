"""Passes of a GPU as passes of the CPU, whose kernels alone go back through single steps: for Jacobians, lags and Ω."""

import numpy as np

from recurlab.kernels import blocks
from recurlab.kernels.cuda.device import is_on_device
from recurlab.layers.checks import expect
from recurlab.layers.passes import Pass, expect_whole, filled_up, with_weights


def on_cpu(run, params: dict) -> Pass:
    """A whole pass as the CPU's kernels take it: as it is, or brought from a GPU with all its histories.

    ValueError for a checkpointed pass, and for parameters on a GPU.
    """
    expect_whole(run)
    return run if isinstance(run, Pass) else _brought(run, params)


def _brought(run, params: dict) -> Pass:
    """A pass of a GPU in the blocks of the CPU's kernels."""
    from recurlab.kernels.cuda.target import to_host  # numba.cuda, for those who have a GPU

    expect(not any(map(is_on_device, params.values())), "params", "arrays on a GPU", "NumPy arrays")
    x, lengths, states, kept, shares = map(to_host, (run.x, run.lengths, run.states, run.kept, run.shares))
    own = shares[:, :, run.n.own] if shares.size else shares
    sizes = len(states), len(lengths), x.shape[1], x.shape[-1], run.n.hidden
    n = blocks.sizes_of(run.cell, x.dtype, *sizes, bool(shares.size))
    histories = _histories(run.cell, n, lengths, states, kept)
    lengths = filled_up(lengths, n)
    here = Pass(run.cell, n, x, lengths, *histories, (), (), False, own, run.reverse, run.suffix)
    return with_weights(here, params)


def _histories(cell, n: blocks.Sizes, lengths, states, kept) -> tuple[np.ndarray, np.ndarray]:
    """Kept and states in blocks; kept is 0 beyond a row's length, where it was never written."""
    visited = blocks.to_blocks(states, n)
    if n.kept_is_state:
        return visited, visited
    there = (np.arange(n.steps)[:, None] < lengths)[:, :, None]
    centred = len(cell.kept) + np.argsort(blocks.planes_of(cell).order) if cell.norm else ()
    planes = [*range(len(cell.kept)), *centred]
    return blocks.to_blocks(np.where(there, kept, 0)[:, planes], n), visited
