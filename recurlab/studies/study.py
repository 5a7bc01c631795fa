"""What a study is: one question as a pure function of seeds and parameters."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

from recurlab.studies.kinds import Kind


class Study(NamedTuple):
    """A function `(*, seeds, **parameters) -> columns` with what the engine must know of it.

    * `function`: keyword-only, every parameter but `seeds` (int64, (R,)) annotated with its Kind; the only default is
      `device: DEVICE = "cpu"`, of studies whose layers may run on a GPU. It returns equal-length 1-D arrays by name;
      "replica" among them says which of the R rows of the launch a value belongs to. The rows of a seed depend on that
      seed alone.
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


def device_problems(given: dict, what: str, runs_on_a_gpu: bool) -> list[str]:
    """That nothing of a case would run on the GPU that it names, in words; `what` is what it runs instead."""
    device = given.get("device", "cpu")
    return [] if device == "cpu" or runs_on_a_gpu else [f"device: got {device}, wanted cpu for {what}"]


def required(study: Study) -> list[str]:
    """The parameters that an experiment must give: all but `seeds` and the device."""
    signature = inspect.signature(study.function)
    return [name for name in parameters_of(study) if signature.parameters[name].default is inspect.Parameter.empty]
