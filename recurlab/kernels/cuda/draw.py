"""Random numbers of many seeds on a GPU: `kernels.draw` with a thread for each block of Philox.

Row r is the stream (seeds[r], purpose, step). Uniform numbers have the bits of the CPU. Logarithm, sine and cosine of
normal ones are series whose first terms are pairs of numbers, and off by 0.52 ULP at most: so they are the CPU's but
for ties. CUDA's own are off by 1 and 2 ULP, and need a table in memory for large angles.
"""

import math
from functools import cache

import numpy as np

from recurlab.kernels import draw
from recurlab.kernels.cuda.target import cuda, empty, fma, inlined, kernel, spread, store, to_device
from recurlab.kernels.rebind import rebind

# In parts, the first so short that its multiples are exact: π/2, ln 2; 1/6 and 1/24 with what a number leaves of them.
HALF_PI = 1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21
LN_2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
SIXTH = 1 / 6, 2.0**-54 / 6
FOURTH = 1 / 24, 2.0**-56 / 6
ROOT_HALF = 0.7071067811865476


def fill_uniforms(seeds, purpose, step, out):
    """Uniform numbers in [0, 1) into out (R, 2 · blocks), flat."""
    blocks = out.size // (2 * seeds.size)
    for i in range(cuda.grid(1), seeds.size * blocks, cuda.gridsize(1)):
        a, b, c, d = philox(i % blocks, step, purpose, seeds[i // blocks])
        store(out, 2 * i, to_uniform(a, b))
        store(out, 2 * i + 1, to_uniform(c, d))


def _product(a, b):
    """The product as a number, and what that leaves of it; no compiler takes the two apart."""
    p = fma(a, b, 0.0)
    return p, fma(a, b, -p)


def _logarithm(x):
    """ln x, 0 < x ≤ 1: of its mantissa m by 2 artanh s, s = (m - 1) / (m + 1), with the remainder of that division."""
    m, k = math.frexp(x)
    if m < ROOT_HALF:
        m, k = 2 * m, k - 1
    f, g = m - 1.0, m + 1.0
    s = f / g
    rest = (fma(-s, g, f) - s * (m - (g - 1.0))) / g
    z, series = s * s, 0.0
    for n in range(23, 1, -2):
        series = (series + 1.0 / n) * z
    whole = k * LN_2[0]
    total = whole + 2.0 * s
    left = 2.0 * s - (total - whole)
    return total + (left + (k * LN_2[1] + 2.0 * (rest + s * series)))


def _sine(x, y):
    """sin(x + y), |x| ≤ π/4 and y the part of it that x has no bits for: x - x³/6 in pairs, then the series."""
    z, z_rest = product(x, x)
    cube, cube_rest = product(x, z)
    third, third_rest = product(cube, SIXTH[0])
    third_rest += cube * SIXTH[1] + (cube_rest + x * z_rest) * SIXTH[0]
    series = 1.0
    for n in range(16, 4, -2):
        series = 1.0 - series * z * (1.0 / (n * (n + 1)))
    total = x - third
    left = (x - total) - third
    return total + (left + (cube * z * series * (1.0 / 120.0) - third_rest + y * (1.0 - 0.5 * z)))


def _cosine(x, y):
    """cos(x + y), likewise: 1 - x²/2 + x⁴/24 in pairs."""
    z, z_rest = product(x, x)
    w, w_rest = product(z, z)
    fourth, fourth_rest = product(w, FOURTH[0])
    fourth_rest += w * FOURTH[1] + (w_rest + 2.0 * z * z_rest) * FOURTH[0]
    series = 1.0
    for n in range(17, 5, -2):
        series = 1.0 - series * z * (1.0 / (n * (n + 1)))
    head = 1.0 - 0.5 * z
    total = head + fourth
    left = ((1.0 - head) - 0.5 * z) + (fourth - (total - head))
    return total + (left + (fourth_rest - w * z * series * (1.0 / 720.0) - 0.5 * z_rest - x * y))


def _cosine_and_sine(angle):
    """Both of an angle from 0 to 2π, reduced by the nearest multiple of π/2 in three parts."""
    k = math.floor(angle * (2.0 / math.pi) + 0.5)
    whole = angle - k * HALF_PI[0]
    r = whole - k * HALF_PI[1]
    w = k * HALF_PI[2] - ((whole - r) - k * HALF_PI[1])
    x = r - w
    y = (r - x) - w
    cosine, sine = _cosine(x, y), _sine(x, y)
    if k % 2 == 1:
        cosine, sine = -sine, cosine
    return (-cosine, -sine) if k == 2 or k == 3 else (cosine, sine)


def fill_normals(seeds, purpose, step, out):
    """Standard normal numbers by Box–Muller into out (R, 2 · blocks), flat; see `random.box_muller`."""
    blocks = out.size // (2 * seeds.size)
    for i in range(cuda.grid(1), seeds.size * blocks, cuda.gridsize(1)):
        a, b, c, d = philox(i % blocks, step, purpose, seeds[i // blocks])
        radius = math.sqrt(-2.0 * logarithm(1.0 - to_uniform(a, b)))
        cosine, sine = cosine_and_sine(fma(2.0 * math.pi, to_uniform(c, d), 0.0))  # the angle as the CPU rounds it
        store(out, 2 * i, radius * cosine)
        store(out, 2 * i + 1, radius * sine)


@cache
def compiled(function):
    """A kernel of this module with the generator of the CPU."""
    plain = (getattr(one, "py_func", one) for one in (draw.philox, draw.to_uniform))
    names = {one.__name__: inlined(rebind(one, "cuda")) for one in plain}
    return kernel(function, "cuda", logarithm=logarithm(), cosine_and_sine=cosine_and_sine(), **names)


@cache
def logarithm():
    """`_logarithm`, compiled."""
    return inlined(rebind(_logarithm, "cuda"))


@cache
def cosine_and_sine():
    """`_cosine_and_sine`, compiled."""
    product = inlined(rebind(_product, "cuda"))
    parts = {one.__name__: inlined(rebind(one, "cuda", product=product)) for one in (_cosine, _sine)}
    return inlined(rebind(_cosine_and_sine, "cuda", **parts))


def uniforms(seeds, purpose: str, step: int, count: int):
    """`kernels.draw.uniforms` as a device array: float64 (R, count), count even."""
    return _drawn(fill_uniforms, seeds, purpose, step, count)


def normals(seeds, purpose: str, step: int, count: int):
    """`kernels.draw.normals` as a device array: float64 (R, count), count even.

    To 2 ULP, but for one in a million where NumPy's logarithm and its cosine or sine both rounded to the other side (33
    of 40 million were 3 off, computed with these functions compiled for a CPU).
    """
    return _drawn(fill_normals, seeds, purpose, step, count)


def _drawn(function, seeds, purpose: str, step: int, count: int):
    if count % 2:
        raise ValueError(f"count: expected an even number, got {count}")
    keys, purpose_word, step_word = draw.address(seeds, purpose, step)
    out = empty((len(seeds), count), np.float64)
    spread(compiled(function), out.size // 2, to_device(keys), purpose_word, step_word, out.reshape(-1))
    return out
