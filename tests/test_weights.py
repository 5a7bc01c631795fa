"""Every initialiser against its exact distribution, and where `init` puts what it draws."""

from functools import cache

import numpy as np
import pytest
from cases import KINDS
from chance import assert_distribution, assert_mean, assert_not_mean
from scipy import stats

import recurlab as rl
from recurlab.cells import CELLS
from recurlab.measures import theory
from recurlab.random import Stream, normal, uniform
from recurlab.weights import INITS, matrix

GATED = [name for name, cell in CELLS.items() if cell.holds]
PLAIN = [name for name, cell in CELLS.items() if not cell.holds]


@cache
def draws(name, count, rows, columns=None):
    """`count` independent matrices (count, rows, columns) of an initialiser."""
    return np.stack([matrix(name, Stream(seed, "test"), rows, columns) for seed in range(count)])


def powers(matrices, k):
    """tr Wᵏ of each."""
    return np.trace(np.linalg.matrix_power(matrices, k), axis1=1, axis2=2)


# entries


def test_gaussian_entries():
    # One 300 × 200 matrix: n = 60,000 entries; 1/rows instead of 1/columns would change E W² by a third.
    entries = matrix("gaussian", Stream(0, "test"), 300, 200).ravel() * np.sqrt(200)
    assert_distribution(entries, stats.norm.cdf)
    for power, expected in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert_mean(entries**power, expected, effect=1)


@pytest.mark.parametrize(("name", "bound"), [("uniform", 1 / np.sqrt(300)), ("glorot", np.sqrt(6 / 500))])
def test_uniform_entries(name, bound):
    entries = matrix(name, Stream(0, "test"), 300, 200).ravel() / bound  # n = 60,000
    assert np.abs(entries).max() <= 1 and entries.max() - entries.min() > 2 - 20 / entries.size
    assert_distribution(entries, stats.uniform(-1, 2).cdf)
    assert_mean(entries**2, 1 / 3, effect=1 / 3)


def test_entries_do_not_depend_on_their_neighbours():
    # Along a row and along a column, where Box–Muller pairs and rows meet: n = 59,000.
    W = matrix("gaussian", Stream(0, "test"), 300, 200) * np.sqrt(200)
    for products in (W[:, 1:] * W[:, :-1], W[1:] * W[:-1], W[:, 1:] ** 2 * W[:, :-1] ** 2 - 1):
        assert_mean(products.ravel(), 0, effect=0.5)


# orthogonal and unitary matrices


@cache
def orthogonal_matrices():
    return draws("orthogonal", 4000, 32)


def test_orthogonal_is_orthogonal():
    Q = orthogonal_matrices()[:50]
    assert np.abs(np.swapaxes(Q, 1, 2) @ Q - np.eye(32)).max() < 1e-14 * 32


@pytest.mark.parametrize(("k", "power", "expected"), [(1, 1, 0), (1, 2, 1), (1, 4, 3), (2, 1, 1), (3, 1, 0), (2, 2, 3)])
def test_orthogonal_traces_are_those_of_haar(k, power, expected):
    # n = 4000 of size 32: s.e. of E tr Q 0.016, of E (tr Q)⁴ 0.15. Without the signs, E tr Q = -3.39.
    effect = {1: 3.39, 2: 10, 4: 130}[power] if k == 1 else 2
    assert_mean(powers(orthogonal_matrices(), k) ** power, expected, effect=effect)


def test_raw_qr_is_not_haar():
    Q = np.linalg.qr(normal(Stream(0, "test"), (4000, 32, 32)))[0]
    trace = powers(Q, 1)
    assert_mean(trace, -3.39, effect=3.39)  # the published value, two digits; s.e. 0.015
    for power, expected in ((1, 0), (2, 1), (4, 3)):
        assert_not_mean(trace**power, expected)


