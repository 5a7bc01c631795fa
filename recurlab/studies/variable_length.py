"""Rows of different length in one batch: what masks must give, and what it costs to leave them out.

Padded with `lengths`, packed into groups of equal length, or one row at a time: what belongs to one row alone (outputs,
final states, gradients of inputs and initial states) is the same to the bit. Weight gradients are sums over rows, whose
order depends on how rows are put together, and agree to rounding.

Without the mask a row of L steps runs on over P steps of zeros. For the linear network that is W^P: the final state is
W^P h_L, and the gradient of the input weights (W')^P times the right one.
"""

from typing import NamedTuple

import numpy as np

from recurlab.layers.recurrent import backward, forward, recurrent
from recurlab.random import Stream, normal
from recurlab.studies.kinds import CELL, COUNT, DEVICE, DTYPE, INIT, POSITIVE, REAL, SIZE, list_of, one_of, optional
from recurlab.studies.study import Study
from recurlab.weights import init

COLUMNS = {
    "way": "name; how rows are put together, compared with a padded batch (part agreement)",
    "what": "name; what is compared: outputs, final states and gradients",
    "differing": "numbers; entries that differ in any bit",
    "relative_difference": "1; largest difference, relative to the largest entry",
    "roundings": "ε; the same in units of the precision, 2^-23 or 2^-52",
    "network": "name; cell, and the gain or the bias of the gate that keeps its state",
    "padding": "steps; P, zeros behind the last step of every row (part cost)",
    "share": "share; P / (L + P), of the batch that is padding",
    "state_error": "1; ‖h_{L+P} - h_L‖ / ‖h_L‖, root mean squares over the batch",
    "state_error_theory": "1; √(1 + g^2P - 2 g^P E tr Q^P / N), linear network with Haar orthogonal weights g Q",
    "state_norm_ratio": "1; ‖h_{L+P}‖ / ‖h_L‖, root mean squares over the batch",
    "norm_ratio_theory": "1; g^P, linear network with orthogonal weights",
    "gradient_cosine": "1; cosine between the gradients of all parameters without and with the mask",
    "input_gradient_ratio": "1; norm of the gradient of the input weights without the mask over that with it",
}
OWN = ("outputs", "final states", "input gradient", "initial state gradient")  # of one row alone


