"""How does the gradient decay with the lag, and which spectral radius keeps it?

The loss is a random direction of the last state, the inputs are white, the network is fresh from its initialiser. The
norm of dL/dstate is followed back in log scale beside the closed forms: ρ^k of the linear network, χ^(k/2) of the mean
field, σ(b_f)^k of a forget gate that stands open at its bias.
"""

import numpy as np

from recurlab.layers.recurrent import Recurrent, Tape, forward, gate_blocks, recurrent
from recurlab.measures import theory
from recurlab.measures.gradient import gradient_by_lag, plain_gradient_by_lag
from recurlab.measures.spectrum import spectral_norm, spectral_radius
from recurlab.random import Stream, normal
from recurlab.studies.kinds import CELL, COUNT, DEVICE, DTYPE, INIT, POSITIVE, REAL, SIZE, list_of, optional
from recurlab.studies.study import Study
from recurlab.weights import init

TAPE_BYTES = 2**29  # of tape at a time: every job of the default scale stays within 1.1 GB (6.9 GB without)


def gradient_decay(
    *,
    seeds,
    gain: POSITIVE,
    cell: CELL,
    init_name: INIT,
    forget_bias: optional(REAL),
    chrono: optional(SIZE),
    hidden_size: SIZE,
    input_size: SIZE,
    input_gain: POSITIVE,
    batch_size: SIZE,
    length: SIZE,
    lags: list_of(COUNT),
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """One row for each replica and lag; norms are means of log10 over the batch."""
    layer = recurrent(cell, input_size, hidden_size, dtype=dtype, device=device)
    biases = {"forget_bias": forget_bias, "chrono": chrono}
    params = init(layer, seeds, recurrent=init_name, input="gaussian", gain=gain, input_gain=input_gain, **biases)
    lags = np.array([lag for lag in lags if lag <= length])
    measured = _measured(layer, params, seeds, length, batch_size, lags)
    theories = _theories(layer, params, init_name, gain, input_gain, lags)
    theories["forget_decay"] = _kept(layer, forget_bias, chrono, lags)
    measured["above_norm_bound"] = np.fmax(measured["log10_gradient_norm"] - theories["norm_bound"], 0)
    columns = {
        name: np.broadcast_to(value, (len(seeds), len(lags))).ravel() for name, value in (measured | theories).items()
    }
    columns |= {
        "lag": np.tile(lags, len(seeds)),
        "gate_bias": np.full(len(seeds) * len(lags), _gate_bias(forget_bias, chrono)),
    }
    return {"replica": np.repeat(np.arange(len(seeds)), len(lags))} | columns


def _measured(layer: Recurrent, params: dict, seeds, length: int, batch: int, lags) -> dict[str, np.ndarray]:
    """Norms and shares of under- and overflow, each (R, lags); a few replicas at a time, because tapes are large."""
    together = max(1, TAPE_BYTES // _replica_bytes(layer, length, batch))
    parts = [slice(first, first + together) for first in range(0, len(seeds), together)]
    found = [_norms(layer, {n: p[part] for n, p in params.items()}, seeds[part], length, batch, lags) for part in parts]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _replica_bytes(layer: Recurrent, length: int, batch: int) -> int:
    """Memory of one replica's tape and gradients: dL/dy, kept values, and states three times, at every unit."""
    cell = layer.spec
    centred = len(cell.gates) + len(cell.separate) if cell.norm else 0
    values = 1 + len(cell.kept) + centred + 3 * len(cell.states)
    return values * length * batch * layer.hidden_size * np.dtype(layer.dtype).itemsize


def _norms(layer, params, seeds, length, batch, lags) -> dict[str, np.ndarray]:
    tape, dy = _run(layer, params, seeds, length, batch)
    logs = gradient_by_lag(layer, params, tape, dy)[:, lags] / np.log(10)  # (R, lags, B)
    plain = plain_gradient_by_lag(layer, params, tape, dy)[:, lags]
    return {
        "log10_gradient_norm": logs.mean(axis=2),
        "underflow": (plain == 0).mean(axis=2),
        "overflow": (~np.isfinite(plain)).mean(axis=2),
    }


def _gate_bias(forget_bias, chrono) -> str:
    """How the bias of the gate that keeps the state was set, as a legend shows it."""
    if chrono is not None:
        return f"chrono {chrono}"
    return "" if forget_bias is None else f"{forget_bias:g}"


def _kept(layer, forget_bias, chrono, lags) -> np.ndarray:
    """log10 of what a gate at its bias keeps, (lags,): σ(b)^k, under chrono the root mean square over units."""
    if not layer.spec.holds:
        return np.full(len(lags), np.nan)
    if chrono is not None:
        return np.array([0.5 * np.log10(theory.chrono_retention(chrono, 2 * lag)) for lag in lags])
    return theory.forget_decay(forget_bias or 0.0, lags)


def _run(layer: Recurrent, params: dict, seeds, length: int, batch: int) -> tuple[Tape, np.ndarray]:
    """Forward on white inputs of each seed's own, and a unit gradient at the last step."""

    def drawn(purpose, *shape):
        return np.stack([normal(Stream(int(seed), purpose), shape) for seed in seeds]).astype(layer.dtype)

    _, _, tape = forward(layer, params, drawn("inputs", length, batch, layer.input_size), check=False)
    dy = np.zeros((len(seeds), length, batch, layer.hidden_size), layer.dtype)
    direction = drawn("loss direction", batch, layer.hidden_size)
    dy[:, -1] = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    return tape, dy


def _theories(layer, params, init_name, gain, input_gain, lags) -> dict[str, np.ndarray]:
    """log10 of the closed forms at each lag, (R, lags); NaN where a form does not speak of the cell."""
    plain = theory.is_plain(layer.cell)
    nothing = np.full((len(gain), len(lags)), np.nan)
    radius = norm = nothing[:, :1]
    if layer.spec.recurrent_matrix:
        content = gate_blocks(layer, params["weight_hh_l0"])[:, layer.spec.gates.index(layer.spec.content)]
        radius, norm = spectral_radius(content)[:, None], spectral_norm(content)[:, None]
    exponents = {g: theory.network_exponent(layer.cell, init_name, g, input_gain**2) for g in np.unique(gain)}
    chi = np.array([exponents[g] for g in gain])[:, None] * lags / np.log(10)
    with np.errstate(divide="ignore"):
        rho = np.log10(radius) * lags
    bound = np.log10(norm / 4 if layer.cell == "rnn_sigmoid" else norm) * lags  # max φ' is 1/4 for σ, else 1
    return {
        "spectral_radius": radius,
        "spectral_norm": norm,
        "norm_bound": bound if plain else nothing,
        "radius_decay": rho if plain else nothing,
        "chi_decay": chi,
    }


GRADIENT_DECAY = Study(
    function=gradient_decay,
    replicas=("gain",),
    columns={
        "lag": "steps; distance from the loss at the last step",
        "log10_gradient_norm": "log10; norm of dL/dstate at the lag, mean over the batch, unit norm at lag 0",
        "underflow": "share; batch rows whose plain gradient is exactly zero at the lag",
        "overflow": "share; batch rows whose plain gradient is infinite or NaN at the lag",
        "spectral_radius": "1; largest |eigenvalue| of the recurrent weights that propose new content (none: empty)",
        "spectral_norm": "1; largest singular value of the same weights",
        "radius_decay": "log10; ρ^k, the spectral radius to the power of the lag (plain networks)",
        "norm_bound": "log10; (γ σ_max)^k, γ the largest slope of φ: no gradient is larger (plain networks)",
        "above_norm_bound": "log10; by how much the norm exceeds that bound, 0 where it does not",
        "chi_decay": "log10; χ^(k/2) of the mean field with the drive of the inputs (plain networks, random weights)",
        "gate_bias": "name; bias of the gate that keeps the state: a number, chrono T_max, or empty",
        "forget_decay": "log10; σ(b)^k of the gate that keeps the state at its bias (chrono: root mean square)",
    },
)
