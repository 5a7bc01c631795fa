"""What a cell does between two products, for all rows of one step: templates over places, bound to a cell.

Arrays as in `blocks`; a place is that of the step's first row. `blocks` and `rows` count what is worked on, the numbers
named `…_block` the distance from one block to the next.
"""

from functools import cache
from typing import NamedTuple

from recurlab.cells import CELLS
from recurlab.cells.cell import Cell
from recurlab.kernels.blocks import planes_of
from recurlab.kernels.rebind import compile_tree, rebind
from recurlab.kernels.target import ELEMENTARY, Addressed, inlined, load, store

# One vector from each plane, and back: one function for each number of planes a cell uses. ORDER says which plane.


def _load0(place, offset, step):
    return ()


def _load1(place, offset, step):
    return (load(place, offset + ORDER[0] * step),)


def _load2(place, offset, step):
    return load(place, offset + ORDER[0] * step), load(place, offset + ORDER[1] * step)


def _load3(place, offset, step):
    return (
        load(place, offset + ORDER[0] * step),
        load(place, offset + ORDER[1] * step),
        load(place, offset + ORDER[2] * step),
    )


def _load4(place, offset, step):
    return (
        load(place, offset + ORDER[0] * step),
        load(place, offset + ORDER[1] * step),
        load(place, offset + ORDER[2] * step),
        load(place, offset + ORDER[3] * step),
    )


def _store0(place, offset, step, values):
    pass


def _store1(place, offset, step, values):
    store(place, offset + ORDER[0] * step, values[0])


def _store2(place, offset, step, values):
    store(place, offset + ORDER[0] * step, values[0])
    store(place, offset + ORDER[1] * step, values[1])


def _store3(place, offset, step, values):
    store(place, offset + ORDER[0] * step, values[0])
    store(place, offset + ORDER[1] * step, values[1])
    store(place, offset + ORDER[2] * step, values[2])


def _store4(place, offset, step, values):
    store(place, offset + ORDER[0] * step, values[0])
    store(place, offset + ORDER[1] * step, values[1])
    store(place, offset + ORDER[2] * step, values[2])
    store(place, offset + ORDER[3] * step, values[3])


def _sum0(old, new):
    return ()


def _sum1(old, new):
    return (old[0] + new[0],)


def _sum2(old, new):
    return old[0] + new[0], old[1] + new[1]


def _sum3(old, new):
    return old[0] + new[0], old[1] + new[1], old[2] + new[2]


def _sum4(old, new):
    return old[0] + new[0], old[1] + new[1], old[2] + new[2], old[3] + new[3]


LOAD = (_load0, _load1, _load2, _load3, _load4)
STORE = (_store0, _store1, _store2, _store3, _store4)
SUM = (_sum0, _sum1, _sum2, _sum3, _sum4)


def _forward(a, kept, old, new, vectors, a_block, kept_block, state_block, blocks, rows, lanes):
    """kept = gates(a, old); new = update(kept, old)."""
    for j in range(blocks):
        own = load_v(vectors, j * lanes, blocks * lanes)
        for i in range(j * state_block, j * state_block + rows * lanes, lanes):
            row = i - j * state_block
            state = load_s(old, i, blocks * state_block)
            values = gates(load_a(a, j * a_block + row, blocks * a_block), state, own)
            store_k(kept, j * kept_block + row, blocks * kept_block, values)
            store_s(new, i, blocks * state_block, update(values, state))


def _backward(
    kept,
    old,
    new,
    vectors,
    d_state,
    d_a,
    d_vectors,
    kept_block,
    state_block,
    new_block,
    d_block,
    a_block,
    blocks,
    rows,
    lanes,
):
    """d_a and the direct part of the gradient of the old state; d_state is that of the new one before."""
    for j in range(blocks):
        own = load_v(vectors, j * lanes, blocks * lanes)
        total = load_v(d_vectors, j * lanes, blocks * lanes)
        for row in range(0, rows * lanes, lanes):
            d_pre, d_old, d_own = vector_jacobian(
                load_k(kept, j * kept_block + row, blocks * kept_block),
                load_s(old, j * state_block + row, blocks * state_block),
                load_s(new, j * new_block + row, blocks * new_block),
                load_s(d_state, j * d_block + row, blocks * d_block),
                own,
            )
            store_a(d_a, j * a_block + row, blocks * a_block, d_pre)
            store_s(d_state, j * d_block + row, blocks * d_block, d_old)
            total = sum_v(total, d_own)
        store_v(d_vectors, j * lanes, blocks * lanes, total)


