"""Linear recurrent units: each unit is a complex number that turns and shrinks by its own factor at every step."""

import numpy as np

from recurlab.cells.cell import Cell


def gates(a, state, vectors):
    """The new state, and the inputs: the gradient of gamma needs them, and gamma may be 0."""
    real, imaginary, gamma = vectors
    re = real * state[0] - imaginary * state[1] + gamma * a[0]
    im = imaginary * state[0] + real * state[1] + gamma * a[1]
    return re, im, a[0], a[1]


def update(kept, state):
    return kept[0], kept[1]


def backward(kept, state, new_state, d_new, vectors):
    real, imaginary, gamma = vectors
    d_re, d_im = d_new
    d_real = d_re * state[0] + d_im * state[1]
    d_imaginary = d_im * state[0] - d_re * state[1]
    d_gamma = d_re * kept[2] + d_im * kept[3]
    d_old = real * d_re + imaginary * d_im, real * d_im - imaginary * d_re
    return (gamma * d_re, gamma * d_im), d_old, (d_real, d_imaginary, d_gamma)


def initial_vectors(uniforms):
    """λ uniform on the unit disc, γ = √(1 - |λ|²): white inputs keep their variance (Orvieto et al. 2023)."""
    radius, angle = np.sqrt(uniforms[0]), 2 * np.pi * uniforms[1]
    return radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - uniforms[0])


LRU = Cell(
    name="lru",
    equation="h' = re' = lambda_re re - lambda_im im + gamma a_re; im' = lambda_im re + lambda_re im + gamma a_im",
    source="Orvieto et al. 2023, Λ x + exp(γ_log) B u in real numbers; y is the real part",
    gates=("re", "im"),
    states=("re", "im"),
    kept=("re", "im", "a_re", "a_im"),
    gates_of=gates,
    update=update,
    backward=backward,
    vectors=("lambda_re", "lambda_im", "gamma"),
    initial_vectors=initial_vectors,
    recurrent_matrix=False,
    content="re",
)
