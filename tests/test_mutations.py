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
LSTM, GRU, RNN, CELL = "cells/lstm.py", "cells/gru.py", "cells/rnn.py", "cells/cell.py"
TABLE, CPU, LAYER = "cells/__init__.py", "kernels/cpu.py", "layers/recurrent.py"

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
W_HH_BACKWARD = 'W_hh = gate_blocks(layer, _with_replicas(params[f"weight_hh{run.suffix}"], 2))'


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
    "recurrent bias dropped": [
        (LAYER, "bias[:, cell.recurrent_columns] += recurrent_part.reshape(len(inputs), -1, hidden)", "pass"),
    ],
    "W_hh used transposed": [
        (LAYER, "kernel(x, W_ih, W_hh, bias,", "kernel(x, W_ih, W_hh.swapaxes(-1, -2).copy(), bias,"),
        (LAYER, W_HH_BACKWARD, W_HH_BACKWARD + ".swapaxes(-1, -2).copy()"),
        (LAYER, "= d_W_hh.reshape(", "= d_W_hh.swapaxes(-1, -2).reshape("),
    ],
    "reverse direction ignored": [
        (CPU, "return length - 1 - s if reverse else s", "return s"),
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
}

# The kernels: products, directions, lengths, replicas.

X_ROW = "x_row = x[min(r, x.shape[0] - 1), time_of(s, lengths[b], reverse), b]"
X_STEPS = "x_steps[s * batch + b] = x[min(r, x.shape[0] - 1), time_of(s, lengths[b], reverse), b]"
D_X = "add_row(d_x[r, time_of(s, lengths[b], reverse), b], d_a[r, g, s, b], W_ih[r, g])"

KERNELS: dict[str, Edits] = {
    "product: a row of weights twice": [(CPU, "left[k + 3] * right[k + 3, n]", "left[k + 3] * right[k + 2, n]")],
    "product: remainder of four dropped": [(CPU, "for k in range(whole, left.size):", "for k in range(0):")],
    "outer product: a row twice": [(CPU, "left[k + 3, m] * right[k + 3, n]", "left[k + 3, m] * right[k + 2, n]")],
    "outer product: remainder dropped": [(CPU, "for k in range(whole, left.shape[0]):", "for k in range(0):")],
    "sigmoid of negative numbers": [(CPU, "(ONE if x >= ZERO else e)", "(ONE if x >= ZERO else ONE)")],
    "relu is the identity": [(CPU, "return ZERO if x <= ZERO else x", "return x")],
    "relu' is 1 at 0": [(CPU, "return ONE if x > ZERO else ZERO", "return ONE if x >= ZERO else ZERO")],
    "recurrent part in the input part's column": [(CPU, "add_row(a[RECURRENT[g]],", "add_row(a[g],")],
    "d_h from the input part's column": [(CPU, "d_a[RECURRENT[g], old", "d_a[g, old")],
    "columns of separate gates": [(CELL, "behind.get(gate, g)", "g")],
    "second product acts on h": [(CPU, "add_row(a[SECOND], u,", "add_row(a[SECOND], states[0, old : old + hidden],")],
    "second product: gradient left over": [(CPU, "d_u[:] = ZERO", "pass")],
    "second product: recurrent weights take h": [(LAYER, "other if gate == cell.second_product else h", "h")],
    "lengths ignored by forward": [
        (CPU, "if s < lengths[b]:\n                    x_row", "if True:\n                    x_row")
    ],
    "lengths ignored by backward": [
        (CPU, "if s < lengths[b]:\n                    d_states_r", "if True:\n                    d_states_r")
    ],
    "padded inputs enter the weight gradient": [
        (CPU, "if s < lengths[b]:\n                    x_steps", "if True:\n                    x_steps")
    ],
    "padding loses the state": [(CPU, "states_r[:, new : new + hidden] = states_r[:, old : old + hidden]", "pass")],
    "padding loses the gradient": [
        (CPU, "d_states_r[:, old : old + hidden] = d_states_r[:, new : new + hidden]", "pass")
    ],
    "forward reads x in order of steps": [(CPU, X_ROW, X_ROW.replace("time_of(s, lengths[b], reverse)", "s"))],
    "d_W_ih reads x in order of steps": [(CPU, X_STEPS, X_STEPS.replace("time_of(s, lengths[b], reverse)", "s"))],
    "dx in order of steps": [(CPU, D_X, D_X.replace("time_of(s, lengths[b], reverse)", "s"))],
    "dx of the first gate alone": [(CPU, D_X, "if g == 0: " + D_X)],
    "dx assigned, not added": [(CPU, D_X, D_X.replace("add_row(", "d_x[r, s, b] = 0; add_row("))],
    "dy in order of steps": [(CPU, "+= dy[r, time_of(s, lengths[b], reverse), b]", "+= dy[r, s, b]")],
    "dy replaces what comes from later": [
        (CPU, "d_states_r[0, new : new + hidden] +=", "d_states_r[0, new : new + hidden] =")
    ],
    "d_W_hh from the input part's column": [(CPU, "d_a[r, columns[g]]", "d_a[r, g]")],
    "gradient of the peepholes dropped": [(CPU, "add_v(d_vectors, j, d_vector)", "pass")],
    "all replicas read the first x": [(CPU, X_ROW, X_ROW.replace("min(r, x.shape[0] - 1)", "0"))],
    "all replicas' d_W_ih from the first x": [(CPU, X_STEPS, X_STEPS.replace("min(r, x.shape[0] - 1)", "0"))],
    "all replicas take the first bias": [(CPU, "a[:] = bias[r]", "a[:] = bias[0]")],
    "all replicas take the first W_hh": [(CPU, "old, W_ih[r], W_hh[r])", "old, W_ih[r], W_hh[0])")],
    "all replicas go back through the first W_hh": [
        (CPU, "recurrent_backward(W_hh[r],", "recurrent_backward(W_hh[0],")
    ],
    "all replicas take the first peepholes": [
        (CPU, "pointwise_forward(a, vectors[r],", "pointwise_forward(a, vectors[0],")
    ],
    "all replicas go back through the first peepholes": [
        (CPU, "pointwise_backward(vectors[r],", "pointwise_backward(vectors[0],")
    ],
    "all replicas' dx through the first W_ih": [(CPU, D_X, D_X.replace("W_ih[r, g]", "W_ih[0, g]"))],
}

