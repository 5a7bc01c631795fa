"""Products of blocks whose sums stay in registers: out = init + left · right, tile by tile.

Every matrix stands in blocks of W columns, W the lanes of a vector; a `step` is the distance between blocks in numbers:

    right  [columns / W][K][W]
    out    [columns / W][rows][W]      init, what the sums start from, likewise or one row for all
    left   [groups][K / W][rows][W]    ROWS: a row of out from a row of left (products in time: h W, x W, d_a Wᵀ)
           [K][W]                      COLUMNS: a row of out from a column of left (weight gradients: d_aᵀ h)

A tile is r rows × v vectors of out: each k loads v vectors of right and broadcasts r numbers of left for r·v fused
multiply-adds. Every sum runs over k in order, whatever tile it lies in, so its bits do not depend on its neighbours.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from recurlab.kernels import simd

UNROLL = 4
_I64 = ir.IntType(64)
# Sums of a tile: at least 2 pipes × 4 cycles of latency, at most what the registers hold next to right and left.
# Measured on Zen 5, 512 bits, of 288 GFLOP/s: 4 × 2 sums 244, 5 × 2 271, 8 × 2 284, 12 × 2 280, 14 × 2 214 (spills).
TALLEST = 12 if simd.REGISTERS == 32 else 6
WIDEST = 2
COLUMNS_WIDEST = 3


def column_rows(dtype) -> int:
    """Rows of a COLUMNS tile: they must lie in one block of left."""
    return min(8 if simd.REGISTERS == 32 else 4, simd.lanes(dtype))


def _constant(value):
    return ir.Constant(_I64, value)


class _Tile:
    """Writes the LLVM code of one tile; `row_step` and `k_step` lead from one number of left to the next."""

    def __init__(self, builder, vector, rows, vectors, row_step, k_step):
        self.builder, self.vector, self.rows, self.vectors = builder, vector, rows, vectors
        self.row_step, self.k_step = row_step, k_step
        self.sums = [[cgutils.alloca_once(builder, vector.llvm) for _ in range(vectors)] for _ in range(rows)]

    def ahead(self, pointer, numbers):
        """The address that many numbers on."""
        return self.builder.gep(pointer, [_constant(numbers) if isinstance(numbers, int) else numbers])

    def places(self, base, row_step, step):
        """(sum, address) of every vector of the tile in init or out."""
        for r in range(self.rows):
            row = self.ahead(base, self.builder.mul(row_step, _constant(r)))
            for v in range(self.vectors):
                yield self.sums[r][v], self.ahead(row, self.builder.mul(step, _constant(v)))

    def start(self, init, row_step, step):
        """sums = init."""
        for total, place in self.places(init, row_step, step):
            self.builder.store(simd.load_vector(self.builder, self.vector, place), total)

    def finish(self, out, row_step, step):
        """out = sums."""
        for total, place in self.places(out, row_step, step):
            simd.store_vector(self.builder, self.vector, self.builder.load(total), place)

    def multiply(self, left, right):
        """sums += one column of left × one row of right, a list of addresses."""
        row = [simd.load_vector(self.builder, self.vector, place) for place in right]
        for r in range(self.rows):
            number = self.builder.load(self.ahead(left, r * self.row_step))
            factor = simd.splat(self.builder, self.vector, number)
            for v in range(self.vectors):
                total = simd.fused(self.builder, self.vector, factor, row[v], self.builder.load(self.sums[r][v]))
                self.builder.store(total, self.sums[r][v])

    def steps(self, left, right, count):
        """`count` values of k from these addresses on."""
        builder, lanes = self.builder, self.vector.lanes

        def unrolled(first, times):
            at_left = self.ahead(left, builder.mul(first, _constant(self.k_step)))
            at_right = [self.ahead(place, builder.mul(first, _constant(lanes))) for place in right]
            for i in range(times):
                self.multiply(
                    self.ahead(at_left, i * self.k_step), [self.ahead(place, i * lanes) for place in at_right]
                )

        whole = builder.sdiv(count, _constant(UNROLL))
        with cgutils.for_range(builder, whole) as loop:
            unrolled(builder.mul(loop.index, _constant(UNROLL)), UNROLL)
        done = builder.mul(whole, _constant(UNROLL))
        with cgutils.for_range(builder, builder.sub(count, done)) as loop:
            unrolled(builder.add(done, loop.index), 1)

    def blocks(self, left, right, size, length, step):
        """`size` values of k in blocks of `length`, `step` apart in left and without gaps in right."""
        builder = self.builder
        count = builder.sdiv(builder.sub(builder.add(size, length), _constant(1)), length)
        with cgutils.for_range(builder, count) as block:
            first = builder.mul(block.index, length)
            rest = builder.sub(size, first)
            within = builder.select(builder.icmp_signed("<", rest, length), rest, length)
            at_right = [self.ahead(place, builder.mul(first, _constant(self.vector.lanes))) for place in right]
            self.steps(self.ahead(left, builder.mul(block.index, step)), at_right, within)


def _switch(builder, value, cases, emit):
    """Code that runs emit(case) for the case that equals a run-time value."""
    after = builder.append_basic_block("after")
    branch = builder.switch(value, after)
    for case in cases:
        block = builder.append_basic_block(f"case{case}")
        branch.add_case(_constant(case), block)
        builder.position_at_end(block)
        emit(case)
        builder.branch(after)
    builder.position_at_end(after)


def _each_size(builder, rows, vectors, heights, widths, emit):
    """emit(height, width) for run-time rows and vectors."""
    _switch(
        builder,
        vectors,
        range(1, widths + 1),
        lambda width: _switch(builder, rows, heights, lambda height: emit(height, width)),
    )


@intrinsic
def tile_of_rows(typing_context, left, groups, size, step, right, right_step, group_steps, sums, rows, vectors):
    """One ROWS tile; group_steps = those of (left, right), sums = (init, init row step, init step, out, out step)."""
    vector = simd.vector_of(left.dtype)

    def generate(context, builder, sig, args):
        left, groups, size, step, right, right_step, group_steps, sums, rows, vectors = args
        left_group, right_group = cgutils.unpack_tuple(builder, group_steps, 2)
        init, init_row, init_step, out, out_step = cgutils.unpack_tuple(builder, sums, 5)

        def emit(height, width):
            code = _Tile(builder, vector, height, width, vector.lanes, 1)
            code.start(init, init_row, init_step)
            with cgutils.for_range(builder, groups) as group:
                first = builder.mul(group.index, right_group)
                columns = [code.ahead(right, builder.mul(right_step, _constant(v))) for v in range(width)]
                columns = [code.ahead(column, first) for column in columns]
                at_left = code.ahead(left, builder.mul(group.index, left_group))
                code.blocks(at_left, columns, size, _constant(vector.lanes), step)
            code.finish(out, _constant(vector.lanes), out_step)

        _each_size(builder, rows, vectors, range(1, TALLEST + 1), WIDEST, emit)
        return context.get_dummy_value()

    whole = types.intp
    arguments = (left, whole, whole, whole, right, whole, group_steps, sums, whole, whole)
    return types.void(*arguments), generate


@intrinsic
def tile_of_columns(typing_context, left, size, right, right_step, sums, vectors):
    """One COLUMNS tile of `column_rows` rows; sums as for rows."""
    vector = simd.vector_of(left.dtype)
    height = column_rows(str(left.dtype))

    def generate(context, builder, sig, args):
        left, size, right, right_step, sums, vectors = args
        init, init_row, init_step, out, out_step = cgutils.unpack_tuple(builder, sums, 5)

        def emit(width):
            code = _Tile(builder, vector, height, width, 1, vector.lanes)
            code.start(init, init_row, init_step)
            code.steps(left, [code.ahead(right, builder.mul(right_step, _constant(v))) for v in range(width)], size)
            code.finish(out, _constant(vector.lanes), out_step)

        _switch(builder, vectors, range(1, COLUMNS_WIDEST + 1), emit)
        return context.get_dummy_value()

    return types.void(left, types.intp, right, types.intp, sums, types.intp), generate


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
    """out = init + left · right, left by rows, in tiles of nearly equal height: K is `groups` × `size`.

    The blocks of right that a tile needs stay in the L1 cache for all tiles of rows.
    """
    tiles, group_steps = (rows + TALLEST - 1) // TALLEST, (left_group, right_group)
    for v in range(0, vectors, WIDEST):
        done = 0
        for i in range(tiles):
            height = (rows - done + tiles - i - 1) // (tiles - i)
            sums = (
                simd.beyond(init, done * init_row + v * init_step),
                init_row,
                init_step,
                simd.beyond(out, done * lanes + v * out_step),
                out_step,
            )
            columns = simd.beyond(right, v * right_step)
            width = min(WIDEST, vectors - v)
            tile_of_rows(
                simd.beyond(left, done * lanes),
                groups,
                size,
                step,
                columns,
                right_step,
                group_steps,
                sums,
                height,
                width,
            )
            done += height


def product_of_columns(
    left, right, init, out, size, step, right_step, init_row, init_step, out_step, planes, units, vectors, lanes
):
    """out = init + leftᵀ · right, left by columns: K is `size`; rows of out are `planes` of `units`, filled up each.

    A block of left stays in the L1 cache while all of right passes by. Tiles of rows that only fill up are left out.
    """
    blocks = (units + lanes - 1) // lanes
    for block in range(planes * blocks):
        there = min(lanes, units - block % blocks * lanes)
        for v in range(0, vectors, COLUMNS_WIDEST):
            for r in range(0, there, HEIGHT):
                row = block * lanes + r
                sums = (
                    simd.beyond(init, row * init_row + v * init_step),
                    init_row,
                    init_step,
                    simd.beyond(out, row * lanes + v * out_step),
                    out_step,
                )
                columns = simd.beyond(right, v * right_step)
                width = min(COLUMNS_WIDEST, vectors - v)
                tile_of_columns(simd.beyond(left, block * step + r), size, columns, right_step, sums, width)
