"""Every cell in every configuration against `naive`, and what the layer promises about rows, replicas and padding."""

from contextlib import contextmanager

import naive
import numpy as np
import pytest
from cases import (
    CASES,
    KINDS,
    SMALL,
    Case,
    assert_close,
    assert_same_bits,
    naive_forward,
    naive_gradients,
    of_cells,
    problem,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config
from test_parametrise import CHECKS as PARAMETRISED

from recurlab.cells import CELLS
from recurlab.kernels import backward as back
from recurlab.kernels import blocks, denormals
from recurlab.kernels import forward as ahead
from recurlab.layers.recurrent import backward, forward, pack, parameter_shapes, recurrent, trace, unpack

EXACT = 1e-12
EPS = np.finfo(np.float32).eps


def layer_of(cell, case, dtype="float64"):
    return recurrent(cell, case.inputs, case.hidden, case.layers, case.directions == 2, dtype)


def both(layer, p, **options):
    """y, final states, gradients of the parameters, of x and of the initial states, by name."""
    y, final, tape = forward(layer, p.params, p.x, p.state, p.lengths, **options)
    grads, d_x, d_initial = backward(layer, p.params, tape, p.dy, p.dstate, **options)
    return {"y": y, "final state": final, "d_x": d_x, "d_initial": d_initial, **{f"d {k}": v for k, v in grads.items()}}


def check_forward(cell, case):
    p, layer = problem(cell, case), layer_of(cell, case)
    y, final, _ = forward(layer, p.params, p.x, p.state, p.lengths)
    expected_y, expected_final, expected_trace = naive_forward(cell, case)
    assert_close(y, expected_y, EXACT, "y")
    assert_close(final, expected_final, EXACT, "final state")
    assert_close(trace(layer, p.params, p.x, p.state, p.lengths), expected_trace, EXACT)


def check_gradients(cell, case):
    p, layer = problem(cell, case), layer_of(cell, case)
    _, _, tape = forward(layer, p.params, p.x, p.state, p.lengths)
    grads, d_x, d_initial = backward(layer, p.params, tape, p.dy, p.dstate)
    expected_grads, expected_d_x, expected_d_initial = naive_gradients(cell, case)
    assert list(grads) == list(p.params)
    assert_close(grads, expected_grads, EXACT)
    assert_close(d_x, expected_d_x, EXACT, "d_x")
    assert_close(d_initial, expected_d_initial, EXACT, "d_initial")


@pytest.mark.parametrize(("cell", "case"), of_cells(CASES))
def test_outputs_states_and_trace_are_those_of_the_equations(cell, case):
    check_forward(cell, CASES[case])


@pytest.mark.parametrize(("cell", "case"), of_cells(CASES))
def test_every_gradient_is_that_of_the_equations(cell, case):
    check_gradients(cell, CASES[case])


@pytest.mark.parametrize("cell", CELLS)
def test_parameters_have_the_names_and_shapes_of_pytorch(cell):
    case = CASES["stacked, bidirectional, lengths"]
    expected = naive.shapes_of(cell, case.inputs, case.hidden, **case.depth)
    assert list(parameter_shapes(layer_of(cell, case)).items()) == list(expected.items())


# the oracle against itself


@pytest.mark.parametrize("cell", CELLS)
def test_the_oracles_gradient_is_the_derivative_of_the_oracles_loss(cell):
    """One complex step of the whole network in a random direction, against the Jacobians multiplied out."""
    p, other = problem(cell, SMALL), problem(cell, SMALL, seed=1)

    def nudged(value, direction):
        return value + 1j * naive.TINY * direction

    params = {name: nudged(p.params[name], other.params[name]) for name in p.params}
    state = tuple(nudged(*pair) for pair in zip(p.state, other.state, strict=True))
    x = nudged(p.x, other.x)
    loss = naive.loss(cell, params, x, state, SMALL.all_lengths, p.dy, p.dstate, **SMALL.depth)
    grads, d_x, d_initial = naive_gradients(cell, SMALL)
    expected = sum((grads[name] * other.params[name]).sum() for name in grads) + (d_x * other.x).sum()
    expected += sum((d * direction).sum() for d, direction in zip(d_initial, other.state, strict=True))
    assert abs(loss.imag / naive.TINY - expected) <= EXACT * abs(expected)


# the product against itself


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_the_central_differences_of_the_forward_pass(cell):
    case = CASES["stacked, bidirectional, lengths"]
    p, other, layer = problem(cell, case), problem(cell, case, seed=1), layer_of(cell, case)

    def loss(h):
        params = {name: p.params[name] + h * other.params[name] for name in p.params}
        state = tuple(a + h * b for a, b in zip(p.state, other.state, strict=True))
        y, final, _ = forward(layer, params, p.x + h * other.x, state, p.lengths)
        return (p.dy * y).sum() + sum((d * part).sum() for d, part in zip(p.dstate, final, strict=True))

    found = both(layer, p)
    slope = sum((found[f"d {name}"] * other.params[name]).sum() for name in p.params) + (found["d_x"] * other.x).sum()
    slope += sum((d * direction).sum() for d, direction in zip(found["d_initial"], other.state, strict=True))
    h = 1e-6  # error of the difference: h² from the cubic term and 1e-16 / h from rounding, both below 1e-9
    assert abs((loss(h) - loss(-h)) / (2 * h) - slope) <= 1e-8 * max(abs(slope), 1)


# Not for one unit: its gradients are single numbers, and a sum may cancel to far below the rounding of its terms.
@pytest.mark.parametrize(("cell", "case"), of_cells(name for name, case in CASES.items() if case.hidden > 1))
def test_float32_is_float64_within_its_rounding(cell, case):
    """Per array max|a - b| ≤ eps · T · L · (I + H) · max|b|."""
    case = CASES[case]
    p = problem(cell, case, dtype="float32")
    wide = p._replace(
        params={name: array.astype(np.float64) for name, array in p.params.items()},
        x=p.x.astype(np.float64),
        dy=p.dy.astype(np.float64),
        state=tuple(part.astype(np.float64) for part in p.state),
        dstate=tuple(part.astype(np.float64) for part in p.dstate),
    )
    came, expected = both(layer_of(cell, case, "float32"), p), both(layer_of(cell, case), wide)
    assert {part.dtype for value in came.values() for part in np.atleast_1d(value)} == {np.dtype("float32")}
    assert_close(came, expected, EPS * case.steps * case.layers * (case.inputs + case.hidden))


def test_no_state_is_a_state_of_zeros_and_no_lengths_are_full_lengths():
    case = CASES["stacked"]
    p, layer = problem("lstm", case), layer_of("lstm", case)
    zeros = tuple(np.zeros_like(part) for part in p.state)
    expected = both(layer, p._replace(state=zeros, dstate=zeros, lengths=np.full(case.batch, case.steps)))
    assert_same_bits(both(layer, p._replace(state=None, dstate=None)), expected)


def test_the_memory_layout_of_the_arguments_changes_no_bit_and_no_argument_is_written_to():
    p, layer = problem("gru", SMALL), layer_of("gru", SMALL)
    expected = both(layer, p)
    strided = p._replace(
        params={name: np.asfortranarray(array) for name, array in p.params.items()},
        x=np.asfortranarray(p.x),
        dy=np.asfortranarray(p.dy),
        state=tuple(np.repeat(part, 2, axis=1)[:, ::2] for part in p.state),
    )
    assert_same_bits(both(layer, strided), expected)
    fresh = problem.__wrapped__("gru", SMALL)
    for came, untouched in zip(p, fresh, strict=True):
        assert_same_bits(came, untouched)


@st.composite
def any_case(draw):
    size = st.integers(1, 7)
    steps, batch, inputs, hidden = draw(size), draw(size), draw(size), draw(size)
    lengths = draw(st.none() | st.tuples(*[st.integers(1, steps)] * batch))
    return Case(steps, batch, inputs, hidden, draw(st.integers(1, 3)), draw(st.integers(1, 2)), lengths)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(cell=st.sampled_from(list(CELLS)), case=any_case())
def test_any_shape_is_that_of_the_equations(cell, case):
    check_forward(cell, case)
    check_gradients(cell, case)


def test_read_only_arguments_change_no_bit_and_compile_nothing_anew():
    p, layer = problem("gru", SMALL), layer_of("gru", SMALL)
    expected = both(layer, p)
    arrays = [array.copy() for array in (*p.params.values(), p.x, p.dy, *p.state, *p.dstate)]
    for array in arrays:
        array.flags.writeable = False
    values = iter(arrays)
    frozen = p._replace(
        params={name: next(values) for name in p.params},
        x=next(values),
        dy=next(values),
        state=tuple(next(values) for _ in p.state),
        dstate=tuple(next(values) for _ in p.dstate),
    )
    kernels = ahead.compiled(), back.compiled()
    before = [list(getattr(kernel, "signatures", [])) for kernel in kernels]  # none where kernels run uncompiled
    assert_same_bits(both(layer, frozen), expected)
    assert [getattr(kernel, "signatures", []) for kernel in kernels] == before


# replicas


def replicated(problems, shared_x):
    """One problem with a leading R."""
    first = problems[0]
    return first._replace(
        params={name: np.stack([p.params[name] for p in problems]) for name in first.params},
        x=first.x if shared_x else np.stack([p.x for p in problems]),
        dy=np.stack([p.dy for p in problems]),
        state=tuple(map(np.stack, zip(*(p.state for p in problems), strict=True))),
        dstate=tuple(map(np.stack, zip(*(p.dstate for p in problems), strict=True))),
    )


def pick(found, r):
    return {name: tuple(part[r] for part in v) if isinstance(v, tuple) else v[r] for name, v in found.items()}


def check_replicas(cell, case, shared_x=False, dtype="float64"):
    problems = [problem(cell, case, seed, dtype) for seed in range(3)]
    if shared_x:
        problems = [p._replace(x=problems[0].x) for p in problems]
    layer, together = layer_of(cell, case, dtype), replicated(problems, shared_x)
    found = both(layer, together)
    found |= trace(layer, together.params, together.x, together.state, together.lengths)
    for r, p in enumerate(problems):
        alone = both(layer, p) | trace(layer, p.params, p.x, p.state, p.lengths)
        assert_same_bits(pick(found, r), alone)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shared_x", [False, True], ids=["own x", "shared x"])
@pytest.mark.parametrize("cell", KINDS)
def test_a_replica_has_the_bits_it_has_alone(cell, shared_x, dtype):
    check_replicas(cell, CASES["stacked, bidirectional, lengths"], shared_x, dtype)


@pytest.mark.filterwarnings("ignore:.* encountered in")  # what kernels that run uncompiled say of it
def test_a_replica_that_overflows_leaves_its_neighbours_their_bits():
    case = CASES["lengths"]
    calm, wild = problem("rnn_linear", case), problem("rnn_linear", case, seed=1)
    wild = wild._replace(params={name: array * 1e200 for name, array in wild.params.items()})
    layer = layer_of("rnn_linear", case)
    found = both(layer, replicated([calm, wild], shared_x=False), check=False)
    assert not np.isfinite(found["y"][1]).all()
    assert_same_bits(pick(found, 0), both(layer, calm))
    for b, length in enumerate(case.lengths):
        assert (found["y"][1, length:, b] == 0).all()


@pytest.mark.filterwarnings("ignore:.* encountered in")
def test_a_row_that_overflows_at_its_end_has_a_finite_gradient_up_to_there():
    check_overflow_at_the_end()


def check_overflow_at_the_end():
    """h = 1, 1e200, inf and then padding: dL/dW_hh = h_0 · 1e200 + h_1 · 1 for L = h_2, as for the row alone."""
    layer = recurrent("rnn_linear", 1, 1, dtype="float64")
    params = {name: np.zeros(shape) for name, shape in parameter_shapes(layer).items()} | {
        "weight_hh_l0": np.array([[1e200]])
    }
    x, state = np.zeros((4, 1, 1)), (np.ones((1, 1, 1)),)
    _, final, tape = forward(layer, params, x, state, [2])
    grads, _, _ = backward(layer, params, tape, np.zeros((4, 1, 1)), (np.ones((1, 1, 1)),))
    assert np.isinf(final[0]) and grads["weight_hh_l0"] == 2e200


# chunks of steps, slices of the batch


@contextmanager
def chunks_of(steps, cell, case, dtype="float64"):
    """Both passes take that many steps at a time."""
    n = blocks.sizes_of(CELLS[cell], dtype, 1, case.batch, case.steps, case.inputs, case.hidden)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "CHUNK_NUMBERS", steps * (n.gates + n.separate) * n.blocks * n.rows * n.lanes)
        patch.setattr(blocks, "CHUNK_ROWS", steps * n.rows)
        n = blocks.sizes_of(CELLS[cell], dtype, 1, case.batch, case.steps, case.inputs, case.hidden)
        assert (n.chunk, n.back_chunk) == (steps, steps)
        yield


