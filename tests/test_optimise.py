"""Optimisers: torch's steps on the same gradients, clipping, schedules, one replica alone and among others."""

import numpy as np
import pytest

from recurlab import optimise
from recurlab.optimise import RULES, SCHEDULES, Divided, clip_factors, norms, rates, start, update
from recurlab.random import Stream, normal

SHAPES = {"weight": (5, 3), "bias": (5,), "long": (37,)}


def drawn(name, replicas=3, dtype="float64"):
    return {k: normal(Stream(0, f"test {name} {k}"), (replicas, *shape)).astype(dtype) for k, shape in SHAPES.items()}


def free(replicas=3):
    return np.ones(replicas), np.full(replicas, np.inf)


def run(rule, params, steps, learning_rate, clip=np.inf, limit=np.inf):
    """`steps` updates with the gradients drawn for each; the parameters at the end."""
    replicas = len(params["bias"])
    slots, limits = start(rule, params), np.full(replicas, limit)
    for k in range(1, steps + 1):
        grads = {name: g.astype(params[name].dtype) for name, g in drawn(f"gradient {k}", replicas).items()}
        factors = clip_factors(norms(grads), np.full(replicas, clip))
        update(rule, k, params, grads, slots, np.broadcast_to(learning_rate, replicas), factors, limits)
    return params


def torch_rule(torch, rule, parameters, rate):
    return {
        "sgd": lambda: torch.optim.SGD(parameters, rate),
        "momentum": lambda: torch.optim.SGD(parameters, rate, momentum=0.9),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, rate, alpha=0.9),
        "adam": lambda: torch.optim.Adam(parameters, rate),
    }[rule]()


@pytest.mark.oracle
@pytest.mark.parametrize(("clip", "limit"), [(np.inf, np.inf), (5.0, np.inf), (np.inf, 0.7)])
@pytest.mark.parametrize("rule", RULES)
def test_a_hundred_updates_are_those_of_torch(rule, clip, limit):
    torch = pytest.importorskip("torch", reason="torch is the extra [oracle]")
    learning_rate = np.array([0.1, 0.01, 0.003])
    found = run(rule, drawn("start"), 100, learning_rate, clip, limit)
    for r, rate in enumerate(learning_rate):
        theirs = {name: torch.tensor(value[r], requires_grad=True) for name, value in drawn("start").items()}
        stepper = torch_rule(torch, rule, list(theirs.values()), rate)
        for k in range(1, 101):
            for name, g in drawn(f"gradient {k}").items():
                theirs[name].grad = torch.tensor(g[r])
            if np.isfinite(clip):
                torch.nn.utils.clip_grad_norm_(list(theirs.values()), clip)
            if np.isfinite(limit):
                torch.nn.utils.clip_grad_value_(list(theirs.values()), limit)
            stepper.step()
        for name, value in theirs.items():
            expected = value.detach().numpy()
            assert np.abs(found[name][r] - expected).max() <= 1e-12 * np.abs(expected).max(), name


def test_first_adam_update_is_the_learning_rate_times_the_sign():
    params, grads = {"w": np.zeros((2, 3))}, {"w": normal(Stream(0, "test gradient"), (2, 3))}
    update("adam", 1, params, grads, start("adam", params), np.array([0.1, 0.2]), *free(2))
    assert np.allclose(params["w"], -np.array([[0.1], [0.2]]) * np.sign(grads["w"]), rtol=1e-6)