@pytest.mark.parametrize(("rows", "columns"), [(12, 5), (5, 12), (7, 7)])
def test_rectangular_orthogonal_has_orthonormal_sides_and_haar_entries(rows, columns):
    Q = draws("orthogonal", 1500, rows, columns)
    assert Q.shape[1:] == (rows, columns)
    tall = Q if rows >= columns else np.swapaxes(Q, 1, 2)
    assert np.abs(np.swapaxes(tall, 1, 2) @ tall - np.eye(min(rows, columns))).max() < 1e-14
    # An entry of a Haar column in n dimensions: q² ~ Beta(1/2, (n-1)/2), q symmetric.
    law = stats.beta(0.5, (max(rows, columns) - 1) / 2)
    for i, j in ((0, 0), (rows - 1, columns - 1), (rows - 1, 0)):
        assert_distribution(np.sign(Q[:, i, j]) * law.cdf(Q[:, i, j] ** 2), stats.uniform(-1, 2).cdf)


@cache
def unitary_matrices():
    W = draws("unitary", 4000, 32)
    return W, W[:, :16, :16] + 1j * W[:, 16:, :16]


def test_unitary_is_the_real_form_of_a_unitary_matrix():
    W, U = unitary_matrices()
    assert np.array_equal(W[:, :16, :16], W[:, 16:, 16:]) and np.array_equal(W[:, 16:, :16], -W[:, :16, 16:])
    assert np.abs(np.swapaxes(U[:50].conj(), 1, 2) @ U[:50] - np.eye(16)).max() < 1e-13
    found = np.linalg.eigvals(W[0])
    assert np.abs(np.abs(found) - 1).max() < 1e-13
    pairs = np.linalg.eigvals(U[0])
    wanted = np.concatenate([pairs, pairs.conj()])
    assert np.abs(np.sort_complex(np.round(found, 10)) - np.sort_complex(np.round(wanted, 10))).max() < 1e-9


def test_unitary_traces_are_those_of_haar():
    # Diaconis & Shahshahani 1994: E|tr U|² = 1, E|tr U|⁴ = 2, E|tr U²|² = 2, and every E tr Uᵏ = 0; n = 4000.
    _, U = unitary_matrices()
    first, second = powers(U, 1), powers(U, 2)
    for part in (first.real, first.imag, second.real, second.imag):
        assert_mean(part, 0, effect=1)
    assert_mean(np.abs(first) ** 2, 1, effect=1)
    assert_mean(np.abs(first) ** 4, 2, effect=2)
    assert_mean(np.abs(second) ** 2, 2, effect=1)


def test_raw_complex_qr_is_not_haar():
    parts = normal(Stream(0, "test"), (2, 2000, 16, 16))
    assert_not_mean(powers(np.linalg.qr(parts[0] + 1j * parts[1])[0], 1).real, 0)


# spectra of Gaussian matrices


@cache
def ginibre_eigenvalues():
    W = draws("complex_gaussian", 300, 128)
    return np.linalg.eigvals(W[:, :64, :64] + 1j * W[:, 64:, :64])


def test_complex_gaussian_is_the_real_form_of_complex_ginibre():
    W = draws("complex_gaussian", 300, 128)
    assert np.array_equal(W[:, :64, :64], W[:, 64:, 64:]) and np.array_equal(W[:, 64:, :64], -W[:, :64, 64:])
    assert_mean(np.sum(W**2, axis=(1, 2)) / 128, 1, effect=1)  # E|Z_ij|² = 1/64, each entry twice
    radius = np.abs(np.linalg.eigvals(W[0])).max()
    assert radius == pytest.approx(np.abs(ginibre_eigenvalues()[0]).max(), rel=1e-10)


def test_complex_gaussian_radius_is_kostlans():
    # n = 300 of 64 × 64: E ρ = 1.0679, s.e. 0.0022; the circular law would give 1.
    radii = np.abs(ginibre_eigenvalues()).max(axis=1)
    assert_mean(radii, theory.ginibre_radius(64)[0], effect=theory.ginibre_radius(64)[0] - 1)
    assert_distribution(radii, lambda r: theory.ginibre_radius_cdf(r, 64))


