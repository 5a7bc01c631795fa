"""Measures against brute force, exact distributions and known spectra."""

from functools import cache

import naive
import numpy as np
import pytest
from cases import CASES, KINDS, Case, assert_close, assert_same_bits, of_cells, problem
from chance import assert_mean, assert_not_mean
from scipy.special import polygamma

import recurlab as rl
from recurlab.cells import CELLS
from recurlab.kernels import memory
from recurlab.measures import gradient, inspect_weights, jacobian, spectrum, theory
from recurlab.random import Stream, normal
from recurlab.weights import ENTRY_GAIN, matrix

ONE_WAY = [name for name, case in CASES.items() if case.directions == 1]
FLAT = [name for name in ONE_WAY if CASES[name].layers == 1]


def layer_of(cell, case, dtype="float64"):
    return rl.recurrent(cell, case.inputs, case.hidden, case.layers, case.directions == 2, dtype=dtype)


@cache
def run(cell, name):
    """The layer, the problem and the tape of one of the CASES."""
    case = CASES[name]
    layer, p = layer_of(cell, case), problem(cell, case)
    return layer, p, rl.forward(layer, p.params, p.x, p.state, p.lengths)[2]


@cache
def run_replicas(cell, name):
    """Three networks in one launch on a shared x, and the same ones alone."""
    layer, shared = layer_of(cell, CASES[name]), problem(cell, CASES[name])
    alone = [problem(cell, CASES[name], seed) for seed in range(3)]
    params = {key: np.stack([p.params[key] for p in alone]) for key in shared.params}
    state = tuple(np.stack(parts) for parts in zip(*(p.state for p in alone), strict=True))
    together = params, rl.forward(layer, params, shared.x, state, shared.lengths)[2]
    tapes = [rl.forward(layer, p.params, shared.x, p.state, shared.lengths)[2] for p in alone]
    return layer, shared, together, [(p.params, tape) for p, tape in zip(alone, tapes, strict=True)]


# Jacobians


def states_before(cell, p, case, b, t):
    """Every state of row b after t steps, S × (L, H), by the naive network."""
    if t == 0:
        return [part[:, b] for part in p.state]
    _, final, _ = naive.forward(cell, p.params, p.x[:, b : b + 1], [s[:, b : b + 1] for s in p.state], [t], case.layers)
    return [part[:, 0] for part in final]


def naive_jacobian(cell, p, case, b, t):
    """d (all states after step t) / d (all states before it) by complex steps, order (S, L, H)."""
    before = states_before(cell, p, case, b, t)
    flat, params = np.concatenate([part.ravel() for part in before]), {k: v + 0j for k, v in p.params.items()}
    columns = []
    for nudge in np.eye(flat.size) * 1j * naive.TINY:
        state = (flat + nudge).reshape(len(before), case.layers, 1, case.hidden)
        _, after, _ = naive.forward(cell, params, p.x[t : t + 1, b : b + 1], tuple(state), [1], case.layers)
        columns.append(np.concatenate([part.imag.ravel() for part in after]) / naive.TINY)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(("cell", "name"), of_cells(ONE_WAY))
def test_jacobians_are_those_of_the_naive_step(cell, name):
    case, (layer, p, tape) = CASES[name], run(cell, name)
    J = rl.jacobians(layer, p.params, tape)
    size = jacobian.state_size(layer)
    assert J.shape == (case.steps, case.batch, size, size)
    for t in range(case.steps):
        for b, length in enumerate(case.all_lengths):
            if t < length:
                assert_close(J[t, b], naive_jacobian(cell, p, case, b, t), 1e-12, f"J[{t}, {b}]")
            else:
                assert np.array_equal(J[t, b], np.eye(size))


@pytest.mark.parametrize("cell", CELLS)
def test_jacobians_are_finite_differences_of_forward(cell):
    layer, p, tape = run(cell, "stacked")
    J, size, h = rl.jacobians(layer, p.params, tape)[0], jacobian.state_size(layer), 1e-5
    found = np.empty((CASES["stacked"].batch, size, size))
    for j in range(size):
        ends = []
        for sign in (h, -h):
            state = np.stack(p.state).copy()  # (S, L, B, H)
            state.transpose(2, 0, 1, 3).reshape(len(found), -1)  # the order in which J has it
            s, level, unit = np.unravel_index(j, (len(p.state), layer.num_layers, layer.hidden_size))
            state[s, level, :, unit] += sign
            _, final, _ = rl.forward(layer, p.params, p.x[:1], tuple(state))
            ends.append(np.stack(final).transpose(2, 0, 1, 3).reshape(len(found), -1))
        found[:, :, j] = (ends[0] - ends[1]) / (2 * h)
    assert_close(J, found, 1e-8)  # truncation h² and rounding eps / h: both about 1e-10


