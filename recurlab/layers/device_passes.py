"""One direction of one layer on a GPU: its arrays, its launches, its gradients. All arrays lie on the GPU."""

import math
from typing import NamedTuple

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.kernels.cuda import layout, target
from recurlab.kernels.cuda.layout import Norm, Sequence, Sizes, Weights, Work
from recurlab.kernels.cuda.reference import Products, Steps, products_of, steps_of, sum_of_rows, transpose
from recurlab.kernels.cuda.residence import Residence, residence_of
from recurlab.layers import device_products, resident_passes
from recurlab.layers.passes import expect_whole
from recurlab.layers.resident_passes import ChipSums


class DevicePass(NamedTuple):
    """What one direction of one layer leaves on the GPU for the backward pass; arrays as in `kernels.cuda.layout`."""

    cell: Cell
    n: Sizes
    x: object  # (R or 1, T, B, I)
    lengths: object  # (B,)
    host_lengths: np.ndarray  # the same in NumPy
    kept: object  # the states themselves where a cell keeps just those; with `starts` empty
    states: object
    starts: tuple  # of a checkpointed pass: the states at the start of each segment, as ends
    weights: Weights
    shares: object  # (S, R, N, T, B, H), empty without zoneout
    suffix: str
    fast: bool
    residence: Residence | None  # how its weights stay on the chip; None where they do not

    @property
    def reverse(self) -> bool:
        """Whether it runs backwards."""
        return bool(self.n.reverse)

    def natural(self) -> tuple[np.ndarray, np.ndarray]:
        """kept (R, K, T, B, H) and states (R, S, T+1, B, H) in the order of the pass's steps, in NumPy."""
        states = self.visited()
        if self.kept is self.states:
            return states[:, :, 1:], states
        return target.to_host(self.kept)[:, : len(self.cell.kept)], states

    def visited(self) -> np.ndarray:
        """The states alone."""
        expect_whole(self)
        return target.to_host(self.states)

    def laid_out(self, n: Sizes) -> tuple[Sizes, Steps]:
        """The kernels of its cell for some steps, and their sizes: for few networks all blocks share out each step.

        Both give the same bits: what differs is which thread has which number.
        """
        shared = layout.spread_over(n, target.blocks_at_once()) if n.hidden > target.MOST_THREADS else None
        return shared or n, steps_of(self.cell.name, bool(self.shares.size), self.fast, shared is not None)

    @property
    def products(self) -> Products:
        """The kernels of its cell's structure."""
        return products_of(layout.structure_of(self.cell))


def run_pass(layer, params, suffix, x, ends, lengths, shares, y, place, checkpoint):
    """Run all steps from the initial states `ends` (S, R, N, B, H): fills its columns of y, its states in the final.

    `place` are the sizes that say which pass this is; see `layout.Sizes`. Returns the pass.
    """
    cell, (_, replicas, *_, hidden) = layer.spec, ends[0].shape
    n = layout.sizes_of(cell, replicas, x.shape, hidden, bool(shares.size), **place)
    weights = _weights(cell, n, params, suffix)
    none = target.empty(0, x.dtype)
    residence = None if shares.size else residence_of(layout.structure_of(cell), n, x.dtype)
    fast = layer.device == "cuda_fast"
    both = target.to_device(lengths), lengths
    run = DevicePass(cell, n, x, *both, none, none, (), weights, shares, suffix, fast, residence)
    initial, final, starts = *ends, []
    for part in segments(n) if checkpoint else [n]:
        run = _run_segment(run, part, initial, final, y)
        if checkpoint:
            starts.append(initial)
            initial = _copied(final)
    return run._replace(n=n, kept=none, states=none, starts=tuple(starts)) if checkpoint else run


def segments(n: Sizes) -> list[Sizes]:
    """A pass in about √T parts, the first first."""
    steps, serve = max(1, math.isqrt(n.length)), n.kept_steps - n.steps
    return [layout.part_of(n, first, min(steps, n.length - first), serve) for first in range(0, n.length, steps)]


