"""The neural n-gram model: what it sees, loss and gradients against the equation and torch, training, scores."""

import naive
import numpy as np
import pytest
from cases import assert_close, assert_same_bits
from language import END, V, drawn, text
from test_sequence import assert_gradients_are_slopes

from recurlab import noise
from recurlab.models import window_lm_scores
from recurlab.models.gradients import Penalised
from recurlab.models.window_lm import (
    NOTHING,
    Contexts,
    Dropped,
    contexts,
    gradients,
    initial,
    loss_and_gradients,
    parameter_shapes,
    size,
    window_lm,
)
from recurlab.models.window_lm_scores import (
    context_log_probabilities,
    log_probabilities,
    next_distribution,
    position_weights,
    step,
)
from recurlab.penalties import PENALTIES
from recurlab.random import Stream, integers
from recurlab.train import Plan, minibatch, train

R, N, K, E, H = 2, 7, 3, 4, 5
FORMS = {"hidden": (H, False), "direct": (H, True), "linear": (None, True)}


def model(form="direct", seeds=range(R), dtype="float64", end=END):
    """A model with weights that are not small, biases included."""
    net = window_lm(V, K, E, *FORMS[form], end, dtype)
    params = initial(net, list(seeds), embedded=1.0)
    biases = {name: drawn(name, *array.shape).astype(dtype) for name, array in params.items() if "bias" in name}
    return net, params | biases


def seen(own=False, holes=True):
    """Contexts with and without places where no word stands."""
    lead = (R,) if own else ()
    ids = integers(Stream(0, "test contexts"), V, (*lead, N, K))
    if holes:
        ids[..., 0, :2] = NOTHING
    return Contexts(ids, integers(Stream(0, "test next"), V, (*lead, N)))


def masks(net):
    shapes = (R, N, K * E), (R, N, H)
    embedded, hidden = (np.abs(drawn(f"mask {shape}", *shape)) for shape in shapes)
    return Dropped(embedded, hidden if net.hidden_size else None)


def features(net, params, ids):
    """What the softmax sees of one context, as the equation has it, and its matrix."""
    rows = [0 * params["weight_embedding"][0] if word == NOTHING else params["weight_embedding"][word] for word in ids]
    x, h, matrix = np.concatenate(rows), [], []
    if net.hidden_size:
        h.append(np.tanh(params["weight_hidden"] @ x + params["bias_hidden"]))
        matrix.append(params["weight_out"])
    if net.direct:
        h.append(x)
        matrix.append(params["weight_direct"])
    return np.concatenate(h), np.concatenate(matrix, axis=1)


def naive_logs(net, params, ids, targets):
    """ln p of targets (N,) behind contexts (N, k) for one replica."""
    logs = []
    for context, target in zip(ids, targets, strict=True):
        h, matrix = features(net, params, context)
        logs.append(-naive.word_loss(matrix, params["bias_out"], h[None], [target], [1]))
    return np.array(logs)


def of_replica(params, r):
    return {name: array[r] for name, array in params.items()}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_loss_is_that_of_the_equation(form, own):
    net, params = model(form)
    given = seen(own)
    found = loss_and_gradients(net, params, given)
    for r in range(R):
        ids, targets = (array[r] if own else array for array in given)
        expected = -naive_logs(net, of_replica(params, r), ids, targets).mean()
        assert found.loss[r] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_the_slopes_of_the_loss(form, own):
    net, params = model(form)
    given, dropped = seen(own), masks(net)
    found = loss_and_gradients(net, params, given, dropped)
    assert {name: g.shape[1:] for name, g in found.grads.items()} == parameter_shapes(net)
    assert_gradients_are_slopes(net, params, lambda p: loss_and_gradients(net, p, given, dropped).loss, found.grads)


