"""Numbers of one matrix: eigenvalues, singular values and how far they can differ."""

import numpy as np

from recurlab.blas import on_one_thread


@on_one_thread
def eigenvalues(W: np.ndarray) -> np.ndarray:
    """Eigenvalues of (..., N, N), largest modulus first."""
    values = np.linalg.eigvals(W)
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")
    return np.take_along_axis(values, order, axis=-1)


@on_one_thread
def singular_values(W: np.ndarray) -> np.ndarray:
    """Singular values of (..., M, N), largest first."""
    return np.linalg.svd(W, compute_uv=False)


def spectral_radius(W: np.ndarray) -> np.ndarray:
    """max |λ_i|: how W^T grows as T → ∞."""
    return np.abs(eigenvalues(W)[..., 0])


def spectral_norm(W: np.ndarray) -> np.ndarray:
    """σ_max = max ‖Wv‖ / ‖v‖: how much one step can grow."""
    return singular_values(W)[..., 0]


@on_one_thread
def numerical_radius(W: np.ndarray, angles: int = 64, refinements: int = 5) -> np.ndarray:
    """w(W) = max_θ λ_max((e^{iθ} W + h.c.) / 2): ρ ≤ w ≤ σ_max ≤ 2w, and ‖W^T‖ ≤ 2 w^T (Berger 1965).

    A real W needs θ in [0, π] only: `angles` points, then with each refinement 8 around the best of the last. To 1e-8
    relative, or 3e-4 = 1 - cos(π / 128) when two maxima over θ are closer than that and the search takes the lower one.
    """
    W = np.asarray(W, np.float64)
    best, width = np.full(W.shape[:-2], np.pi / 2), np.full(W.shape[:-2], np.pi / 2)
    for points in (angles, *[8] * refinements):
        theta = best[..., None] + width[..., None] * np.linspace(-1, 1, points + 1)
        turned = np.exp(1j * theta)[..., None, None] * W[..., None, :, :]
        tops = np.linalg.eigvalsh((turned + np.swapaxes(turned.conj(), -1, -2)) / 2)[..., -1]
        best = np.take_along_axis(theta, np.argmax(tops, axis=-1)[..., None], axis=-1)[..., 0]
        width = 2 * width / points
    return tops.max(axis=-1)


def henrici_departure(W: np.ndarray) -> np.ndarray:
    """√(‖W‖_F² - Σ|λ_i|²), the departure of Henrici (1962): 0 if and only if W is normal (rounding: 1e-7 ‖W‖_F)."""
    total = np.sum(np.abs(np.asarray(W, np.float64)) ** 2, axis=(-1, -2))
    return np.sqrt(np.maximum(total - np.sum(np.abs(eigenvalues(W)) ** 2, axis=-1), 0))
