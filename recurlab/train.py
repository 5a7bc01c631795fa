"""The training loop: R networks side by side, each with its own data, learning rate, clipping and penalty.

A replica sees what its own seed draws and no other, so its bits are those it has alone. One that has solved its task,
diverged, or stopped improving leaves the launch; what it measured last stands in the history from then on. At every
point of the history the journal is offered a state from which the run goes on bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from recurlab import journal, optimise
from recurlab.layers.checks import expect, expect_choice, expect_size
from recurlab.models.gradients import Penalised, Result, Truncation, loss_and_gradients
from recurlab.models.sequence import Batch, Network
from recurlab.penalties import PENALTIES
from recurlab.random import Stream, permutation

ENDS = ("budget", "solved", "diverged", "stopped")  # how a replica ended: its updates were used up, or before
POOL = 16  # then minibatches of 8 chorales (JSB) are filled up by 5 %, Nottingham's by 16 %; without 55 and 83 %
MEASURED = ("loss", "error", "gradient_norm", "largest_norm", "applied_norm", "penalty")


class Solved(NamedTuple):
    """A task is solved when the mean of `measure` over the updates between two points is below `below`."""

    measure: str  # "loss" or "error" of the training batches, which are new at every update
    below: float


class Patience(NamedTuple):
    """Early stopping: the parameters of the point with the least `measure`, and an end `points` after it."""

    measure: str  # a name that `measure` of `train` returns, such as a validation loss
    points: int


class Plan(NamedTuple):
    """How R networks are trained; an array (R,) may differ between them, a number is the same for all."""

    updates: int
    learning_rate: np.ndarray | float
    rule: str = "adam"
    schedule: str | optimise.Divided = "constant"
    clip_norm: np.ndarray | float = np.inf  # θ: a longer gradient is shortened to it
    clip_value: np.ndarray | float = np.inf  # every entry is clamped to ± this, after clip_norm
    penalty: str | None = None  # of PENALTIES
    penalty_weight: np.ndarray | float = 0.0
    truncation: Truncation | None = None
    every: int = 100  # updates between two points of the history
    solved: Solved | None = None
    patience: Patience | None = None


class Trained(NamedTuple):
    """What training leaves; `history` and `points` begin with the untrained network."""

    params: dict  # (R, ...), of the last update, or of the best point with Patience
    points: np.ndarray  # (P,), updates made
    history: dict[str, np.ndarray]  # (P, R): MEASURED, means since the point before, and what `measure` returned
    ended: np.ndarray  # (R,), updates made
    outcome: np.ndarray  # (R,), index into ENDS


Source = Callable[[np.ndarray, int], Batch]  # (seeds of the live replicas, update) -> their batch
Measure = Callable[[dict, np.ndarray, int], dict]  # (params, their indices, update) -> {name: (live,)}
Gradients = Callable[..., Result]  # (params, live, batch, update, penalised), and what is carried, if anything is


class Job(NamedTuple):
    """All that does not change while R networks are trained."""

    seeds: np.ndarray
    source: Source
    plan: Plan
    gradients: Gradients
    measure: Measure
    to_gpu: Callable | None
    to_host: Callable | None


@dataclass
class State:
    """All that changes: everything a run needs to go on."""

    update: int
    live: np.ndarray  # (r,), indices of the replicas that are trained on
    params: dict  # (r, ...)
    slots: dict  # (r, S, n)
    carried: dict  # (r, ...), what an update hands to the next
    ended: np.ndarray  # (R,)
    outcome: np.ndarray  # (R,)
    kept: dict  # (R, ...), the parameters that a replica leaves
    least: np.ndarray  # (R,), the best value of Patience.measure so far
    least_at: np.ndarray  # (R,), its point
    points: list = field(default_factory=list)
    history: dict = field(default_factory=dict)  # name -> list of (R,)


def check_plan(plan: Plan, replicas: int) -> Plan:
    """The plan with an array (R,) for every number that may differ; ValueError that names the first wrong entry."""
    expect_size("updates", plan.updates)
    expect_size("every", plan.every)
    expect_choice("rule", plan.rule, optimise.RULES)
    optimise.check_schedule(plan.schedule)
    expect(plan.penalty is None or plan.penalty in PENALTIES, "penalty", plan.penalty, f"one of {sorted(PENALTIES)}")
    positive = {name: _spread(plan, name, replicas) for name in ("learning_rate", "clip_norm", "clip_value")}
    for name, values in positive.items():
        expect(np.all(values > 0), name, values.min(), "a number above 0")
    expect(np.all(np.isfinite(positive["learning_rate"])), "learning_rate", plan.learning_rate, "a finite number")
    weight = _spread(plan, "penalty_weight", replicas)
    expect(np.all(np.isfinite(weight)) and np.all(weight >= 0), "penalty_weight", weight.min(), "a finite number ≥ 0")
    return plan._replace(penalty_weight=weight, **positive)


def _spread(plan: Plan, name: str, replicas: int) -> np.ndarray:
    """An entry of the plan as (R,), float64; not a number is refused."""
    value = np.asarray(getattr(plan, name), float)
    expect(value.shape in ((), (replicas,)), name, f"shape {value.shape}", f"a number or ({replicas},)")
    expect(not np.isnan(value).any(), name, "NaN", "a number")
    return np.broadcast_to(value, (replicas,)).copy()


def train(
    net: Network,
    params: dict,
    seeds,
    source: Source,
    plan: Plan,
    *,
    measure: Measure | None = None,
    gradients: Gradients | None = None,
    carried: dict | None = None,
    what: str = "training",
) -> Trained:
    """Train R networks from `params` (left as they are) on the batches of `source`; see Plan and Trained.

    `measure` adds columns to the history. `gradients` takes the place of `loss_and_gradients`: for noise, dropout and
    parametrisations. With `carried`, arrays (R, ...) by name, it is given them as one more argument and its result has
    those of the next update as `carried`: the states of truncated back-propagation. Raises ValueError for a wrong plan
    before the first update.
    """
    seeds = np.asarray(seeds)
    plan = check_plan(plan, len(seeds))
    job = Job(
        seeds,
        source,
        plan,
        gradients or plain_gradients(net, plan),
        measure or (lambda *_: {}),
        *_transfers(net, plan, gradients),
    )
    notes = journal.current()
    part = notes.begin()
    state = _recalled(notes.recall(part)) or _begun(job, params, carried or {})
    while state.update < plan.updates and len(state.live):
        sums = _interval(job, state)
        _point(job, state, sums)
        over = state.update == plan.updates or not len(state.live)
        done = plan.updates if over else state.update
        notes.note(part, what, done, plan.updates, lambda: _kept_of(state))
    _leave(state, np.ones(len(state.live), bool), plan.updates, "budget")
    history = {name: np.array(values) for name, values in state.history.items()}
    return Trained(state.kept, np.array(state.points), history, state.ended, state.outcome)


def plain_gradients(net: Network, plan: Plan) -> Gradients:
    """`loss_and_gradients` with the plan's truncation."""

    def gradients(params, live, batch, update, penalised):
        return loss_and_gradients(net, params, batch, plan.truncation, penalised)

    return gradients


