"""Where do clipping, bifurcations and latching come from? One neuron shows it.

x_t = w σ(x_{t-1}) + b is `rnn_sigmoid` with one unit (h = σ(x)), a_t = w tanh(a_{t-1}) + u is `rnn_tanh` with one unit:
a whole plane of weights is one launch with a replica for each point.
"""

import numpy as np

from recurlab.layers.recurrent import backward, forward, recurrent
from recurlab.measures import theory
from recurlab.studies.kinds import POSITIVE, REAL, SIZE, list_of, one_of
from recurlab.studies.study import Study

START = 0.5  # x_0 of Pascanu, Mikolov & Bengio 2013, fig. 6
SETTLE = 20_000  # steps of the bisection runs: passing a saddle-node at distance δ takes about π/√δ steps


def error_surface(
    *,
    seeds,
    part: one_of("surface", "descent", "bifurcation", "latch"),
    steps: SIZE,
    target: REAL,
    w_range: list_of(REAL),
    b_range: list_of(REAL),
    resolution: SIZE,
    start_w: REAL,
    start_b: REAL,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    updates: SIZE,
    bifurcation_w: REAL,
    latch_w: list_of(REAL),
):
    """One part of the picture for each case; it is exact, so that every seed has the same rows."""
    if part == "surface":
        found = _surface(steps, target, w_range, b_range, resolution)
    elif part == "descent":
        found = _descent(steps, target, start_w, start_b, learning_rate, clip, updates)
    elif part == "bifurcation":
        found = _bifurcation(bifurcation_w, b_range, resolution)
    else:
        found = _latch(np.array(latch_w))
    count = len(next(iter(found.values())))
    filled = {name: np.asarray(found.get(name, np.full(count, fill))) for name, fill in FILLS.items()}
    return {"replica": np.repeat(np.arange(len(seeds)), count)} | {n: np.tile(v, len(seeds)) for n, v in filled.items()}


def _one_unit(cell: str, w: np.ndarray, bias: np.ndarray):
    """A layer of one unit and its parameters for every (w, b): replicas (R,)."""
    layer = recurrent(cell, 1, 1, dtype="float64")
    column = np.zeros((len(w), 1))
    return layer, {
        "weight_ih_l0": column[:, :, None],
        "weight_hh_l0": w.reshape(-1, 1, 1).astype(float),
        "bias_ih_l0": bias.reshape(-1, 1).astype(float),
        "bias_hh_l0": column,
    }


def _error_and_gradient(w, b, steps, target):
    """E = (σ(x_T) - target)² and its gradient with respect to w and b, each (R,)."""
    layer, params = _one_unit("rnn_sigmoid", w, b)
    start = np.full((len(w), 1, 1, 1), 1 / (1 + np.exp(-START)))
    y, _, tape = forward(layer, params, np.zeros((steps, 1, 1)), (start,), check=False)
    dy = np.zeros_like(y)
    dy[:, -1] = 2 * (y[:, -1] - target)
    grads, _, _ = backward(layer, params, tape, dy, check=False)
    error = (y[:, -1, 0, 0] - target) ** 2
    return error, grads["weight_hh_l0"][:, 0, 0], grads["bias_ih_l0"][:, 0]


def _surface(steps, target, w_range, b_range, resolution) -> dict:
    """The error and the norm of its gradient on a grid."""
    axes = np.linspace(*w_range, resolution), np.linspace(*b_range, resolution)
    w, b = (grid.ravel() for grid in np.meshgrid(*axes, indexing="ij"))
    error, d_w, d_b = _error_and_gradient(w, b, steps, target)
    with np.errstate(divide="ignore"):
        norm = np.log10(np.hypot(d_w, d_b))
    return {"quantity": np.full(len(w), "surface"), "w": w, "b": b, "error": error, "log10_gradient_norm": norm}


def _descent(steps, target, start_w, start_b, learning_rate, clip, updates) -> dict:
    """Gradient descent from one start, with the gradient as it is and with its norm clipped."""
    limit = np.array([np.inf, clip])
    w, b, rows = np.full(2, start_w), np.full(2, start_b), []
    for update in range(updates + 1):
        error, d_w, d_b = _error_and_gradient(w, b, steps, target)
        norm = np.hypot(d_w, d_b)
        rows.append((w, b, error, np.log10(np.maximum(norm, np.finfo(float).tiny)), np.full(2, update)))
        factor = learning_rate * np.minimum(1, limit / np.maximum(norm, np.finfo(float).tiny))
        w, b = w - factor * d_w, b - factor * d_b
    names = ("w", "b", "error", "log10_gradient_norm", "update")
    found = {name: np.concatenate([row[k] for row in rows]) for k, name in enumerate(names)}
    return {
        "quantity": np.full(2 * (updates + 1), "path"),
        "method": np.tile(["unclipped", "clipped"], updates + 1),
    } | found


