"""The training loop: what it records, who leaves when, and the same bits alone, with others, and interrupted."""

import numpy as np
import pytest

from recurlab import journal
from recurlab.layers.recurrent import recurrent
from recurlab.models.gradients import Truncation
from recurlab.models.sequence import Batch, network, readout
from recurlab.optimise import RULES
from recurlab.random import Stream, integers, normal, permutation
from recurlab.train import ENDS, MEASURED, POOL, Patience, Plan, Solved, minibatch, train
from recurlab.weights import init

T, B = 6, 8
END = {name: k for k, name in enumerate(ENDS)}


def networks(seeds, cell="gru", dtype="float32"):
    net = network(recurrent(cell, 2, 5, dtype=dtype), 1, "squared_error", "last")
    return net, init(net.layer, list(seeds), bias="uniform") | readout(net, seeds)


def source(seeds, update):
    """Remember the first input: a new batch for each seed and update."""
    x = np.stack([normal(Stream(int(seed), "test x", update), (T, B, 2)) for seed in seeds]).astype(np.float32)
    return Batch(x, x[:, 0, :, :1].copy())


def run(seeds=(0, 1, 2), cell="gru", given=None, source=source, measure=None, **plan):
    net, params = networks(seeds, cell)
    plan = Plan(**{"updates": 12, "learning_rate": 0.01, "clip_norm": 1.0, "every": 4} | plan)
    return train(net, given or params, seeds, source, plan, measure=measure)


def assert_same(a, b, replicas=slice(None)):
    assert np.array_equal(a.points, b.points) and a.history.keys() == b.history.keys()
    for name, values in a.history.items():
        assert np.array_equal(values[:, replicas], b.history[name], equal_nan=True), name
    for name, array in a.params.items():
        assert np.array_equal(array[replicas], b.params[name]), name
    assert np.array_equal(a.ended[replicas], b.ended) and np.array_equal(a.outcome[replicas], b.outcome)


# what is recorded


def test_points_begin_untrained_and_end_with_the_budget():
    found = run(updates=10)
    assert found.points.tolist() == [0, 4, 8, 10]
    assert set(found.history) == set(MEASURED) and all(v.shape == (4, 3) for v in found.history.values())
    assert np.isnan(found.history["loss"][0]).all() and np.isfinite(found.history["loss"][1:]).all()
    assert (found.ended == 10).all() and (found.outcome == END["budget"]).all()


def test_training_learns_and_leaves_the_given_parameters_alone():
    net, params = networks([0, 1, 2])
    before = {name: array.copy() for name, array in params.items()}
    found = train(net, params, [0, 1, 2], source, Plan(400, 0.01, clip_norm=1.0))
    assert (found.history["loss"][-1] < 0.5 * found.history["loss"][1]).all()
    assert all(np.array_equal(params[name], before[name]) for name in params)


def test_clipping_bounds_the_applied_norm_and_nothing_else():
    free, clipped = run(clip_norm=np.inf), run(clip_norm=0.05)
    assert np.array_equal(free.history["applied_norm"], free.history["gradient_norm"], equal_nan=True)
    assert (clipped.history["applied_norm"][1:] <= 0.05).all()
    assert (clipped.history["largest_norm"][1:] >= clipped.history["gradient_norm"][1:]).all()


def test_settings_may_differ_between_replicas():
    rates = np.array([0.001, 0.01, 0.1])
    together = run(learning_rate=rates, clip_norm=np.array([0.1, 1.0, np.inf]))
    for r, (rate, clip) in enumerate(zip(rates, (0.1, 1.0, np.inf), strict=True)):
        assert_same(together, run([r], learning_rate=rate, clip_norm=clip), slice(r, r + 1))


def test_a_measure_is_called_at_every_point_with_the_live_replicas():
    seen = []

    def measure(params, live, update):
        seen.append((update, live.tolist()))
        return {"bias": params["bias_out"][:, 0].astype(float)}

    found = run(measure=measure)
    assert seen == [(update, [0, 1, 2]) for update in (0, 4, 8, 12)]
    assert np.array_equal(found.history["bias"][-1], found.params["bias_out"][:, 0])


# the same bits


@pytest.mark.parametrize("rule", RULES)
def test_a_replica_of_64_trains_to_the_bits_it_has_alone(rule):
    together = run(range(64), "rnn_tanh", rule=rule)
    for r in (0, 37, 63):
        assert_same(together, run([r], "rnn_tanh", rule=rule), slice(r, r + 1))


def test_a_replica_that_leaves_does_not_touch_the_others():
    threshold = 1.0001 * np.nanmin(run(updates=40).history["loss"])  # one replica reaches it, at one point
    together = run(updates=40, solved=Solved("loss", threshold))
    assert sorted(together.outcome.tolist()) == [END["budget"], END["budget"], END["solved"]]
    for r in range(3):
        alone = run([r], updates=40, solved=Solved("loss", threshold))
        assert alone.ended[0] == together.ended[r] and alone.outcome[0] == together.outcome[r]
        assert all(np.array_equal(alone.params[name][0], together.params[name][r]) for name in alone.params)


class Ended(Exception):
    """The process ends here."""


