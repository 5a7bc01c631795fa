"""Pascanu's Ω of an Elman layer by one more walk back through time; the penalties are in `recurlab.penalties`."""

import numpy as np

from recurlab.kernels import cpu, memory
from recurlab.kernels import omega as kernel
from recurlab.kernels.denormals import SUPPORTED
from recurlab.kernels.job import Code
from recurlab.kernels.pointwise import pointwise_of
from recurlab.kernels.target import column_product_of, row_product_of
from recurlab.layers.checks import expect
from recurlab.layers.on_host import on_cpu
from recurlab.layers.passes import Pass, sequence_of, weights_of
from recurlab.layers.recurrent import Recurrent, Tape, check_output_gradients, expect_natural

ELMAN = ("rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_linear")


def omega(layer: Recurrent, params: dict, tape: Tape, dy, dstate=None, *, squares: bool):
    """The mean of all terms, ([R],), and its immediate gradient by W_hh, {name: ([R,] H, H)}.

    dy and dstate as in `backward`. With `squares` a term is (‖W_hhᵀ δ_t‖² / ‖∂E/∂h_t‖² - 1)², t = 1 … T, δ = ∂E/∂a;
    else (‖φ'(a_t) ⊙ W_hhᵀ δ_{t+1}‖ / ‖δ_{t+1}‖ - 1)², t = 1 … T-1. One with less than 1e-20 below does not count.
    """
    _expect_elman(layer)
    dy, d_final = check_output_gradients(layer, params, tape, dy, dstate, False)
    run = on_cpu(tape.passes[0], params)
    expect(not run.n.zoned, "tape", "that of a run with zoneout", "one without: Ω has no form for it")
    n = run.n
    out, sums = _omega_of_units(run, params, dy, np.ascontiguousarray(d_final[:, :, 0]), squares)
    total, count = sums.reshape(2, n.replicas, n.slices).sum(axis=2)
    count = np.maximum(count, 1)
    gradient = out.reshape(n.replicas, n.slices, n.blocks, -1, n.lanes).sum(axis=1).swapaxes(1, 2)
    gradient = gradient.reshape(n.replicas, n.blocks * n.lanes, -1)[:, : n.hidden, : n.hidden]
    gradient = gradient / count.astype(layer.dtype)[:, None, None]
    value = total / count
    return (value, {"weight_hh_l0": gradient}) if tape.replicated else (value[0], {"weight_hh_l0": gradient[0]})


def _expect_elman(layer: Recurrent) -> None:
    """Refuse layers for which Ω is not defined."""
    expect_natural(layer)
    expect(layer.cell in ELMAN, "layer", f"cell {layer.cell}", f"one of {', '.join(ELMAN)} (Ω is about h = φ(W h + …))")
    single = layer.num_layers == layer.directions == 1
    expect(single, "layer", f"{layer.num_layers} layers, {layer.directions} directions", "one of each")


def _omega_of_units(run: Pass, params, dy, d_final, squares):
    """dΣ/dW_hh of every unit in the layout of the kernels, and (2, U): sum and number of its terms."""
    n, dtype = run.n, run.x.dtype
    threads, pointwise = cpu.threads_for(n), pointwise_of(run.cell.name, dtype.name).backward.address
    products = row_product_of(dtype.name).address, column_product_of(dtype.name).address
    code = Code(*products, *[pointwise] * (len(Code._fields) - 2))  # an Elman cell calls nothing else
    dy = np.empty(0, dtype) if dy is None else np.ascontiguousarray(dy)
    work, norms = memory.empty((threads * kernel.working_numbers(n),), dtype), np.empty((threads, n.rows))
    out, sums = memory.zeros((n.units, n.blocks, n.blocks * n.lanes, n.lanes), dtype), np.empty((2, n.units))
    inner = (run.kept.reshape(-1), run.states.reshape(-1), work, d_final.reshape(-1), norms, out.reshape(-1), sums)
    sequence, weights = sequence_of(run, dy, 0), weights_of(run, params)
    kernel.compiled()(n, code, sequence, weights, *inner, squares, threads, SUPPORTED)
    return out, sums