@pytest.mark.parametrize("name", ["stacked", "lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_jacobians_of_a_replica_are_those_of_the_network_alone(cell, name):
    layer, _, together, alone = run_replicas(cell, name)
    J = rl.jacobians(layer, *together)
    for r, one in enumerate(alone):
        assert_same_bits(J[r], rl.jacobians(layer, *one))


@pytest.mark.parametrize("cell", CELLS)
def test_float32_jacobians(cell):
    layer, p, tape = run(cell, "odd sizes")
    narrow, q = layer._replace(dtype="float32"), problem(cell, CASES["odd sizes"], dtype="float32")
    J = rl.jacobians(narrow, q.params, rl.forward(narrow, q.params, q.x, q.state)[2])
    assert J.dtype == np.float32
    assert_close(J, rl.jacobians(layer, p.params, tape), 5 * 5 * 1.2e-7)  # steps × units × eps


@pytest.mark.parametrize("cell", CELLS)
def test_the_product_of_jacobians_is_what_backward_does(cell):
    layer, p, tape = run(cell, "stacked")
    _, _, d_initial = rl.backward(layer, p.params, tape, np.zeros_like(p.dy), p.dstate)
    for b in range(CASES["stacked"].batch):
        pulled = np.concatenate([part[:, b].ravel() for part in p.dstate])
        for J in rl.jacobians(layer, p.params, tape)[::-1, b]:
            pulled = J.T @ pulled
        assert_close(pulled, np.concatenate([part[:, b].ravel() for part in d_initial]), 1e-13)


# rows of a batch: eleven of them take more than one slice, and one row that only fills up

WIDE = Case(steps=5, batch=11, hidden=4, lengths=(5, 1, 3, 5, 2, 4, 5, 5, 3, 1, 5))


def measured(cell, case, rows=slice(None)):
    """All measures of a tape of some rows of a case."""
    layer, p = layer_of(cell, case), problem(cell, case)
    state, dstate = (tuple(part[:, rows] for part in parts) for parts in (p.state, p.dstate))
    x, dy, lengths = p.x[:, rows], p.dy[:, rows], np.array(case.all_lengths)[rows]
    tape = rl.forward(layer, p.params, x, state, lengths)[2]
    found = {"jacobians": rl.jacobians(layer, p.params, tape)}
    found["by lag"] = rl.gradient_by_lag(layer, p.params, tape, dy, dstate)
    if case.layers == 1:
        found["plain"] = gradient.plain_gradient_by_lag(layer, p.params, tape, dy)
        if layer.spec.recurrent_matrix and rows == slice(None):  # the gradient of one row may be 0
            found["shares"] = gradient.lag_shares(layer, p.params, tape, dy)
    return found


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_measures_of_a_row_are_those_of_the_row_alone(cell, layers, steps, monkeypatch):
    case = WIDE._replace(layers=layers)
    monkeypatch.setattr(jacobian, "ROWS", steps * case.batch * jacobian.state_size(layer_of(cell, case)))
    found = measured(cell, case)
    for b in range(case.batch):
        alone = measured(cell, case, slice(b, b + 1))
        assert_close(found["jacobians"][:, b], alone["jacobians"][:, 0], 1e-14)
        for name in found.keys() & {"by lag", "plain"}:
            assert found[name][:, b] == pytest.approx(alone[name][:, 0], rel=1e-13, abs=1e-13, nan_ok=True)


@pytest.mark.parametrize("cell", CELLS)
def test_what_memory_held_before_does_not_show(cell, monkeypatch):
    expected, empty = measured(cell, WIDE), memory.empty
    monkeypatch.setattr(memory, "empty", lambda shape, dtype: np.full_like(empty(shape, dtype), np.nan))
    assert_same_bits(measured(cell, WIDE), expected)


# long products


def orthogonal_run(gain, steps, hidden=16):
    layer = rl.recurrent("rnn_linear", 1, hidden, dtype="float64")
    params = rl.init(layer, seed=0, recurrent="orthogonal", gain=gain)
    return layer, params, rl.forward(layer, params, np.zeros((steps, 1, 1)))[2]


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("steps", [1, 100, 10_000])
def test_an_orthogonal_network_scales_every_direction_by_the_gain(gain, steps):
    # |log σ - T log g| ≤ 1e-12 max(1, T |log g|): 0.5^10000 = 1e-3010 and 1.5^10000 = 1e1760 are far outside float64.
    layer, params, tape = orthogonal_run(gain, steps)
    J = rl.jacobians(layer, params, tape)[:, 0]
    bound = 1e-12 * max(1, steps * abs(np.log(gain)))
    assert np.abs(jacobian.product_logs(J) - steps * np.log(gain)).max() <= bound
    if steps <= 100:
        assert np.abs(jacobian.log_singular_values(J) - steps * np.log(gain)).max() <= bound
    dy = np.zeros((steps, 1, 16))
    dy[-1] = 0.25
    decay = rl.gradient_by_lag(layer, params, tape, dy)[:, 0]
    assert np.abs(decay - np.arange(steps + 1) * np.log(gain)).max() <= bound


@pytest.mark.parametrize(("size", "steps"), [(1, 3), (6, 1), (6, 6), (64, 1), (32, 3)])
def test_log_singular_values_are_those_of_the_product(size, steps):
    factors = np.stack([matrix("gaussian", Stream(seed, "test"), size) for seed in range(steps)])
    product = np.eye(size)
    for factor in factors:
        product = factor @ product
    expected = np.log(np.linalg.svd(product, compute_uv=False))
    error = np.abs(jacobian.log_singular_values(factors) - expected)
    # The multiplied product itself is good to eps · σ_max / σ_min in its smallest singular value.
    bound = 1e-9 + size * 2e-16 * np.exp(expected[0] - expected)
    gaps = np.concatenate([[np.inf], -np.diff(expected), [np.inf]])
    apart = np.minimum(gaps[1:], gaps[:-1]) > 0.06
    assert apart.sum() >= size / 5 and np.all(error[apart] <= bound[apart])
    assert np.all(error <= bound + 0.01)


def test_log_singular_values_of_a_long_product_with_a_known_answer():
    # A_t = U_t D_t U_{t-1}ᵀ with Haar U: the singular values are Π D_t, from e^-2600 to e^2600, two of them equal.
    steps, size = 600, 6
    U = np.stack([matrix("orthogonal", Stream(t, "test"), size) for t in range(steps + 1)])
    logs = normal(Stream(0, "test"), (steps, size)) + np.array([4.3, 2.0, 1.0, 0.99, -1.0, -4.3])
    logs[:, 3] = logs[:, 2]
    factors = U[1:] @ (np.exp(logs)[:, :, None] * np.swapaxes(U[:-1], 1, 2))
    found = jacobian.log_singular_values(np.stack([factors, factors[::-1]], axis=1))
    assert found.shape == (2, size)
    assert found[0] == pytest.approx(np.sort(logs.sum(axis=0))[::-1], rel=1e-12, abs=1e-9)


def test_a_singular_factor_gives_minus_infinity():
    factors = np.stack([np.diag([2.0, 0.0]), np.eye(2)])
    assert np.array_equal(jacobian.log_singular_values(factors), [np.log(2), -np.inf])
    assert np.array_equal(jacobian.product_logs(factors), [np.log(2), -np.inf])


# gradient by lag


def naive_log_norms(cell, p, case, b, length):
    """log ‖dL/d(all states)‖ of row b at every lag 0 … length, from the naive gradient of what is left of the run."""
    logs = []
    for t in range(length, -1, -1):
        state = [part[:, None] for part in states_before(cell, p, case, b, t)]
        ends = [part[:, b : b + 1] for part in p.dstate]
        if t < length:
            rest = p.x[t:length, b : b + 1], state, [length - t], p.dy[t:length, b : b + 1], ends
            _, _, ends = naive.gradients(cell, p.params, *rest, case.layers)
        ends = np.stack(ends)  # (S, L, 1, H)
        if t:
            ends[0, -1, 0] += p.dy[t - 1, b]
        logs.append(np.linalg.norm(ends))
    with np.errstate(divide="ignore"):  # a silent unit of relu passes nothing
        return np.log(logs)


@pytest.mark.parametrize(("cell", "name"), of_cells(ONE_WAY))
def test_gradient_by_lag_is_the_norm_of_backwards_state_gradients(cell, name):
    case, (layer, p, tape) = CASES[name], run(cell, name)
    found = rl.gradient_by_lag(layer, p.params, tape, p.dy, p.dstate)
    assert found.shape == (case.steps + 1, case.batch)
    for b, length in enumerate(case.all_lengths):
        assert found[: length + 1, b] == pytest.approx(naive_log_norms(cell, p, case, b, length), abs=1e-12)
        assert np.isnan(found[length + 1 :, b]).all()


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_by_lag_without_final_states_and_by_replica(cell):
    layer, p, together, alone = run_replicas(cell, "lengths")
    dy = np.stack([problem(cell, CASES["lengths"], seed).dy for seed in range(3)])
    found = rl.gradient_by_lag(layer, *together, dy)
    for r, one in enumerate(alone):
        assert_same_bits(found[r], rl.gradient_by_lag(layer, *one, dy[r]))
    norms = np.log(np.linalg.norm(dy, axis=-1))  # (R, T, B); at lag 0 there is nothing but dy at the end
    ends = norms[:, np.array(CASES["lengths"].lengths) - 1, np.arange(4)]
    assert found[:, 0] == pytest.approx(ends, abs=1e-14)


def test_no_gradient_is_minus_infinity():
    layer, p, tape = run("lstm", "odd sizes")
    assert np.all(rl.gradient_by_lag(layer, p.params, tape, np.zeros_like(p.dy)) == -np.inf)


@pytest.mark.parametrize("bias", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_cell_gradient_of_zero_weights_decays_as_the_forget_gate(bias, dtype):
    # σ(0)^10000 = 1e-3010: 1e-12 of the logarithm in float64; a float32 gate is off by eps at each of the 10,000 steps.
    layer = rl.recurrent("lstm", 1, 3, dtype=dtype)
    params = rl.init(layer, forget_bias=bias, gain=0.0, input_gain=0.0)
    steps = 10_000
    tape = rl.forward(layer, params, np.ones((steps, 1, 1), dtype))[2]
    dc = np.array([[[3.0, 0.0, 4.0]]], dtype)
    decay = rl.gradient_by_lag(layer, params, tape, np.zeros((steps, 1, 3), dtype), (np.zeros_like(dc), dc))[:, 0]
    expected = np.log(5) + np.log(10) * theory.forget_decay(bias, np.arange(steps + 1))
    bound = 1e-12 * np.maximum(1, np.abs(expected)) if dtype == "float64" else 1.2e-7 * steps
    assert np.all(np.abs(decay - expected) <= bound)


# the share of each lag

WITH_MATRIX = [name for name, cell in CELLS.items() if cell.recurrent_matrix]
# Normalised over one unit nothing depends on W_hh: its gradient is 0 and has no shares.
NOTHING = [(cell, name) for cell in CELLS for name in FLAT if CELLS[cell].norm and CASES[name].hidden == 1]
SHARED = [(cell, name) for cell, name in of_cells(FLAT) if cell in WITH_MATRIX and (cell, name) not in NOTHING]


def naive_shares(cell, p, case):
    """⟨g_k, g⟩ / ‖g‖² with g_k the gradient of W_hh from the step that lies k before the end of each row."""
    parts = np.zeros((case.steps, *p.params["weight_hh_l0"].shape))
    for b, length in enumerate(case.all_lengths):
        _, passes = naive.run_row(cell, p.params, p.x[:length, b], [s[:, b] for s in p.state], 1, 1)
        d_state = np.zeros((len(p.state), case.hidden))
        for t, x, old, _, _ in reversed(passes["_l0"]):
            d_state[0] += p.dy[t, b]
            blocks = naive.step_jacobian(cell, naive.of_pass(p.params, "_l0"), x, old)
            parts[length - 1 - t] += (blocks["weight_hh"] @ d_state.ravel()).reshape(parts.shape[1:])
            d_state = np.stack([blocks[f"old {s}"] @ d_state.ravel() for s in range(len(old))])
    g = parts.sum(axis=0)
    return parts.reshape(case.steps, -1) @ g.ravel() / np.sum(g**2)


@pytest.mark.parametrize(("cell", "name"), SHARED)
def test_lag_shares_are_those_of_brute_force_and_sum_to_one(cell, name):
    case, (layer, p, tape) = CASES[name], run(cell, name)
    shares = gradient.lag_shares(layer, p.params, tape, p.dy)
    assert shares.shape == (case.steps,) and abs(shares.sum() - 1) < 1e-14
    assert_close(shares, naive_shares(cell, p, case), 1e-11)


@pytest.mark.parametrize("cell", WITH_MATRIX)
def test_lag_shares_of_a_replica_are_those_of_the_network_alone(cell):
    layer, _, together, alone = run_replicas(cell, "lengths")
    dy = np.stack([problem(cell, CASES["lengths"], seed).dy for seed in range(3)])
    found = gradient.lag_shares(layer, *together, dy)
    for r, one in enumerate(alone):
        assert_close(found[r], gradient.lag_shares(layer, *one, dy[r]), 1e-13)


# Lyapunov exponents


def linear_network(W):
    layer = rl.recurrent("rnn_linear", 1, len(W), dtype="float64")
    return layer, rl.init(layer, input="identity") | {"weight_hh_l0": W}


def test_lyapunov_exponents_of_a_linear_network_are_log_eigenvalues():
    # Not normal, real eigenvalues a factor 1.2 apart: the directions settle as 1.2^-t, 1e-16 after 200 steps.
    moduli = 1.2 ** np.arange(3, -5, -1.0)
    V = np.eye(8) + 0.4 * matrix("gaussian", Stream(0, "test"), 8)
    layer, params = linear_network(V @ np.diag(moduli * (-1) ** np.arange(8)) @ np.linalg.inv(V))
    found = rl.lyapunov(layer, params, np.zeros((400, 2, 1)), settle=300)
    assert found.shape == (2, 8)
    assert np.abs(found - np.log(moduli)).max() < 1e-11
    top = rl.lyapunov(layer, params, np.zeros((400, 2, 1)), count=3, settle=300)
    assert np.abs(top - found[:, :3]).max() < 1e-11


def test_lyapunov_exponents_of_a_gaussian_linear_network():
    # Complex pairs turn for ever: |exponent - log|λ|| ≤ log κ(V) / T with κ(V) ≈ 100, at T = 4000 below 2e-3.
    W = matrix("gaussian", Stream(0, "test"), 16)
    values, V = np.linalg.eig(W)
    layer, params = linear_network(W)
    found = rl.lyapunov(layer, params, np.zeros((4200, 1, 1)), settle=200)[0]
    expected = np.sort(np.log(np.abs(values)))[::-1]
    assert np.abs(found - expected).max() < 2 * np.log(np.linalg.cond(V)) / 4000
    assert found.sum() == pytest.approx(np.linalg.slogdet(W)[1], abs=1e-12)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5])
def test_lyapunov_exponents_of_an_orthogonal_network_are_the_log_gain(gain):
    layer, params, _ = orthogonal_run(gain, 1)
    found = rl.lyapunov(layer, params, np.zeros((300, 1, 1)))
    assert np.abs(found - np.log(gain)).max() < 1e-14


def forward_exponents(layer, params, x, first, last, settle):
    """The textbook's way (Benettin et al. 1980): tangents pushed forward from step first - settle, QR at each step."""
    tape = rl.forward(layer, params, x)[2]
    Q, total = np.eye(jacobian.state_size(layer)), 0.0
    for t, J in enumerate(rl.jacobians(layer, params, tape)[first - settle : last, 0], start=first - settle):
        Q, R = np.linalg.qr(J @ Q)
        total = total + np.log(np.abs(np.diag(R))) * (t >= first)
    return np.sort(total / (last - first))[::-1]


@pytest.mark.parametrize(("cell", "gain"), [("rnn_tanh", 1.6), ("lstm", 3.0), ("gru", 3.0)])
def test_lyapunov_exponents_are_those_of_forward_tangents(cell, gain):
    # Over the same steps, tangents settled before and cotangents behind them: a sum over T steps differs only by the
    # overlap of the two frames at the ends, measured at up to 5 and no more for four times the steps.
    layer = rl.recurrent(cell, 4, 12, dtype="float64")
    params = rl.init(layer, seed=1, recurrent="gaussian", gain=gain)
    for steps in (300, 1200):
        x = normal(Stream(0, "test"), (steps + 300, 1, 4))
        found = rl.lyapunov(layer, params, x, burn_in=200, settle=100)[0]
        expected = forward_exponents(layer, params, x, 200, 200 + steps, 100)
        assert found.shape == (jacobian.state_size(layer),)
        assert np.abs(found - expected).max() * steps < 8


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru_reset_before"])
def test_lyapunov_exponents_sum_to_the_log_determinant(cell):
    layer = rl.recurrent(cell, 4, 6, num_layers=2, dtype="float64")
    params = rl.init(layer, seed=1, recurrent="gaussian", gain=1.5)
    x = normal(Stream(0, "test"), (60, 3, 4))
    J = rl.jacobians(layer, params, rl.forward(layer, params, x)[2])
    volume = np.linalg.slogdet(J)[1].sum(axis=0)  # (B,)
    assert rl.lyapunov(layer, params, x).sum(axis=-1) * 60 == pytest.approx(volume, rel=1e-12)


def test_lyapunov_exponents_of_a_replica_are_those_of_the_network_alone():
    layer = rl.recurrent("lstm", 4, 6, dtype="float64")
    params, x = rl.init(layer, seed=[1, 2, 3], recurrent="gaussian"), normal(Stream(0, "test"), (30, 2, 4))
    found = rl.lyapunov(layer, params, x, count=3)
    for r in range(3):
        alone = rl.lyapunov(layer, {name: value[r] for name, value in params.items()}, x, count=3)
        assert_close(found[r], alone, 1e-13)


EXPONENTS = [(500, 2.0, 0.0, 0.15472), (500, 1.5, 0.1, 0.02620), (1000, 1.5, 0.0, 0.06522)]


@pytest.mark.parametrize(("size", "gain", "drive", "expected"), EXPONENTS)
def test_largest_exponent_is_that_of_the_mean_field(size, gain, drive, expected):
    # One W, 200 steps for the state, 20 for the direction, 680 averaged: ±0.01 for the finite size. Near the onset of
    # chaos 500 units are too few for one W: at g = 1.5, c = 0 six W of 500 × 500 gave the limit - 0.009 ± 0.004 and one
    # of them - 0.023, eight of 1000 × 1000 the limit - 0.002 ± 0.001.
    layer = rl.recurrent("rnn_tanh", size, size, dtype="float64")
    params = rl.init(layer, seed=0, recurrent="gaussian", input="identity", gain=gain)
    x = np.sqrt(drive) * normal(Stream(0, "test input"), (900, 1, size))
    state = (normal(Stream(0, "test state"), (1, 1, size)),)
    found = rl.lyapunov(layer, params, x, state, count=1, burn_in=200, settle=20)[0, 0]
    assert theory.mean_field("tanh", gain, drive).exponent == pytest.approx(expected, abs=1e-5)
    assert abs(found - expected) < 0.01


# Gaussian products: zero free parameters


def test_qr_of_gaussian_products_gives_newmans_exponents():
    # Fresh 16 × 16 matrices: each step adds an independent ½ ln(χ²_{N-i+1} / N). n = 60 products of 200 steps; the
    # s.e. of λ_1 is 0.0017 for λ_1 = -0.0318, of λ_16 0.010 for -1.67.
    size, steps, count = 16, 200, 60
    factors = normal(Stream(0, "test"), (steps, count, size, size)) / np.sqrt(size)
    exponents = jacobian.product_logs(factors) / steps
    expected = theory.gaussian_product_exponents(size)
    deviation = np.sqrt(polygamma(1, (size - np.arange(size)) / 2) / 4 / steps)
    z = assert_mean(exponents, expected, effect=expected, sd=deviation, what="Newman")
    assert np.sum(z**2) < 45  # χ² with 16 degrees of freedom: 1.4e-4


GAIN = 1.1


@cache
def gaussian_steps():
    """8 steps of 1500 networks with fresh weights each, W (T, R, N, N), N = 32."""
    layer = rl.recurrent("rnn_linear", 1, 32, dtype="float64")
    networks = [rl.init(layer, seed=range(1500 * t, 1500 * (t + 1)), recurrent="gaussian", gain=GAIN) for t in range(8)]
    return layer, networks


@cache
def log_gradient_steps():
    """ln of the factor by which each step of the backward kernel changes a gradient, (T, R)."""
    layer, networks = gaussian_steps()
    d_state, logs = np.zeros((1500, 1, 1, 32)), []
    d_state[..., 0] = 1
    for params in networks:
        tape = rl.forward(layer, params, np.zeros((1, 1, 1)))[2]
        _, _, (d_new,) = rl.backward(layer, params, tape, np.zeros((1500, 1, 1, 32)), (d_state,))
        logs.append(np.log(np.linalg.norm(d_new, axis=-1) / np.linalg.norm(d_state, axis=-1))[:, 0, 0])
        d_state = d_new
    return np.stack(logs)


def test_log_gradient_has_the_exact_mean_and_variance():
    # n = 12,000 independent steps of 32 units: mean ln 1.1 - 0.0158, s.e. 0.0012; variance 0.0161, s.e. 0.0002.
    logs, (mean, variance) = log_gradient_steps().ravel(), theory.log_gradient_moments(32, GAIN)
    assert_mean(logs, mean, effect=mean - np.log(GAIN))
    assert_mean((logs - mean) ** 2, variance, effect=variance)
    # Over 8 steps mean and variance add up; n = 1500.
    total = log_gradient_steps().sum(axis=0)
    assert_mean(total, 8 * mean, effect=8 * (mean - np.log(GAIN)))
    assert_mean((total - 8 * mean) ** 2, 8 * variance, effect=8 * variance)


def test_the_mean_square_gradient_grows_as_the_gain():
    # n = 1500: g^(2T) = 4.595 exactly, s.e. 0.09, while the typical square exp(2 E ln) is 3.57.
    mean, _ = theory.log_gradient_moments(32, GAIN)
    squares = np.exp(2 * log_gradient_steps().sum(axis=0))
    assert_mean(squares, GAIN**16, effect=GAIN**16 - np.exp(16 * mean))
    assert_not_mean(squares, np.exp(16 * mean))


def test_singular_values_of_products_have_the_exact_moments():
    # n = 6000 products of two matrices of 32 units: m₂ = 3.097 with s.e. 0.007, not yet the Fuss–Catalan 3 of N → ∞.
    _, networks = gaussian_steps()
    W = [params["weight_hh_l0"] / GAIN for params in networks]
    squares = np.linalg.svd(np.concatenate(W[::2]) @ np.concatenate(W[1::2]), compute_uv=False) ** 2
    first, second = theory.gaussian_product_moments(32, 2)
    limit = theory.fuss_catalan_moment(2, 2)
    assert_mean(squares.mean(axis=1), first, effect=1)
    assert_mean(np.mean(squares**2, axis=1), second, effect=second - limit)
    assert_not_mean(np.mean(squares**2, axis=1), limit)


def test_the_limit_of_the_norm_is_not_reached_at_256_units():
    # n = 60 products of 10 steps: the norm is 4.96, s.e. 0.03, and not √(11^11 / 10^10) = 5.341.
    product = np.eye(256)
    for step in range(10):
        product = normal(Stream(0, "test", step), (60, 256, 256)) / 16 @ product
    norms, limit = spectrum.spectral_norm(product), theory.product_top_singular_value(10)
    assert_not_mean(norms, limit)
    assert np.std(norms, ddof=1) / np.sqrt(60) < (limit - norms.mean()) / 10


# numbers of one matrix


def test_eigenvalues_and_singular_values_come_largest_first():
    W = np.stack([np.diag([1.0, -3.0, 2.0]), np.diag([0.5, 0.1, -0.2])])
    assert np.array_equal(spectrum.eigenvalues(W), [[-3, 2, 1], [0.5, -0.2, 0.1]])
    assert np.array_equal(spectrum.singular_values(W), [[3, 2, 1], [0.5, 0.2, 0.1]])
    assert np.array_equal(spectrum.spectral_radius(W), [3, 0.5])
    assert np.array_equal(spectrum.spectral_norm(W[:, :2]), [3, 0.5])


@pytest.mark.parametrize("size", [2, 3, 9, 20])
def test_numerical_radius_of_a_nilpotent_jordan_block(size):
    # cos(π/(N+1)); its numerical range is a disc (Haagerup & de la Harpe 1992).
    block = np.eye(size, k=1)
    assert spectrum.numerical_radius(block) == pytest.approx(np.cos(np.pi / (size + 1)), rel=1e-12)
    assert spectrum.henrici_departure(block) == pytest.approx(np.sqrt(size - 1), rel=1e-12)


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_numerical_radius_of_normal_matrices_is_the_spectral_radius():
    Q = matrix("orthogonal", Stream(0, "test"), 9)
    normal_matrices = [1.7 * Q, Q @ np.diag(np.linspace(-2, 1, 9)) @ Q.T, Q - Q.T, 1.3 * rotation(0.7), rotation(3.1)]
    for W in normal_matrices:
        assert spectrum.numerical_radius(W) == pytest.approx(spectrum.spectral_radius(W), rel=1e-8)
        assert spectrum.henrici_departure(W) < 1e-6 * np.linalg.norm(W)  # √eps: a root of a difference


def test_numerical_radius_of_two_by_two_is_half_the_long_axis():
    # [[a, b], [0, d]] real: an ellipse with foci a, d and minor axis |b|, so w = |a+d|/2 + √((a-d)² + b²)/2.
    for a, b, d in ((1.0, 2.0, 3.0), (-1.0, 0.5, 0.2), (0.3, -4.0, -0.3)):
        expected = abs(a + d) / 2 + np.hypot(a - d, b) / 2
        W = np.array([[a, b], [0, d]])
        assert spectrum.numerical_radius(W) == pytest.approx(expected, rel=1e-8)
        assert spectrum.henrici_departure(W) == pytest.approx(abs(b), rel=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.5, 2.9])