def test_plain_descent_is_the_learning_rate_times_the_gradient():
    params, grads = drawn("start"), drawn("gradient")
    expected = {name: params[name] - 0.5 * grads[name] for name in params}
    update("sgd", 1, params, grads, start("sgd", params), np.full(3, 0.5), *free())
    assert all(np.array_equal(params[name], expected[name]) for name in params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_a_replica_has_the_bits_it_has_alone(rule, dtype):
    together = run(rule, drawn("start", dtype=dtype), 20, np.array([0.1, 0.01, 0.003]), clip=2.0)
    slots = None
    alone = {name: value[1:2] for name, value in drawn("start", dtype=dtype).items()}
    slots = start(rule, alone)
    for k in range(1, 21):
        grads = {name: g[1:2].astype(dtype) for name, g in drawn(f"gradient {k}").items()}
        factors = clip_factors(norms(grads), np.full(1, 2.0))
        update(rule, k, alone, grads, slots, np.array([0.01]), factors, np.full(1, np.inf))
    for name in alone:
        assert alone[name].dtype == dtype and np.array_equal(alone[name][0], together[name][1]), name


def test_the_norm_is_that_of_all_parameters_together():
    grads = drawn("gradient")
    expected = [np.linalg.norm(np.concatenate([g[r].ravel() for g in grads.values()])) for r in range(3)]
    assert np.allclose(norms(grads), expected, rtol=1e-14)
    single = {name: g.astype(np.float32) for name, g in grads.items()}
    assert np.allclose(norms(single), expected, rtol=1e-6) and norms(single).dtype == np.float64


def test_norm_clipping_keeps_the_direction_and_touches_only_long_gradients():
    lengths = np.array([0.01, 1.0, 100.0])
    factors = clip_factors(lengths, np.full(3, 1.0))
    assert factors[0] == 1 and np.allclose(factors * lengths, [0.01, 1.0, 1.0], rtol=1e-5)
    assert (factors * lengths <= 1).all()


def test_a_norm_that_is_not_finite_stops_its_replica_alone():
    params, before, grads = drawn("start"), drawn("start"), drawn("gradient")
    grads["weight"][1, 2] = np.inf
    grads["bias"][2, 0] = np.nan
    factors = clip_factors(norms(grads), np.full(3, 1.0))
    update("momentum", 1, params, grads, start("momentum", params), np.full(3, 0.1), factors, np.full(3, np.inf))
    for name, array in params.items():
        assert np.array_equal(array[1:], before[name][1:]) and not np.array_equal(array[0], before[name][0])


def test_value_clipping_clamps_every_entry():
    params, grads = {"w": np.zeros((1, 4))}, {"w": np.array([[-3.0, -0.5, 0.5, 3.0]])}
    update("sgd", 1, params, grads, start("sgd", params), np.ones(1), np.ones(1), np.ones(1))
    assert params["w"].tolist() == [[1.0, 0.5, -0.5, -1.0]]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_begin_at_the_learning_rate_and_never_rise(schedule):
    made = [rates(schedule, np.array([0.1, 0.2]), k, 100) for k in range(101)]
    assert np.allclose(made[0], [0.1, 0.2]) and np.diff(made, axis=0).max() <= 0
    ends = {"constant": 1.0, "linear": 0.0, "cosine": 0.0, "exponential": 0.01}
    assert np.allclose(made[-1], np.multiply([0.1, 0.2], ends[schedule]), atol=1e-15)


def test_the_rate_of_zaremba_is_constant_for_some_epochs_and_divided_before_every_later_one():
    each, found = 7, []
    for made in range(6 * each):
        found.append(rates(Divided(4 * each, each, 2.0), np.array([1.0, 0.5]), made, 6 * each))
    assert np.array_equal(
        np.array(found).reshape(6, each, 2)[..., 0], np.repeat([[1], [1], [1], [1], [0.5], [0.25]], each, 1)
    )
    assert np.array_equal(np.array(found)[:, 1], np.array(found)[:, 0] / 2)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (Divided(-1, 5, 2.0), "schedule.constant"),
        (Divided(5, 0, 2.0), "schedule.each"),
        (Divided(5, 5, 0.5), "schedule.by"),
        (Divided(5, 5, np.nan), "schedule.by"),
    ],
)
def test_numbers_that_make_no_schedule_are_refused(wrong, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        rates(wrong, np.ones(1), 0, 10)


@pytest.mark.parametrize("call", [lambda: rates("steps", np.ones(1), 0, 1), lambda: start("adamw", {})])
def test_unknown_names_are_refused_with_the_known_ones(call):
    with pytest.raises(ValueError, match=r"linear|rmsprop"):
        call()


def test_strided_parameters_are_refused():
    params = {"w": np.zeros((3, 2, 4)).transpose(0, 2, 1)}
    with pytest.raises(ValueError, match="contiguous"):
        update("sgd", 1, params, params, optimise.start("sgd", params), np.ones(3), *free())
