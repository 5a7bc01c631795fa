"""Products of blocks, called as the kernels call them: by address, on arrays laid out here, against NumPy's product."""

import ctypes
import inspect
from itertools import product

import numpy as np
import pytest
from cases import assert_same_bits

from recurlab.kernels import plain
from recurlab.kernels.target import COMPILED, column_product_of, lanes, row_product_of

DTYPES = ["float32", "float64"]
UNTOUCHED = -12345.0  # stands around all that a product may write
GAP = 3  # rows between blocks that belong to somebody else


def call(kind, dtype, arrays, wholes):
    """Run `row` or `column` product on (left, right, init, out) with the other arguments by name."""
    product_of = {"row": row_product_of, "column": column_product_of}[kind](dtype).address
    names = list(inspect.signature({"row": plain.product_of_rows, "column": plain.product_of_columns}[kind]).parameters)
    numbers = [wholes[name] for name in names[4:]]
    if not COMPILED:
        return product_of(*arrays, *numbers)
    kinds = [ctypes.c_void_p] * 4 + [ctypes.c_ssize_t] * len(numbers)
    return ctypes.CFUNCTYPE(None, *kinds)(product_of)(*(array.ctypes.data for array in arrays), *numbers)


def blocked(matrix, width, filler=np.nan):
    """(rows, columns) in blocks of `width` columns, GAP rows of filler behind each: flat, and from block to block."""
    rows, columns = matrix.shape
    blocks = -(-columns // width)
    filled = np.full((blocks, rows + GAP, width), filler, matrix.dtype)
    for j in range(blocks):
        part = matrix[:, j * width : (j + 1) * width]
        filled[j, :rows, : part.shape[1]] = part
    return filled.ravel(), (rows + GAP) * width


def unblocked(flat, rows, vectors, width):
    """The other way round; nothing may have been written behind the rows."""
    filled = flat.reshape(vectors, rows + GAP, width)
    assert (filled[:, rows:] == UNTOUCHED).all()
    return filled[:, :rows].transpose(1, 0, 2).reshape(rows, vectors * width)


def started(form, start, width):
    """(init array, out array, natural start, init_row, init_step, out_step) for one way of giving the start of sums."""
    rows, columns = start.shape
    out, step = blocked(start, width, UNTOUCHED)
    if form == "in place":
        return out, out, start, width, step, step
    first = start[:1] * (form == "one row")
    out = np.where(out == UNTOUCHED, out, 77).astype(start.dtype)
    if form == "apart":
        return *(blocked(start, width)[0], out, start), width, step, step
    init = np.ascontiguousarray(first.ravel() if form == "one row" else np.zeros(width, start.dtype))
    return init, out, np.broadcast_to(first, start.shape), 0, width if form == "one row" else 0, step


FORMS = ("in place", "one row", "apart", "zeros")


def by_rows(left, right, start, form, dtype):
    """start + Σ_g left[g] right[g], left (groups, rows, size), right (groups, size, columns): (came, natural start)."""
    (groups, rows, size), columns, width = left.shape, right.shape[2], lanes(dtype)
    packed = [blocked(part, width) for part in left]
    depth, vectors = size + GAP, columns // width
    filled = np.full((vectors, groups, depth, width), np.nan, dtype)
    filled[:, :, :size] = right.reshape(groups, size, vectors, width).transpose(2, 0, 1, 3)
    init, out, natural, init_row, init_step, out_step = started(form, start, width)
    wholes = {"groups": groups, "left_group": packed[0][0].size, "right_group": depth * width, "size": size}
    wholes |= {"step": packed[0][1], "right_step": groups * depth * width, "rows": rows, "vectors": vectors}
    wholes |= {"init_row": init_row, "init_step": init_step, "out_step": out_step, "lanes": width}
    call("row", dtype, (np.concatenate([array for array, _ in packed]), filled.ravel(), init, out), wholes)
    return unblocked(out, rows, vectors, width), natural


def by_columns(left, right, start, form, dtype, planes=1, units=None):
    """start + leftᵀ right, left (size, rows), right (size, columns): (came, natural start).

    The rows are `planes` of `units` each, filled up to whole vectors; by default all belong to one plane.
    """
    (size, rows), columns, width = left.shape, right.shape[1], lanes(dtype)
    (left, step), (right, right_step) = blocked(left, width), blocked(right, width)
    init, out, natural, init_row, init_step, out_step = started(form, start, width)
    wholes = {"size": size, "step": step, "right_step": right_step, "vectors": columns // width}
    wholes |= {"init_row": init_row, "init_step": init_step, "out_step": out_step, "lanes": width}
    wholes |= {"planes": planes, "units": units or rows}
    call("column", dtype, (left, right, init, out), wholes)
    return unblocked(out, rows, columns // width, width), natural


def whole_numbers(rng, *shape, dtype):
    """Small ones, so that every sum of products of them is exact."""
    return rng.integers(-3, 4, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_by_rows_are_exact_on_whole_numbers_for_every_height_and_width(dtype):
    """1 to 25 rows make tiles of every height, 1 to 7 vectors pairs and single ones; K ends in a block or with it."""
    rng, width = np.random.default_rng(0), lanes(dtype)
    sizes = (1, 3, 4, 7, width, width + 1, 2 * width + 5)
    for k, (rows, vectors) in enumerate(product(range(1, 26), range(1, 8))):
        groups, size, form = 1 + k % 3, sizes[k % len(sizes)], FORMS[(k // 5) % len(FORMS)]
        left = whole_numbers(rng, groups, rows, size, dtype=dtype)
        right = whole_numbers(rng, groups, size, vectors * width, dtype=dtype)
        came, start = by_rows(left, right, whole_numbers(rng, rows, vectors * width, dtype=dtype), form, dtype)
        expected = start + np.einsum("grk,gkc->rc", left, right)
        assert (came == expected).all(), (rows, vectors, groups, size, form)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_products_by_rows_are_exact_for_every_size_and_number_of_groups(form, dtype):
    rng, width = np.random.default_rng(1), lanes(dtype)
    for size, groups in product(range(1, 2 * width + 2), range(1, 5)):
        left = whole_numbers(rng, groups, 5, size, dtype=dtype)
        right = whole_numbers(rng, groups, size, 3 * width, dtype=dtype)
        came, start = by_rows(left, right, whole_numbers(rng, 5, 3 * width, dtype=dtype), form, dtype)
        assert (came == start + np.einsum("grk,gkc->rc", left, right)).all(), (size, groups)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_products_by_columns_are_exact_on_whole_numbers(form, dtype):
    rng, width = np.random.default_rng(2), lanes(dtype)
    for blocks, vectors, size in product((1, 2, 3), range(1, 8), (1, 2, 3, 4, 5, 16, 21)):
        left = whole_numbers(rng, size, blocks * width, dtype=dtype)
        right = whole_numbers(rng, size, vectors * width, dtype=dtype)
        start = whole_numbers(rng, blocks * width, vectors * width, dtype=dtype)
        came, start = by_columns(left, right, start, form, dtype)
        assert (came == start + left.T @ right).all(), (blocks, vectors, size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_by_columns_are_exact_where_planes_end_within_a_vector(dtype):
    rng, width = np.random.default_rng(3), lanes(dtype)
    for planes, units in product((1, 2, 3), range(1, 2 * width + 1)):
        filled = -(-units // width) * width
        there = (np.arange(planes)[:, None] * filled + np.arange(units)).ravel()
        left = whole_numbers(rng, 9, planes * filled, dtype=dtype)
        right = whole_numbers(rng, 9, 2 * width, dtype=dtype)
        start = whole_numbers(rng, planes * filled, 2 * width, dtype=dtype)
        came, start = by_columns(left, right, start, "apart", dtype, planes, units)
        assert (came[there] == (start + left.T @ right)[there]).all(), (planes, units)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [2, 5, 7, 12, 13, 25])
def test_a_row_and_a_vector_have_their_bits_whatever_tile_they_lie_in(rows, dtype):
    rng, width = np.random.default_rng(rows), lanes(dtype)
    left, right = (rng.standard_normal(shape).astype(dtype) for shape in ((2, rows, 37), (2, 37, 5 * width)))
    start = rng.standard_normal((rows, 5 * width)).astype(dtype)
    together, _ = by_rows(left, right, start, "in place", dtype)
    for r in range(rows):
        alone, _ = by_rows(left[:, r : r + 1], right, start[r : r + 1], "apart", dtype)
        assert_same_bits(alone, together[r : r + 1])
    for v in range(5):
        some = slice(v * width, (v + 1) * width)
        alone, _ = by_rows(left, right[:, :, some], start[:, some], "apart", dtype)
        assert_same_bits(alone, np.ascontiguousarray(together[:, some]))


@pytest.mark.skipif(not COMPILED, reason="NumPy sums in an order of its own")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_by_columns_has_its_bits_whatever_tile_it_lies_in_and_wherever_it_is_interrupted(dtype):
    rng, width = np.random.default_rng(4), lanes(dtype)
    left = rng.standard_normal((29, 2 * width)).astype(dtype)
    right = rng.standard_normal((29, 7 * width)).astype(dtype)
    start = rng.standard_normal((2 * width, 7 * width)).astype(dtype)
    together, _ = by_columns(left, right, start, "in place", dtype)
    for v in range(7):
        some = slice(v * width, (v + 1) * width)
        alone, _ = by_columns(left[:, width:], right[:, some], start[width:, some], "apart", dtype)
        assert_same_bits(alone, np.ascontiguousarray(together[width:, some]))
    first, _ = by_columns(left[:10], right[:10], start, "apart", dtype)
    then, _ = by_columns(left[10:], right[10:], first, "in place", dtype)
    assert_same_bits(then, together)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_is_within_the_rounding_of_its_sums(dtype):
    """|error| ≤ K eps/2 Σ|left||right| per number: each of K fused products rounds once (Higham 2002, sec. 3.1)."""
    rng, width, eps = np.random.default_rng(5), lanes(dtype), np.finfo(dtype).eps
    left, right = (rng.standard_normal(shape).astype(dtype) for shape in ((3, 9, 50), (3, 50, 4 * width)))
    start = rng.standard_normal((9, 4 * width)).astype(dtype)
    came, _ = by_rows(left, right, start, "apart", dtype)
    wide = [array.astype(np.longdouble) for array in (left, right, start)]
    exact = wide[2] + np.einsum("grk,gkc->rc", wide[0], wide[1])
    sizes = np.abs(start) + np.einsum("grk,gkc->rc", np.abs(left), np.abs(right))
    assert (np.abs(came - exact) <= 150 * eps * sizes).all()  # twice that, for hosts that do not fuse


@pytest.mark.skipif(COMPILED, reason="compiled kernels do not check their accesses; uncompiled ones do")
def test_uncompiled_accesses_are_checked():
    array = np.zeros(10)
    for function, arguments in (
        (plain.at, (array, 11)),
        (plain.beyond, (array, -1)),
        (plain.load, (array, 7)),
        (plain.load, (array, -1)),
        (plain.store, (array, 7, 1.0)),
        (plain.transpose, (array, 4, np.zeros(16))),
    ):
        with pytest.raises(IndexError):
            function(*arguments)
