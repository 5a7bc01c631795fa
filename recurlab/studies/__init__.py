"""Studies: one function a question. A new study is one file and one line in STUDIES.

A study module pulls in kernels, so the table holds where each study stands and `load_study` imports it when it is run:
expanding an experiment into jobs needs the names only.
"""

from importlib import import_module

from recurlab.studies.study import Study

STUDIES: dict[str, str] = {  # name -> module:attribute
    "eigenvalue_spectra": "recurlab.studies.eigenvalue_spectra:EIGENVALUE_SPECTRA",
    "gradient_decay": "recurlab.studies.gradient_decay:GRADIENT_DECAY",
    "unrolling": "recurlab.studies.unrolling:UNROLLING",
    "error_surface": "recurlab.studies.error_surface:ERROR_SURFACE",
    "training": "recurlab.studies.training:TRAINING",
    "memory_capacity": "recurlab.studies.memory_capacity:MEMORY_CAPACITY",
    "variable_length": "recurlab.studies.variable_length:VARIABLE_LENGTH",
    "truncation": "recurlab.studies.truncation:TRUNCATION",
    "snapshot": "recurlab.studies.snapshot:SNAPSHOT",
    "reber": "recurlab.studies.reber:REBER",
    "weight_sharing": "recurlab.studies.weight_sharing:WEIGHT_SHARING",
    "dataset_training": "recurlab.studies.dataset_training:DATASET_TRAINING",
    "dynamics_in_training": "recurlab.studies.dynamics_in_training:DYNAMICS_IN_TRAINING",
    "constant_error": "recurlab.studies.constant_error:CONSTANT_ERROR",
    "sparsity": "recurlab.studies.sparsity:SPARSITY",
    "independence": "recurlab.studies.independence:INDEPENDENCE",
    "language": "recurlab.studies.language:LANGUAGE",
    "attention": "recurlab.studies.attention:ATTENTION",
    "translation": "recurlab.studies.translation:TRANSLATION",
    "throughput": "recurlab.studies.throughput:THROUGHPUT",
}
TIMED = ("throughput",)  # studies whose results are times: a job of theirs takes all cores and runs alone


def load_study(name: str) -> Study:
    """The study of that name; KeyError if STUDIES has none."""
    module, attribute = STUDIES[name].split(":")
    return getattr(import_module(module), attribute)
