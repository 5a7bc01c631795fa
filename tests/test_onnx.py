"""Against ONNX: the public node cases, and its reference evaluator on random weights in float64.

ONNX orders gates i, o, f, c and z, r, h, peepholes i, o, f, and joins the two biases. Its reference has RNN with tanh
and with an affine function only; rnn_relu and rnn_sigmoid have no witness here (naive.py and torch are theirs).
"""

import warnings

import naive
import numpy as np
import pytest
from cases import assert_close
from onnx import TensorProto, helper
from onnx.backend.test.loader import load_node_model_tests
from onnx.reference import ReferenceEvaluator

from recurlab.layers.recurrent import forward, recurrent

# Where each gate of ours stands in ONNX's order, and each peephole ci, cf, co in its i, o, f.
ORDER = {"RNN": [0], "LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2]}
PEEPHOLES = {"ci": 0, "cf": 2, "co": 1}


def attributes_of(node):
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def cell_of(node, attributes, named):
    """Our name for what the node computes."""
    if node.op_type == "RNN":
        activation = attributes.get("activations", [b"Tanh"])[0].decode()
        return {"Tanh": "rnn_tanh", "Affine": "rnn_linear"}[activation]
    if node.op_type == "GRU":
        return "gru" if attributes.get("linear_before_reset", 0) else "gru_reset_before"
    return "lstm_peephole" if "P" in named else "lstm"


def in_our_order(op, rows):
    """(G·H, …) from ONNX's order of gates to ours."""
    blocks = rows.reshape(len(ORDER[op]), -1, *rows.shape[1:])
    return np.ascontiguousarray(blocks[ORDER[op]].reshape(rows.shape))


def params_of(op, named, d, suffix):
    """The parameters of direction d, from W, R, B (or none) and P."""
    hidden, count = named["R"].shape[-1], len(ORDER[op]) * named["R"].shape[-1]
    biases = named["B"][d] if "B" in named else np.zeros(2 * count, named["W"].dtype)
    params = {
        "weight_ih": named["W"][d],
        "weight_hh": named["R"][d],
        "bias_ih": biases[:count],
        "bias_hh": biases[count:],
    }
    params = {name: in_our_order(op, array) for name, array in params.items()}
    if "P" in named:
        params |= {f"weight_{k}": named["P"][d].reshape(3, hidden)[place].copy() for k, place in PEEPHOLES.items()}
    return {f"{name}_l0{suffix}": array for name, array in params.items()}


def adapter(node, named):
    """What the layer gives for a node: (Y, Y_h[, Y_c]) with ONNX's axes. `named` holds its inputs by role: X, W, …

    A layer that only runs in reverse is the second half of a bidirectional one whose first half has zero weights.
    """
    attributes, op = attributes_of(node), node.op_type
    direction, batch_first = attributes.get("direction", b"forward").decode(), attributes.get("layout", 0)
    x = np.swapaxes(named["X"], 0, 1).copy() if batch_first else named["X"]
    states = [
        named[name].swapaxes(0, 1) if batch_first else named[name] for name in named if name.startswith("initial")
    ]
    suffixes = {"forward": [""], "reverse": ["_reverse"], "bidirectional": ["", "_reverse"]}[direction]
    layer = recurrent(
        cell_of(node, attributes, named),
        x.shape[-1],
        named["R"].shape[-1],
        bidirectional="_reverse" in suffixes,
        dtype=str(x.dtype),
    )
    params = {}
    for d, suffix in enumerate(suffixes):
        params |= params_of(op, named, d, suffix)
    if direction == "reverse":
        params |= {name.removesuffix("_reverse"): np.zeros_like(array) for name, array in params.items()}
        states = [np.concatenate([np.zeros_like(state), state]) for state in states]
    y, final, _ = forward(layer, params, x, tuple(np.ascontiguousarray(state) for state in states) or None)
    first = 1 if direction == "reverse" else 0
    y = y.reshape(*y.shape[:2], layer.directions, -1)[:, :, first:].swapaxes(1, 2)  # (T, D, B, H)
    final = [part[first:] for part in final]
    return [y.transpose(2, 0, 1, 3), *(part.swapaxes(0, 1) for part in final)] if batch_first else [y, *final]


ROLES = {
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
}


def by_role(node, values):
    """The inputs that a node has, by what they are to it; `values` holds them by their names in the graph."""
    return {role: values[name] for role, name in zip(ROLES[node.op_type], node.input, strict=False) if name}


# the public cases


def load_public_cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators of other operators warn
        cases = load_node_model_tests()
    return {case.name: case for case in cases if case.model.graph.node[0].op_type in ROLES}


PUBLIC = load_public_cases()


def test_there_are_18_public_cases():
    assert len(PUBLIC) == 18


@pytest.mark.parametrize("name", PUBLIC)
def test_public_case(name):
    case = PUBLIC[name]
    node, (inputs, outputs) = case.model.graph.node[0], case.data_sets[0]
    named = dict(zip([value.name for value in case.model.graph.input], inputs, strict=True))
    found = dict(zip(node.output, adapter(node, by_role(node, named)), strict=False))
    for value, expected in zip(case.model.graph.output, outputs, strict=True):
        np.testing.assert_allclose(found[value.name], expected, rtol=case.rtol, atol=case.atol)


# Random weights. The public cases see 9 of the 17 errors in test_mutations.py, these all of those in a forward pass.

VARIANTS = {
    "rnn_tanh": ("RNN", {}),
    "rnn_linear": ("RNN", {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]}),
    "lstm": ("LSTM", {}),
    "lstm_peephole": ("LSTM", {}),
    "gru": ("GRU", {"linear_before_reset": 1}),
    "gru_reset_before": ("GRU", {"linear_before_reset": 0}),
}
STEPS, BATCH, INPUTS, HIDDEN = 6, 3, 3, 5


