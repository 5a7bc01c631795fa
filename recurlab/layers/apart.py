"""Back through single steps of a pass, each apart from the others: what Jacobians and exponents are made of."""

from typing import NamedTuple

import numpy as np

from recurlab.kernels import blocks, cpu, memory
from recurlab.kernels.blocks import Sizes
from recurlab.layers.on_host import on_cpu
from recurlab.layers.passes import Pass, filled_up, run_back, sequence_of, weights_of


class Apart(NamedTuple):
    """A pass to go back through some steps at a time, each apart from the others and from `count` cotangents a row.

    The rows of all those steps, `count` times each, are the batch of one pass of a single step.
    """

    run: Pass
    n: Sizes  # of the single step
    steps: int
    count: int
    rows: np.ndarray  # (slices, 2, rows) of the single step: which rows of the states are its old and its new ones
    weights: cpu.Weights
    below: bool  # whether dL/dx is wanted


def apart(run: Pass, params, steps: int, count: int, below: bool) -> Apart:
    """Ready to go back through `steps` steps at a time from `count` cotangents for each row of each."""
    run = on_cpu(run, params)
    n, together = run.n, run.n.slices * run.n.rows
    sizes = (n.replicas, steps * n.batch * count, 1, n.inputs, n.hidden, bool(n.zoned))
    alone = blocks.sizes_of(run.cell, run.x.dtype, *sizes)
    old = np.zeros(alone.slices * alone.rows, np.intp)  # rows that only fill up are the first again: nobody reads them
    old[: alone.batch] = np.repeat(np.arange(steps)[:, None] * together + np.arange(n.batch), count)
    rows = old.reshape(alone.slices, 1, alone.rows) + np.array([[0], [together]])
    return Apart(run, alone, steps, count, rows, weights_of(run, params), below)


def back_apart(parts: Apart, first: int, dy, d_new) -> tuple[np.ndarray, np.ndarray | None]:
    """dL/dstates after each of the steps from `first` on -> before it, (R, S, rows, H), and dL/dx (R, 1, rows, I).

    The rows are steps × B × count; dy (R, 1, rows, H) may be None for zeros, dL/dx is None unless it was asked for.
    """
    n, none = parts.n, np.empty(0, parts.run.x.dtype)
    run = _single_step(parts, first)
    dx = memory.zeros((n.replicas, 1, n.batch, n.inputs), none.dtype) if parts.below else None
    vectors = np.zeros((n.units, n.vectors, n.blocks * n.lanes), none.dtype)
    grads = cpu.Gradients(none, none, none, vectors, none if dx is None else dx, none, none)
    seq = sequence_of(run, none if dy is None else dy, 0)
    return run_back(run, parts.weights, seq, np.ascontiguousarray(d_new), grads, False), dx


def _single_step(parts: Apart, first: int) -> Pass:
    """The steps from `first` on as a pass of a single step."""
    run, n, steps = parts.run, parts.n, parts.steps
    there = first + np.arange(steps)[:, None] < run.lengths[: run.n.batch]
    states = _rows_of(run.states, run.n, first, steps + 1, parts.rows)
    kept = states if run.kept is run.states else _rows_of(run.kept, run.n, first, steps, parts.rows[:, :1])
    lengths = filled_up(np.repeat(there, parts.count), n)
    shares = run.shares
    if n.zoned:
        shares = np.repeat(shares[:, :, first : first + steps], parts.count, axis=3).reshape(n.states, n.replicas, -1)
    return run._replace(n=n, x=run.x[:, :0], lengths=lengths, kept=kept, states=states, shares=shares)


def _rows_of(array: np.ndarray, n: Sizes, first: int, steps: int, rows: np.ndarray) -> np.ndarray:
    """[U][X][blocks][T·rows][W] -> [U'][X][blocks][k·rows'][W]: `rows` (slices', k, rows') of those of some steps."""
    values = array.shape[1]
    split = array.reshape(n.replicas, n.slices, values, n.blocks, -1, n.rows, n.lanes).transpose(0, 2, 3, 4, 1, 5, 6)
    found = split[:, :, :, first : first + steps].reshape(n.replicas, values, n.blocks, -1, n.lanes)
    taken = found.take(rows, axis=3).transpose(0, 3, 1, 2, 4, 5, 6)
    return np.ascontiguousarray(taken).reshape(-1, values, n.blocks, rows[0].size, n.lanes)
