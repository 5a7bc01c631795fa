"""What a set of weights says before any data: spectra and time scales of every gate."""

import numpy as np

from recurlab.cells.cell import Cell
from recurlab.layers.recurrent import Recurrent, gate_blocks
from recurlab.measures import spectrum

SPECTRAL = ("spectral_radius", "spectral_norm", "numerical_radius", "henrici_departure")


def inspect_weights(layer: Recurrent, params: dict) -> list[dict]:
    """One row for each gate of each pass: radius, norm, numerical radius, departure of its W_hh, mean bias, half-life.

    `half_life` (steps) is ln 2 / -ln k, k what one step keeps of the state at the mean biases: σ(b_f) of the LSTM. It
    stands with the gate that holds the state and is NaN for others, as are the first four without W_hh.
    """
    return [
        _gate_row(layer, params, suffix, g, gate)
        for _, _, suffix in layer.passes
        for g, gate in enumerate(layer.spec.gates)
    ]


def _gate_row(layer, params, suffix, g, gate) -> dict:
    cell, found = layer.spec, dict.fromkeys(SPECTRAL, float("nan"))
    if cell.recurrent_matrix:
        block = gate_blocks(layer, params[f"weight_hh{suffix}"])[..., g, :, :]
        found = {name: float(np.mean(getattr(spectrum, name)(block))) for name in SPECTRAL}
    biases = _mean_biases(layer, params, suffix)
    holding = gate in list(cell.holds)[:1]
    return {
        "pass": suffix[1:],
        "gate": gate,
        **found,
        "mean_bias": float(biases[:, g].sum()),
        "half_life": float(np.log(2) / -np.log(retention(cell, biases))) if holding else float("nan"),
    }


def _mean_biases(layer, params, suffix) -> np.ndarray:
    """b_ih and b_hh (zeros without W_hh) of every gate, means over units and replicas, (2, G)."""
    found = np.zeros((2, len(layer.spec.gates)))
    for k, part in enumerate(("ih", "hh") if layer.spec.recurrent_matrix else ("ih",)):
        bias = params[f"bias_{part}{suffix}"].reshape(-1, found.shape[1], layer.hidden_size)
        found[k] = bias.mean(axis=(0, 2))
    return found


def log_kept(kept: np.ndarray) -> np.ndarray:
    """ln of what a gate keeps of the state, of the same shape; 0 and 1 are the nearest that float32 tells from them."""
    return np.log(np.clip(kept, np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).eps))


def retention(cell: Cell, biases: np.ndarray) -> float:
    """What one step keeps of the last state: ds'/ds at biases (2, G) alone, states and vectors 0, apart from W_hh."""
    separate = [cell.gates.index(gate) for gate in cell.separate]
    together = np.where(np.isin(np.arange(len(cell.gates)), separate), biases[0], biases.sum(axis=0))
    a, zeros = (*together, *biases[1, separate]), (np.float64(0),) * len(cell.states)
    vectors = ((np.float64(0),) * len(cell.vectors),) if cell.vectors else ()
    kept = cell.gates_of(a, zeros, *vectors)
    d_new = (*zeros[1:], np.float64(1))
    return float(cell.backward(kept, zeros, cell.update(kept, zeros), d_new, *vectors)[1][-1])
