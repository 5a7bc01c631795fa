"""What a set of weights says before any data: spectra and time scales of every gate."""

import numpy as np

from recurlab.layers.recurrent import Recurrent, gate_blocks
from recurlab.measures import spectrum


def inspect_weights(layer: Recurrent, params: dict) -> list[dict]:
    """One row for each gate of each pass: radius, norm, numerical radius, departure of its W_hh, mean bias, half-life.

    `half_life` (steps) is ln 2 / -ln σ(b) for the gate that keeps the state, at its mean bias; NaN for other gates.
    """
    return [
        _gate_row(layer, params, suffix, g, gate)
        for _, _, suffix in layer.passes
        for g, gate in enumerate(layer.spec.gates)
    ]


def _gate_row(layer, params, suffix, g, gate) -> dict:
    block = gate_blocks(layer, params[f"weight_hh{suffix}"])[..., g, :, :]
    rows = slice(g * layer.hidden_size, (g + 1) * layer.hidden_size)
    bias = float(np.mean(sum(params[f"bias_{part}{suffix}"][..., rows] for part in ("ih", "hh"))))
    keep = 1 / (1 + np.exp(-bias))
    return {
        "pass": suffix[1:],
        "gate": gate,
        "spectral_radius": float(np.mean(spectrum.spectral_radius(block))),
        "spectral_norm": float(np.mean(spectrum.spectral_norm(block))),
        "numerical_radius": float(np.mean(spectrum.numerical_radius(block))),
        "henrici_departure": float(np.mean(spectrum.henrici_departure(block))),
        "mean_bias": bias,
        "half_life": float(np.log(2) / -np.log(keep)) if gate == layer.spec.keeps else float("nan"),
    }
