"""Penalties: what is added to a loss besides the error."""

from collections.abc import Callable
from typing import NamedTuple


class Penalty(NamedTuple):
    """A penalty with its gradient; `of` says what its function takes: "weights", "states" or "gradients"."""

    name: str
    equation: str
    source: str
    of: str
    function: Callable


PENALTIES: dict[str, Penalty] = {}
