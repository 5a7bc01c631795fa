"""Recurrent language models: loss and gradients against the slow twin, differences and torch; dropout; truncation."""

import os
import subprocess
import sys

import language
import numpy as np
import pytest
from cases import assert_close, assert_same_bits
from language import B, E, H, L, R, T, V, batch, masks, model, naive_logs, states_of
from test_sequence import assert_gradients_are_slopes

from recurlab.layers.recurrent import recurrent
from recurlab.models import recurrent_lm
from recurlab.models.gradients import Penalised
from recurlab.models.recurrent_lm import initial, parameter_shapes, uniform_initial
from recurlab.models.recurrent_lm_gradients import Noise, gradients, loss_and_gradients
from recurlab.penalties import PENALTIES

LENGTHS = (5, 1, 3)
FORMS = {"window": {}, "own words": {"own": True}, "sentences": {"lengths": LENGTHS}}


# loss and gradients


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("form", FORMS)
def test_loss_and_states_are_those_of_the_slow_twin(form, cell):
    net, params = model(cell)
    words, states = batch(**FORMS[form]), states_of(net)
    found, (logs, final) = loss_and_gradients(net, params, words, states), naive_logs(net, params, words, states)
    count = T * B if words.lengths is None else sum(LENGTHS)
    assert_close(found.loss, -logs.sum(axis=(1, 2)) / count, 1e-13)
    assert_close(tuple(found.carried.values()), final, 1e-13)
    assert list(found.carried) == list(net.layer.spec.states)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_the_slopes_of_the_loss(form, tied):
    net, params = model(tied=tied)
    words, states, dropped = batch(**FORMS[form]), states_of(net), masks(net)
    found = loss_and_gradients(net, params, words, states, dropped)
    assert {name: g.shape[1:] for name, g in found.grads.items()} == parameter_shapes(net)
    slope = lambda p: loss_and_gradients(net, p, words, states, dropped).loss  # noqa: E731
    assert_gradients_are_slopes(net, params, slope, found.grads)


def run_torch(torch, net, own, ids, targets, begin, mask):
    """Loss of one replica and its parameters as leaves: every layer an nn.LSTM of its own, masks between them."""
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in own.items()}
    x = torch.nn.functional.embedding(torch.tensor(ids).long(), leaves["weight_embedding"])
    for level in range(L):
        x = x * torch.tensor(mask[level])
        layer = torch.nn.LSTM(x.shape[-1], H, dtype=torch.float64)
        names = {name: leaves[name.replace("_l0", f"_l{level}")] for name, _ in layer.named_parameters()}
        state = tuple(torch.tensor(part[level : level + 1]) for part in begin)
        x, _ = torch.func.functional_call(layer, names, (x, state))
    weight = leaves.get("weight_out", leaves["weight_embedding"])
    z = torch.nn.functional.linear(x * torch.tensor(mask[L]), weight, leaves["bias_out"])
    return torch.nn.functional.cross_entropy(z.reshape(-1, V), torch.tensor(targets).long().reshape(-1)), leaves


@pytest.mark.oracle
@pytest.mark.parametrize("tied", [False, True])
def test_loss_and_every_gradient_are_those_of_torch(tied):
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
    net, params = model(tied=tied)
    words, states, dropped = batch(own=True), states_of(net), masks(net)
    found = loss_and_gradients(net, params, words, states, dropped)
    for r in range(R):
        mask = dropped.inputs[r], dropped.between[r, 0], dropped.outputs[r]
        loss, leaves = run_torch(torch, net, *language.of_replica(r, params, words, states), mask)
        loss.backward()
        assert found.loss[r] == pytest.approx(loss.item(), rel=1e-12)
        assert_close(
            {name: g[r] for name, g in found.grads.items()}, {n: p.grad.numpy() for n, p in leaves.items()}, 1e-12
        )


# windows