def test_numerical_radius_of_a_complex_jordan_block(angle):
    # Z = [[e^{iα}, b], [0, e^{iα}]]: a disc of radius |b|/2 around e^{iα}, so w = 1 + |b|/2; W is its real form.
    W = np.kron(np.eye(2), rotation(angle)) + 0.8 * np.kron(np.eye(2, k=1), np.eye(2))
    assert spectrum.numerical_radius(W) == pytest.approx(1.4, rel=1e-8)
    assert spectrum.henrici_departure(W) == pytest.approx(0.8 * np.sqrt(2), rel=1e-7)


def test_numerical_radius_stands_between_radius_and_norm_and_bounds_powers():
    W = np.stack([matrix("gaussian", Stream(seed, "test"), 12) for seed in range(20)])
    w, radius, norm = spectrum.numerical_radius(W), spectrum.spectral_radius(W), spectrum.spectral_norm(W)
    assert w.shape == (20,) and np.all(radius <= w) and np.all(w <= norm) and np.all(norm <= 2 * w)
    for power in (2, 5, 20):  # Berger 1965: w(W^T) ≤ w(W)^T
        powers = np.linalg.matrix_power(W, power)
        assert np.all(spectrum.numerical_radius(powers) <= w**power * (1 + 1e-8))
        assert np.all(spectrum.spectral_norm(powers) <= 2 * w**power)
    assert np.array_equal(w[:1], spectrum.numerical_radius(W[:1]))