def check_chunks(cell, case):
    """Five steps in chunks of two: a first one, one between, and a rest."""
    with chunks_of(2, cell, case):
        check_forward(cell, case)
        check_gradients(cell, case)


@pytest.mark.parametrize("case", ["odd sizes", "two slices", "two slices, bidirectional, lengths"])
@pytest.mark.parametrize("cell", KINDS)
def test_steps_in_chunks_are_those_of_the_equations(cell, case):
    check_chunks(cell, CASES[case])


@pytest.mark.parametrize("cell", CELLS)
def test_all_but_sums_over_steps_has_the_same_bits_for_any_chunk(cell):
    case = CASES["two slices, bidirectional, lengths"]
    p, layer, found = problem(cell, case), layer_of(cell, case), []
    for steps in (1, 3, 5):
        with chunks_of(steps, cell, case):
            found.append({name: v for name, v in both(layer, p).items() if not name.startswith("d ")})
    for other in found[1:]:
        assert_same_bits(other, found[0])


def check_checkpoints(cell, case, dtype="float64"):
    """Five steps in segments of two: the second pass through each leaves the bits of the whole."""
    p, layer = problem(cell, case, dtype=dtype), layer_of(cell, case, dtype)
    with chunks_of(1, cell, case, dtype):
        expected = both(layer, p)
        y, final, tape = forward(layer, p.params, p.x, p.state, p.lengths, checkpoint=True)
        assert all(len(run.starts) == 3 and not run.states.size for run in tape.passes)
        grads, d_x, d_initial = backward(layer, p.params, tape, p.dy, p.dstate)
    found = {"y": y, "final state": final, "d_x": d_x, "d_initial": d_initial}
    assert_same_bits(found | {f"d {name}": array for name, array in grads.items()}, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ["stacked, bidirectional, lengths", "two slices, bidirectional, lengths"])
