"""Slow, obvious oracles: the textbook's equations, one step of one row at a time. Imports nothing of recurlab.

Axes: T time, B batch, I input, H hidden, L layers, D directions, G gates, S states. Parameters carry PyTorch's names,
gate orders and shapes. Every function of values also takes complex numbers and leading axes, so that a derivative is
the imaginary part of one evaluation at value + i·1e-100, exact to rounding, and none is written down by hand.
"""

import hashlib
import math

import numpy as np

# One step of each cell: step(p, x, state) -> (new state, every gate and what else is looked at, by name).
# p holds the parameters of one pass: weight_ih (G·H, I), weight_hh (G·H, H), bias_ih, bias_hh (G·H,), vectors (H,).


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def relu(a):
    return np.where(a.real > 0, a, 0)


def identity(a):
    return a


def times(matrix, vector):
    return (matrix @ vector[..., None])[..., 0]


def split(blocks, count):
    return np.split(blocks, count, axis=-1)


def from_input(p, x):
    return times(p["weight_ih"], x) + p["bias_ih"]


def from_state(p, h):
    return times(p["weight_hh"], h) + p["bias_hh"]


def elman(phi):
    def step(p, x, state):
        h = phi(from_input(p, x) + from_state(p, state[0]))
        return (h,), {"h": h}

    return step


def antisymmetric(p, x, state):
    (h,) = state
    n = np.tanh(from_input(p, x) + from_state(p, h))
    h_new = h + p["weight_eps"] * n
    return (h_new,), {"n": n, "change": p["weight_eps"] * n, "h": h_new}


def antisymmetric_gated(p, x, state):
    (h,) = state
    a_z, a_n = split(from_input(p, x) + from_state(p, h), 2)
    z, n = sigmoid(a_z), np.tanh(a_n)
    h_new = h + p["weight_eps"] * z * n
    return (h_new,), {"z": z, "n": n, "change": p["weight_eps"] * z * n, "h": h_new}


def lstm(p, x, state):
    h, c = state
    a_i, a_f, a_g, a_o = split(from_input(p, x) + from_state(p, h), 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_new = f * c + i * g
    h_new = o * np.tanh(c_new)
    return (h_new, c_new), {"i": i, "f": f, "g": g, "o": o, "h": h_new, "c": c_new}


def lstm_peephole(p, x, state):
    h, c = state
    a_i, a_f, a_g, a_o = split(from_input(p, x) + from_state(p, h), 4)
    i = sigmoid(a_i + p["weight_ci"] * c)
    f = sigmoid(a_f + p["weight_cf"] * c)
    g = np.tanh(a_g)
    c_new = f * c + i * g
    o = sigmoid(a_o + p["weight_co"] * c_new)
    h_new = o * np.tanh(c_new)
    return (h_new, c_new), {"i": i, "f": f, "g": g, "o": o, "h": h_new, "c": c_new}


def lstm_no_input_gate(p, x, state):
    h, c = state
    a_f, a_g, a_o = split(from_input(p, x) + from_state(p, h), 3)
    f, g, o = sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_new = f * c + g
    h_new = o * np.tanh(c_new)
    return (h_new, c_new), {"f": f, "g": g, "o": o, "h": h_new, "c": c_new}


def lstm_no_forget_gate(p, x, state):
    h, c = state
    a_i, a_g, a_o = split(from_input(p, x) + from_state(p, h), 3)
    i, g, o = sigmoid(a_i), np.tanh(a_g), sigmoid(a_o)
    c_new = c + i * g
    h_new = o * np.tanh(c_new)
    return (h_new, c_new), {"i": i, "g": g, "o": o, "h": h_new, "c": c_new}


def lstm_no_output_gate(p, x, state):
    h, c = state
    a_i, a_f, a_g = split(from_input(p, x) + from_state(p, h), 3)
    i, f, g = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g)
    c_new = f * c + i * g
    h_new = np.tanh(c_new)
    return (h_new, c_new), {"i": i, "f": f, "g": g, "h": h_new, "c": c_new}


