"""Language models in the training loop: states go from update to update, into checkpoints, and along with a replica."""

import numpy as np
import pytest
from cases import assert_same_bits
from language import END, model, text, zeros
from test_train import assert_same

from recurlab import journal, optimise
from recurlab.layers.recurrent import recurrent
from recurlab.models.recurrent_lm import initial, recurrent_lm, zero_states
from recurlab.models.recurrent_lm_gradients import Noise, gradients, loss_and_gradients
from recurlab.models.recurrent_lm_scores import log_probabilities
from recurlab.models.words import sentence_words, streams
from recurlab.text import sentences
from recurlab.train import ENDS, Plan, Solved, minibatch, train

ROWS, STEPS = 3, 4
NOISE = Noise(embedding=0.2, outputs=0.2)


def run(seeds=(0, 1, 2), wrapped=lambda update: update, given=None, **plan):
    """A network of one layer for each seed, trained on windows of a text: four updates an epoch."""
    net, params = model(layers=1, seeds=seeds, dtype="float32")
    cut = streams(text(), ROWS, STEPS)
    assert cut.updates == 4
    plan = Plan(**{"updates": 20, "learning_rate": 1.0, "rule": "sgd", "clip_norm": 0.25, "every": 4} | plan)
    update = wrapped(gradients(net, seeds, NOISE))
    source, carried = (lambda seeds, k: cut.take(k)), zero_states(net, len(seeds), ROWS)
    return train(net, given or params, seeds, source, plan, gradients=update, carried=carried)


def test_states_go_from_update_to_update_and_begin_anew_in_every_epoch():
    net, params = model(layers=1, seeds=[4], dtype="float32")
    cut, states, slots = streams(text(), ROWS, STEPS), None, {}
    slots = optimise.start("sgd", params)
    for k in range(7):
        states = zeros(net, 1, ROWS) if k % 4 == 0 else states
        found = loss_and_gradients(net, params, cut.take(k), tuple(a.astype("float32") for a in states))
        states = tuple(found.carried.values())
        factors = optimise.clip_factors(optimise.norms(found.grads), np.full(1, 0.25))
        optimise.update("sgd", k + 1, params, found.grads, slots, np.ones(1), factors, np.full(1, np.inf))
    update, carried = gradients(net, [4]), zero_states(net, 1, ROWS)
    given = model(layers=1, seeds=[4], dtype="float32")[1]
    plan = Plan(7, 1.0, "sgd", clip_norm=0.25)
    trained = train(net, given, [4], lambda _, k: cut.take(k), plan, gradients=update, carried=carried)
    assert_same_bits(trained.params, params)
    assert not carried["h"].any()


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_a_replica_trains_to_the_bits_it_has_alone(rule):
    together = run(rule=rule)
    for r in range(3):
        assert_same(together, run([r], rule=rule), slice(r, r + 1))


class Ended(Exception):
    """The process ends here."""


@pytest.mark.parametrize("last", [1, 6, 11, 17])
def test_a_run_that_was_ended_goes_on_with_its_states_to_the_same_bits(last, tmp_path, monkeypatch):
    """Points come every third update, epochs every fourth: most kept states are in the middle of an epoch."""
    monkeypatch.setattr(journal, "SECONDS", 0)
    whole = run(every=3)

    def ending(update):
        def until(params, live, words, k, penalised, carried):
            if k == last:
                raise Ended
            return update(params, live, words, k, penalised, carried)

        return until

    with pytest.raises(Ended), journal.opened(journal.Journal(tmp_path / "run", "key")):
        run(wrapped=ending, every=3)
    with journal.opened(journal.Journal(tmp_path / "run", "key")):
        begun = []

        def noting(update):
            return lambda params, live, words, k, *rest: begun.append(k) or update(params, live, words, k, *rest)

        assert_same(whole, run(wrapped=noting, every=3))
    assert min(begun) == last // 3 * 3


def test_a_replica_that_leaves_takes_its_state_along():
    losses = run(every=3).history["loss"]
    threshold = np.sort(np.nanmin(losses[2:-1], axis=0))[:2].mean()  # one replica reaches it before the end
    together = run(every=3, solved=Solved("loss", threshold))
    assert 0 < (together.outcome == ENDS.index("solved")).sum() < 3 and together.ended.min() < 20
    for r in range(3):
        alone = run([r], every=3, solved=Solved("loss", threshold))
        assert alone.ended[0] == together.ended[r]
        assert_same_bits({name: a[r : r + 1] for name, a in together.params.items()}, alone.params)


def test_a_replica_that_diverges_leaves_the_states_of_the_others_alone():
    net, params = model(layers=1, seeds=[0, 1], dtype="float32")
    params["weight_embedding"][0] = np.inf
    found = run([0, 1], given=params)
    assert found.outcome.tolist() == [ENDS.index("diverged"), ENDS.index("budget")]
    assert_same_bits({name: a[1:] for name, a in found.params.items()}, run([1]).params)


def test_a_rate_for_sums_of_steps_is_that_for_means_over_the_steps():
    """Zaremba adds up T steps, clips at 5 and takes lr 1: that is the mean's gradient with lr T, clipped at 5 / T."""
    net, params = model(layers=1, seeds=[0])
    words = streams(text(), ROWS, STEPS).take(0)
    grads = loss_and_gradients(net, params, words).grads
    for scale, rate, bound in ((STEPS, 1.0, 5.0), (1, STEPS, 5.0 / STEPS)):
        own = {name: scale * g for name, g in grads.items()}
        factor = optimise.clip_factors(optimise.norms(own), np.array([bound / 20]))
        moved = {name: rate * factor * g.reshape(1, -1) for name, g in own.items()}
        if scale != 1:
            expected = moved
    assert all(np.allclose(moved[name], expected[name], rtol=1e-4) for name in moved)


@pytest.mark.parametrize("tied", [False, True])
def test_a_text_that_repeats_itself_is_learnt_by_windows_and_by_sentences(tied):
    """Two sentences in turn, 1 2 and 1 3: the one before tells which comes, a state that begins anew does not."""
    tokens = np.array([1, 2, END, 1, 3, END] * 80, np.int32)
    net = recurrent_lm(recurrent("lstm", 8, 8), 4, END, tied)
    seeds, plan = [0, 1], Plan(500, 0.03, clip_norm=1.0)
    cut, first = streams(tokens, 5, 8), initial(net, seeds, embedded=0.5)
    carried = zero_states(net, 2, 5)
    found = train(net, first, seeds, lambda _, k: cut.take(k), plan, gradients=gradients(net, seeds), carried=carried)
    assert (-log_probabilities(net, found.params, tokens)[:, 20:].mean(axis=1) < 0.02).all()
    pieces = sentences(tokens, END)
    found = train(
        net,
        first,
        seeds,
        lambda _, k: sentence_words(pieces, minibatch(pieces.lengths, 12, k)),
        plan,
        gradients=gradients(net, seeds),
    )
    best = np.log(2) / 3  # one word in three is a coin
    reset = -log_probabilities(net, found.params, tokens, "reset").mean(axis=1)
    assert np.allclose(reset, best, rtol=0.05)