def test_windows_whose_states_go_on_are_one_long_window():
    net, params = model()
    words, states = batch(), states_of(net)
    whole, losses = loss_and_gradients(net, params, words, states), 0
    for part in (slice(0, 2), slice(2, 5)):
        own = words._replace(ids=words.ids[part], targets=words.targets[part])
        found = loss_and_gradients(net, params, own, states)
        states, losses = tuple(found.carried.values()), losses + (part.stop - part.start) / T * found.loss
    assert_close(losses, whole.loss, 1e-14)
    assert_same_bits(found.carried, whole.carried)


def cut_gradients(net, params, words, states, dropped, back):
    """The gradient with states held constant every `back` steps, from windows one by one."""
    total = 0
    for first in range(0, T, back):
        part = slice(first, min(first + back, T))
        own = words._replace(ids=words.ids[part], targets=words.targets[part])
        inner = dropped._replace(
            inputs=dropped.inputs[:, part], outputs=dropped.outputs[:, part], between=dropped.between[:, :, part]
        )
        found = loss_and_gradients(net, params, own, states, inner)
        states, share = tuple(found.carried.values()), (part.stop - part.start) / T
        total = total + np.concatenate([share * g.reshape(R, -1) for g in found.grads.values()], axis=1)
    return total


@pytest.mark.parametrize("back", [1, 2, 5, 9])
def test_truncation_holds_states_constant_and_lets_them_go_on(back, monkeypatch):
    net, params = model()
    words, states, dropped = batch(), states_of(net), masks(net)
    monkeypatch.setattr("recurlab.models.recurrent_lm_gradients._dropped", lambda *_: dropped)
    carried = dict(zip(net.layer.spec.states, states, strict=True))
    going_on = words._replace(fresh=False)
    found = gradients(net, range(R), truncation=back)(params, np.arange(R), going_on, 0, None, carried)
    whole = loss_and_gradients(net, params, words, states, dropped)
    assert_close(found.loss, whole.loss, 1e-14)
    assert_same_bits(found.carried, whole.carried)
    flat = np.concatenate([g.reshape(R, -1) for g in found.grads.values()], axis=1)
    assert_close(flat, cut_gradients(net, params, words, states, dropped, min(back, T)), 1e-14)
    if back >= T:
        assert_same_bits(found.grads, whole.grads)


def test_states_go_on_but_not_into_a_fresh_window():
    net, params = model()
    update, words = gradients(net, range(R)), batch()
    carried = dict(zip(net.layer.spec.states, states_of(net), strict=True))
    losses = [update(params, np.arange(R), words._replace(fresh=fresh), 0, None, carried).loss for fresh in (0, 1)]
    expected = [loss_and_gradients(net, params, words, states).loss for states in (states_of(net), None)]
    assert_same_bits(tuple(losses), tuple(expected))
    assert not np.array_equal(*losses)


# the same bits


def test_a_replica_has_the_bits_it_has_alone_under_noise():
    net, params = model(dtype="float32")
    carried = {name: np.float32(a) for name, a in zip(net.layer.spec.states, states_of(net), strict=True)}
    words = batch(own=True)._replace(fresh=False)
    rates = np.array([0.6, 0.3, 0.4])  # the first of three has left the launch
    together = gradients(net, [9, 3, 5], Noise(*[rates] * 5))(params, np.array([1, 2]), words, 7, None, carried)
    for r, (seed, rate) in enumerate([(3, 0.3), (5, 0.4)]):
        own = {name: array[r : r + 1] for name, array in params.items()}
        part = words._replace(ids=words.ids[r : r + 1], targets=words.targets[r : r + 1])
        state = {name: array[r : r + 1] for name, array in carried.items()}
        alone = gradients(net, [seed], Noise(*[rate] * 5))(own, np.arange(1), part, 7, None, state)
        assert together.loss[r] == alone.loss[0]
        assert_same_bits({name: g[r : r + 1] for name, g in together.grads.items()}, alone.grads)
        assert_same_bits({name: g[r : r + 1] for name, g in together.carried.items()}, alone.carried)


