"""What a study is: one question as a pure function of seeds and parameters."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

from recurlab.studies.kinds import Kind


class Study(NamedTuple):
    """A function `(*, seeds, **parameters) -> columns` with what the engine must know of it.

    * `function`: keyword-only, no defaults, every parameter but `seeds` (int64, (R,)) annotated with its Kind. It
      returns equal-length 1-D arrays by name; "replica" among them says which of the R rows of the launch a value
      belongs to. The rows of a seed depend on that seed alone.
    * `replicas`: the parameters that may differ between the replicas of one launch; they always arrive as arrays (R,).
    * `columns`: every returned column but "replica" -> "unit; what it is".
    * `together`: what is wrong with values that are right one by one, in words; asked before the first job.
    * `times`: the columns that are times or made of times: no second run repeats them. Only studies in TIMED have some.
    """

    function: Callable[..., dict]
    replicas: tuple[str, ...]
    columns: dict[str, str]
    times: tuple[str, ...] = ()
    together: Callable[[dict], list[str]] = lambda parameters: []


def parameters_of(study: Study) -> dict[str, Kind]:
    """Name -> Kind of every parameter of the study but `seeds`."""
    signature = inspect.signature(study.function)
    return {name: parameter.annotation for name, parameter in signature.parameters.items() if name != "seeds"}
