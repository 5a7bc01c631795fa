"""Every parametrisation: its gradient, what it keeps to whatever becomes of raw, and the way from a drawn network."""

import numpy as np
import pytest
from cases import assert_close, assert_same_bits
from chance import assert_distribution, assert_mean
from scipy import stats

import recurlab as rl
from recurlab.parametrise import PARAMETRISATIONS
from recurlab.random import Stream, normal
from recurlab.weights import ring

SEEDS = [3, 4, 5]
STARTS = {"cayley": "orthogonal", "unitary": "unitary"}
GROUPS = list(STARTS)
OWN_CELL = dict.fromkeys(PARAMETRISATIONS, "rnn_tanh") | {"lru": "lru"}
WITH_CELLS = list(OWN_CELL.items())
WITH_CELLS += [("antisymmetric", "rnn_antisymmetric_gated"), ("cayley", "gru"), ("unitary", "lstm")]


def layer_of(cell="rnn_tanh", hidden=6, dtype="float64"):
    return rl.recurrent(cell, 3, hidden, 2, True, dtype)


def drawn(name, layer, seeds=SEEDS):
    """A network as drawn for a parametrisation, with λ and γ if it has them, and an array that is not the layer's."""
    params = rl.init(layer, seeds, recurrent=STARTS.get(name, "gaussian"), bias="uniform")
    params["weight_out"] = np.ones((*np.shape(seeds), 2, layer.hidden_size), layer.dtype)
    return params | ring(layer, seeds, 0.3, 0.9) if name == "lru" else params


def updated(name, layer, size=0.3):
    """Raw parameters after steps of one size against random gradients, as Adam's are: training may lead anywhere."""
    one, rng = PARAMETRISATIONS[name], np.random.default_rng(0)
    raw = one.raw(layer, drawn(name, layer))
    for _ in range(3):
        params = one.forward(layer, raw)
        grads = {key: rng.standard_normal(array.shape).astype(layer.dtype) for key, array in params.items()}
        found = one.backward(layer, raw, params, grads)
        raw = {key: array - array.dtype.type(size) * np.sign(found[key]) for key, array in raw.items()}
    return raw


def matrices(layer, params):
    """The blocks of every W_hh (…, H, H) of a dict."""
    names = [f"weight_hh{suffix}" for _, _, suffix in layer.passes]
    return np.concatenate([params[name].reshape(-1, layer.hidden_size, layer.hidden_size) for name in names])


def distance_to_group(layer, params):
    """max|W'W - I|, in float64."""
    W = matrices(layer, params).astype(np.float64)
    return np.abs(np.swapaxes(W, 1, 2) @ W - np.eye(layer.hidden_size)).max()


# gradients


def trained(name, key, shape):
    """1 where a number is trained, 0 where it is given: γ of `antisymmetric`, on the diagonal of M, and eps."""
    if name != "antisymmetric":
        return 1
    return 0 if key.startswith("weight_eps") else 1 - np.eye(shape[-1]) if key.startswith("weight_hh") else 1


def slopes(loss, array, h=1e-5):
    """Central differences of loss(array) in every number: errors of h² and 1e-16 / h."""
    found = np.empty_like(array)
    for index in np.ndindex(array.shape):
        ends = [array.copy(), array.copy()]
        ends[0][index] += h
        ends[1][index] -= h
        found[index] = (loss(ends[0]) - loss(ends[1])) / (2 * h)
    return found


def check_raw_gradient(name, cell):
    layer, one = layer_of(cell, hidden=4)._replace(num_layers=1), PARAMETRISATIONS[name]
    raw = updated(name, layer)
    params, rng = one.forward(layer, raw), np.random.default_rng(1)
    grads = {key: rng.standard_normal(array.shape) for key, array in params.items()}
    found = one.backward(layer, raw, params, grads)
    assert {key: array.shape for key, array in found.items()} == {key: array.shape for key, array in raw.items()}
    for key, array in raw.items():

        def loss(changed, key=key):
            out = one.forward(layer, raw | {key: changed})
            return sum((grads[k] * (out[k] - params[k])).sum() for k in grads)

        assert_close(found[key], slopes(loss, array) * trained(name, key, array.shape), 1e-8, key)


@pytest.mark.parametrize(("name", "cell"), WITH_CELLS)
def test_the_gradient_is_the_central_difference(name, cell):
    check_raw_gradient(name, cell)