def test_replicas_in_groups_have_the_same_bits(monkeypatch):
    net, params = model()
    words, states, dropped = batch(own=True), states_of(net), masks(net)
    whole = loss_and_gradients(net, params, words, states, dropped)
    monkeypatch.setattr("recurlab.models.recurrent_lm_gradients.replica_groups", lambda *_: [slice(0, 1), slice(1, 2)])
    groups = loss_and_gradients(net, params, words, states, dropped)
    assert_same_bits(groups._asdict() | {"grads": groups.grads}, whole._asdict())


THREADS = """
import numpy as np
from language import batch, model
from recurlab.models.recurrent_lm_gradients import loss_and_gradients
net, params = model(dtype="float32")
found = loss_and_gradients(net, params, batch())
np.savez("found.npz", loss=found.loss, **found.grads)
"""


def test_two_threads_give_the_same_bits(tmp_path):
    environment = os.environ | {"NUMBA_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", THREADS], check=True, cwd=tmp_path, env=environment)
    net, params = model(dtype="float32")
    found = loss_and_gradients(net, params, batch())
    assert_same_bits(dict(np.load(tmp_path / "found.npz")), {"loss": found.loss} | found.grads)


# dropout


def test_rates_of_zero_change_no_bit():
    net, params = model()
    words = batch()
    found = gradients(net, range(R), Noise(*[np.zeros(R)] * 5))(params, np.arange(R), words, 0, None)
    assert_same_bits(found.grads, loss_and_gradients(net, params, words).grads)


def seen_masks(noisy, update=0, seeds=(3, 5), words=None):
    """The factors and the weights of an update."""
    net, params = model()
    seen = {}

    def through_parts(net, params, words, states, dropped, steps):
        seen.update(dropped=dropped, params=params)
        return loss_and_gradients(net, params, words, states, dropped)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurlab.models.recurrent_lm_gradients.through_parts", through_parts)
        seen["found"] = gradients(net, seeds, noisy)(params, np.arange(R), words or batch(), update, None)
    return seen


def test_every_place_has_masks_of_its_own_that_change_with_the_update():
    noisy = Noise(embedding=0.5, between=0.5, outputs=0.5)
    first, again, later = (seen_masks(noisy, update)["dropped"] for update in (3, 3, 4))
    assert first.inputs.shape == (R, T, B, E) and first.outputs.shape == (R, T, B, H)
    assert first.between.shape == (R, L - 1, T, B, H)
    assert not np.array_equal(first.between[:, 0], first.outputs)
    for name in ("inputs", "outputs", "between"):
        a, b, c = (getattr(each, name) for each in (first, again, later))
        assert set(np.unique(a)) == {0.0, 2.0} and np.array_equal(a, b) and not np.array_equal(a, c)
        assert not np.array_equal(a[0], a[1])


def test_masks_of_a_sequence_are_the_same_at_all_steps():
    dropped = seen_masks(Noise(0.5, 0.5, 0.5, per_sequence=True))["dropped"]
    assert dropped.inputs.shape == (R, 1, B, E) and dropped.between.shape == (R, L - 1, 1, B, H)
    assert dropped.outputs.shape == (R, 1, B, H)


def test_a_dropped_word_is_dropped_wherever_it_stands():
    words = batch()
    factors = np.broadcast_to(seen_masks(Noise(words=0.5), words=words)["dropped"].inputs, (R, T, B, 1))[..., 0]
    for r in range(R):
        for word in np.unique(words.ids):
            assert len(set(factors[r][words.ids == word])) == 1
    assert set(np.unique(factors)) == {0.0, 2.0}


def test_dropped_entries_of_the_recurrent_weights_get_no_gradient():
    seen = seen_masks(Noise(recurrent=0.5))
    params = model()[1]
    for name, array in params.items():
        ratio = seen["params"][name] / array
        expected = {0.0, 2.0} if name.startswith("weight_hh") else {1.0}
        assert set(np.unique(ratio)) == expected, name
        assert not seen["found"].grads[name][ratio == 0].any()


