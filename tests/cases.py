"""The configurations that every cell goes through, with random numbers in them, and what `naive` says about each."""

from functools import cache
from typing import NamedTuple

import naive
import numpy as np

from recurlab.cells import CELLS


class Case(NamedTuple):
    """One configuration. `lengths` is None or one length for each row."""

    steps: int = 5
    batch: int = 3
    inputs: int = 3
    hidden: int = 5
    layers: int = 1
    directions: int = 1
    lengths: tuple[int, ...] | None = None

    @property
    def depth(self):
        return {"layers": self.layers, "directions": self.directions}

    @property
    def all_lengths(self):
        return self.lengths or (self.steps,) * self.batch


# 9 and 6 units, 6, 7 and 10 inputs: below and above a multiple of the lanes of a vector, 4 uncompiled and 2 to 16 else.
# From 8 rows on the batch goes in slices; 9 rows make two slices of 5, and one row only fills up.
CASES = {
    "odd sizes": Case(),
    "one row": Case(steps=6, batch=1, inputs=7, hidden=9),
    "one step": Case(steps=1, hidden=6),
    "one unit": Case(steps=4, batch=2, inputs=1, hidden=1),
    "lengths": Case(batch=4, inputs=4, lengths=(5, 1, 3, 5)),
    "stacked": Case(steps=4, batch=2, hidden=4, layers=3),
    "bidirectional": Case(steps=4, inputs=6, directions=2),
    "stacked, bidirectional, lengths": Case(inputs=2, layers=2, directions=2, lengths=(1, 5, 4)),
    "two slices": Case(batch=8),
    "two slices, bidirectional, lengths": Case(batch=9, directions=2, lengths=(5, 1, 3, 5, 2, 4, 5, 5, 2)),
}
FEW = ("odd sizes", "stacked, bidirectional, lengths", "two slices, bidirectional, lengths")


def kind_of(cell):
    """What kernels and layouts know of a cell: everything but its pointwise functions."""
    parts = bool(cell.separate), bool(cell.vectors), cell.second_product is not None
    return len(cell.states), *parts, cell.recurrent_matrix, cell.norm, cell.kept == cell.states


# One cell of each kind. Others differ from it in what they compute, which FEW cases show, not in how they are laid out.
KINDS = list({kind_of(cell): name for name, cell in reversed(CELLS.items())}.values())[::-1]


def of_cells(cases):
    """(cell, case) for a test of both: every case for a cell of each kind, FEW of them for the other cells."""
    cases = list(cases)
    return [(cell, case) for cell in CELLS for case in cases if cell in KINDS or case in FEW]


# Small enough for kernels that run uncompiled (0.01 s a cell); five units are a vector of four lanes and a rest of one.
SMALL = Case(steps=3, layers=2, directions=2, lengths=(2, 1, 3))


class Problem(NamedTuple):
    """Random weights, inputs, non-zero initial states, and random gradients of the outputs and the final states."""

    params: dict
    x: np.ndarray
    state: tuple
    lengths: np.ndarray | None
    dy: np.ndarray
    dstate: tuple


@cache
def problem(cell, case, seed=0, dtype="float64"):
    """Normal values, weights × 0.5. In float32 they are those of float64 rounded; seeds differ in all but lengths."""
    rng = np.random.default_rng([seed, *cell.encode()])

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    shapes = naive.shapes_of(cell, case.inputs, case.hidden, **case.depth)
    params = {name: normal(*shape) * np.dtype(dtype).type(0.5) for name, shape in shapes.items()}
    ends = (case.layers * case.directions, case.batch, case.hidden)
    state, dstate = (tuple(normal(*ends) for _ in naive.STATES[cell]) for _ in range(2))
    dy = normal(case.steps, case.batch, case.directions * case.hidden)
    x = normal(case.steps, case.batch, case.inputs)
    return Problem(params, x, state, None if case.lengths is None else np.array(case.lengths), dy, dstate)


@cache
def naive_forward(cell, case):
    p = problem(cell, case)
    return naive.forward(cell, p.params, p.x, p.state, case.all_lengths, **case.depth)


@cache
def naive_gradients(cell, case):
    p = problem(cell, case)
    return naive.gradients(cell, p.params, p.x, p.state, case.all_lengths, p.dy, p.dstate, **case.depth)


def relative_error(came, expected):
    """max|a - b| / max|b|; exact agreement is 0 also where all of b is 0."""
    worst = np.abs(np.asarray(came, np.float64) - expected).max(initial=0)
    return worst and worst / np.abs(expected).max()


def assert_close(came, expected, bound, name="the array"):
    """Shapes equal and max|a - b| ≤ bound · max|b|, for an array or for every array of a dict or a tuple."""
    if isinstance(expected, dict):
        assert set(came) == set(expected), f"{name}: {sorted(set(came) ^ set(expected))} on one side only"
        for key in expected:
            assert_close(came[key], expected[key], bound, key)
    elif isinstance(expected, tuple):
        assert len(came) == len(expected), f"{name}: {len(came)} arrays for {len(expected)}"
        for k, part in enumerate(expected):
            assert_close(came[k], part, bound, f"{name} {k}")
    else:
        assert came.shape == expected.shape, f"{name}: shape {came.shape} for {expected.shape}"
        error = relative_error(came, expected)
        assert error <= bound, f"{name}: off by {error:.1e}, allowed {bound:.1e}"


def assert_same_bits(came, expected, name="the array"):
    """As assert_close, with the bits of every number equal (NaN included)."""
    if isinstance(expected, dict):
        for key in expected:
            assert_same_bits(came[key], expected[key], key)
    elif isinstance(expected, tuple):
        for k, part in enumerate(expected):
            assert_same_bits(came[k], part, f"{name} {k}")
    else:
        assert came.dtype == expected.dtype and came.shape == expected.shape, name
        assert came.tobytes() == expected.tobytes(), f"{name}: other bits"
