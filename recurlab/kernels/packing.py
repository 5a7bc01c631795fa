"""Weights into the layouts of `blocks`, and their gradients back. R replicas, all arrays flat.

Both matrices of a pass go in one parallel loop over replicas and planes: every loop costs 5 to 10 µs to start.
"""

from functools import cache

from numba import prange

from recurlab.kernels.blocks import clear_vectors, put_row, take_row
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

    What stands in rows and columns that only fill up becomes zero.
    """
    units, blocks = (hidden + width - 1) // width * width, (columns + width - 1) // width
    size = blocks * gates * units * width
    first = i // gates * slices * size + i % gates * units * width
    for block in range(blocks):
        start = first + block * gates * units * width
        clear_vectors(parts, start + hidden * width, 0, 1, units - hidden, width)
        for k in range(start, start + hidden * width, width):
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


@inlined
def pack_bias(b_ih, b_hh, orders, out, r, hidden, width):
    """b_ih + b_hh of replica r in their planes, [planes][blocks][W]; recurrent ones start behind the separate."""
    gates, units = orders.shape[1], (hidden + width - 1) // width * width
    planes = out.size // (b_ih.size // (gates * hidden)) // units
    clear_vectors(out, r * planes * units, 0, 1, planes * units // width, width)
    for k in range(gates):
        inputs, recurrent = (r * planes + k) * units, (r * planes + planes - gates + k) * units
        for unit in range(hidden):
            out[inputs + unit] += b_ih[(r * gates + orders[0, k]) * hidden + unit]
            out[recurrent + unit] += b_hh[(r * gates + orders[1, k]) * hidden + unit]


@inlined
def unpack_bias(parts, orders, d_ih, d_hh, r, slices, hidden, width):
    """The other way round for gradients [U][planes][blocks][W]: the slices are added up in order."""
    gates, units = orders.shape[1], (hidden + width - 1) // width * width
    planes = parts.size // (d_ih.size // (gates * hidden)) // slices // units
    for k in range(gates):
        for unit in range(hidden):
            first = (r * slices * planes + k) * units + unit
            inputs, recurrent = parts[first], parts[first + (planes - gates) * units]
            for u in range(1, slices):
                inputs += parts[first + u * planes * units]
                recurrent += parts[first + (u * planes + planes - gates) * units]
            d_ih[(r * gates + orders[0, k]) * hidden + unit] = inputs
            d_hh[(r * gates + orders[1, k]) * hidden + unit] = recurrent


def _prepare(
    W_ih, W_hh, b_ih, b_hh, orders, V_x, V_h, W_x, W_h, bias, replicas, hidden, inputs, recurrent, width, natural
):
    """V_x, V_h from natural weights if `natural`, W_x, W_h from them, and the bias; orders (2, G): a plane's gate."""
    gates = orders.shape[1]
    for i in prange(2 * replicas * gates):
        k = i // 2
        if i % 2:
            if natural:
                pack_plane(W_hh, orders[1], V_h, k, hidden, recurrent, width)
            turn_plane(V_h, W_h, k, gates, hidden, recurrent, width)
        else:
            if natural:
                pack_plane(W_ih, orders[0], V_x, k, hidden, inputs, width)
            turn_plane(V_x, W_x, k, gates, hidden, inputs, width)
            if k % gates == 0:
                pack_bias(b_ih, b_hh, orders, bias, k // gates, hidden, width)


def _finish(
    parts_x,
    parts_h,
    parts_b,
    orders,
    d_W_ih,
    d_W_hh,
    d_ih,
    d_hh,
    replicas,
    slices,
    hidden,
    inputs,
    recurrent,
    width,
    natural,
):
    """Add up the slices of all gradients; those of matrices into natural ones if `natural`."""
    gates = orders.shape[1]
    for i in prange(2 * replicas * gates):
        k = i // 2
        if i % 2:
            add_slices(parts_h, k, gates, slices, hidden, recurrent, width)
            if natural:
                unpack_plane(parts_h, orders[1], d_W_hh, k, slices, hidden, recurrent, width)
        else:
            add_slices(parts_x, k, gates, slices, hidden, inputs, width)
            if natural:
                unpack_plane(parts_x, orders[0], d_W_ih, k, slices, hidden, inputs, width)
            if k % gates == 0:
                unpack_bias(parts_b, orders, d_ih, d_hh, k // gates, slices, hidden, width)


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
