"""Parametrisations: what is trained, what the layer computes with, and the gradient pulled back from one to the other.

Parameters are dicts as those of a layer, with or without a leading R; what a parametrisation does not concern passes
through. Raw matrices M stand under the name of W_hh in the layer's dtype; all arithmetic is float64. What is given and
not trained stands on the diagonal of M, which M - M' leaves out: its gradient is exactly 0, so that no optimiser moves
it. Weight decay would.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers.checks import expect
from recurlab.layers.recurrent import Recurrent, expect_natural, expect_recurrent_matrix
from recurlab.weights import real_form

ORTHOGONAL = 1e-5  # how far max|W'W - I| may be from 0 at first: float32 leaves 1e-6


class Parametrisation(NamedTuple):
    """Raw parameters and back: raw(layer, params, …), forward(layer, raw), backward(layer, raw, params, grads).

    `raw` gives what is trained from a network as drawn (see `weights.init`), `forward` what the layer computes with,
    and `backward` the gradients of raw from those of params = forward(layer, raw).
    """

    name: str
    equation: str
    source: str
    raw: Callable
    forward: Callable
    backward: Callable


def _matrices(layer: Recurrent, change: Callable, *dicts: dict) -> dict:
    """The last dict with every W_hh replaced by change(its blocks ([R,] G, H, H) in each dict)."""
    expect_natural(layer)
    expect_recurrent_matrix(layer)
    changed, hidden = dict(dicts[-1]), layer.hidden_size
    for _, _, suffix in layer.passes:
        name = f"weight_hh{suffix}"
        given = (np.asarray(each[name], np.float64) for each in dicts)
        blocks = change(*(array.reshape(*array.shape[:-2], -1, hidden, hidden) for array in given))
        changed[name] = blocks.reshape(*blocks.shape[:-3], -1, hidden).astype(layer.dtype)
    return changed


def _adjoint(matrix: np.ndarray) -> np.ndarray:
    return matrix.conj().swapaxes(-1, -2)


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


# free


def _as_it_is(layer: Recurrent, given: dict) -> dict:
    return dict(given)


def _free_backward(layer: Recurrent, raw: dict, params: dict, grads: dict) -> dict:
    return dict(grads)


# antisymmetric


def _antisymmetric_raw(layer: Recurrent, params: dict, gamma=0.01) -> dict:
    """M is the first gate's block as drawn, with γ ≥ 0, a number or (R,), on its diagonal."""
    gamma, eye = np.asarray(gamma, np.float64), np.eye(layer.hidden_size)
    expect(bool(np.all(np.isfinite(gamma) & (gamma >= 0))), "gamma", gamma, "finite numbers ≥ 0")
    return _matrices(layer, lambda W: W[..., :1, :, :] * (1 - eye) + gamma[..., None, None, None] * eye, params)


def _antisymmetric_forward(layer: Recurrent, raw: dict) -> dict:
    gates, eye = len(layer.spec.gates), np.eye(layer.hidden_size)
    return _matrices(layer, lambda M: np.repeat(M - _adjoint(M) - M * eye, gates, axis=-3), raw)


def _antisymmetric_backward(layer: Recurrent, raw: dict, params: dict, grads: dict) -> dict:
    """The step eps of the antisymmetric cells is given as γ is."""
    found = _matrices(layer, lambda G: (G - _adjoint(G)).sum(axis=-3, keepdims=True), grads)
    return found | {name: np.zeros_like(grad) for name, grad in grads.items() if name.startswith("weight_eps")}


# orthogonal and unitary, by the Cayley transform


def _cayley(matrix: np.ndarray) -> np.ndarray:
    """(I + X)⁻¹ (I - X) = 2 (I + X)⁻¹ - I: orthogonal for skew X, skew for orthogonal X, and its own inverse."""
    eye = np.eye(matrix.shape[-1])
    return 2 * np.linalg.inv(eye + matrix) - eye