def test_numerical_radius_of_two_equal_peaks():
    # Two rotations, the larger half a search cell off the grid: the search may take the other, and loses 1e-4.
    W = np.zeros((4, 4))
    W[:2, :2], W[2:, 2:] = rotation(10 * np.pi / 64), 1.0001 * rotation(30.5 * np.pi / 64)
    assert spectrum.numerical_radius(W) == pytest.approx(1.0001, rel=1 - np.cos(np.pi / 128))


# inspection of weights


@pytest.mark.parametrize("replicas", [None, 3])
def test_inspect_weights_tells_every_gate_of_every_pass(replicas):
    layer = rl.recurrent("lstm", 3, 8, num_layers=2, bidirectional=True, dtype="float64")
    seed = 4 if replicas is None else list(range(replicas))
    params = rl.init(layer, seed, recurrent="gaussian", gain=1.3, forget_bias=1.0)
    rows = inspect_weights(layer, params)
    passes = [suffix[1:] for _, _, suffix in layer.passes]
    assert [(row["pass"], row["gate"]) for row in rows] == [(name, gate) for name in passes for gate in "ifgo"]
    for row in rows:
        g = "ifgo".index(row["gate"])
        W = params[f"weight_hh_{row['pass']}"][..., 8 * g : 8 * g + 8, :]
        for name in ("spectral_radius", "spectral_norm", "numerical_radius", "henrici_departure"):
            assert row[name] == pytest.approx(np.mean(getattr(spectrum, name)(W)), rel=1e-14)
        assert row["mean_bias"] == float(row["gate"] == "f")
        if row["gate"] == "f":
            assert row["half_life"] == pytest.approx(theory.half_life(1.0), rel=1e-14)
        else:
            assert np.isnan(row["half_life"])


