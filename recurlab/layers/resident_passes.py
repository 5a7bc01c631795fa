"""One direction of one layer whose weights stay on the chip: the launches of `kernels.cuda.resident`."""

from typing import NamedTuple

from recurlab.kernels.cuda import layout, target
from recurlab.kernels.cuda.layout import Sequence, Sizes
from recurlab.kernels.cuda.reference import sum_of_rows, transpose
from recurlab.kernels.cuda.registers import COLUMNS
from recurlab.kernels.cuda.residence import ROWS, Plan
from recurlab.kernels.cuda.resident_kernels import gather_tiles, resident_of, slice_columns
from recurlab.layers import device_products


class ChipSums(NamedTuple):
    """Gradients of each slice of the batch on their way."""

    W_h: object  # (R, slices, tiles, ROWS, COLUMNS)
    W_x: object  # (R, slices, I, G·H), empty if x W_ih is not computed on the chip
    planes: object  # (R, slices, P, H)


def empty_sums(run) -> ChipSums:
    """Zeros for the sums of a pass."""
    n, plan, structure = run.n, run.residence.back, layout.structure_of(run.cell)
    columns, slices = structure.GATES * n.hidden, (n.replicas, plan.slices)
    tile = ROWS[run.x.dtype.itemsize], COLUMNS
    inner = (plan.tiles, *tile), (n.inputs, columns), (structure.PLANES, n.hidden)
    W_h, W_x, planes = ((*slices, *shape) for shape in inner)
    return ChipSums(*(target.zeros(shape, run.x.dtype) for shape in (W_h, W_x if plan.fused else 0, planes)))


def run_steps(run, n: Sizes, seq: Sequence, initial, kept, states, final) -> None:
    """Fill kept, states, y and the final states; all arrays flat."""
    plan, structure = run.residence.forth, layout.structure_of(run.cell)
    a = target.empty(0 if plan.fused else n.replicas * structure.PLANES * n.steps * n.batch * n.hidden, run.x.dtype)
    if not plan.fused:
        device_products.project(run, n, seq, a)
    columns = structure.GATES * n.hidden
    W = _sliced(n, plan, run.residence.count_forth, n.hidden, columns, run.weights.W_h)
    arguments = n, plan, run.weights, seq, W, initial, a, kept, states, final
    _launch(_kernels(run).forward, plan, n, run.x.dtype, arguments)


def back_steps(run, n: Sizes, seq: Sequence, d_ends, d_vectors, d_a, sums: ChipSums) -> None:
    """Add to all sums, bring d_ends from final to initial, fill d_a unless it is empty; all arrays flat."""
    plan, columns = run.residence.back, layout.structure_of(run.cell).GATES * n.hidden
    W = _sliced(n, plan, run.residence.count_back, columns, n.hidden, run.weights.V_h)
    kept, states = run.kept.reshape(-1), run.states.reshape(-1)
    flat = (array.reshape(-1) for array in sums)
    arguments = n, plan, run.weights, seq, W, kept, states, d_ends, d_vectors, d_a, *flat
    _launch(_kernels(run).backward, plan, n, run.x.dtype, arguments)


def add_up(run, sums: ChipSums, planes, grads) -> None:
    """The sums of all slices, in order, as gradients of W_hh, of the planes' biases and, with it, of W_ih."""
    n, slices, structure = run.n, run.residence.back.slices, layout.structure_of(run.cell)
    columns = structure.GATES * n.hidden
    out = grads[f"weight_hh{run.suffix}"].reshape(-1)
    gather = gather_tiles(run.x.dtype.name)
    target.spread(gather, out.size, n, run.residence.back, columns, sums.W_h.reshape(-1), out)
    _sum_slices(n, slices, sums.planes, planes)
    if sums.W_x.size:
        turned = target.empty((n.replicas, n.inputs, columns), run.x.dtype)
        _sum_slices(n, slices, sums.W_x, turned)
        out = grads[f"weight_ih{run.suffix}"].reshape(-1)
        target.spread(transpose(), out.size, n.replicas, n.inputs, columns, turned.reshape(-1), out)


def _sliced(n: Sizes, plan: Plan, count: int, rows: int, columns: int, source):
    """A matrix (R, rows, columns) as threads take it."""
    out = target.empty(n.replicas * plan.parts * count * 2 * plan.pairs, source.dtype)
    target.spread(slice_columns(), out.size, n.replicas, rows, columns, count, plan.parts, plan.pairs, source, out)
    return out


def _sum_slices(n: Sizes, slices: int, source, out) -> None:
    """(R, slices, …) -> (R, …)."""
    width = out.size // n.replicas
    target.spread(sum_of_rows(), out.size, n.replicas, slices, width, source.reshape(-1), out.reshape(-1))


def _kernels(run):
    counts = run.residence.count_forth, run.residence.count_back
    return resident_of(run.cell.name, run.x.dtype.name, counts, run.fast)


def _launch(kernel, plan: Plan, n: Sizes, dtype, arguments) -> None:
    blocks = -(-n.replicas // plan.together) * plan.slices
    shared = plan.together * plan.size * dtype.itemsize
    target.launch_with(kernel, blocks, plan.together * plan.threads, shared, *arguments)