@pytest.mark.parametrize("cell", KINDS)
def test_a_checkpointed_pass_has_the_same_bits(cell, case, dtype):
    check_checkpoints(cell, CASES[case], dtype)


@pytest.mark.parametrize("cell", CELLS)
def test_without_output_the_final_states_and_the_tape_are_the_same(cell):
    case = CASES["stacked, bidirectional, lengths"]
    p, layer = problem(cell, case), layer_of(cell, case)
    _, final, tape = forward(layer, p.params, p.x, p.state, p.lengths)
    nothing, came, other = forward(layer, p.params, p.x, p.state, p.lengths, output=False)
    assert nothing is None
    assert_same_bits(came, final)
    expected = backward(layer, p.params, tape, None, p.dstate)
    assert_same_bits(backward(layer, p.params, other, None, p.dstate), expected)
    zeros = backward(layer, p.params, tape, np.zeros_like(p.dy), p.dstate)
    assert_close(zeros, expected, 0)  # but for the sign of a zero


@pytest.mark.parametrize("cell", CELLS)
def test_without_the_inputs_gradient_all_others_are_the_same(cell):
    case = CASES["stacked, bidirectional, lengths"]
    p, layer = problem(cell, case), layer_of(cell, case)
    _, _, tape = forward(layer, p.params, p.x, p.state, p.lengths)
    grads, _, d_initial = backward(layer, p.params, tape, p.dy, p.dstate)
    came, nothing, other = backward(layer, p.params, tape, p.dy, p.dstate, input_gradient=False)
    assert nothing is None
    assert_same_bits((came, other), (grads, d_initial))


