"""The gradients of a sequence network: exact or truncated back-propagation through time, penalties, dropout.

Truncated windows run side by side as the rows of one batch.
"""

from typing import NamedTuple

import numpy as np

from recurlab.kernels.cuda.device import is_on_device
from recurlab.kernels.denormals import SUPPORTED
from recurlab.layers.checks import expect, expect_size
from recurlab.layers.footprint import replica_groups, row_groups
from recurlab.layers.recurrent import Tape, backward, forward
from recurlab.models.sequence import (
    NOTHING,
    Batch,
    Dropped,
    Network,
    Reading,
    last_steps,
    loss_of,
    of_group,
    of_replicas,
    own_parameters,
    owned,
    read,
    readout_backward,
)


class Truncation(NamedTuple):
    """Back-propagation through `back` steps from the end of every `ahead` steps (k2 and k1 of Williams & Peng 1990).

    Without `carry` the state starts at zero in every window, too, so the forward pass sees `back` steps only.
    """

    ahead: int
    back: int
    carry: bool = True


class Penalised(NamedTuple):
    """A penalty with its weight in each replica, (R,)."""

    penalty: object  # a Penalty
    weight: np.ndarray


class Result(NamedTuple):
    """What a batch gives: (R,) each, and the gradient of every parameter."""

    loss: np.ndarray  # mean over the counted steps, without the penalty
    error: np.ndarray
    penalty: np.ndarray  # its value before its weight; 0 without one
    grads: dict


def check_truncation(truncation: Truncation, steps: int) -> Truncation:
    """ValueError unless 1 ≤ ahead ≤ back ≤ T."""
    expect_size("truncation.ahead", truncation.ahead)
    expect_size("truncation.back", truncation.back)
    expect(truncation.back <= steps, "truncation.back", truncation.back, f"at most the {steps} steps of a sequence")
    expect(truncation.ahead <= truncation.back, "truncation.ahead", truncation.ahead, f"≤ back = {truncation.back}")
    return truncation


def loss_and_gradients(
    net: Network,
    params: dict,
    batch: Batch,
    truncation: Truncation | None = None,
    penalised: Penalised | None = None,
    dropped: Dropped = NOTHING,
) -> Result:
    """The mean loss of each replica over what counts in the batch, and the gradient of loss + weight · penalty.

    Replicas go in groups whose tapes stay in the cache; none sees another, so their bits do not depend on it. Where the
    parameters lie on a GPU, gradients do, too; there truncation, penalty and dropout are refused.
    """
    replicas, (steps, rows) = len(params["bias_out"]), batch.x.shape[-3:-1]
    if is_on_device(params["bias_out"]):
        plain = truncation is None and penalised is None and not any(part is not None for part in dropped)
        expect(plain, "params", "arrays on a GPU", "NumPy arrays with truncation, penalty or dropout")
        return _on_gpu(net, params, batch)
    found = []
    for group in replica_groups(net.layer, replicas, steps, rows):
        own, part = {name: array[group] for name, array in params.items()}, of_replicas(net, batch, group)
        weight = penalised and penalised._replace(weight=penalised.weight[group])
        if truncation is None:
            found.append(_whole(net, own, part, weight, of_group(dropped, group)))
        else:
            found.append(_truncated(net, own, part, truncation, weight, of_group(dropped, group)))
    return found[0] if len(found) == 1 else _joined(found)


def _on_gpu(net: Network, params: dict, batch: Batch) -> Result:
    """The same, of all replicas at once, where the parameters are."""
    from recurlab.models import device_gradients  # numba.cuda, for those who have a GPU

    loss, error, grads = device_gradients.whole(net, params, batch)
    return Result(loss, error, np.zeros(len(loss)), grads)


def _joined(parts: list[Result]) -> Result:
    """The results of groups of replicas as one."""
    *values, grads = zip(*parts, strict=True)
    joined = {name: np.concatenate([part[name] for part in grads]) for name in grads[0]}
    return Result(*(np.concatenate(value) for value in values), joined)


def entering_gradients(net: Network, params: dict, batch: Batch) -> tuple[Tape, np.ndarray, tuple]:
    """The tape of a batch, and where the gradient of its loss enters: dL/dy (R, T, B, D·H), dL/dfinal states."""
    reading = read(net, params, batch, needs_y=True)
    _, _, d_out = loss_of(net, params, reading, batch)
    dy, d_state, _ = _to_outputs(net, params, batch, reading, d_out, None)
    dy = np.zeros_like(reading.y) if dy is None else dy
    return reading.tape, dy, tuple(map(np.zeros_like, reading.state)) if d_state is None else d_state