def test_the_half_life_is_that_of_the_state_at_the_biases():
    """ln 2 / -ln k with k = 1 - σ(b_z) and f / (f + i); without W_hh there is no spectrum."""
    sigma = 1 / (1 + np.exp(-1.0))
    for cell, gate, keeps in (("min_gru", "z", sigma), ("min_lstm", "f", sigma / (sigma + 0.5)), ("gru", "z", sigma)):
        layer = rl.recurrent(cell, 3, 8, dtype="float64")
        rows = {row["gate"]: row for row in inspect_weights(layer, rl.init(layer, forget_bias=1.0))}
        assert rows[gate]["half_life"] == pytest.approx(np.log(2) / -np.log(keeps), rel=1e-14)
        assert np.isnan([row["half_life"] for name, row in rows.items() if name != gate]).all()
        assert np.isnan(rows[gate]["spectral_radius"]) == cell.startswith("min")


def test_a_cell_without_a_gate_that_keeps_has_no_half_life():
    layer = rl.recurrent("rnn_tanh", 3, 8)
    (row,) = inspect_weights(layer, rl.init(layer, recurrent="spectral_radius", gain=0.9))
    assert row["spectral_radius"] == pytest.approx(0.9, rel=1e-5) and np.isnan(row["half_life"])


# refusals