@pytest.mark.parametrize("r", [0.3, 0.7, 1.0])
def test_complex_gaussian_eigenvalues_fill_the_disc(r):
    # Kostlan: the expected number within r is Σ_k P(k, N r²), N r² up to the edge; n = 300.
    shares = np.mean(np.abs(ginibre_eigenvalues()) <= r, axis=1)
    expected = np.mean(stats.gamma.cdf(64 * r**2, np.arange(1, 65)))
    assert_mean(shares, expected, effect=0.1)


def test_gaussian_has_the_expected_number_of_real_eigenvalues():
    # n = 2000 of 32 × 32: 5.02 real eigenvalues, s.e. 0.04; the asymptote √(2N/π) is 4.51.
    real = np.sum(np.linalg.eigvals(draws("gaussian", 2000, 32)).imag == 0, axis=1)
    exact = theory.expected_real_eigenvalues(32)
    assert_mean(real, exact, effect=exact - np.sqrt(64 / np.pi))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize("gain", [0.95, 1.0, 2.5])
def test_spectral_radius_is_the_gain(size, gain):
    W = matrix("spectral_radius", Stream(3, "test"), size, gain=gain)
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(gain, rel=1e-10)


@cache
def sparse_matrices():
    return draws("sparse", 400, 40)


def test_fifteen_weights_leave_every_unit():
    """In h' = φ(W h) a column of W is what leaves a unit: exactly 15 there, and Binomial(40, 15/40) in a row."""
    there = sparse_matrices() != 0
    assert (there.sum(axis=1) == 15).all()
    arriving = there.sum(axis=2)
    assert_mean((arriving - 15.0) ** 2, 15 * (1 - 15 / 40), effect=15 * (1 - 15 / 40))  # 0 if they were rows of W
    assert_mean(there.mean(axis=2), 15 / 40, effect=15 / 40)  # every unit is equally likely to be reached


def test_sparse_weights_are_gaussian_of_radius_one():
    W = sparse_matrices()
    assert np.abs(np.abs(np.linalg.eigvals(W[:20])).max(axis=1) - 1).max() < 1e-10
    entries = W[W != 0].reshape(400, -1)  # 600 each, of a scale that their matrix has by chance: 0.26 · (1 ± 0.06)
    assert_distribution(entries / entries.std(axis=1, keepdims=True), stats.norm.cdf)
    assert np.array_equal(matrix("sparse", Stream(0, "test"), 40, gain=0.95), 0.95 * W[0])
    small = matrix("sparse", Stream(0, "test"), 15)
    assert np.array_equal(small, matrix("spectral_radius", Stream(0, "test"), 15))  # all 15 of 15


def test_default_radius_is_one_over_the_root_of_three():
    # The circular law is universal: at N = 128 the radius times √3 agrees with the Gaussian's own, 60 draws each, s.e.
    # of the difference 0.006; the limit 1/√3 itself is reached from above and the gap closes with N.
    def radii(name, size, count):
        return np.abs(np.linalg.eigvals(draws(name, count, size))).max(axis=1)

    assert_mean(np.sqrt(3) * radii("uniform", 128, 60) - radii("gaussian", 128, 60), 0, effect=1 - 1 / np.sqrt(3))
    gaps = [radii("uniform", size, count).mean() * np.sqrt(3) - 1 for size, count in ((8, 800), (128, 60))]
    assert abs(gaps[1]) < 0.1 and abs(gaps[1]) < abs(gaps[0])
    mean_square = np.mean(draws("uniform", 60, 128) ** 2, axis=(1, 2)) * 128
    assert_mean(mean_square, 1 / 3, effect=2 / 3)


# every initialiser


