"""What does back-propagation through k steps only leave of the gradient?

The scalar linear model tells it exactly. For h_t = a h_{t-1} + x_t with white x, stationary, and the loss h_T²/2, the
full gradient is h_T Σ_j a^j h_{T-1-j} and the truncated one its first k terms; E h_T h_{T-1-j} = a^(j+1) var h, so that
E[truncated] / E[full] = 1 - a^(2k). On a task both gradients are taken of the same batch, the state being carried, and
compared by share <g_k, g> / <g, g>, cosine and norm.
"""

import numpy as np

from recurlab.kernels.draw import normals
from recurlab.layers.recurrent import backward, forward, recurrent
from recurlab.models.gradients import Truncation, loss_and_gradients
from recurlab.models.sequence import own_parameters
from recurlab.studies import trained
from recurlab.studies.kinds import (
    CELL,
    COUNT,
    DEVICE,
    DTYPE,
    INIT,
    MEMORY_TASK,
    POSITIVE,
    REAL,
    SIZE,
    list_of,
    optional,
)
from recurlab.studies.study import Study
from recurlab.train import Plan

TRAINING_BATCH = 16  # sequences of an update


def truncation(
    *,
    seeds,
    task: optional(MEMORY_TASK),
    length: SIZE,
    decays: list_of(REAL),
    cell: CELL,
    init_name: INIT,
    forget_bias: optional(REAL),
    hidden_size: SIZE,
    batch_size: SIZE,
    backs: list_of(SIZE),
    updates: COUNT,
    learning_rate: POSITIVE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """One row for each k = back of `backs`: of the scalar model at every decay (task null), or after `updates`."""
    if task is None:
        return _scalar(seeds, decays, [k for k in backs if k <= length], length, batch_size, dtype, device)
    weights = {"recurrent": init_name, "forget_bias": forget_bias}
    made = trained.setting(task, seeds, cell, hidden_size, dtype, weights, device=device)
    backs = [k for k in backs if k <= made.task.steps(length)]
    return _on_task(made, seeds, backs, length, batch_size, updates, learning_rate)


def scalar_gradient(decay, back=np.inf):
    """E[gradient] of the stationary scalar model through `back` steps, a (1 - a^2k) / (1 - a²)². Broadcasts."""
    return decay * (1 - decay ** (2.0 * back)) / (1 - decay**2) ** 2


def _scalar(seeds, decays, backs, length: int, batch: int, dtype: str, device: str) -> dict:
    """Mean gradients over `batch` runs of each seed, (R, decays · backs); one seed at a time, because runs are many."""
    found = np.stack([_of_seed(seed, decays, backs, length, batch, dtype, device) for seed in seeds])
    decay, back = (axis.ravel() for axis in np.meshgrid(decays, backs, indexing="ij"))
    expected, full = scalar_gradient(decay, back), scalar_gradient(decay)
    columns = {"gradient": found, "expected_gradient": expected, "share": found / full, "share_theory": expected / full}
    return _columns(len(seeds), back, columns | {"decay": decay, "network": [f"scalar, a = {a:g}" for a in decay]})


def _of_seed(seed, decays, backs, length: int, batch: int, dtype: str, device: str) -> np.ndarray:
    """The gradients of one seed, (decays · backs,): the same white numbers for all of them."""
    u = normals(np.array([seed]), "scalar model", 0, (length + 1) * batch).reshape(length + 1, batch, 1).astype(dtype)
    return np.array([gradient for a in decays for gradient in _scalar_gradients(a, u, backs, device)])


def _scalar_gradients(decay: float, u: np.ndarray, backs, device: str) -> list[float]:
    """Mean over the batch of d(h_T²/2)/da for each k; h_0 ~ N(0, 1 / (1 - a²)) makes it stationary from the start."""
    layer = recurrent("rnn_linear", 1, 1, dtype=u.dtype.name, device=device)
    weights = {"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.full((1, 1), decay)}
    params = {name: w.astype(u.dtype) for name, w in weights.items()}
    params |= {name: np.zeros(1, u.dtype) for name in ("bias_ih_l0", "bias_hh_l0")}
    start, x = u[:1] / np.sqrt(1 - decay**2), u[1:]
    h = np.concatenate([start, forward(layer, params, x, (start,))[0]])  # h_0 … h_T
    found = []
    for first in (len(x) - back for back in backs):
        _, final, tape = forward(layer, params, x[first:], (h[first : first + 1],), output=False)
        grads, _, _ = backward(layer, params, tape, None, final, input_gradient=False)
        found.append(float(grads["weight_hh_l0"][0, 0]) / u.shape[1])
    return found


def _on_task(made, seeds, backs, length: int, batch: int, updates: int, learning_rate: float) -> dict:
    """The truncated gradients of the recurrent layer's parameters beside the full one, on one batch of each seed."""
    params = made.params
    if updates:
        plan = Plan(updates=updates, learning_rate=learning_rate, schedule="linear", clip_norm=1.0, every=updates)
        params = trained.run(made, seeds, plan, length, TRAINING_BATCH).params
    data = made.task.draw(np.asarray(seeds), "test", 0, length, batch, made.net.layer.dtype)
    full = _flat(loss_and_gradients(made.net, params, data).grads)
    cut = [_flat(loss_and_gradients(made.net, params, data, Truncation(1, back)).grads) for back in backs]
    sizes = np.stack([np.linalg.norm(g, axis=1) for g in cut], axis=1) / np.linalg.norm(full, axis=1)[:, None]
    share = np.stack([np.sum(g * full, axis=1) for g in cut], axis=1) / np.sum(full * full, axis=1)[:, None]
    columns = {"share": share, "cosine": share / sizes, "norm_ratio": sizes, "network": made.label}
    return _columns(len(seeds), backs, columns)


def _flat(grads: dict) -> np.ndarray:
    """The gradients of the recurrent layer as one vector for each replica, float64 (R, n)."""
    own = own_parameters(grads)
    return np.concatenate([own[name].reshape(len(own[name]), -1) for name in own], axis=1).astype(np.float64)


def _columns(replicas: int, backs, found: dict) -> dict:
    """A number, a name, (K,) or (R, K) of each as columns of R·K rows; NaN where nothing was found."""
    shape = (replicas, len(backs))
    columns = {name: np.broadcast_to(found.get(name, np.nan), shape).ravel() for name in TRUNCATION.columns}
    return columns | {"replica": np.repeat(np.arange(replicas), len(backs)), "back": np.tile(backs, replicas)}


TRUNCATION = Study(
    function=truncation,
    replicas=(),
    columns={
        "network": "name; cell and initialisation, or the scalar model",
        "decay": "1; a of the scalar model",
        "back": "steps; k, through which the gradient goes",
        "gradient": "1; mean truncated gradient of the scalar model",
        "expected_gradient": "1; its expected value, a (1 - a^2k) / (1 - a²)²",
        "share": "1; truncated over expected full gradient (scalar model), <g_k, g> / <g, g> (task)",
        "share_theory": "1; 1 - a^2k (scalar model)",
        "cosine": "1; cosine between truncated and full gradient of the recurrent layer's parameters",
        "norm_ratio": "1; norm of the truncated over that of the full gradient",
    },
)
