"""What the face refuses: each message names the argument, what came and what was expected."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from cases import CASES, assert_same_bits, problem

from recurlab.cells import CELLS
from recurlab.layers.recurrent import backward, forward, recurrent, trace

CASE = CASES["stacked, bidirectional, lengths"]  # T 5, B 3, I 2, H 5, L 2, D 2


def refuses(argument, came, expected, function, *arguments, **options):
    """The call raises ValueError "argument: expected …, got …" with the two given pieces of text."""
    with pytest.raises(ValueError) as refusal:
        function(*arguments, **options)
    name, wanted, got = re.fullmatch(r"(.*?): expected (.*), got (.*)", str(refusal.value), re.DOTALL).groups()
    assert name == argument and expected in wanted and came in got, str(refusal.value)


@pytest.fixture(params=[None, 3], ids=["alone", "replicas"])
def call(request):
    """A layer with arguments that it takes; a test spoils one of them."""
    p, layer = problem("lstm_peephole", CASE), recurrent("lstm_peephole", 2, 5, 2, True, "float64")
    lead = () if request.param is None else (request.param,)

    def with_lead(array):
        return np.broadcast_to(array, (*lead, *array.shape)).copy()

    good = SimpleNamespace(
        layer=layer,
        lead=lead,
        params={name: with_lead(array) for name, array in p.params.items()},
        x=with_lead(p.x),
        state=tuple(map(with_lead, p.state)),
        dy=with_lead(p.dy),
        dstate=tuple(map(with_lead, p.dstate)),
        lengths=p.lengths,
    )
    good.tape = forward(layer, good.params, good.x, good.state, good.lengths)[2]
    return good


def run(call, **changed):
    values = vars(call) | changed
    return forward(values["layer"], *(values[name] for name in ("params", "x", "state", "lengths")))


def back(call, **changed):
    values = vars(call) | changed
    return backward(values["layer"], *(values[name] for name in ("params", "tape", "dy", "dstate")))


def test_the_arguments_that_are_spoiled_below_are_good(call):
    assert np.isfinite(run(call)[0]).all() and np.isfinite(back(call)[1]).all()


# the layer


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("cell", "LSTM", "one of rnn_tanh, rnn_relu"),
        ("cell", None, "one of rnn_tanh"),
        ("cell", ["lstm"], "one of rnn_tanh"),
        ("dtype", "float16", "one of float32, float64"),
        ("dtype", np.float32, "one of float32, float64"),
        ("device", "tpu", "one of cpu"),
        ("bidirectional", 1, "True or False"),
        ("bidirectional", None, "True or False"),
        ("input_size", 0, "a whole number ≥ 1"),
        ("input_size", 2.0, "a whole number ≥ 1"),
        ("hidden_size", -3, "a whole number ≥ 1"),
        ("hidden_size", "5", "a whole number ≥ 1"),
        ("hidden_size", True, "a whole number ≥ 1"),
        ("num_layers", 0, "a whole number ≥ 1"),
        ("num_layers", None, "a whole number ≥ 1"),
    ],
)
def test_a_layer_that_cannot_be(argument, value, expected):
    good = {"cell": "lstm", "input_size": 2, "hidden_size": 5}
    refuses(argument, repr(value), expected, recurrent, **(good | {argument: value}))


def test_sizes_may_come_out_of_an_array():
    assert recurrent("lstm", np.int64(2), np.int32(5)) == recurrent("lstm", 2, 5)


# parameters


def test_params_that_are_no_dict(call):
    refuses("params", "list", "a dict of arrays", run, call, params=list(call.params.values()))
    refuses("params", "list", "a dict of arrays", back, call, params=list(call.params.values()))


@pytest.mark.parametrize("name", ["weight_ih_l0", "bias_hh_l1_reverse", "weight_co_l1"])
def test_a_missing_parameter(call, name):
    params = {key: array for key, array in call.params.items() if key != name}
    for function in (run, back):
        refuses("params", f"missing ['{name}']", "keys", function, call, params=params)


def test_an_unknown_parameter(call):
    extra = call.params | {"weight_hr_l0": np.zeros(call.lead + (5, 5))}
    refuses("params", "unknown ['weight_hr_l0']", "keys", run, call, params=extra)


def test_the_peepholes_of_a_cell_that_has_none(call):
    layer = recurrent("lstm", 2, 5, 2, True, "float64")
    refuses("params", "unknown ['weight_cf_l0'", "keys", run, call, layer=layer)


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l1", "bias_ih_l0_reverse", "weight_ci_l0"])
def test_a_parameter_of_another_shape(call, name):
    wrong = np.zeros((*call.params[name].shape[:-1], call.params[name].shape[-1] + 1))
    wanted = f"{call.params[name].shape[-1]})"
    for function in (run, back):
        refuses(f"params['{name}']", str(wrong.shape), wanted, function, call, params=call.params | {name: wrong})


def test_a_transposed_weight(call):
    name = "weight_ih_l0"
    wrong = np.ascontiguousarray(call.params[name].swapaxes(-1, -2))
    refuses(f"params['{name}']", "2, 20)", "20, 2)", run, call, params=call.params | {name: wrong})


def test_a_parameter_of_another_number_of_replicas(call):
    name = "bias_hh_l1"
    wrong = np.zeros((2, 20))
    expected = "(20)" if not call.lead else "(3, 20)"
    refuses(f"params['{name}']", "(2, 20)", expected, run, call, params=call.params | {name: wrong})


def test_no_replicas_at_all(call):
    params = {name: np.zeros((0, *array.shape[len(call.lead) :])) for name, array in call.params.items()}
    for function in (run, back):
        refuses("params", "R = 0 replicas", "R ≥ 1", function, call, params=params)


@pytest.mark.parametrize("dtype", ["float32", "int64", "complex128", ">f8"])
def test_a_parameter_of_another_dtype(call, dtype):
    name = "weight_hh_l0"
    wrong = call.params | {name: call.params[name].astype(dtype)}
    refuses(f"params['{name}']", f"dtype {np.dtype(dtype)}", "dtype float64", run, call, params=wrong)


@pytest.mark.parametrize("value", [None, 1.0, [[1.0, 2.0]]])
def test_a_parameter_that_is_no_array(call, value):
    name = "weight_hh_l0"
    wrong = call.params | {name: value}
    refuses(f"params['{name}']", type(value).__name__, "a NumPy array", run, call, params=wrong)


# inputs


def test_an_x_that_is_no_array(call):
    refuses("x", "list", "a NumPy array", run, call, x=call.x.tolist())


def test_an_x_of_another_dtype(call):
    refuses("x", "dtype float32", "dtype float64", run, call, x=call.x.astype(np.float32))


def test_an_x_of_another_width_or_rank(call):
    refuses("x", str((*call.lead, 5, 3, 1)), "2)", run, call, x=call.x[..., :1].copy())
    refuses("x", "(5, 2)", "(T, B, I)", run, call, x=np.zeros((5, 2)))
    refuses("x", "(1, 1, 5, 3, 2)", "T, B, I)", run, call, x=np.zeros((1, 1, 5, 3, 2)))


def test_an_x_of_other_replicas(call):
    refuses("x", "(2, 5, 3, 2)", "T, B, I)", run, call, x=np.zeros((2, 5, 3, 2)))


@pytest.mark.parametrize("shape", [(0, 3, 2), (5, 0, 2)])
def test_an_x_without_steps_or_rows(call, shape):
    refuses("x", str(shape)[1:-1], "T ≥ 1 and B ≥ 1", run, call, x=np.zeros(call.lead + shape), lengths=None)


@pytest.mark.filterwarnings("ignore:.* encountered in")  # what kernels that run uncompiled say of inf
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("argument", ["x", "state", "params", "dy", "dstate"])
def test_nan_and_infinity_unless_the_check_is_off(call, argument, bad):
    value, name = getattr(call, argument), argument
    if argument == "params":
        name = "params['weight_hh_l1']"
        array = value["weight_hh_l1"].copy()
        value = value | {"weight_hh_l1": array}
    elif argument in ("state", "dstate"):
        name = f"{argument} c"
        array = value[1].copy()
        value = (value[0], array)
    else:
        value = array = value.copy()
    place = tuple(size - 1 for size in array.shape)
    array[place] = bad
    function = back if argument in ("dy", "dstate") else run
    refuses(name, f"{bad} at index {place}", "finite values", function, call, **{argument: value})
    changed = vars(call) | {argument: value}
    y, _, tape = forward(*(changed[n] for n in ("layer", "params", "x", "state", "lengths")), check=False)
    _, d_x, _ = backward(
        *(changed[n] for n in ("layer", "params")), tape, changed["dy"], changed["dstate"], check=False
    )
    assert y.shape == call.dy.shape and d_x.shape == call.x.shape


def test_finite_arguments_give_the_same_bits_with_and_without_the_check(call):
    arguments = call.layer, call.params, call.x, call.state, call.lengths
    checked, unchecked = forward(*arguments), forward(*arguments, check=False)
    assert_same_bits(unchecked[:2], checked[:2])
    assert_same_bits(
        backward(call.layer, call.params, unchecked[2], call.dy, call.dstate, check=False),
        backward(call.layer, call.params, checked[2], call.dy, call.dstate),
    )


# states


@pytest.mark.parametrize("argument", ["state", "dstate"])
def test_states_that_are_no_tuple_of_the_cells_states(call, argument):
    function, good = (run, call.state) if argument == "state" else (back, call.dstate)
    refuses(argument, "tuple of 1", "a tuple of 2 arrays (h, c)", function, call, **{argument: good[:1]})
    refuses(argument, "tuple of 3", "a tuple of 2 arrays (h, c)", function, call, **{argument: (*good, good[0])})
    refuses(argument, "ndarray", "a tuple of 2 arrays (h, c)", function, call, **{argument: np.stack(good)})


@pytest.mark.parametrize("argument", ["state", "dstate"])
def test_a_state_of_another_shape_or_dtype(call, argument):
    function, good = (run, call.state) if argument == "state" else (back, call.dstate)
    for axis in range(good[0].ndim):
        wrong = np.repeat(good[0], 2, axis=axis)
        refuses(f"{argument} h", str(wrong.shape), str(good[0].shape), function, call, **{argument: (wrong, good[1])})
    wrong = good[1].astype(np.float32)
    refuses(f"{argument} c", "dtype float32", "dtype float64", function, call, **{argument: (good[0], wrong)})
    refuses(f"{argument} c", "NoneType", "a NumPy array", function, call, **{argument: (good[0], None)})


# lengths


@pytest.mark.parametrize("lengths", [(5, 0, 3), (5, -1, 3), (6, 1, 3), (5, 1, 2**40)])
def test_a_length_that_is_none(call, lengths):
    refuses("lengths", str(list(lengths)), "values from 1 to T = 5", run, call, lengths=lengths)


@pytest.mark.parametrize(
    "lengths", [(5, 1), (5, 1, 3, 2), ((5, 1, 3),), 5, (5.0, 1.0, 3.0), (True, True, True), ("5", "1", "3")]
)
def test_lengths_that_are_not_one_whole_number_a_row(call, lengths):
    refuses("lengths", str(np.shape(lengths)), "whole numbers (3,)", run, call, lengths=lengths)


@pytest.mark.parametrize("kind", [list, tuple, np.int32, np.uint8])
def test_lengths_may_be_any_whole_numbers(call, kind):
    lengths = kind(call.lengths) if isinstance(kind(), list | tuple) else call.lengths.astype(kind)
    assert_same_bits(run(call, lengths=lengths)[0], run(call)[0])


# the backward pass


def test_a_dy_of_another_shape_or_dtype(call):
    shape = (*call.lead, 5, 3, 10)
    refuses("dy", str((*call.lead, 4, 3, 10)), str(shape), back, call, dy=call.dy[..., :4, :, :].copy())
    refuses("dy", str((*call.lead, 5, 3, 5)), str(shape), back, call, dy=call.dy[..., :5].copy())
    refuses("dy", "dtype float32", "dtype float64", back, call, dy=call.dy.astype(np.float32))
    refuses("dy", "float", "a NumPy array", back, call, dy=1.0)
    refuses("dy", str((1, *shape)), str(shape), back, call, dy=call.dy[None])


def test_the_tape_of_another_layer(call):
    others = {
        "hidden_size=4": recurrent("lstm_peephole", 2, 4, 2, True, "float64"),
        "num_layers=1": recurrent("lstm_peephole", 2, 5, 1, True, "float64"),
        "cell='lstm'": recurrent("lstm", 2, 5, 2, True, "float64"),
        "dtype='float32'": recurrent("lstm_peephole", 2, 5, 2, True, "float32"),
    }
    for came, layer in others.items():
        refuses("tape", came, "hidden_size=5", back, call, tape=call.tape._replace(layer=layer))
    refuses("tape", "NoneType", "what forward returned last", back, call, tape=None)


def test_the_tape_of_another_number_of_replicas(call):
    count = 2
    params = {name: np.zeros((count, *array.shape[len(call.lead) :])) for name, array in call.params.items()}
    tape = forward(call.layer, params, np.zeros((5, 3, 2)))[2]
    expected = f"R = {call.lead[0] if call.lead else None}"
    refuses("tape", "R = 2", expected, back, call, tape=tape)


# trace, and a device without flushing


def test_trace_refuses_what_forward_refuses(call):
    refuses("x", "dtype float32", "dtype float64", trace, call.layer, call.params, call.x.astype(np.float32))
    refuses("state", "tuple of 1", "a tuple of 2", trace, call.layer, call.params, call.x, call.state[:1])
    refuses("lengths", "[0, 1, 2]", "from 1 to T", trace, call.layer, call.params, call.x, call.state, [0, 1, 2])


def test_flushing_denormals_where_it_cannot_be_done(call, monkeypatch):
    monkeypatch.setattr("recurlab.kernels.denormals.SUPPORTED", False)
    with pytest.raises(ValueError, match="flush_denormals: .*x86-64.*this machine is"):
        forward(call.layer, call.params, call.x, flush_denormals=True)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_names_its_states(cell):
    layer = recurrent(cell, 2, 3, dtype="float64")
    p = problem(cell, CASES["one row"]._replace(inputs=2, hidden=3))
    came = tuple(np.zeros((1, 1, 3)) for _ in range(5))
    count = len(layer.spec.states)
    expected = f"a tuple of {count} arrays ({', '.join(layer.spec.states)})"
    refuses("state", "tuple of 5", expected, forward, layer, p.params, p.x, came)
