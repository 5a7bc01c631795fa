"""Vectors of the host as values in compiled code: arithmetic, loads and stores, calls by address.

A `Vec` holds as many lanes as fit a register of the host, so the pointwise functions of a cell, which only do
arithmetic, work on it as they stand. LLVM sees plain vector types: every processor it knows can run them.

`plain` has the same names for uncompiled runs, where a vector is a NumPy array.
"""

import operator
import os

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

WIDTHS = (128, 256, 512)
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_CONTRACT = ("contract",)  # fused multiply-add allowed; nothing is reordered, NaN and inf keep their meaning


def host_features() -> frozenset[str]:
    """The instruction sets of the host as LLVM names them."""
    return frozenset(name for name, there in binding.get_host_cpu_features().items() if there)


def host_width(features: frozenset[str]) -> int:
    """Bits of the widest vector register that the features promise."""
    return 512 if "avx512f" in features else 256 if "avx" in features else 128


def chosen_width() -> int:
    """The width that RECURLAB_VECTOR_BITS asks for, else the host's."""
    asked = os.environ.get("RECURLAB_VECTOR_BITS")
    if asked is None:
        return host_width(host_features())
    if asked not in map(str, WIDTHS):
        raise ValueError(f"RECURLAB_VECTOR_BITS: expected one of {', '.join(map(str, WIDTHS))}, got {asked!r}")
    return int(asked)


BITS = chosen_width()
FUSED = bool({"fma", "neon"} & host_features())  # without it a fused multiply-add would be a slow library call
REGISTERS = 32 if {"avx512vl", "neon"} & host_features() else 16


def lanes(dtype) -> int:
    """Numbers of a dtype in one vector."""
    return BITS // 8 // np.dtype(dtype).itemsize


class Vec(types.Type):
    """A vector register full of float32 or float64 lanes."""

    def __init__(self, element):
        self.element = element
        self.lanes = BITS // element.bitwidth
        llvm = {32: ir.FloatType(), 64: ir.DoubleType()}[element.bitwidth]
        self.llvm = ir.VectorType(llvm, self.lanes)
        super().__init__(name=f"Vec({element} x {self.lanes})")

    def intrinsic(self, builder, name, count):
        """The LLVM intrinsic of this type with `count` operands."""
        full = f"llvm.{name}.v{self.lanes}f{self.element.bitwidth}"
        kind = ir.FunctionType(self.llvm, [self.llvm] * count)
        return cgutils.get_or_insert_function(builder.module, kind, full)

    def constant(self, value):
        """The same number in every lane."""
        return ir.Constant(self.llvm, [value] * self.lanes)


@register_model(Vec)
class _VecModel(PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, kind.llvm)


FLOAT32, FLOAT64 = Vec(types.float32), Vec(types.float64)


def vector_of(element) -> Vec:
    """The vector type of an element type."""
    return FLOAT32 if element == types.float32 else FLOAT64


def splat(builder, vector, scalar):
    """A scalar in every lane."""
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, vector.lanes), None))


def _widened(context, builder, value, kind, vector):
    """A number or vector as that vector type."""
    if isinstance(kind, Vec):
        return value
    return splat(builder, vector, context.cast(builder, value, kind, vector.element))


def _first_vector(kinds):
    return next(kind for kind in kinds if isinstance(kind, Vec))


def _register_arithmetic(function, instruction):
    """Let an operator take two vectors, or a vector and a number."""

    @infer_global(function)
    class _Arithmetic(AbstractTemplate):
        def generic(self, args, kws):
            known = len(args) == 2 and all(isinstance(kind, Vec | types.Number) for kind in args)
            if known and any(isinstance(kind, Vec) for kind in args):
                return signature(_first_vector(args), *args)

    def generate(context, builder, sig, args):
        vector = sig.return_type
        left, right = (_widened(context, builder, v, k, vector) for v, k in zip(args, sig.args, strict=True))
        return getattr(builder, instruction)(left, right, flags=_CONTRACT)

    for pair in ((Vec, Vec), (Vec, types.Number), (types.Number, Vec)):
        lower_builtin(function, *pair)(generate)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register_arithmetic(_function, _instruction)


def _as_vectors(vector, context, builder, sig, args):
    return [_widened(context, builder, value, kind, vector) for value, kind in zip(args, sig.args, strict=True)]


@intrinsic
def fma(typing_context, x, y, z):
    """x·y + z, rounded once where the host can."""
    vector = _first_vector((x, y, z))

    def generate(context, builder, sig, args):
        return fused(builder, vector, *_as_vectors(vector, context, builder, sig, args))

    return vector(x, y, z), generate


def fused(builder, vector, x, y, z):
    """The instruction behind `fma`."""
    return builder.call(vector.intrinsic(builder, "fma" if FUSED else "fmuladd", 3), (x, y, z))


@intrinsic
def where_greater(typing_context, x, y, then, other):
    """`then` in the lanes where x > y, else `other`; a NaN is not greater."""
    vector = _first_vector((x, y, then, other))

    def generate(context, builder, sig, args):
        left, right, yes, no = _as_vectors(vector, context, builder, sig, args)
        return builder.select(builder.fcmp_ordered(">", left, right), yes, no)

    return vector(x, y, then, other), generate