def node_and_values(cell, direction):
    """A node of the cell, and random values for all of its inputs."""
    op, attributes = VARIANTS[cell]
    directions, rows = 2 if direction == "bidirectional" else 1, naive.GATES[cell] * HIDDEN
    if "activations" in attributes:
        attributes = {name: value * directions for name, value in attributes.items()}
    shapes = {
        "X": (STEPS, BATCH, INPUTS),
        "W": (directions, rows, INPUTS),
        "R": (directions, rows, HIDDEN),
        "B": (directions, 2 * rows),
        "sequence_lens": None,
        "initial_h": (directions, BATCH, HIDDEN),
        "initial_c": (directions, BATCH, HIDDEN),
        "P": (directions, 3 * HIDDEN) if cell == "lstm_peephole" else None,
    }
    roles = [role if shapes[role] else "" for role in ROLES[op]]
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    node = helper.make_node(op, roles, outputs, hidden_size=HIDDEN, direction=direction, **attributes)
    rng = np.random.default_rng([len(direction), *cell.encode()])
    values = {role: rng.standard_normal(shapes[role]) for role in roles if role}
    return node, {role: value * (0.5 if role in "WRBP" else 1) for role, value in values.items()}


def evaluate(node, values):
    """What ONNX's own evaluator gives, in float64."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in values]
    outputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in node.output]
    graph = helper.make_graph([node], "one node", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return ReferenceEvaluator(model).run(None, values)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("cell", VARIANTS)
def test_random_weights_give_what_the_reference_evaluator_gives(cell, direction):
    node, values = node_and_values(cell, direction)
    expected = evaluate(node, values)
    assert expected[0].dtype == np.float64
    assert_close(tuple(adapter(node, values)), tuple(expected), 1e-12)


@pytest.mark.parametrize("cell", VARIANTS)
def test_a_batch_of_unequal_lengths_is_each_row_cut_to_its_own(cell):
    """The evaluator ignores sequence_lens, so it runs once for each row."""
    node, values = node_and_values(cell, "bidirectional")
    lengths = np.array([STEPS, 1, 4])
    layer = recurrent(cell, INPUTS, HIDDEN, bidirectional=True, dtype="float64")
    params = params_of(node.op_type, values, 0, "") | params_of(node.op_type, values, 1, "_reverse")
    states = [name for name in values if name.startswith("initial")]
    y, final, _ = forward(layer, params, values["X"], tuple(values[name] for name in states), lengths)
    for b, length in enumerate(lengths):
        row = values | {"X": values["X"][:length, b : b + 1]} | {name: values[name][:, b : b + 1] for name in states}
        expected_y, *expected_final = evaluate(node, row)
        assert_close(y[:length, b], expected_y[:, :, 0].reshape(length, -1), 1e-12, "y")
        assert (y[length:, b] == 0).all()
        for part, wanted in zip(final, expected_final, strict=True):
            assert_close(part[:, b], wanted[:, 0], 1e-12, "final state")