@pytest.mark.parametrize("name", ["antisymmetric", *GROUPS])
def test_what_is_given_has_a_gradient_of_exactly_nothing_and_never_moves(name):
    layer, one = layer_of(), PARAMETRISATIONS[name]
    raw = one.raw(layer, drawn(name, layer))
    before, after = (np.diagonal(matrices(layer, each), axis1=1, axis2=2) for each in (raw, updated(name, layer)))
    assert np.array_equal(before, after) and before.any()


def test_a_network_descends_on_the_orthogonal_group():
    """Through the layer and back: the loss falls as its gradient says, |dL/dM|² · step, and W stays orthogonal."""
    layer, one = rl.recurrent("rnn_tanh", 3, 6, dtype="float64"), PARAMETRISATIONS["cayley"]
    raw, x = one.raw(layer, rl.init(layer, 0, "orthogonal")), normal(Stream(0, "inputs"), (7, 2, 3))

    def loss_of(raw):
        params = one.forward(layer, raw)
        y, _, tape = rl.forward(layer, params, x)
        return (y[-1] ** 2).sum(), params, y, tape

    loss, params, y, tape = loss_of(raw)
    dy = np.zeros_like(y)
    dy[-1] = 2 * y[-1]
    grads = one.backward(layer, raw, params, rl.backward(layer, params, tape, dy)[0])
    square, step = sum((array**2).sum() for array in grads.values()), 1e-6
    moved = {key: raw[key] - step * grads[key] for key in raw}
    fallen, params, _, _ = loss_of(moved)
    assert (loss - fallen) / (step * square) == pytest.approx(1, rel=1e-4)
    assert distance_to_group(layer, params) < 1e-14


# what they keep to


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("name", GROUPS)
def test_weights_stay_on_the_group_after_any_update(name, dtype, bound, size):
    layer, one = layer_of(hidden=32, dtype=dtype), PARAMETRISATIONS[name]
    first = matrices(layer, one.forward(layer, one.raw(layer, drawn(name, layer))))
    params = one.forward(layer, updated(name, layer, size))
    found = matrices(layer, params)
    assert distance_to_group(layer, params) < bound
    assert np.abs(found - first).max() > min(size, 0.3) / 10  # and they went somewhere
    assert np.allclose(np.linalg.det(found), np.linalg.det(first), atol=1e-4)  # in the same part of it
    assert all(array.dtype == dtype for array in params.values())


def test_unitary_weights_stay_the_real_form_of_complex_ones():
    layer = layer_of(hidden=8)
    W = matrices(layer, PARAMETRISATIONS["unitary"].forward(layer, updated("unitary", layer)))
    assert np.array_equal(W[:, :4, :4], W[:, 4:, 4:]) and np.array_equal(W[:, :4, 4:], -W[:, 4:, :4])
    assert np.abs(W[:, 4:, :4]).max() > 0.1


def check_damping(dtype="float64"):
    layer, one, gamma = layer_of(dtype=dtype), PARAMETRISATIONS["antisymmetric"], np.array([0.0, 0.01, 0.5])
    drawn_params = drawn("antisymmetric", layer)
    params = one.forward(layer, one.raw(layer, drawn_params, gamma=gamma))
    for key in [f"weight_hh{suffix}" for _, _, suffix in layer.passes]:
        W, M = params[key], drawn_params[key]
        damping = -2 * gamma.astype(dtype)[:, None, None] * np.eye(layer.hidden_size, dtype=dtype)
        assert np.array_equal(W + np.swapaxes(W, 1, 2), damping)
        off = ~np.eye(layer.hidden_size, dtype=bool)
        assert_close(W[:, off], (M - np.swapaxes(M, 1, 2))[:, off], np.finfo(dtype).eps)
        assert np.allclose(np.linalg.eigvals(W).real, -gamma[:, None], atol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_antisymmetric_weights_have_the_damping_of_their_replica(dtype):
    check_damping(dtype)


def test_gates_of_an_antisymmetric_cell_share_their_weights():
    layer = layer_of("rnn_antisymmetric_gated")
    raw = updated("antisymmetric", layer)
    params = PARAMETRISATIONS["antisymmetric"].forward(layer, raw)
    assert raw["weight_hh_l0"].shape == (3, 6, 6) and params["weight_hh_l0"].shape == (3, 12, 6)
    assert np.array_equal(params["weight_hh_l0"][:, :6], params["weight_hh_l0"][:, 6:])


# the way from a drawn network


WAYS = [("cayley", "orthogonal", 1), ("cayley", "identity", 1), ("cayley", "identity", -1), ("unitary", "unitary", 1)]


def check_way_back(name, init_name, gain, dtype="float64", bound=1e-13):
    layer, one = layer_of("gru", hidden=32, dtype=dtype), PARAMETRISATIONS[name]
    params = rl.init(layer, SEEDS, recurrent=init_name, gain=gain)
    raw = one.raw(layer, params)
    assert_close(one.forward(layer, raw), params, bound)
    assert np.abs(matrices(layer, raw)).max() < 4  # far from where the transform is flat: A = tan(angle / 2)
    M, eye = matrices(layer, raw), np.eye(32, dtype=bool)
    half = slice(0, 16) if name == "unitary" else slice(None)
    assert (np.abs(M[:, half, half][:, eye[half, half]]) == 1).all()
    assert_close(np.swapaxes(M, 1, 2)[:, ~eye], -M[:, ~eye], 0)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-13), ("float32", 1e-6)])