def lstm_no_input_activation(p, x, state):
    h, c = state
    a_i, a_f, g, a_o = split(from_input(p, x) + from_state(p, h), 4)
    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
    c_new = f * c + i * g
    h_new = o * np.tanh(c_new)
    return (h_new, c_new), {"i": i, "f": f, "g": g, "o": o, "h": h_new, "c": c_new}


def lstm_no_output_activation(p, x, state):
    h, c = state
    a_i, a_f, a_g, a_o = split(from_input(p, x) + from_state(p, h), 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_new = f * c + i * g
    h_new = o * c_new
    return (h_new, c_new), {"i": i, "f": f, "g": g, "o": o, "h": h_new, "c": c_new}


def lstm_coupled(p, x, state):
    h, c = state
    a_f, a_g, a_o = split(from_input(p, x) + from_state(p, h), 3)
    f, g, o = sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_new = f * c + (1 - f) * g
    h_new = o * np.tanh(c_new)
    return (h_new, c_new), {"f": f, "g": g, "o": o, "h": h_new, "c": c_new}


def gru(p, x, state):
    (h,) = state
    x_r, x_z, x_n = split(from_input(p, x), 3)
    h_r, h_z, h_n = split(from_state(p, h), 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    h_new = (1 - z) * n + z * h
    return (h_new,), {"r": r, "z": z, "n": n, "n_h": h_n, "h": h_new}


def gru_reset_before(p, x, state):
    (h,) = state
    hidden = h.shape[-1]
    x_r, x_z, x_n = split(from_input(p, x), 3)
    h_r, h_z, _ = split(from_state(p, h), 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + times(p["weight_hh"][..., 2 * hidden :, :], r * h) + p["bias_hh"][..., 2 * hidden :])
    h_new = (1 - z) * n + z * h
    return (h_new,), {"r": r, "z": z, "n": n, "reset_h": r * h, "h": h_new}


def mgu(p, x, state):
    (h,) = state
    hidden = h.shape[-1]
    x_f, x_n = split(from_input(p, x), 2)
    h_f, _ = split(from_state(p, h), 2)
    f = sigmoid(x_f + h_f)
    n = np.tanh(x_n + times(p["weight_hh"][..., hidden:, :], f * h) + p["bias_hh"][..., hidden:])
    h_new = (1 - f) * h + f * n
    return (h_new,), {"f": f, "n": n, "forget_h": f * h, "h": h_new}


def ugrnn(p, x, state):
    (h,) = state
    a_z, a_n = split(from_input(p, x) + from_state(p, h), 2)
    z, n = sigmoid(a_z), np.tanh(a_n)
    h_new = z * h + (1 - z) * n
    return (h_new,), {"z": z, "n": n, "h": h_new}


def indrnn(p, x, state):
    h = relu(from_input(p, x) + p["weight_u"] * state[0])
    return (h,), {"h": h}


def min_gru(p, x, state):
    a_z, n = split(from_input(p, x), 2)
    z = sigmoid(a_z)
    h = (1 - z) * state[0] + z * n
    return (h,), {"z": z, "n": n, "h": h}


def min_lstm(p, x, state):
    a_f, a_i, n = split(from_input(p, x), 3)
    f, i = sigmoid(a_f), sigmoid(a_i)
    h = f / (f + i) * state[0] + i / (f + i) * n
    return (h,), {"f": f, "i": i, "n": n, "h": h}


def lru(p, x, state):
    """s' = λ s + γ a in complex numbers, as 2 × 2 matrices: the complex step of a derivative needs the letter i."""
    (a_re, a_im), (re, im) = split(from_input(p, x), 2), state
    turn = np.stack([p["weight_lambda_re"], -p["weight_lambda_im"], p["weight_lambda_im"], p["weight_lambda_re"]], -1)
    turned = times(turn.reshape(*turn.shape[:-1], 2, 2), np.stack(np.broadcast_arrays(re, im), -1))
    re_new, im_new = turned[..., 0] + p["weight_gamma"] * a_re, turned[..., 1] + p["weight_gamma"] * a_im
    return (re_new, im_new), {"re": re_new, "im": im_new, "a_re": a_re, "a_im": a_im}


def layer_norm(s, gain):
    centred = s - s.mean(axis=-1, keepdims=True)
    return gain * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def normalised(p, x, h, count):
    """The gates' pre-activations, each normalised over its units before its bias."""
    sums, gains = split(times(p["weight_ih"], x) + times(p["weight_hh"], h), count), split(p["weight_norm"], count)
    biases = split(p["bias_ih"] + p["bias_hh"], count)
    return [layer_norm(*pair) + b for *pair, b in zip(sums, gains, biases, strict=True)]


def elman_norm(phi):
    def step(p, x, state):
        (a,) = normalised(p, x, state[0], 1)
        return (phi(a),), {"h": phi(a)}

    return step


def lstm_norm(p, x, state):
    h, c = state
    a_i, a_f, a_g, a_o = normalised(p, x, h, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_new = f * c + i * g
    h_new = o * np.tanh(c_new)
    return (h_new, c_new), {"i": i, "f": f, "g": g, "o": o, "h": h_new, "c": c_new}


def gru_norm(p, x, state):
    """The gains of r, z, of n's part from the input, and of its part from the state."""
    (h,) = state
    x_r, x_z, x_n = split(times(p["weight_ih"], x), 3)
    h_r, h_z, h_n = split(times(p["weight_hh"], h), 3)
    (i_r, i_z, i_n), (s_r, s_z, s_n) = split(p["bias_ih"], 3), split(p["bias_hh"], 3)
    g_r, g_z, g_n, g_h = split(p["weight_norm"], 4)
    r = sigmoid(layer_norm(x_r + h_r, g_r) + i_r + s_r)
    z = sigmoid(layer_norm(x_z + h_z, g_z) + i_z + s_z)
    n_h = layer_norm(h_n, g_h) + s_n
    n = np.tanh(layer_norm(x_n, g_n) + i_n + r * n_h)
    h_new = (1 - z) * n + z * h
    return (h_new,), {"r": r, "z": z, "n": n, "n_h": n_h, "h": h_new}


STEPS = {
    "rnn_tanh": elman(np.tanh),
    "rnn_relu": elman(relu),
    "rnn_sigmoid": elman(sigmoid),
    "rnn_linear": elman(identity),
    "rnn_antisymmetric": antisymmetric,
    "rnn_antisymmetric_gated": antisymmetric_gated,
    "lstm": lstm,
    "lstm_peephole": lstm_peephole,
    "lstm_no_input_gate": lstm_no_input_gate,
    "lstm_no_forget_gate": lstm_no_forget_gate,
    "lstm_no_output_gate": lstm_no_output_gate,
    "lstm_no_input_activation": lstm_no_input_activation,
    "lstm_no_output_activation": lstm_no_output_activation,
    "lstm_coupled": lstm_coupled,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "mgu": mgu,
    "ugrnn": ugrnn,
    "indrnn": indrnn,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "lru": lru,
    "rnn_tanh_norm": elman_norm(np.tanh),
    "rnn_relu_norm": elman_norm(relu),
    "rnn_linear_norm": elman_norm(identity),
    "lstm_norm": lstm_norm,
    "gru_norm": gru_norm,
}
GATES = dict.fromkeys(STEPS, 1) | {"lstm": 4, "lstm_peephole": 4, "gru": 3, "gru_reset_before": 3, "mgu": 2, "ugrnn": 2}
GATES |= dict.fromkeys(("lstm_no_input_gate", "lstm_no_forget_gate", "lstm_no_output_gate", "lstm_coupled"), 3)
GATES |= {"lstm_no_input_activation": 4, "lstm_no_output_activation": 4, "rnn_antisymmetric_gated": 2}
STATES = {cell: ("h", "c") if cell.startswith("lstm") else ("h",) for cell in STEPS}
VECTORS = dict.fromkeys(STEPS, ()) | {"lstm_peephole": ("ci", "cf", "co")}
VECTORS |= dict.fromkeys(("rnn_antisymmetric", "rnn_antisymmetric_gated"), ("eps",))
GATES |= {"min_gru": 2, "min_lstm": 3, "lru": 2, "lstm_norm": 4, "gru_norm": 3}
GAINS = {cell: GATES[cell] + (cell == "gru_norm") for cell in STEPS if cell.endswith("_norm")}
STATES |= {"lru": ("re", "im")}
VECTORS |= {"indrnn": ("u",), "lru": ("lambda_re", "lambda_im", "gamma")}
WITHOUT_RECURRENT_MATRIX = ("indrnn", "min_gru", "min_lstm", "lru")


def shapes_of(cell, input_size, hidden_size, layers=1, directions=1):
    """Name and shape of every parameter, in PyTorch's order."""
    shapes, rows = {}, GATES[cell] * hidden_size
    for level in range(layers):
        for suffix in (f"_l{level}", f"_l{level}_reverse")[:directions]:
            width = input_size if level == 0 else directions * hidden_size
            parts = {"ih": width} | ({} if cell in WITHOUT_RECURRENT_MATRIX else {"hh": hidden_size})
            shapes |= {f"weight_{part}{suffix}": (rows, columns) for part, columns in parts.items()}
            shapes |= {f"bias_{part}{suffix}": (rows,) for part in parts}
            for vector in VECTORS[cell]:
                shapes[f"weight_{vector}{suffix}"] = (hidden_size,)
            if cell in GAINS:
                shapes[f"weight_norm{suffix}"] = (GAINS[cell] * hidden_size,)
    return shapes


# A network, one row after the other. A row is cut to its length first: there is no padding in here.


def of_pass(params, suffix):
    """The parameters of one direction of one layer, without its suffix."""
    return {name.removesuffix(suffix): array for name, array in params.items() if name.endswith(suffix)}


def run_pass(cell, p, x, state, reverse):
    """x (T, I), state S × (H,) -> the steps in the order in which they were taken: (t, x_t, old, new, values)."""
    steps = []
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        new, values = STEPS[cell](p, x[t], state)
        steps.append((t, x[t], state, new, values))
        state = new
    return steps


def output_of(steps):
    """h (T, H) in order of time."""
    return np.stack([new[0] for _, _, _, new, _ in sorted(steps, key=lambda step: step[0])])


def run_row(cell, params, x, state, layers, directions):
    """x (T, I), state S × (L·D, H) -> y (T, D·H) and {suffix: steps} of every pass."""
    passes = {}
    for level in range(layers):
        outputs = []
        for d in range(directions):
            suffix = f"_l{level}" + "_reverse" * d
            initial = tuple(part[level * directions + d] for part in state)
            passes[suffix] = run_pass(cell, of_pass(params, suffix), x, initial, reverse=d == 1)
            outputs.append(output_of(passes[suffix]))
        x = np.concatenate(outputs, axis=-1)
    return x, passes


def forward(cell, params, x, state, lengths, layers=1, directions=1):
    """x (T, B, I), state S × (L·D, B, H) -> y (T, B, D·H), final states, gates and states by name (T, B, H).

    Beyond a row's length y and gates are 0 and states stay.
    """
    steps, batch, hidden = len(x), x.shape[1], state[0].shape[-1]
    kind = np.result_type(x, *params.values())
    y, final = np.zeros((steps, batch, directions * hidden), kind), [np.zeros(part.shape, kind) for part in state]
    trace = {}
    for b, length in enumerate(lengths):
        y[:length, b], passes = run_row(cell, params, x[:length, b], [s[:, b] for s in state], layers, directions)
        for k, (suffix, taken) in enumerate(passes.items()):
            for part, value in zip(final, taken[-1][3], strict=True):
                part[k, b] = value
            for t, _, _, _, values in taken:
                for name, value in values.items():
                    trace.setdefault(name + suffix, np.zeros((steps, batch, hidden), kind))[t, b] = value
            for name, value in zip(STATES[cell], taken[-1][3], strict=True):
                trace[name + suffix][length:, b] = value
    return y, tuple(final), trace


def loss(cell, params, x, state, lengths, dy, dstate, layers=1, directions=1):
    """Σ dy·y + Σ dstate·(final states): the scalar whose gradient `gradients` is."""
    y, final, _ = forward(cell, params, x, state, lengths, layers, directions)
    return (dy * y).sum() + sum((d * part).sum() for d, part in zip(dstate, final, strict=True))


# Gradients: the dense Jacobian of each step, by complex steps, multiplied out from the end.

TINY = 1e-100  # its square underflows to 0, so the imaginary part is the derivative to rounding


def step_jacobian(cell, p, x, state):
    """d (new state) / d (each parameter, x, each old state) as {name: (size, S·H)}."""
    values = {**p, "x": x} | {f"old {s}": part for s, part in enumerate(state)}
    sizes = [value.size for value in values.values()]
    nudged = np.concatenate([value.ravel() for value in values.values()]) + 1j * TINY * np.eye(sum(sizes))
    blocks = np.split(nudged, np.cumsum(sizes)[:-1], axis=1)
    parts = {name: block.reshape(-1, *values[name].shape) for name, block in zip(values, blocks, strict=True)}
    new, _ = STEPS[cell](parts, parts["x"], tuple(parts[f"old {s}"] for s in range(len(state))))
    derivative = np.concatenate(new, axis=1).imag / TINY
    return dict(zip(values, np.split(derivative, np.cumsum(sizes)[:-1]), strict=True))


def pass_gradient(cell, p, steps, d_output, d_state):
    """d_output (T, H), d_state S × (H,) -> gradients of p, of the pass's inputs (T, I) and of its initial state."""
    grads = {name: np.zeros(array.shape) for name, array in p.items()}
    d_x = np.zeros((len(steps), steps[0][1].size))
    d_state = [part.copy() for part in d_state]
    for t, x, old, _, _ in reversed(steps):
        d_state[0] = d_state[0] + d_output[t]
        arriving = np.concatenate(d_state)
        products = {name: block @ arriving for name, block in step_jacobian(cell, p, x, old).items()}
        for name in grads:
            grads[name] += products[name].reshape(grads[name].shape)
        d_x[t] = products["x"]
        d_state = [products[f"old {s}"] for s in range(len(old))]
    return grads, d_x, d_state


def row_gradient(cell, params, x, state, dy, dstate, layers, directions):
    """One row: dy (T, D·H), dstate S × (L·D, H) -> gradients of the parameters, of x and of the initial states."""
    _, passes = run_row(cell, params, x, state, layers, directions)
    grads, d_initial = {}, [np.zeros(part.shape) for part in state]
    for level in reversed(range(layers)):
        d_inputs = []
        for d, d_output in enumerate(split(dy, directions)):
            k, suffix = level * directions + d, f"_l{level}" + "_reverse" * d
            ends = [part[k] for part in dstate]
            found, d_x, d_old = pass_gradient(cell, of_pass(params, suffix), passes[suffix], d_output, ends)
            grads |= {name + suffix: value for name, value in found.items()}
            for part, value in zip(d_initial, d_old, strict=True):
                part[k] = value
            d_inputs.append(d_x)
        dy = sum(d_inputs)
    return grads, dy, d_initial


def gradients(cell, params, x, state, lengths, dy, dstate, layers=1, directions=1):
    """Gradient of `loss`: {name: as the parameter}, d_x (T, B, I) and S × (L·D, B, H)."""
    total = {name: np.zeros(array.shape) for name, array in params.items()}
    d_x, d_initial = np.zeros(x.shape), tuple(np.zeros(part.shape) for part in state)
    for b, length in enumerate(lengths):
        row = x[:length, b], [s[:, b] for s in state], dy[:length, b], [d[:, b] for d in dstate]
        grads, d_x[:length, b], d_old = row_gradient(cell, params, *row, layers, directions)
        for name in total:
            total[name] += grads[name]
        for part, value in zip(d_initial, d_old, strict=True):
            part[:, b] = value
    return total, d_x, d_initial


# The softmax over words.


def word_loss(weight, bias, h, targets, weights):
    """Mean of -ln softmax(W h + b)[target] over N positions, each with its weight; weight (V, H), h (N, H)."""
    total = 0
    for position, target, share in zip(h, targets, weights, strict=True):
        z = times(weight, position) + bias
        z = z - max(z.real)
        total = total + share * (np.log(np.exp(z).sum()) - z[target])
    return total / sum(weights)


def slopes(function, *arrays):
    """The gradient of a function of real arrays with respect to each of them, one number at a time."""
    found = [np.zeros(array.shape) for array in arrays]
    for k, array in enumerate(arrays):
        for index in np.ndindex(array.shape):
            moved = [other.astype(complex) for other in arrays]
            moved[k][index] += 1j * TINY
            found[k][index] = function(*moved).imag / TINY
    return found


# Pascanu's Ω: the backward pass of a row is kept, then Ω is a function of W_hh alone.


def backward_steps(cell, p, steps, d_output, d_state):
    """(dE/dh, dE/da, φ' of the step before or None) of every step, the last first."""
    slopes = [np.diagonal(step_jacobian(cell, p, x, old)["bias_hh"]) for _, x, old, _, _ in steps]
    for k in reversed(range(len(steps))):
        d_h = d_state + d_output[steps[k][0]]
        d_a = slopes[k] * d_h
        yield d_h, d_a, slopes[k - 1] if k else None
        d_state = p["weight_hh"].T @ d_a


def omega(kind, W, kept):
    """Mean of the terms over all steps of all rows (see `backward_steps`); W may be complex."""
    terms = []
    for d_h, d_a, before in kept:
        back = W.T @ d_a
        if kind == "omega_code" and d_h @ d_h >= 1e-20:
            terms.append((back @ back / (d_h @ d_h) - 1) ** 2)
        if kind == "omega_paper" and before is not None and d_a @ d_a >= 1e-20:
            back = before * back
            terms.append((np.sqrt(back @ back) / np.sqrt(d_a @ d_a) - 1) ** 2)
    return sum(terms) / max(len(terms), 1)


def omega_and_gradient(kind, cell, params, x, state, lengths, dy, dstate):
    """Ω of one layer in one direction, and its derivative by W_hh with the backward pass held constant."""
    p, kept = of_pass(params, "_l0"), []
    for b, length in enumerate(lengths):
        steps = run_pass(cell, p, x[:length, b], [part[0, b] for part in state], False)
        kept += backward_steps(cell, p, steps, dy[:, b], dstate[0][0, b])
    W = p["weight_hh"]
    gradient = np.zeros(W.shape)
    for index in np.ndindex(W.shape):
        nudged = W.astype(complex)
        nudged[index] += 1j * TINY
        gradient[index] = omega(kind, nudged, kept).imag / TINY
    return omega(kind, W, kept), gradient


# Attention and layer normalisation, one replica, one query of one row at a time.


def softmax(scores):
    e = np.exp(scores - scores.real.max())
    return e / e.sum()


def attention_score(score, p, query, key):
    if score == "additive":
        return p["weight_score"] @ np.tanh(p["weight_query"] @ query + p["weight_key"] @ key)
    if score == "general":
        return query @ p["weight_general"] @ key
    return query @ key / (math.sqrt(len(key)) if score == "scaled_dot" else 1)


def attend(score, p, queries, keys, values, lengths):
    """queries (Tq, B, H), keys, values (Tk, B, ·) -> contexts (Tq, B, Hv), weights (B, Tq, Tk)."""
    kind = np.result_type(queries, keys, values, *p.values())
    contexts = np.zeros((*queries.shape[:2], values.shape[2]), kind)
    weights = np.zeros((queries.shape[1], len(queries), len(keys)), kind)
    for b, length in enumerate(lengths):
        for t, query in enumerate(queries[:, b]):
            own = softmax(np.array([attention_score(score, p, query, keys[s, b]) for s in range(length)]))
            weights[b, t, :length] = own
            contexts[t, b] = sum(own[s] * values[s, b] for s in range(length))
    return contexts, weights


def self_attend(p, x, heads):
    """x (T, B, E) -> y (T, B, E), causal, with the parameters of nn.MultiheadAttention."""
    size, y = x.shape[2], np.zeros(x.shape, np.result_type(x, *p.values()))
    for t, b in np.ndindex(x.shape[:2]):
        parts = [p["in_proj_weight"] @ x[s, b] + p["in_proj_bias"] for s in range(t + 1)]
        mixed = []
        for head in range(heads):
            q, k, v = (
                [part[first + head * size // heads : first + (head + 1) * size // heads] for part in parts]
                for first in (0, size, 2 * size)
            )
            own = softmax(np.array([q[t] @ key / math.sqrt(size // heads) for key in k]))
            mixed += list(sum(weight * value for weight, value in zip(own, v, strict=True)))
        y[t, b] = p["out_proj.weight"] @ np.array(mixed) + p["out_proj.bias"]
    return y


def layer_normalised(p, x):
    """One position, x (H,): (x - mean) / sqrt(var + 1e-5) · weight + bias."""
    mean = sum(x) / len(x)
    variance = sum((number - mean) ** 2 for number in x) / len(x)
    return (x - mean) / np.sqrt(variance + 1e-5) * p["weight"] + p["bias"]


def derivatives(function, arguments, d_output):
    """Σ d_output · function's derivative by every number of every argument (a dict of arrays), by complex steps."""
    found = {}
    for name, array in arguments.items():
        found[name] = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            nudged = array.astype(complex)
            nudged[index] += 1j * TINY
            found[name][index] = (d_output * function(arguments | {name: nudged})).sum().imag / TINY
    return found


# Random numbers: Philox4x32-10 in whole numbers, one word at a time.


def philox(counter, key):
    """Salmon et al. 2011, sec. 3.3 and table 2: ten rounds on four 32-bit words under two."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second // 2**32 ^ c[1] ^ k[0], second % 2**32, first // 2**32 ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return tuple(c)


def random_word(i, seed, purpose, step, replica):
    """Word i of the stream: word i mod 4 of the block with counter (i div 4, step, purpose, replica)."""
    word = int(hashlib.sha256(purpose.encode()).hexdigest()[:8], 16)
    return philox((i // 4, step, word, replica), (seed % 2**32, seed // 2**32))[i % 4]


def random_uniform(i, *address):
    """53 bits: the upper 27 of word 2i, then the upper 26 of word 2i + 1."""
    return (random_word(2 * i, *address) // 2**5 * 2**26 + random_word(2 * i + 1, *address) // 2**6) / 2**53


def random_normal(i, *address):
    """Box–Muller: the pair (2k, 2k + 1) from the uniforms 2k and 2k + 1."""
    first, second = random_uniform(i // 2 * 2, *address), random_uniform(i // 2 * 2 + 1, *address)
    wave = math.sin if i % 2 else math.cos
    return math.sqrt(-2 * math.log(1 - first)) * wave(2 * math.pi * second)


def random_integer(i, high, *address):
    return random_word(i, *address) * high // 2**32
