"""The operations of `simd` and the products of `tile` on NumPy arrays: what the kernels run on without a compiler.

A vector is an array of LANES numbers, a place a view of the array from some number on. Every access is checked against
the size of the array, so an uncompiled run of a kernel is also its bounds check.
"""

import numpy as np

LANES = 4


def lanes(dtype) -> int:
    """Numbers of a dtype in one vector."""
    return LANES


def at(array, offset):
    """The place of an array's element, counted from its first."""
    return beyond(array.reshape(-1), offset)


def beyond(place, offset):
    """The place `offset` numbers behind a place."""
    if not 0 <= offset <= place.size:
        raise IndexError(f"{offset} lies outside an array of {place.size}")
    return place[offset:]


def load(place, offset):
    """The vector that starts `offset` numbers behind a place."""
    return place[_vector(place, offset)].copy()


def store(place, offset, value):
    """Write a vector (or a number into every lane) `offset` numbers behind a place."""
    place[_vector(place, offset)] = value


def transpose(source, step, out):
    """A square of LANES numbers each way: row i stands at source + i·step, column k goes to out + k·LANES."""
    lane = np.arange(LANES)
    out[: LANES * LANES] = _numbers(source, lane * step, lane).T.ravel()


def _vector(place, offset):
    if not 0 <= offset <= place.size - LANES:
        raise IndexError(f"a vector at {offset} lies outside an array of {place.size}")
    return slice(offset, offset + LANES)


def root(value):
    """√ of every lane."""
    return np.sqrt(value)


def exp(value):
    """e to the power of every lane, in the range of normal numbers as compiled."""
    largest = {4: 87.0, 8: 708.0}[value.itemsize]
    return np.exp(np.clip(value, -largest, largest))


def larger(x, y):
    """The larger of two vectors in each lane; where either is NaN, y."""
    return np.where(x > y, x, y)


def across(value):
    """The sum of all lanes in every lane."""
    return np.full_like(value, value.sum())


def call(function, arguments):
    """Call a function with a tuple of arguments: compiled code does it by address."""
    function(*arguments)


def _numbers(place, *indices):
    """place[i + j + …] for all i, j, …: one axis for each array of indices."""
    return place[sum(np.ix_(*indices))]


def product_of_rows(
    left,
    right,
    init,
    out,
    groups,
    left_group,
    right_group,
    size,
    step,
    right_step,
    init_row,
    init_step,
    out_step,
    rows,
    vectors,
    lanes,
):
    """out = init + left · right, left by rows; see `tile`."""
    k, group = np.arange(size), np.arange(groups)[:, None]
    columns = (group * left_group + k // lanes * step + k % lanes).ravel()
    row = np.arange(rows)
    factors = _numbers(left, row * lanes, columns)
    depths = (group * right_group + k * lanes).ravel()
    _sum_up(
        factors, row, right, depths, init, out, right_step, init_row, init_step, out_step, vectors, np.arange(lanes)
    )


def product_of_columns(
    left, right, init, out, size, step, right_step, init_row, init_step, out_step, planes, units, vectors, lanes
):
    """out = init + leftᵀ · right, left by columns; see `tile`."""
    filled = -(-units // lanes) * lanes
    row = (np.arange(planes)[:, None] * filled + np.arange(units)).ravel()
    depths = np.arange(size) * lanes
    factors = _numbers(left, row // lanes * step + row % lanes, depths)
    steps = (right_step, init_row, init_step, out_step)
    _sum_up(factors, row, right, depths, init, out, *steps, vectors, np.arange(lanes))


def _sum_up(factors, row, right, depths, init, out, right_step, init_row, init_step, out_step, vectors, lane):
    """out[r, v] = init[r, v] + Σ_k factors[r, k] right[v, k]."""
    column = np.arange(vectors)
    weights = _numbers(right, column * right_step, depths, lane)
    start = _numbers(init, row * init_row, column * init_step, lane)
    places = sum(np.ix_(row * lane.size, column * out_step, lane))
    out[places] = start + np.einsum("rk,vkl->rvl", factors, weights)