def test_identity_and_scaled_identity():
    assert np.array_equal(matrix("identity", Stream(0, "test"), 4), np.eye(4))
    assert np.array_equal(matrix("identity", Stream(0, "test"), 4, 3, gain=0.01), 0.01 * np.eye(4, 3))


@pytest.mark.parametrize("name", INITS)
def test_gain_multiplies(name):
    plain, scaled = (matrix(name, Stream(1, "test"), 6, gain=gain) for gain in (1.0, 0.7))
    assert plain.dtype == np.float64 and plain.shape == (6, 6)
    assert np.array_equal(scaled, 0.7 * plain)


@pytest.mark.parametrize("name", sorted(set(INITS) - {"identity"}))
def test_an_address_is_a_matrix(name):
    addresses = [Stream(1, "a"), Stream(2, "a"), Stream(1, "b"), Stream(1, "a", step=1), Stream(1, "a", replica=1)]
    found = {matrix(name, address, 6).tobytes() for address in addresses}
    assert len(found) == 5 and matrix(name, Stream(1, "a"), 6).tobytes() in found


# where init puts it


def layer_of(cell, hidden=8, dtype="float64", layers=2, bidirectional=True):
    return rl.recurrent(cell, 3, hidden, num_layers=layers, bidirectional=bidirectional, dtype=dtype)


def blocks(layer, array, gate):
    """The rows of one gate."""
    g = layer.spec.gates.index(gate)
    return array[..., g * layer.hidden_size : (g + 1) * layer.hidden_size]


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("name", INITS)
def test_every_gate_gets_its_own_block(cell, name):
    layer = layer_of(cell)
    params = rl.init(layer, seed=5, recurrent=name, input="gaussian", gain=0.5, input_gain=2.0)
    for _, _, suffix in layer.passes:
        drawn = {"hh": (name, 0.5), "ih": ("gaussian", 2.0)}
        for part in parts_of(layer):
            weight, (own, gain) = params[f"weight_{part}{suffix}"], drawn[part]
            for g in range(len(layer.spec.gates)):
                address = Stream(5, f"init weight_{part}{suffix}", step=g)
                assert np.array_equal(weight[8 * g : 8 * g + 8], matrix(own, address, 8, weight.shape[1], gain=gain))
            assert not params[f"bias_{part}{suffix}"].any()


def parts_of(layer):
    """Of the weights and biases of a layer: ih, and hh where the cell has a recurrent matrix."""
    return ("ih", "hh") if layer.spec.recurrent_matrix else ("ih",)


def holding_of(layer):
    """The gate that forget_bias sets, and the sign with which its bias holds the state."""
    cell = layer.spec
    return (cell.keeps, 1) if cell.keeps else (cell.writes, -1)


def test_orthogonal_blocks_of_gates_and_layers_are_independent():
    # E tr(Q_aᵀ Q_b) = 0, variance 1 for independent Haar matrices; n = 400 networks, 28 pairs of 2 × 4 gates.
    layer = rl.recurrent("lstm", 3, 8, bidirectional=True, dtype="float64")
    params = rl.init(layer, seed=range(400), recurrent="orthogonal")
    Q = np.concatenate(
        [params[name].reshape(400, 4, 8, 8) for name in ("weight_hh_l0", "weight_hh_l0_reverse")], axis=1
    )
    assert np.abs(np.swapaxes(Q, -1, -2) @ Q - np.eye(8)).max() < 1e-14
    overlaps = np.einsum("raij,rbij->rab", Q, Q)[:, *np.triu_indices(8, 1)]
    assert_mean(overlaps, 0, effect=8, sd=1)  # 8 for two equal blocks
    assert_mean(overlaps**2, 1, effect=63, sd=np.sqrt(2))  # the fourth moment of a trace is 3


