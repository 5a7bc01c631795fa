"""Does the error flow unchanged through the cell state, and which share of the whole gradient takes this path?

The loss is a random direction of the last cell state, L = ⟨u, c_T⟩. On the direct path, c' = f c + …, its gradient is
multiplied by f at every step and by nothing else: u ∏ f, and u itself without a forget gate (constant error carousel).
The whole gradient goes through the gates and h as well; without recurrent weights there is no other path.
"""

import numpy as np

from recurlab.cells import CELLS
from recurlab.layers.on_host import on_cpu
from recurlab.layers.passes import state_history
from recurlab.layers.recurrent import Recurrent, Tape, forward, recurrent
from recurlab.random import Stream, normal
from recurlab.studies.kinds import COUNT, DEVICE, INIT, NON_NEGATIVE, REAL, SIZE, list_of, one_of, optional
from recurlab.studies.study import Study
from recurlab.studies.trained import gate_bias_problems, label_of
from recurlab.weights import init


def constant_error(
    *,
    seeds,
    gain: REAL,
    cell: one_of("lstm", "lstm_no_forget_gate", "lstm_no_input_gate", "lstm_no_output_gate", "lstm_coupled", "gru"),
    init_name: INIT,
    forget_bias: optional(REAL),
    chrono: optional(SIZE),
    hidden_size: SIZE,
    input_size: SIZE,
    input_gain: NON_NEGATIVE,
    batch_size: SIZE,
    length: SIZE,
    lags: list_of(COUNT),
    device: DEVICE = "cpu",
):
    """One row for each replica and lag, in float64; numbers are means over the batch."""
    layer = recurrent(cell, input_size, hidden_size, dtype="float64", device=device)
    weights = {"recurrent": init_name, "forget_bias": forget_bias, "chrono": chrono}
    params = init(layer, seeds, input="gaussian", gain=gain, input_gain=input_gain, **weights)
    x = np.stack([normal(Stream(int(seed), "inputs"), (length, batch_size, input_size)) for seed in seeds])
    _, _, tape = forward(layer, params, x)
    u = np.stack([normal(Stream(int(seed), "cotangent"), (batch_size, hidden_size)) for seed in seeds])
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    lags = np.array([lag for lag in lags if lag <= length])
    whole, direct = _whole(layer, params, tape, u)[:, lags], _direct(layer, tape, u)[:, lags]
    columns = {name: values.mean(axis=-1).ravel() for name, values in _compared(whole, direct).items()}
    return columns | {
        "replica": np.repeat(np.arange(len(seeds)), len(lags)),
        "lag": np.tile(lags, len(seeds)),
        "network": np.full(len(seeds) * len(lags), label_of(cell, weights)),
    }


def _whole(layer: Recurrent, params: dict, tape: Tape, u: np.ndarray) -> np.ndarray:
    """dL/dc, c the last state of the cell, at every lag: (R, T+1, B, H)."""
    d_final = np.zeros((len(u), len(layer.spec.states), *u.shape[1:]))
    d_final[:, -1] = u
    return state_history(on_cpu(tape.passes[0], params), params, tape.lengths, None, d_final)[:, -1, ::-1]


def _direct(layer: Recurrent, tape: Tape, u: np.ndarray) -> np.ndarray:
    """U ∏ f over the last k steps at every lag k, (R, T+1, B, H); f = 1 for a cell without such a gate."""
    cell, kept = layer.spec, tape.passes[0].natural()[0]
    f = np.ones_like(kept[:, 0]) if cell.keeps is None else kept[:, cell.kept.index(cell.keeps)]
    factors = np.cumprod(np.concatenate([np.ones_like(f[:, :1]), f[:, ::-1]], axis=1), axis=1)
    return factors * u[:, None]


def _compared(whole: np.ndarray, direct: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of two gradients (R, lags, B, H), each (R, lags, B)."""
    norms = [np.linalg.norm(gradient, axis=-1) for gradient in (whole, direct)]
    return {
        "log10_gradient_norm": np.log10(norms[0]),
        "log10_direct_norm": np.log10(norms[1]),
        "cosine": (whole * direct).sum(axis=-1) / (norms[0] * norms[1]),
        "relative_difference": np.linalg.norm(whole - direct, axis=-1) / norms[1],
    }


def problems(given: dict) -> list[str]:
    """What is wrong with a cell and its gate bias together, in words."""
    return gate_bias_problems(given, CELLS[given["cell"]])


CONSTANT_ERROR = Study(
    function=constant_error,
    replicas=("gain",),
    together=problems,
    columns={
        "network": "name; cell and initialisation",
        "lag": "steps; from the loss back to the state",
        "log10_gradient_norm": "log10; ‖dL/dc‖ this many steps before the end, 0 at lag 0",
        "log10_direct_norm": "log10; ‖u ∏ f‖, the part of it that stays in the cell state",
        "cosine": "1; of the angle between the whole gradient and the direct path",
        "relative_difference": "1; ‖whole - direct‖ / ‖direct‖",
    },
)
