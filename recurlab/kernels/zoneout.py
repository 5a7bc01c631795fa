"""Zoneout: every unit of every state takes its new value, keeps its old one, or mixes them (Krueger et al. 2017).

    state = k · state' + (1 - k) · old        state' the cell's own new state, k in [0, 1] for every unit, step and row

This form is exact at k = 0 and at k = 1. Arrays as in `blocks`; a place is that of a step's first row, and the states
of a cell are neighbours: `blocks` counts those of all of them.
"""

from functools import cache

from recurlab.cells import CELLS
from recurlab.kernels.pointwise import bindings
from recurlab.kernels.target import Addressed, inlined, load, store
from recurlab.maths import ONE


def _mix(share, old, state, share_block, state_block, blocks, rows, lanes):
    """state' -> state in its place."""
    for j in range(blocks):
        for row in range(0, rows * lanes, lanes):
            k, i = load(share, j * share_block + row), j * state_block + row
            store(state, i, k * load(state, i) + (ONE - k) * load(old, i))


def _unmix(kept, old, share, d_state, new, rest, kept_block, state_block, d_block, own_block, blocks, rows, lanes):
    """state' once more; d_state becomes its gradient, rest what goes past the cell. `blocks` of one state here."""
    for j in range(blocks):
        for row in range(0, rows * lanes, lanes):
            values = load_k(kept, j * kept_block + row, blocks * kept_block)
            state = load_s(old, j * state_block + row, blocks * state_block)
            store_s(new, j * own_block + row, blocks * own_block, update(values, state))
    for j in range(blocks * STATES):
        for row in range(0, rows * lanes, lanes):
            k, d = load(share, j * own_block + row), load(d_state, j * d_block + row)
            store(rest, j * own_block + row, (ONE - k) * d)
            store(d_state, j * d_block + row, k * d)


def _join(rest, d_state, rest_block, d_block, blocks, rows, lanes):
    """d_state += rest."""
    for j in range(blocks):
        for row in range(0, rows * lanes, lanes):
            i = j * d_block + row
            store(d_state, i, load(d_state, i) + load(rest, j * rest_block + row))


@cache
def mix_of(dtype: str) -> Addressed:
    """`_mix` for a dtype."""
    return Addressed(_mix, dtype, 3, 5)


@cache
def join_of(dtype: str) -> Addressed:
    """`_join` for a dtype."""
    return Addressed(_join, dtype, 2, 5)


@cache
def unmix_of(name: str, dtype: str) -> Addressed:
    """`_unmix` of a cell for a dtype."""
    cell = CELLS[name]
    return Addressed(_unmix, dtype, 6, 7, cell.name, STATES=len(cell.states), **bindings(cell, inlined))