def _operand(a, old, out, a_block, state_block, out_block, blocks, rows, lanes):
    """What the recurrent weights of the gate with a second product act on."""
    for j in range(blocks):
        for row in range(0, rows * lanes, lanes):
            state = load_s(old, j * state_block + row, blocks * state_block)
            store(out, j * out_block + row, operand(load_a(a, j * a_block + row, blocks * a_block), state))


def _operand_backward(
    kept, old, d_operand, d_state, d_a, kept_block, state_block, operand_block, d_block, a_block, blocks, rows, lanes
):
    """Add what the operand passes on to d_a and to the gradient of the old state."""
    for j in range(blocks):
        for row in range(0, rows * lanes, lanes):
            d_pre, d_old = operand_backward(
                load_k(kept, j * kept_block + row, blocks * kept_block),
                load_s(old, j * state_block + row, blocks * state_block),
                load(d_operand, j * operand_block + row),
            )
            before = load_a(d_a, j * a_block + row, blocks * a_block)
            store_a(d_a, j * a_block + row, blocks * a_block, sum_a(before, d_pre))
            before = load_s(d_state, j * d_block + row, blocks * d_block)
            store_s(d_state, j * d_block + row, blocks * d_block, sum_s(before, d_old))


def _gates_without_vectors(a, state, vectors):
    return plain_gates(a, state)


def _backward_without_vectors(kept, state, new_state, d_new, vectors):
    d_a, d_state = plain_backward(kept, state, new_state, d_new)
    return d_a, d_state, ()


class Pointwise(NamedTuple):
    """The compiled templates of one cell and dtype; the last two are None without a second product."""

    forward: Addressed
    backward: Addressed
    operand: Addressed | None
    operand_backward: Addressed | None


@cache
def pointwise_of(name: str, dtype: str) -> Pointwise:
    """The pointwise functions of a cell, compiled or loaded from the disk cache."""
    cell = CELLS[name]
    names = bindings(cell, inlined)

    def compiled(template, places, wholes):
        return Addressed(template, dtype, places, wholes, cell.name, **names)

    second = cell.second_product is not None
    return Pointwise(
        compiled(_forward, 5, 6),
        compiled(_backward, 7, 8),
        compiled(_operand, 3, 6) if second else None,
        compiled(_operand_backward, 5, 8) if second else None,
    )


def bindings(cell: Cell, compile_one, orders: dict | None = None, elementary=ELEMENTARY, label="", **access) -> dict:
    """Everything the templates need from a cell: its functions, and loads, stores and sums of its numbers of values.

    Another target has its own planes in `orders`, its own elementary functions, `load` and `store`, and a `label`.
    """
    label = f"{cell.name}{label}"
    names = _cell_functions(cell, compile_one, elementary, label)
    for axis, planes in (orders or _orders(cell)).items():
        for kind, table in (("load", LOAD), ("store", STORE), ("sum", SUM)):
            copy = rebind(table[len(planes)], f"{label}_{axis}", ORDER=planes, **access)
            names[f"{kind}_{axis}"] = compile_one(copy)
    return names


def _orders(cell: Cell) -> dict[str, tuple[int, ...]]:
    """Which plane each value of an axis stands in."""
    counts = {"k": len(cell.kept), "s": len(cell.states), "v": len(cell.vectors)}
    return {"a": planes_of(cell).order, **{axis: tuple(range(count)) for axis, count in counts.items()}}


def _cell_functions(cell: Cell, compile_one, elementary: dict, label: str) -> dict:
    """The cell's functions in the form the templates call: always with vectors."""

    def compiled(function):
        return compile_tree(function, label, elementary, compile_one)

    gates, backward = compiled(cell.gates_of), compiled(cell.backward)
    if not cell.vectors:
        gates = compile_one(rebind(_gates_without_vectors, label, plain_gates=gates))
        backward = compile_one(rebind(_backward_without_vectors, label, plain_backward=backward))
    names = {"gates": gates, "vector_jacobian": backward, "update": compiled(cell.update)}
    if cell.second_product:
        names |= {"operand": compiled(cell.operand), "operand_backward": compiled(cell.operand_backward)}
    return names