@pytest.mark.oracle
@pytest.mark.parametrize("form", FORMS)
def test_loss_and_every_gradient_are_those_of_torch(form):
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
    net, params = model(form)
    given, linear = seen(own=True, holes=False), torch.nn.functional.linear
    found = loss_and_gradients(net, params, given)
    for r in range(R):
        p = {name: torch.tensor(array[r], requires_grad=True) for name, array in params.items()}
        x = torch.nn.functional.embedding(torch.tensor(given.ids[r]), p["weight_embedding"]).reshape(N, -1)
        z = p["bias_out"] + (linear(x, p["weight_direct"]) if net.direct else 0)
        if net.hidden_size:
            z = z + linear(torch.tanh(linear(x, p["weight_hidden"], p["bias_hidden"])), p["weight_out"])
        loss = torch.nn.functional.cross_entropy(z, torch.tensor(given.targets[r]))
        loss.backward()
        assert found.loss[r] == pytest.approx(loss.item(), rel=1e-12)
        assert_close({name: g[r] for name, g in found.grads.items()}, {n: g.grad.numpy() for n, g in p.items()}, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replica_has_the_bits_it_has_alone_under_dropout(dtype):
    net, params = model(dtype=dtype)
    given = seen(own=True)
    together = gradients(net, [9, 3, 5], 0.2, [0.6, 0.3, 0.4])(params, np.array([1, 2]), given, 7, None)
    for r in range(R):  # the first of three has left the launch
        own = {name: array[r : r + 1] for name, array in params.items()}
        part = Contexts(given.ids[r : r + 1], given.targets[r : r + 1])
        alone = gradients(net, [[3, 5][r]], 0.2, [0.3, 0.4][r])(own, np.arange(1), part, 7, None)
        assert together.loss[r] == alone.loss[0]
        assert_same_bits({name: g[r : r + 1] for name, g in together.grads.items()}, alone.grads)


def test_places_have_masks_of_their_own_that_change_with_the_update(monkeypatch):
    (net, params), seen_masks = model(), []
    monkeypatch.setattr(noise, "dropout_mask", lambda *address: seen_masks.append(address[:3]) or np.ones(()))
    for update in (3, 4):
        gradients(net, [3, 5], 0.5, 0.5)(params, np.arange(R), seen(), update, None)
    assert len({(purpose, update) for _, purpose, update in seen_masks}) == 4


def test_dropout_of_nothing_changes_no_bit_and_weight_decay_is_added():
    net, params = model()
    given, plain = seen(), loss_and_gradients(net, params, seen())
    update = gradients(net, range(R))
    assert_same_bits(update(params, np.arange(R), given, 0, None).grads, plain.grads)
    decay = update(params, np.arange(R), given, 0, Penalised(PENALTIES["weight_decay"], np.full(R, 0.5)))
    for name, g in decay.grads.items():
        assert np.allclose(g - plain.grads[name], 0.5 * params[name] * name.startswith("weight"), atol=1e-14), name
    with pytest.raises(ValueError, match="penalty: expected weight_decay"):
        update(params, np.arange(R), given, 0, Penalised(PENALTIES["orthogonality"], np.ones(R)))


# contexts


def test_contexts_run_across_sentence_ends_or_are_reset():
    net = window_lm(V, K, E, H, end=END)
    tokens = np.array([5, 6, END, 7, 8, 9, 4], np.int32)
    carried = [[END, END, END], [END, END, 5], [END, 5, 6], [5, 6, END], [6, END, 7], [END, 7, 8], [7, 8, 9]]
    found = contexts(net, tokens, np.arange(7), "carry")
    assert found.ids.tolist() == carried and found.targets.tolist() == tokens.tolist()
    reset = [[END, END, END], [END, END, 5], [END, 5, 6], [END, END, END], [END, END, 7], [END, 7, 8], [7, 8, 9]]
    assert contexts(net, tokens, np.arange(7), "reset").ids.tolist() == reset
    known = [[END, END, word] for _, _, word in carried]
    assert contexts(net, tokens, np.arange(7), "carry", known=1).ids.tolist() == known


def test_without_a_sentence_end_nothing_stands_before_the_text():
    net = window_lm(V, K, E, H)
    found = contexts(net, np.array([5, 6, 7, 8]), np.array([0, 2, 3]), "carry")
    assert found.ids.tolist() == [[NOTHING] * 3, [NOTHING, 5, 6], [5, 6, 7]]
    with pytest.raises(ValueError, match="^protocol: expected 'carry' without <eos>"):
        contexts(net, np.array([5, 6]), np.array([0]), "reset")


# scores


@pytest.mark.parametrize("protocol", ["carry", "reset"])
def test_scores_are_those_of_every_context(protocol, monkeypatch):
    net, params = model()
    tokens = text()
    given = contexts(net, tokens, np.arange(60), protocol)
    expected = np.stack([naive_logs(net, of_replica(params, r), *given) for r in range(R)])
    assert_close(log_probabilities(net, params, tokens, protocol), expected, 1e-12)
    monkeypatch.setattr(window_lm_scores, "PLACES", 13)
    assert_close(log_probabilities(net, params, tokens, protocol), expected, 1e-12)


@pytest.mark.parametrize("end", [END, None])
def test_distributions_steps_and_scores_agree(end):
    net, params = model(end=end)
    tokens, states = text(9), None
    logs = log_probabilities(net, params, tokens)
    for t in range(1, 9):
        if end is None or t >= K:
            every = next_distribution(net, params, tokens[None, :t])
            assert np.allclose(np.exp(every).sum(axis=2), 1, rtol=0, atol=1e-13)
            assert_close(every[:, 0, tokens[t]], logs[:, t], 1e-13)
        once, states = step(net, params)(states, np.full((R, 1), tokens[t - 1]))
        assert_close(once, next_distribution(net, params, tokens[None, :t]), 1e-13)
        assert states[0].shape == (R, 1, 1, K)


def test_less_context_is_a_context_of_sentence_ends():
    net, params = model()
    tokens, at = text(), np.array([7, 40, 59])
    found = context_log_probabilities(net, params, tokens, at, 1)
    known = np.stack([np.full(3, END), np.full(3, END), tokens[at - 1]], axis=1)
    every = next_distribution(net, params, known)
    assert_close(found, every[:, np.arange(3), tokens[at]], 1e-13)
    assert_close(
        context_log_probabilities(net, params, tokens, at, 9), log_probabilities(net, params, tokens)[:, at], 1e-13
    )


@pytest.mark.parametrize("form", FORMS)
def test_position_weights_are_shares_of_the_variance_that_words_bring(form):
    net, params = model(form)
    name = "weight_direct" if net.hidden_size is None else "weight_hidden"
    params[name] = params[name] * np.repeat([1.0, 2.0, 0.0], E)  # the last word counts for nothing
    tokens = text(400)
    for r, found in enumerate(position_weights(net, params, tokens)):
        brought = [params["weight_embedding"][r, tokens] @ params[name][r, :, k * E : (k + 1) * E].T for k in range(K)]
        if net.hidden_size is None:  # logits that all move together are no other distribution
            brought = [logits - logits.mean(axis=1, keepdims=True) for logits in brought]
        variance = np.array([values.var(axis=0).sum() for values in brought[::-1]])
        assert found[0] == 0 and found.sum() == pytest.approx(1, abs=1e-14)
        assert_close(found, variance / variance.sum(), 1e-12)
    assert np.isnan(position_weights(net, params, tokens[:1])).all()


# training


@pytest.mark.parametrize(("rule", "rate"), [("adam", 0.03), ("sgd", 1.0)])
@pytest.mark.parametrize("form", FORMS)
def test_the_training_loop_learns_a_text_that_k_words_tell(form, rule, rate):
    tokens = np.array([1, 1, 2, 1, 2, 2, END] * 40, np.int32)  # of three words, none comes with two that follow it
    net = window_lm(
        4, K, 5, *((8, False) if form == "hidden" else (8, True) if form == "direct" else (None, True)), END
    )
    lengths, seeds = np.ones(len(tokens)), [0, 1]

    def source(seeds, update):
        return contexts(net, tokens, minibatch(lengths, 32, update), "carry")

    found = train(net, initial(net, seeds, 0.5), seeds, source, Plan(400, rate, rule), gradients=gradients(net, seeds))
    loss = -log_probabilities(net, found.params, tokens)[:, 7:].mean(axis=1)
    assert (loss < (0.3 if form == "linear" else 0.05)).all(), loss


def test_first_weights_and_size():
    net = window_lm(100, 4, 60, 50, True)
    params = initial(net, [0, 1])
    assert {name: a.shape[1:] for name, a in params.items()} == parameter_shapes(net)
    assert 0.09 < np.abs(params["weight_embedding"]).max() <= 0.1 and not params["bias_out"].any()
    assert 0.06 < np.abs(params["weight_hidden"]).max() <= 240**-0.5
    assert 0.13 < np.abs(params["weight_out"]).max() <= 50**-0.5
    assert size(net) == (6000 + 240 * 50 + 50 + 5000 + 24000 + 100, 4 * 47150)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: window_lm(5, 0, 2, 3), "window"),
        (lambda: window_lm(5, 2, 2, None), "hidden_size: expected a size, or direct"),
        (lambda: window_lm(5, 2, 2, 3, end=5), "end"),
        (lambda: window_lm(5, 2, 2, 3, dtype="int8"), "dtype"),
        (lambda: gradients(model()[0], [0, 1], 1.0), "dropout_embedding: expected rates"),
        (lambda: gradients(model("linear")[0], [0, 1], 0.0, 0.5), "dropout_hidden"),
        (lambda: context_log_probabilities(*model(), text(), [60], 2), "at"),
        (lambda: log_probabilities(*model(), text()[:0]), "at: expected at least one"),
        (lambda: contexts(model()[0], text(), np.array([1]), "both"), "protocol"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
