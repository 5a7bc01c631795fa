"""What do the eigenvalues of the recurrent weights say, and what do they not say, about products of T of them?"""

import numpy as np

from recurlab.layers.recurrent import forward, recurrent
from recurlab.measures import spectrum, theory
from recurlab.measures.jacobian import jacobians, product_logs
from recurlab.random import Stream, normal
from recurlab.studies.kinds import CELL, COUNT, DEVICE, INIT, POSITIVE, SIZE, list_of
from recurlab.studies.study import Study
from recurlab.weights import ENTRY_GAIN, init, matrix

# Sweeps of QR through a product: from the second on the diagonals are log singular values to better than 0.01 wherever
# neighbours differ by a factor of 2 (the error shrinks with the square of their ratio at every sweep).
SWEEPS = 4


def eigenvalue_spectra(
    *,
    seeds,
    init_name: INIT,
    hidden_size: SIZE,
    gain: POSITIVE,
    powers: list_of(SIZE),
    product_cells: list_of(CELL),
    product_lengths: list_of(COUNT),
    drive: POSITIVE,
    device: DEVICE = "cpu",
):
    """Eigenvalues, singular values of powers, spectra of Jacobian products and summaries of each seed's matrix."""
    rows = []
    for replica, seed in enumerate(seeds):
        W = matrix(init_name, Stream(int(seed), "spectra"), hidden_size, gain=gain)
        values = spectrum.eigenvalues(W)
        found = _eigenvalues(values) + _powers(W, powers, init_name, gain) + _summaries(W, values, init_name, gain)
        for cell in product_cells:
            layer = recurrent(cell, hidden_size, hidden_size, dtype="float64", device=device)
            found += _products(layer, init_name, int(seed), gain, product_lengths, drive)
        rows += [{"replica": replica, **row} for row in found]
    return {name: np.array([row.get(name, fill) for row in rows]) for name, fill in FILLS.items()}


def _eigenvalues(values) -> list[dict]:
    pairs = zip(values.real.tolist(), values.imag.tolist(), np.abs(values).tolist(), strict=True)
    return [
        {
            "quantity": "eigenvalue",
            "rank": k,
            "real": real,
            "imaginary": imaginary,
            "value": modulus,
            "area": modulus**2,
        }
        for k, (real, imaginary, modulus) in enumerate(pairs)
    ]


def _powers(W, powers, init_name, gain) -> list[dict]:
    """σ_i(W^T)^(1/T) for each power T; the radius to compare with is the eigenvalues' own."""
    rows = []
    for power in powers:
        values = spectrum.singular_values(np.linalg.matrix_power(W, power)) ** (1 / power)
        top = _top_of_power(init_name, power)
        rows += [
            {
                "quantity": "singular_value",
                "length": power,
                "rank": k,
                "value": v,
                "theory": gain * top if k == 0 else np.nan,
            }
            for k, v in enumerate(values.tolist())
        ]
    return rows


def _top_of_power(init_name: str, power: int) -> float:
    """‖W^T‖^(1/T) at gain 1: 1 for normal matrices of radius 1, the N → ∞ edge of Fuss–Catalan for Gaussian ones."""
    if init_name in ("orthogonal", "unitary", "identity"):
        return 1.0
    edge = theory.product_top_singular_value(power) ** (1 / power)
    return ENTRY_GAIN.get(init_name, np.nan) * edge


def _exact_radius(init_name: str, size: int, gain: float) -> float:
    """The radius where it is fixed, its exact mean (Kostlan) for complex Gaussian weights, else NaN."""
    if init_name == "complex_gaussian":
        return theory.ginibre_radius(size // 2, gain)[0]
    return gain if init_name in ("orthogonal", "unitary", "identity", "spectral_radius") else np.nan


def _summaries(W, values, init_name, gain) -> list[dict]:
    """Radius, norm, numerical radius, departure from normality and number of real eigenvalues, beside exact values."""
    real = theory.expected_real_eigenvalues(len(W)) if init_name == "gaussian" else np.nan
    found = {
        "spectral_radius": (np.abs(values[0]), _exact_radius(init_name, len(W), gain)),
        "spectral_norm": (spectrum.spectral_norm(W), np.nan),
        "numerical_radius": (spectrum.numerical_radius(W), np.nan),
        "henrici_departure": (spectrum.henrici_departure(W), np.nan),
        "real_eigenvalues": (np.sum(values.imag == 0), real),
    }
    return [{"quantity": name, "value": float(value), "theory": exact} for name, (value, exact) in found.items()]


def _products(layer, init_name, seed, gain, lengths, drive) -> list[dict]:
    """log σ_i(J_T ⋯ J_1) / T of a network driven by white noise of variance `drive` at every unit.

    And the growth of the mean square, ln(Σ σ_i² / N) / 2T: mean field ½ ln χ at every T (Pennington et al. 2017).
    """
    params = init(layer, seed, recurrent=init_name, input="identity", gain=gain)
    x = np.sqrt(drive) * normal(Stream(seed, "drive"), (BURN_IN + max(lengths), 1, layer.hidden_size))
    _, state, _ = forward(layer, params, x[:BURN_IN])
    _, _, tape = forward(layer, params, x[BURN_IN:], state)
    J = jacobians(layer, params, tape)[:, 0]
    rows, expected = [], theory.network_exponent(layer.cell, init_name, gain, drive)
    for length in lengths:
        logs = product_logs(J[:length], tolerance=1e-3, sweeps=SWEEPS)
        shared = {"cell": layer.cell, "length": length, "theory": expected}
        spectrum_of = enumerate((logs / length).tolist())
        rows += [{"quantity": "jacobian_product", "rank": k, "value": v, **shared} for k, v in spectrum_of]
        growth = np.log(np.mean(np.exp(2 * logs))) / (2 * length)
        rows.append({"quantity": "jacobian_mean_square", "value": float(growth), **shared})
    return rows


BURN_IN = 50  # steps before the first Jacobian, so that the state has forgotten its start
FILLS = {"replica": 0, "quantity": "", "cell": "", "length": 0, "rank": 0, "value": np.nan, "real": np.nan}
FILLS |= {"imaginary": np.nan, "area": np.nan, "theory": np.nan}

EIGENVALUE_SPECTRA = Study(
    function=eigenvalue_spectra,
    replicas=(),
    columns={
        "quantity": "name; what `value` is: eigenvalue, singular_value, jacobian_product, spectral_radius, …",
        "cell": "name; network of a Jacobian product, else empty",
        "length": "steps; T of a power W^T or of a Jacobian product, else 0",
        "rank": "index; 0 is the largest",
        "value": "1; |λ|, σ(W^T)^(1/T), log σ(J_T…J_1)/T, or the named summary",
        "real": "1; real part of the eigenvalue",
        "imaginary": "1; imaginary part of the eigenvalue",
        "area": "1; |λ|², uniform on [0, 1] under the circular law",
        "theory": "1; closed form of `value` where there is one",
    },
)