@pytest.mark.parametrize("cell", sorted(set(CELLS) - set(WITH_MATRIX)))
def test_shares_of_a_matrix_that_is_not_there_are_refused(cell):
    layer, p, tape = run(cell, "odd sizes")
    with pytest.raises(ValueError, match=f"layer: expected a cell with a recurrent matrix, got cell {cell}"):
        gradient.lag_shares(layer, p.params, tape, p.dy)


def test_a_bidirectional_layer_is_refused():
    layer, p, tape = run("gru", "bidirectional")
    for call in (
        lambda: rl.jacobians(layer, p.params, tape),
        lambda: rl.gradient_by_lag(layer, p.params, tape, p.dy),
        lambda: gradient.lag_shares(layer, p.params, tape, p.dy),
        lambda: rl.lyapunov(layer, p.params, p.x),
    ):
        with pytest.raises(ValueError, match="layer: expected one direction of time.*bidirectional"):
            call()


@pytest.mark.parametrize("measure", [rl.gradient_by_lag, gradient.lag_shares, gradient.plain_gradient_by_lag])
def test_a_checkpointed_tape_and_no_gradient_are_refused(measure):
    layer, p, tape = run("lstm", "odd sizes")
    with pytest.raises(ValueError, match="dy: .*NumPy array.*None"):
        measure(layer, p.params, tape, None)
    tape = rl.forward(layer, p.params, p.x, checkpoint=True)[2]
    for call in (lambda: measure(layer, p.params, tape, p.dy), lambda: rl.jacobians(layer, p.params, tape)):
        with pytest.raises(ValueError, match="tape: .*whole history.*checkpointed"):
            call()


