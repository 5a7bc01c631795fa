"""Recurrent layers on a GPU: the passes of a stack one after the other, with no copy to the host between them.

Arguments have been checked. Arrays come from NumPy or lie on the GPU; results lie where x lies, gradients too.
"""

from recurlab.kernels.cuda import target
from recurlab.layers.device_passes import back_pass, run_pass
from recurlab.layers.recurrent import Recurrent, Tape, parameter_shapes


def forward(layer: Recurrent, params, replicas, x, state, lengths, checkpoint, output, keep, between):
    """As `recurrent.forward`; `lengths` (B,), `keep` a list of arrays (R, L·D, T, B, H) or None."""
    stays, count = target.is_on_device(x), replicas or 1
    params = {name: target.to_device(array) for name, array in params.items()}
    x = target.to_device(x)
    x = x if x.ndim == 4 else x.reshape(1, *x.shape)
    between = None if between is None else _with_replicas(target.to_device(between), 4)
    shape, none = (count, *x.shape[1:3], layer.directions * layer.hidden_size), target.empty(0, x.dtype)
    ends = _ends(layer, state, count, x.shape[2])
    final = target.empty(ends.shape, ends.dtype)
    shares = none if keep is None else target.joined(keep)
    runs, y = [], none
    for level in range(layer.num_layers):
        last = level == layer.num_layers - 1
        y = target.empty(shape, layer.dtype) if output or not last else none
        for place in _places(layer, level):
            suffix = layer.passes[place["own"]][2]
            runs.append(run_pass(layer, params, suffix, x, (ends, final), lengths, shares, y, place, checkpoint))
        x = y if last or between is None else target.multiplied(y, between, level)
    tape = Tape(layer, tuple(runs), lengths, replicas is not None, between, stays)
    return (_outward(y, tape) if output else None), _outward_ends(final, tape), tape


def backward(layer: Recurrent, tape: Tape, dy, dstate, input_gradient):
    """As `recurrent.backward`."""
    count, x = tape.passes[0].n.replicas, tape.passes[0].x
    d_ends = _ends(layer, dstate, count, x.shape[2])
    shapes = parameter_shapes(layer)
    grads = {name: target.zeros((count, *shape), layer.dtype) for name, shape in shapes.items()}
    none = target.empty(0, layer.dtype)
    dy = none if dy is None else _with_replicas(target.to_device(dy), 3)
    for level in reversed(range(layer.num_layers)):
        runs = tape.passes[level * layer.directions : (level + 1) * layer.directions]
        wanted = input_gradient or level > 0
        d_below = target.zeros((count, *runs[0].x.shape[1:]), layer.dtype) if wanted else none
        for run in runs:
            back_pass(run, dy, d_ends, d_below, grads)
        dropped = tape.between is not None and level > 0
        dy = target.multiplied(d_below, tape.between, level - 1) if dropped else d_below
    dx = _outward(dy, tape) if input_gradient else None
    return {name: _outward(g, tape) for name, g in grads.items()}, dx, _outward_ends(d_ends, tape)


def _places(layer: Recurrent, level: int) -> list[dict]:
    """What `layout.Sizes` says of each direction of a layer: which pass it is, and which columns of y it writes."""
    width, passes = layer.directions * layer.hidden_size, len(layer.passes)
    return [
        {"reverse": d, "column": d * layer.hidden_size, "width": width, "passes": passes, "own": own}
        for d, own in enumerate(range(level * layer.directions, (level + 1) * layer.directions))
    ]


def _ends(layer: Recurrent, state, replicas: int, batch: int):
    """A tuple of states (or None) as one array (S, R, L·D, B, H); zeros where there are none."""
    shape = (len(layer.spec.states), replicas, len(layer.passes), batch, layer.hidden_size)
    if state is None:
        return target.zeros(shape, layer.dtype)
    return target.joined([_with_replicas(target.to_device(array), 3) for array in state])


def _with_replicas(array, ndim: int):
    """A device array with a replica axis in front of its `ndim` own."""
    return array if array.ndim == ndim + 1 else array.reshape(1, *array.shape)


def _outward(array, tape: Tape):
    """An array (R, …) as the caller wants it: where x was, without R if there was none."""
    array = array if tape.replicated else array.reshape(*array.shape[1:])
    return array if tape.stays else target.to_host(array)


def _outward_ends(ends, tape: Tape) -> tuple:
    """(S, R, L·D, B, H) as a tuple with one array for each state."""
    return tuple(_outward(ends[s], tape) for s in range(ends.shape[0]))
