"""The tables of names, as rows to show: what `recurlab list` prints."""

import inspect

from recurlab import corpora
from recurlab import experiment as experiments
from recurlab.experiment import SCALES


def rows(what: str) -> list[dict]:
    """The rows of one table: experiments, cells, inits, tasks, regularisers, optimisers, studies, …."""
    return LISTS[what]()


def list_experiments() -> list[dict]:
    """Every experiment with its number of cases and jobs at each scale, and the data files it needs."""
    return [_experiment_row(name, path) for name, path in experiments.named().items()]


def _experiment_row(name: str, path) -> dict:
    try:
        scales = [experiments.expand(path, scale) for scale in SCALES]
    except (KeyError, TypeError, ValueError, AttributeError):
        return {"name": name, "title": f"not readable: `recurlab check {name}` says why", "question": ""} | _counts([])
    return {"name": name, "title": scales[0].title, "question": scales[0].question} | _counts(scales)


def _data(scales: list) -> str:
    """The data files of an experiment at its scales, and which of them are not here."""
    files = dict.fromkeys(name for experiment in scales for name in experiment.files)
    absent = corpora.missing(files)
    return ", ".join(f"{name} (missing)" if name in absent else name for name in files)


def _counts(scales: list) -> dict:
    cases = " / ".join(str(len(experiment.cases)) for experiment in scales)
    jobs = " / ".join(str(len(experiments.blocks_of(experiment))) for experiment in scales)
    return {f"cases ({' / '.join(SCALES)})": cases, "jobs": jobs, "data": _data(scales)}


def list_cells() -> list[dict]:
    """Every cell with its equation and source."""
    from recurlab.cells import CELLS

    return [{"name": name, "equation": cell.equation, "source": cell.source} for name, cell in CELLS.items()]


def list_inits() -> list[dict]:
    """Every initialisation of recurrent weights."""
    from recurlab.weights import INITS

    return [{"name": name, "what": _first_line(init)} for name, init in INITS.items()]


def list_tasks() -> list[dict]:
    """Every drawn task and every dataset with its loss and what it is; translations come last."""
    from recurlab.tasks import DATASETS, TASKS
    from recurlab.tasks.multi30k import SAYS
    from recurlab.tasks.translation import TRANSLATIONS

    tasks = [
        {"name": name, "what": task.says, "loss": f"{task.loss} at {task.at} step", "source": task.source}
        for name, task in (TASKS | DATASETS).items()
    ]
    loss = "cross_entropy at every word"
    pairs = [{"name": name, "what": t.says, "loss": loss, "source": "generated"} for name, t in TRANSLATIONS.items()]
    return [*tasks, *pairs, {"name": "multi30k", "what": SAYS, "loss": loss, "source": "Elliott et al. 2016"}]


def list_texts() -> list[dict]:
    """Every generated language and every known corpus."""
    from recurlab.tasks.grammar import GRAMMARS
    from recurlab.text import TEXTS

    return [{"name": name, "what": t.says, "source": t.source} for name, t in (GRAMMARS | TEXTS).items()]


def list_smoothings() -> list[dict]:
    """Every smoothing of n-gram models with its equation."""
    from recurlab.models.ngram import SMOOTHINGS

    return [{"name": name, "what": _first_line(smoothing)} for name, smoothing in SMOOTHINGS.items()]


def list_regularisers() -> list[dict]:
    """Every noise and every penalty that training takes with a strength."""
    from recurlab.models.regularised import NOISES
    from recurlab.penalties import PENALTIES

    noises = [{"name": name, "what": noise.says, "source": noise.source} for name, noise in NOISES.items()]
    return noises + [{"name": name, "what": p.equation, "source": p.source} for name, p in PENALTIES.items()]


def list_optimisers() -> list[dict]:
    """Every rule by which training updates weights."""
    from recurlab.optimise import RULES

    return [{"name": name, "what": _first_line(inspect.unwrap(rule.update))} for name, rule in RULES.items()]


def list_studies() -> list[dict]:
    """Every study with its parameters; those with a star may vary within a launch."""
    from recurlab.studies import STUDIES, load_study

    return [_study_row(name, load_study(name)) for name in STUDIES]


def _study_row(name: str, study) -> dict:
    from recurlab.studies.study import parameters_of

    parameters = [f"{'*' * (key in study.replicas)}{key}: {kind.wanted}" for key, kind in parameters_of(study).items()]
    texts = {"parameters": ", ".join(parameters), "columns": ", ".join(study.columns)}
    return {"name": name, "what": _first_line(study.function), **texts}


def list_figures() -> list[dict]:
    """Every kind of plot with the keys of its own; those of every kind come last."""
    from recurlab.figures import FIGURES
    from recurlab.figures.keys import COMMON

    kinds = [
        {"plot": name, "what": _module_line(kind.paint), "keys": ", ".join(kind.keys)} for name, kind in FIGURES.items()
    ]
    return [*kinds, {"plot": "(every kind)", "what": "keys that every figure may have", "keys": ", ".join(COMMON)}]


def list_estimators() -> list[dict]:
    """Every estimator of claims."""
    from recurlab.claims import ESTIMATORS

    return [{"test": name, "what": _first_line(estimator)} for name, estimator in ESTIMATORS.items()]


def _first_line(function) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _module_line(function) -> str:
    """What the module of a function says it holds, without the name it begins with."""
    return (inspect.getmodule(function).__doc__ or "").partition("\n")[0].partition(": ")[2]


LISTS = {
    "experiments": list_experiments,
    "cells": list_cells,
    "inits": list_inits,
    "tasks": list_tasks,
    "texts": list_texts,
    "smoothings": list_smoothings,
    "regularisers": list_regularisers,
    "optimisers": list_optimisers,
    "studies": list_studies,
    "figures": list_figures,
    "estimators": list_estimators,
}