def test_lag_shares_of_a_stack_are_refused():
    layer, p, tape = run("gru", "stacked")
    with pytest.raises(ValueError, match="layer: expected one layer.*3"):
        gradient.lag_shares(layer, p.params, tape, p.dy)


@pytest.mark.parametrize("measure", [rl.gradient_by_lag, gradient.lag_shares], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dy: dy[:, :, 1:], r"dy: .*\(5, 3, 5\).*\(5, 3, 4\)"),
        (lambda dy: dy[1:], r"dy: .*\(5, 3, 5\).*\(4, 3, 5\)"),
        (lambda dy: dy[None], "dy: .*shape"),
        (lambda dy: dy.astype(np.float32), "dy: .*float64.*float32"),
        (lambda dy: dy * np.nan, "dy: .*finite.*nan"),
        (lambda dy: dy.tolist(), "dy: .*NumPy array.*list"),
    ],
)
def test_a_wrong_output_gradient_is_refused(measure, change, message):
    layer, p, tape = run("gru", "odd sizes")
    with pytest.raises(ValueError, match=message):
        measure(layer, p.params, tape, change(p.dy))


def test_wrong_final_gradients_and_foreign_params_are_refused():
    layer, p, tape = run("lstm", "odd sizes")
    with pytest.raises(ValueError, match="dstate: .*2 arrays.*tuple of 1"):
        rl.gradient_by_lag(layer, p.params, tape, p.dy, p.dstate[:1])
    other = rl.init(layer, seed=[1, 2])
    for call in (lambda: rl.jacobians(layer, other, tape), lambda: rl.gradient_by_lag(layer, other, tape, p.dy)):
        with pytest.raises(ValueError, match="tape: .*R = 2.*R = None"):
            call()
    with pytest.raises(ValueError, match="params: .*missing.*bias_hh_l0"):
        rl.jacobians(layer, {k: v for k, v in p.params.items() if k != "bias_hh_l0"}, tape)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count: .*≥ 1.*0"),
        ({"count": 6}, "count: .*1 to 5.*6"),
        ({"count": 1.5}, "count: .*1.5"),
        ({"burn_in": -1}, "burn_in: .*-1"),
        ({"settle": -1}, "settle: .*-1"),
        ({"burn_in": 3, "settle": 2}, "burn_in, settle: .*5 steps"),
    ],
)
def test_lyapunov_refuses(settings, message):
    layer, p, _ = run("gru", "odd sizes")
    with pytest.raises(ValueError, match=message):
        rl.lyapunov(layer, p.params, p.x, **settings)