def test_a_penalty_on_weights_is_added_with_its_own_weight_and_others_are_refused():
    net, params = model()
    words, update = batch(), gradients(net, range(R))
    penalty = Penalised(PENALTIES["weight_decay"], np.array([0.0, 0.3]))
    plain, found = update(params, np.arange(R), words, 0, None), update(params, np.arange(R), words, 0, penalty)
    for name, g in found.grads.items():
        decay = params[name] if name.startswith("weight") else 0 * params[name]
        assert np.allclose(
            g - plain.grads[name], np.array([0, 0.3]).reshape(-1, *[1] * (g.ndim - 1)) * decay, atol=1e-15
        )
    assert (found.penalty > 0).all() and not plain.penalty.any()
    with pytest.raises(ValueError, match="penalty: expected one on weights, got activity"):
        update(params, np.arange(R), words, 0, Penalised(PENALTIES["activity"], np.ones(R)))


# first weights and refusals


def test_first_weights():
    net = recurrent_lm.recurrent_lm(recurrent("lstm", 40, 30, 2), 50)
    params = uniform_initial(net, [0, 1], 0.1)
    assert {name: a.shape[1:] for name, a in params.items()} == parameter_shapes(net)
    for array in params.values():
        assert 0.09 < np.abs(array).max() <= 0.1 and abs(array.mean()) < 0.02 and not np.array_equal(array[0], array[1])
    usual = initial(net, [0, 1], embedded=0.2, recurrent="orthogonal", forget_bias=1.0)
    assert 0.19 < np.abs(usual["weight_embedding"]).max() <= 0.2 and not usual["bias_out"].any()
    assert 0.17 < np.abs(usual["weight_out"]).max() <= 30**-0.5
    assert (usual["bias_ih_l1"][:, 30:60] == 1).all()
    assert_same_bits(
        {name: a[1:] for name, a in usual.items()}, initial(net, [1], 0.2, recurrent="orthogonal", forget_bias=1.0)
    )
    gains = uniform_initial(recurrent_lm.recurrent_lm(recurrent("lstm_norm", 4, 3), 5), [0], 0.1)
    assert (gains["weight_norm_l0"] == 1).all()


def test_size_counts_every_number_once():
    layer = recurrent("lstm", 200, 200, 2)
    assert recurrent_lm.size(recurrent_lm.recurrent_lm(layer, 10_000)) == (4_653_200, 4 * 4_653_200)
    tied = recurrent_lm.recurrent_lm(layer, 10_000, tied=True)
    assert recurrent_lm.size(tied)[0] == 4_653_200 - 2_000_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recurrent_lm.recurrent_lm(recurrent("lstm", 2, 3), 0), "words"),
        (lambda: recurrent_lm.recurrent_lm(recurrent("lstm", 2, 3), 5, end=5), "end: expected a word 0 … 4"),
        (lambda: recurrent_lm.recurrent_lm(recurrent("lstm", 2, 3), 5, tied=True), "tied: .* got E = 2, H = 3"),
        (lambda: recurrent_lm.recurrent_lm(recurrent("gru", 2, 3, bidirectional=True), 5), "layer: .*bidirectional"),
        (lambda: gradients(model()[0], [0, 1], Noise(words=1.0)), "words: expected rates"),
        (lambda: gradients(model()[0], [0, 1], Noise(outputs=np.zeros(3))), "outputs: expected a rate"),
        (
            lambda: gradients(model(layers=1)[0], [0, 1], Noise(between=0.5)),
            "between: expected 0: nothing lies between, got 0.5",
        ),
        (lambda: gradients(model()[0], [0, 1], truncation=0), "truncation"),
        (
            lambda: gradients(*model()[:1], [0, 1], truncation=2)(
                model()[1], np.arange(R), batch(lengths=LENGTHS), 0, None
            ),
            "truncation: expected windows",
        ),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