def _whole(net: Network, params: dict, batch: Batch, penalised: Penalised | None, dropped: Dropped, state=None):
    """`loss_and_gradients` of replicas whose tapes are held at once, through all steps from `state` on."""
    of = penalised.penalty.of if penalised else None
    reading = read(net, params, batch, state, dropped, needs_y=of == "states")
    loss, error, d_out = loss_of(net, params, reading, batch)
    dy, d_state, grads = _to_outputs(net, params, batch, reading, d_out, dropped.outputs)
    value = np.zeros(len(loss))
    if of == "states":
        value, d_penalty = penalised.penalty.function(reading.y, batch.weights)
        dy = _plus(dy, _weighted(penalised.weight, d_penalty))
    grads |= _to_parameters(net, reading, dy, d_state)
    if of == "gradients":
        value, more = penalised.penalty.function(net.layer, reading.own, reading.tape, dy, d_state)
        grads = with_penalty(grads, more, penalised.weight)
    elif of == "weights":
        value, more = penalised.penalty.function(net.layer, params)
        grads = with_penalty(grads, more, penalised.weight)
    return Result(loss, error, value, grads)


def _to_outputs(net: Network, params: dict, batch: Batch, reading: Reading, d_out, mask):
    """dL/dy or None, dL/dfinal states or None, and the gradients of the readout."""
    grads, d_h = readout_backward(params, reading.h, d_out)
    if reading.y is not None and net.at == "every":
        dy = d_h.reshape(reading.y.shape)
        return (dy if mask is None else dy * mask), None, grads
    if batch.ends is None and mask is None:
        d_state = tuple(np.zeros_like(array) for array in reading.state)
        d_state[0][:, -1] = d_h
        return None, d_state, grads
    dy = np.zeros_like(reading.y)
    dy[last_steps(batch, dy)] = d_h
    return (dy if mask is None else dy * mask), None, grads


def _to_parameters(net: Network, reading: Reading, dy, d_state) -> dict:
    """Back through the recurrent layer."""
    options = {"flush_denormals": SUPPORTED, "check": False, "input_gradient": False}
    grads, _, _ = backward(net.layer, reading.own, reading.tape, dy, d_state, **options)
    return grads


def _truncated(
    net: Network, params, batch: Batch, cut: Truncation, penalised: Penalised | None, dropped: Dropped
) -> Result:
    """The sum over groups of windows, each group side by side as the rows of one batch."""
    _refuse_untruncatable(batch, penalised, dropped)
    if dropped.inputs is not None:
        batch = batch._replace(x=batch.x * dropped.inputs)
    steps, rows = batch.x.shape[-3:-1]
    windows = windows_of(net, steps, check_truncation(cut, steps))
    state = _starts(net, params, batch, windows[:, 0]) if cut.carry and windows[-1, 0] else None
    found = []
    for group in row_groups(net.layer, len(windows), cut.back, rows):
        part, share = side_by_side(net, batch, windows[group], cut.back), 1.0
        if part.weights is not None:
            part, share = _counted(net, batch, part)
        place = slice(group.start * rows, group.stop * rows)
        begin = None if state is None else tuple(np.ascontiguousarray(array[:, :, place]) for array in state)
        within = Dropped(outputs=_cut_mask(dropped.outputs, windows[group], cut.back))
        found.append(_times(_whole(net, params, part, None, within, begin), share))
    total = found[0] if len(found) == 1 else _sum(found)
    if penalised is None:
        return total
    value, more = penalised.penalty.function(net.layer, params)
    return total._replace(penalty=value, grads=with_penalty(total.grads, more, penalised.weight))


def windows_of(net: Network, steps: int, cut: Truncation) -> np.ndarray:
    """(first step, first step whose loss counts, end) of each window, (J, 3); one for a loss at the last step."""
    if net.at == "last":
        return np.array([(steps - cut.back, steps - cut.back, steps)])
    ends = np.array([*range(cut.ahead, steps, cut.ahead), steps])
    return np.stack([np.maximum(0, ends - cut.back), np.concatenate([[0], ends[:-1]]), ends], axis=1)


def side_by_side(net: Network, batch: Batch, windows: np.ndarray, back: int) -> Batch:
    """The windows (J, 3) of a batch as its rows, ([R,] back, J·B, …); what counts in none of them has weight 0."""
    at = _steps_of(windows, back, batch.x.shape[-3])
    x = _at_steps(batch.x, at, batch.x.ndim > 3)
    if net.at == "last":
        return batch._replace(x=x)
    _, targets, weights, *_ = owned(net, batch)
    step = windows[:, 0] + np.arange(back)[:, None]
    counts = (windows[:, 1] <= step) & (step < windows[:, 2])
    counted = np.repeat(counts.astype(net.layer.dtype), batch.x.shape[-2], axis=1)  # (back, J·B)
    if batch.weights is not None:
        counted = counted * _at_steps(batch.weights, at, weights)
    return Batch(x, _at_steps(batch.targets, at, targets), counted)