@pytest.mark.parametrize("measure", [gradient.lag_shares, gradient.plain_gradient_by_lag])
def test_measures_of_one_layer_refuse_a_stack_and_a_wrong_gradient(measure):
    for num_layers, wrong, message in ((2, 0, "layer: expected one layer"), (1, 1, "dy: expected shape")):
        layer = rl.recurrent("gru", 2, 3, num_layers=num_layers, dtype="float64")
        params = rl.init(layer)
        y, _, tape = rl.forward(layer, params, np.ones((4, 2, 2)))
        with pytest.raises(ValueError, match=message):
            measure(layer, params, tape, np.ones((4 + wrong, *y.shape[1:])))


def test_mean_field_of_a_network_knows_the_scale_of_its_weights():
    expected = theory.mean_field("tanh", 3**-0.5, 0.1).exponent
    assert theory.network_exponent("rnn_tanh", "uniform", 1.0, 0.1) == expected
    assert np.isnan(theory.network_exponent("lstm", "gaussian", 1.0, 0.1))
    assert np.isnan(theory.network_exponent("rnn_antisymmetric", "gaussian", 1.0, 0.1))
    assert np.isnan(theory.network_exponent("rnn_tanh", "identity", 1.0, 0.1))


def test_mean_field_gain_of_an_initialiser_is_that_of_its_entries():
    for name, entry_gain in ENTRY_GAIN.items():
        W = np.stack([matrix(name, Stream(seed, "test entries"), 64) for seed in range(40)])
        assert np.sqrt(64 * np.mean(W**2)) == pytest.approx(entry_gain, rel=0.01), name  # s.e. below 0.002
