"""Against torch.nn.RNN, LSTM and GRU on the CPU: outputs, states, every gradient, under torch's parameter names."""

import numpy as np
import pytest
from cases import CASES, assert_close, problem, relative_error
from test_conformance import both, layer_of

from recurlab.layers.recurrent import parameter_shapes

torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
pytestmark = pytest.mark.oracle

MODULES = {
    "rnn_tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
}
EPS = np.finfo(np.float32).eps


def module_of(cell, case, dtype):
    kind, options = MODULES[cell]
    sizes = {"num_layers": case.layers, "bidirectional": case.directions == 2, "dtype": getattr(torch, dtype)}
    return kind(case.inputs, case.hidden, **sizes, **options)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def run(module, x, state, lengths):
    """y (T, B, D·H) and the final states as a tuple; rows of unequal lengths go in packed."""
    state = state if isinstance(module, torch.nn.LSTM) else state[0]
    if lengths is None:
        y, final = module(x, state)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        y, final = module(packed, state)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=len(x))
    return y, final if isinstance(final, tuple) else (final,)


def torch_both(cell, case, p, dtype):
    """What `test_conformance.both` gives, from torch."""
    module = module_of(cell, case, dtype)
    module.load_state_dict({name: torch.tensor(array) for name, array in p.params.items()}, strict=True)
    x, state = leaf(p.x), tuple(leaf(part) for part in p.state)
    y, final = run(module, x, state, p.lengths)
    loss = (torch.tensor(p.dy) * y).sum()
    loss = loss + sum((torch.tensor(d) * part).sum() for d, part in zip(p.dstate, final, strict=True))
    loss.backward()
    grads = {f"d {name}": value.grad.numpy() for name, value in module.named_parameters()}
    return {
        "y": y.detach().numpy(),
        "final state": tuple(part.detach().numpy() for part in final),
        "d_x": x.grad.numpy(),
        "d_initial": tuple(part.grad.numpy() for part in state),
        **grads,
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cell", MODULES)
def test_outputs_states_and_every_gradient_are_those_of_torch(cell, case):
    case = CASES[case]
    p = problem(cell, case)
    assert_close(both(layer_of(cell, case), p), torch_both(cell, case, p, "float64"), 1e-12)


# Not for one unit: see test_conformance.
@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.hidden > 1])
@pytest.mark.parametrize("cell", MODULES)
def test_float32_is_that_of_torch_within_the_rounding_of_both(cell, case):
    """Per array max|a - b| ≤ 2 eps · T · L · (I + H) · max|b|: each side is allowed half of it."""
    case = CASES[case]
    p = problem(cell, case, dtype="float32")
    bound = 2 * EPS * case.steps * case.layers * (case.inputs + case.hidden)
    assert_close(both(layer_of(cell, case, "float32"), p), torch_both(cell, case, p, "float32"), bound)


@pytest.mark.parametrize("cell", MODULES)
def test_weights_move_both_ways_under_their_own_names(cell):
    case = CASES["stacked, bidirectional, lengths"]
    weights = {name: value.numpy() for name, value in module_of(cell, case, "float32").state_dict().items()}
    shapes = parameter_shapes(layer_of(cell, case))
    assert {name: array.shape for name, array in weights.items()} == shapes and list(weights) == list(shapes)
    p = problem(cell, case, dtype="float32")._replace(params=weights)
    both(layer_of(cell, case, "float32"), p)


# Worst relative error over 20 draws of the weights, per cell: run with -s to see it.


@pytest.mark.parametrize("cell", MODULES)
def test_agreement_does_not_hang_on_the_draw(cell):
    case, worst = CASES["stacked, bidirectional, lengths"], 0.0
    for seed in range(20):
        p = problem(cell, case, seed)
        came, expected = both(layer_of(cell, case), p), torch_both(cell, case, p, "float64")
        pairs = [(came[k], expected[k]) for k in expected if not isinstance(expected[k], tuple)]
        pairs += [pair for k in ("final state", "d_initial") for pair in zip(came[k], expected[k], strict=True)]
        worst = max(worst, *(relative_error(*pair) for pair in pairs))
    print(f"\n{cell}: worst relative error {worst:.1e} in {seed + 1} draws")
    assert worst <= 1e-12