# packed parameters


def check_packed(cell, case, dtype="float64", count=None):
    """Packed and back is the same, and so are the bits of all that a packed layer gives."""
    p, layer = problem(cell, case, dtype=dtype), layer_of(cell, case, dtype)
    if count:
        p = replicated([problem(cell, case, seed, dtype) for seed in range(count)], shared_x=False)
    packed, params = pack(layer, p.params)
    natural, back_again = unpack(packed, params)
    assert natural == layer
    assert_same_bits(back_again, p.params)
    found, expected = both(packed, p._replace(params=params)), both(layer, p)
    grads = {name: found.pop(f"d {name}") for name in params}
    for name, array in grads.items():
        assert array.shape == params[name].shape, name
    assert_same_bits(found, {name: expected[name] for name in found})
    _, back_again = unpack(packed, grads)
    assert_same_bits(back_again, {name: expected[f"d {name}"] for name in grads})
    whole = pack(layer, back_again)[1]  # what fills a gradient up is zero, of either sign
    assert all((grads[name] == whole[name]).all() for name in grads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [None, 3], ids=["alone", "replicas"])
@pytest.mark.parametrize("case", ["one row", "stacked, bidirectional, lengths", "two slices, bidirectional, lengths"])
@pytest.mark.parametrize("cell", KINDS)
def test_packed_parameters_change_no_bit(cell, case, count, dtype):
    check_packed(cell, CASES[case], dtype, count)


