"""The cells on NumPy arrays: the same source that the kernels compile, without any kernel."""

from itertools import combinations

import numpy as np
import pytest
from cases import assert_close, relative_error
from test_simd import TAIL, errors_in_ulp, on_vectors

from recurlab import maths
from recurlab.cells import CELLS
from recurlab.kernels.rebind import compile_tree
from recurlab.kernels.target import COMPILED
from recurlab.layers.passes import history
from recurlab.layers.recurrent import backward, forward, parameter_shapes, recurrent

UNITS = 7
TINY = 1e-100  # its square underflows to 0: the imaginary part of f(value + i·1e-100) is the derivative to rounding
COMPLEX = {
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "relu": lambda a: np.where(a.real > 0, a, 0),
}


def values(cell, dtype="float64", seed=0):
    """Random a, state, vectors and d_new of one step: tuples of (H,) arrays."""
    rng = np.random.default_rng([seed, *cell.name.encode()])
    counts = len(cell.gates) + len(cell.separate), len(cell.states), len(cell.vectors), len(cell.states)
    return [tuple(rng.standard_normal(UNITS).astype(dtype) for _ in range(count)) for count in counts]


def extra(cell, vectors):
    """The last argument of gates and backward: the vectors, where a cell has any."""
    return (vectors,) if cell.vectors else ()


def step(cell, dtype="float64", seed=0):
    a, state, vectors, d_new = values(cell, dtype, seed)
    kept = cell.gates_of(a, state, *extra(cell, vectors))
    new_state = cell.update(kept, state)
    return kept, new_state, cell.backward(kept, state, new_state, d_new, *extra(cell, vectors))


def on_complex(cell, function):
    return compile_tree(function, cell.name, COMPLEX, lambda function: function)


def derivative(function, groups, d_out):
    """Σ d_out · ∂function/∂v for every array v in the groups; all of it is pointwise."""
    found = []
    for g, group in enumerate(groups):
        for k in range(len(group)):
            nudged = [list(other) for other in groups]
            nudged[g][k] = group[k] + 1j * TINY
            out = function(*map(tuple, nudged))
            found.append(sum((d * value).imag / TINY for d, value in zip(d_out, out, strict=True)))
    return found


@pytest.mark.parametrize("name", CELLS)
def test_backward_is_the_derivative_of_gates_and_update(name):
    cell = CELLS[name]
    a, state, vectors, d_new = values(cell)
    gates, update = on_complex(cell, cell.gates_of), on_complex(cell, cell.update)

    def new_state(a, state, vectors):
        return update(gates(a, state, *extra(cell, vectors)), state)

    found = [part for group in step(cell)[2] for part in group]
    expected = derivative(new_state, (a, state, vectors), d_new)
    assert len(found) == len(expected)
    for k, (came, wanted) in enumerate(zip(found, expected, strict=True)):
        assert relative_error(came, wanted) <= 1e-14, k


@pytest.mark.parametrize("name", [name for name in CELLS if CELLS[name].second_product])
def test_operand_backward_is_the_derivative_of_operand(name):
    cell = CELLS[name]
    a, state, _, d_new = values(cell)
    operand = on_complex(cell, cell.operand)
    kept = cell.gates_of(a, state)
    assert (kept[-1] == cell.operand(a, state)).all()
    found = [part for group in cell.operand_backward(kept, state, d_new[0]) for part in group]
    expected = derivative(lambda a, state: (operand(a, state),), (a, state), d_new)
    for came, wanted in zip(found, expected, strict=True):
        assert relative_error(came, wanted) <= 1e-14


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_stays_what_it_is(name, dtype):
    kept, new_state, gradients = step(CELLS[name], dtype)
    arrays = [part for group in (kept, new_state, *gradients) for part in group if np.ndim(part)]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}
    constants = [part for group in gradients for part in group if not np.ndim(part)]
    assert all(part == 0 and part.dtype == "float32" for part in constants)  # ZERO, exact in every precision


@pytest.mark.parametrize("name", CELLS)
def test_a_step_has_the_arities_it_declares(name):
    cell = CELLS[name]
    kept, new_state, (d_a, d_state, *d_vectors) = step(cell)
    assert (len(kept), len(new_state)) == (len(cell.kept), len(cell.states))
    assert (len(d_a), len(d_state)) == (len(cell.gates) + len(cell.separate), len(cell.states))
    assert [len(part) for part in d_vectors] == [len(cell.vectors)] * bool(cell.vectors)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_says_what_it_is(name):
    cell = CELLS[name]
    assert cell.name == name
    assert cell.equation.startswith(("h", *cell.gates)) and "h' = " in cell.equation
    assert all(gate in cell.equation for gate in (*cell.gates, *cell.vectors))
    assert any(character.isdigit() for character in cell.source)  # a year
    assert {cell.keeps, cell.writes} <= {None, *cell.gates}
    assert {*cell.separate} <= {*cell.gates} and cell.second_product in (None, *cell.gates)
    assert cell.recurrent_matrix or not (cell.separate or cell.second_product)
    assert not (cell.norm and cell.second_product)


def test_no_two_cells_share_a_name_an_equation_or_a_source():
    for field in ("name", "equation", "source"):
        assert len({getattr(cell, field) for cell in CELLS.values()}) == len(CELLS), field


# Cells that take the same parameters, and could be mistaken for each other.
FAMILIES = (
    ("rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_linear"),
    ("rnn_tanh_norm", "rnn_relu_norm", "rnn_linear_norm"),
    ("lstm", "lstm_no_input_activation", "lstm_no_output_activation"),
    ("lstm_no_input_gate", "lstm_no_forget_gate", "lstm_no_output_gate", "lstm_coupled"),
    ("gru", "gru_reset_before"),
    ("mgu", "ugrnn"),
)
NEIGHBOURS = [pair for family in FAMILIES for pair in combinations(family, 2)]


