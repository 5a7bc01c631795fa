"""Why a network forgets: its gates on given sequences, how far a gradient goes back, and what other weights would do.

The gradient is that of a random direction of each row's last output, followed back through the states in float64 and
in log scale. What a change of weights does to it is measured, not guessed: on the same rows, before any more training.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.layers.checks import expect
from recurlab.layers.recurrent import Recurrent, check_lengths, check_params, forward, gate_blocks, trace
from recurlab.measures.gradient import gradient_by_lag
from recurlab.measures.inspect import log_kept
from recurlab.measures.spectrum import spectral_radius
from recurlab.random import Stream, normal

GONE = 0.01  # a gradient below this share of what entered at the end counts as gone
GONE_TEXT = f"{100 * GONE:g} %"
GROWN = 1.0  # log10: ten times what entered
SATURATED = 0.95  # a gate nearer to its bound than this passes less than a fifth of the gradient that it could
FEW, MANY = 0.05, 0.95  # nine of ten rows lie between these quantiles


class Diagnosis(NamedTuple):
    """What was measured of a network on its own data.

    gates: a row for each gate and state of each layer. reach: a row for the network as it is and for each of CHANGES.
    decay: change -> log10 ‖dL/dstate‖ at every lag, (T+1, B), NaN beyond a row's length.
    """

    gates: list[dict]
    reach: list[dict]
    decay: dict[str, np.ndarray]


class Change(NamedTuple):
    """What could be changed of weights: `fits(cell)` says for which cells, `made(layer, params)` gives the new ones."""

    what: str
    fits: Callable
    made: Callable


def _with_bias(amount: float) -> Callable:
    """Add to the bias of the gate that holds the state, towards holding it."""

    def made(layer: Recurrent, params: dict) -> dict:
        gate, sign = next(iter(layer.spec.holds.items()))
        here = np.arange(len(layer.spec.gates)).repeat(layer.hidden_size) == layer.spec.gates.index(gate)
        return {n: v + sign * amount * here if n.startswith("bias_ih") else v for n, v in params.items()}

    return made


def _each_block(change: Callable, of: Callable) -> Callable:
    """Change the recurrent weights of the gates that `of(cell)` names."""

    def made(layer: Recurrent, params: dict) -> dict:
        new = {name: array.copy() for name, array in params.items()}
        for name in [name for name in new if name.startswith("weight_hh")]:
            blocks = gate_blocks(layer, new[name])
            for gate in of(layer.spec):
                place = layer.spec.gates.index(gate)
                blocks[place] = change(blocks[place])
        return new

    return made


def _nearest_orthogonal(W: np.ndarray) -> np.ndarray:
    """The polar factor of W: the orthogonal matrix at the least distance in the Frobenius norm."""
    left, _, right = np.linalg.svd(W)
    return left @ right


def _of_radius_one(W: np.ndarray) -> np.ndarray:
    """W divided by its spectral radius; as it is if that is 0."""
    radius = spectral_radius(W)
    return W / radius if radius > 0 else W


def _smaller_inputs(layer: Recurrent, params: dict) -> dict:
    return {name: array / 2 if name.startswith("weight_ih") else array for name, array in params.items()}


CHANGES = {
    "bias + 1": Change("bias that holds the state, + 1", lambda cell: cell.holds, _with_bias(1.0)),
    "bias + 3": Change("bias that holds the state, + 3", lambda cell: cell.holds, _with_bias(3.0)),
    "orthogonal": Change(
        "recurrent weights of every gate: the nearest orthogonal matrix",
        lambda cell: cell.recurrent_matrix,
        _each_block(_nearest_orthogonal, lambda cell: cell.gates),
    ),
    "radius 1": Change(
        "recurrent weights that propose new content, scaled to spectral radius 1",
        lambda cell: cell.recurrent_matrix,
        _each_block(_of_radius_one, lambda cell: [cell.content]),
    ),
    "inputs / 2": Change("input weights, halved", lambda cell: True, _smaller_inputs),
}
AS_IT_IS = "as it is"


def networks_of(cell: Cell) -> list[str]:
    """What is measured of a cell: the network as it is, and every change that fits it."""
    return [AS_IT_IS, *(name for name, change in CHANGES.items() if change.fits(cell))]


def diagnose(layer: Recurrent, params: dict, x, lengths=None, seed: int = 0, tell: Callable | None = None) -> Diagnosis:
    """Measure one network on its own data x (T, B, I), lengths (B,); `seed` draws the directions of the gradient.

    `tell` is called with each of `networks_of` the cell once it is measured.
    Raises ValueError for a bidirectional layer, for several replicas, and for data that does not fit the weights.
    """
    shape = np.shape(x)
    expect(len(shape) == 3, "x", f"shape {shape}", "(time, batch, input)")
    expect(check_params(layer, params) is None, "params", "several replicas", "those of one network")
    lengths = check_lengths(lengths, *shape[:2])
    layer = layer._replace(dtype="float64")
    params, x = {name: array.astype(np.float64) for name, array in params.items()}, np.asarray(x, dtype=np.float64)
    decay = {}
    for name in networks_of(layer.spec):
        own = CHANGES[name].made(layer, params) if name in CHANGES else params
        decay[name] = _decay(layer, own, x, lengths, seed)
        if tell is not None:
            tell(name)
    reach = [_reach(name, logs, lengths) for name, logs in decay.items()]
    return Diagnosis(_gates(layer, params, x, lengths), reach, decay)


def _decay(layer: Recurrent, params: dict, x, lengths, seed: int) -> np.ndarray:
    """log10 ‖dL/dstate‖ at every lag, relative to the end of each row, (T+1, B)."""
    y, _, tape = forward(layer, params, x, lengths=lengths)
    rows, dy = np.arange(y.shape[1]), np.zeros_like(y)
    dy[lengths - 1, rows] = normal(Stream(seed, "directions"), (len(rows), y.shape[2]))
    logs = gradient_by_lag(layer, params, tape, dy)
    return (logs - logs[0]) / np.log(10)


def _reach(change: str, decay: np.ndarray, lengths: np.ndarray) -> dict:
    """How far a gradient (log10, by lag; (T+1, B)) reaches: from which lag on it is gone, what is left at the end."""
    rows = [row[: length + 1] for row, length in zip(decay.T, lengths, strict=True)]
    few, middle, many = np.quantile([*map(_gone_after, rows)], (FEW, 0.5, MANY), method="inverted_cdf")
    ends = np.array([row[-1] for row in rows])
    return {
        "weights": change,
        "gone_after": float(middle),
        "gone_after_5": float(few),
        "gone_after_95": float(many),
        "factor_a_step": float(10 ** np.median(ends / lengths)),
        "log10_at_first_step": float(np.median(ends)),
        "rows": len(rows),
    }


def _gone_after(row: np.ndarray) -> float:
    """The lag from which on a gradient (log10, by lag) stays below GONE; inf if it is not gone at the last."""
    there = np.flatnonzero(row >= np.log10(GONE))
    return float(there[-1] + 1) if there[-1] + 1 < len(row) else np.inf


def _gates(layer: Recurrent, params: dict, x, lengths) -> list[dict]:
    """Mean, saturation and time scale of every gate and state of every layer, over all steps within the rows."""
    found, there = trace(layer, params, x, lengths=lengths), np.arange(len(x))[:, None] < lengths
    named = dict.fromkeys((*layer.spec.gates, *layer.spec.states))
    return [
        _gate_row(layer.spec, name, suffix, found[name + suffix][there])
        for _, _, suffix in layer.passes
        for name in named
        if name + suffix in found
    ]


def _gate_row(cell: Cell, name: str, suffix: str, values: np.ndarray) -> dict:
    """values (steps, H). Where they go beyond 1 they have no bounds to stand at, and their shares are NaN."""
    bounded = np.abs(values).max() <= 1
    lowest = 1 - SATURATED if _is_share(cell, name) else -SATURATED
    scales = _time_scales(cell, name, values)
    return {
        "pass": suffix[1:],
        "gate": name,
        "mean": float(values.mean()),
        "low": float(np.mean(values < lowest)) if bounded else float("nan"),
        "high": float(np.mean(values > SATURATED)) if bounded else float("nan"),
        "time_scale": float(np.median(scales)),
        "longest_time_scale": float(scales.max()),
    }


def _time_scales(cell: Cell, name: str, values: np.ndarray) -> np.ndarray:
    """-1 / mean ln of what each unit keeps in a step, (H,) steps, by the gate that holds the state; by others NaN."""
    holding, sign = next(iter(cell.holds.items()), (None, 0.0))
    if name != holding:
        return np.full(values.shape[1:], np.nan)
    return -1 / log_kept(values if sign > 0 else 1 - values).mean(axis=0)


def _is_share(cell: Cell, name: str) -> bool:
    """Whether a gate lies between 0 and 1."""
    return name in cell.gates and name != cell.content


def findings(found: Diagnosis) -> list[str]:
    """In sentences: how far the gradient reaches, what holds the state, what is shut, which change would help most."""
    own, *others = found.reach
    held = [row for row in found.gates if np.isfinite(row["time_scale"])]
    shut = [row for row in found.gates if row["low"] + row["high"] > 0.5]
    told = [_told_reach(own), *map(_told_hold, held), *map(_told_saturation, shut)]
    better = max(others, key=lambda row: (row["gone_after"], -abs(row["log10_at_first_step"])))
    if better["gone_after"] > own["gone_after"]:
        name = better["weights"]
        told.append(f"Of the changes, '{name}' ({CHANGES[name].what}) reaches furthest: the gradient {_until(better)}.")
    return told


def _told_reach(own: dict) -> str:
    few, many = (_lag(own[name]) for name in ("gone_after_5", "gone_after_95"))
    spread = f"median of {own['rows']} rows; 5 % quantile {few}, 95 % {many}"
    rate = f"× {own['factor_a_step']:.3g} a step, 10^{own['log10_at_first_step']:.3g} at the first"
    told = f"The gradient of the last output {_until(own)} ({spread}): {rate}."
    grows = own["log10_at_first_step"] > GROWN
    return told + " It grows: clip it, or make the recurrent weights smaller." if grows else told


def _lag(gone_after: float) -> str:
    return "never" if np.isinf(gone_after) else f"{gone_after:g}"


def _until(row: dict) -> str:
    if np.isinf(row["gone_after"]):
        return "is still there at the first step"
    return f"is below {GONE_TEXT} from {row['gone_after']:g} steps back on"


def _told_hold(row: dict) -> str:
    scales = f"{row['time_scale']:.3g} steps, the slowest unit {row['longest_time_scale']:.3g} (to 1/e)"
    return f"By {row['gate']} of {row['pass']}, whose mean is {row['mean']:.2f}, a unit keeps its state for {scales}."


def _told_saturation(row: dict) -> str:
    share = f"{100 * (row['low'] + row['high']):.0f} %"
    return f"{share} of {row['gate']} of {row['pass']} stand at their bounds, where hardly any gradient passes."
