"""Numbers that a thread keeps in registers: tuples that LLVM takes apart, so that no index is left at run time.

A tile is rows · columns numbers, row by row. In the simulator it is a NumPy array.
"""

from functools import cache

import numpy as np

from recurlab.kernels.cuda.device import SIMULATED

COLUMNS = 8  # of a tile of weight gradients

if SIMULATED:
    from recurlab.kernels.cuda.target import Flat

    def flat(array):
        """Shared memory as kernels take it."""
        return Flat(array)

    def again(number):
        """The number itself."""
        return number

    @cache
    def take(count: int):
        """A function that reads `count` numbers, `step` apart."""

        def read(array, first, step):
            return np.array([array[first + k * step] for k in range(count)])

        return read

    def put(numbers, array, first):
        """Write numbers side by side."""
        for k, number in enumerate(numbers):
            array[first + k] = number

    def dots(array, left, right, first, second):
        """Two rows times two columns: Σ array[left + k] · first[k], then with `second`, then both of `right`."""
        rows = array.part(left, first.size), array.part(right, first.size)
        return tuple(row @ column for row in rows for column in (first, second))

    def add_outer(tile, array, left, right):
        """tile + array[left + i] · array[right + j], COLUMNS columns."""
        rows = tile.size // COLUMNS
        return tile + np.outer(array.part(left, rows), array.part(right, COLUMNS)).reshape(-1)

else:
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.core.typing import signature
    from numba.cuda.extending import intrinsic

    from recurlab.kernels.cuda.target import inlined

    BYTES = 16  # of the widest load

    @inlined
    def flat(array):
        """Shared memory as kernels take it."""
        return array

    @intrinsic
    def again(typing_context, number):
        """The number itself, of which the compiler knows nothing: what depends on it is computed anew."""

        def generate(context, builder, sig, args):
            kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])
            return builder.asm(kind, "mov.b64 $0, $1;", "=l,l", args, side_effect=True)

        return signature(types.int64, types.int64), generate

    def _data(context, builder, kind, array):
        return context.make_array(kind)(context, builder, array).data

    @cache
    def take(count: int):
        """A function that reads `count` numbers, `step` apart."""

        @intrinsic
        def read(typing_context, array, first, step):
            def generate(context, builder, sig, args):
                place, numbers = args[1], []
                for _ in range(count):
                    numbers.append(builder.load(builder.gep(_data(context, builder, sig.args[0], args[0]), [place])))
                    place = builder.add(place, args[2])
                return cgutils.pack_array(builder, numbers)

            return signature(types.UniTuple(array.dtype, count), array, types.int64, types.int64), generate

        return read

    @intrinsic
    def put(typing_context, numbers, array, first):
        """Write numbers side by side."""

        def generate(context, builder, sig, args):
            data = builder.gep(_data(context, builder, sig.args[1], args[1]), [args[2]])
            for k in range(sig.args[0].count):
                place = builder.gep(data, [ir.Constant(args[2].type, k)])
                builder.store(builder.extract_value(args[0], k), place)
            return context.get_dummy_value()

        return signature(types.void, numbers, array, types.int64), generate

    def _lanes(data):
        """How many numbers a load brings."""
        return BYTES // (8 if isinstance(data.type.pointee, ir.DoubleType) else 4)

    def _wide(builder, data, place, count):
        """`count` numbers from a place that is a multiple of 16 bytes, in loads of 16 bytes."""
        lanes = _lanes(data)
        vector = ir.VectorType(data.type.pointee, lanes)
        pointer, numbers = builder.bitcast(builder.gep(data, [place]), vector.as_pointer()), []
        for k in range(count // lanes):
            loaded = builder.load(builder.gep(pointer, [ir.Constant(place.type, k)]))
            loaded.align = BYTES
            numbers += [builder.extract_element(loaded, ir.Constant(ir.IntType(32), lane)) for lane in range(lanes)]
        return numbers

    @intrinsic
    def dots(typing_context, array, left, right, first, second):
        """Two rows times two columns: Σ array[left + k] · first[k], then with `second`, then both of `right`.

        Few numbers of the rows are in registers at a time; places are multiples of 16 bytes.
        """

        def generate(context, builder, sig, args):
            data = _data(context, builder, sig.args[0], args[0])
            lanes = _lanes(data)
            sums = [ir.Constant(data.type.pointee, 0)] * 4
            for k in range(0, sig.args[3].count, lanes):
                rows = [_wide(builder, data, builder.add(row, ir.Constant(row.type, k)), lanes) for row in args[1:3]]
                for lane in range(lanes):
                    columns = [builder.extract_value(column, k + lane) for column in args[3:]]
                    products = [builder.fmul(row[lane], column) for row in rows for column in columns]
                    sums = [builder.fadd(total, product) for total, product in zip(sums, products, strict=True)]
            return cgutils.pack_array(builder, sums)

        return signature(types.UniTuple(array.dtype, 4), array, types.int64, types.int64, first, second), generate

    @intrinsic
    def add_outer(typing_context, tile, array, left, right):
        """tile + array[left + i] · array[right + j], COLUMNS columns."""

        def generate(context, builder, sig, args):
            data = _data(context, builder, sig.args[1], args[1])
            lefts = _wide(builder, data, args[2], sig.args[0].count // COLUMNS)
            rights = _wide(builder, data, args[3], COLUMNS)
            products = [builder.fmul(one, other) for one in lefts for other in rights]
            sums = [builder.fadd(builder.extract_value(args[0], k), p) for k, p in enumerate(products)]
            return cgutils.pack_array(builder, sums)

        return signature(tile, tile, array, types.int64, types.int64), generate
