"""Noise of training: on weights and in place of units, for R replicas at once.

Every number is addressed by (seed of the replica, purpose, update), so a replica gets the same noise alone and among
others, and a run that goes on from the middle gets it again. A rate or deviation of 0 leaves every bit as it is.
What is dropped becomes 0 and the rest is divided by 1 - rate ("inverted" dropout): the expectation of a number is the
number itself, so that a trained network runs as it stands.

What multiplies (masks and `factors`) also multiplies the gradient on its way back, see `multiplied`.
"""

import numpy as np

from recurlab.kernels.draw import normals, uniforms
from recurlab.layers.checks import expect


def _per_replica(name: str, values, seeds, below: float) -> np.ndarray:
    """A number or an array (R,) as float64 (R,), within [0, below)."""
    values = np.asarray(values, np.float64)
    expect(values.shape in ((), (len(seeds),)), name, f"shape {values.shape}", f"a number or ({len(seeds)},)")
    expect(bool(np.all((values >= 0) & (values < below))), name, values, f"numbers from 0 to below {below:g}")
    return np.broadcast_to(values, (len(seeds),))


def dropout_mask(seeds, purpose: str, step: int, shape: tuple, rate, dtype) -> np.ndarray:
    """0 with probability `rate`, else 1 / (1 - rate): (R, *shape), rate a number or (R,) in [0, 1)."""
    rate = _per_replica("rate", rate, seeds, 1)
    rows = uniforms(seeds, purpose, step, int(np.prod(shape)))
    kept = (1 / (1 - rate)).astype(dtype)
    mask = (rows >= rate[:, None]) * kept[:, None]
    return mask.reshape(len(seeds), *shape)


def dropout(seeds, place: str, step: int, size: tuple, rate, dtype, per_sequence: bool = False) -> np.ndarray:
    """Factors for the units of `size` = (T, B, F) at a place ("inputs", "between 0", "outputs").

    Fresh at every step (Zaremba, Sutskever & Vinyals 2014), (R, T, B, F), or `per_sequence` one for all steps of a row
    (the variational dropout of Gal & Ghahramani 2016), (R, 1, B, F). Places have masks of their own.
    """
    steps, batch, width = size
    purpose = f"dropout {'per sequence' if per_sequence else 'per step'} {place}"
    return dropout_mask(seeds, purpose, step, (1 if per_sequence else steps, batch, width), rate, dtype)


def weight_noise(params: dict, names, seeds, step: int, sd) -> dict:
    """W + N(0, sd²) for every number of the named parameters, new at every update and the same for its whole minibatch.

    Graves (2011) draws anew for every sequence. The gradient at the noisy point is the gradient of the update: it is
    applied to `params` as they were.
    """
    sd = _per_replica("sd", sd, seeds, np.inf)
    noisy = np.flatnonzero(sd)
    out = dict(params)
    for name in names if noisy.size else ():
        own = params[name][noisy]
        drawn = normals(np.asarray(seeds)[noisy], f"weight noise {name}", step, own[0].size) * sd[noisy, None]
        out[name] = params[name].copy()
        out[name][noisy] += drawn.reshape(own.shape).astype(own.dtype)
    return out


def drop_connect(params: dict, names, seeds, step: int, rate) -> dict:
    """Factors for every number of the named parameters, one mask for an update and its whole minibatch.

    DropConnect (Wan et al. 2013); on weight_hh… alone it is the weight drop of Merity, Keskar & Socher (2018). The
    network runs on `multiplied(params, factors)`, and `multiplied(grads, factors)` is the gradient of `params`.
    """
    return {
        name: dropout_mask(seeds, f"drop connect {name}", step, params[name].shape[1:], rate, params[name].dtype)
        for name in names
    }


def drop_recurrent_columns(params: dict, seeds, step: int, rate) -> dict:
    """Factors (R, 1, H) for the columns of every weight_hh…: the units that W_hh does not see during an update.

    All gates, steps and rows of the minibatch miss the same units, and every layer has a mask of its own. Gal &
    Ghahramani's (2016) recurrent dropout with tied gates has a mask for every row; shared by the rows it is this, a
    change of the weights. h itself stays as it is wherever a cell reads it without W_hh (the GRU's z ⊙ h).
    """
    matrices = {name: W for name, W in params.items() if name.startswith("weight_hh")}
    return {
        name: dropout_mask(seeds, f"drop columns {name}", step, (1, W.shape[-1]), rate, W.dtype)
        for name, W in matrices.items()
    }


def multiplied(arrays: dict, factors: dict) -> dict:
    """The arrays with those that have factors multiplied: weights on their way in, and gradients on their way back."""
    return arrays | {name: arrays[name] * factor for name, factor in factors.items()}
