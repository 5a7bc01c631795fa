import os

import pytest

# A job takes one thread. This file is read before any test imports numpy or numba, which look at these once.
THREADS = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
for variable in THREADS:
    os.environ.setdefault(variable, "1")

# These run in processes of their own, which test_gpu starts: numba looks at this one when it is imported, too.
collect_ignore = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["simulated"]


@pytest.fixture(autouse=True)
def own_threads(monkeypatch):
    """A command that a test calls sets the threads of this process, which numba refuses to change later."""
    for variable in THREADS:
        monkeypatch.setenv(variable, os.environ[variable])


def pytest_collection_modifyitems(config, items):
    """Fault tests run only where they are asked for."""
    if "faults" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.skip(reason="kills and starves runs for minutes: make test-faults"))