@pytest.mark.parametrize("batch", [1, 7, 8, 25, 47, 48, 95, 97, 200])
@pytest.mark.parametrize("hidden", [5, 400])
def test_every_row_lies_in_one_slice(batch, hidden):
    slices = blocks.slices_of(batch, hidden, 4)
    rows = -(-batch // slices)
    assert slices in (1, 2, 4, 8) and (slices - 1) * rows < batch <= slices * rows
    assert slices == 1 or rows >= 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["lstm_peephole", "gru", "gru_reset_before"])
def test_eight_slices_are_their_rows(cell, dtype):
    """97 rows, seven of which only fill up: bits of each row, and gradients that are the sum of the rows' own."""
    case, eps = Case(steps=3, batch=97, inputs=3, hidden=19), np.finfo(dtype).eps
    assert blocks.slices_of(case.batch, case.hidden, 4) == 8
    check_rows(cell, case, dtype)
    p, layer = problem(cell, case, dtype=dtype), layer_of(cell, case, dtype)
    rows = [both(layer, row_of(p, b, case.steps)) for b in range(case.batch)]
    total = {name: sum(row[name].astype(np.float64) for row in rows) for name in rows[0] if name.startswith("d weight")}
    found = both(layer, p)
    assert_close({name: found[name] for name in total}, total, eps * case.steps * case.batch)


# rows and padding

PADDED = CASES["stacked, bidirectional, lengths"]


def row_of(p, b, steps):
    """The problem of row b alone, cut to its own length."""
    rows = slice(b, b + 1)
    return p._replace(
        x=np.ascontiguousarray(p.x[:steps, rows]),
        dy=np.ascontiguousarray(p.dy[:steps, rows]),
        state=tuple(np.ascontiguousarray(part[:, rows]) for part in p.state),
        dstate=tuple(np.ascontiguousarray(part[:, rows]) for part in p.dstate),
        lengths=None,
    )


def check_rows(cell, case, dtype="float64"):
    p, layer = problem(cell, case, dtype=dtype), layer_of(cell, case, dtype)
    together = both(layer, p)
    for b, length in enumerate(case.all_lengths):
        alone = both(layer, row_of(p, b, length))
        for name in ("y", "d_x"):
            assert_same_bits(np.ascontiguousarray(together[name][:length, b]), alone[name][:, 0], name)
        for name in ("final state", "d_initial"):
            for part, expected in zip(together[name], alone[name], strict=True):
                assert_same_bits(part[:, b], expected[:, 0], name)


