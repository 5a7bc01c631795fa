"""How many past inputs does a network of N units remember, and what does a squashing function cost?

White input, a linear readout for every lag: Σ_k MC_k = N for a linear network whatever its weights and spectral
radius (Jaeger 2002; in general the rank of [w_in, W w_in, …], Gonon, Grigoryeva & Ortega 2020), at most N for any
other. That rank is N in exact arithmetic and less in floating point where these vectors are nearly parallel (Ballarin,
Grigoryeva & Ortega 2023). The closed form is exact; the run goes through the kernels.
"""

import numpy as np

from recurlab.layers.recurrent import forward, recurrent
from recurlab.measures.memory import linear_memory, memory_by_lag, response_spectrum
from recurlab.random import Stream, normal
from recurlab.studies.kinds import COUNT, DEVICE, DTYPE, POSITIVE, SIZE, list_of, one_of
from recurlab.studies.study import Study
from recurlab.weights import init

WEIGHTS = {"gaussian": "spectral_radius", "orthogonal": "orthogonal", "cycle": "identity"}  # name -> initialiser


def memory_capacity(
    *,
    seeds,
    radius: POSITIVE,
    cell: one_of("rnn_linear", "rnn_tanh", "rnn_relu"),
    weights: one_of(*WEIGHTS),
    hidden_size: SIZE,
    input_gain: POSITIVE,
    steps: SIZE,
    memory: SIZE,
    lags: list_of(COUNT),
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """One row for each replica and lag; `memory` lags are summed, after as many steps that only fill the network."""
    layer = recurrent(cell, 1, hidden_size, dtype=dtype, device=device)
    params = _networks(layer, seeds, weights, radius)
    u = np.stack([normal(Stream(int(seed), "inputs"), (memory - 1 + steps,)) for seed in seeds])
    y, _, _ = forward(layer, params, (input_gain * u[:, :, None, None]).astype(dtype), check=False)
    states, W, w_in = y[:, memory - 1 :, 0], params["weight_hh_l0"], params["weight_ih_l0"][:, :, 0]
    found = [_of_replica(W[r], w_in[r], states[r], u[r], memory) for r in range(len(seeds))]
    name = cell.removeprefix("rnn_") + f", input {input_gain:g}" * (cell != "rnn_linear")
    return _at_lags(found, [lag for lag in lags if lag < memory], name)


def _networks(layer, seeds, weights: str, radius) -> dict:
    """Parameters of spectral radius `radius` (R,); a cycle is the identity with its rows moved by one."""
    params = init(layer, seeds, recurrent=WEIGHTS[weights], input="gaussian", gain=radius)
    if weights == "cycle":
        params["weight_hh_l0"] = np.roll(params["weight_hh_l0"], 1, axis=-2)
    return params


def _of_replica(W, w_in, states, inputs, lags: int) -> dict:
    """Memory by lag (lags,), its sum and what the closed form says of the linear network with the same weights."""
    W, w_in, states = (array.astype(np.float64) for array in (W, w_in, states))
    measured, linear = memory_by_lag(states, inputs, lags), linear_memory(W, w_in, lags)
    lengths = response_spectrum(W, w_in)
    return {
        "memory_at_lag": measured,
        "linear_memory_at_lag": linear,
        "capacity": measured.sum(),
        "linear_capacity": linear.sum(),
        "log10_condition": np.log10(lengths[0] / lengths[-1]),
    }


def _at_lags(found: list[dict], lags: list[int], name: str) -> dict:
    """The columns of all replicas at some lags; what is said of a whole replica stands at each of its lags."""
    columns = {key: np.stack([one[key] for one in found]) for key in found[0]}
    shape = (len(found), len(lags))
    columns = {key: values[:, lags] if values.ndim == 2 else values[:, None] for key, values in columns.items()}
    columns |= {"replica": np.arange(len(found))[:, None], "lag": np.array(lags), "network": np.array(name)}
    return {key: np.broadcast_to(values, shape).ravel() for key, values in columns.items()}


MEMORY_CAPACITY = Study(
    function=memory_capacity,
    replicas=("radius",),
    columns={
        "network": "name; activation, and the standard deviation of its input where it matters",
        "lag": "steps; k, how long ago the input was",
        "memory_at_lag": "1; MC_k, squared correlation of the best linear readout with the input k steps ago, unbiased",
        "linear_memory_at_lag": "1; MC_k of the linear network with the same weights, closed form",
        "capacity": "1; Σ MC_k over the lags of `memory`",
        "linear_capacity": "1; the same sum of the closed form",
        "log10_condition": "log10; largest over smallest singular value of the impulse response of the linear network",
    },
)
