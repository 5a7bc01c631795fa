"""What training does beside the recurrent layer, on a GPU: readout, loss, norms of gradients, updates. All arrays flat.

A thread has a number, a row or a lane of a sum of its own, and every sum one order: in losses and norms that of the
CPU's kernels. The functions of losses and rules are those of the CPU.
"""

import math
from functools import cache

import numpy as np

from recurlab.kernels.cuda.target import cuda, inlined, kernel, load, spread, store
from recurlab.kernels.rebind import rebind
from recurlab.maths import ZERO


def gather(rows, width, source, out):
    """out[i] = the row rows[i] of source."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        store(out, i, load(source, rows[i // width] * width + i % width))


def scatter(rows, width, source, out):
    """The row rows[i] of out = source[i]; no two are the same."""
    for i in range(cuda.grid(1), source.size, cuda.gridsize(1)):
        store(out, rows[i // width] * width + i % width, load(source, i))


def read_out(count, outputs, width, weight, bias, x, out):
    """out (R, N, O) = x (R, N, H) Wᵀ + b."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        o, row, r = i % outputs, i // outputs, i // outputs // count
        total = load(bias, r * outputs + o)
        for k in range(width):
            total += load(x, row * width + k) * load(weight, (r * outputs + o) * width + k)
        store(out, i, total)


def weight_gradients(count, outputs, width, x, dy, d_weight):
    """dW (R, O, H) = Σ_n dy x."""
    for i in range(cuda.grid(1), d_weight.size, cuda.gridsize(1)):
        k, o, r, total = i % width, i // width % outputs, i // width // outputs, ZERO
        for n in range(r * count, (r + 1) * count):
            total += load(dy, n * outputs + o) * load(x, n * width + k)
        store(d_weight, i, total)


def bias_gradients(count, outputs, dy, d_bias):
    """db (R, O) = Σ_n dy."""
    for i in range(cuda.grid(1), d_bias.size, cuda.gridsize(1)):
        total = ZERO
        for n in range(i // outputs * count, (i // outputs + 1) * count):
            total += load(dy, n * outputs + i % outputs)
        store(d_bias, i, total)


def x_gradients(count, outputs, width, weight, dy, dx):
    """dx (R, N, H) = dy W."""
    for i in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        k, row, total = i % width, i // width, ZERO
        for o in range(outputs):
            total += load(dy, row * outputs + o) * load(weight, (row // count * outputs + o) * width + k)
        store(dx, i, total)


def judge(outputs, targets, weights, totals, parts, gradient):
    """Loss and error of each position times its weight into parts (2, R, N), and the gradient; see `layers.loss`."""
    replicas, count = outputs.shape[0], outputs.shape[1]
    for i in range(cuda.grid(1), replicas * count, cuda.gridsize(1)):
        r, n = i // count, i % count
        own = min(r, weights.shape[0] - 1)
        weight = weights[own, n]
        if weight == 0:
            parts[0, r, n] = 0
            parts[1, r, n] = 0
            for k in range(outputs.shape[2]):
                gradient[r, n, k] = 0
        else:
            target = targets[min(r, targets.shape[0] - 1), n]
            loss, error = position(outputs[r, n], target, weight / totals[own], gradient[r, n])
            parts[0, r, n] = weight * loss
            parts[1, r, n] = weight * error


def mean(parts, totals, means):
    """means (2, R) = Σ parts / Σ weights."""
    replicas, count = parts.shape[1], parts.shape[2]
    for i in range(cuda.grid(1), 2 * replicas, cuda.gridsize(1)):
        k, r = i // replicas, i % replicas
        total = 0.0
        for n in range(count):
            total += parts[k, r, n]
        means[k, r] = total / totals[min(r, totals.size - 1)]


def square(lanes, g, out):
    """out (R, lanes) += the squares of every lane of g (R, n), in float64."""
    n = g.size // (out.size // lanes)
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        r, total = i // lanes, 0.0
        for k in range(i % lanes, n, lanes):
            value = np.float64(load(g, r * n + k))
            total += value * value
        out[i] = total


def add_lanes(lanes, sums, out):
    """out (R,) += the sums (R, lanes) of the lanes in order."""
    for r in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        total = 0.0
        for lane in range(lanes):
            total += sums[r * lanes + lane]
        out[r] += total


def update(p, g, slots, constants, factors, limits):
    """`rule` for all numbers p, g (R, n) of all replicas, slots (R, S · n); see `optimise`."""
    replicas, n = p.shape[0], p.shape[1]
    for i in range(cuda.grid(1), replicas * n, cuda.gridsize(1)):
        r, k = i // n, i % n
        if factors[r] != 0:
            own = min(max(g[r, k] * factors[r], -limits[r]), limits[r])
            p[r, k] = rule(p[r, k], own, slots[r], n, k, constants[r])


@cache
def compiled(function, label: str = "", **names):
    """A kernel of this module; functions among `names` are compiled into it."""
    return kernel(function, f"cuda_{label}", **{name: inlined(own) for name, own in names.items()})


@cache
def update_by(rule):
    """`update` with a rule of the CPU; its np.sqrt becomes math.sqrt, for numba.cuda has no function of NumPy's."""
    plain = getattr(rule, "py_func", rule)
    return compiled(update, plain.__name__, rule=rebind(plain, "cuda", np=math))


def run(function, count: int, *arguments) -> None:
    """Launch a kernel of this module that needs no other function, on so many numbers."""
    spread(compiled(function), count, *arguments)
