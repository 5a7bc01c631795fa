"""Training on a GPU, in the simulator: the numbers of the CPU, and no copies but batches and what is measured."""

import numpy as np
import pytest
from cases import relative_error

from recurlab import optimise
from recurlab.kernels.cuda import target
from recurlab.layers import linear
from recurlab.layers.loss import LOSSES
from recurlab.layers.recurrent import recurrent
from recurlab.models import regularised
from recurlab.models.gradients import Truncation, loss_and_gradients
from recurlab.models.sequence import Batch, Dropped, network, own_parameters, readout
from recurlab.parametrise import PARAMETRISATIONS
from recurlab.train import ENDS, Plan, train
from recurlab.weights import init

T, B, R, O = 4, 3, 3, 2  # noqa: E741
RNG = np.random.default_rng(5)


def there(arrays):
    return {name: target.to_device(array) for name, array in arrays.items()}


def back(arrays):
    return {name: target.to_host(array) for name, array in arrays.items()}


def networks(device, cell="gru", loss="squared_error", at="last", layers=1, dtype="float64", count=R):
    layer = recurrent(cell, 2, 5, num_layers=layers, dtype=dtype, device=device)
    net = network(layer, O, loss, at)
    return net, init(layer, list(range(count)), bias="uniform") | readout(net, range(count))


def targets_of(loss, shape):
    if loss == "cross_entropy":
        return RNG.integers(0, O, shape)
    return RNG.random((*shape, O)) if loss == "squared_error" else RNG.integers(0, 2, (*shape, O)).astype(float)


BATCHES = {
    "last": ("last", {}),
    "own x": ("last", {"own": True}),
    "ends": ("last", {"ends": np.array([[1, 3, 0], [3, 3, 2], [0, 1, 2]])}),
    "lengths": ("last", {"lengths": np.array([4, 1, 3]), "ends": np.array([3, 0, 2])}),
    "every": ("every", {}),
    "weights": ("every", {"weights": np.array([[1, 0, 1], [1, 1, 0.5], [0, 1, 1], [1, 1, 0]])}),
}


def batch_of(loss, at, own=False, **more):
    x = RNG.standard_normal((*((R,) if own else ()), T, B, 2))
    return Batch(x, targets_of(loss, (B,) if at == "last" else (T, B)), **more)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch", BATCHES)
def test_gradients_are_those_of_the_cpu(loss, batch):
    at, more = BATCHES[batch]
    batch, layers = batch_of(loss, at, **more), 2 if at == "last" else 1
    net, params = networks("cpu", "lstm", loss, at, layers)
    expected = loss_and_gradients(net, params, batch)
    found = loss_and_gradients(networks("cuda", "lstm", loss, at, layers)[0], there(params), batch)
    assert relative_error(found.loss, expected.loss) < 1e-14 and relative_error(found.error, expected.error) < 1e-14
    assert found.grads.keys() == expected.grads.keys()
    for name, g in back(found.grads).items():
        assert relative_error(g, expected.grads[name]) < 1e-13, name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_readout_is_that_of_the_cpu(dtype):
    weight, bias, x, dy = (
        RNG.standard_normal(shape).astype(dtype) for shape in ((R, O, 7), (R, O), (R, 5, 7), (R, 5, O))
    )
    expected = linear.forward(weight, bias, x), *linear.backward(weight, x, dy)
    w, b, x, dy = map(target.to_device, (weight, bias, x, dy))
    grads, dx = linear.backward(w, x, dy)
    bound = 16 * np.finfo(dtype).eps
    assert relative_error(target.to_host(linear.forward(w, b, x)), expected[0]) < bound
    assert relative_error(target.to_host(dx), expected[2]) < bound
    for name, g in back(grads).items():
        assert relative_error(g, expected[1][name]) < bound


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", optimise.RULES)
def test_clipped_updates_are_those_of_the_cpu(rule, dtype):
    params, grads = (
        {name: RNG.standard_normal((R, *shape)).astype(dtype) for name, shape in (("W", (5, 7)), ("b", (5,)))}
        for _ in range(2)
    )
    slots, limits = optimise.start(rule, params), np.array([np.inf, 0.1, np.inf])
    there_params, there_grads, there_slots = there(params), there(grads), there(slots)
    for k in (1, 2, 3):
        expected, found = optimise.norms(grads), optimise.norms(there_grads)
        assert relative_error(found, expected) < 1e-15
        factors, rates = optimise.clip_factors(expected, np.array([1.0, np.inf, 2.0])), np.array([0.1, 0.2, 0.3])
        factors[2] *= k != 2  # an update that a replica sits out
        for own in ((params, grads, slots), (there_params, there_grads, there_slots)):
            optimise.update(rule, k, *own, rates, factors, limits)
    for name, p in params.items():
        assert relative_error(target.to_host(there_params[name]), p) < 8 * np.finfo(dtype).eps
        assert slots[name].size == 0 or relative_error(target.to_host(there_slots[name]), slots[name]) < 1e-6


def source(seeds, update):
    """A batch of each seed's own; that of seed 1 has no finite loss from update 3 on."""
    x = np.stack([np.random.default_rng([seed, update]).standard_normal((T, B, 2)) for seed in seeds])
    wrong = np.where((np.asarray(seeds) == 1) & (update >= 3), 1e200, 1.0)[:, None, None]
    return Batch(x, x[:, 0] * wrong)