@pytest.mark.parametrize(("name", "init_name", "gain"), WAYS)
def test_raw_is_the_way_back(name, init_name, gain, dtype, bound):
    check_way_back(name, init_name, gain, dtype, bound)


def test_free_is_the_network_itself():
    layer, one = layer_of(), PARAMETRISATIONS["free"]
    params = drawn("free", layer)
    for found in (one.raw(layer, params), one.forward(layer, params), one.backward(layer, params, params, params)):
        assert found is not params and all(found[key] is params[key] for key in params)


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_a_parametrisation_says_what_it_is_and_lets_the_rest_pass(name):
    layer, one = layer_of(OWN_CELL[name]), PARAMETRISATIONS[name]
    assert one.name == name and "= " in one.equation and (name == "free" or any(c.isdigit() for c in one.source))
    raw = one.raw(layer, drawn(name, layer))
    params = one.forward(layer, raw)
    for key in ("weight_out", "weight_ih_l0", "bias_ih_l1_reverse"):
        assert params[key] is raw[key] and one.backward(layer, raw, params, params)[key] is raw[key]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_a_replica_has_the_bits_it_has_alone(name, dtype):
    layer, one = layer_of(OWN_CELL[name], 20, dtype), PARAMETRISATIONS[name]

    def steps(params):
        raw = one.raw(layer, params)
        out = one.forward(layer, raw)
        return raw, out, one.backward(layer, raw, out, {key: np.sin(3 * array) for key, array in out.items()})

    together = steps(drawn(name, layer))
    for r, seed in enumerate(SEEDS):
        for whole, alone in zip(together, steps(drawn(name, layer, seed)), strict=True):
            assert_same_bits({key: array[r] for key, array in whole.items()}, alone)


# the ring


def eigenvalues(params, suffix="_l0"):
    return params[f"weight_lambda_re{suffix}"] + 1j * params[f"weight_lambda_im{suffix}"]


def test_the_ring_is_uniform_in_area_and_gamma_belongs_to_it():
    layer = layer_of("lru", hidden=2000)
    params = ring(layer, [1, 2], 0.6, 0.95)
    value = eigenvalues(params)
    assert value.shape == (2, 2000) and not np.array_equal(value[0], value[1])
    square, phase = np.abs(value) ** 2, np.angle(value) % (2 * np.pi)
    assert_distribution(square, stats.uniform(0.36, 0.95**2 - 0.36).cdf)  # n = 4000
    assert_distribution(phase, stats.uniform(0, 2 * np.pi).cdf)
    assert np.abs(np.corrcoef(square.ravel(), phase.ravel())[0, 1]) < 4 / np.sqrt(4000)
    assert np.allclose(params["weight_gamma_l0"] ** 2 + square, 1, rtol=0, atol=1e-15)
    assert_distribution(np.angle(eigenvalues(ring(layer, 1, 0.6, 0.95, phase=0.1))), stats.uniform(0, 0.1).cdf)


def test_the_whole_disc_is_what_init_draws():
    layer = layer_of("lru", hidden=50)
    drawn_there = rl.init(layer, SEEDS)
    for key, array in ring(layer, SEEDS).items():
        assert_close(array, drawn_there[key], 1e-15, key)