def _weights(cell: Cell, n: Sizes, params, suffix) -> Weights:
    """The parameters of a pass as the kernels take them."""
    gates, dtype = len(cell.gates), params[f"weight_ih{suffix}"].dtype
    none = target.empty(0, dtype)
    own = {name: params.get(f"{name}{suffix}", none).reshape(-1) for name in NAMES}
    turned = target.empty(own["weight_ih"].size, dtype), target.empty(own["weight_hh"].size, dtype)
    for name, columns, out in zip(("weight_ih", "weight_hh"), (n.inputs, n.hidden), turned, strict=True):
        target.spread(transpose(), out.size, n.replicas, gates * n.hidden, columns, own[name], out)
    vectors = [params[f"weight_{name}{suffix}"] for name in cell.vectors]
    joined = target.joined(vectors).reshape(-1) if vectors else none
    natural = own["weight_ih"], own["weight_hh"], own["bias_ih"], own["bias_hh"]
    return Weights(*turned, *natural, joined, own["weight_norm"])


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_norm")


def _norm(n: Sizes, dtype) -> Norm:
    return Norm(dtype.type(1 / n.hidden), dtype.type(1e-5))


def _copied(array):
    """A copy on the GPU."""
    out = target.empty(array.shape, array.dtype)
    out.copy_to_device(array)
    return out


def _run_segment(run: DevicePass, part: Sizes, initial, final, y) -> DevicePass:
    """Run the steps of a part of a pass; the pass returned holds that part."""
    dtype, structure = run.x.dtype, layout.structure_of(run.cell)
    shape = part.batch, part.hidden
    states = target.empty((part.replicas, structure.STATES, part.steps + 1, *shape), dtype)
    serve = part.kept_steps > part.steps
    kept = states if serve else target.empty((part.replicas, part.kept, part.steps, *shape), dtype)
    seq = Sequence(*(array.reshape(-1) for array in (run.x, run.lengths, y, run.shares)))
    n = part._replace(width=part.width if y.size else 0)
    run_steps = resident_passes.run_steps if run.residence else _run_steps
    run_steps(run, n, seq, *(array.reshape(-1) for array in (initial, kept, states, final)))
    return run._replace(n=part, kept=kept, states=states, starts=())


def _run_steps(run: DevicePass, n: Sizes, seq: Sequence, initial, kept, states, final) -> None:
    """Fill kept, states, y and the final states; all arrays flat."""
    dtype, structure = run.x.dtype, layout.structure_of(run.cell)
    a = target.empty(n.replicas * structure.PLANES * n.steps * n.batch * n.hidden, dtype)
    operands = target.empty(n.replicas * n.batch * n.hidden if structure.SECOND else 0, dtype)
    device_products.project(run, n, seq, a)
    n, steps = run.laid_out(n)
    arguments = n, _norm(n, dtype), run.weights, seq, initial, a, operands, kept, states, final
    target.launch(steps.forward, n.replicas * n.slices * n.cuts, n.rows * n.units, *arguments)


def back_pass(run: DevicePass, dy, d_ends, dx, grads) -> None:
    """Back through all steps: gradients (R, ...) into grads, adds dL/dx to dx, d_ends from final to initial states.

    dy (R, T, B, D·H) may be empty for zeros, dx if it is not wanted. A checkpointed pass runs each segment once more.
    """
    n, none = run.n, target.empty(0, run.x.dtype)
    sums = _empty_sums(run)
    if not run.starts:
        _back_through(run, dy, d_ends, dx, grads, sums)
    else:
        final = _copied(run.starts[0])
        for part, start in zip(reversed(segments(n)), reversed(run.starts), strict=True):
            again = _run_segment(run, part, start, final, none)
            _back_through(again, dy, d_ends, dx, grads, sums)
    _finish(run, sums, grads)


class Sums(NamedTuple):
    """Gradients on their way: of biases, of vectors row by row, and of gains and biases of a norm row by row."""

    planes: object  # (R, P, H)
    vectors: object  # (V, R, B, H)
    norm: object  # (2, R, P, B, H)
    chip: ChipSums | None  # those that are summed up on the chip


def _empty_sums(run: DevicePass) -> Sums:
    n, structure, dtype = run.n, layout.structure_of(run.cell), run.x.dtype
    row = n.batch, n.hidden
    norm = (2, n.replicas, structure.PLANES, *row) if structure.NORM else 0
    planes, vectors = (n.replicas, structure.PLANES, n.hidden), (structure.VECTORS, n.replicas, *row)
    chip = resident_passes.empty_sums(run) if run.residence else None
    return Sums(*(target.zeros(shape, dtype) for shape in (planes, vectors, norm)), chip)