def _signs(matrix: np.ndarray) -> np.ndarray:
    """d_j = ±1 for which W + D has pivots of modulus at least 1, so that the inverse Cayley transform of W D exists.

    Gaussian elimination that moves each pivot away from 0 by its own sign (Ballard et al. 2014, modified LU).
    """
    rest, signs = matrix.copy(), np.ones(matrix.shape[:-1])
    for j in range(matrix.shape[-1]):
        signs[..., j] = np.where(rest[..., j, j].real < 0, -1, 1)
        rest[..., j, j] += signs[..., j]
        column = rest[..., j + 1 :, j] / rest[..., j, j, None]
        rest[..., j + 1 :, j + 1 :] -= column[..., None] * rest[..., j, None, j + 1 :]
    return signs


def _skew(matrix: np.ndarray) -> np.ndarray:
    return (matrix - _adjoint(matrix)) / 2


def _on_group(W: np.ndarray) -> np.ndarray:
    """M = A + D with (I + A)⁻¹ (I - A) D = W."""
    eye = np.eye(W.shape[-1])
    error = np.abs(_adjoint(W) @ W - eye).max()
    expect(bool(error <= ORTHOGONAL), "weight_hh", f"max|W'W - I| = {error:.1e}", "orthogonal or unitary blocks")
    signs = _signs(W)
    return _skew(_cayley(W * signs[..., None, :])) + signs[..., None] * eye


def _from_group(M: np.ndarray) -> np.ndarray:
    """W = (I + A)⁻¹ (I - A) D, A = (M - M')/2, D = sign diag M."""
    return _cayley(_skew(M)) * np.sign(_diagonal(M).real)[..., None, :]


def _group_gradient(M: np.ndarray, W: np.ndarray, G: np.ndarray) -> np.ndarray:
    """dL/dA = -(I + A)⁻' G (W + D)' with (I + A)⁻¹ = (W + D) D / 2, so nothing is inverted; dL/dM is its skew part."""
    signs = np.sign(_diagonal(M).real)
    left = _adjoint(W + signs[..., None] * np.eye(W.shape[-1]))
    return _skew(-0.5 * signs[..., None] * (left @ G @ left))


def _complex_form(matrix: np.ndarray) -> np.ndarray:
    """Z of the nearest [[Re Z, -Im Z], [Im Z, Re Z]]."""
    half = matrix.shape[-1] // 2
    expect(matrix.shape[-1] == 2 * half, "hidden_size", matrix.shape[-1], "an even number for complex weights")
    above, below = matrix[..., :half, :], matrix[..., half:, :]
    real, imaginary = above[..., :half] + below[..., half:], below[..., :half] - above[..., half:]
    return (real + 1j * imaginary) / 2


def _by_cayley(name: str, equation: str, source: str, inward: Callable, outward: Callable) -> Parametrisation:
    """The Cayley transform over the numbers that `inward` makes of real blocks and `outward` turns back."""

    def raw(layer, params):
        return _matrices(layer, lambda W: outward(_on_group(inward(W))), params)

    def forward(layer, raw):
        return _matrices(layer, lambda M: outward(_from_group(inward(M))), raw)

    def backward(layer, raw, params, grads):
        return _matrices(layer, lambda *each: outward(_group_gradient(*map(inward, each))), raw, params, grads)

    return Parametrisation(name, equation, source, *map(on_one_thread, (raw, forward, backward)))


# lru


def _lru_names(layer: Recurrent) -> list[tuple[str, ...]]:
    """Names of λ_re, λ_im, γ, ν and θ in every pass."""
    expect("lambda_re" in layer.spec.vectors, "layer", f"cell {layer.cell}", "a cell with λ and γ (lru)")
    parts = ("lambda_re", "lambda_im", "gamma", "nu", "theta")
    return [tuple(f"weight_{part}{suffix}" for part in parts) for _, _, suffix in layer.passes]


def _replaced(given: dict, old: tuple, new: dict, dtype) -> dict:
    """A dict with some entries in place of others."""
    kept = {name: array for name, array in given.items() if name not in old}
    return kept | {name: array.astype(dtype) for name, array in new.items()}


