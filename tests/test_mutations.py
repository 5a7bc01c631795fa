"""The conformance checks notice every deliberate error below: each is put into a copy of the sources, uncompiled.

An error is consistent where that is possible: its backward pass is the true gradient of its forward pass, as it is when
someone misreads an equation, so that no check of the layer against itself could see it.
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "recurlab"
LSTM, GRU, RNN, TABLE = "cells/lstm.py", "cells/gru.py", "cells/rnn.py", "cells/__init__.py"
RAW, WEIGHTS = "parametrise.py", "weights.py"
VARIANTS, MGU, UGRNN, EULER = "cells/lstm_variants.py", "cells/mgu.py", "cells/ugrnn.py", "cells/antisymmetric.py"
INDRNN, MINIMAL, LRU = "cells/indrnn.py", "cells/minimal.py", "cells/lru.py"
PLAIN, BLOCKS, PACKING, JOB = "kernels/plain.py", "kernels/blocks.py", "kernels/packing.py", "kernels/job.py"
FORWARD, BACKWARD, POINTWISE = "kernels/forward.py", "kernels/backward.py", "kernels/pointwise.py"
NORM, ZONEOUT = "kernels/norm.py", "kernels/zoneout.py"
LOSS, PENALTIES, NOISE = "layers/loss.py", "penalties.py", "noise.py"
SOFTMAX, SOFTMAX_LAYER, EMBEDDING = "kernels/softmax.py", "layers/softmax.py", "layers/embedding.py"
OMEGA, OMEGA_LAYER = "kernels/omega.py", "layers/omega.py"
MATHS, MATRICES, PASSES, LAYER = "maths.py", "layers/matrices.py", "layers/passes.py", "layers/recurrent.py"

# name: [(path, text that stands there once, what it becomes), …]
Edits = list[tuple[str, str, str]]

# The 17 errors that other public suites were measured with (ONNX's cases see 9 of them, Keras's 7).

LSTM_GATES = "return sigmoid(a[0]), sigmoid(a[1]), tanh(a[2]), sigmoid(a[3])\n"
LSTM_GRADIENT = "return (d_i, d_f, d_g, d_o), (ZERO, d_c * kept[1])"
RESET_AFTER = "r = sigmoid(a[0])\n    return r, sigmoid(a[1]), tanh(a[2] + r * a[3]), a[3]"
RESET_AFTER_GRADIENT = "return (d_n * n_h * r * (ONE - r), d_z, d_n, d_n * r), (d_h,)"
RESET_BEFORE = "r = sigmoid(a[0])\n    return r, sigmoid(a[1]), tanh(a[2]), r * state[0]"
RESET_STATE_GRADIENT = "d_operand * state[0] * r * (ONE - r)"
OUTPUT_GATE = "return i, f, g, sigmoid(a[3] + vectors[2] * (f * state[1] + i * g))"
PEEPHOLE_GRADIENT = "return (d_i, d_f, d_g, d_o), (ZERO, d_old), (d_i * state[1], d_f * state[1], d_o * new_state[1])"
TURNED = "reshape(n.replicas, n.gates, n.hidden, -1).swapaxes(-1, -2).reshape(n.replicas, -1, n.hidden)"


def lstm_swap(one, other):
    """The rows of two gates exchanged, forward and backward."""
    column = list(range(4))
    column[one], column[other] = other, one
    gradient = [f"d_{'ifgo'[k]}" for k in column]
    gates = "return sigmoid(a[{}]), sigmoid(a[{}]), tanh(a[{}]), sigmoid(a[{}])\n".format(*column)
    return [(LSTM, LSTM_GATES, gates), (LSTM, LSTM_GRADIENT, f"return ({', '.join(gradient)}), (ZERO, d_c * kept[1])")]


KNOWN: dict[str, Edits] = {
    f"LSTM swap {'ifco'[one]}<->{'ifco'[other]}": lstm_swap(one, other) for one, other in combinations(range(4), 2)
}
KNOWN |= {
    "GRU swap z<->r": [
        (GRU, RESET_AFTER, "r = sigmoid(a[1])\n    return r, sigmoid(a[0]), tanh(a[2] + r * a[3]), a[3]"),
        (GRU, RESET_AFTER_GRADIENT, "return (d_z, d_n * n_h * r * (ONE - r), d_n, d_n * r), (d_h,)"),
        (GRU, RESET_BEFORE, "r = sigmoid(a[1])\n    return r, sigmoid(a[0]), tanh(a[2]), r * state[0]"),
        (GRU, "return sigmoid(a[0]) * state[0]", "return sigmoid(a[1]) * state[0]"),
        (GRU, "return (ZERO, d_z, d_n), (d_h,)", "return (d_z, ZERO, d_n), (d_h,)"),
        (GRU, f"return ({RESET_STATE_GRADIENT}, ZERO, ZERO)", f"return (ZERO, {RESET_STATE_GRADIENT}, ZERO)"),
    ],
    "GRU swap z<->h": [
        (GRU, 'gates=("r", "z", "n"),', 'gates=("r", "n", "z"),'),
        (GRU, RESET_AFTER, "r = sigmoid(a[0])\n    return r, sigmoid(a[2]), tanh(a[1] + r * a[3]), a[3]"),
        (GRU, RESET_AFTER_GRADIENT, "return (d_n * n_h * r * (ONE - r), d_n, d_z, d_n * r), (d_h,)"),
    ],
    "GRU swap r<->h": [
        (GRU, 'gates=("r", "z", "n"),', 'gates=("n", "z", "r"),'),
        (GRU, RESET_AFTER, "r = sigmoid(a[2])\n    return r, sigmoid(a[1]), tanh(a[0] + r * a[3]), a[3]"),
        (GRU, RESET_AFTER_GRADIENT, "return (d_n, d_z, d_n * n_h * r * (ONE - r), d_n * r), (d_h,)"),
    ],
    "GRU z and 1-z exchanged": [
        (GRU, "return (n + z * (state[0] - n),)", "return (state[0] + z * (n - state[0]),)"),
        (
            GRU,
            "return d_new[0] * (state[0] - n) * z * (ONE - z), d_new[0] * (ONE - z) * (ONE - n * n), d_new[0] * z",
            "return d_new[0] * (n - state[0]) * z * (ONE - z), d_new[0] * z * (ONE - n * n), d_new[0] * (ONE - z)",
        ),
    ],
    "GRU reset before/after exchanged": [
        (TABLE, '"gru": GRU,', '"gru": GRU_RESET_BEFORE,'),
        (TABLE, '"gru_reset_before": GRU_RESET_BEFORE,', '"gru_reset_before": GRU,'),
        (GRU, 'name="gru",', 'name="gru_reset_before",'),
        (GRU, 'GRU._replace(\n    name="gru_reset_before",', 'GRU._replace(\n    name="gru",'),
    ],
    "output peephole reads c(t-1)": [
        (LSTM, OUTPUT_GATE, "return i, f, g, sigmoid(a[3] + vectors[2] * state[1])"),
        (LSTM, "d_c = d_c + d_o * vectors[2]", "pass"),
        (LSTM, "+ d_f * vectors[1]\n", "+ d_f * vectors[1] + d_o * vectors[2]\n"),
        (LSTM, PEEPHOLE_GRADIENT, PEEPHOLE_GRADIENT.replace("new_state", "state")),
    ],
    "peephole order i,o,f for i,f,o": [(LSTM, 'vectors=("ci", "cf", "co")', 'vectors=("ci", "co", "cf")')],
    "h = o*c (no tanh)": [
        (LSTM, "return o * tanh(c), c", "return o * c, c"),
        (LSTM, "o, t = kept[3], tanh(new_state[1])", "o, t = kept[3], new_state[1]"),
        (LSTM, "return d_new[1] + d_new[0] * o * (ONE - t * t),", "return d_new[1] + d_new[0] * o,"),
    ],
    "recurrent bias dropped": [(PACKING, "out[recurrent + unit] += b_hh", "out[recurrent + unit] += 0 * b_hh")],
    "W_hh used transposed": [
        (MATRICES, "W_ih, W_hh, b_ih, b_hh = params\n", "W_ih, W_hh, b_ih, b_hh = params = turned(n, params)\n"),
        (MATRICES, "else (*d_W, *d_b)", f"else (d_W[0], d_W[1].{TURNED}, *d_b)"),
        (
            MATRICES,
            "def prepared(",
            f"def turned(n, given):\n    turn = np.ascontiguousarray(given[1].{TURNED})\n"
            "    return given[0], turn, *given[2:]\n\n\ndef prepared(",
        ),
    ],
    "reverse direction ignored": [
        (JOB, "return length - 1 - s if reverse else s", "return s"),
        (LAYER, "if not reverse:", "if True:"),
    ],
}

# Wrong derivatives: a factor or a path missing in every backward.

DERIVATIVES: dict[str, Edits] = {
    "tanh': square missing": [(RNN, "(ONE - kept[0] * kept[0]),)", "(ONE - kept[0]),)")],
    "relu' is 1 everywhere": [(RNN, "d_new[0] * step(kept[0])", "d_new[0]")],
    "sigmoid': a factor missing": [(RNN, "d_new[0] * kept[0] * (ONE - kept[0])", "d_new[0] * (ONE - kept[0])")],
    "linear': doubled": [(RNN, "return (d_new[0],), (ZERO,)", "return (d_new[0] + d_new[0],), (ZERO,)")],
    "LSTM d_i: g missing": [(LSTM, "d_c * g * i * (ONE - i)", "d_c * i * (ONE - i)")],
    "LSTM d_f: c missing": [(LSTM, "d_c * state[1] * f * (ONE - f)", "d_c * f * (ONE - f)")],
    "LSTM d_g: square missing": [(LSTM, "d_c * i * (ONE - g * g)", "d_c * i * (ONE - g)")],
    "LSTM d_o: tanh c missing": [(LSTM, "d_new[0] * t * o * (ONE - o)", "d_new[0] * o * (ONE - o)")],
    "LSTM d_c: 1 - tanh² missing": [(LSTM, "d_new[0] * o * (ONE - t * t)", "d_new[0] * o")],
    "LSTM: gradient from the next c dropped": [(LSTM, "return d_new[1] + d_new[0] * o", "return d_new[0] * o")],
    "LSTM: gradient to the old c dropped": [(LSTM, "(ZERO, d_c * kept[1])", "(ZERO, ZERO)")],
    "peephole: c through o dropped": [(LSTM, "d_c = d_c + d_o * vectors[2]", "pass")],
    "peephole: old c through i dropped": [(LSTM, "kept[1] + d_i * vectors[0]", "kept[1]")],
    "peephole: old c through f dropped": [(LSTM, "+ d_f * vectors[1]\n", "\n")],
    "peephole: d_co from the old c": [(LSTM, "d_o * new_state[1])", "d_o * state[1])")],
    "peephole: d_ci and d_cf exchanged": [
        (LSTM, "(d_i * state[1], d_f * state[1],", "(d_f * state[1], d_i * state[1],")
    ],
    "GRU d_r: n_h missing": [(GRU, "d_n * n_h * r * (ONE - r)", "d_n * r * (ONE - r)")],
    "GRU d_n_h: r missing": [(GRU, "d_z, d_n, d_n * r)", "d_z, d_n, d_n)")],
    "GRU d_z: sign": [(GRU, "d_new[0] * (state[0] - n)", "d_new[0] * (n - state[0])")],
    "GRU d_n: 1 - z missing": [(GRU, "d_new[0] * (ONE - z) * (ONE - n * n)", "d_new[0] * (ONE - n * n)")],
    "GRU: direct path to the old h dropped": [(GRU, "(ONE - n * n), d_new[0] * z\n", "(ONE - n * n), ZERO\n")],
    "reset before: d_r without h": [(GRU, "d_operand * state[0] * r * (ONE - r)", "d_operand * r * (ONE - r)")],
    "reset before: old h through r h dropped": [(GRU, "(d_operand * r,)", "(ZERO,)")],
    "IndRNN: relu' is 1 everywhere": [(INDRNN, "d_new[0] * step(kept[0])", "d_new[0]")],
    "IndRNN: old h without u": [(INDRNN, "(d_a * vectors[0],)", "(d_a,)")],
    "IndRNN: d_u from the new h": [(INDRNN, "(d_a * state[0],)", "(d_a * new_state[0],)")],
    "minimal GRU: z and 1-z exchanged": [
        (MINIMAL, "(state[0] + z * (n - state[0]),)", "(n + z * (state[0] - n),)"),
        (
            MINIMAL,
            "(d * (n - state[0]) * z * (ONE - z), d * z), (d * (ONE - z),)",
            "(d * (state[0] - n) * z * (ONE - z), d * (ONE - z)), (d * z,)",
        ),
    ],
    "minimal GRU d_z: sign": [(MINIMAL, "(d * (n - state[0]) * z", "(d * (state[0] - n) * z")],
    "minimal GRU d_n: z missing": [(MINIMAL, "(ONE - z), d * z), (d", "(ONE - z), d), (d")],
    "minimal GRU: direct path to the old h dropped": [(MINIMAL, "d * z), (d * (ONE - z),)", "d * z), (d,)")],
    "minimal LSTM: shares exchanged": [(MINIMAL, "return f * whole, i * whole", "return i * whole, f * whole")],
    "minimal LSTM: shares not of one": [(MINIMAL, "whole = ONE / (f + i)", "whole = ONE")],
    "minimal LSTM d_f: 1 - f missing": [(MINIMAL, "(d_log * (ONE - f), ", "(d_log, ")],
    "minimal LSTM d_i: sign": [(MINIMAL, "(d_log * -ONE)", "(d_log * ONE)")],
    "minimal LSTM d_n: share missing": [(MINIMAL, "d_new[0] * enters), (", "d_new[0]), (")],
    "minimal LSTM: direct path to the old h dropped": [(MINIMAL, "(d_new[0] * stays,)", "(d_new[0],)")],
    "LRU turns the other way": [
        (LRU, "re = real * state[0] - imaginary", "re = real * state[0] + imaginary"),
        (LRU, "im = imaginary * state[0] + real", "im = real * state[1] - imaginary * state[0] + 0 * real"),
        (LRU, "real * d_re + imaginary", "real * d_re - imaginary"),
        (LRU, "real * d_im - imaginary", "real * d_im + imaginary"),
        (LRU, "d_im * state[0] - d_re * state[1]", "d_re * state[1] - d_im * state[0]"),
    ],
    "LRU: gamma of the imaginary part dropped": [(LRU, "+ gamma * a[1]", "+ a[1]")],
    "LRU: gradient through the other part dropped": [(LRU, "real * d_re + imaginary * d_im,", "real * d_re,")],
    "LRU d_lambda: turned the other way": [
        (LRU, "d_im * state[0] - d_re * state[1]", "d_im * state[0] + d_re * state[1]")
    ],
    "LRU d_gamma of the real part alone": [(LRU, "d_re * kept[2] + d_im * kept[3]", "d_re * kept[2]")],
}

# Cells made of other cells: what they change, misread forward and backward, or forgotten in one of the two.

RESIDUAL_GRADIENT = "return (d_change * (ONE - n * n),), (d_new[0],), (d_new[0] * n,)"
BORROWED: dict[str, Edits] = {
    "no input gate is a coupled one": [
        (VARIANTS, "update((ONE, f, g, o), state)", "update((ONE - f, f, g, o), state)"),
        (VARIANTS, "backward((ONE, f, g, o), state", "backward((ONE - f, f, g, o), state"),
        (VARIANTS, "    return (d_f, d_g, d_o), d_state\n", "    return (d_f - _, d_g, d_o), d_state\n"),
    ],
    "no forget gate is a coupled one": [
        (VARIANTS, "update((i, ONE, g, o), state)", "update((i, ONE - i, g, o), state)"),
        (VARIANTS, "backward((i, ONE, g, o), state", "backward((i, ONE - i, g, o), state"),
        (VARIANTS, "    return (d_i, d_g, d_o), d_state\n", "    return (d_i - _, d_g, d_o), d_state\n"),
    ],
    "no forget gate: no old state": [
        (VARIANTS, "update((i, ONE, g, o), state)", "update((i, ZERO, g, o), state)"),
        (VARIANTS, "backward((i, ONE, g, o), state", "backward((i, ZERO, g, o), state"),
    ],
    "no output gate: h is 0": [
        (VARIANTS, "update((i, f, g, ONE), state)", "update((i, f, g, ZERO), state)"),
        (VARIANTS, "backward((i, f, g, ONE), state", "backward((i, f, g, ZERO), state"),
    ],
    "coupled: the gate writes when open": [
        (VARIANTS, "update((ONE - f, f, g, o), state)", "update((f, ONE - f, g, o), state)"),
        (VARIANTS, "backward((ONE - f, f, g, o), state", "backward((f, ONE - f, g, o), state"),
        (VARIANTS, "(d_f - d_i, d_g, d_o)", "(d_i - d_f, d_g, d_o)"),
    ],
    "coupled: gradient through 1 - f dropped": [(VARIANTS, "(d_f - d_i, d_g, d_o)", "(d_f, d_g, d_o)")],
    "coupled: gradient through 1 - f with the wrong sign": [
        (VARIANTS, "(d_f - d_i, d_g, d_o)", "(d_f + d_i, d_g, d_o)")
    ],
    "no input activation: tanh there": [
        (VARIANTS, "sigmoid(a[1]), a[2], sigmoid(a[3])", "sigmoid(a[1]), tanh(a[2]), sigmoid(a[3])"),
        (VARIANTS, "d_i, d_f, _ = gate_gradients", "d_i, d_f, d_g = gate_gradients"),
        (VARIANTS, "(d_i, d_f, d_c * kept[0], d_o)", "(d_i, d_f, d_g, d_o)"),
    ],
    "no input activation: d_g as of tanh": [
        (VARIANTS, "(d_i, d_f, d_c * kept[0], d_o)", "(d_i, d_f, d_c * kept[0] * (ONE - kept[2] * kept[2]), d_o)")
    ],
    "no output activation: tanh there": [(VARIANTS, "return o * c, c", "return o * tanh(c), c")],
    "no output activation: d_o without c": [(VARIANTS, "d_new[0] * new_state[1] * o", "d_new[0] * o")],
    "no output activation: gradient from the next c dropped": [(VARIANTS, "d_new[1] + d_new[0] * o", "d_new[0] * o")],
    "MGU: f and 1 - f exchanged": [
        (MGU, "update((f, ONE - f, n), state)", "update((f, f, n), state)"),
        (MGU, "mixture_gradient((f, ONE - f, n),", "mixture_gradient((f, f, n),"),
        (MGU, "return (ZERO - d_z, d_n)", "return (d_z, d_n)"),
    ],
    "MGU: d_f with the wrong sign": [(MGU, "return (ZERO - d_z, d_n)", "return (d_z, d_n)")],
    "MGU: f of f h without a gradient": [(MGU, "return (d_f, ZERO), d_state", "return (ZERO, ZERO), d_state")],
    "UGRNN: z and n exchanged": [
        (UGRNN, "return sigmoid(a[0]), tanh(a[1])", "return sigmoid(a[1]), tanh(a[0])"),
        (UGRNN, "return (d_z, d_n), (d_h,)", "return (d_n, d_z), (d_h,)"),
    ],
    "antisymmetric: no old state": [
        (EULER, "return (state[0] + kept[1],)", "return (kept[1],)"),
        (EULER, RESIDUAL_GRADIENT, RESIDUAL_GRADIENT.replace("(d_new[0],)", "(d_new[0] - d_new[0],)")),
    ],
    "antisymmetric: d_eps without n": [
        (EULER, RESIDUAL_GRADIENT, RESIDUAL_GRADIENT.replace("(d_new[0] * n,)", "d_new"))
    ],
    "antisymmetric: eps missing going back": [
        (EULER, "n, d_change = kept[0], d_new[0] * vectors[0]", "n, d_change = kept[0], d_new[0]")
    ],
    "gated antisymmetric: d_z without n": [(EULER, "d_change * n * z * (ONE - z)", "d_change * z * (ONE - z)")],
    "gated antisymmetric: d_n without z": [(EULER, "d_change * z * (ONE - n * n)", "d_change * (ONE - n * n)")],
    "gated antisymmetric: d_eps without z": [(EULER, "(d_new[0] * z * n,)", "(d_new[0] * n,)")],
}

# The kernels. The products are those of `plain`; `tile`, `simd` and `elementary` have tests of their own.

PRODUCTS: dict[str, Edits] = {
    "product: second block of left is the first": [(PLAIN, "k // lanes * step + k % lanes", "k % lanes")],
    "product: all groups of left are the first": [(PLAIN, "group * left_group", "group * 0")],
    "product: all groups of right are the first": [(PLAIN, "group * right_group", "group * 0")],
    "product: a row of weights twice": [
        (PLAIN, "(group * right_group + k * lanes)", "(group * right_group + np.maximum(k - 1, 0) * lanes)")
    ],
    "product: last number of left dropped": [(PLAIN, "k, group = np.arange(size)", "k, group = np.arange(size - 1)")],
    "product: every row is the first": [(PLAIN, "_numbers(left, row * lanes,", "_numbers(left, 0 * row,")],
    "product: every vector of weights is the first": [(PLAIN, "column * right_step, depths", "column * 0, depths")],
    "product: sums start from zero": [(PLAIN, "= start + np.einsum", "= np.einsum")],
    "product: all rows start from the first": [(PLAIN, "row * init_row,", "row * 0,")],
    "product: all vectors start from the first": [(PLAIN, "column * init_step,", "column * 0,")],
    "product by columns: second block is the first": [(PLAIN, "row // lanes * step + row % lanes", "row % lanes")],
    "product by columns: last step dropped": [
        (PLAIN, "depths = np.arange(size) * lanes", "depths = np.arange(size - 1) * lanes")
    ],
    "square not turned over": [(PLAIN, "lane * step, lane).T.ravel()", "lane * step, lane).ravel()")],
    "sigmoid of negative numbers": [(MATHS, "1 / (1 + e), e / (1 + e))", "1 / (1 + e), 1 / (1 + e))")],
    "relu is the identity": [(MATHS, "return np.maximum(x, ZERO)", "return x")],
    "relu' is 1 at 0": [(MATHS, "(np.asarray(x) > 0)", "(np.asarray(x) >= 0)")],
}

LAYOUTS: dict[str, Edits] = {
    "recurrent planes in the order of the inputs'": [
        (BLOCKS, "np.array([[*apart, *plain], [*plain, *apart]])", "np.array([[*apart, *plain], [*apart, *plain]])")
    ],
    "input planes in the order of the recurrent ones": [
        (BLOCKS, "np.array([[*apart, *plain], [*plain, *apart]])", "np.array([[*plain, *apart], [*plain, *apart]])")
    ],
    "planes in their own order": [(BLOCKS, "tuple(places.index(a) for a in range(len(places)))", "tuple(places)")],
    "second product comes first": [(BLOCKS, "== cell.second_product)", "!= cell.second_product)")],
    "gates take the planes in order": [
        (POINTWISE, "planes_of(cell).order", "tuple(range(len(planes_of(cell).order)))")
    ],
    "rows of a slice rounded down": [
        (BLOCKS, "-(-batch // slices), -(-hidden // width)", "batch // slices, -(-hidden // width)")
    ],
    "blocks of units rounded down": [(BLOCKS, "-(-hidden // width)", "max(1, hidden // width)")],
    "blocks of inputs rounded down": [(BLOCKS, "-(-inputs // width)", "max(1, inputs // width)")],
    "kept state one step early": [(BLOCKS, "kept_first=n.kept_is_state * row", "kept_first=0")],
    "rows out of blocks: slices in between": [
        (BLOCKS, "apart.transpose(0, 2, 4, 1, 5, 3, 6)", "apart.transpose(0, 2, 4, 5, 1, 3, 6)")
    ],
    "put_row: rest from the front": [
        (BLOCKS, "(block - width) + i] = source[start + i]", "(block - width) + i] = source[start]")
    ],
    "put_row: rest dropped": [(BLOCKS, "out[first + whole * (block - width) + i] = source[start + i]", "pass")],
    "take_row: rest from the first block": [
        (
            BLOCKS,
            "out[start + i] = source[first + whole * (block - width) + i]",
            "out[start + i] = source[first + i % width]",
        )
    ],
    "add_to_row: rest assigned": [(BLOCKS, "+ i] += source[start + i]", "+ i] = source[start + i]")],
    "add_from_row: rest assigned": [(BLOCKS, "out[start + i] += source[", "out[start + i] = source[")],
    "add_from_row: vectors assigned": [
        (BLOCKS, "load(place, 0) + load(at(source, first + j * block), 0)", "load(at(source, first + j * block), 0)")
    ],
    "add_to_row: vectors assigned": [
        (BLOCKS, "load(place, 0) + load(at(source, start + j * width), 0)", "load(at(source, start + j * width), 0)")
    ],
    "copied: one row for all": [(BLOCKS, "store(to, k, load(since, k))", "store(to, k, load(since, 0))")],
    "cleared: nothing": [(BLOCKS, "store(place, k, ZERO)", "pass")],
    "packed: gates in their own order": [
        (
            PACKING,
            "put_row(out, first + unit * width, block, weights, source,",
            "put_row(out, first + unit * width, block, weights, ((r * gates + plane) * hidden + unit) * columns,",
        )
    ],
    "packed: all replicas are the first": [
        (
            PACKING,
            "put_row(out, first + unit * width, block, weights, source,",
            "put_row(out, first + unit * width, block, weights, source - r * gates * hidden * columns,",
        )
    ],
    "pack: what fills up is not zero": [(MATRICES, "np.zeros((len(weight)", "np.ones((len(weight)")],
    "turned: every square is the first": [
        (PACKING, "source = (r * blocks + j) * gates", "source = r * blocks * gates")
    ],
    "turned: all replicas are the first": [(PACKING, "source = (r * blocks + j) * gates", "source = j * gates")],
    "W_ih packed in the order of the recurrent planes": [
        (PACKING, "pack_plane(W_ih, orders[0],", "pack_plane(W_ih, orders[1],")
    ],
    "d_W_ih unpacked in the order of the recurrent planes": [
        (PACKING, "unpack_plane(parts_x, orders[0],", "unpack_plane(parts_x, orders[1],")
    ],
    "gradient of the second slice dropped": [(PACKING, "for s in range(1, slices):", "for s in range(1, 1):")],
    "gradient of the first slice twice": [(PACKING, "load(at(parts, k + s * size), 0)", "load(at(parts, k), 0)")],
    "columns that only fill up keep a gradient": [(PACKING, "parts[k + lane] = 0", "parts[k + lane] = 1")],
    "unpacked: gates in their own order": [(PACKING, "to = ((r * gates + order[plane])", "to = ((r * gates + plane)")],
    "unpacked: all replicas are the first": [(PACKING, "first = r * slices * blocks * block +", "first =")],
    "pack: gates in their own order": [(MATRICES, "columns)[:, order]", "columns)")],
    "unpack: gates in their own order": [(MATRICES, "out[:, order] = rows", "out[:] = rows")],
    "packed gradient of the second slice": [(MATRICES, "part[:: n.slices]", "part[n.slices - 1 :: n.slices]")],
}

HERE = "job.seq._replace(reverse=False)"  # whoever asks outer_row with this reads or writes in the order of steps
ROW = "outer_row(job, b, now, n.replicas) * width + column"

STEPS: dict[str, Edits] = {
    # lengths
    "lengths ignored": [(JOB, "return s < job.seq.lengths[job.row + b]", "return True")],
    "lengths of the first slice for all": [
        (JOB, "return s < job.seq.lengths[job.row + b]", "return s < job.seq.lengths[b]")
    ],
    "runs of rows: the first row's length for all": [(JOB, "if s < job.seq.shortest:", "if True:")],
    "runs of rows: to the end of the slice": [(JOB, "and (s < lengths[first + b]) == there", "")],
    "runs of rows: lengths of the first slice": [
        (JOB, "rows, first = job.n.rows, job.row\n", "rows, first = job.n.rows, 0\n")
    ],
    "shortest row is the longest": [(PASSES, "int(run.lengths.min())", "int(run.lengths.max())")],
    "reverse starts in the padding": [
        (JOB, "time_of(s, job.seq.lengths[job.row + b], job", "time_of(s, job.n.length, job"),
        (LAYER, "np.where(time < lengths, lengths - 1 - time, time)", "len(time) - 1 - time + 0 * lengths"),
    ],
    "padding enters the weight gradient": [
        (JOB, "if within(job, b, n.first_step + done + s):\n                first", "if True:\n                first")
    ],
    "weight gradient takes the history as it is": [
        (BACKWARD, "if n.first_step + done + steps > job.seq.shortest:", "if False:")
    ],
    "padded outputs not zero": [(FORWARD, " y[out : out + n.hidden] = 0", " y[out : out + n.hidden] = 1")],
    "padded outputs of the first rows": [(FORWARD, "* n.batch + row + b) * width", "* n.batch + b) * width")],
    "padding loses the state": [
        (
            FORWARD,
            "copy_vectors(job.states, to, new.block, job.states, since,",
            "copy_vectors(job.states, to, new.block, 0 * job.states, since,",
        )
    ],
    "padding gets a gradient": [
        (
            BACKWARD,
            "clear_vectors(d_a.array, d_a.start + b * n.lanes, d_a.block, planes, end - b, n.lanes)",
            "store(place(d_a, b * n.lanes), 0, 1)",
        )
    ],
    "rows after the first run take its values": [(FORWARD, "b * job.n.lanes\n    kept", "0\n    kept")],
    "rows after the first run go back with its values": [
        (BACKWARD, "n, skip, own = job.n, b * job.n.lanes,", "n, skip, own = job.n, 0,")
    ],
    "rows after the first run go back through its operand": [
        (
            BACKWARD,
            "end, skip = run_end(job, b, n.first_step + s), b * n.lanes",
            "end, skip = run_end(job, b, n.first_step + s), 0",
        )
    ],
    # slices and replicas
    "every slice reads the first's rows": [(JOB, "unit % n.slices * n.rows)", "0)")],
    "a replica of its own for every slice": [(JOB, "unit, unit // n.slices,", "unit, unit,")],
    "all replicas read the first x": [(JOB, "replica = job.replica if replicas > 1 else 0", "replica = 0")],
    "all replicas start from the first's states": [(JOB, "source = (job.replica * n.states + s)", "source = s")],
    "final states of all replicas go to the first": [(JOB, "to = (job.replica * n.states + s)", "to = s")],
    "states of all slices come from the first": [
        (
            JOB,
            "row = job.row\n    for s in range(n.states):\n        source",
            "row = 0\n    for s in range(n.states):\n        source",
        )
    ],
    "states: the second is the first": [(JOB, "first = to.start + s * n.blocks * to.block", "first = to.start")],
    "all units have the first's states": [(JOB, "job.unit * n.states * n.blocks * block + step", "step")],
    "all units keep in the first's place": [(JOB, "job.unit * n.kept_unit + n.kept_first", "n.kept_first")],
    "all replicas take the first W_x": [(FORWARD, "at(job.weights.W_x, r *", "at(job.weights.W_x, 0 *")],
    "all replicas take the first W_h": [(FORWARD, "at(job.weights.W_h, (r *", "at(job.weights.W_h, (0 *")],
    "all replicas take the first bias": [
        (FORWARD, "bias = at(job.weights.bias, r *", "bias = at(job.weights.bias, 0 *")
    ],
    "all replicas take the first bias of separate gates": [
        (FORWARD, "bias = at(job.weights.bias, (r *", "bias = at(job.weights.bias, (0 *")
    ],
    "all replicas take the first peepholes": [
        (FORWARD, "at(job.weights.vectors, job.replica * n.vectors * n.blocks * n.lanes)", "at(job.weights.vectors, 0)")
    ],
    "all replicas go back through the first W_h": [
        (BACKWARD, "(job.replica * n.blocks * n.gates + first) * plane", "first * plane")
    ],
    "all replicas go back through the first peepholes": [
        (BACKWARD, "at(job.weights.vectors, job.replica * own)", "at(job.weights.vectors, 0)")
    ],
    "all replicas' dx through the first W_x": [
        (BACKWARD, "at(job.weights.V_x, job.replica *", "at(job.weights.V_x, 0 *")
    ],
    "all units' d_W_h in the first's place": [
        (BACKWARD, "states_at(job, done), job.unit *", "states_at(job, done), 0 *")
    ],
    "all units' d_W_x in the first's place": [(BACKWARD, "first = job.unit * n.in_blocks", "first = 0 * n.in_blocks")],
    "all units' d_bias in the first's place": [(BACKWARD, "(job.unit * planes + j) * n.lanes)", "j * n.lanes)")],
    "all units' d_peepholes in the first's place": [(BACKWARD, "at(d_vectors, job.unit * own)", "at(d_vectors, 0)")],
    # order of time
    "forward reads x in order of steps": [
        (
            FORWARD,
            "gather_inputs(job, done, steps, x)",
            "gather_inputs(job._replace(seq=job.seq._replace(reverse=False)), done, steps, x)",
        )
    ],
    "d_W_ih reads x in order of steps": [
        (
            BACKWARD,
            "gather_inputs(job, done, steps, x)",
            "gather_inputs(job._replace(seq=job.seq._replace(reverse=False)), done, steps, x)",
        )
    ],
    "y in order of steps": [(FORWARD, ROW, ROW.replace("(job,", f"(job._replace(seq={HERE}),"))],
    "dy in order of steps": [(BACKWARD, ROW, ROW.replace("(job,", f"(job._replace(seq={HERE}),"))],
    "dx in order of steps": [
        (
            JOB,
            "to = outer_row(job, b, now, replicas)",
            "to = outer_row(job._replace(seq=job.seq._replace(reverse=False)), b, now, replicas)",
        )
    ],
    "y is the state before the step": [(FORWARD, "states_at(job, s + 1)\n    row", "states_at(job, s)\n    row")],
    # chunks
    "every chunk reads the first's x": [
        (FORWARD, "gather_inputs(job, done, steps, x)", "gather_inputs(job, 0, steps, x)")
    ],
    "every chunk steps from the first's states": [(FORWARD, "forward_step(job, done + s,", "forward_step(job, s,")],
    "last chunk left out of y": [
        (FORWARD, "put_output(job, done + s)", "done + n.chunk >= n.steps > n.chunk or put_output(job, done + s)")
    ],
    "final state is that after one step": [
        (FORWARD, "states_out(job, states_at(job, n.steps), final)", "states_out(job, states_at(job, 1), final)")
    ],
    "every chunk of d_W_x reads the first's x": [
        (BACKWARD, "gather_inputs(job, done, steps, x)", "gather_inputs(job, 0, steps, x)")
    ],
    "every chunk starts the gradients anew": [
        (BACKWARD, "fresh, block = n.first_step + done + steps == n.length, rows", "fresh, block = True, rows")
    ],
    "every segment starts the gradients anew": [
        (
            BACKWARD,
            "fresh, block = n.first_step + done + steps == n.length, rows",
            "fresh, block = done + steps == n.steps, rows",
        )
    ],
    "gradients start from what was in memory": [
        (BACKWARD, "clear_vectors(work, 0, 0, 1, 1, n.lanes)", "work[: n.lanes] = 1")
    ],
    "chunks go back from the first": [(BACKWARD, "// n.back_chunk - 1, -1, -1):", "// n.back_chunk):")],
    "steps of a chunk go back from the first": [
        (BACKWARD, "for s in range(steps - 1, -1, -1):", "for s in range(steps):")
    ],
    "gradient after the first step for the initial state": [
        (BACKWARD, "for s in range(steps - 1, -1, -1):", "for s in range(steps - 1, -1 if k else 0, -1):")
    ],
    "working memory too small for the operand": [(FORWARD, "steps * rows + alone", "steps * rows")],
    "working memory too small going back": [(BACKWARD, "return alone * n.blocks * rows +", "return")],
    # products of a step
    "no recurrent product at all": [(FORWARD, "if n.recurrent:", "if not n.recurrent:")],
    "gradient of W_hh without W_hh": [(BACKWARD, "if n.recurrent and grads.W_h.size:", "if grads.W_x.size:")],
    "no gradient of W_hh": [(BACKWARD, "if n.recurrent and grads.W_h.size:", "if False:")],
    "no gradient of W_ih without W_hh": [
        (BACKWARD, "    if grads.W_x.size:\n", "    if n.recurrent and grads.W_x.size:\n")
    ],
    "recurrent part in the input part's plane": [
        (FORWARD, "plane = (n.separate + first) * n.blocks", "plane = first * n.blocks")
    ],
    "recurrent part of separate gates without bias": [
        (FORWARD, "init = bias if from_bias else out", "init = 0 * bias if from_bias else out")
    ],
    "recurrent part of separate gates through the first gates' weights": [
        (FORWARD, "at(job.weights.W_h, (r * n.gates + first)", "at(job.weights.W_h, (r * n.gates)")
    ],
    "second product acts on h": [
        (
            FORWARD,
            "recurrent_product(job, operand, plain, 1, a, False)",
            "recurrent_product(job, h, plain, 1, a, False)",
        )
    ],
    "second product left out": [(FORWARD, "recurrent_product(job, operand, plain, 1, a, False)", "pass")],
    "d_h from the input part's plane": [
        (
            BACKWARD,
            "place(d_a, (n.separate + first) * n.blocks * d_a.block), right",
            "place(d_a, first * n.blocks * d_a.block), right",
        )
    ],
    "d_h through the second product too": [
        (
            BACKWARD,
            "hidden_product(job, d_a, 0, n.gates - n.second, d_state)",
            "hidden_product(job, d_a, 0, n.gates, d_state)",
        )
    ],
    "d_h of the last step alone": [(BACKWARD, "hidden_product(job, d_a, 0, n.gates - n.second, d_state)", "pass")],
    "second product: gradient left over": [
        (
            BACKWARD,
            "clear_vectors(d_operand.array, d_operand.start, d_operand.block, n.blocks, n.rows, n.lanes)",
            "pass",
        )
    ],
    "second product: back through the first gate's weights": [
        (BACKWARD, "hidden_product(job, d_a, n.gates - 1, 1, d_operand)", "hidden_product(job, d_a, 0, 1, d_operand)")
    ],
    "second product: recurrent weights take h": [(BACKWARD, "n.gates - 1, 1, lefts,", "n.gates - 1, 1, h,")],
    "second product: recurrent weights take r": [
        (BACKWARD, "kept.start + n.kept_unit - n.blocks * n.kept_block - n.kept_first", "kept.start")
    ],
    "dy replaces what comes from later": [
        (
            BACKWARD,
            "add_to_row(d_h.array, d_h.start",
            "d_h.array[d_h.start + b * n.lanes] = 0; add_to_row(d_h.array, d_h.start",
        )
    ],
    "d_W_hh from the input part's plane": [
        (BACKWARD, "d_a.start + n.separate * n.blocks * block, block)", "d_a.start, block)")
    ],
    "d_W_hh from the new h": [(BACKWARD, "h, start = states_at(job, done),", "h, start = states_at(job, done + 1),")],
    "d_bias of every fourth row left out": [(BACKWARD, "d = d + load(source, row + 3 * n.lanes)", "pass")],
    "d_bias without the rest of four rows": [(BACKWARD, "range(last * n.lanes, rows * n.lanes, n.lanes)", "range(0)")],
    "dx of the first gate alone": [(BACKWARD, "groups = (n.gates, n.blocks", "groups = (1, n.blocks")],
    "dx starts from x": [
        (BACKWARD, "clear_vectors(work.array, work.start, work.block, n.in_blocks, steps * n.rows, n.lanes)", "pass")
    ],
    "old and new state exchanged going back": [
        (
            BACKWARD,
            "kept, old = kept_at(job, s), states_at(job, s)\n    vectors, d_own",
            "kept, old, new = kept_at(job, s), new, states_at(job, s)\n    vectors, d_own",
        )
    ],
    # pointwise
    "kept of all blocks in the first's place": [
        (POINTWISE, "store_k(kept, j * kept_block + row,", "store_k(kept, row,")
    ],
    "operand of all blocks in the first's place": [(POINTWISE, "store(out, j * out_block + row,", "store(out, row,")],
    "gradient of the peepholes dropped": [(POINTWISE, "total = sum_v(total, d_own)", "pass")],
    "gradient of the peepholes of the last row alone": [(POINTWISE, "total = sum_v(total, d_own)", "total = d_own")],
    "what the operand passes to the gates dropped": [(POINTWISE, "sum_a(before, d_pre)", "before")],
    "what the operand passes on replaces the gates'": [(POINTWISE, "sum_a(before, d_pre)", "d_pre")],
    "what the operand passes to the state dropped": [(POINTWISE, "sum_s(before, d_old)", "before")],
    "peepholes of all blocks are the first's": [
        (
            POINTWISE,
            "own = load_v(vectors, j * lanes, blocks * lanes)\n        for i",
            "own = load_v(vectors, 0, blocks * lanes)\n        for i",
        )
    ],
    "third and fourth plane exchanged": [
        (
            POINTWISE,
            "load(place, offset + ORDER[2] * step),\n        load(place, offset + ORDER[3] * step),",
            "load(place, offset + ORDER[3] * step),\n        load(place, offset + ORDER[2] * step),",
        )
    ],
}

# Layer normalisation.

NORMS: dict[str, Edits] = {
    "norm: mean left in": [(NORM, "(load(s, j * a_block) - mean)", "load(s, j * a_block)")],
    "norm: mean of the first block alone": [
        (NORM, "total = total + load(row, j * block)", "total = total + 0 * load(row, j * block)")
    ],
    "norm: mean over what fills up": [(NORM, "return across(total) * share", "return across(total) / (blocks * 4)")],
    "norm: what fills up has a variance": [(NORM, "- mean) * load(there, j * lanes))", "- mean))")],
    "norm: variance of the first block alone": [(NORM, "squares = squares + c * c", "pass")],
    "norm: unbiased variance": [(NORM, "* share + EPSILON)", "/ (ONE / share - ONE) + EPSILON)")],
    "norm: another epsilon": [(NORM, "EPSILON = 1e-5", "EPSILON = 1e-6")],
    "norm: gain left out": [(NORM, "load(gain, j * lanes) * value + load(bias", "value + load(bias")],
    "norm: bias left out": [(NORM, "* value + load(bias, j * lanes)", "* value")],
    "norm: gain of the first plane for all": [
        (NORM, "gain, bias = beyond(own, p * plane),", "gain, bias = beyond(own, 0),")
    ],
    "norm: planes of kept one for all": [
        (
            NORM,
            "beyond(centred, p * blocks * centred_block + row)\n            mean",
            "beyond(centred, row)\n            mean",
        )
    ],
    "norm: d_gain without the centred": [
        (NORM, "load(d_gain, j * lanes) + slope * value", "load(d_gain, j * lanes) + slope")
    ],
    "norm: d_gain of the last row alone": [(NORM, "load(d_gain, j * lanes) + slope * value", "slope * value")],
    "norm: d_bias of the last row alone": [(NORM, "load(d_bias, j * lanes) + slope)", "slope)")],
    "norm: d without gain": [(NORM, "slope = slope * load(gain, j * lanes)", "pass")],
    "norm: d keeps its mean": [(NORM, "(slope - mean - value * along)", "(slope - value * along)")],
    "norm: d keeps what lies along": [(NORM, "(slope - mean - value * along)", "(slope - mean)")],
    "norm: d without its scale": [(NORM, "* along) * scale * load(there", "* along) * load(there")],
    "norm: none": [(FORWARD, "            if n.norm:\n", "            if False:\n")],
    "norm: none going back": [(BACKWARD, "            if n.norm:\n", "            if False:\n")],
    "norm: rows after the first run take its place": [(FORWARD, "b * job.n.lanes\n    centred", "0\n    centred")],
    "norm: rows after the first run go back with its values": [
        (
            BACKWARD,
            "b * job.n.lanes, job.n.vectors * job.n.blocks * job.n.lanes\n    centred",
            "0, job.n.vectors * job.n.blocks * job.n.lanes\n    centred",
        )
    ],
    "norm: all replicas take the first gains": [
        (FORWARD, "job.replica * n.vectors * n.blocks * n.lanes + own)", "own)")
    ],
    "norm: all replicas go back through the first gains": [
        (BACKWARD, "at(job.weights.vectors, job.replica * size + own)", "at(job.weights.vectors, own)")
    ],
    "norm: all units' d_gain in the first's place": [
        (BACKWARD, "at(d_vectors, job.unit * size + own)", "at(d_vectors, own)")
    ],
    "norm: centred planes over what the cell keeps": [(JOB, "kept.start + (n.kept - planes) *", "kept.start + 0 *")],
    "norm: the cell's state serves as kept": [
        (BLOCKS, "cell.kept == cell.states and not cell.norm", "cell.kept == cell.states")
    ],
    "norm: bias of the products, not behind the norm": [
        (PASSES, "np.zeros_like(bias) if run.n.norm else bias", "bias"),
        (PASSES, "filled[:, biases] = run.weights", "filled[:, biases] = 0 * run.weights"),
    ],
    "norm: gradient of the bias before the norm": [
        (BACKWARD, "        if not n.norm:\n            bias_gradient", "        if True:\n            bias_gradient"),
        (PASSES, "if n.norm else parts.bias", "if False else parts.bias"),
    ],
    "norm: gains in the order of the planes": [
        (PASSES, "[first + plane for plane in blocks.planes_of(run.cell).order]", "list(range(first, first + planes))")
    ],
}

ZONES: dict[str, Edits] = {
    "zoneout: none": [(FORWARD, "            if n.zoned:\n", "            if False:\n")],
    "zoneout: new and old exchanged": [
        (ZONEOUT, "k * load(state, i) + (ONE - k) * load(old, i)", "(ONE - k) * load(state, i) + k * load(old, i)"),
        (ZONEOUT, "(ONE - k) * d)", "k * d)"),
        (ZONEOUT, "row, k * d)", "row, (ONE - k) * d)"),
    ],
    "zoneout: nothing goes past the cell": [
        (ZONEOUT, "load(d_state, i) + load(rest,", "load(d_state, i) + 0 * load(rest,")
    ],
    "zoneout: the whole gradient goes into the cell": [(ZONEOUT, "row, k * d)", "row, d)")],
    "zoneout: back from the mixed state": [
        (
            BACKWARD,
            "backward_pointwise(job, s, b, rows, new, d_state, d_a, d_vectors)\n    call",
            "backward_pointwise(job, s, b, rows, states_at(job, s + 1), d_state, d_a, d_vectors)\n    call",
        )
    ],
    "zoneout: k of the first state for all": [(JOB, "first = v * n.replicas * n.length * n.batch", "first = 0")],
    "zoneout: k of the first replica for all": [
        (JOB, "outer_row(job, i, n.first_step + s, n.replicas)", "outer_row(job, i, n.first_step + s, 1)")
    ],
    "zoneout: k in order of steps": [
        (
            JOB,
            "outer_row(job, i, n.first_step",
            "outer_row(job._replace(seq=job.seq._replace(reverse=False)), i, n.first_step",
        )
    ],
    "zoneout: k of a segment's first steps for all": [(JOB, "(job, i, n.first_step + s,", "(job, i, s,")],
    "zoneout: rows after the first run take its place": [
        (
            FORWARD,
            "b * job.n.lanes, states_at(job, s), states_at(job, s + 1)\n    shares",
            "0, states_at(job, s), states_at(job, s + 1)\n    shares",
        )
    ],
    "zoneout: rows after the first run go back with its values": [
        (BACKWARD, "n, skip, row = job.n, b * job.n.lanes,", "n, skip, row = job.n, 0,")
    ],
    "zoneout: the mixed state serves as kept": [(BLOCKS, "and not cell.norm and not zoned", "and not cell.norm")],
    "zoneout: working memory too small": [(FORWARD, "(n.second + n.zoned * n.states)", "n.second")],
    "zoneout: working memory too small going back": [
        (BACKWARD, "n.states + n.second + 3 * n.zoned * n.states", "n.states + n.second")
    ],
    "zoneout: k of the first pass for all": [
        (LAYER, "ascontiguousarray(whole[:, :, k])", "ascontiguousarray(whole[:, :, 0])")
    ],
}

# The layer: what goes into and comes out of the kernels.

LAYERS: dict[str, Edits] = {
    "b_hn outside the reset gate": [
        (
            PACKING,
            "out[recurrent + unit] += b_hh[(r * gates + orders[1, k])",
            "out[inputs + unit] += b_hh[(r * gates + orders[0, k])",
        )
    ],
    "input biases in the cell's order": [(PACKING, "b_ih[(r * gates + orders[0, k])", "b_ih[(r * gates + k)")],
    "gradients of input biases in the order of the planes": [
        (PACKING, "d_ih[(r * gates + orders[0, k])", "d_ih[(r * gates + k)")
    ],
    "all replicas take the first recurrent bias": [
        (PACKING, "b_hh[(r * gates + orders[1, k])", "b_hh[(0 * r * gates + orders[1, k])")
    ],
    "peepholes of the first name for all": [
        (PASSES, 'params[f"weight_{name}{run.suffix}"]', 'params[f"weight_{run.cell.vectors[0]}{run.suffix}"]')
    ],
    "gradient of the second slice's peepholes dropped": [(PASSES, "total += apart[:, s]", "pass")],
    "gradient of the second slice's bias dropped": [(PACKING, "for u in range(1, slices):", "for u in range(0):")],
    "without W_hh a recurrent bias of ones": [(PASSES, "b_ih, np.zeros_like(b_ih)", "b_ih, np.ones_like(b_ih)")],
    "initial state ignored": [(FORWARD, "states_in(job, initial,", "states_in(job, 0 * initial,")],
    "initial state of the first pass for all": [
        (LAYER, "ascontiguousarray(state[:, :, k])", "ascontiguousarray(state[:, :, 0])")
    ],
    "final state of the first pass for all": [
        (LAYER, "np.stack(finals, axis=2)", "np.stack([finals[0] for _ in finals], axis=2)")
    ],
    "directions exchanged in y": [(LAYER, "column, own = d *", "column, own = (layer.directions - 1 - d) *")],
    "gradient of the final states ignored": [
        (BACKWARD, "states_in(job, d_final, d_state)", "states_in(job, 0 * d_final, d_state)")
    ],
    "gradient of the first pass's final state for all": [
        (LAYER, "ascontiguousarray(dstate[:, :, k])", "ascontiguousarray(dstate[:, :, 0])")
    ],
    "both directions take the first half of dy": [(LAYER, "dy, d * layer.hidden_size, d_final", "dy, 0, d_final")],
    "dx of one direction alone": [(LAYER, "d_final, d_below, grads", "d_final, d_below if d == 0 else None, grads")],
    "gradient of the initial state of the first pass for all": [
        (LAYER, "d_initial[:, :, k] = back_pass", "d_initial[:, :, 0] = back_pass")
    ],
    "bias_hh gets the gradient of bias_ih": [
        (PACKING, "parts[first], parts[first + (planes - gates) * units]", "parts[first], parts[first]")
    ],
    "gradient of bias_hh missing": [(PACKING, "* hidden + unit] = recurrent", "* hidden + unit] = 0 * recurrent")],
    "gradient of bias_ih missing": [(PACKING, "* hidden + unit] = inputs", "* hidden + unit] = 0 * inputs")],
    "trace: the state before the step": [(LAYER, "states[:, s, 1:]", "states[:, s, :-1]")],
    "trace: names of r and z exchanged": [(GRU, 'kept=("r", "z", "n", "n_h")', 'kept=("z", "r", "n", "n_h")')],
    "checkpoint: every segment from the first's states": [
        (
            PASSES,
            "weights, state, y, column, flushing)\n        starts.append(state)",
            "weights, (starts or [state])[0], y, column, flushing)\n        starts.append(state)",
        )
    ],
    "checkpoint: segments go back from the first": [
        (
            PASSES,
            "zip(reversed(segments(n)), reversed(run.starts), strict=True)",
            "zip(segments(n), run.starts, strict=True)",
        )
    ],
    "checkpoint: first steps of a segment for all": [(BLOCKS, "first_step=first,\n", "first_step=0,\n")],
}

# What is trained in place of the weights.

GROUP_SIGNS = "signs = np.sign(_diagonal(M).real)"
RAW_WEIGHTS: dict[str, Edits] = {
    "antisymmetric: damping with the wrong sign": [(RAW, "M - _adjoint(M) - M * eye", "M - _adjoint(M) + M * eye")],
    "antisymmetric: no damping": [(RAW, "M - _adjoint(M) - M * eye", "M - _adjoint(M)")],
    "antisymmetric: damping of the first replica for all": [
        (RAW, "gamma[..., None, None, None] * eye", "gamma.ravel()[0] * eye")
    ],
    "antisymmetric: gradient of M alone": [(RAW, "lambda G: (G - _adjoint(G))", "lambda G: (2 * G)")],
    "antisymmetric: gradient of the first gate alone": [
        (RAW, ".sum(axis=-3, keepdims=True), grads)", "[..., :1, :, :], grads)")
    ],
    "antisymmetric: eps trained": [(RAW, "np.zeros_like(grad) for", "grad for")],
    "Cayley: D always the identity": [(RAW, "np.where(rest[..., j, j].real < 0, -1, 1)", "1")],
    "Cayley: D of the diagonal before elimination": [
        (RAW, "np.where(rest[..., j, j].real < 0, -1, 1)", "np.where(matrix[..., j, j].real < 0, -1, 1)")
    ],
    "Cayley: D on the rows": [
        (RAW, "_cayley(W * signs[..., None, :])", "_cayley(W * signs[..., None])"),
        (RAW, "np.sign(_diagonal(M).real)[..., None, :]", "np.sign(_diagonal(M).real)[..., None]"),
    ],
    "Cayley: W D for W going back": [(RAW, "-0.5 * signs[..., None] * (left @ G @ left)", "-0.5 * (left @ G @ left)")],
    "Cayley: gradient of A in place of M's": [(RAW, "_skew(-0.5 * signs", "(-0.5 * signs")],
    "Cayley: gradient without its half": [(RAW, "_skew(-0.5 * signs", "_skew(-signs")],
    "Cayley: gradient of W transposed": [(RAW, "(left @ G @ left)", "(left @ _adjoint(G) @ left)")],
    "unitary: imaginary part of one half alone": [
        (RAW, "below[..., :half] - above[..., half:]", "2 * below[..., :half]")
    ],
    "unitary: real part of one half alone": [(RAW, "above[..., :half] + below[..., half:]", "2 * above[..., :half]")],
    "unitary: imaginary parts cancel": [
        (RAW, "below[..., :half] - above[..., half:]", "below[..., :half] + above[..., half:]")
    ],
    "unitary: transposed without conjugate": [(RAW, "matrix.conj().swapaxes", "matrix.swapaxes")],
    "LRU: γ not tied to λ": [(RAW, "np.exp(-2 * decay) / gamma * d_gamma -", "-")],
    "LRU: phase taken for its logarithm": [(RAW, "d_theta = phase * (", "d_theta = (")],
    "LRU: direction of the phase": [
        (RAW, "(d_im * value.real - d_re * value.imag)", "(d_re * value.imag - d_im * value.real)")
    ],
    "LRU: decay of the square": [(RAW, "np.log(-np.log(size))", "np.log(-np.log(size**2))")],
    "LRU: γ = 1 - |λ|²": [(RAW, "np.sqrt(-np.expm1(-2 * decay))}", "-np.expm1(-2 * decay)}")],
    "ring: γ of |λ|": [(WEIGHTS, "np.sqrt(1 - square)", "np.sqrt(1 - np.sqrt(square))")],
}

# What training adds: losses, penalties, noise.

LOSSES: dict[str, Edits] = {
    "cross-entropy: largest output stays": [(LOSS, "math.exp(z[k] - z[best])", "math.exp(z[k])")],
    "cross-entropy: the last of equals is guessed": [(LOSS, "if z[k] > z[best]:", "if z[k] >= z[best]:")],
    "cross-entropy: gradient without the target": [(LOSS, "gradient[target] -= share", "pass")],
    "cross-entropy: NaN may be right": [(LOSS, "best == target and loss == loss", "best == target")],
    "squared error: gradient halved": [(LOSS, "2 * share * difference", "share * difference")],
    "squared error: last output alone": [(LOSS, "loss += difference", "loss = difference")],
    "Bernoulli: the product overflows": [(LOSS, "if product > 1e300:", "if False:")],
    "Bernoulli: max(z, 0) is z": [(LOSS, "max(z[k], 0.0)", "z[k]")],
    "Bernoulli: sigmoid of negative logits": [(LOSS, "else e * likely)", "else 1 - e * likely)")],
    "Bernoulli: bits guessed the other way": [(LOSS, "(z[k] > 0) !=", "(z[k] < 0) !=")],
    "Bernoulli: NaN may be right": [(LOSS, " or z[k] != z[k]", "")],
    "loss: a weight of 0 is looked at": [(LOSS, "if weight == 0:", "if False:")],
    "loss: weights missing in the gradient": [(LOSS, "weight / totals[own], gradient", "1 / totals[own], gradient")],
    "loss: weights missing in the mean": [(LOSS, "weight * loss, weight * error", "loss, error")],
    "loss: mean over all positions": [(LOSS, "total / totals[min(r, len(totals) - 1)]", "total / count")],
    "loss: all replicas have the first's targets": [(LOSS, "targets[min(r, len(targets) - 1), n]", "targets[0, n]")],
    "loss: all replicas have the first's weights": [(LOSS, "own = min(r, len(weights) - 1)", "own = 0")],
}

WORDS: dict[str, Edits] = {
    "softmax: words that only fill up count": [(SOFTMAX, "* width + word] = LOWEST", "* width + word] = 0")],
    "softmax: bias left out": [(SOFTMAX, "word] = bias[r * n.words + word]", "word] = 0 * bias[r * n.words + word]")],
    "softmax: the first replica's bias": [(SOFTMAX, "bias[r * n.words + word]", "bias[word]")],
    "softmax: the first replica's words": [(SOFTMAX, "return array[min(r, len(array) - 1)]", "return array[0]")],
    "softmax: totals not brought to the new best": [(SOFTMAX, "* exp(old - new)", "")],
    "softmax: the last group alone": [(SOFTMAX, "load(at(scores.total, place), 0) * exp(old - new)", "new - new")],
    "softmax: the largest of the first lane": [(SOFTMAX, "max(largest, scores.best[place + lane])", "largest")],
    "softmax: lanes added as they stand": [(SOFTMAX, "[place + lane]) * beside", "[place + lane])")],
    "softmax: NaN may be right": [(SOFTMAX, "if right and log == log else", "if right or log != log else")],
    "softmax: a weight of 0 is looked at": [(SOFTMAX, "if shares[n.first + row] == 0:", "if False:")],
    "softmax: gradient without the target": [(SOFTMAX, "word % n.lanes] -= share", "word % n.lanes] -= 0 * share")],
    "softmax: target of the first group alone": [(SOFTMAX, "if v <= word // n.lanes < v + blocks:", "if v == 0:")],
    "softmax: d_h of the last group alone": [
        (
            SOFTMAX,
            "    clear_vectors(work, start, step, n.blocks, end - first, n.lanes)\n    for g in range(n.groups):\n",
            "    for g in range(n.groups):\n        clear_vectors(work, start, step, n.blocks, end - first, n.lanes)\n",
        )
    ],
    "softmax: later chunks replace the weight gradient": [
        (SOFTMAX, "        if n.first == 0:\n            take_row", "        if True:\n            take_row")
    ],
    "softmax: later chunks replace the bias gradient": [(SOFTMAX, "if n.first else ZERO", "if False else ZERO")],
    "softmax: chunks read the first positions": [
        (
            SOFTMAX,
            "put_row(left, to, step, h, (r * n.positions + n.first + row)",
            "put_row(left, to, step, h, (r * n.positions + row)",
        )
    ],
    "softmax: chunks write the first positions": [
        (SOFTMAX, "to = (r * n.positions + n.first + row) * n.hidden", "to = (r * n.positions + row) * n.hidden")
    ],
    "softmax: bias gradient of all rows but the first": [
        (
            SOFTMAX,
            "total = load(at(scores.z, z_at(n, r, v, 0)), 0)\n",
            "total = ZERO * load(at(scores.z, z_at(n, r, v, 0)), 0)\n",
        )
    ],
    "softmax: working memory too small": [(SOFTMAX, "max(rows, blocks * n.lanes) + n.lanes", "max(rows, n.lanes)")],
    "softmax: losses weighted twice": [
        (SOFTMAX_LAYER, "w * np.where(w == 0, 0, own)", "w * w * np.where(w == 0, 0, own)")
    ],
    "softmax: mean over all positions": [
        (SOFTMAX_LAYER, "shares = weights / weights.sum(axis=1, keepdims=True)", "shares = weights / weights.shape[1]")
    ],
    "softmax: logits for log-probabilities": [(SOFTMAX_LAYER, " - judged.logs[group, here, None]", "")],
    "softmax: a group has the first replicas' rows": [
        (
            SOFTMAX_LAYER,
            "array if len(array) == 1 else array[group]",
            "array if len(array) == 1 else array[: group.stop - group.start]",
        )
    ],
    "embedding: a word at several places counts once": [
        (EMBEDDING, "d_weight[r, own[n], e] += d_x[r, n, e]", "d_weight[r, own[n], e] = d_x[r, n, e]")
    ],
    "embedding: the last piece of words left out": [
        (EMBEDDING, "prange(replicas * PIECES)", "prange(replicas * PIECES - 1)")
    ],
    "embedding: the first replica's words": [(EMBEDDING, "ids[min(i // PIECES, len(ids) - 1)]", "ids[0]")],
    "embedding: always a new gradient": [(EMBEDDING, "if into is None else into", "if True else into")],
}

SECOND_SLOPE = "    through_activation(job, s - 1, spare, right)\n"
Z_WITHOUT_SLOPE = (
    "    copy_vectors(right.array, right.start, right.block, "
    "job.work, spare.start, spare.block, blocks, n.rows, n.lanes)\n"
)
RADIUS = "(values[k].conj() / scale * np.outer(y, x)).real"
PENALTY: dict[str, Edits] = {
    "Ω of squares: half the derivative": [(OMEGA, "4 * (ratio - 1) / before", "2 * (ratio - 1) / before")],
    "Ω of squares: derivative by another norm": [(OMEGA, "4 * (ratio - 1) / before", "4 * (ratio - 1) / after")],
    "Ω of norms is that of squares": [(OMEGA, "math.sqrt(after / before)", "after / before")],
    "Ω of norms: derivative by another norm": [(OMEGA, "math.sqrt(after * before)", "before")],
    "Ω: steps beyond the length count": [(OMEGA, "if within(job, b, s) and norms", "if norms")],
    "Ω: vanished gradients count": [(OMEGA, "norms[b] >= SMALLEST", "norms[b] >= 0")],
    "Ω: dL/dy left out": [(OMEGA, "if job.seq.y.size:", "if False:")],
    "Ω: norm of the first block alone": [(OMEGA, "for j in range(1, n.blocks):", "for j in range(1, 1):")],
    "Ω: first block of the derivative alone": [(OMEGA, "for j in range(n.blocks):", "for j in range(1):")],
    "Ω: φ' of the same step": [(OMEGA, "(job, s - 1, right, spare)", "(job, s, right, spare)")],
    "Ω: one φ' in the derivative": [(OMEGA, SECOND_SLOPE, Z_WITHOUT_SLOPE)],
    "Ω: derivative of the first slice alone": [(OMEGA_LAYER, ".sum(axis=1).swapaxes(1, 2)", "[:, 0].swapaxes(1, 2)")],
    "Ω: derivative turned over": [
        (OMEGA_LAYER, "[:, : n.hidden, : n.hidden]", "[:, : n.hidden, : n.hidden].swapaxes(1, 2)")
    ],
    "Ω: mean over all steps": [
        (OMEGA_LAYER, "count = np.maximum(count, 1)\n", "count = 0 * count + n.length * n.batch\n")
    ],
    "penalty of one size: derivative halved": [
        (PENALTIES, "2 * (sizes - 1)[..., None, None]", "(sizes - 1)[..., None, None]")
    ],
    "penalty of one size: a diverged matrix is looked at": [(PENALTIES, "(np.abs(blocks) < LARGEST)", "(blocks != 0)")],
    "spectral norm: u not normalised": [(PENALTIES, " / (sigma or 1)", "")],
    "spectral norm: the smallest": [(PENALTIES, "[len(W) - 1] * 2", "[0] * 2")],
    "spectral norm is its square": [(PENALTIES, "sigma = math.sqrt(max(square[0], 0))", "sigma = square[0]")],
    "spectral radius: largest real part": [(PENALTIES, "np.argmax(np.abs(values))", "np.argmax(values.real)")],
    "spectral radius: λ for its conjugate": [(PENALTIES, RADIUS, RADIUS.replace(".conj()", ""))],
    "spectral radius: y for its conjugate": [(PENALTIES, "left[:, k].conj()", "left[:, k]")],
    "spectral radius: y and x exchanged": [(PENALTIES, RADIUS, RADIUS.replace("y, x", "x, y"))],
    "orthogonality: derivative of WWᵀ": [(PENALTIES, "np.swapaxes(W, -1, -2) @ W -", "W @ np.swapaxes(W, -1, -2) -")],
    "orthogonality: derivative halved": [(PENALTIES, "4 * W @ excess", "2 * W @ excess")],
    "weight decay: factor 1": [(PENALTIES, "return 0.5 * np.sum(squares", "return np.sum(squares")],
    "weight decay: biases too": [(PENALTIES, 'if name.startswith("weight_")}', 'if name.startswith("")}')],
    "norm stabiliser: a step alone": [(PENALTIES, "counted[:, 1:] & counted[:, :-1]", "counted[:, 1:]")],
    "norm stabiliser: gradient of one norm": [(PENALTIES, "    by_norm[:, :-1] -= steps\n", "")],
    "norm stabiliser: not divided by the norm": [
        (PENALTIES, "2 * by_norm / np.where(norms > 0, norms, 1)", "2 * by_norm")
    ],
    "activity: gradient halved": [(PENALTIES, "(2 * weights)", "(1 * weights)")],
    "activity: all steps count": [(PENALTIES, "weights = counted / np", "weights = 1 / np")],
}

NOISES: dict[str, Edits] = {
    "dropout: the others are dropped": [(NOISE, "(rows >= rate[:, None])", "(rows < rate[:, None])")],
    "dropout: the rest not scaled": [(NOISE, "(1 / (1 - rate))", "(1 / (1 - 0 * rate))")],
    "dropout: one rate for all replicas": [(NOISE, "(rows >= rate[:, None])", "(rows >= rate[-1])")],
    "dropout: one mask for all places": [(NOISE, ' {place}"', '"')],
    "dropout: per step is per sequence": [(NOISE, "(1 if per_sequence else steps, batch, width)", "(1, batch, width)")],
    "dropout: the same at every update": [(NOISE, "uniforms(seeds, purpose, step,", "uniforms(seeds, purpose, 0,")],
    "dropout: a rate of 1": [(NOISE, "(values < below)", "(values <= below)")],
    "weight noise: one deviation for all": [(NOISE, "* sd[noisy, None]", "* sd[-1]")],
    "weight noise: variance for deviation": [(NOISE, "* sd[noisy, None]", "* sd[noisy, None] ** 2")],
    "weight noise: the first replicas' seeds": [(NOISE, "np.asarray(seeds)[noisy]", "np.asarray(seeds)[: noisy.size]")],
    "dropped columns are rows": [(NOISE, "(1, W.shape[-1])", "(W.shape[-1], 1)")],
}

OF_KERNELS = KNOWN, DERIVATIVES, BORROWED, PRODUCTS, LAYOUTS, STEPS, NORMS, ZONES, LAYERS
TABLES = *OF_KERNELS, RAW_WEIGHTS, LOSSES, WORDS, PENALTY, NOISES
MUTATIONS: dict[str, Edits] = {name: edits for table in TABLES for name, edits in table.items()}
UNCHANGED = "nothing changed"
WORKERS = 2


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_changes_what_it_means_to_change(name):
    for path, old, new in MUTATIONS[name]:
        assert (PACKAGE / path).read_text(encoding="utf-8").count(old) == 1, (path, old)
        assert old != new


def test_the_table_holds_the_17_known_errors_under_names_of_their_own():
    assert len(KNOWN) == 17
    assert len(MUTATIONS) == sum(map(len, TABLES))


def noticed_by_worker(changes):
    """Run some changes in a process of its own, with the kernels uncompiled."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(TESTS / "mutation_worker.py"), str(TESTS), str(PACKAGE), folder]
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
        result = subprocess.run(
            command, input=json.dumps(changes), env=environment, cwd=folder, capture_output=True, text=True
        )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_every_mutation_is_noticed_and_the_unchanged_sources_pass():
    names = list(MUTATIONS)
    shares = [{UNCHANGED: []} | {name: MUTATIONS[name] for name in names[k::WORKERS]} for k in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(noticed_by_worker, shares))
    assert [result[UNCHANGED] for result in results] == [None] * WORKERS
    noticed = {name: found for result in results for name, found in result.items() if name != UNCHANGED}
    for name in names:
        check, message = noticed[name] or ("NOBODY", "")
        print(f"{name:50} {check:32} {message}")
    assert [name for name in names if noticed[name] is None] == []
