"""Weights from Keras and back: against Keras' equations written out, and, where it is installed, against Keras."""

import numpy as np
import pytest
from cases import assert_close, assert_same_bits
from naive import sigmoid

import recurlab as rl
from recurlab.layers.keras import ORDERS

GATES = {cell: len(order) for cell, order in ORDERS.items()}
B, T, INPUTS, H = 2, 5, 3, 4
EPS = np.finfo("float32").eps


def of_keras(cell, inputs, seed, bias=True):
    """[kernel, recurrent_kernel, bias] of a Keras layer."""
    rng, rows = np.random.default_rng([seed, *cell.encode()]), GATES[cell] * H
    shapes = [(inputs, rows), (H, rows), (2, rows) if cell == "gru" else (rows,)]
    return [0.5 * rng.standard_normal(shape) for shape in shapes[: 2 + bias]]


def by_hand(cell, arrays, x):
    """The outputs (B, T, H) of a Keras layer, from its documentation; x (B, T, I) and zeros before it."""
    kernel, recurrent_kernel, *bias = arrays
    b = bias[0] if bias else np.zeros((2, kernel.shape[1]) if cell == "gru" else kernel.shape[1])
    h = c = np.zeros((len(x), H))
    outputs = []
    for step in np.moveaxis(x, 1, 0):
        seen, inner = step @ kernel, h @ recurrent_kernel
        if cell == "lstm":
            i, f, g, o = np.split(seen + inner + b, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif cell == "gru":
            (x_z, x_r, x_h), (h_z, h_r, h_h) = np.split(seen + b[0], 3, axis=1), np.split(inner + b[1], 3, axis=1)
            z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
            h = z * h + (1 - z) * np.tanh(x_h + r * h_h)
        elif cell == "gru_reset_before":
            (x_z, x_r, x_h), (u_z, u_r, u_h) = np.split(seen + b, 3, axis=1), np.split(recurrent_kernel, 3, axis=1)
            z, r = sigmoid(x_z + h @ u_z), sigmoid(x_r + h @ u_r)
            h = z * h + (1 - z) * np.tanh(x_h + (r * h) @ u_h)
        else:
            act = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "sigmoid": sigmoid, "linear": lambda a: a}
            h = act[cell.removeprefix("rnn_")](seen + inner + b)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def outputs_of(layer, params, x):
    """y as Keras has it, (B, T, D·H)."""
    y, _, _ = rl.forward(layer, params, np.ascontiguousarray(np.moveaxis(x, 1, 0)).astype(layer.dtype))
    return np.moveaxis(y, 1, 0)


def inputs():
    return np.random.default_rng(7).standard_normal((B, T, INPUTS))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("cell", ORDERS)
def test_a_layer_is_that_of_the_equations(cell, bias):
    arrays = of_keras(cell, INPUTS, 0, bias)
    layer, params = rl.from_keras(cell, arrays)
    assert (layer.cell, layer.input_size, layer.hidden_size, layer.dtype) == (cell, INPUTS, H, "float64")
    assert_close(outputs_of(layer, params, inputs()), by_hand(cell, arrays, inputs()), 1e-14)


@pytest.mark.parametrize("cell", ORDERS)
def test_a_stack_of_bidirectional_layers_is_that_of_the_equations(cell):
    groups = [of_keras(cell, width, seed) for seed, width in enumerate((INPUTS, INPUTS, 2 * H, 2 * H))]
    x = inputs()
    for pair in (groups[:2], groups[2:]):
        x = np.concatenate([by_hand(cell, pair[0], x), by_hand(cell, pair[1], x[:, ::-1])[:, ::-1]], axis=2)
    layer, params = rl.from_keras(cell, [array for group in groups for array in group], bidirectional=True)
    assert (layer.num_layers, layer.directions) == (2, 2)
    assert_close(outputs_of(layer, params, inputs()), x, 1e-14)


