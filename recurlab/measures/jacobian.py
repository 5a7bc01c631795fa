"""Exact Jacobians of the full state, from the cell's own backward pass, and their products in log scale.

The state of a stack is flattened in the order (S, L, H): for one LSTM layer it is (h, c).
"""

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.kernels.blocks import Sizes
from recurlab.layers.apart import Apart, apart, back_apart
from recurlab.layers.checks import expect
from recurlab.layers.recurrent import Recurrent, Tape, check_params, check_tape

ROWS = 2**10  # cotangents that go back together


def state_size(layer: Recurrent) -> int:
    """S·L·H: the size of the full state of a stack."""
    return len(layer.spec.states) * layer.num_layers * layer.hidden_size


def expect_one_direction(layer: Recurrent) -> None:
    """A bidirectional layer has no state that runs along time."""
    expect(
        not layer.bidirectional,
        "layer",
        "a bidirectional layer",
        "one direction of time (measure each direction as its own layer)",
    )


def steps_apart(params: dict, tape: Tape, steps: int, count: int) -> tuple[Apart, ...]:
    """What `pull_back` needs of each layer for `count` cotangents a row, `steps` steps at a time."""
    return tuple(apart(run, params, steps, count, level > 0) for level, run in enumerate(tape.passes))


def pull_back(parts: tuple[Apart, ...], first: int, d_state: np.ndarray) -> np.ndarray:
    """Vector–Jacobian products of each step from `first` on: cotangents after it -> before it.

    Both are (R, steps·B, M, S, L, H). They ride in the batch axis of the layer's own backward kernel, top layer first.
    """
    replicas, rows, count, states, levels, hidden = d_state.shape
    d_new = d_state.transpose(0, 3, 4, 1, 2, 5).reshape(replicas, states, levels, rows * count, hidden)
    d_old = _pull_back(parts, first, d_new).reshape(replicas, states, levels, rows, count, hidden)
    return d_old.transpose(0, 3, 4, 1, 2, 5)


def _pull_back(parts: tuple[Apart, ...], first: int, d_new: np.ndarray) -> np.ndarray:
    """The same for cotangents as the layers have them, (R, S, L, steps·B·M, H)."""
    d_old, dy = np.empty_like(d_new), None
    for level in reversed(range(len(parts))):
        d_old[:, :, level], dy = back_apart(parts[level], first, dy, d_new[:, :, level])
    return d_old


def jacobians(layer: Recurrent, params: dict, tape: Tape) -> np.ndarray:
    """J[t, b] = d state_t / d state_{t-1}, the state being (h, c) for an LSTM: ([R,] T, B, n, n), n = S·L·H.

    Beyond a row's length the Jacobian is the identity. Raises ValueError for a bidirectional layer.
    """
    expect_one_direction(layer)
    check_tape(layer, check_params(layer, params), tape)
    n, states, size = tape.passes[0].n, len(layer.spec.states), state_size(layer)
    found = np.empty((n.replicas, n.steps, n.batch, size, size), layer.dtype)
    steps = min(n.steps, max(1, ROWS // (n.batch * size)))
    parts, unit = steps_apart(params, tape, steps, size), _unit_cotangents(layer, n, steps)
    for first in range(0, n.steps, steps):
        first = min(first, n.steps - steps)  # the last go takes some steps once more
        J = _pull_back(parts, first, unit).reshape(n.replicas, states, -1, steps, n.batch, size, n.hidden)
        found[:, first : first + steps] = J.transpose(0, 3, 4, 5, 1, 2, 6).reshape(*J.shape[:1], *J.shape[3:6], size)
    return found if tape.replicated else found[0]


def _unit_cotangents(layer: Recurrent, n: Sizes, steps: int) -> np.ndarray:
    """All unit vectors for each row of some steps, (R, S, L, steps·B·n, H)."""
    size, states = state_size(layer), len(layer.spec.states)
    unit = np.eye(size, dtype=layer.dtype).reshape(size, states, -1, n.hidden).transpose(1, 2, 0, 3)
    shape = (n.replicas, states, layer.num_layers, steps * n.batch, size, n.hidden)
    return np.broadcast_to(unit[:, :, None], shape).reshape(*shape[:3], -1, n.hidden)


@on_one_thread
def product_logs(matrices: np.ndarray, tolerance: float = 0.0, sweeps: int = 1) -> np.ndarray:
    """log |diagonals| of the QR of A_T ⋯ A_1, matrices (T, ..., n, n) -> (..., n); no under- or overflow at any T.

    One sweep gives the finite-time Lyapunov exponents times T. Each further sweep runs QR through the transposed
    triangular factors and so brings the diagonal closer to the log singular values of the product (cf. Stewart 1995);
    it stops when none moves by more than `tolerance`. Then the values are sorted, largest first.
    """
    factors, last = list(matrices), None
    for _ in range(sweeps):
        logs, factors = _triangular_sweep(factors)
        if last is not None and np.allclose(logs, last, rtol=0, atol=tolerance):  # equal -inf count as still
            break
        last = logs
    return logs if sweeps == 1 else -np.sort(-logs, axis=-1)


def _triangular_sweep(factors: list) -> tuple[np.ndarray, list]:
    """A_T ⋯ A_1 = Q R_T ⋯ R_1 -> Σ log|diag R_t| and the factors of the transposed triangular product."""
    q, total, triangles = None, 0.0, []
    for factor in factors:
        q, r = np.linalg.qr(factor if q is None else factor @ q)
        triangles.append(np.swapaxes(r, -1, -2))
        with np.errstate(divide="ignore"):  # a singular factor: log 0 = -inf is the answer
            total = total + np.log(np.abs(np.diagonal(r, axis1=-2, axis2=-1)))
    return total, triangles[::-1]


def log_singular_values(matrices: np.ndarray) -> np.ndarray:
    """Log singular values of A_T ⋯ A_1 for (T, ..., n, n), largest first, without under- or overflow.

    After k ≤ 200 sweeps neighbours that differ by δ are exact to e^(-2kδ): to 1e-10 from δ = 0.06 on. Values that lie
    closer together are off by less than their distance; one 64 × 64 Gaussian matrix has some, off by 0.005.
    """
    return product_logs(matrices, tolerance=1e-10, sweeps=200)