@intrinsic
def root(typing_context, x):
    """√x."""

    def generate(context, builder, sig, args):
        return builder.call(x.intrinsic(builder, "sqrt", 1), args)

    return x(x), generate


@intrinsic
def across(typing_context, x):
    """The sum of all lanes in every lane: neighbours first, then pairs, fours, …"""

    def generate(context, builder, sig, args):
        (total,) = args
        for size in (1 << k for k in range(x.lanes.bit_length() - 1)):
            partner = ir.Constant(ir.VectorType(_I32, x.lanes), [k ^ size for k in range(x.lanes)])
            total = builder.fadd(total, builder.shuffle_vector(total, total, partner))
        return total

    return x(x), generate


def _lane_integers(vector):
    return ir.VectorType(ir.IntType(vector.element.bitwidth), vector.lanes)


@intrinsic
def absolute(typing_context, x):
    """|x|."""

    def generate(context, builder, sig, args):
        return builder.call(x.intrinsic(builder, "fabs", 1), args)

    return x(x), generate


@intrinsic
def with_sign(typing_context, x, sign):
    """|x| with the sign of `sign`."""

    def generate(context, builder, sig, args):
        return builder.call(x.intrinsic(builder, "copysign", 2), args)

    return x(x, sign), generate


@intrinsic
def shift_into_exponent(typing_context, x):
    """The low bits of x as an integer, moved to where the exponent stands: 2ⁿ from the bits of n + bias."""
    shift = {32: 23, 64: 52}[x.element.bitwidth]

    def generate(context, builder, sig, args):
        kind = _lane_integers(x)
        bits = builder.bitcast(args[0], kind)
        return builder.bitcast(builder.shl(bits, ir.Constant(kind, [shift] * x.lanes)), x.llvm)

    return x(x), generate


# Memory. A place is the address of a number in an array.


@intrinsic
def at(typing_context, array, offset):
    """The place of an array's element, counted from its first."""
    place = types.CPointer(array.dtype)

    def generate(context, builder, sig, args):
        data = cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return place(array, types.intp), generate


@intrinsic
def beyond(typing_context, place, offset):
    """The place `offset` numbers behind a place."""

    def generate(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return place(place, types.intp), generate


@intrinsic
def load(typing_context, place, offset):
    """The vector that starts `offset` numbers behind a place."""
    vector = vector_of(place.dtype)

    def generate(context, builder, sig, args):
        return load_vector(builder, vector, builder.gep(args[0], [args[1]]))

    return vector(place, types.intp), generate


@intrinsic
def store(typing_context, place, offset, value):
    """Write a vector (or a number into every lane) `offset` numbers behind a place."""
    vector = vector_of(place.dtype)

    def generate(context, builder, sig, args):
        lanes_of_value = _widened(context, builder, args[2], sig.args[2], vector)
        store_vector(builder, vector, lanes_of_value, builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(place, types.intp, value), generate


def load_vector(builder, vector, pointer):
    """Read a vector from an address of any alignment."""
    return builder.load(builder.bitcast(pointer, vector.llvm.as_pointer()), align=vector.element.bitwidth // 8)


def store_vector(builder, vector, value, pointer):
    """Write a vector to an address of any alignment."""
    builder.store(value, builder.bitcast(pointer, vector.llvm.as_pointer()), align=vector.element.bitwidth // 8)


@intrinsic
def transpose(typing_context, source, step, out):
    """A square of as many numbers as there are lanes each way: row i stands at source + i·step, its column goes to out.

    Column k of the square becomes the vector at out + k·lanes. Halves of blocks change places, block sizes 1, 2, 4, …
    (Eklundh 1972).
    """
    vector = vector_of(source.dtype)

    def generate(context, builder, sig, args):
        lanes = vector.lanes
        rows = [
            load_vector(builder, vector, builder.gep(args[0], [builder.mul(args[1], ir.Constant(_I64, i))]))
            for i in range(lanes)
        ]
        for size in (1 << k for k in range(lanes.bit_length() - 1)):
            for i in (i for i in range(lanes) if not i & size):
                rows[i], rows[i + size] = _exchanged(builder, rows[i], rows[i + size], size, lanes)
        for i, row in enumerate(rows):
            store_vector(builder, vector, row, builder.gep(args[2], [ir.Constant(_I64, i * lanes)]))
        return context.get_dummy_value()

    return types.void(source, types.intp, out), generate


def _exchanged(builder, upper, lower, size, lanes):
    """Two rows whose blocks of `size` off the diagonal have changed places."""
    kinds = ir.VectorType(_I32, lanes)
    first = [k if not k & size else lanes + k - size for k in range(lanes)]
    second = [k + size if not k & size else lanes + k for k in range(lanes)]
    return (
        builder.shuffle_vector(upper, lower, ir.Constant(kinds, first)),
        builder.shuffle_vector(upper, lower, ir.Constant(kinds, second)),
    )


@intrinsic
def call(typing_context, address, arguments):
    """Call the compiled function at an address, which returns nothing, with a tuple of places and whole numbers.

    Code that is reached by address is compiled once and not once more in every caller.
    """

    def generate(context, builder, sig, args):
        values = cgutils.unpack_tuple(builder, args[1], len(arguments))
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), generate