def test_uniform_biases_and_peepholes_are_pytorchs():
    layer = rl.recurrent("lstm_peephole", 3, 64, dtype="float64")
    params = rl.init(layer, seed=range(10), bias="uniform")
    for name in ("bias_ih_l0", "bias_hh_l0", "weight_ci_l0", "weight_cf_l0", "weight_co_l0"):
        values = params[name] * 8  # √64
        assert np.abs(values).max() <= 1
        assert_distribution(values, stats.uniform(-1, 2).cdf)
    assert not np.array_equal(params["bias_ih_l0"], params["bias_hh_l0"])
    peepholes = rl.init(layer, seed=range(10), bias="zeros")["weight_ci_l0"]
    assert np.array_equal(peepholes, params["weight_ci_l0"])  # zero biases leave peepholes drawn


def test_the_vectors_of_a_cell_may_come_from_uniform_numbers_in_its_own_way():
    """IndRNN: u itself. LRU: |λ|² uniform, any angle, and γ² = 1 - |λ|², which gives white inputs Var = 1."""
    u = rl.init(rl.recurrent("indrnn", 3, 500, dtype="float64"), seed=1)["weight_u_l0"]
    assert np.array_equal(u, uniform(Stream(1, "init weight_u_l0"), (500,)))
    params = rl.init(rl.recurrent("lru", 3, 1000, num_layers=2, dtype="float64"), seed=1)
    for suffix in ("_l0", "_l1"):
        factor = params[f"weight_lambda_re{suffix}"] + 1j * params[f"weight_lambda_im{suffix}"]
        assert_distribution(np.abs(factor) ** 2, stats.uniform(0, 1).cdf)
        assert_distribution(np.angle(factor), stats.uniform(-np.pi, 2 * np.pi).cdf)
        assert np.abs(np.abs(factor) ** 2 + params[f"weight_gamma{suffix}"] ** 2 - 1).max() < 1e-14
    assert not np.array_equal(params["weight_gamma_l0"], params["weight_gamma_l1"])


@pytest.mark.parametrize("cell", GATED)
def test_forget_bias_stands_in_bias_ih_of_the_gate_that_keeps(cell):
    layer = layer_of(cell)
    plain, params = (rl.init(layer, seed=1, bias="uniform", forget_bias=value) for value in (None, 2.5))
    kept, sign = holding_of(layer)
    opened = cell in ("min_gru", "mgu", "rnn_antisymmetric_gated")  # their gate lets go of the state when open
    assert (kept, sign) == ("f" if "f" in layer.spec.gates else "z", -1 if opened else 1)
    for _, _, suffix in layer.passes:
        assert np.all(blocks(layer, params[f"bias_ih{suffix}"], kept) == sign * 2.5)
        if layer.spec.recurrent_matrix:
            assert np.all(blocks(layer, params[f"bias_hh{suffix}"], kept) == 0)
        for gate in set(layer.spec.gates) - {kept}:
            for name in (f"bias_{part}{suffix}" for part in parts_of(layer)):
                assert np.array_equal(blocks(layer, params[name], gate), blocks(layer, plain[name], gate))
    weights = [name for name in params if name.startswith("weight")]
    assert all(np.array_equal(params[name], plain[name]) for name in weights)


@pytest.mark.parametrize("cell", GATED)
def test_chrono_biases_are_logs_of_uniform_times(cell):
    layer = rl.recurrent(cell, 3, 500, num_layers=2, dtype="float64")
    params = rl.init(layer, seed=1, recurrent="identity", input="identity", bias="uniform", chrono=40)
    holding, sign = holding_of(layer)
    writes = {layer.spec.writes} - {None, holding}
    assert writes == {"i"} & {*layer.spec.gates}
    times = [np.exp(sign * blocks(layer, params[f"bias_ih{suffix}"], holding)) for suffix in ("_l0", "_l1")]
    assert_distribution(times, stats.uniform(1, 38).cdf)  # n = 1000, so the largest lies within 0.4 of the end
    assert np.min(times) >= 1 and 39 - 0.4 < np.max(times) <= 39
    assert abs(np.corrcoef(times)[0, 1]) < 4 / np.sqrt(500)
    for _, _, suffix in layer.passes:
        for gate in writes:
            kept = blocks(layer, params[f"bias_ih{suffix}"], holding)
            assert np.array_equal(blocks(layer, params[f"bias_ih{suffix}"], gate), -kept)
        for gate in layer.spec.gates if layer.spec.recurrent_matrix else ():  # others as drawn
            assert blocks(layer, params[f"bias_hh{suffix}"], gate).any() == (gate not in {holding} | writes)


