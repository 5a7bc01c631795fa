"""Penalties: what is added to a loss besides the error, for R replicas at once, each with its gradient.

A penalty looks at the weights, at the states of a run, or at its gradients (`Penalty.of` says which, and with it what
its function takes). Values and gradients are without a strength: whoever trains multiplies both. A gradient holds an
entry for every parameter that the penalty moves, and no other.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.linalg

from recurlab.blas import on_one_thread
from recurlab.layers.checks import expect
from recurlab.layers.omega import omega
from recurlab.layers.recurrent import Recurrent, Tape, gate_blocks

# A diverged replica gets a value and a gradient that are not finite; that is no reason to warn.
DIVERGED = np.errstate(over="ignore", invalid="ignore")
LARGEST = 1e150  # of a matrix whose square is still finite


class Penalty(NamedTuple):
    """A penalty and the signature of its function.

    * of = "weights":   f(layer, params) -> value (R,), {name: dvalue/dparameter}
    * of = "states":    f(y (R, T, B, H), counted ((R,) T, B) or None for all) -> value (R,), dvalue/dy
    * of = "gradients": f(layer, params, tape, dy, dstate), as `backward` takes them -> value (R,), {name: gradient}
    """

    name: str
    equation: str
    source: str
    of: str
    function: Callable


# Of weights. They are looked at in float64; gradients come in the layer's precision.


@DIVERGED
def _of_blocks(function, layer: Recurrent, params: dict):
    """Sum of a penalty over every gate's block of every W_hh; function(blocks (R, G, H, H)) -> (R, G), gradients."""
    matrices = {name: W for name, W in params.items() if name.startswith("weight_hh")}
    expect(bool(matrices), "layer", f"cell {layer.cell}", "a cell with recurrent matrices W_hh")
    total, grads = 0.0, {}
    for name, W in matrices.items():
        values, gradient = function(gate_blocks(layer, W).astype(np.float64))
        total = total + values.sum(axis=1)
        grads[name] = gradient.reshape(W.shape).astype(W.dtype)
    return total, grads


def _distance_to_one(size_of, blocks: np.ndarray):
    """(s - 1)² and 2 (s - 1) ds/dW, size_of(W) -> s, ds/dW; NaN for a matrix of infinite square."""
    sizes, slopes = np.full(blocks.shape[:2], np.nan), np.full(blocks.shape, np.nan)
    for k in zip(*(np.abs(blocks) < LARGEST).all(axis=(-1, -2)).nonzero(), strict=True):
        sizes[k], slopes[k] = size_of(blocks[k])
    return (sizes - 1) ** 2, 2 * (sizes - 1)[..., None, None] * slopes


def _norm_and_slope(W: np.ndarray):
    """σ_max and u vᵀ; 0 for W = 0. WᵀW v = σ² v costs a quarter of the singular value decomposition at H = 50."""
    last = [len(W) - 1] * 2
    square, v = scipy.linalg.eigh(W.T @ W, subset_by_index=last)
    sigma = math.sqrt(max(square[0], 0))
    return sigma, np.outer(W @ v[:, 0], v[:, 0]) / (sigma or 1)


@on_one_thread
def spectral_norm(layer: Recurrent, params: dict):
    """Σ over gates of (σ_max(W_hh) - 1)²: dσ/dW = u vᵀ. Of equal singular values one is taken: a subgradient of σ."""
    return _of_blocks(partial(_distance_to_one, _norm_and_slope), layer, params)


def _radius_and_slope(W: np.ndarray):
    """ρ = |λ| and Re(λ̄ ȳ xᵀ / yᴴx) / ρ; 0 where ρ = 0 or yᴴx = 0."""
    values, left, right = scipy.linalg.eig(W, left=True)
    k = np.argmax(np.abs(values))
    radius, y, x = abs(values[k]), left[:, k].conj(), right[:, k]
    scale = radius * (y @ x)
    return radius, (values[k].conj() / scale * np.outer(y, x)).real if scale else np.zeros_like(W)


@on_one_thread
def spectral_radius(layer: Recurrent, params: dict):
    """Σ over gates of (ρ(W_hh) - 1)²: dρ/dW = Re(λ̄ ȳ xᵀ / yᴴx) / ρ, y and x the left and right eigenvectors of λ.

    Both of a complex pair give the same gradient. Of several largest eigenvalues one is taken, and ρ may then grow
    faster in another direction. Where ρ = 0 or λ is defective there is no gradient, and 0 is taken.
    """
    return _of_blocks(partial(_distance_to_one, _radius_and_slope), layer, params)


def _distance_to_orthogonal(W: np.ndarray):
    """‖WᵀW - I‖² and 4 W (WᵀW - I)."""
    excess = np.swapaxes(W, -1, -2) @ W - np.eye(W.shape[-1])
    return np.sum(excess**2, axis=(-1, -2)), 4 * W @ excess


@on_one_thread
def orthogonality(layer: Recurrent, params: dict):
    """Σ over gates of ‖W_hhᵀ W_hh - I‖²_F."""
    return _of_blocks(_distance_to_orthogonal, layer, params)


@DIVERGED
def weight_decay(layer: Recurrent, params: dict):
    """½ Σ ‖W‖² over every weight_…, peepholes and output weights with them, and W itself (no copy); no biases."""
    grads = {name: W for name, W in params.items() if name.startswith("weight_")}
    squares = [np.square(W, dtype=np.float64).reshape(len(W), -1).sum(axis=1) for W in grads.values()]
    return 0.5 * np.sum(squares, axis=0), grads