def _lru_raw(layer: Recurrent, params: dict) -> dict:
    """ν = ln(-ln|λ|), θ = ln(arg λ) with arg in (0, 2π); γ follows from them."""
    raw = params
    for re, im, gamma, nu, theta in _lru_names(layer):
        value = params[re] + 1j * np.asarray(params[im], np.float64)
        size, phase = np.abs(value), np.angle(value) % (2 * np.pi)
        inside = bool(np.all((size > 0) & (size < 1) & (phase > 0)))
        expect(inside, f"{re}, {im}", "another number", "0 < |λ| < 1 with a phase other than 0")
        raw = _replaced(raw, (re, im, gamma), {nu: np.log(-np.log(size)), theta: np.log(phase)}, layer.dtype)
    return raw


def _lru_forward(layer: Recurrent, raw: dict) -> dict:
    params = raw
    for re, im, gamma, nu, theta in _lru_names(layer):
        decay, phase = (np.exp(np.asarray(raw[name], np.float64)) for name in (nu, theta))
        value = np.exp(-decay + 1j * phase)
        new = {re: value.real, im: value.imag, gamma: np.sqrt(-np.expm1(-2 * decay))}  # expm1: |λ| comes close to 1
        params = _replaced(params, (nu, theta), new, layer.dtype)
    return params


def _lru_backward(layer: Recurrent, raw: dict, params: dict, grads: dict) -> dict:
    """With a = e^ν and φ = e^θ: dλ/dν = -a λ, dλ/dθ = i φ λ, dγ/dν = a |λ|² / γ."""
    found = grads
    for names in _lru_names(layer):
        decay, phase = (np.exp(np.asarray(raw[name], np.float64)) for name in names[3:])
        value, gamma = np.exp(-decay + 1j * phase), np.sqrt(-np.expm1(-2 * decay))
        d_re, d_im, d_gamma = (np.asarray(grads[name], np.float64) for name in names[:3])
        d_nu = decay * (np.exp(-2 * decay) / gamma * d_gamma - d_re * value.real - d_im * value.imag)
        d_theta = phase * (d_im * value.real - d_re * value.imag)
        found = _replaced(found, names[:3], dict(zip(names[3:], (d_nu, d_theta), strict=True)), layer.dtype)
    return found


def _itself(matrix: np.ndarray) -> np.ndarray:
    return matrix


FREE = Parametrisation("free", "W = M", "none", _as_it_is, _as_it_is, _free_backward)
ANTISYMMETRIC = Parametrisation(
    "antisymmetric",
    "W = M - M' - γ I, one M for all gates, γ on the diagonal of M; eps as given",
    "Chang, Chen, Haber & Chi 2019",
    _antisymmetric_raw,
    _antisymmetric_forward,
    _antisymmetric_backward,
)
CAYLEY = _by_cayley(
    "cayley",
    "W = (I + A)⁻¹ (I - A) D, A = (M - M')/2, D = sign diag M",
    "Helfrich, Willmott & Ye 2018, scoRNN; D from the first W_hh, which may be any orthogonal matrix",
    _itself,
    _itself,
)
UNITARY = _by_cayley(
    "unitary",
    "W + i V = (I + A)⁻¹ (I - A) D, A = (M - M*)/2, D = sign Re diag M, as real forms [[W, -V], [V, W]]",
    "Maduranga, Helfrich & Ye 2019, scuRNN, with D of ±1",
    _complex_form,
    real_form,
)
LRU = Parametrisation(
    "lru",
    "λ = exp(-exp ν + i exp θ), γ = √(1 - |λ|²)",
    "Orvieto et al. 2023, with γ tied to λ all through training",
    _lru_raw,
    _lru_forward,
    _lru_backward,
)

PARAMETRISATIONS: dict[str, Parametrisation] = {
    "free": FREE,
    "antisymmetric": ANTISYMMETRIC,
    "cayley": CAYLEY,
    "unitary": UNITARY,
    "lru": LRU,
}
