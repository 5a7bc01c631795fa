"""Layers on a GPU, in the simulator: every cell, option and error of the CPU, with its numbers to rounding."""

import numpy as np
import pytest
from cases import CASES, SMALL, Case, assert_close, assert_same_bits, of_cells, problem, relative_error

import recurlab as rl
from recurlab.cells import CELLS
from recurlab.kernels.cuda import layout, matrix, residence, target
from recurlab.layers import device_passes, device_products
from recurlab.layers.recurrent import backward, forward, pack, recurrent, trace
from recurlab.measures.gradient import lag_shares, plain_gradient_by_lag

# Products are summed up in another order than by vectors on the CPU. The largest of all errors here is 12 eps.
ROUNDINGS = 32
SINGLE = 4000  # of one unit: a gradient is a single number, and its sum may cancel to below the rounding of its terms
FEW = ("odd sizes", "stacked, bidirectional, lengths")
STACK = CASES["stacked, bidirectional, lengths"]
DTYPES = ("float32", "float64")


def layer_of(cell, case, dtype="float64", device="cuda"):
    return recurrent(cell, case.inputs, case.hidden, case.layers, case.directions == 2, dtype, device)


def both(layer, p, back=(), **options):
    """Everything that a forward and backward pass gives, by name."""
    y, final, tape = forward(layer, p.params, p.x, p.state, p.lengths, **options)
    grads, d_x, d_initial = backward(layer, p.params, tape, p.dy, p.dstate, **dict(back))
    found = {"y": y, "final": final, "d_x": d_x, "d_initial": d_initial} | {f"d {k}": g for k, g in grads.items()}
    return {name: value for name, value in found.items() if value is not None}


def assert_as_on_the_cpu(cell, case, dtype="float64", **options):
    p = problem(cell, case, dtype=dtype)
    expected = both(layer_of(cell, case, dtype, "cpu"), p, **options)
    bound = (ROUNDINGS if case.hidden > 1 else SINGLE) * np.finfo(dtype).eps
    assert_close(both(layer_of(cell, case, dtype), p, **options), expected, bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("cell", "case"), [(cell, case) for cell, case in of_cells(FEW)])
def test_every_cell_is_that_of_the_cpu(cell, case, dtype):
    assert_as_on_the_cpu(cell, CASES[case], dtype)


@pytest.mark.parametrize("case", [name for name in CASES if name not in FEW])
@pytest.mark.parametrize("cell", CELLS)
def test_every_configuration_is_that_of_the_cpu(cell, case):
    assert_as_on_the_cpu(cell, CASES[case])


@pytest.mark.parametrize("cell", CELLS)
def test_a_trace_is_that_of_the_cpu(cell):
    p = problem(cell, STACK)
    expected = trace(layer_of(cell, STACK, device="cpu"), p.params, p.x, p.state, p.lengths)
    assert_close(trace(layer_of(cell, STACK), p.params, p.x, p.state, p.lengths), expected, ROUNDINGS * 2.3e-16)


def replicated(cell, case, count, own_x=True):
    """The problems of some seeds side by side, and they one by one with the x that they see."""
    alone = [problem(cell, case, seed=seed) for seed in range(count)]
    first = alone[0]
    alone = alone if own_x else [p._replace(x=first.x) for p in alone]
    stacked = first._replace(
        params={name: np.stack([p.params[name] for p in alone]) for name in first.params},
        x=np.stack([p.x for p in alone]) if own_x else first.x,
        state=tuple(np.stack(parts) for parts in zip(*(p.state for p in alone), strict=True)),
        dy=np.stack([p.dy for p in alone]),
        dstate=tuple(np.stack(parts) for parts in zip(*(p.dstate for p in alone), strict=True)),
    )
    return stacked, alone


