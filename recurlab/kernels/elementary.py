"""The names of `maths` for vectors: tanh and sigmoid without branches, relu and its step, in float32 and float64.

Errors against correctly rounded values, measured over the range of normal numbers (tests/test_simd.py): exp ≤ 1.5 ULP;
tanh ≤ 2.5 ULP in float32 and in float64; sigmoid ≤ 2.5 ULP while x > -87 (float32) or -708 (float64), below which it
stays at its value there, about the smallest normal number. NaN stays NaN.
"""

import math

from numba import njit
from numba.extending import intrinsic

from recurlab.kernels import simd
from recurlab.kernels.rebind import OPTIONS
from recurlab.maths import ONE, ZERO

# Terms of expm1(r) = r + r² Σ rᵏ/(k+2)!: at |r| = ln 2 / 2 the first one left out is 1.5e-8 (float32) and 1.2e-17
# (float64) of the result.
_TERMS = {32: 6, 64: 12}
# x + 1.5·2^mantissa has no room for a fraction: what is left of x is the nearest whole number. Its low bits hold that
# number plus the bias of the exponent, added here.
_ROUNDER = {32: 1.5 * 2.0**23 + 127, 64: 1.5 * 2.0**52 + 1023}
# ln 2 in two parts, the first short enough that its product with any exponent is exact.
_LN2_HIGH = {32: 0.693359375, 64: float.fromhex("0x1.62e42feep-1")}
_LN2_LOW = {32: -2.1219444005469057e-4, 64: 1.9082149292705877e-10}
_LARGEST_TANH = {32: 10.0, 64: 20.0}  # tanh rounds to 1 there
_LARGEST_EXP = {32: 87.0, 64: 708.0}  # e to this and to its negative are normal numbers


def _constant_of(table):
    """An intrinsic that gives, for a vector, the entry of a table by its precision."""

    @intrinsic
    def constant(typing_context, like):
        def generate(context, builder, sig, args):
            return like.constant(table[like.element.bitwidth])

        return like(like), generate

    return constant


_rounder, _ln2_high, _ln2_low = _constant_of(_ROUNDER), _constant_of(_LN2_HIGH), _constant_of(_LN2_LOW)
_largest_tanh, _largest_exp = _constant_of(_LARGEST_TANH), _constant_of(_LARGEST_EXP)
_one, _zero = _constant_of({32: 1.0, 64: 1.0}), _constant_of({32: 0.0, 64: 0.0})
_log2_e = _constant_of({32: math.log2(math.e), 64: math.log2(math.e)})


@intrinsic
def _series(typing_context, r):
    """Σ rᵏ/(k+2)! by Horner's rule."""

    def generate(context, builder, sig, args):
        total = None
        for k in reversed(range(_TERMS[r.element.bitwidth])):
            term = r.constant(1 / math.factorial(k + 2))
            total = term if total is None else simd.fused(builder, r, total, args[0], term)
        return total

    return r(r), generate


@njit(**OPTIONS)
def _scaled_expm1(x):
    """(2ⁿ, p) with eˣ = 2ⁿ (1 + p), |p| < 0.42; |x| must stay within the range of normal results."""
    rounded = simd.fma(x, _log2_e(x), _rounder(x))
    n = rounded - _rounder(x)
    r = simd.fma(n, _ln2_low(x) * -ONE, simd.fma(n, _ln2_high(x) * -ONE, x))
    return simd.shift_into_exponent(rounded), simd.fma(_series(r), r * r, r)


@njit(**OPTIONS)
def tanh(x):
    """expm1(2|x|) / (expm1(2|x|) + 2) with the sign of x: unlike 1 - 2/(e²ˣ + 1) exact to the last bits near 0."""
    size = simd.absolute(x)
    size = simd.where_greater(size, _largest_tanh(x), _largest_tanh(x), size)
    power, p = _scaled_expm1(size + size)
    e = simd.fma(power, p, power - ONE)
    return simd.with_sign(e / (e + (ONE + ONE)), x)


@njit(**OPTIONS)
def sigmoid(x):
    """1 / (1 + e⁻ˣ)."""
    x = simd.where_greater(x, _largest_exp(x), _largest_exp(x), x)
    x = simd.where_greater(_largest_exp(x) * -ONE, x, _largest_exp(x) * -ONE, x)
    power, p = _scaled_expm1(x * -ONE)
    return ONE / (ONE + simd.fma(power, p, power))


@njit(**OPTIONS)
def exp(x):
    """eˣ; beyond ± 87 (float32) or ± 708 (float64) it stays at its value there, about the smallest normal number."""
    x = simd.where_greater(x, _largest_exp(x), _largest_exp(x), x)
    x = simd.where_greater(_largest_exp(x) * -ONE, x, _largest_exp(x) * -ONE, x)
    power, p = _scaled_expm1(x)
    return simd.fma(power, p, power)


@njit(**OPTIONS)
def larger(x, y):
    """The larger of two vectors in each lane; where either is NaN, y."""
    return simd.where_greater(x, y, x, y)


@njit(**OPTIONS)
def relu(x):
    """max(x, 0)."""
    return simd.where_greater(ZERO, x, ZERO, x)


@njit(**OPTIONS)
def step(x):
    """1 where x > 0, else 0."""
    return simd.where_greater(x, ZERO, _one(x), _zero(x))