def _bifurcation(w: float, b_range, resolution) -> dict:
    """Fixed points of x = w σ(x) + b against b, and where two of them meet: by simulation, beside the closed form.

    On the curve b = x - w σ(x) a point is stable where the slope w σ' of the map is below 1.
    """
    x = np.linspace(-1.5 * abs(w), 1.5 * abs(w), 40 * resolution)
    s = 1 / (1 + np.exp(-x))
    b, slope = x - w * s, w * s * (1 - s)
    inside = (b >= b_range[0]) & (b <= b_range[1])
    branch = np.select([slope >= 1, x < 0], ["unstable", "stable low"], "stable high")
    measured, exact = _measured_saddle_nodes(w), np.array(theory.sigmoid_saddle_nodes(w))
    points = len(measured)
    return {
        "quantity": np.concatenate([branch[inside], np.full(points, "saddle-node")]),
        "b": np.concatenate([b[inside], measured]),
        "w": np.full(inside.sum() + points, w),
        "state": np.concatenate([x[inside], np.full(points, np.nan)]),
        "theory": np.concatenate([np.full(inside.sum(), np.nan), exact]),
        "difference": np.concatenate([np.full(inside.sum(), np.nan), measured - exact]),
    }


def _measured_saddle_nodes(w: float) -> np.ndarray:
    """The b at which the high (first) and the low state (second) cease to exist, by bisection of simulated ends."""
    start = np.array([1.0, 0.0])  # h from above and from below
    low, high = np.array([-w, -w / 2]), np.array([-w / 2, 0.0])  # the ends differ between b = -w/2 and either side

    def on_own_side(b):
        layer, params = _one_unit("rnn_sigmoid", np.full(2, w), b)
        _, (end,), _ = forward(layer, params, np.zeros((SETTLE, 1, 1)), (start.reshape(2, 1, 1, 1),))
        return (end.ravel() > 0.5) == (start > 0.5)

    for _ in range(34):  # 2.5 / 2^34 = 1.5e-10
        middle = (low + high) / 2
        kept = on_own_side(middle)
        # the high state is lost below its point, the low state above its own
        low, high = np.where([~kept[0], kept[1]], middle, low), np.where([kept[0], ~kept[1]], middle, high)
    return (low + high) / 2


def _latch(w: np.ndarray) -> dict:
    """The largest constant push that a latched neuron withstands, by bisection, and the gradient it has at rest."""
    low, high = np.zeros_like(w), np.maximum(w, 1)
    for _ in range(34):
        middle = (low + high) / 2
        holds = _rest(w, -middle) > 0
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    threshold = (low + high) / 2
    exact = np.array([theory.latch_threshold(value) for value in w])
    return {
        "quantity": np.full(len(w), "latch"),
        "w": w,
        "threshold": threshold,
        "theory": exact,
        "difference": threshold - exact,
        "gradient": w * (1 - _rest(w, np.zeros_like(w)) ** 2),
    }


def _rest(w, push) -> np.ndarray:
    """h = tanh(a) after a long run from the positive side under a constant input."""
    layer, params = _one_unit("rnn_tanh", w, push)
    _, (end,), _ = forward(layer, params, np.zeros((SETTLE, 1, 1)), (np.full((len(w), 1, 1, 1), 0.999999),))
    return end.ravel()


FILLS = {
    "quantity": "",
    "method": "",
    "w": np.nan,
    "b": np.nan,
    "error": np.nan,
    "log10_gradient_norm": np.nan,
    "update": -1,
}
FILLS |= {"state": np.nan, "threshold": np.nan, "gradient": np.nan, "theory": np.nan, "difference": np.nan}

ERROR_SURFACE = Study(
    function=error_surface,
    replicas=(),
    columns={
        "quantity": "name; surface, path, a branch of fixed points, saddle-node or latch",
        "method": "name; clipped or unclipped, of a path",
        "w": "1; recurrent weight",
        "b": "1; bias",
        "error": "1; (σ(x_T) - target)²",
        "log10_gradient_norm": "log10; norm of the gradient with respect to (w, b)",
        "update": "updates; gradient steps made, -1 where there is none",
        "state": "1; fixed point x = w σ(x) + b",
        "threshold": "1; largest push that a latched neuron withstands, measured",
        "gradient": "1; per-step gradient w (1 - tanh² a) at the latched fixed point",
        "theory": "1; closed form of the saddle-node b or of the latch threshold",
        "difference": "1; measured minus closed form",
    },
)