# The layer: what goes into and comes out of the kernels.

LAYERS: dict[str, Edits] = {
    "b_hn outside the reset gate": [(LAYER, "bias[:, cell.recurrent_columns] +=", "bias[:, : len(cell.gates)] +=")],
    "initial state ignored": [(LAYER, "states[:, s, 0] = initial", "pass")],
    "initial state of the first pass for all": [(LAYER, "[s[:, k] for s in state]", "[s[:, 0] for s in state]")],
    "final state after one step": [
        (LAYER, "finals.append(passes[-1].states[:, :, -1])", "finals.append(passes[-1].states[:, :, 1])")
    ],
    "directions exchanged in y": [
        (LAYER, "for run in passes[-layer.directions :]]", "for run in passes[-layer.directions :][::-1]]")
    ],
    "padded outputs not zero": [
        (LAYER, "return np.where(_beyond(run, lengths)[:, :, None], y.dtype.type(0), y)", "return y")
    ],
    "reverse starts in the padding": [
        (LAYER, "np.where(time < lengths, lengths - 1 - time, time)", "len(time) - 1 - time + 0 * lengths"),
        (CPU, "return length - 1 - s if reverse else s", "return s"),
    ],
    "gradient of the final states ignored": [(LAYER, "d_states[:, s, -1] = gradient", "pass")],
    "gradient of the first pass's final state for all": [
        (LAYER, "[s[:, k] for s in dstate]", "[s[:, 0] for s in dstate]")
    ],
    "both directions take the first half of dy": [
        (LAYER, "dy[..., d * layer.hidden_size : (d + 1) * layer.hidden_size]", "dy[..., : layer.hidden_size]")
    ],
    "dx of one direction alone": [(LAYER, "d_below + d_x", "d_x")],
    "gradient after the first step for the initial state": [(LAYER, "d_states[:, :, 0]\n", "d_states[:, :, 1]\n")],
    "bias_hh gets the gradient of bias_ih": [(LAYER, "= totals[:, columns]", "= totals[:, : len(cell.gates)]")],
    "gradient of bias_hh missing": [(LAYER, "= totals[:, columns]", "= 0 * totals[:, columns]")],
    "gradient of bias_ih missing": [(LAYER, "= totals[:, : len(cell.gates)]", "= 0 * totals[:, : len(cell.gates)]")],
    "d_W_hh from the new h": [(LAYER, "h = run.states[:, 0, :-1]", "h = run.states[:, 0, 1:]")],
    "trace: the state before the step": [(LAYER, "run.states[:, s, 1:]", "run.states[:, s, :-1]")],
    "trace: names of r and z exchanged": [(GRU, 'kept=("r", "z", "n", "n_h")', 'kept=("z", "r", "n", "n_h")')],
}

MUTATIONS: dict[str, Edits] = KNOWN | DERIVATIVES | KERNELS | LAYERS
UNCHANGED = "nothing changed"
WORKERS = 2


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_changes_what_it_means_to_change(name):
    for path, old, new in MUTATIONS[name]:
        assert (PACKAGE / path).read_text(encoding="utf-8").count(old) == 1, (path, old)
        assert old != new


def test_the_table_holds_the_17_known_errors_under_names_of_their_own():
    assert len(KNOWN) == 17
    assert len(MUTATIONS) == sum(map(len, (KNOWN, DERIVATIVES, KERNELS, LAYERS)))


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