# Of states


def _counted(y: np.ndarray, counted) -> np.ndarray:
    """Which steps count, (R or 1, T, B)."""
    if counted is None:
        return np.ones((1, *y.shape[1:3]), bool)
    counted = np.asarray(counted) > 0
    counted = counted if counted.ndim == 3 else counted[None]
    fits = counted.shape[1:] == y.shape[1:3] and len(counted) in (1, len(y))
    expect(fits, "counted", f"shape {counted.shape}", f"shape ([R,] T, B) of y {y.shape}")
    return counted


@DIVERGED
def norm_stabiliser(y: np.ndarray, counted=None):
    """Mean of (‖h_t‖ - ‖h_{t-1}‖)² over the steps t = 2 … T that count together with the step before them.

    The first step has no term: the initial state is not the network's. At h = 0 the norm has no derivative; 0 is taken.
    """
    counted = _counted(y, counted)
    pairs = counted[:, 1:] & counted[:, :-1]
    norms = np.sqrt(np.einsum("rtbh,rtbh->rtb", y, y).astype(np.float64))
    count = np.maximum(pairs.sum(axis=(1, 2)), 1)
    steps = np.where(pairs, norms[:, 1:] - norms[:, :-1], 0)
    by_norm = np.zeros_like(norms)
    by_norm[:, 1:] += steps
    by_norm[:, :-1] -= steps
    factors = 2 * by_norm / np.where(norms > 0, norms, 1) / count[:, None, None]
    return np.sum(steps**2, axis=(1, 2)) / count, factors.astype(y.dtype)[..., None] * y


@DIVERGED
def activity(y: np.ndarray, counted=None):
    """Mean of ‖h_t‖² over the steps that count."""
    counted = _counted(y, counted)
    weights = counted / np.maximum(counted.sum(axis=(1, 2), keepdims=True), 1)
    squares = np.einsum("rtbh,rtbh->rtb", y, y)
    return np.sum(np.where(counted, squares, 0) * weights, axis=(1, 2)), (2 * weights).astype(y.dtype)[..., None] * y


# Of gradients


def omega_of_states(layer: Recurrent, params: dict, tape: Tape, dy, dstate=None):
    """Ω as the released code has it: the mean of (‖W_hhᵀ δ_t‖² / ‖∂E/∂h_t‖² - 1)², δ_t = ∂E/∂h_t ⊙ φ'(a_t), t = 1 … T.

    The mean is over all steps of all rows with ‖∂E/∂h_t‖² ≥ 1e-20. Its gradient is the immediate one, with δ and ∂E/∂h
    held constant. Ω = 0 where no step counts.
    """
    return omega(layer, params, tape, dy, dstate, squares=True)


def omega_of_activations(layer: Recurrent, params: dict, tape: Tape, dy, dstate=None):
    """Ω of the paper's eq. 9: the mean of (‖φ'(a_t) ⊙ W_hhᵀ δ_{t+1}‖ / ‖δ_{t+1}‖ - 1)², δ = ∂E/∂a, t = 1 … T-1.

    The paper's x_t is the pre-activation a_t. It takes the sum over t of one sequence; here it is the mean over all
    steps of all rows with ‖δ_{t+1}‖² ≥ 1e-20, so that its strength does not depend on T. Its gradient is the
    immediate one, with δ and φ' held constant; where nothing comes through φ' it is taken as 0.
    """
    return omega(layer, params, tape, dy, dstate, squares=False)


PASCANU, OMEGA = "Pascanu, Mikolov & Bengio 2013, ", "mean over t and rows of "
_TABLE = (
    Penalty(
        "omega_paper",
        OMEGA + "(‖φ'(a_t) ⊙ W_hhᵀ δ_{t+1}‖ / ‖δ_{t+1}‖ - 1)², δ = ∂E/∂a",
        PASCANU + "eq. 9 (there a sum over t)",
        "gradients",
        omega_of_activations,
    ),
    Penalty(
        "omega_code",
        OMEGA + "(‖W_hhᵀ δ_t‖² / ‖∂E/∂h_t‖² - 1)², δ = ∂E/∂a",
        PASCANU + "eq. 10, by states as in the released code (RNN.py)",
        "gradients",
        omega_of_states,
    ),
    Penalty(
        "spectral_norm",
        "Σ over gates (σ_max(W_hh) - 1)²",
        "Yoshida & Miyato 2017 with 1 in place of 0",
        "weights",
        spectral_norm,
    ),
    Penalty("spectral_radius", "Σ over gates (ρ(W_hh) - 1)²", "none published", "weights", spectral_radius),
    Penalty("orthogonality", "Σ over gates ‖W_hhᵀ W_hh - I‖²_F", "Vorontsov et al. 2017", "weights", orthogonality),
    Penalty("weight_decay", "½ Σ ‖W‖², biases left out", "Krogh & Hertz 1992", "weights", weight_decay),
    Penalty("norm_stabiliser", "mean (‖h_t‖ - ‖h_{t-1}‖)²", "Krueger & Memisevic 2016", "states", norm_stabiliser),
    Penalty("activity", "mean ‖h_t‖²", "Merity, McCann & Socher 2017", "states", activity),
)
PENALTIES = {penalty.name: penalty for penalty in _TABLE}
