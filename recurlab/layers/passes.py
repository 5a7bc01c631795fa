"""One direction of one layer: its weights and arrays brought into the layout of the kernels, and its gradients back."""

import math
from typing import NamedTuple

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.kernels import blocks, cpu, memory
from recurlab.kernels.blocks import Sizes
from recurlab.layers import matrices
from recurlab.layers.checks import expect
from recurlab.layers.matrices import with_replicas


class Pass(NamedTuple):
    """What one direction of one layer leaves for the backward pass."""

    cell: Cell
    n: Sizes
    x: np.ndarray  # (R or 1, T, B, I)
    lengths: np.ndarray  # (slices · rows,)
    kept: np.ndarray  # in the blocks of the kernels, in the order of the pass's steps; empty with `starts`
    states: np.ndarray
    starts: tuple[np.ndarray, ...]  # of a checkpointed pass: the states (R, S, B, H) at the start of each segment
    weights: tuple[np.ndarray, ...]  # W_x, W_h, V_x, V_h and the bias
    packed: bool  # whether the parameters are V_x and V_h themselves
    shares: np.ndarray  # of zoneout: (S, R, T, B, H), empty without
    reverse: bool
    suffix: str

    def natural(self) -> tuple[np.ndarray, np.ndarray]:
        """kept (R, K, T, B, H) and states (R, S, T+1, B, H) in the order of the pass's steps."""
        states = self.visited()
        if self.kept is self.states:
            return states[:, :, 1:], states
        return blocks.from_blocks(self.kept[:, : len(self.cell.kept)], self.n), states

    def visited(self) -> np.ndarray:
        """The states (R, S, T+1, B, H) in the order of the pass's steps, the first one included."""
        expect_whole(self)
        return blocks.from_blocks(self.states, self.n)


def expect_whole(run) -> None:
    """Refuse a checkpointed pass: it has no history to read."""
    expect(not run.starts, "tape", "that of a checkpointed pass", "one with the whole history")


def run_pass(layer, params, suffix, reverse, x, state, lengths, shares, y, column, checkpoint, flushing):
    """Run all steps from the states (R, S, B, H): fills its columns of y, returns the Pass and the final states.

    `shares` (S, R, T, B, H) are the k of zoneout, or None.
    """
    cell, (replicas, _, batch, hidden) = layer.spec, state.shape
    n = blocks.sizes_of(cell, x.dtype, replicas, batch, x.shape[1], x.shape[3], hidden, shares is not None)
    none = np.empty(0, x.dtype)
    shares = none if shares is None else shares
    run = Pass(cell, n, x, filled_up(lengths, n), none, none, (), (), layer.packed, shares, reverse, suffix)
    run = with_weights(run, params)
    weights, starts = weights_of(run, params), []
    for part in segments(n) if checkpoint else [n]:
        run, final = _run_segment(run, part, weights, state, y, column, flushing)
        starts.append(state)
        state = final
    if checkpoint:
        run = run._replace(n=n, kept=none, states=none, starts=tuple(starts))
    return run, state


def with_weights(run: Pass, params) -> Pass:
    """The pass with its weights prepared."""
    own = _matrices_and_biases(run, params)
    return run._replace(weights=matrices.prepared(run.cell, run.n, own, run.packed))


def _matrices_and_biases(run: Pass, params) -> tuple[np.ndarray, ...]:
    """What `prepared` takes; instead of W_hh and b_hh, where a cell has none, no columns and zeros."""
    n, suffix, axes = run.n, run.suffix, 3 if run.packed else 2
    W_ih, b_ih = with_replicas(params[f"weight_ih{suffix}"], axes), with_replicas(params[f"bias_ih{suffix}"], 1)
    if not n.recurrent:
        return W_ih, np.empty((n.replicas, 0), W_ih.dtype), b_ih, np.zeros_like(b_ih)
    return W_ih, with_replicas(params[f"weight_hh{suffix}"], axes), b_ih, with_replicas(params[f"bias_hh{suffix}"], 1)