def test_white_input_gives_every_state_variance_one():
    """From h = 0 after white complex inputs of variance 1: |h_T|² is exponential of mean 1 - |λ|^2T, n = 4000."""
    layer, one = rl.recurrent("lru", 400, 200, dtype="float64"), PARAMETRISATIONS["lru"]
    params = rl.init(layer, 5, input="identity") | ring(layer, 5, 0.6, 0.95)
    params["weight_ih_l0"] = np.eye(400)  # the real parts, then the imaginary ones
    params = one.forward(layer, one.raw(layer, params))
    white = normal(Stream(0, "white"), (200, 20, 400)) / np.sqrt(2)
    _, (re, im), _ = rl.forward(layer, params, white)
    size = np.abs(eigenvalues(params))
    square = (re[0] ** 2 + im[0] ** 2) / (1 - size**400)
    without = np.mean(1 / (1 - size**2)) - 1  # what γ = 1 would give beyond 1: 2.2
    assert_mean(square.ravel(), 1, effect=without, sd=1)
    assert_distribution(square, stats.expon.cdf)


def check_eigenvalues(dtype="float64", bound=1e-12):
    layer, one = layer_of("lru", 200, dtype), PARAMETRISATIONS["lru"]
    params = drawn("lru", layer) | ring(layer, SEEDS, 0.1, 0.999)
    raw = one.raw(layer, params)
    assert set(raw) ^ set(params) == {
        f"weight_{part}{suffix}"
        for part in ("lambda_re", "lambda_im", "gamma", "nu", "theta")
        for _, _, suffix in layer.passes
    }
    assert_close(one.forward(layer, raw), params, bound)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
def test_raw_eigenvalues_are_the_way_back(dtype, bound):
    check_eigenvalues(dtype, bound)


def test_eigenvalues_stay_within_the_circle_wherever_raw_goes():
    layer = layer_of("lru")
    params = PARAMETRISATIONS["lru"].forward(layer, updated("lru", layer, size=3.0))
    size = np.abs(eigenvalues(params))
    assert np.all(size <= 1) and np.allclose(size**2 + params["weight_gamma_l0"] ** 2, 1, rtol=0, atol=1e-15)


# refusals


@pytest.mark.parametrize(
    ("name", "settings", "options", "message"),
    [
        ("cayley", {"recurrent": "gaussian"}, {}, "weight_hh: .*orthogonal.*W'W"),
        ("cayley", {"recurrent": "orthogonal", "gain": 1.001}, {}, "weight_hh: .*orthogonal.*W'W"),
        ("unitary", {"recurrent": "orthogonal"}, {}, "weight_hh: .*unitary.*W'W"),
        ("antisymmetric", {}, {"gamma": -0.1}, "gamma: .*≥ 0.*-0.1"),
        ("antisymmetric", {}, {"gamma": np.nan}, "gamma: .*finite.*nan"),
    ],
)
def test_raw_refuses(name, settings, options, message):
    layer = layer_of()
    with pytest.raises(ValueError, match=message):
        PARAMETRISATIONS[name].raw(layer, rl.init(layer, 0, **settings), **options)


def test_odd_sizes_have_no_complex_weights_and_packed_ones_are_refused():
    layer = layer_of(hidden=5)
    with pytest.raises(ValueError, match="hidden_size: .*even.*5"):
        PARAMETRISATIONS["unitary"].raw(layer, rl.init(layer, 0, "orthogonal"))
    with pytest.raises(ValueError, match="packed"):
        PARAMETRISATIONS["cayley"].forward(*rl.pack(layer, rl.init(layer, 0)))


@pytest.mark.parametrize(("re", "im"), [(1.0, 0.1), (0.0, 0.0), (0.5, 0.0), (np.nan, 0.1)])
def test_eigenvalues_without_raw_ones_are_refused(re, im):
    layer = layer_of("lru")
    params = drawn("lru", layer)
    params["weight_lambda_re_l1"][0, 2], params["weight_lambda_im_l1"][0, 2] = re, im
    with pytest.raises(ValueError, match="weight_lambda_re_l1, weight_lambda_im_l1: .*0 < |λ| < 1"):
        PARAMETRISATIONS["lru"].raw(layer, params)


