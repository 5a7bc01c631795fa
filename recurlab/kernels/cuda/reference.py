"""The kernels for every cell, size and option: what they compute, and in which order, is said in their modules."""

from functools import cache
from typing import NamedTuple

from recurlab.cells import CELLS
from recurlab.kernels.cuda import backward, forward, gradients
from recurlab.kernels.cuda.layout import Structure, orders_of, structure_of
from recurlab.kernels.cuda.target import elementary, inlined, kernel, load, meet_block, meet_grid, store
from recurlab.kernels.pointwise import bindings
from recurlab.kernels.rebind import rebind


class Steps(NamedTuple):
    """The kernels that go through the steps of a sequence: each cell has its own."""

    forward: object
    backward: object


class Products(NamedTuple):
    """The kernels of all steps at once: cells of one structure share them."""

    project: object
    recurrent_gradients: object
    input_gradients: object
    x_gradients: object
    sum_of_steps: object
    biases_of_planes: object


def label_of(cell: str, zoned: bool, fast: bool) -> str:
    """What tells the kernels of a cell from those of others in the disk cache."""
    return f"{cell}_cuda{'_zoned' * zoned}{'_fast' * fast}"


@cache
def bound(cell: str, zoned: bool, fast: bool) -> dict:
    """All names that the kernels of a cell use beside those of their modules."""
    spec, label = CELLS[cell], label_of(cell, zoned, fast)

    def compile_one(function):
        return inlined(function, fast)

    access, own = {"load": load, "store": store}, elementary(fast)
    names = bindings(spec, compile_one, orders_of(spec), own, label.removeprefix(cell), **access)
    names |= structure_of(spec)._asdict() | {"ZONED": zoned}
    return names | helpers((*forward.SHARED, *forward.HELPERS, *backward.HELPERS), label, fast, names)


def helpers(functions, label: str, fast: bool, names: dict) -> dict:
    """Functions of a module, compiled, by their names without the underscore; each may use those before it."""
    found = {}
    for function in functions:
        copy = rebind(function, label, **(names | found))
        found[function.__name__.removeprefix("_")] = inlined(copy, fast)
    return found


@cache
def steps_of(cell: str, zoned: bool = False, fast: bool = False, together: bool = False) -> Steps:
    """The steps of a cell, compiled at their first launches; `together` all blocks of a launch go step by step."""
    names = bound(cell, zoned, fast) | {"meet": meet_grid if together else meet_block}
    label = label_of(cell, zoned, fast) + "_together" * together
    return Steps(*(kernel(function, label, fast, **names) for function in (forward.forward, backward.backward)))


@cache
def products_of(structure: Structure) -> Products:
    """The products of all cells of a structure, compiled at their first launches."""
    label = "cuda_" + "_".join(str(int(part)) for part in structure)
    names = structure._asdict()
    names |= helpers(forward.SHARED, label, False, names)
    modules = dict.fromkeys(Products._fields, gradients) | {"project": forward}
    return Products(*(kernel(getattr(module, name), label, **names) for name, module in modules.items()))


@cache
def transpose():
    """`forward.transpose`, compiled."""
    return kernel(forward.transpose, "cuda")


@cache
def sum_of_rows():
    """`gradients.sum_of_rows`, compiled."""
    return kernel(gradients.sum_of_rows, "cuda")
