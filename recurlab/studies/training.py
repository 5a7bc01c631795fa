"""Which networks learn a task that needs memory, how soon, and what clipping and penalties change?"""

import numpy as np

from recurlab.studies import trained
from recurlab.studies.kinds import (
    CELL,
    DEVICE,
    DTYPE,
    FLAG,
    INIT,
    MEMORY_TASK,
    NON_NEGATIVE,
    PENALTY,
    POSITIVE,
    REAL,
    RULE,
    SCHEDULE,
    SIZE,
    one_of,
    optional,
    sizes,
)
from recurlab.studies.study import Study
from recurlab.train import Plan


def training(
    *,
    seeds,
    task: MEMORY_TASK,
    length: SIZE,
    cell: CELL,
    hidden_size: SIZE,
    init_name: INIT,
    gain: REAL,
    input_init: INIT,
    input_gain: REAL,
    output_sd: optional(POSITIVE),
    forget_bias: optional(REAL),
    chrono: optional(SIZE),
    batch_size: SIZE,
    updates: SIZE,
    every: SIZE,
    rule: RULE,
    schedule: SCHEDULE,
    learning_rate: POSITIVE,
    clip: optional(POSITIVE),
    clip_value: optional(POSITIVE),
    penalty: optional(PENALTY),
    penalty_weight: NON_NEGATIVE,
    truncation: optional(sizes("ahead", "back")),
    carry: FLAG,
    solved_by: optional(one_of("loss", "error")),
    solved_below: POSITIVE,
    dtype: DTYPE,
    device: DEVICE = "cpu",
):
    """Train one network for each seed on new data at every update; one row for each point, update 0 untrained."""
    weights = {"recurrent": init_name, "gain": gain, "input": input_init, "input_gain": input_gain}
    weights |= {"forget_bias": forget_bias, "chrono": chrono}
    made = trained.setting(task, seeds, cell, hidden_size, dtype, weights, output_sd, device)
    plan = Plan(
        updates=updates,
        learning_rate=learning_rate,
        rule=rule,
        schedule=schedule,
        clip_norm=_or_infinite(clip),
        clip_value=_or_infinite(clip_value),
        penalty=penalty,
        penalty_weight=penalty_weight,
        truncation=trained.truncation_of(truncation, carry),
        every=every,
        solved=trained.solved_if(solved_by, solved_below),
    )
    found = trained.run(made, seeds, plan, length, batch_size)
    baseline = made.task.baseline(length)
    columns = trained.rows(made, found, baseline)
    constant = {"baseline": baseline, "method": method_of(rule, clip, clip_value, penalty, penalty_weight)}
    return columns | {name: np.full(len(columns["update"]), value) for name, value in constant.items()}


def method_of(rule: str, clip, clip_value, penalty: str | None, penalty_weight) -> str:
    """'sgd, norm ≤ 1, omega_paper': how the replicas of a launch are trained; a setting that differs is only named."""
    told = [rule]
    for name, values in (("norm", clip), ("entries", clip_value)):
        different = set(np.ravel(values).tolist()) - {None}
        told += [f"{name} ≤ {different.pop():g}" if len(different) == 1 else name] if different else []
    return ", ".join([*told, *([penalty] if penalty is not None and np.any(penalty_weight) else [])])


def _or_infinite(threshold) -> np.ndarray:
    """A threshold that may be absent (None), as a number or (R,)."""
    return np.array(np.where(np.equal(threshold, None), np.inf, threshold), float)


TRAINING = Study(
    function=training,
    replicas=("learning_rate", "clip", "clip_value", "penalty_weight", "gain", "input_gain"),
    columns={
        **trained.COLUMNS,
        "baseline": "of the task; exact loss of the best guess without memory",
        "method": "name; optimiser, clipping and penalty",
    },
    together=trained.problems,
)
