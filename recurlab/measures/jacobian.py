"""Exact Jacobians of the full state, from the cell's own backward pass, and their products in log scale.

The state of a stack is flattened in the order (S, L, H): for one LSTM layer it is (h, c).
"""

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers.checks import expect
from recurlab.layers.recurrent import Pass, Recurrent, Tape, backward_pass, check_params, check_tape, gate_blocks


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


def pull_back(layer: Recurrent, params: dict, tape: Tape, step: int, d_state: np.ndarray) -> np.ndarray:
    """Vector–Jacobian products of one step: cotangents after it -> before it, both (R, B, M, S, L, H).

    The M cotangents of a row ride in the batch axis of the layer's own backward kernel, top layer first.
    """
    replicas, batch, count, _, _, hidden = d_state.shape
    d_new = np.moveaxis(d_state, (3, 4), (1, 2)).reshape(replicas, -1, layer.num_layers, batch * count, hidden)
    lengths = np.repeat((step < tape.lengths).astype(np.int64), count)
    d_old = np.empty_like(d_new)
    dy = np.zeros((replicas, 1, batch * count, hidden), layer.dtype)
    for level in reversed(range(layer.num_layers)):
        run = _one_step(tape.passes[level], step, count)
        ends = [d_new[:, s, level] for s in range(d_new.shape[1])]
        d_states, d_a, _ = backward_pass(layer, params, run, lengths, dy, ends)
        d_old[:, :, level] = d_states[:, :, 0]
        dy = _input_gradient(layer, params, run, d_a) if level else dy
    return np.moveaxis(d_old.reshape(replicas, -1, layer.num_layers, batch, count, hidden), (1, 2), (3, 4))


def _one_step(run: Pass, step: int, count: int) -> Pass:
    """The tape of one step with every batch row repeated for its cotangents."""
    kept = np.repeat(run.kept[:, :, step : step + 1], count, axis=3)
    return run._replace(kept=kept, states=np.repeat(run.states[:, :, step : step + 2], count, axis=3))


@on_one_thread
def _input_gradient(layer, params, run, d_a) -> np.ndarray:
    """dL/dx of one step, (R, 1, rows, I)."""
    W_ih = gate_blocks(layer, params[f"weight_ih{run.suffix}"])
    d_gates = d_a[:, : len(layer.spec.gates), 0]  # (R, G, rows, H)
    return np.matmul(d_gates, W_ih if W_ih.ndim == 4 else W_ih[None]).sum(axis=1)[:, None]


def step_jacobian(layer: Recurrent, params: dict, tape: Tape, step: int) -> np.ndarray:
    """d state after / d state before one step, (R, B, n, n) with n = S·L·H."""
    size, (replicas, _, _, batch, hidden) = state_size(layer), tape.passes[0].states.shape
    unit = np.eye(size, dtype=layer.dtype).reshape(1, 1, size, -1, layer.num_layers, hidden)
    cotangents = np.ascontiguousarray(np.broadcast_to(unit, (replicas, batch, *unit.shape[2:])))
    return pull_back(layer, params, tape, step, cotangents).reshape(replicas, batch, size, size)


def jacobians(layer: Recurrent, params: dict, tape: Tape) -> np.ndarray:
    """J[t, b] = d state_t / d state_{t-1}, the state being (h, c) for an LSTM: ([R,] T, B, n, n), n = S·L·H.

    Beyond a row's length the Jacobian is the identity. Raises ValueError for a bidirectional layer.
    """
    expect_one_direction(layer)
    check_tape(layer, check_params(layer, params), tape)
    steps = tape.passes[0].states.shape[2] - 1
    found = np.stack([step_jacobian(layer, params, tape, t) for t in range(steps)], axis=1)
    return found if tape.replicated else found[0]


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
