"""How close does a network come to the entropy of the embedded Reber grammar, and does it keep the outer symbol?"""

from functools import partial
from typing import NamedTuple

import numpy as np

from recurlab.layers.footprint import memory_bytes, replica_groups
from recurlab.models.gradients import Truncation, side_by_side, windows_of
from recurlab.models.sequence import Batch, Network, of_replicas, outputs
from recurlab.studies import trained
from recurlab.studies.kinds import CELL, DEVICE, DTYPE, FLAG, INIT, POSITIVE, REAL, SCHEDULE, SIZE, optional
from recurlab.studies.study import Study
from recurlab.tasks.reber import entropy, exchanged, next_symbols, outer_steps
from recurlab.train import Plan, Trained

GRAMMAR = "embedded_reber"
LEARNED = 0.02  # bits: an outer symbol that costs less is known


class Test(NamedTuple):
    """Strings that no network is trained on, each also with the other outer symbol, and what is known of them."""

    batch: Batch
    ideal: np.ndarray  # p(next symbol | symbols so far), (R, T, B, 7)
    outer: np.ndarray  # step at which the second outer symbol is the target, (R, B)


def reber(
    *,
    seeds,
    length: SIZE,
    cell: CELL,
    hidden_size: SIZE,
    init_name: INIT,
    forget_bias: optional(REAL),
    batch_size: SIZE,
    updates: SIZE,
    every: SIZE,
    schedule: SCHEDULE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    window: optional(SIZE),
    carry: FLAG,
    test_pairs: SIZE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train one network for each seed with Adam, the gradient cut every `window` steps; one row for each point.

    A `window` is a truncation with k1 = k2. Without `carry` the state starts at zero in every window too, in training
    and in the test: the network sees the symbols of its window alone.
    """
    weights = {"recurrent": init_name, "forget_bias": forget_bias}
    made = trained.setting(GRAMMAR, seeds, cell, hidden_size, dtype, weights, device=device)
    cut = None if window is None else Truncation(window, window, carry)
    plan = Plan(updates, learning_rate, schedule=schedule, clip_norm=clip, truncation=cut, every=every)
    test = _test(made, seeds, length, test_pairs)
    found = trained.run(made, seeds, plan, length, batch_size, measure=partial(_measure, made.net, test, cut))
    return _rows(made, found, test, length, batch_size, cut)


def _test(made: trained.Setting, seeds, length: int, pairs: int) -> Test:
    """Each drawn string stands beside its exchanged one: who does not know which it is pays 1 bit at least in the mean.

    For -(log₂ q + log₂ p) / 2 ≥ 1 where p + q ≤ 1: exact for any number of strings.
    """
    drawn = made.task.draw(seeds, "test", 0, length, pairs, made.net.layer.dtype)
    both = [np.concatenate(pair, axis=2) for pair in zip(drawn[:3], exchanged(drawn)[:3], strict=True)]
    batch = Batch(*both)
    return Test(batch, next_symbols(GRAMMAR, length, batch), outer_steps(batch))


def _measure(
    net: Network, test: Test, cut: Truncation | None, params: dict, live, update: int
) -> dict[str, np.ndarray]:
    """gap (live,) and outer (live,): in bits a string."""
    found = []
    for group in replica_groups(net.layer, len(live), *test.batch.x.shape[1:3]):
        own = {name: array[group] for name, array in params.items()}
        part = Test(of_replicas(net, test.batch, live[group]), test.ideal[live[group]], test.outer[live[group]])
        found.append(_costs(_log2_shares(net, own, part.batch, cut), part))
    gap, outer = (np.concatenate(values) for values in zip(*found, strict=True))
    return {"gap": gap, "outer": outer}


def _log2_shares(net: Network, params: dict, batch: Batch, cut: Truncation | None) -> np.ndarray:
    """log₂ of the network's probabilities, (R, T, B, 7); windows without carried states are run as they are trained."""
    steps, rows = batch.x.shape[1:3]
    if cut is None or cut.carry:
        out = outputs(net, params, batch).reshape(-1, steps, rows, net.outputs)
    else:
        windows, own = windows_of(net, steps, cut), _window_of_step(net, steps, cut)
        out = outputs(net, params, side_by_side(net, batch, windows, cut.back))
        out = out.reshape(-1, cut.back, len(windows), rows, net.outputs)[:, np.arange(steps) - windows[own, 0], own]
    out = out.astype(np.float64)
    out -= out.max(axis=-1, keepdims=True)
    return (out - np.log(np.exp(out).sum(axis=-1, keepdims=True))) / np.log(2)


def _window_of_step(net: Network, steps: int, cut: Truncation) -> np.ndarray:
    """The window in which the loss of each step counts, (T,)."""
    return np.searchsorted(windows_of(net, steps, cut)[:, 2], np.arange(steps), side="right")


def _costs(log2_shares: np.ndarray, test: Test) -> tuple[np.ndarray, np.ndarray]:
    """Bits a string above the entropy (R,), and bits that the second outer symbol costs (R,).

    The first is Σ_t KL(p_t ‖ q_t): its mean over strings is cross-entropy - entropy, without the chance of which
    symbols came, so that 2,000 strings tell 0.001 bit (their own surprise varies by 2.6 bits a string).
    """
    known = np.log2(test.ideal, out=np.zeros_like(test.ideal), where=test.ideal > 0)
    above = (test.ideal * (known - log2_shares)).sum(axis=-1) * test.batch.weights
    replica, row = np.indices(test.outer.shape)
    paid = -log2_shares[replica, test.outer, row, test.batch.targets[replica, test.outer, row]]
    return above.sum(axis=1).mean(axis=-1), paid.mean(axis=-1)


def _rows(
    made: trained.Setting, found: Trained, test: Test, length: int, batch_size: int, cut: Truncation | None
) -> dict:
    """One row for each point and replica."""
    gap, outer = found.history["gap"], found.history["outer"]
    least, after = _least(made.net, test, cut), _learned_after(outer, found.points)
    of_replica = {"solved": outer[-1] < LEARNED, "outer_least": least, "learned_after": after * batch_size}
    several = {name: np.tile(values, len(gap)) for name, values in of_replica.items()}
    several |= {name: values.ravel() for name, values in found.history.items() if name in SHOWN}
    several |= {
        "log10_gap": np.log10(gap).ravel(),
        "inner": (gap - outer).ravel(),
        "saved": np.maximum(least - outer, 0).ravel(),
    }
    same = _of_window(made, length, batch_size, cut) | {"entropy": entropy(GRAMMAR, length) / np.log(2)}
    rows = trained.rows(made, found, made.task.baseline(length))
    rows = {name: rows[name] for name in ("replica", "network", "update", "last", "relative_loss", "diverged")}
    rows |= several | {name: np.full(gap.size, value) for name, value in same.items()}
    return rows | {"strings": rows["update"] * batch_size, "solved": rows["solved"].astype(int)}


SHOWN = ("loss", "gradient_norm", "gap", "outer")


def _least(net: Network, test: Test, cut: Truncation | None) -> np.ndarray:
    """Share of the test strings whose second outer symbol is asked in a window that does not show the first, (R,)."""
    if cut is None or cut.carry:
        return np.zeros(len(test.outer))
    steps = test.batch.x.shape[1]
    begins = windows_of(net, steps, cut)[_window_of_step(net, steps, cut), 0]  # (T,)
    return (begins[test.outer] > 1).mean(axis=-1)  # the first one is the input of step 1


def _learned_after(outer: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Updates made at the first point (P,) where the outer symbol (P, R) is known, or all of them, (R,)."""
    known = outer < LEARNED
    return np.where(known.any(axis=0), points[np.argmax(known, axis=0)], points[-1])


def _of_window(made: trained.Setting, length: int, batch_size: int, cut: Truncation | None) -> dict:
    """What a window costs: its tape, and the steps of all windows for each step of a string."""
    steps = made.task.steps(length)
    back = steps if cut is None else cut.back
    return {
        "back": back,
        "state": "carried" if cut is None or cut.carry else "reset",
        "tape_bytes": memory_bytes(made.net.layer, back, batch_size)["tape"],
        "work": -(-steps // back) * back / steps,
    }


def problems(given: dict) -> list[str]:
    """What is wrong with the length, the window and the initialisation together, in words."""
    cut = None if given["window"] is None else (given["window"], given["window"])
    return trained.problems(given | {"task": GRAMMAR, "truncation": cut})


REBER = Study(
    function=reber,
    replicas=(),
    together=problems,
    columns={
        "network": trained.COLUMNS["network"],
        "update": trained.COLUMNS["update"],
        "strings": "strings; seen so far",
        "last": trained.COLUMNS["last"],
        "loss": "nats; cross-entropy of a predicted symbol on new strings, mean since the point before",
        "relative_loss": trained.COLUMNS["relative_loss"],
        "gradient_norm": trained.COLUMNS["gradient_norm"],
        "diverged": trained.COLUMNS["diverged"],
        "gap": "bits; cross-entropy of a test string above the exact entropy of the truncated grammar, in the mean",
        "log10_gap": "log10 bits; the same",
        "outer": "bits; cost of the second outer symbol in the mean over test strings: 0 if known, 1 if forgotten",
        "inner": "bits; gap - outer: what all other symbols of a string cost too much",
        "outer_least": "bits; share of the test strings that show the first outer symbol in another, reset window",
        "saved": "bits; by how much the outer symbol costs less than outer_least, 0 if it costs more",
        "entropy": "bits; exact entropy of a string of the truncated grammar",
        "solved": f"flag; 1 if the outer symbol costs less than {LEARNED} bit at the last point",
        "learned_after": f"strings; seen at the first point with an outer symbol below {LEARNED} bit, or all",
        "back": "steps; k1 = k2, or the steps of a whole string",
        "state": "name; 'carried' from window to window, or 'reset' to zero",
        "tape_bytes": "bytes; of the tape of one window, packed weights included (one replica)",
        "work": "1; steps of all windows / steps of a string: 1 if the gradient is not cut",
    },
)