@pytest.mark.parametrize("plan", [{}, {"rule": "momentum", "schedule": "linear"}, {"solved": Solved("loss", 0.9)}])
@pytest.mark.parametrize("last", [1, 5, 9, 17])
def test_a_run_that_was_ended_goes_on_to_the_same_bits(last, plan, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SECONDS", 0)
    whole = run(updates=20, **plan)

    def ending(seeds, update):
        if update == last:
            raise Ended
        return source(seeds, update)

    with pytest.raises(Ended), journal.opened(journal.Journal(tmp_path / "run", "key")):
        run(updates=20, source=ending, **plan)
    with journal.opened(journal.Journal(tmp_path / "run", "key")):
        drawn = []
        again = run(updates=20, source=lambda seeds, k: drawn.append(k) or source(seeds, k), **plan)
    assert_same(whole, again)
    assert min(drawn) == last // 4 * 4


def test_a_finished_run_is_not_run_again(tmp_path):
    with journal.opened(journal.Journal(tmp_path / "run", "key")):
        whole = run()
    with journal.opened(journal.Journal(tmp_path / "run", "key")):
        assert_same(whole, run(source=None))


def test_a_state_of_other_sources_is_left_alone_and_a_damaged_one_told(tmp_path):
    with journal.opened(journal.Journal(tmp_path / "run", "key")) as notes:
        whole = run()
    with journal.opened(journal.Journal(tmp_path / "run", "other key")):
        assert_same(whole, run())
    notes.file_of(1).write_bytes(notes.file_of(1).read_bytes()[:-200])
    with journal.opened(journal.Journal(tmp_path / "run", "key")), pytest.warns(UserWarning, match="damaged"):
        assert_same(whole, run())
    notes.clear()
    assert not list(tmp_path.iterdir())


def test_how_far_a_run_is_is_told():
    told = []
    with journal.opened(journal.Journal(tell=lambda *news: told.append(news))):
        run()
    assert told == [("training", done, 12) for done in (4, 8, 12)]


# who leaves


def test_a_diverged_replica_is_recorded_and_stays_and_its_neighbour_learns():
    net, params = networks([0, 1], "rnn_linear")
    params["weight_hh_l0"][0] *= 1e38
    found = run([0, 1], "rnn_linear", given=params)
    assert found.outcome.tolist() == [END["diverged"], END["budget"]] and found.ended.tolist() == [0, 12]
    assert all(np.array_equal(found.params[name][0], params[name][0]) for name in params)
    assert not np.isfinite(found.history["loss"][-1, 0]) and np.isfinite(found.history["loss"][-1, 1])


def test_a_replica_frozen_within_an_interval_stays_frozen():
    def once(seeds, update):
        batch = source(seeds, update)
        if update == 5:
            batch.targets[0] = np.nan
        return batch

    found = run([0, 1], source=once)
    until = run([0, 1], updates=5)
    assert found.ended.tolist() == [5, 12]
    assert all(np.array_equal(found.params[name][0], until.params[name][0]) for name in found.params)


def test_all_diverged_ends_the_run():
    net, params = networks([0], "rnn_linear")
    params["weight_hh_l0"] *= 1e38
    assert run([0], "rnn_linear", given=params, updates=1000).points.tolist() == [0, 4]


def test_patience_keeps_the_best_parameters():
    course = {0: 3.0, 4: 1.0, 8: 2.0, 12: 2.0, 16: 0.5}
    found = run(measure=lambda p, live, k: {"v": np.full(len(live), course[k])}, patience=Patience("v", 2), updates=16)
    best = run(updates=4)
    assert (found.outcome == END["stopped"]).all() and (found.ended == 12).all()
    assert all(np.array_equal(found.params[name], best.params[name]) for name in found.params)


# refusals


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rule": "adamw"}, "rule.*adamw"),
        ({"schedule": "steps"}, "schedule.*steps"),
        ({"penalty": "omgea"}, "penalty.*omgea"),
        ({"updates": 0}, "updates"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": np.inf}, "learning_rate"),
        ({"learning_rate": [0.1, 0.2]}, "learning_rate.*shape"),
        ({"clip_norm": -1.0}, "clip_norm.*-1"),
        ({"clip_value": np.nan}, "clip_value.*NaN"),
        ({"penalty_weight": -0.5}, "penalty_weight"),
    ],
)
def test_wrong_plans_are_refused_before_any_work(wrong, told):
    with pytest.raises(ValueError, match=told):
        run(source=None, **wrong)


def test_truncation_beyond_the_sequence_is_refused():
    with pytest.raises(ValueError, match="at most the 6 steps"):
        run(truncation=Truncation(1, 7))


# minibatches of a fixed set


def test_an_epoch_goes_through_every_row_once_in_a_new_order():
    epochs = [epoch_of(np.full(20, 7), 4, epoch) for epoch in range(3)]
    assert all(sorted(epoch.ravel()) == list(range(20)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert len(set(epoch_of(np.full(22, 7), 4, 0).ravel())) == 20  # the remainder of 2 is left out


def epoch_of(lengths, batch, epoch):
    """The minibatches of an epoch, (each, batch)."""
    each = len(lengths) // batch
    return np.stack([minibatch(lengths, batch, epoch * each + k) for k in range(each)])


def test_rows_of_one_length_come_in_the_order_drawn():
    drawn = permutation(Stream(0, "minibatches", step=3), 150)
    assert np.array_equal(epoch_of(np.full(150, 7), 4, 2).ravel(), drawn[:148])


def test_rows_of_similar_length_come_together_and_in_no_order_of_length():
    lengths = integers(Stream(0, "lengths"), 100, 8 * 2 * POOL + 5) + 1
    found = epoch_of(lengths, 8, 0)
    assert len(set(found.ravel())) == found.size
    pools = lengths[found].reshape(2, POOL, 8)
    for pool in pools:  # dealt out: what one minibatch holds, no other reaches into
        ranges = sorted((rows.min(), rows.max()) for rows in pool)
        assert all(a[1] <= b[0] for a, b in zip(ranges, ranges[1:], strict=False))
        assert not np.array_equal(pool.max(axis=1), np.sort(pool.max(axis=1)))
    filled = lengths[found].max(axis=1).sum() * 8 / lengths[found].sum()
    assert filled < 1.15  # 1.8 for minibatches as drawn