def run(device, **plan):
    net, params = networks(device)
    return train(net, params, [0, 1, 2], source, Plan(**{"updates": 7, "learning_rate": 0.05, "every": 5} | plan))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, about infinite numbers
def test_training_is_that_of_the_cpu():
    cpu, cuda = run("cpu", clip_norm=0.5), run("cuda", clip_norm=0.5)
    assert cuda.points.tolist() == cpu.points.tolist() and (cuda.ended == cpu.ended).all()
    assert cuda.outcome[1] == ENDS.index("diverged") and cuda.ended[1] == 3
    for name, values in cpu.history.items():
        np.testing.assert_allclose(cuda.history[name], values, rtol=1e-11, err_msg=name)
    for name, p in cpu.params.items():
        assert isinstance(cuda.params[name], np.ndarray)
        assert relative_error(cuda.params[name], p) < 1e-11, name


def test_nothing_but_what_is_measured_comes_to_the_host_between_two_points(monkeypatch):
    copied, to_host = [], target.to_host
    monkeypatch.setattr(target, "to_host", lambda array: copied.append(array.size) or to_host(array))
    run("cuda", updates=3, every=3)
    _, params = networks("cpu")
    loss_and_error, norm = 2 * R, R
    at_the_end = [p.size for p in params.values()] + [2 * p.size for p in params.values()]  # and Adam's slots
    assert copied == [loss_and_error, norm] * 3 + at_the_end


# truncation, penalties, noise and parametrisations: NumPy arrays, with the layer alone on the GPU


def assert_gradients_of_both(batch, regulariser=None, cell="rnn_tanh", layers=1, changed=lambda net, p: p, **options):
    """The gradients of `regularised.gradients` with the layer on either device; `changed` makes the parameters."""
    found = []
    for device in ("cpu", "cuda"):
        net, params = networks(device, cell, at="every", layers=layers)
        own = regularised.gradients(net, [0, 1, 2], regulariser, np.array([0.3, 0, 0.5]), **options)
        found.append(own(changed(net, params), np.arange(R), batch, 1, None))
    cpu, cuda = found
    assert relative_error(cuda.loss, cpu.loss) < 1e-13 and relative_error(cuda.penalty, cpu.penalty) < 1e-12
    for name, g in cpu.grads.items():
        assert isinstance(cuda.grads[name], np.ndarray)
        assert relative_error(cuda.grads[name], g) < 1e-12, name


@pytest.mark.parametrize("regulariser", regularised.REGULARISERS)
def test_gradients_with_a_regulariser_are_those_of_the_cpu(regulariser):
    layers = regularised.layers_needed(regulariser)
    assert_gradients_of_both(batch_of("squared_error", "every", own=True), regulariser, layers=layers)


OF_ROWS = {"lengths": np.array([4, 1, 3]), "weights": np.array([[1, 1, 1], [1, 0, 1], [1, 0, 1], [1, 0, 0.0]])}


@pytest.mark.parametrize("regulariser", ["omega_paper", "omega_code", "norm_stabiliser", "zoneout", "dropout_outputs"])
def test_so_they_are_for_rows_of_different_length(regulariser):
    assert_gradients_of_both(batch_of("squared_error", "every", **OF_ROWS), regulariser)


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize(("ahead", "back"), [(1, 2), (3, 3), (2, 4)])
@pytest.mark.parametrize(("cell", "layers"), [("lstm_peephole", 2), ("gru_norm", 1)])
def test_truncated_gradients_are_those_of_the_cpu(cell, layers, ahead, back, carry):
    batch, cut = batch_of("squared_error", "every", own=True), Truncation(ahead, back, carry)
    assert_gradients_of_both(batch, cell=cell, layers=layers, truncation=cut)


@pytest.mark.parametrize("regulariser", ["weight_noise", "drop_columns", "variational_inputs", "dropout_outputs"])
def test_truncated_gradients_under_noise_are_those_of_the_cpu(regulariser):
    batch, cut = batch_of("squared_error", "every"), Truncation(2, 3)
    assert_gradients_of_both(batch, regulariser, cell="gru", truncation=cut)


def test_gradients_of_what_is_trained_in_place_of_the_weights_are_those_of_the_cpu():
    def raw(net, params):
        return params | PARAMETRISATIONS["antisymmetric"].raw(net.layer, own_parameters(params))

    assert_gradients_of_both(batch_of("squared_error", "every"), changed=raw, parametrisation="antisymmetric")


@pytest.mark.parametrize(
    "plan", [{"truncation": Truncation(2, 3)}, {"penalty": "weight_decay", "penalty_weight": 0.1}], ids=str
)
def test_what_needs_arrays_of_the_host_gets_them(plan, monkeypatch):
    def source(seeds, update):
        x = np.random.default_rng(update).standard_normal((T, B, 2))
        return Batch(x, x)

    found = []
    for device in ("cpu", "cuda"):
        net, params = networks(device, at="every")
        found.append(train(net, params, [0, 1, 2], source, Plan(3, 0.05, every=3, **plan)).params)
    for name, p in found[0].items():
        assert relative_error(found[1][name], p) < 1e-11, name


def test_truncation_penalty_and_dropout_are_refused_on_the_device():
    net, params = networks("cuda")
    batch = batch_of("squared_error", "last")
    for more in ({"truncation": Truncation(2, 2)}, {"dropped": Dropped(inputs=np.ones((R, 1, B, 2)))}):
        with pytest.raises(ValueError, match="params: expected NumPy arrays with truncation, penalty or dropout"):
            loss_and_gradients(net, there(params), batch, **more)