def _back_through(run: DevicePass, dy, d_ends, dx, grads, sums: Sums) -> None:
    """Back through the steps that a pass holds."""
    n, structure = run.n, layout.structure_of(run.cell)
    n = n._replace(width=n.width if dy.size else 0)
    needed = not run.residence or not run.residence.back.fused or dx.size
    d_a = target.empty(n.replicas * structure.PLANES * n.steps * n.batch * n.hidden if needed else 0, run.x.dtype)
    seq = Sequence(*(array.reshape(-1) for array in (run.x, run.lengths, dy, run.shares)))
    flat = [array.reshape(-1) for array in (d_ends, sums.vectors)]
    if run.residence:
        resident_passes.back_steps(run, n, seq, *flat, d_a, sums.chip)
    else:
        _back_steps(run, n, seq, *flat, d_a, sums.norm)
    _add_gradients(run, d_a, dx, grads, sums)


def _back_steps(run: DevicePass, n: Sizes, seq: Sequence, d_ends, d_vectors, d_a, d_norm) -> None:
    """Fill d_a, add to d_vectors and d_norm, bring d_ends from final to initial; all arrays but d_norm flat."""
    dtype, structure = run.x.dtype, layout.structure_of(run.cell)
    row = n.replicas * n.batch * n.hidden
    rest = target.empty(d_ends.size if run.shares.size else 0, dtype)
    d_raw = target.empty(row * structure.PLANES if structure.NORM else 0, dtype)
    work = Work(rest, d_raw, d_norm.reshape(-1), target.empty(row if structure.SECOND else 0, dtype))
    kept, states = run.kept.reshape(-1), run.states.reshape(-1)
    n, steps = run.laid_out(n)
    arguments = n, _norm(n, dtype), run.weights, seq, kept, states, d_ends, work, d_vectors, d_a
    target.launch(steps.backward, n.replicas * n.slices * n.cuts, n.rows * n.units, *arguments)


def _add_gradients(run: DevicePass, d_a, dx, grads, sums: Sums) -> None:
    """What the steps of a pass add to the gradients of weights, biases and inputs, beside what the chip adds."""
    n, suffix, structure, chip = run.n, run.suffix, layout.structure_of(run.cell), run.residence
    if structure.RECURRENT and not chip:
        device_products.add_recurrent_gradients(run, n, d_a, grads[f"weight_hh{suffix}"].reshape(-1))
    if not (chip and chip.back.fused):
        device_products.add_input_gradients(run, n, d_a, grads[f"weight_ih{suffix}"].reshape(-1))
    if not structure.NORM and not chip:
        target.spread(run.products.sum_of_steps, sums.planes.size, n, d_a, sums.planes.reshape(-1))
    device_products.add_x_gradients(run, n, d_a, dx.reshape(-1))


def _finish(run: DevicePass, sums: Sums, grads) -> None:
    """The gradients of biases, vectors and gains."""
    n, suffix, structure = run.n, run.suffix, layout.structure_of(run.cell)
    for v, name in enumerate(run.cell.vectors):
        _sum_rows(n, sums.vectors[v], grads[f"weight_{name}{suffix}"])
    planes = sums.planes
    if run.residence:
        resident_passes.add_up(run, sums.chip, planes, grads)
    if structure.NORM:
        _sum_rows(n, sums.norm[0], grads[f"weight_norm{suffix}"])
        _sum_rows(n, sums.norm[1], planes)
    b_ih = grads[f"bias_ih{suffix}"].reshape(-1)
    b_hh = grads[f"bias_hh{suffix}"].reshape(-1) if structure.RECURRENT else target.empty(b_ih.size, b_ih.dtype)
    target.spread(run.products.biases_of_planes, b_ih.size, n, planes.reshape(-1), b_ih, b_hh)


def _sum_rows(n: Sizes, source, out) -> None:
    """The sums over the rows of the batch."""
    count, flat = out.size // n.hidden, (source.reshape(-1), out.reshape(-1))
    target.spread(sum_of_rows(), out.size, count, n.batch, n.hidden, *flat)