@pytest.mark.parametrize("own_x", [True, False], ids=["x of its own", "shared x"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_replica_has_the_bits_it_has_alone(cell, own_x):
    layer, (stacked, alone) = layer_of(cell, SMALL), replicated(cell, SMALL, 3, own_x)
    found = both(layer, stacked)
    for r, p in enumerate(alone):
        own = {name: tuple(a[r] for a in v) if isinstance(v, tuple) else v[r] for name, v in found.items()}
        assert_same_bits(own, both(layer, p))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, about infinite numbers
def test_a_replica_that_diverges_leaves_the_others_alone():
    case, layer = Case(steps=6), layer_of("rnn_linear", Case(), "float32")
    stacked, alone = replicated("rnn_linear", case, 2)
    single = {name: array.astype("float32") for name, array in stacked.params.items()}
    single["weight_hh_l0"][1] *= 1e20
    p = stacked._replace(params=single, x=stacked.x.astype("float32"), state=None, dy=None, dstate=None)
    y, _, tape = forward(layer, p.params, p.x)
    grads, _, _ = backward(layer, p.params, tape, np.ones_like(y))
    first = {name: array[0] for name, array in p.params.items()}
    own, _, tape = forward(layer, first, p.x[0])
    assert not np.isfinite(y[1]).all()
    assert_same_bits(y[0], own)
    expected, _, _ = backward(layer, first, tape, np.ones_like(own))
    assert_same_bits({name: g[0] for name, g in grads.items()}, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_bits_do_not_depend_on_blocks_and_threads(cell, monkeypatch):
    p, found = problem(cell, STACK), []
    monkeypatch.setattr(device_passes, "residence_of", nowhere)
    for threads, blocks, most in ((2, 2, 4), (3, 1, 7), (1, 3, 64)):
        monkeypatch.setattr(target, "THREADS", threads)
        monkeypatch.setattr(target, "MOST_BLOCKS", blocks)
        monkeypatch.setattr(target, "MOST_THREADS", most)
        monkeypatch.setattr(layout, "MOST_THREADS", most)
        found.append(both(layer_of(cell, STACK), p))
    assert_same_bits(found[1], found[0])
    assert_same_bits(found[2], found[0])


# large matrices in tiles


@pytest.mark.parametrize("cell", CELLS)
def test_products_in_tiles_have_the_same_bits(cell, monkeypatch):
    p, layer = problem(cell, STACK), layer_of(cell, STACK)
    monkeypatch.setattr(device_passes, "residence_of", nowhere)
    expected = both(layer, p)
    launched, add = [], device_products.add_product
    monkeypatch.setattr(device_products, "add_product", lambda *given: launched.append(given) or add(*given))
    monkeypatch.setattr(device_products, "LARGE", 1)
    assert_same_bits(both(layer, p), expected)
    assert len(launched) >= 3 * len(layer.passes)
    assert_same_bits(both(layer, p, checkpoint=True), expected)


def spread(rng, count, apart):
    """Where rows or columns begin: `apart`, in any order, and one that is none."""
    places = rng.permutation(count) * apart
    places[count // 2] = -1
    return places


@pytest.mark.parametrize("along", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_of_rows_and_columns_anywhere(dtype, along):
    rows, columns, terms, rng = 19, 35, 9, np.random.default_rng(along)
    sizes = rows * terms, terms * columns, rows * columns
    shapes = zip((1, 2, 2), sizes, strict=True)
    left, right, out = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    places = spread(rng, rows, terms), spread(rng, terms, 1), spread(rng, terms, columns), spread(rng, columns, 1)
    places += spread(rng, rows, columns), spread(rng, columns, 1)
    expected = out.astype(float)
    for r, m, n in np.ndindex(2, rows, columns):
        for k in range(terms if min(places[4][m], places[5][n]) >= 0 else 0):
            a, b = (places[0][m], places[1][k]), (places[2][k], places[3][n])
            if min(*a, *b) >= 0:
                expected[r, places[4][m] + places[5][n]] += float(left[0, sum(a)]) * right[r, sum(b)]
    z = matrix.Extents(2, rows, columns, terms, 0, sizes[1], sizes[2], along)
    arrays = [target.to_device(array.reshape(-1)) for array in (left, right, out)]
    matrix.add_product(z, matrix.Places(*map(target.to_device, places)), *arrays)
    assert_close(target.to_host(arrays[2]).reshape(out.shape), expected, ROUNDINGS * np.finfo(dtype).eps)


@pytest.mark.parametrize("own_x", [True, False], ids=["x of its own", "shared x"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_in_tiles_of_replicas(own_x, dtype, monkeypatch):
    case = Case(steps=3, batch=7, inputs=9, hidden=18)
    p = replicated("gru", case, 2, own_x)[0]
    p = p._replace(**{name: getattr(p, name).astype(dtype) for name in ("x", "dy")}, state=None, dstate=None)
    p = p._replace(params={name: array.astype(dtype) for name, array in p.params.items()})
    monkeypatch.setattr(residence, "FUSED", 0)  # what is on the chip has these products, too
    expected = both(layer_of("gru", case, dtype), p)
    monkeypatch.setattr(device_products, "LARGE", 1)
    assert_same_bits(both(layer_of("gru", case, dtype), p), expected)


# all blocks step by step


@pytest.mark.parametrize("blocks", [2, 5, 12])
@pytest.mark.parametrize("cell", CELLS)
def test_blocks_that_share_out_each_step_have_the_same_bits(cell, blocks, monkeypatch):
    monkeypatch.setattr(device_passes, "residence_of", nowhere)
    p, layer = problem(cell, STACK), layer_of(cell, STACK)
    expected = both(layer, p)
    launched, launch = [], target.launch
    monkeypatch.setattr(target, "launch", lambda *given: launched.append(given[:2]) or launch(*given))
    monkeypatch.setattr(target, "MOST_THREADS", 4)
    monkeypatch.setattr(target, "blocks_at_once", lambda: blocks)
    monkeypatch.setattr(layout, "TILE", 2)
    assert_same_bits(both(layer, p), expected)
    assert all("_together_" in kernel.__qualname__ and 1 < count <= blocks for kernel, count in launched)
    assert max(count for _, count in launched) == {2: 2, 5: 4, 12: 6}[blocks]


def test_replicas_share_the_blocks(monkeypatch):
    monkeypatch.setattr(device_passes, "residence_of", nowhere)
    case = Case(batch=4)
    layer, (stacked, alone) = layer_of("lstm", case), replicated("lstm", case, 2)
    expected = [both(layer, p) for p in alone]
    monkeypatch.setattr(target, "blocks_at_once", lambda: 7)
    monkeypatch.setattr(layout, "TILE", 2)
    found = both(layer, stacked)
    for r, own in enumerate(expected):
        names = ("y", "d_x", "d weight_ih_l0", "d weight_hh_l0")
        assert_same_bits({name: found[name][r] for name in names}, {name: own[name] for name in names})


SHAPES = (1, 64, 512), (1, 16, 300), (8, 20, 512), (1, 1, 1024), (66, 64, 512), (132, 3, 512)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_blocks_share_out_all_rows_and_units_once(shape):
    replicas, batch, hidden = shape
    sizes = layout.sizes_of(CELLS["lstm"], replicas, (1, 5, batch, 3), hidden, False, **PLACE)
    shared = layout.spread_over(sizes, 132)
    if replicas == 132:
        assert shared is None
        return
    blocks = replicas * shared.slices * shared.cuts
    assert 1 < blocks <= 132 and (blocks > 66 or batch * hidden <= 66 * 256)
    seats = [layout.seat_of(shared, block, 0, 256) for block in range(blocks)]
    seen = np.zeros((replicas, batch, hidden), int)
    for at in seats:
        rows = at.count // at.units
        seen[at.replica, at.row : at.row + rows, at.unit : at.unit + at.units] += 1
    assert (seen == 1).all()


# weights on the chip

LARGER = {
    "two slices of a column": Case(steps=3, batch=3, inputs=2, hidden=35),
    "two slices of a column, bidirectional, lengths": Case(3, 5, 2, 35, directions=2, lengths=(3, 1, 2, 3, 2)),
}


def nowhere(*arguments):
    """In place of `residence_of`: no weights stay on the chip."""


@pytest.mark.parametrize("case", ["odd sizes", "two slices, bidirectional, lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_may_stay_in_memory(cell, case, monkeypatch):
    monkeypatch.setattr(device_passes, "residence_of", nowhere)
    assert_as_on_the_cpu(cell, CASES[case])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LARGER)
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru"])
def test_columns_in_slices(cell, case, dtype):
    assert_as_on_the_cpu(cell, LARGER[case], dtype)


@pytest.mark.parametrize("setting", [("SHARED", 2000), ("FUSED", 0)], ids=["batch in slices", "input's product apart"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm_peephole", "gru"])
def test_what_does_not_fit_on_the_chip(cell, setting, monkeypatch):
    monkeypatch.setattr(residence, *setting)
    case = CASES["two slices, bidirectional, lengths"]
    if setting[0] == "SHARED":
        sizes = layout.sizes_of(CELLS[cell], 1, (1, case.steps, case.batch, case.inputs), case.hidden, False, **PLACE)
        assert residence.residence_of(layout.structure_of(CELLS[cell]), sizes, "float64").back.slices > 1
    assert_as_on_the_cpu(cell, case)
    assert_as_on_the_cpu(cell, case, checkpoint=True)


PLACE = {"reverse": 0, "column": 0, "width": 5, "passes": 1, "own": 0}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_a_plan_stays_within_its_limits(cell, dtype):
    structure, size, fits = layout.structure_of(CELLS[cell]), np.dtype(dtype).itemsize, []
    for hidden in (1, 7, 8, 16, 33, 64, 100, 512):
        sizes = layout.sizes_of(CELLS[cell], 4096, (1, 200, 16, 2), hidden, False, **PLACE)
        plans = residence.residence_of(structure, sizes, dtype)
        fits.append(plans is not None)
        for plan, length in zip(plans[:2], (hidden, structure.GATES * hidden), strict=True) if plans else ():
            assert plan.together * plan.threads <= residence.MOST_THREADS
            assert plan.together * plan.size * size <= 48 * 1024
            assert plan.rows * plan.slices >= 16 > plan.rows * (plan.slices - 1)
            assert plan.width >= length
    assert fits[:5] == [True] * 5 and not fits[-1]


def test_the_replicas_of_the_target_stay_on_the_chip():
    for cell in ("rnn_tanh", "gru", "lstm"):
        sizes = layout.sizes_of(CELLS[cell], 4096, (1, 200, 16, 2), 64, False, **PLACE)
        assert residence.residence_of(layout.structure_of(CELLS[cell]), sizes, "float32")


@pytest.mark.parametrize("threads", [1, 40, 1000])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bits_do_not_depend_on_the_replicas_of_a_block(cell, threads, monkeypatch):
    stacked, _ = replicated(cell, SMALL, 3)
    expected = both(layer_of(cell, SMALL), stacked)
    monkeypatch.setattr(residence, "THREADS", threads)
    assert_same_bits(both(layer_of(cell, SMALL), stacked), expected)


# options


@pytest.mark.parametrize("cell", CELLS)
def test_a_checkpointed_pass_has_the_bits_of_the_whole(cell):
    case = Case(steps=7, directions=2, lengths=(7, 2, 5))
    p, layer = problem(cell, case), layer_of(cell, case)
    assert_same_bits(both(layer, p, checkpoint=True), both(layer, p))


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm_peephole", "gru", "gru_reset_before", "lru", "gru_norm"])
def test_zoneout_is_that_of_the_cpu(cell):
    rng = np.random.default_rng(7)
    shape = (STACK.layers * STACK.directions, STACK.steps, STACK.batch, STACK.hidden)
    keep = tuple(np.clip(3 * rng.random(shape) - 1, 0, 1) for _ in CELLS[cell].states)
    assert_as_on_the_cpu(cell, STACK, keep=keep)
    assert_as_on_the_cpu(cell, STACK, keep=tuple(0.25 for _ in keep), checkpoint=True)


@pytest.mark.parametrize("steps", [STACK.steps, 1])
def test_factors_between_layers_are_those_of_the_cpu(steps):
    shape = (STACK.layers - 1, steps, STACK.batch, 2 * STACK.hidden)
    assert_as_on_the_cpu("lstm", STACK, between=np.random.default_rng(3).uniform(0, 2, shape))


def test_factors_between_layers_of_replicas():
    stacked, alone = replicated("gru", STACK, 2)
    between = np.random.default_rng(3).uniform(0, 2, (2, STACK.layers - 1, STACK.steps, STACK.batch, 2 * STACK.hidden))
    found = both(layer_of("gru", STACK), stacked, between=between)
    for r, p in enumerate(alone):
        assert_same_bits(found["d_x"][r], both(layer_of("gru", STACK), p, between=between[r])["d_x"])


def test_what_is_not_wanted_changes_no_bit_of_the_rest():
    p, layer = problem("lstm", STACK), layer_of("lstm", STACK)
    whole = both(layer, p)
    less = both(layer, p, back={"input_gradient": False}, output=False)
    assert {"y", "d_x"} & less.keys() == set()
    assert_same_bits(less, {name: whole[name] for name in less})
    assert_same_bits(both(layer, p, flush_denormals=True), whole)


def test_no_gradient_is_a_gradient_of_zeros():
    p, layer = problem("lstm", STACK), layer_of("lstm", STACK)
    zeros = tuple(np.zeros_like(part) for part in p.state)
    none = p._replace(state=None, dy=None, dstate=None)
    assert_same_bits(both(layer, none), both(layer, p._replace(state=zeros, dy=np.zeros_like(p.dy), dstate=zeros)))


# arrays on the device


def on_device(p):
    """The problem with every array on the GPU."""
    arrays = {"x": target.to_device(p.x), "dy": target.to_device(p.dy)}
    params = {name: target.to_device(array) for name, array in p.params.items()}
    ends = {name: tuple(map(target.to_device, getattr(p, name))) for name in ("state", "dstate")}
    return p._replace(params=params, **arrays, **ends)


@pytest.mark.parametrize("cell", ["lstm_peephole", "gru_norm"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_device_arrays_stay_on_the_device(cell, replicas, monkeypatch):
    p = problem(cell, STACK) if replicas == 1 else replicated(cell, STACK, replicas)[0]
    layer, there = layer_of(cell, STACK), on_device(p)
    expected = both(layer, p)
    monkeypatch.setattr(target, "to_host", None)  # a copy to the host would call it
    found = both(layer, there)
    monkeypatch.undo()
    arrays = [array for value in found.values() for array in (value if isinstance(value, tuple) else (value,))]
    assert all(map(target.is_on_device, arrays))
    here = {k: tuple(map(target.to_host, v)) if isinstance(v, tuple) else target.to_host(v) for k, v in found.items()}
    assert_same_bits(here, expected)
    assert_same_bits({name: target.to_host(a) for name, a in there.params.items()}, p.params)
    assert_same_bits(tuple(map(target.to_host, there.dstate)), p.dstate)


# errors


def refused(function, *arguments, **options):
    with pytest.raises(ValueError) as caught:
        function(*arguments, **options)
    return str(caught.value)


SPOILED = {
    "params": lambda p: {"params": {"weight": p.x}},
    "a parameter": lambda p: {"params": p.params | {"weight_hh_l0": p.params["weight_hh_l0"].T[:, :3]}},
    "dtype": lambda p: {"x": p.x.astype("float32")},
    "shape": lambda p: {"x": p.x[..., :1]},
    "no array": lambda p: {"x": p.x.tolist()},
    "nan": lambda p: {"x": np.where(p.x == p.x.max(), np.nan, p.x)},
    "states": lambda p: {"state": p.state[:1]},
    "lengths": lambda p: {"lengths": [0, 1, 2]},
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_is_wrong_is_refused_as_on_the_cpu(spoil):
    good = problem("lstm", STACK)
    p, told = good._replace(**SPOILED[spoil](good)), []
    for device in ("cpu", "cuda"):
        layer = layer_of("lstm", STACK, device=device)
        told.append(refused(forward, layer, p.params, p.x, p.state, p.lengths))
    assert told[0] == told[1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, about infinite numbers
def test_a_number_that_is_not_finite_is_named_on_the_device_too():
    p, layer = problem("lstm", STACK), layer_of("lstm", STACK)
    spoiled = p.x.copy()
    spoiled[1, 2, 0] = np.nan
    there = on_device(p._replace(x=spoiled))
    assert refused(forward, layer, there.params, there.x) == "x: expected finite values, got nan at index (1, 2, 0)"
    y, _, _ = forward(layer, there.params, there.x, check=False)
    assert not np.isfinite(target.to_host(y)).all()


def test_a_layer_of_the_cpu_takes_no_device_arrays():
    p = on_device(problem("lstm", STACK))
    told = refused(forward, layer_of("lstm", STACK, device="cpu"), p.params, p.x)
    assert told.startswith("params['weight_ih_l0']: expected a NumPy array")


def measured(layer, p, **options):
    """What goes back through single steps."""
    _, _, tape = forward(layer, p.params, p.x, p.state, p.lengths, **options)
    found = {"jacobians": rl.jacobians(layer, p.params, tape)}
    found["lags"] = rl.gradient_by_lag(layer, p.params, tape, p.dy, p.dstate)
    if layer.num_layers == 1:
        found["plain"] = plain_gradient_by_lag(layer, p.params, tape, p.dy)
    if layer.num_layers == 1 and layer.spec.recurrent_matrix:
        found["shares"] = lag_shares(layer, p.params, tape, p.dy)
    return {name: np.nan_to_num(array) for name, array in found.items()}


@pytest.mark.parametrize(
    "case", [Case(lengths=(5, 2, 4)), Case(steps=3, batch=9, layers=2)], ids=["lengths", "stacked"]
)
@pytest.mark.parametrize("cell", CELLS)
def test_single_steps_are_those_of_the_cpu(cell, case):
    p = problem(cell, case)
    expected = measured(layer_of(cell, case, device="cpu"), p)
    assert_close(measured(layer_of(cell, case), p), expected, ROUNDINGS * 2.3e-16)


def test_single_steps_of_replicas_under_zoneout_are_those_of_the_cpu():
    case = Case(batch=9)
    p, rng = replicated("lstm", case, 2)[0], np.random.default_rng(2)
    options = {"keep": tuple(rng.random((2, 1, case.steps, case.batch, case.hidden)) for _ in p.state)}
    expected = measured(layer_of("lstm", case, device="cpu"), p, **options)
    assert_close(measured(layer_of("lstm", case), p, **options), expected, ROUNDINGS * 2.3e-16)
    exponents = [rl.lyapunov(layer_of("lstm", case, device=device), p.params, p.x) for device in ("cpu", "cuda")]
    assert_close(*exponents, 1e-12)


def test_what_is_about_the_kernels_of_the_cpu_is_refused():
    p, layer = problem("rnn_tanh", Case()), layer_of("rnn_tanh", Case())
    assert "expected device cpu" in refused(pack, layer, p.params)
    there = on_device(p)
    _, _, tape = forward(layer, there.params, there.x)
    told = "params: expected NumPy arrays, got arrays on a GPU"
    assert refused(rl.gradient_by_lag, layer, there.params, tape, p.dy) == told
    _, _, tape = forward(layer, p.params, p.x, checkpoint=True)
    told = "tape: expected one with the whole history, got that of a checkpointed pass"
    assert refused(rl.jacobians, layer, p.params, tape) == told


def test_a_tape_belongs_to_its_device():
    p, cpu = problem("lstm", STACK), layer_of("lstm", STACK, device="cpu")
    _, _, tape = forward(cpu, p.params, p.x)
    assert "tape: expected that of" in refused(backward, layer_of("lstm", STACK), p.params, tape, None)


def test_every_access_is_checked():
    """What makes a run in the simulator a check of bounds, too."""
    flat = target.Flat(np.zeros(3))
    for i in (-1, 3):
        with pytest.raises(IndexError, match=f"{i} lies outside an array of 3"):
            target.load(flat, i)
        with pytest.raises(IndexError, match=f"{i} lies outside an array of 3"):
            target.store(flat, i, 0.0)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "step"])
def test_elementary_functions_are_those_of_maths(name):
    from recurlab import maths

    function = target.elementary(False)[name]
    for dtype in map(np.dtype, DTYPES):
        x = np.array([-200, -30, -1, -1e-3, 0, 1e-3, 1, 30, 200, np.nan], dtype)
        came = np.array([function(value) for value in x], dtype)
        np.testing.assert_array_equal(np.isnan(came), np.isnan(x) & (name != "step"))
        assert relative_error(came[:-1], getattr(maths, name)(x)[:-1].astype(float)) <= 2 * np.finfo(dtype).eps
