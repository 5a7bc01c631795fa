"""How a gradient spreads over time: its norm at every lag in log scale, and every lag's share in dL/dW."""

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers.checks import expect
from recurlab.layers.recurrent import Recurrent, Tape, backward_pass, check_output_gradients, recurrent_operands
from recurlab.measures.jacobian import expect_one_direction, pull_back


def gradient_by_lag(layer: Recurrent, params: dict, tape: Tape, dy: np.ndarray, dstate=None) -> np.ndarray:
    """log ‖dL/dstate‖ at every lag, ([R,] T+1, B): entry k is the state k steps before the end of its row.

    The gradient is that of `backward` for dL/dy = dy ([R,] T, B, H) and dL/dfinal states = dstate. It is carried as a
    unit vector and a logarithm, so lag 10,000 neither under- nor overflows; lags beyond a row's length are NaN.
    """
    expect_one_direction(layer)
    dy, dstate = check_output_gradients(layer, params, tape, dy, dstate, True)
    direction, scale = _start(dstate)
    steps = dy.shape[1]
    logs = np.empty((len(dy), steps + 1, dy.shape[2]))
    for s in range(steps - 1, -1, -1):
        direction, scale = _inject(direction, scale, np.where((s < tape.lengths)[:, None], dy[:, s], 0))
        logs[:, s + 1] = scale
        direction, scale = _normalise(pull_back(layer, params, tape, s, direction[:, :, None])[:, :, 0], scale)
    logs[:, 0] = scale
    logs = _count_from_the_end(logs, tape.lengths)
    return logs if tape.replicated else logs[0]


def _start(dstate: list):
    """The gradient at the end, S × (R, L, B, H), as unit vectors (R, B, S, L, H) and logs (R, B)."""
    direction = np.stack(dstate, axis=1).transpose(0, 3, 1, 2, 4)
    return _normalise(direction, np.zeros(direction.shape[:2]))


def _normalise(vector: np.ndarray, scale: np.ndarray):
    """Unit vectors and logs of the same gradients; a zero gradient has log -inf and stays zero."""
    norm = np.sqrt(np.sum(vector.astype(np.float64) ** 2, axis=(-1, -2, -3)))
    safe = np.where(norm > 0, norm, 1).astype(vector.dtype)
    with np.errstate(divide="ignore"):
        return vector / safe[..., None, None, None], scale + np.log(norm)


def _inject(direction, scale, dy):
    """Add dL/dy of one step, (R, B, H), to the h of the top layer; both parts come as unit vectors and logs."""
    own = np.zeros_like(direction)
    own[:, :, 0, -1] = dy
    own, own_scale = _normalise(own, np.zeros_like(scale))
    top = np.maximum(scale, own_scale)
    safe = np.where(np.isfinite(top), top, 0)
    parts = [(direction, scale), (own, own_scale)]
    total = sum(unit * np.exp(log - safe).astype(unit.dtype)[..., None, None, None] for unit, log in parts)
    return _normalise(total, safe)


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
    _, d_a = _one_layer_backward(layer, params, tape, dy)
    operands = recurrent_operands(layer, tape.passes[0])  # (R, G, T·B, H)
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
    d_states, _ = _one_layer_backward(layer, params, tape, dy)
    largest = _count_from_the_end(np.abs(d_states).max(axis=(1, 4)), tape.lengths)
    return largest if tape.replicated else largest[0]


def _one_layer_backward(layer, params, tape, dy) -> tuple[np.ndarray, np.ndarray]:
    """d_states (R, S, T+1, B, H) and d_a (R, A, T, B, H) of a network with one layer and one direction."""
    expect_one_direction(layer)
    expect(layer.num_layers == 1, "layer", f"{layer.num_layers} layers", "one layer")
    dy, ends = check_output_gradients(layer, params, tape, dy, None, True)
    d_states, d_a, _ = backward_pass(layer, params, tape.passes[0], tape.lengths, dy, [end[:, 0] for end in ends])
    return d_states, d_a
