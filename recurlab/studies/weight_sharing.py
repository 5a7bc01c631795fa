"""What do shared weights buy: fewer sequences to learn from, and networks that run on lengths they were not trained on?

The untied network is the tied one unrolled over T steps, started from the same weights; then every step's go their own
way. `unrolling` compares the numbers of parameters and the gradients of the two.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect
from recurlab.models import sequence, untied
from recurlab.models.gradients import loss_and_gradients
from recurlab.models.sequence import Batch
from recurlab.random import Stream, integers
from recurlab.studies import trained
from recurlab.studies.kinds import (
    CELL,
    DEVICE,
    DTYPE,
    INIT,
    MEMORY_TASK,
    POSITIVE,
    REAL,
    SIZE,
    list_of,
    one_of,
    optional,
    sizes,
)
from recurlab.studies.study import Study
from recurlab.studies.trained import Setting
from recurlab.tasks.task import Task
from recurlab.train import ENDS, Patience, Plan, Trained, minibatch, train

MODELS = {  # weights -> how a batch is judged, and its gradients
    "tied": (sequence.evaluate, loss_and_gradients),
    "untied": (untied.evaluate, untied.loss_and_gradients),
}
VALID_ROWS = 512  # sequences of the longest trained length that choose the point whose weights are tested
POINTS = 20  # of a training run
STEPS = 2**15  # T·B of a test batch at most, so that a test at any length takes no more memory than an update


class Examples(NamedTuple):
    """The sequences of a task that networks are trained and tested on."""

    task: Task
    lengths: tuple[int, int]  # shortest and longest of training
    batches: int | None  # in the training set; None: new ones at every update
    rows: int  # of a training batch
    dtype: str

    def train(self, seeds, update: int) -> Batch:
        """The batch of an update; a training set is gone through in a new order in every epoch."""
        step = update if self.batches is None else int(minibatch(np.zeros(self.batches), 1, update)[0])
        shortest, longest = self.lengths
        length = shortest + int(integers(Stream(0, "training length", step), longest - shortest + 1, (1,))[0])
        return self.task.draw(seeds, "train", step, length, self.rows, self.dtype)

    def valid(self, seeds) -> Batch:
        """The sequences that choose when training was at its best."""
        return self.task.draw(seeds, "valid", 0, self.lengths[1], VALID_ROWS, self.dtype)

    def test(self, seeds, length: int, count: int) -> Iterator[Batch]:
        """At least `count` sequences of a length, in batches of at most STEPS steps (and at least one sequence)."""
        rows = max(1, min(count, STEPS // self.task.steps(length)))
        for step in range(-(-count // rows)):
            yield self.task.draw(seeds, "test", step, length, rows, self.dtype)


def weight_sharing(
    *,
    seeds,
    task: MEMORY_TASK,
    cell: CELL,
    init_name: INIT,
    forget_bias: optional(REAL),
    hidden_size: SIZE,
    sharing: one_of(*MODELS),
    sequences: optional(SIZE),
    train_lengths: sizes("shortest", "longest"),
    test_lengths: list_of(SIZE),
    test_sequences: SIZE,
    batch_size: SIZE,
    updates: SIZE,
    learning_rate: POSITIVE,
    clip: POSITIVE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train one network for each seed, on `sequences` or on new data at every update, and test it at every length.

    Adam with a learning rate that falls linearly to 0; the weights tested are those of the point with the least loss on
    validation sequences. Each update has one length, uniform over `train_lengths`.
    """
    weights = {"recurrent": init_name, "forget_bias": forget_bias}
    made = trained.setting(task, seeds, cell, hidden_size, dtype, weights, device=device)
    examples = Examples(made.task, train_lengths, _batches(sequences, batch_size), batch_size, dtype)
    _check_lengths(sharing, train_lengths, test_lengths)
    if sharing == "untied":
        made = made._replace(params=untied.untie(made.params, made.task.steps(train_lengths[0])))
    every = -(-updates // POINTS)
    patience = Patience("valid_loss", updates)  # longer than the run: it only chooses
    plan = Plan(updates, learning_rate, schedule="linear", clip_norm=clip, every=every, patience=patience)
    found = _train(made, sharing, examples, seeds, plan)
    tests = [_test(made, sharing, examples, seeds, found, length, test_sequences) for length in test_lengths]
    label = f"{sharing}, {made.label}" + ("" if sequences is None else f", {sequences} sequences")
    stretch = np.array(test_lengths) / train_lengths[1]
    return _rows(made, found, tests, test_lengths, label) | {"stretch": np.repeat(stretch, len(seeds))}


def _batches(sequences: int | None, batch_size: int) -> int | None:
    """The whole batches of a training set."""
    whole = sequences is None or sequences % batch_size == 0
    expect(whole, "sequences", sequences, f"a multiple of the batch size {batch_size}")
    return None if sequences is None else sequences // batch_size


def _check_lengths(sharing: str, trained_on, tested_on) -> None:
    """Shortest before longest; one length for all if the weights are not shared."""
    shortest, longest = trained_on
    expect(shortest <= longest, "train_lengths", [shortest, longest], "[shortest, longest]")
    same = sharing == "tied" or {*trained_on, *tested_on} == {shortest}
    expect(same, "test_lengths", list(tested_on), f"[{longest}]: an untied network has weights for no other length")


def _train(made: Setting, sharing: str, examples: Examples, seeds, plan: Plan) -> Trained:
    """Train, with the loss on the validation sequences at every point."""
    (evaluate, gradients_of), valid = MODELS[sharing], examples.valid(seeds)

    def gradients(params, live, batch, update, penalised):
        return gradients_of(made.net, params, batch)

    def measure(params, live, update):
        batch = sequence.of_replicas(made.net, valid, live)
        return {"valid_loss": evaluate(made.net, params, batch)[0]}

    what = f"{made.task.name}, {sharing} {made.label}"
    return train(made.net, made.params, seeds, examples.train, plan, measure=measure, gradients=gradients, what=what)


def _test(made: Setting, sharing: str, examples: Examples, seeds, found: Trained, length: int, count: int):
    """Loss and error (2, R) at a length."""
    evaluate, _ = MODELS[sharing]
    return np.mean([evaluate(made.net, found.params, batch) for batch in examples.test(seeds, length, count)], axis=0)


def _rows(made: Setting, found: Trained, tests, lengths, label: str) -> dict[str, np.ndarray]:
    """One row for each seed and tested length."""
    (loss, error), replicas, each = np.moveaxis(tests, 1, 0), len(found.ended), len(lengths)
    baselines = np.array([made.task.baseline(length) for length in lengths])
    valid = found.history["valid_loss"]
    same = {
        "replica": np.arange(replicas),
        "train_loss": found.history["loss"][-1],
        "valid_loss": valid.min(axis=0),
        "best_update": found.points[valid.argmin(axis=0)],
        "diverged": (found.outcome == ENDS.index("diverged")).astype(int),
    }
    return {name: np.tile(values, each) for name, values in same.items()} | {
        "network": np.full(each * replicas, label),
        "weights": np.full(each * replicas, sum(array[0].size for array in made.params.values())),
        "test_length": np.repeat(lengths, replicas),
        "test_loss": loss.ravel(),
        "test_error": error.ravel(),
        "relative_loss": (loss / baselines[:, None]).ravel(),
    }


WEIGHT_SHARING = Study(
    function=weight_sharing,
    replicas=(),
    columns={
        "network": "name; sharing, cell and initialisation, size of the training set",
        "test_length": "steps; length of the task in the test",
        "stretch": "1; test_length / longest trained length",
        "test_loss": "of the task; mean over new sequences (nats, or squared)",
        "test_error": "of the task; share of wrong classes, or the loss itself where targets are numbers",
        "relative_loss": "1; test_loss / exact loss of the best guess without memory at that length",
        "train_loss": "of the task; mean over the last twentieth of the updates",
        "valid_loss": "of the task; the least on 512 other sequences of the longest trained length",
        "best_update": "updates; made where that was",
        "weights": "numbers; parameters trained",
        "diverged": "flag; 1 if loss or gradient became infinite or not a number",
    },
)