def _steps_of(windows: np.ndarray, back: int, steps: int) -> np.ndarray:
    """The step of the batch that stands at each step of each window, (back, J); beyond the end, the last one."""
    return np.minimum(windows[:, 0] + np.arange(back)[:, None], steps - 1)


def _at_steps(array: np.ndarray, at: np.ndarray, own: bool) -> np.ndarray:
    """([R,] T, B, …) at the steps (back, J) -> ([R,] back, J·B, …)."""
    taken = np.take(array, at, axis=int(own))
    axis = int(own) + 1
    return taken.reshape(*taken.shape[:axis], -1, *taken.shape[axis + 2 :])


def _cut_mask(mask: np.ndarray | None, windows: np.ndarray, back: int) -> np.ndarray | None:
    """The factors (R, T or 1, B, D·H) of the steps of each window, side by side."""
    if mask is None:
        return None
    steps = np.zeros((1, len(windows)), int) if mask.shape[1] == 1 else _steps_of(windows, back, mask.shape[1])
    return _at_steps(mask, steps, True)


def _starts(net: Network, params: dict, batch: Batch, firsts: np.ndarray) -> tuple:
    """The states (R, L, J·B, H) with which windows begin: those of a run through all steps before the last of them."""
    expect(not net.layer.bidirectional, "truncation", "carried states of a bidirectional layer", "carry = False")
    x = np.ascontiguousarray(batch.x[..., : firsts[-1], :, :])
    options = {"flush_denormals": SUPPORTED, "check": False, "output": False}
    _, _, tape = forward(net.layer, own_parameters(params), x, **options)
    states = np.stack([run.visited()[:, :, firsts] for run in tape.passes], axis=2)  # (R, S, L, J, B, H)
    states = states.reshape(*states.shape[:3], -1, net.layer.hidden_size)
    return tuple(states[:, s] for s in range(states.shape[1]))


def _counted(net: Network, batch: Batch, part: Batch) -> tuple[Batch, np.ndarray]:
    """A group of windows and its share of what counts in the batch, ([R],)."""
    here, steps = part.weights.sum((-2, -1)), batch.x.shape[-3:-1]
    share = np.atleast_1d(here / (np.prod(steps) if batch.weights is None else batch.weights.sum((-2, -1))))
    # nothing counts in a group of some replica: its share is 0, any weight does
    return part._replace(weights=np.where(here[..., None, None] == 0, 1, part.weights)), share


def _times(result: Result, share: np.ndarray | float) -> Result:
    """Loss, error and gradients times the share, ([R],)."""
    if np.all(share == 1):
        return result
    grads = {name: g * _along(share, g) for name, g in result.grads.items()}
    return result._replace(loss=result.loss * share, error=result.error * share, grads=grads)


def _refuse_untruncatable(batch: Batch, penalised: Penalised | None, dropped: Dropped) -> None:
    """Windows are the same for all rows, so rows of their own length need weights; only weights can be penalised."""
    noisy = dropped.keep is not None or dropped.between is not None
    expect(not noisy, "truncation", "zoneout or dropout between layers", "a gradient through all steps")
    expect(batch.lengths is None and batch.ends is None, "truncation", "rows of different length", "weights for them")
    wanted = "a penalty on weights where gradients are truncated"
    expect(
        penalised is None or penalised.penalty.of == "weights", "penalty", penalised and penalised.penalty.of, wanted
    )


def _along(values: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Values (R,) with the axes of an array (R, …), in its dtype."""
    return values.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)


def _plus(a, b):
    return b if a is None else a + b


def with_penalty(grads: dict, more: dict, weight: np.ndarray) -> dict:
    """grads + weight · more, for the parameters that stand in more."""
    return grads | {name: grads[name] + _weighted(weight, g) for name, g in more.items()}


def _weighted(weight: np.ndarray, g: np.ndarray) -> np.ndarray:
    """weight (R,) · g (R, …); 0 where the weight is, also of an infinite g."""
    weight = _along(weight, g)
    return weight * np.where(weight > 0, g, 0)


def _sum(results: list[Result]) -> Result:
    """The sum of the groups of windows."""
    *values, grads = zip(*results, strict=True)
    total = {name: np.sum([part[name] for part in grads], axis=0) for name in grads[0]}
    return Result(*(np.sum(value, axis=0) for value in values), total)