def minibatch(lengths: np.ndarray, batch: int, update: int) -> np.ndarray:
    """The rows of update 0, 1, …: every epoch goes through the N rows of these lengths in a new order.

    Rows of similar length come together: POOL minibatches are drawn, sorted by length and dealt out again, in the
    order in which the first row of each was drawn. Rows of one length stay in the order drawn. The order depends on
    the lengths alone, so it is the same for all replicas. A remainder smaller than `batch` is left out of the epoch.
    """
    each = len(lengths) // batch
    epoch, place = divmod(update, each)
    first = place - place % POOL
    drawn = _epoch_order(len(lengths), epoch)[first * batch : min(first + POOL, each) * batch]
    dealt = np.argsort(lengths[drawn], kind="stable").reshape(-1, batch)
    return drawn[dealt[np.argsort(dealt.min(axis=1))[place % POOL]]]


@lru_cache(maxsize=4)
def _epoch_order(count: int, epoch: int) -> np.ndarray:
    """A random order of `count` rows: 4 ms for 55,000."""
    return permutation(Stream(0, "minibatches", step=epoch + 1), count)


def _begun(job: Job, params: dict, carried: dict) -> State:
    """The state before the first update, with the point of the untrained network."""
    count = len(job.seeds)
    params, carried = ({name: np.array(array, order="C") for name, array in own.items()} for own in (params, carried))
    state = State(
        update=0,
        live=np.arange(count),
        params=params,
        slots=optimise.start(job.plan.rule, params),
        carried=carried,
        ended=np.full(count, job.plan.updates),
        outcome=np.zeros(count, np.int64),
        kept={name: array.copy() for name, array in params.items()},
        least=np.full(count, np.inf),
        least_at=np.zeros(count, np.int64),
    )
    _point(job, state, {name: np.full(count, np.nan) for name in MEASURED})
    return state


def _interval(job: Job, state: State) -> dict[str, np.ndarray]:
    """The updates to the next point; means (live,) of what they measured. Who diverges stays as it was then."""
    plan, count = job.plan, len(state.live)
    sums, frozen = {name: np.zeros(count) for name in MEASURED}, np.zeros(count, bool)
    first, last = state.update, min(state.update + plan.every, plan.updates)
    _move(state, job.to_gpu)
    for update in range(first, last):
        found = _update(job, state, update, frozen)
        for name, values in found.items():
            sums[name] = np.maximum(sums[name], values) if name == "largest_norm" else sums[name] + values
        frozen |= _note_divergence(state, update, frozen, found)
    _move(state, job.to_host)
    state.update = last
    return {name: total if name == "largest_norm" else total / (last - first) for name, total in sums.items()}


def _move(state: State, there: Callable | None) -> None:
    """Parameters and slots to the GPU for the updates between two points, and back; None: they stay in NumPy."""
    if there is not None:
        state.params, state.slots = ({name: there(a) for name, a in own.items()} for own in (state.params, state.slots))