def segments(n: Sizes) -> list[Sizes]:
    """A pass in about √T parts of as many steps, the first first.

    Their borders are borders of the backward pass's chunks: its sums, and so its bits, are those of the whole pass.
    """
    steps = -(-math.isqrt(n.length) // n.back_chunk) * n.back_chunk
    return [blocks.part_of(n, first, min(steps, n.length - first)) for first in range(0, n.length, steps)]


def _run_segment(run: Pass, part: Sizes, weights, state, y, column, flushing) -> tuple[Pass, np.ndarray]:
    """Run the steps of a part of a pass; the Pass returned holds that part."""
    states = blocks.empty_states(part, run.x.dtype)
    kept = blocks.empty_kept(part, states)
    run = run._replace(n=part, kept=kept, states=states, starts=())
    seq = sequence_of(run, y, column)
    return run, cpu.forward(run.cell.name, part, weights, seq, run.shares, state, kept, states, flushing)


def back_pass(run: Pass, params, dy, column, d_final, dx, grads, flushing) -> np.ndarray:
    """Back through all steps: parameter gradients into grads, adds dL/dx to dx, returns dL/dinitial states.

    dy (R, T, B, D·H) may be None for zeros, dx (R, T, B, I) if it is not wanted. A checkpointed pass runs each segment
    once more before it goes back through it.
    """
    n, none = run.n, np.empty(0, run.x.dtype)
    weights = weights_of(run, params)
    parts = _empty_gradients(n, run.x.dtype, none if dx is None else dx)
    dy = none if dy is None else dy
    if not run.starts:
        d_final = run_back(run, weights, sequence_of(run, dy, column), d_final, parts, flushing)
    else:
        for part, start in zip(reversed(segments(n)), reversed(run.starts), strict=True):
            again, _ = _run_segment(run, part, weights, start, none, 0, flushing)
            d_final = run_back(again, weights, sequence_of(again, dy, column), d_final, parts, flushing)
    _finish_gradients(run, parts, grads)
    return d_final


def _empty_gradients(n: Sizes, dtype, dx) -> cpu.Gradients:
    """Room for the gradients of a pass."""
    none = np.empty(0, dtype)
    return cpu.Gradients(
        W_x=memory.empty((n.units, *matrices.packed_shape(n, n.inputs)), dtype),
        W_h=memory.empty((n.units, *matrices.packed_shape(n, n.recurrent)), dtype),
        bias=memory.zeros((n.units, n.gates + n.separate, n.blocks * n.lanes), dtype),
        vectors=memory.zeros((n.units, n.vectors, n.blocks * n.lanes), dtype),
        x=dx,
        d_a=none,
        d_states=none,
    )


def history(run: Pass, params, lengths, dy, d_final) -> tuple[np.ndarray, np.ndarray]:
    """d_states (R, S, T+1, B, H) and d_a (R, A, T, B, H), the columns in the order of the cell, without gradients.

    d_a is what dL/dW is made of: with layer normalisation the gradient of the products, before the norm.
    d_states at s is the gradient with respect to the state after s steps, dy (R, T, B, H) or None included.
    """
    n = run.n._replace(back_chunk=run.n.steps)
    d_a = memory.empty((n.units, n.gates + n.separate, n.blocks, n.steps * n.rows, n.lanes), run.x.dtype)
    d_states = _state_history(run._replace(n=n), params, lengths, dy, d_final, d_a)
    order = list(blocks.planes_of(run.cell).order)
    return d_states, blocks.from_blocks(d_a, n)[:, order]


def state_history(run: Pass, params, lengths, dy, d_final) -> np.ndarray:
    """The d_states of `history` alone: of d_a only a few steps are in memory at a time."""
    return _state_history(run, params, lengths, dy, d_final, np.empty(0, run.x.dtype))


def _state_history(run: Pass, params, lengths, dy, d_final, d_a) -> np.ndarray:
    """d_states of all steps, and into d_a its blocks of all steps unless it is empty."""
    expect_whole(run)
    n, none = run.n, np.empty(0, run.x.dtype)
    run = run._replace(lengths=filled_up(lengths, n))
    vectors = np.zeros((n.units, n.vectors, n.blocks * n.lanes), none.dtype)
    parts = cpu.Gradients(none, none, none, vectors, none, d_a, memory.empty(run.states.shape, none.dtype))
    seq = sequence_of(run, none if dy is None else np.ascontiguousarray(dy), 0)
    run_back(run, weights_of(run, params), seq, d_final, parts, False)
    return blocks.from_blocks(parts.d_states, n)


def run_back(run: Pass, weights, seq, d_final, parts: cpu.Gradients, flushing) -> np.ndarray:
    """The kernel, with all arrays flat."""
    histories = run.kept, run.states
    return cpu.backward(run.cell.name, run.n, weights, seq, run.shares, d_final, *histories, parts, flushing)


def filled_up(lengths: np.ndarray, n: Sizes) -> np.ndarray:
    """Lengths of all rows of all slices: those that only fill up have length 0."""
    filled = np.zeros(n.slices * n.rows, np.int64)
    filled[: n.batch] = lengths
    return filled


def sequence_of(run: Pass, y: np.ndarray, column: int) -> cpu.Sequence:
    """The outer arrays of a pass."""
    shortest = int(run.lengths.min())
    width = y.shape[-1] if y.size else 0
    return cpu.Sequence(run.x.reshape(-1), len(run.x), run.lengths, shortest, run.reverse, y.reshape(-1), column, width)


def weights_of(run: Pass, params) -> cpu.Weights:
    """The weights of a pass in the layouts of the kernels."""
    vectors = _vectors(run, params) if run.n.vectors else np.empty(0, run.x.dtype)
    *packed, bias = run.weights
    start = np.zeros_like(bias) if run.n.norm else bias  # of the products: a norm adds the bias behind them
    return cpu.Weights(*(array.reshape(-1) for array in (*packed, start, vectors)))


def _vectors(run: Pass, params) -> np.ndarray:
    """The per-unit parameters, [R][V][blocks][W]."""
    n = run.n
    filled = np.zeros((n.replicas, n.vectors, n.blocks * n.lanes), run.x.dtype)
    for v, name in enumerate(run.cell.vectors):
        filled[:, v, : n.hidden] = params[f"weight_{name}{run.suffix}"]
    if n.norm:
        gains, biases = _norm_vectors(run)
        filled[:, gains, : n.hidden] = params[f"weight_norm{run.suffix}"].reshape(-1, n.planes, n.hidden)
        filled[:, biases] = run.weights[-1].reshape(n.replicas, n.planes, -1)
        filled[:, -1, : n.hidden] = 1
    return filled


def _norm_vectors(run: Pass) -> tuple[list[int], slice]:
    """Which vectors are the gains, in the order of the cell, and which the biases, in the order of the planes."""
    first, planes = len(run.cell.vectors), run.n.planes
    return [first + plane for plane in blocks.planes_of(run.cell).order], slice(first + planes, first + 2 * planes)


def _finish_gradients(run: Pass, parts: cpu.Gradients, grads: dict) -> None:
    """The parts of all slices, summed in order, as the gradients of the parameters (with R)."""
    n = run.n
    names = (f"{name}{run.suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    bias = np.ascontiguousarray(parts.vectors[:, _norm_vectors(run)[1]]) if n.norm else parts.bias
    summed = matrices.summed(run.cell, n, (parts.W_x, parts.W_h, bias), run.packed)
    grads.update(zip(names, summed, strict=True))  # without W_hh also what the caller leaves out
    if not n.vectors:
        return
    vectors = _sum_of_slices(parts.vectors, n)
    for v, name in enumerate(run.cell.vectors):
        grads[f"weight_{name}{run.suffix}"] = vectors[:, v].copy()
    if n.norm:
        grads[f"weight_norm{run.suffix}"] = vectors[:, _norm_vectors(run)[0]].reshape(n.replicas, -1)


def _sum_of_slices(array: np.ndarray, n: Sizes) -> np.ndarray:
    """[R·slices][X][blocks·W] -> (R, X, H), the slices in order."""
    apart = array.reshape(n.replicas, n.slices, *array.shape[1:])
    total = apart[:, 0].copy()
    for s in range(1, n.slices):
        total += apart[:, s]
    return total[:, :, : n.hidden]
