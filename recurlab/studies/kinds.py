"""The kinds of values a study's parameter can take; an experiment is checked against them before its first job."""

import math
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """What a parameter accepts: the text for the error message, the test, and the form in which the study gets it."""

    wanted: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value
    names: Callable[[], Iterable[str]] = tuple  # the allowed names, for "did you mean"


def _whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(value) -> bool:
    return (_whole(value) or isinstance(value, float)) and math.isfinite(value)


def _cells() -> dict:
    from recurlab.cells import CELLS

    return CELLS


def _inits() -> dict:
    from recurlab.weights import INITS

    return INITS


def _tasks() -> dict:
    from recurlab.tasks import TASKS

    return TASKS


def _window_tasks() -> dict:
    return {name: task for name, task in _tasks().items() if task.window is not None}


def _datasets() -> dict:
    from recurlab.tasks import DATASETS

    return DATASETS


def _corpora() -> dict:
    from recurlab.tasks.grammar import GRAMMARS
    from recurlab.text import TEXTS

    return GRAMMARS | TEXTS


def _smoothings() -> dict:
    from recurlab.models.ngram import SMOOTHINGS

    return SMOOTHINGS


def _rules() -> dict:
    from recurlab.optimise import RULES

    return RULES


def _schedules() -> dict:
    from recurlab.optimise import SCHEDULES

    return SCHEDULES


def _penalties() -> dict:
    from recurlab.penalties import PENALTIES

    return PENALTIES


def _regularisers() -> tuple:
    from recurlab.models.regularised import REGULARISERS

    return REGULARISERS


def _scores() -> dict:
    from recurlab.layers.attention_scores import SCORES

    return SCORES


def _generated() -> dict:
    from recurlab.tasks.translation import TRANSLATIONS

    return TRANSLATIONS


def _translations() -> tuple:
    from recurlab.studies.translated import DATASETS

    return DATASETS


def _devices() -> tuple:
    from recurlab.kernels import DEVICES

    return DEVICES


def _name_of(wanted: str, names: Callable[[], Iterable[str]]) -> Kind:
    return Kind(wanted, lambda value: isinstance(value, str) and value in names(), names=names)


SIZE = Kind("a whole number >= 1", lambda value: _whole(value) and value >= 1)
COUNT = Kind("a whole number >= 0", lambda value: _whole(value) and value >= 0)
REAL = Kind("a finite number", _finite, float)
POSITIVE = Kind("a finite number > 0", lambda value: _finite(value) and value > 0, float)
NON_NEGATIVE = Kind("a finite number >= 0", lambda value: _finite(value) and value >= 0, float)
SHARE = Kind("a number in [0, 1]", lambda value: _finite(value) and 0 <= value <= 1, float)
RATE = Kind("a rate in [0, 1)", lambda value: _finite(value) and 0 <= value < 1, float)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
CELL = _name_of("a cell of `recurlab list cells`", _cells)
INIT = _name_of("an initialisation of `recurlab list inits`", _inits)
MEMORY_TASK = _name_of("a task of `recurlab list tasks`", _tasks)
WINDOW_TASK = _name_of("a task whose loss of the best guess from k inputs is known", _window_tasks)
DATASET = _name_of("a dataset of `recurlab list tasks`", _datasets)
CORPUS = Kind(
    "a text of `recurlab list texts`, or the path of a text file",
    lambda value: isinstance(value, str) and (value in _corpora() or os.path.isfile(value)),
    names=_corpora,
)
SMOOTHING = _name_of("a smoothing of `recurlab list smoothings`", _smoothings)
RULE = _name_of("an optimiser of `recurlab list optimisers`", _rules)
SCHEDULE = _name_of("a schedule: constant, linear, cosine or exponential", _schedules)
PENALTY = _name_of("a penalty of `recurlab list regularisers`", _penalties)
REGULARISER = _name_of("a regulariser of `recurlab list regularisers`", _regularisers)
SCORE = _name_of("a score of attention: dot, scaled_dot, general or additive", _scores)
GENERATED_TRANSLATION = _name_of("a translation task of `recurlab list tasks`", _generated)
TRANSLATION_DATA = _name_of("a translation task of `recurlab list tasks`, or multi30k", _translations)
DEVICE = _name_of("cpu, cuda or cuda_fast", _devices)
DTYPE = _name_of("float32 or float64", lambda: ("float32", "float64"))


def one_of(*values) -> Kind:
    """One of the given plain values."""
    texts = tuple(str(value) for value in values)
    same = tuple((type(value), value) for value in values)  # 1, 1.0 and True are equal in Python
    return Kind(f"one of {', '.join(texts)}", lambda value: (type(value), value) in same, names=lambda: texts)


def optional(kind: Kind) -> Kind:
    """The kind, or null (None)."""
    return Kind(
        f"{kind.wanted}, or null",
        lambda value: value is None or kind.accepts(value),
        lambda value: None if value is None else kind.convert(value),
        kind.names,
    )


def sizes(*names: str) -> Kind:
    """A list with one whole number for each name; the study gets a tuple."""
    return Kind(
        f"[{', '.join(names)}], whole numbers >= 1",
        lambda value: isinstance(value, list) and len(value) == len(names) and all(map(SIZE.accepts, value)),
        tuple,
    )


def list_of(kind: Kind) -> Kind:
    """A list of at least one value of the kind; the study gets a tuple."""
    return Kind(
        f"a list, each entry {kind.wanted}",
        lambda value: isinstance(value, list) and len(value) > 0 and all(map(kind.accepts, value)),
        lambda value: tuple(map(kind.convert, value)),
        kind.names,
    )