def check_padding(cell, case, filler=1e30):
    p, layer = problem(cell, case), layer_of(cell, case)
    padded = np.arange(case.steps)[:, None] >= p.lengths
    changed = p._replace(x=p.x.copy(), dy=p.dy.copy())
    changed.x[padded] = changed.dy[padded] = filler
    expected, found = both(layer, p), both(layer, changed, check=False)
    assert_same_bits(found, expected)
    assert (found["y"][padded] == 0).all() and (found["d_x"][padded] == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_has_the_bits_it_has_alone_and_cut_to_its_length(cell, dtype):
    check_rows(cell, PADDED, dtype)


@pytest.mark.parametrize("filler", [1e30, np.inf, np.nan])
@pytest.mark.parametrize("cell", KINDS)
def test_what_stands_in_the_padding_changes_no_bit(cell, filler):
    check_padding(cell, PADDED, filler)


@pytest.mark.parametrize("cell", CELLS)
def test_padded_steps_pass_the_state_through(cell):
    p, layer = problem(cell, PADDED), layer_of(cell, PADDED)
    _, final, _ = forward(layer, p.params, p.x, p.state, p.lengths)
    found = trace(layer, p.params, p.x, p.state, p.lengths)
    for part, name in zip(final, layer.spec.states, strict=True):
        for k, (_, _, suffix) in enumerate(layer.passes):
            for b, length in enumerate(PADDED.lengths):
                beyond = found[name + suffix][length:, b]
                assert (beyond == part[k, b]).all()


# denormal numbers

BITS_OF_CONTROL = ~0x3F  # the six lowest bits of MXCSR are flags that any operation may raise
needs_mxcsr = pytest.mark.skipif(
    bool(config.DISABLE_JIT) or not denormals.SUPPORTED, reason="needs compiled code on x86-64 to set MXCSR"
)


def halving(dtype, replicas=1):
    """h' = h / 2 from the smallest normal number, with the gradient of the last output alone: y (R, T), dL/dh0 (R,)."""
    smallest, layer = np.finfo(dtype).tiny, recurrent("rnn_linear", 1, 1, dtype=dtype)
    params = {name: np.zeros((replicas, *shape), dtype) for name, shape in parameter_shapes(layer).items()}
    params["weight_hh_l0"][:] = 0.5
    x, state = np.zeros((3, 1, 1), dtype), (np.full((replicas, 1, 1, 1), smallest),)
    dy = np.zeros((replicas, 3, 1, 1), dtype)
    dy[:, -1] = smallest

    def run(**options):
        y, _, tape = forward(layer, params, x, state, **options)
        return y[..., 0, 0], backward(layer, params, tape, dy, **options)[2][0].ravel()

    return run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_are_kept_by_default(dtype):
    y, gradient = halving(dtype)()
    assert (y == np.finfo(dtype).tiny * np.array([0.5, 0.25, 0.125], dtype)).all() and (y > 0).all()
    assert gradient == np.finfo(dtype).tiny * np.array(0.125, dtype) > 0


@needs_mxcsr
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_are_flushed_on_request_and_the_callers_state_is_put_back(dtype):
    before = denormals.read_state() & BITS_OF_CONTROL
    y, gradient = halving(dtype)(flush_denormals=True)
    assert (y == 0).all() and gradient == 0
    assert denormals.read_state() & BITS_OF_CONTROL == before
    y, gradient = halving(dtype)()
    assert (y > 0).all() and gradient > 0


@needs_mxcsr
@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize(
    "callers", [0, denormals.FLUSH_AND_TREAT_AS_ZERO, 0x6000], ids=["plain", "flushing", "truncating"]
)
def test_a_layer_leaves_the_callers_floating_point_state_as_it_was(callers, flush):
    before, run = denormals.read_state(), halving("float64")
    run(flush_denormals=flush)  # compiled now: the compiler computes with the caller's state too
    try:
        denormals.write_state(before | callers)
        run(flush_denormals=flush)
        after = denormals.read_state()
    finally:
        denormals.write_state(before)
    assert (after ^ (before | callers)) & BITS_OF_CONTROL == 0


# What runs against a changed copy of the sources (test_mutations.py): seconds even where the kernels are not compiled.

TWO_STEPS = Case(steps=2, batch=1, inputs=2, hidden=2, directions=2)
SLICES = CASES["two slices, bidirectional, lengths"]
SLICED = ("rnn_tanh", "lstm_peephole", "gru", "gru_reset_before", "lru", "gru_norm")  # every branch of the kernels
CHECKS = {f"forward of {cell}": (check_forward, cell, SMALL) for cell in CELLS}
CHECKS |= {f"gradients of {cell}": (check_gradients, cell, SMALL) for cell in CELLS}
CHECKS |= {f"replicas of {cell}": (check_replicas, cell, TWO_STEPS) for cell in ("lstm_peephole", "gru", "gru_norm")}
CHECKS |= {"replicas of gru, shared x": (check_replicas, "gru", TWO_STEPS, True)}
CHECKS |= {f"rows of {cell}": (check_rows, cell, SMALL) for cell in ("lstm", "gru_reset_before")}
CHECKS |= {
    f"padding of {cell}": (check_padding, cell, SMALL, np.nan) for cell in ("lstm", "gru_reset_before", "gru_norm")
}
CHECKS |= {f"chunks and slices of {cell}": (check_chunks, cell, SLICES) for cell in SLICED}
CHECKS |= {f"chunks and slices of {cell}, no lengths": (check_chunks, cell, CASES["two slices"]) for cell in SLICED}
CHECKS |= {"replicas of lstm in slices": (check_replicas, "lstm", SLICES)}
CHECKPOINTED = ("rnn_tanh", "gru_reset_before", "gru_norm")
CHECKS |= {f"checkpoints of {cell}": (check_checkpoints, cell, SLICES) for cell in CHECKPOINTED}
CHECKS |= {f"packed {cell}": (check_packed, cell, SLICES, "float64", 2) for cell in ("gru", "gru_reset_before")}
CHECKS |= {"overflow at the end of a row": (check_overflow_at_the_end,)}
CHECKS |= PARAMETRISED


@pytest.mark.filterwarnings("ignore:.* encountered in")
@pytest.mark.parametrize("name", CHECKS)
def test_the_checks_for_changed_sources_pass_on_these(name):
    check, *arguments = CHECKS[name]
    check(*arguments)