def test_a_gate_that_forgets_gets_the_opposite_bias():
    """The share that stays is 1 - σ(-b) = σ(b), as in a cell with a gate that keeps."""
    mgu, gru = layer_of("mgu"), layer_of("gru")
    assert mgu.spec.holds == {"f": -1.0}
    for settings in ({"forget_bias": 2.5}, {"chrono": 40}):
        params, other = (rl.init(layer, seed=1, bias="uniform", **settings) for layer in (mgu, gru))
        plain = rl.init(mgu, seed=1, bias="uniform")
        for _, _, suffix in mgu.passes:
            kept = blocks(gru, other[f"bias_ih{suffix}"], "z")
            assert np.array_equal(blocks(mgu, params[f"bias_ih{suffix}"], "f"), -kept)
            assert not blocks(mgu, params[f"bias_hh{suffix}"], "f").any()
            assert np.array_equal(params[f"bias_ih{suffix}"][8:], plain[f"bias_ih{suffix}"][8:])


def test_vectors_with_a_value_start_there_and_others_are_drawn():
    params = rl.init(layer_of("rnn_antisymmetric_gated"), seed=[1, 2], bias="uniform")
    assert all((params[f"weight_eps{end}"] == 0.01).all() for end in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"))
    assert [name for name, cell in CELLS.items() if cell.vectors and not cell.initial_vectors] == ["lstm_peephole"]


def test_chrono_retention_is_the_closed_form():
    # n = 20,000 units; at lag 20 of T_max = 40 the mean is 0.35, s.e. 0.002, where b_f = 1 keeps 0.002.
    layer = rl.recurrent("gru", 1, 20_000, dtype="float64")
    stream_free = rl.init(layer._replace(hidden_size=200), seed=range(100), chrono=40)
    kept = blocks(layer._replace(hidden_size=200), stream_free["bias_ih_l0"], "z").ravel()
    for lag in (1, 20):
        assert_mean(10 ** theory.forget_decay(kept, lag), theory.chrono_retention(40, lag), effect=0.1)


# dtype, replicas


EXTRAS = {cell: [{}, {"bias": "uniform"}] for cell in CELLS}
EXTRAS |= {cell: [*EXTRAS[cell], {"forget_bias": 1.1}, {"chrono": 17}] for cell in GATED}
SETTINGS = [(cell, extra) for cell in ("rnn_tanh", "lstm", "lstm_peephole", "gru") for extra in EXTRAS[cell]]


@pytest.mark.parametrize(("cell", "extra"), SETTINGS, ids=str)
def test_float32_is_rounded_float64(cell, extra):
    for name in INITS:
        wide, narrow = (rl.init(layer_of(cell, dtype=d), 3, recurrent=name, **extra) for d in ("float64", "float32"))
        for key in wide:
            assert narrow[key].dtype == np.float32 and np.array_equal(narrow[key], wide[key].astype(np.float32))


@pytest.mark.parametrize("name", INITS)
def test_a_replica_is_the_network_alone(name):
    layer = layer_of("lstm", dtype="float32")
    seeds, gains, input_gains, forget = [4, 9, 4], [0.5, 1.0, 1.5], [1.0, 2.0, 3.0], [0.0, 1.0, 5.0]
    together = rl.init(layer, seeds, name, gain=gains, input_gain=input_gains, forget_bias=forget)
    for r in range(3):
        alone = rl.init(layer, seeds[r], name, gain=gains[r], input_gain=input_gains[r], forget_bias=forget[r])
        assert all(together[key][r].tobytes() == alone[key].tobytes() for key in alone)
        assert all(together[key].shape == (3, *alone[key].shape) for key in alone)


def test_sequences_broadcast_and_arrays_are_taken_as_lists_are():
    layer = layer_of("gru")
    from_list, from_array = rl.init(layer, [1, 2], chrono=9), rl.init(layer, np.arange(1, 3), chrono=np.full(2, 9))
    assert all(np.array_equal(from_list[key], from_array[key]) for key in from_list)
    gains = rl.init(layer, 7, gain=np.array([0.5, 2.0]))
    assert np.array_equal(4 * gains["weight_hh_l0"][0], gains["weight_hh_l0"][1])
    assert np.array_equal(gains["weight_ih_l0"][0], gains["weight_ih_l0"][1])


# refusals


@pytest.mark.parametrize(
    ("cell", "hidden", "settings", "message"),
    [
        ("rnn_tanh", 7, {"recurrent": "unitary"}, "hidden_size: .*even.*7 × 7"),
        ("rnn_tanh", 7, {"recurrent": "complex_gaussian"}, "hidden_size: .*even.*7 × 7"),
        ("rnn_tanh", 8, {"input": "unitary"}, "unitary: .*square.*8 × 3"),
        ("rnn_tanh", 8, {"input": "spectral_radius"}, "spectral_radius: .*square.*8 × 3"),
        ("rnn_tanh", 8, {"input": "sparse"}, "sparse: .*square.*8 × 3"),
        ("rnn_tanh", 8, {"recurrent": "haar"}, "recurrent: .*orthogonal.*'haar'"),
        ("rnn_tanh", 8, {"input": "haar"}, "input: .*orthogonal.*'haar'"),
        ("rnn_tanh", 8, {"bias": "ones"}, "bias: .*zeros, uniform.*'ones'"),
        ("lstm", 8, {"forget_bias": 1.0, "chrono": 10}, "forget_bias, chrono: .*one of them.*both"),
        ("lstm", 8, {"chrono": 2.9}, "chrono: .*≥ 3.*2.9"),
        ("lstm", 8, {"chrono": [10, 2]}, r"chrono: .*≥ 3.*\[10, 2\]"),
        ("lstm", 8, {"seed": [1, 2], "gain": [[1.0], [2.0]]}, "seed, gain.*equally long"),
        ("lstm", 8, {"seed": [1, 2, 3], "gain": [1.0, 2.0]}, "seed, gain.*equally long"),
        ("lstm", 8, {"gain": []}, "seed, gain.*equally long"),
        ("lstm", 8, {"seed": 1.5}, "seed: .*whole.*1.5"),
        ("lstm", 8, {"seed": "1"}, "seed: .*whole.*1"),
        ("lstm", 8, {"seed": [1, None]}, "seed: .*whole.*None"),
        ("lstm", 8, {"gain": np.nan}, "gain: .*finite.*nan"),
        ("lstm", 8, {"input_gain": "2"}, "input_gain: .*finite.*2"),
        ("lstm", 8, {"forget_bias": [1.0, np.inf]}, "forget_bias: .*finite.*inf"),
        ("lstm", 8, {"chrono": [10, None]}, "chrono: .*finite.*None"),
        ("lstm", 8, {"chrono": np.inf}, "chrono: .*finite.*inf"),
        *(
            (cell, 8, {key: 4.0}, f"forget_bias, chrono: .*{cell}")
            for cell in PLAIN
            for key in ("forget_bias", "chrono")
        ),
    ],
    ids=str,
)
def test_init_refuses(cell, hidden, settings, message):
    with pytest.raises(ValueError, match=message):
        rl.init(layer_of(cell, hidden), **settings)


def test_an_unknown_initialiser_of_one_matrix_is_refused():
    with pytest.raises(ValueError, match="init: .*gaussian.*'haar'"):
        matrix("haar", Stream(0, "test"), 4)