@pytest.mark.parametrize(("one", "other"), NEIGHBOURS)
def test_a_cell_differs_from_its_neighbours(one, other):
    """From the same weights the outputs differ by a tenth of their size at least."""
    rng, layers = np.random.default_rng(0), [recurrent(name, 3, 5, dtype="float64") for name in (one, other)]
    assert parameter_shapes(layers[0]) == parameter_shapes(layers[1])
    params = {name: rng.standard_normal(shape) for name, shape in parameter_shapes(layers[0]).items()}
    x, state = rng.standard_normal((4, 2, 3)), tuple(rng.standard_normal((1, 2, 5)) for _ in layers[0].spec.states)
    first, second = (forward(layer, params, x, state)[0] for layer in layers)
    assert relative_error(first, second) > 0.1


def test_the_peephole_cell_without_weight_on_its_peepholes_is_the_lstm_and_with_it_is_not():
    plain, peephole = CELLS["lstm"], CELLS["lstm_peephole"]
    a, state, vectors, _ = values(peephole)
    silent = tuple(0 * vector for vector in vectors)
    for came, wanted in zip(peephole.gates_of(a, state, silent), plain.gates_of(a, state), strict=True):
        assert (came == wanted).all()
    for k, gate in enumerate("ifo"):
        alone = tuple(vector * (v == k) for v, vector in enumerate(vectors))
        changed = [
            not np.allclose(came, wanted)
            for came, wanted in zip(peephole.gates_of(a, state, alone), plain.gates_of(a, state), strict=True)
        ]
        assert changed == [name == gate for name in peephole.kept]


# Compiled and on NumPy arrays. With weights of zero the biases are the pre-activations, to the bit.


def compiled_step(cell, dtype):
    """What `step` returns, from the kernels: one step of one row."""
    a, state, vectors, d_new = (np.array(group, dtype).reshape(-1, UNITS) for group in values(cell, dtype))
    layer, gates = recurrent(cell.name, 1, UNITS, dtype=dtype), len(cell.gates)
    params = {name: np.zeros(shape, dtype) for name, shape in parameter_shapes(layer).items()}
    params |= {f"weight_{name}_l0": vector for name, vector in zip(cell.vectors, vectors, strict=True)}
    params["bias_ih_l0"] = a[:gates].ravel()
    for k, gate in enumerate(cell.separate):
        params["bias_hh_l0"].reshape(gates, UNITS)[cell.gates.index(gate)] = a[gates + k]
    initial = tuple(part.reshape(1, 1, UNITS) for part in state)
    _, final, tape = forward(layer, params, np.zeros((1, 1, 1), dtype), initial)
    dstate = tuple(part.reshape(1, 1, UNITS) for part in d_new)
    grads, _, d_initial = backward(layer, params, tape, None, dstate)
    kept, _ = tape.passes[0].natural()
    _, d_a = history(tape.passes[0], params, tape.lengths, None, np.stack(dstate, axis=1))
    d_vectors = [np.stack([grads[f"weight_{name}_l0"] for name in cell.vectors])] if cell.vectors else []
    return kept[0, :, 0, 0], np.concatenate(final)[:, 0], (d_a[0, :, 0, 0], np.concatenate(d_initial)[:, 0], *d_vectors)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if not cell.norm])
def test_the_compiled_cell_is_the_cell_on_numpy_arrays(name, dtype):
    """Within 16 eps of the largest: both sides have their own tanh and exp, and the compiled one fuses a · b + c."""
    cell, eps = CELLS[name], np.finfo(dtype).eps
    kept, new_state, gradients = step(cell, dtype)
    compiled_kept, compiled_new_state, compiled_gradients = compiled_step(cell, dtype)
    assert_close(compiled_kept, np.stack(kept), 16 * eps, "kept")
    assert_close(compiled_new_state, np.stack(new_state), 16 * eps, "new state")
    for came, wanted in zip(compiled_gradients, gradients, strict=True):
        assert_close(came, np.stack([part * np.ones(UNITS, dtype) for part in wanted]), 16 * eps, "gradient")


EXTREMES = [0.0, -0.0, 1e-310, 1e-30, -1e-30, 0.5, -0.5, 19.0, -19.0, 86.0, -86.0, 104.0, 750.0, 1e30]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "step"])
def test_the_kernels_functions_and_numpys_agree_at_the_extremes(name, dtype):
    x = np.array(EXTREMES, np.float64).astype(dtype)
    on_arrays = getattr(maths, name)(x)
    assert on_arrays.dtype == dtype
    assert errors_in_ulp(on_vectors(name, x), on_arrays).max() <= 4


LIMITS = {"tanh": [-1, 1, np.nan], "sigmoid": [0, 1, np.nan], "relu": [0, np.inf, np.nan], "step": [0, 1, 0]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LIMITS)
def test_infinity_and_nan_mean_something(name, dtype):
    x, limits = np.array([-np.inf, np.inf, np.nan], dtype), np.array(LIMITS[name], dtype)
    np.testing.assert_array_equal(getattr(maths, name)(x), limits)
    if COMPILED and name == "sigmoid":
        limits[0] = on_vectors(name, np.array([TAIL[dtype]], dtype))[0]  # test_simd says how small
    np.testing.assert_array_equal(on_vectors(name, x), limits)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_neither_overflows_nor_loses_its_tail(dtype):
    x = np.array([-1e30, -80, 0, 80, 1e30], dtype)
    assert maths.sigmoid(x)[[0, 2, 4]].tolist() == [0, 0.5, 1]
    assert abs(maths.sigmoid(x)[1] / np.exp(x[1]) - 1) <= 2 * np.finfo(dtype).eps