def _transfers(net: Network, plan: Plan, gradients: Gradients | None) -> tuple[Callable | None, Callable | None]:
    """How arrays get to the GPU and back; none where the layer is not on one, or the gradients need NumPy arrays."""
    plain = gradients is None and plan.truncation is None and plan.penalty is None
    if not plain or net.layer.device == "cpu":  # a model with gradients of its own need not be a Network
        return None, None
    from recurlab.kernels.cuda import target  # numba.cuda, for those who have a GPU

    return target.to_device, target.to_host


def _update(job: Job, state: State, update: int, frozen: np.ndarray) -> dict[str, np.ndarray]:
    """One update of all live replicas but the frozen; what it measured."""
    plan, live = job.plan, state.live
    batch = job.source(job.seeds[live], update)
    penalised = plan.penalty and Penalised(PENALTIES[plan.penalty], plan.penalty_weight[live])
    given = state.params, live, batch, update, penalised
    result = job.gradients(*given, state.carried) if state.carried else job.gradients(*given)
    norms = optimise.norms(result.grads)
    factors = optimise.clip_factors(norms, plan.clip_norm[live])
    factors[frozen | ~np.isfinite(result.loss)] = 0
    rates = optimise.rates(plan.schedule, plan.learning_rate[live], update, plan.updates)
    limits = plan.clip_value[live]
    optimise.update(plan.rule, update + 1, state.params, result.grads, state.slots, rates, factors, limits)
    state.carried = result.carried if state.carried else {}
    values = (result.loss, result.error, norms, norms, norms * factors, result.penalty)
    return dict(zip(MEASURED, values, strict=True))


def _note_divergence(state: State, update: int, frozen: np.ndarray, found: dict) -> np.ndarray:
    """Which live replicas have a loss or gradient that is not finite; the first update at which they have."""
    bad = ~(np.isfinite(found["loss"]) & np.isfinite(found["gradient_norm"]))
    new = state.live[bad & ~frozen]
    state.ended[new], state.outcome[new] = update, ENDS.index("diverged")
    return bad


def _point(job: Job, state: State, means: dict[str, np.ndarray]) -> None:
    """Write a point of the history, and take out the replicas that have ended."""
    measured = means | job.measure(state.params, state.live, state.update)
    for name, values in measured.items():
        column = state.history.setdefault(name, [])
        row = column[-1].copy() if column else np.full(len(job.seeds), np.nan)
        row[state.live] = values
        column.append(row)
    state.points.append(state.update)
    leaves = state.outcome[state.live] == ENDS.index("diverged")
    _leave(state, leaves, None, "diverged")
    if job.plan.patience is not None:
        _wait(job.plan.patience, state)
    if job.plan.solved is not None and state.update:
        values = np.array(state.history[job.plan.solved.measure][-1])[state.live]
        _leave(state, values < job.plan.solved.below, state.update, "solved")


def _wait(patience: Patience, state: State) -> None:
    """Keep the parameters of replicas that are better than ever; those that were not for long end."""
    values, live = state.history[patience.measure][-1][state.live], state.live
    better = values < state.least[live]
    state.least[live[better]], state.least_at[live[better]] = values[better], len(state.points)
    for name, array in state.params.items():
        state.kept[name][live[better]] = array[better]
    _leave(state, len(state.points) - state.least_at[live] >= patience.points, state.update, "stopped", keep=False)


def _leave(state: State, leaves: np.ndarray, update: int | None, outcome: str, keep: bool = True) -> None:
    """Take replicas out of the launch: `leaves` (live,). Their parameters are kept, or those kept before stay."""
    if not leaves.any():
        return
    gone, stay = state.live[leaves], ~leaves
    keep &= not np.isfinite(state.least[gone]).any()  # with Patience the best ones are there
    for name, array in state.params.items():
        if keep:
            state.kept[name][gone] = array[leaves]
    if update is not None:
        state.ended[gone], state.outcome[gone] = update, ENDS.index(outcome)
    state.live = state.live[stay]
    state.params = {name: array[stay] for name, array in state.params.items()}
    state.slots = {name: array[stay] for name, array in state.slots.items()}
    state.carried = {name: array[stay] for name, array in state.carried.items()}


_DICTS = ("params", "slots", "carried", "kept", "history")


def _kept_of(state: State) -> dict[str, np.ndarray]:
    """The state as one dict of arrays."""
    plain = {name: np.asarray(getattr(state, name)) for name in State.__dataclass_fields__ if name not in _DICTS}
    nested = {f"{of}/{name}": np.asarray(a) for of in _DICTS for name, a in getattr(state, of).items()}
    return plain | nested


def _recalled(content: dict[str, np.ndarray] | None) -> State | None:
    """The state that `_kept_of` wrote."""
    if content is None:
        return None
    parts = {of: {} for of in _DICTS}
    for name, array in content.items():
        of, _, rest = name.partition("/")
        if rest:
            parts[of][rest] = list(array) if of == "history" else array
    plain = {name: array for name, array in content.items() if "/" not in name}
    return State(**plain | parts | {"update": int(content["update"]), "points": content["points"].tolist()})