def variable_length(
    *,
    seeds,
    part: one_of("agreement", "cost"),
    cell: CELL,
    init_name: INIT,
    gain: POSITIVE,
    forget_bias: optional(REAL),
    hidden_size: SIZE,
    input_size: SIZE,
    lengths: list_of(SIZE),
    paddings: list_of(COUNT),
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """agreement: rows of `lengths` in three ways. cost: as many rows, all of the largest of them, behind them zeros."""
    layer = recurrent(cell, input_size, hidden_size, dtype=dtype, device=device)
    params = init(layer, seeds, recurrent=init_name, gain=gain, forget_bias=forget_bias)
    drawn = _draw(layer, seeds, max(lengths), len(lengths))
    if part == "agreement":
        return _filled(len(seeds), _agreement(layer, params, drawn, np.array(lengths)))
    name = f"{cell}, gain {gain:g}" if forget_bias is None else f"{cell}, bias {forget_bias:g}"
    return _filled(len(seeds), [_cost(layer, params, drawn, gain, p) | {"network": name} for p in paddings])


def _filled(replicas: int, rows: list[dict]) -> dict:
    """Rows of numbers, names or (R,) each as columns of all replicas; "" or NaN where a row says nothing."""
    columns = {}
    for name in COLUMNS:
        nothing = "" if name in ("way", "what", "network") else np.nan
        columns[name] = np.stack([np.broadcast_to(row.get(name, nothing), replicas) for row in rows], axis=1).ravel()
    return {"replica": np.repeat(np.arange(replicas), len(rows)), **columns}


class _Drawn(NamedTuple):
    """White inputs and gradients of every seed."""

    x: np.ndarray  # (R, T, B, I)
    dy: np.ndarray  # of outputs, (R, T, B, H)
    d_state: tuple  # of final states, (R, 1, B, H) each


def _draw(layer, seeds, steps: int, batch: int) -> _Drawn:
    def white(purpose, *shape):
        return np.stack([normal(Stream(int(seed), purpose), shape) for seed in seeds]).astype(layer.dtype)

    states = [white(f"{name} gradient", 1, batch, layer.hidden_size) for name in layer.spec.states]
    x = white("inputs", steps, batch, layer.input_size)
    return _Drawn(x, white("output gradients", steps, batch, layer.hidden_size), tuple(states))


def _run(layer, params, drawn, rows, steps: int, lengths=None) -> dict:
    """Everything of some rows over their first `steps` steps, forward and back."""
    x, dy = (np.ascontiguousarray(array[:, :steps, rows]) for array in (drawn.x, drawn.dy))
    d_state = tuple(np.ascontiguousarray(part[:, :, rows]) for part in drawn.d_state)
    y, final, tape = forward(layer, params, x, lengths=lengths)
    grads, dx, d_initial = backward(layer, params, tape, dy, d_state)
    states = (np.stack(parts, axis=1)[:, :, 0] for parts in (final, d_initial))  # (R, S, B, H)
    return dict(zip(OWN, (y, next(states), dx, next(states)), strict=True)) | {"weight gradients": grads}


def _agreement(layer, params, drawn, lengths) -> list[dict]:
    """A row for each other way of putting rows together and each quantity."""
    padded = _run(layer, params, drawn, np.arange(len(lengths)), lengths.max(), lengths)
    ways = {
        "packed": [np.flatnonzero(lengths == length) for length in np.unique(lengths)],
        "alone": [np.array([row]) for row in range(len(lengths))],
    }
    found = {way: _put_together(layer, params, drawn, lengths, groups, padded) for way, groups in ways.items()}
    return [
        {"way": way, "what": what} | _compared(padded[what], other[what])
        for way, other in found.items()
        for what in padded
    ]


def _put_together(layer, params, drawn, lengths, groups, like: dict) -> dict:
    """What `_run` gives for groups of rows of one length, in the places of the whole batch; weight gradients summed."""
    whole = {name: np.zeros_like(array) for name, array in like.items() if name in OWN}
    total = {name: 0.0 for name in params}
    for rows in groups:
        steps = lengths[rows[0]]
        own = _run(layer, params, drawn, rows, steps)
        for name, array in whole.items():
            array[:, : None if "state" in name else steps, rows] = own[name]
        total = {name: total[name] + own["weight gradients"][name] for name in params}
    return whole | {"weight gradients": total}


def _compared(a, b) -> dict:
    """Entries whose bits differ and the largest relative difference, (R,) each; over all arrays of a dict."""
    pairs = [(a[name], b[name]) for name in a] if isinstance(a, dict) else [(a, b)]
    pairs = [np.stack(pair).reshape(2, len(pair[0]), -1) for pair in pairs]
    bits = [np.ascontiguousarray(pair).view(f"u{pair.itemsize}") for pair in pairs]
    relative = np.max([_relative(*pair) for pair in pairs], axis=0)
    return {
        "differing": np.sum([(left != right).sum(axis=1) for left, right in bits], axis=0),
        "relative_difference": relative,
        "roundings": relative / np.finfo(pairs[0].dtype).eps,
    }


def _relative(a, b) -> np.ndarray:
    """max|a - b| / max|a| of each replica, (R,)."""
    return np.abs(a - b).max(axis=1) / np.abs(a).max(axis=1)


def _cost(layer, params, drawn, gain: float, padding: int) -> dict:
    """What leaving the mask out does to the last state and to the gradient of a random direction of it."""
    rest = np.zeros((*drawn.x.shape[:1], padding, *drawn.x.shape[2:]), layer.dtype)
    right, expected = _last_state_and_gradients(layer, params, drawn, drawn.x)
    wrong, found = _last_state_and_gradients(layer, params, drawn, np.concatenate([drawn.x, rest], axis=1))
    theory = layer.cell == "rnn_linear"
    return {
        "padding": padding,
        "share": padding / (padding + drawn.x.shape[1]),
        "state_error": _size(wrong - right) / _size(right),
        "state_error_theory": _orthogonal_error(gain, padding, layer.hidden_size) if theory else np.nan,
        "state_norm_ratio": _size(wrong) / _size(right),
        "norm_ratio_theory": gain**padding if theory else np.nan,
        "gradient_cosine": _cosine(expected, found),
        "input_gradient_ratio": _size(found["weight_ih_l0"]) / _size(expected["weight_ih_l0"]),
    }


def _last_state_and_gradients(layer, params, drawn, x):
    """h after the last step (R, B, H), and the gradients of its product with random directions."""
    _, final, tape = forward(layer, params, x, output=False)
    d_state = (drawn.d_state[0], *(np.zeros_like(part) for part in final[1:]))
    return final[0][:, 0], backward(layer, params, tape, None, d_state, input_gradient=False)[0]


def _orthogonal_error(gain: float, padding: int, units: int) -> float:
    """√(1 + g^2P - 2 g^P E tr Q^P / N), E tr Q^P = N, 0, 1 for P = 0, odd, even (Diaconis & Shahshahani 1994).

    For white input and input weights whose distribution no rotation changes, so that E h' Q^P h = ‖h‖² E tr Q^P / N.
    """
    trace = units if padding == 0 else 1 - padding % 2
    return float(np.sqrt(1 + gain ** (2 * padding) - 2 * gain**padding * trace / units))


def _size(array) -> np.ndarray:
    """Euclidean norm of each replica's numbers, (R,)."""
    return np.linalg.norm(array.reshape(len(array), -1), axis=1)


def _cosine(a: dict, b: dict) -> np.ndarray:
    """Cosine of the angle between two gradients, all parameters together, (R,)."""
    a, b = (np.concatenate([grads[name].reshape(len(grads[name]), -1) for name in a], axis=1) for grads in (a, b))
    return np.sum(a * b, axis=1) / (_size(a) * _size(b))


VARIABLE_LENGTH = Study(function=variable_length, replicas=(), columns=COLUMNS)
