"""The window MLP: what it sees, its gradients against differences and torch, and that it trains in the common loop."""

import numpy as np
import pytest
from test_sequence import B, I, O, R, T, assert_gradients_are_slopes, batch_of, drawn

from recurlab.layers.loss import LOSSES
from recurlab.models import window_mlp
from recurlab.models.sequence import Batch
from recurlab.tasks import TASKS
from recurlab.train import Plan, train

H, K = 5, 3


def networks(loss="squared_error", window=K, seeds=range(R), dtype="float64"):
    net = window_mlp.window_mlp(I, window, H, O, loss, dtype)
    params = window_mlp.initial(net, seeds)
    return net, params | {"bias_out": params["bias_out"] + 0.1}


def test_a_window_holds_the_last_inputs_the_oldest_first_and_zeros_before_the_first():
    x = drawn("x", R, T, B, I)
    seen = window_mlp.windows(x, K).reshape(R, T, B, K, I)
    for t in range(T):
        for back in range(K):
            expected = x[:, t - back] if t >= back else np.zeros((R, B, I))
            assert np.array_equal(seen[:, t, :, K - 1 - back], expected)
    assert np.array_equal(window_mlp.windows(x, 1), x)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("own", [False, True])
def test_gradients_are_the_slopes_of_the_loss(loss, own):
    net, params = networks(loss)
    batch = batch_of("every", loss, own)
    found = window_mlp.loss_and_gradients(net, params, batch)
    assert {name: g.shape[1:] for name, g in found.grads.items()} == window_mlp.parameter_shapes(net)
    slope = lambda p: window_mlp.loss_and_gradients(net, p, batch).loss  # noqa: E731
    assert_gradients_are_slopes(net, params, slope, found.grads)
    assert np.array_equal(window_mlp.evaluate(net, params, batch)[0], found.loss)


def test_a_step_sees_nothing_older_than_the_window():
    net, params = networks()
    batch = batch_of("every", "squared_error", own=True, weighted=False)
    moved = batch.x.copy()
    moved[:, 1] += 1
    last = {"weights": np.broadcast_to((np.arange(T) >= 1 + K)[:, None], (T, B)).astype(float)}
    losses = [window_mlp.evaluate(net, params, batch._replace(x=x, **last))[0] for x in (batch.x, moved)]
    assert np.array_equal(*losses)
    inside = {"weights": np.broadcast_to((np.arange(T) == K)[:, None], (T, B)).astype(float)}
    losses = [window_mlp.evaluate(net, params, batch._replace(x=x, **inside))[0] for x in (batch.x, moved)]
    assert (losses[0] != losses[1]).all()


def test_a_replica_has_the_bits_it_has_alone():
    (net, together), (_, alone) = networks(dtype="float32"), networks(seeds=[1], dtype="float32")
    batch = batch_of("every", "squared_error", own=True, dtype="float32")
    part = Batch(batch.x[1:2], batch.targets[1:2], batch.weights[1:2])
    a, b = (window_mlp.loss_and_gradients(net, p, d) for p, d in ((together, batch), (alone, part)))
    assert a.loss[1] == b.loss[0] and all(np.array_equal(a.grads[name][1], b.grads[name][0]) for name in b.grads)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"hidden_size": 0}, {"loss": "hinge"}, {"dtype": "int8"}])
def test_wrong_settings_are_refused(wrong):
    good = {"input_size": 1, "window": 2, "hidden_size": 3, "outputs": 1, "loss": "squared_error"}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        window_mlp.window_mlp(**good | wrong)


def test_the_training_loop_brings_a_window_of_two_to_the_innovation_of_an_autoregression():
    task, length = TASKS["autoregression"], 8
    net = window_mlp.window_mlp(1, 2, 8, 1, "squared_error")

    def source(seeds, update):
        return task.draw(seeds, "train", update, length, 32)

    def gradients(params, live, batch, update, penalised):
        return window_mlp.loss_and_gradients(net, params, batch)

    plan = Plan(1000, 0.02, schedule="linear", every=100)
    found = train(net, window_mlp.initial(net, [0, 1]), [0, 1], source, plan, gradients=gradients)
    assert task.window(length, 1) > 2 * task.window(length, 2)
    assert np.allclose(found.history["loss"][-1], task.window(length, 2), rtol=0.05)  # 102,400 values: 1 %


@pytest.mark.oracle
def test_loss_and_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")
    net, params = networks()
    batch = batch_of("every", "squared_error", own=True, weighted=False)
    found = window_mlp.loss_and_gradients(net, params, batch)
    for r in range(R):
        p = {name: torch.tensor(array[r], requires_grad=True) for name, array in params.items()}
        padded = torch.nn.functional.pad(torch.tensor(batch.x[r]), (0, 0, 0, 0, K - 1, 0))
        seen = torch.cat([padded[k : k + T] for k in range(K)], dim=-1)
        h = torch.tanh(torch.nn.functional.linear(seen, p["weight_hidden"], p["bias_hidden"]))
        out = torch.nn.functional.linear(h, p["weight_out"], p["bias_out"])
        loss = ((out - torch.tensor(batch.targets[r])) ** 2).sum(-1).mean()
        loss.backward()
        assert found.loss[r] == pytest.approx(loss.item(), rel=1e-12)
        for name, own in p.items():
            assert np.allclose(found.grads[name][r], own.grad.numpy(), rtol=1e-9, atol=1e-13), name