@pytest.mark.parametrize("cell", ORDERS)
def test_back_in_keras_the_arrays_are_what_they_were(cell):
    arrays = [array for width in (INPUTS, H) for array in of_keras(cell, width, width)]
    back = rl.to_keras(*rl.from_keras(cell, arrays))
    assert_same_bits(dict(enumerate(back)), dict(enumerate(arrays)))


@pytest.mark.parametrize("cell", ORDERS)
def test_both_biases_arrive_in_keras(cell):
    layer = rl.recurrent(cell, INPUTS, H, dtype="float64")
    params = rl.init(layer, seed=3)  # with two biases, as PyTorch
    assert_close(by_hand(cell, rl.to_keras(layer, params), inputs()), outputs_of(layer, params, inputs()), 1e-14)


LSTM = of_keras("lstm", INPUTS, 0)


@pytest.mark.parametrize(
    ("cell", "arrays", "options", "message"),
    [
        ("lstm_peephole", LSTM, {}, "cell: expected one of rnn_tanh, .*, got 'lstm_peephole'"),
        ("lstm", [], {}, r"arrays of lstm: expected kernel \(I, 4·H\).*, got shapes"),
        ("lstm", LSTM[:1], {}, r"got shapes \(3, 16\)"),
        ("lstm", [*LSTM, LSTM[0]], {}, r"got shapes \(3, 16\), \(4, 16\), \(16,\), \(3, 16\)"),
        ("lstm", [array.T for array in LSTM], {}, r"got shapes \(16, 3\)"),
        ("gru", of_keras("gru_reset_before", INPUTS, 0), {}, r"bias \(2, 3·H,\) or none of each layer, got shapes"),
        ("gru_reset_before", of_keras("gru", INPUTS, 0), {}, r"bias \(3·H,\) or none of each layer, got shapes"),
        ("lstm", LSTM, {"bidirectional": True}, "arrays: expected pairs, forward and backward, got those of 1 layers"),
        ("lstm", [array.astype("float16") for array in LSTM], {}, "dtype: expected one of float32, float64, got"),
        ("lstm", [*LSTM, *LSTM], {}, r"params\['weight_ih_l1'\]: expected"),
        ("lstm", [*LSTM[:2], LSTM[2] * np.nan], {}, r"params\['bias_ih_l0'\]"),
    ],
)
def test_other_arrays_are_refused(cell, arrays, options, message):
    with pytest.raises(ValueError, match=message):
        rl.from_keras(cell, arrays, **options)


def test_a_cell_that_keras_has_not_is_refused():
    layer = rl.recurrent("indrnn", INPUTS, H)
    with pytest.raises(ValueError, match="layer.cell: expected one of rnn_tanh"):
        rl.to_keras(layer, rl.init(layer, seed=0))


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras, with torch
@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("cell", ORDERS)
def test_outputs_are_those_of_keras(cell, both, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # where it writes a file of settings
    keras = pytest.importorskip("keras", reason="Keras is not installed: make test-oracle installs it")
    kinds = {"lstm": (keras.layers.LSTM, {}), "gru": (keras.layers.GRU, {})}
    kinds["gru_reset_before"] = keras.layers.GRU, {"reset_after": False}
    kind, options = kinds.get(cell, (keras.layers.SimpleRNN, {"activation": cell.removeprefix("rnn_")}))
    made = kind(H, return_sequences=True, bias_initializer="random_normal", **options)
    made = keras.layers.Bidirectional(made) if both else made
    expected = np.asarray(keras.ops.convert_to_numpy(made(inputs().astype("float32"))))
    layer, params = rl.from_keras(cell, made.get_weights(), both)
    assert_close(outputs_of(layer, params, inputs()), expected, 8 * EPS)  # on torch, Keras' own loop has float32 alone
    back = rl.to_keras(layer, params)
    assert_same_bits(dict(enumerate(back)), dict(enumerate(made.get_weights())))
