import os
from pathlib import Path

import pytest

# A job takes one thread. This file is read before any test imports numpy or numba, which look at these once.
for variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_modifyitems(items):
    without = pytest.mark.skip(reason="RECURLAB_DATA does not name a folder of corpora")
    for item in items:
        if item.get_closest_marker("data") and "RECURLAB_DATA" not in os.environ:
            item.add_marker(without)


@pytest.fixture(scope="session")
def data_folder():
    return Path(os.environ["RECURLAB_DATA"]).resolve()
