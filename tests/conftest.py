import os
from importlib.util import find_spec
from pathlib import Path

import pytest

# A job takes one thread. This file is read before any test imports numpy or numba, which look at these once.
for variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

LEFT_OUT = {
    "oracle": (find_spec("torch") is None, "torch is not installed: make test-oracle installs it"),
    "data": ("RECURLAB_DATA" not in os.environ, "RECURLAB_DATA does not name a folder of corpora"),
}


def pytest_collection_modifyitems(items):
    for item in items:
        for marker, (left_out, reason) in LEFT_OUT.items():
            if left_out and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data_folder():
    return Path(os.environ["RECURLAB_DATA"]).resolve()
