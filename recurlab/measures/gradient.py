"""How a gradient spreads over time: its norm at every lag in log scale, and every lag's share in dL/dW."""

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers.checks import expect
from recurlab.layers.on_host import on_cpu
from recurlab.layers.passes import history, state_history
from recurlab.layers.recurrent import (
    Recurrent,
    Tape,
    check_output_gradients,
    expect_recurrent_matrix,
    recurrent_operands,
)
from recurlab.measures.jacobian import expect_one_direction, pull_back, steps_apart


def gradient_by_lag(layer: Recurrent, params: dict, tape: Tape, dy: np.ndarray, dstate=None) -> np.ndarray:
    """log ‖dL/dstate‖ at every lag, ([R,] T+1, B): entry k is the state k steps before the end of its row.

    The gradient is that of `backward` for dL/dy = dy ([R,] T, B, H) and dL/dfinal states = dstate. It is carried as a
    unit vector and a logarithm, so lag 10,000 neither under- nor overflows; lags beyond a row's length are NaN.
    """
    expect_one_direction(layer)
    dy, dstate = _check_gradients(layer, params, tape, dy, dstate)
    direction, scale = _start(dstate)
    there, parts = _within(tape), steps_apart(params, tape, 1, 1)
    arrives, logs = dy.any(axis=(0, 3)) & there, np.empty((len(dy), len(there) + 1, len(tape.lengths)))
    for s in range(len(there) - 1, -1, -1):
        if arrives[s].any():  # most losses stand at the last step alone
            direction, scale = _inject(direction, scale, np.where(there[s, :, None], dy[:, s], 0))
        logs[:, s + 1] = scale
        direction, scale = _normalise(pull_back(parts, s, direction[:, :, None])[:, :, 0], scale)
    logs[:, 0] = scale
    logs = _count_from_the_end(logs, tape.lengths)
    return logs if tape.replicated else logs[0]


def _check_gradients(layer, params, tape, dy, dstate=None) -> tuple[np.ndarray, np.ndarray]:
    """dy (R, T, B, H) and dstate (R, S, L, B, H)."""
    expect(dy is not None, "dy", None, "a NumPy array ([R,] T, B, H)")
    return check_output_gradients(layer, params, tape, dy, dstate, True)


def _within(tape: Tape) -> np.ndarray:
    """Which steps are within the length of each row, (T, B)."""
    return np.arange(tape.passes[0].n.steps)[:, None] < tape.lengths


def _start(dstate: np.ndarray):
    """The gradient at the end, (R, S, L, B, H), as unit vectors (R, B, S, L, H) and logs (R, B)."""
    direction = dstate.transpose(0, 3, 1, 2, 4)
    return _normalise(direction, np.zeros(direction.shape[:2]))


def _normalise(vector: np.ndarray, scale: np.ndarray):
    """Unit vectors and logs of the same gradients; a zero gradient has log -inf and stays zero."""
    norm = np.sqrt(np.sum(vector.astype(np.float64) ** 2, axis=(-1, -2, -3)))
    safe = np.where(norm > 0, norm, 1).astype(vector.dtype)
    with np.errstate(divide="ignore"):
        return vector / safe[..., None, None, None], scale + np.log(norm)


def _inject(direction, scale, dy):
    """Add dL/dy of one step, (R, B, H), to the h of the top layer; both parts come as unit vectors and logs.

    Rows to which nothing is added keep their bits.
    """
    own = np.zeros_like(direction)
    own[:, :, 0, -1] = dy
    own, own_scale = _normalise(own, np.zeros_like(scale))
    top = np.maximum(scale, own_scale)
    safe = np.where(np.isfinite(top), top, 0)
    parts = [(direction, scale), (own, own_scale)]
    total = sum(unit * np.exp(log - safe).astype(unit.dtype)[..., None, None, None] for unit, log in parts)
    total, safe = _normalise(total, safe)
    added = own_scale > -np.inf
    return np.where(added[..., None, None, None], total, direction), np.where(added, safe, scale)


def _count_from_the_end(logs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(R, T+1, B) by step -> by lag from each row's own end, NaN beyond its length."""
    lag = np.arange(logs.shape[1])[:, None]
    step = lengths - lag  # (T+1, B)
    found = np.take_along_axis(logs, np.maximum(step, 0)[None], axis=1)
    return np.where(step >= 0, found, np.nan)


@on_one_thread
def lag_shares(layer: Recurrent, params: dict, tape: Tape, dy: np.ndarray) -> np.ndarray:
    """⟨g_k, g⟩ / ‖g‖² for g = dL/dW_hh = Σ_k g_k of a one-layer network, ([R,] T): the shares of all lags sum to 1.

    g_k is what the use of W_hh at k steps before the end of each row adds to the gradient.
    """
    expect_recurrent_matrix(layer)
    _, d_a = history(*_one_layer(layer, params, tape, dy))
    operands = recurrent_operands(layer, *tape.passes[0].natural())  # (R, G, T·B, H)
    operands[:, :, ~_within(tape).ravel()] = 0  # d_a is 0 there, but 0 times what was never written may be NaN
    d_gates = d_a[:, list(layer.spec.recurrent_columns)].reshape(operands.shape)
    g = np.einsum("rgpi,rgpj->rgij", d_gates, operands, optimize=True)
    inner = np.einsum("rgpi,rgij,rgpj->rp", d_gates, g, operands, optimize=True)
    shares = _sum_by_lag(inner.reshape(len(inner), -1, len(tape.lengths)), tape.lengths)
    shares /= np.sum(shares, axis=-1, keepdims=True)
    return shares if tape.replicated else shares[0]


def _sum_by_lag(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(R, T, B) by step -> (R, T) summed over rows by lag from each row's own end."""
    total = np.zeros(values.shape[:2])
    for b, length in enumerate(lengths):
        total[:, :length] += values[:, :length, b][:, ::-1]
    return total


def plain_gradient_by_lag(layer: Recurrent, params: dict, tape: Tape, dy: np.ndarray) -> np.ndarray:
    """Largest |entry| of dL/dstate at every lag as the layer's own precision has it, ([R,] T+1, B), one layer only.

    No rescaling: 0 is an underflow, inf or NaN an overflow. This is what plain back-propagation works with.
    """
    d_states = state_history(*_one_layer(layer, params, tape, dy))
    largest = np.maximum(d_states.max(axis=(1, 4)), -d_states.min(axis=(1, 4)))
    largest = _count_from_the_end(largest, tape.lengths)
    return largest if tape.replicated else largest[0]


def _one_layer(layer, params, tape, dy):
    """What `history` takes of a network with one layer and one direction."""
    expect_one_direction(layer)
    expect(layer.num_layers == 1, "layer", f"{layer.num_layers} layers", "one layer")
    dy, ends = _check_gradients(layer, params, tape, dy)
    return on_cpu(tape.passes[0], params), params, tape.lengths, dy, ends[:, :, 0]