@pytest.mark.parametrize("bounds", [(0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (0.1, 0.9, 0.0), (0.1, 0.9, 7.0)])
def test_a_ring_that_is_none_is_refused(bounds):
    with pytest.raises(ValueError, match="smallest, largest|phase"):
        ring(layer_of("lru"), 0, *bounds)


def test_cells_without_what_is_parametrised_are_refused():
    for name, cell in (("cayley", "lru"), ("antisymmetric", "indrnn")):
        with pytest.raises(ValueError, match=f"layer: .*recurrent matrix.*{cell}"):
            PARAMETRISATIONS[name].raw(layer_of(cell), rl.init(layer_of(cell)))
    for call in (PARAMETRISATIONS["lru"].raw, ring):
        with pytest.raises(ValueError, match="layer: .*λ and γ.*gru"):
            call(layer_of("gru"), 0)


# torch


@pytest.mark.oracle
def test_the_cayley_transform_and_its_gradient_are_torchs():
    """torch's X is strictly lower, A_torch = X - X' = -2 A and no D: W = Q D, dL/dX = -dL/dM below the diagonal."""
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
    layer, one, rng = (
        rl.recurrent("rnn_tanh", 3, 8, dtype="float64"),
        PARAMETRISATIONS["cayley"],
        np.random.default_rng(0),
    )
    raw = one.raw(layer, rl.init(layer, 2, "orthogonal"))
    M, G = raw["weight_hh_l0"], rng.standard_normal((8, 8))
    module = torch.nn.utils.parametrizations.orthogonal(
        torch.nn.Linear(8, 8, bias=False, dtype=torch.float64), orthogonal_map="cayley", use_trivialization=False
    )
    X = module.parametrizations.weight.original
    with torch.no_grad():
        X.copy_(torch.tensor(np.tril(-2 * M, -1)))
    W = module.weight * torch.tensor(np.diagonal(M).copy())
    (W * torch.tensor(G)).sum().backward()
    params = one.forward(layer, raw)
    assert_close(params["weight_hh_l0"], W.detach().numpy(), 1e-13)
    found = one.backward(layer, raw, params, params | {"weight_hh_l0": G})
    assert_close(np.tril(found["weight_hh_l0"], -1), -np.tril(X.grad.numpy(), -1), 1e-13)


@pytest.mark.oracle
@pytest.mark.parametrize("name", GROUPS)
def test_gradients_are_those_of_torchs_autograd(name):
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
    layer, one = rl.recurrent("rnn_tanh", 3, 12, dtype="float64"), PARAMETRISATIONS[name]
    raw = one.raw(layer, rl.init(layer, [1, 2], STARTS[name]))
    raw["weight_hh_l0"] = raw["weight_hh_l0"] + 0.3 * normal(Stream(0, "moved"), (2, 12, 12))
    M, G = torch.tensor(raw["weight_hh_l0"], requires_grad=True), normal(Stream(0, "cotangent"), (2, 12, 12))
    eye = torch.eye(6 if name == "unitary" else 12, dtype=torch.float64)
    Z = M
    if name == "unitary":
        Z = torch.complex((M[:, :6, :6] + M[:, 6:, 6:]) / 2, (M[:, 6:, :6] - M[:, :6, 6:]) / 2)
    A = (Z - Z.mH) / 2
    W = torch.linalg.solve(eye + A, eye - A) * torch.diagonal(Z.real, dim1=1, dim2=2).sign()[:, None].detach()
    if name == "unitary":
        W = torch.cat([torch.cat([W.real, -W.imag], 2), torch.cat([W.imag, W.real], 2)], 1)
    (W * torch.tensor(G)).sum().backward()
    params = one.forward(layer, raw)
    assert_close(params["weight_hh_l0"], W.detach().numpy(), 1e-13)
    assert_close(one.backward(layer, raw, params, params | {"weight_hh_l0": G})["weight_hh_l0"], M.grad.numpy(), 1e-12)


# What runs against a changed copy of the sources, see test_conformance.

CHECKS = {f"gradient of raw parameters: {name}": (check_raw_gradient, name, cell) for name, cell in OWN_CELL.items()}
CHECKS |= {"gradient of raw parameters of two gates": (check_raw_gradient, "antisymmetric", "rnn_antisymmetric_gated")}
CHECKS |= {
    f"way back of {name} from {init_name} {gain}": (check_way_back, name, init_name, gain)
    for name, init_name, gain in WAYS
}
CHECKS |= {"damping": (check_damping,), "eigenvalues": (check_eigenvalues,)}
