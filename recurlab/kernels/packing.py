"""Weights into the layouts of `blocks`, and their gradients back. R replicas, all arrays flat.

Both matrices of a pass go in one parallel loop over replicas and planes: every loop costs 5 to 10 µs to start.
"""

from functools import cache

from numba import prange

from recurlab.kernels.blocks import put_row, take_row
from recurlab.kernels.target import at, cached, inlined, load, start_threads, store, transpose
from recurlab.maths import ZERO


@inlined
def pack_plane(weights, order, out, i, hidden, columns, width):
    """Plane i, counted through all replicas, of V_x or V_h from weights (R, G·H, columns), filled up with zeros."""
    gates, units = order.size, (hidden + width - 1) // width * width
    blocks, block = (columns + width - 1) // width, gates * units * width
    r, plane = i // gates, i % gates
    first = r * blocks * block + plane * units * width
    for unit in range(hidden):
        source = ((r * gates + order[plane]) * hidden + unit) * columns
        put_row(out, first + unit * width, block, weights, source, columns, width)
    for unit in range(hidden, units):
        for j in range(blocks):
            store(at(out, first + unit * width + j * block), 0, ZERO)


@inlined
def turn_plane(packed, out, i, gates, hidden, columns, width):
    """The same plane of W_x or W_h from V_x or V_h: every square of width × width turned over."""
    vectors, blocks = (hidden + width - 1) // width, (columns + width - 1) // width
    r, plane, square = i // gates, i % gates, width * width
    for vector in range(plane * vectors, (plane + 1) * vectors):
        for j in range(blocks):
            source = (r * blocks + j) * gates * vectors + vector
            to = (r * gates * vectors + vector) * blocks + j
            transpose(at(packed, source * square), width, at(out, to * square))


@inlined
def add_slices(parts, i, gates, slices, hidden, columns, width):
    """Gradients [U][columns / W][G·blocks·W][W]: plane i of a replica's first slice becomes the sum of all, in order.

    What stands in columns that only fill up becomes zero.
    """
    units, blocks = (hidden + width - 1) // width * width, (columns + width - 1) // width
    size = blocks * gates * units * width
    first = i // gates * slices * size + i % gates * units * width
    for block in range(blocks):
        start = first + block * gates * units * width
        for k in range(start, start + units * width, width):
            total = load(at(parts, k), 0)
            for s in range(1, slices):
                total = total + load(at(parts, k + s * size), 0)
            store(at(parts, k), 0, total)
            for lane in range(max(0, columns - block * width), width):
                parts[k + lane] = 0


@inlined
def unpack_plane(parts, order, out, i, slices, hidden, columns, width):
    """Plane i of gradients, each replica's in its first slice, -> (R, G·H, columns)."""
    gates, units = order.size, (hidden + width - 1) // width * width
    blocks, block = (columns + width - 1) // width, gates * units * width
    r, plane = i // gates, i % gates
    for unit in range(hidden):
        to = ((r * gates + order[plane]) * hidden + unit) * columns
        first = r * slices * blocks * block + (plane * units + unit) * width
        take_row(out, to, parts, first, block, columns, width)


def _prepare(W_ih, W_hh, orders, V_x, V_h, W_x, W_h, replicas, hidden, inputs, width, natural):
    """V_x, V_h from natural weights if `natural`, and W_x, W_h from them; orders (2, G): the gate of each plane."""
    gates = orders.shape[1]
    for i in prange(2 * replicas * gates):
        k = i // 2
        if i % 2:
            if natural:
                pack_plane(W_hh, orders[1], V_h, k, hidden, hidden, width)
            turn_plane(V_h, W_h, k, gates, hidden, hidden, width)
        else:
            if natural:
                pack_plane(W_ih, orders[0], V_x, k, hidden, inputs, width)
            turn_plane(V_x, W_x, k, gates, hidden, inputs, width)


def _finish(parts_x, parts_h, orders, out_x, out_h, replicas, slices, hidden, inputs, width, natural):
    """Add up the slices of both gradients; into natural ones if `natural`."""
    gates = orders.shape[1]
    for i in prange(2 * replicas * gates):
        k = i // 2
        if i % 2:
            add_slices(parts_h, k, gates, slices, hidden, hidden, width)
            if natural:
                unpack_plane(parts_h, orders[1], out_h, k, slices, hidden, hidden, width)
        else:
            add_slices(parts_x, k, gates, slices, hidden, inputs, width)
            if natural:
                unpack_plane(parts_x, orders[0], out_x, k, slices, hidden, inputs, width)


@cache
def prepare():
    """`_prepare`, compiled."""
    start_threads()
    return cached(_prepare, parallel=True)


@cache
def finish():
    """`_finish`, compiled."""
    start_threads()
    return cached(_finish, parallel=True)
