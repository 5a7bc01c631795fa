"""Layer normalisation of pre-activations, every plane of every row by itself (Ba, Kiros & Hinton 2016, eq. 4).

s is a plane of the products without bias, M the mean over the H units of a row:

    c = s - M s;   ŝ = c / √(M c² + ε);   a = gain · ŝ + bias
    dL/ds = (d - M d - ŝ · M(d ŝ)) / √(M c² + ε)   with d = gain · dL/da

c is kept, one plane behind another after what the cell keeps; the backward pass has its scale from it. `own` holds the
gains, the biases, and one plane that is 1 for units and 0 for what only fills up: [2·planes + 1][blocks][W]. All other
arrays as in `blocks`; a place is that of a step's first row.
"""

from functools import cache

from recurlab.kernels.target import Addressed, across, beyond, inlined, load, root, store
from recurlab.maths import ONE

EPSILON = 1e-5  # as PyTorch's LayerNorm; a Python float takes the precision of the vector beside it


@inlined
def share_of(there, blocks, lanes):
    """1 / H in every lane: one division for all rows."""
    total = load(there, 0)
    for j in range(1, blocks):
        total = total + load(there, j * lanes)
    return ONE / across(total)


@inlined
def mean_of(row, block, blocks, share):
    """The mean of a row in every lane; what only fills up is 0."""
    total = load(row, 0)
    for j in range(1, blocks):
        total = total + load(row, j * block)
    return across(total) * share


@inlined
def scale_of(centred, block, blocks, share):
    """1 / √(M c² + ε) of a row in every lane."""
    squares = load(centred, 0) * load(centred, 0)
    for j in range(1, blocks):
        c = load(centred, j * block)
        squares = squares + c * c
    return ONE / root(across(squares) * share + EPSILON)


def _normalise(a, centred, own, a_block, centred_block, planes, blocks, rows, lanes):
    """s in place of a -> a, and c."""
    plane = blocks * lanes
    there = beyond(own, 2 * planes * plane)
    share = share_of(there, blocks, lanes)
    for p in range(planes):
        gain, bias = beyond(own, p * plane), beyond(own, (planes + p) * plane)
        for row in range(0, rows * lanes, lanes):
            s, c = beyond(a, p * blocks * a_block + row), beyond(centred, p * blocks * centred_block + row)
            mean = mean_of(s, a_block, blocks, share)
            for j in range(blocks):
                store(c, j * centred_block, (load(s, j * a_block) - mean) * load(there, j * lanes))
            scale = scale_of(c, centred_block, blocks, share)
            for j in range(blocks):
                value = load(c, j * centred_block) * scale
                store(s, j * a_block, load(gain, j * lanes) * value + load(bias, j * lanes))


def _normalise_backward(d_a, centred, own, d_own, d_block, centred_block, planes, blocks, rows, lanes):
    """dL/da -> dL/ds in its place; adds to the gradients of gains and biases."""
    plane = blocks * lanes
    there = beyond(own, 2 * planes * plane)
    share = share_of(there, blocks, lanes)
    for p in range(planes):
        gain, d_gain, d_bias = beyond(own, p * plane), beyond(d_own, p * plane), beyond(d_own, (planes + p) * plane)
        for row in range(0, rows * lanes, lanes):
            d, c = beyond(d_a, p * blocks * d_block + row), beyond(centred, p * blocks * centred_block + row)
            scale = scale_of(c, centred_block, blocks, share)
            total = along = load(there, 0) - load(there, 0)
            for j in range(blocks):
                value, slope = load(c, j * centred_block) * scale, load(d, j * d_block)
                store(d_gain, j * lanes, load(d_gain, j * lanes) + slope * value)
                store(d_bias, j * lanes, load(d_bias, j * lanes) + slope)
                slope = slope * load(gain, j * lanes)
                store(d, j * d_block, slope)
                total, along = total + slope, along + slope * value
            mean, along = across(total) * share, across(along) * share
            for j in range(blocks):
                value, slope = load(c, j * centred_block) * scale, load(d, j * d_block)
                store(d, j * d_block, (slope - mean - value * along) * scale * load(there, j * lanes))


@cache
def normalise_of(dtype: str) -> Addressed:
    """`_normalise` for a dtype."""
    return Addressed(_normalise, dtype, 3, 6)


@cache
def normalise_backward_of(dtype: str) -> Addressed:
    """`_normalise_backward` for a dtype."""
    return Addressed(_normalise_backward, dtype, 4, 6)
