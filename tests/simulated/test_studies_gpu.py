"""Studies on a GPU, in the simulator: each that takes a device gives the table of the CPU, to rounding."""

import numpy as np
import pytest
from test_studies import SMALL, run

from recurlab.kernels.cuda import target
from recurlab.layers import on_device
from recurlab.studies import STUDIES, load_study
from recurlab.studies.study import parameters_of

ON_A_GPU = [name for name in STUDIES if "device" in parameters_of(load_study(name))]
CHANGES = {  # of SMALL: on a GPU where that has none, and fewer of what takes long
    "dataset_training": {"limit": 6, "batch_size": 3, "epochs": 1},
    "snapshot": {"cell": "lstm"},
    "language": {"train_tokens": 60, "valid_tokens": 20, "test_tokens": 20, "epochs": 1, "measured": ("dynamic",)},
}
PLAIN = [
    ("training", {"penalty": None, "truncation": None}),
    ("dataset_training", {"limit": 6, "batch_size": 6, "epochs": 1, "regulariser": None}),
]
MORE = [
    ("truncation", {"task": None, "decays": (0.5,), "length": 5}),
    ("variable_length", {"part": "cost", "paddings": (2,)}),
]
ROUNDED = ("differing", "roundings")  # how sums were rounded: their zeros alone are the same


@pytest.fixture
def runs(monkeypatch):
    """The inputs of every layer that runs on the GPU."""
    inputs, forward = [], on_device.forward
    monkeypatch.setattr(on_device, "forward", lambda *given: inputs.append(given[3]) or forward(*given))
    return inputs


@pytest.mark.parametrize(("name", "changes"), [(name, CHANGES.get(name, {})) for name in ON_A_GPU] + PLAIN + MORE)
def test_a_study_gives_the_table_of_the_cpu(name, changes, runs):
    precise = {"dtype": "float64"} if "dtype" in SMALL[name] else {}
    cpu = run(name, [0, 3], **changes, **precise)
    assert not runs
    cuda = run(name, [0, 3], device="cuda", **changes, **precise)
    assert runs, "no layer ran on the GPU"
    assert (name, changes) not in PLAIN or any(map(target.is_on_device, runs)), "training came back to the host"
    for column, values in cpu.items():
        if column in ROUNDED:
            np.testing.assert_array_equal(cuda[column] == 0, values == 0, err_msg=column)
        elif values.dtype.kind == "f":
            np.testing.assert_allclose(cuda[column], values, rtol=1e-9, atol=1e-11, err_msg=column)
        else:
            np.testing.assert_array_equal(cuda[column], values, err_msg=column)
