"""How do spectra, Lyapunov exponents, gradients and gates move while a network learns a task that needs memory?"""

from functools import partial

import numpy as np

from recurlab.cells import CELLS
from recurlab.layers.recurrent import Tape, gate_blocks
from recurlab.measures.gradient import gradient_by_lag
from recurlab.measures.inspect import log_kept
from recurlab.measures.lyapunov import lyapunov
from recurlab.measures.spectrum import eigenvalues, singular_values
from recurlab.models.gradients import entering_gradients
from recurlab.models.sequence import Batch, Network, of_replicas, own_parameters
from recurlab.studies import trained
from recurlab.studies.kinds import CELL, COUNT, DEVICE, DTYPE, INIT, MEMORY_TASK, POSITIVE, REAL, SIZE, one_of, optional
from recurlab.studies.study import Study
from recurlab.tasks import TASKS
from recurlab.train import MEASURED, Plan


def dynamics_in_training(
    *,
    seeds,
    task: MEMORY_TASK,
    length: SIZE,
    lag: SIZE,
    cell: CELL,
    hidden_size: SIZE,
    init_name: INIT,
    gain: REAL,
    forget_bias: optional(REAL),
    chrono: optional(SIZE),
    batch_size: SIZE,
    updates: SIZE,
    every: SIZE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    solved_by: one_of("loss", "error"),
    solved_below: POSITIVE,
    test_rows: SIZE,
    burn_in: COUNT,
    settle: COUNT,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train one network for each seed with Adam until the task is solved; one row for each point.

    `lag`: the steps across which every sequence of the task needs memory. Spectra are those of the recurrent weights
    that propose new content; everything else is measured on the same `test_rows` sequences at every point.
    """
    weights = {"recurrent": init_name, "gain": gain, "forget_bias": forget_bias, "chrono": chrono}
    made = trained.setting(task, seeds, cell, hidden_size, dtype, weights, device=device)
    test = made.task.draw(seeds, "test", 0, length, test_rows, dtype)
    plan = Plan(updates, learning_rate, clip_norm=clip, every=every, solved=trained.solved_if(solved_by, solved_below))
    measure = partial(_measure, made.net, test, lag, {"burn_in": burn_in, "settle": settle})
    found = trained.run(made, seeds, plan, length, batch_size, measure=measure)
    columns = trained.rows(made, found, made.task.baseline(length))
    measured = {name: values for name, values in found.history.items() if name not in MEASURED}
    approach = np.abs(measured["lyapunov"]) - np.abs(measured["lyapunov"][0])
    measured |= {"lyapunov_distance": np.abs(measured["lyapunov"]), "lyapunov_approach": approach}
    return {name: columns[name] for name in ("replica", *OF_TRAINING)} | {n: v.ravel() for n, v in measured.items()}


OF_TRAINING = (
    "network",
    "update",
    "last",
    "loss",
    "error",
    "relative_loss",
    "gradient_norm",
    "solved",
    "updates_needed",
)


def _measure(
    net: Network, test: Batch, lag: int, waits: dict, params: dict, live, update: int
) -> dict[str, np.ndarray]:
    """All measures of the networks that are still trained, (live,) each."""
    batch, own = of_replicas(net, test, live), own_parameters(params)
    tape, dy, d_state = entering_gradients(net, params, batch)
    logs = gradient_by_lag(net.layer, own, tape, dy, d_state)
    exponents = lyapunov(net.layer, own, batch.x, count=1, **waits)[..., 0].mean(axis=-1)
    found = {"gradient_rate": _rate(logs, lag), "lyapunov": exponents, "lyapunov_times_lag": np.abs(exponents) * lag}
    return found | _spectrum(net, params) | _gate(net, tape, lag)


def _rate(logs: np.ndarray, lag: int) -> np.ndarray:
    """Mean over rows of ln(‖dL/dstate‖ `lag` steps before the end / at the end) / lag, from (R, T+1, B).

    A row whose loss is so small that its gradient is zero has none.
    """
    with np.errstate(invalid="ignore"):
        rates = (logs[:, lag] - logs[:, 0]) / lag
    there = np.isfinite(rates)
    return np.where(there, rates, 0).sum(axis=-1) / np.where(there.any(axis=-1), there.sum(axis=-1), np.nan)


def _spectrum(net: Network, params: dict) -> dict[str, np.ndarray]:
    """Eigenvalues and singular values of the recurrent weights that propose new content, (R,) each."""
    cell = net.layer.spec
    content = gate_blocks(net.layer, params["weight_hh_l0"])[:, cell.gates.index(cell.content)]
    moduli, stretches = np.abs(eigenvalues(content)), singular_values(content)
    return {
        "spectral_radius": moduli[:, 0],
        "outside": (moduli > 1).mean(axis=-1),
        "largest_singular": stretches[:, 0],
        "median_singular": np.median(stretches, axis=-1),
        "smallest_singular": stretches[:, -1],
        "from_isometry": np.sqrt(((stretches - 1) ** 2).mean(axis=-1)),
    }


def _gate(net: Network, tape: Tape, lag: int) -> dict[str, np.ndarray]:
    """Time scales -1 / ln f of the gate that keeps the state, (R,) each; NaN for a cell without one.

    `longest`: of the unit whose product of gates over a whole sequence is largest, -1 / mean ln f.
    """
    cell = net.layer.spec
    if cell.keeps is None:
        return dict.fromkeys(GATE, np.full(len(tape.passes[0].x), np.nan))
    kept = tape.passes[0].natural()[0][:, cell.kept.index(cell.keeps)].astype(np.float64)  # (R, T, B, H)
    logs = log_kept(kept)
    scales = -1 / logs.reshape(len(logs), -1)
    longest = (-1 / logs.mean(axis=(1, 2))).max(axis=-1)
    values = (kept.mean(axis=(1, 2, 3)), np.median(scales, axis=-1), np.quantile(scales, 0.9, axis=-1), longest)
    return dict(zip(GATE, (*values, longest / lag, -1 / longest), strict=True))


GATE = ("kept", "median_timescale", "upper_timescale", "longest_timescale", "longest_by_lag", "gate_rate")


def problems(given: dict) -> list[str]:
    """What is wrong with task, cell, lag and the steps left to state and direction together, in words."""
    found = trained.problems(given)
    if found:
        return found
    steps, waits = TASKS[given["task"]].steps(given["length"]), given["burn_in"] + given["settle"]
    if given["lag"] > steps:
        found.append(f"lag: got {given['lag']}, wanted at most the {steps} steps of a sequence")
    if waits >= steps:
        found.append(f"burn_in, settle: got {waits} together, wanted less than the {steps} steps of a sequence")
    if not CELLS[given["cell"]].recurrent_matrix:
        found.append(f"cell: {given['cell']} has no recurrent weights whose spectrum could move")
    return found


DYNAMICS_IN_TRAINING = Study(
    function=dynamics_in_training,
    replicas=(),
    together=problems,
    columns={name: trained.COLUMNS[name] for name in OF_TRAINING}
    | {
        "spectral_radius": "1; largest modulus of the eigenvalues of the recurrent weights that propose new content",
        "outside": "share; of these eigenvalues outside the unit disc",
        "largest_singular": "1; largest singular value of these weights",
        "median_singular": "1; median singular value of these weights",
        "smallest_singular": "1; smallest singular value of these weights",
        "from_isometry": "1; root mean square of (singular value - 1)",
        "gradient_rate": "1/step; ln of the norm of dL/dstate `lag` steps before the end over that at the end, / lag",
        "lyapunov": "1/step; largest Lyapunov exponent of the network driven by sequences of the task",
        "lyapunov_times_lag": "1; |lyapunov| · lag: below 1 perturbations change by less than e across the lag",
        "lyapunov_distance": "1/step; |lyapunov|",
        "lyapunov_approach": "1/step; |lyapunov| less that of the untrained network: negative if it came closer to 0",
        "kept": "1; the gate that keeps the state, mean over units, steps and sequences",
        "median_timescale": "steps; median of -1 / ln f over units, steps and sequences",
        "upper_timescale": "steps; 90 % quantile of -1 / ln f",
        "longest_timescale": "steps; -1 / mean ln f of the unit that keeps its state longest",
        "longest_by_lag": "1; longest_timescale / lag",
        "gate_rate": "1/step; mean ln f of that unit: the decay on the path that stays in it",
    },
)
