"""Studies on a GPU, in the simulator: each that takes a device gives the table of the CPU, to rounding."""

import numpy as np
import pytest
from test_studies import SMALL, run

from recurlab.layers import on_device
from recurlab.studies import STUDIES, load_study
from recurlab.studies.study import parameters_of

ON_A_GPU = [name for name in STUDIES if "device" in parameters_of(load_study(name))]
CHANGES = {  # of SMALL: on a GPU where that has none, and fewer of what takes long
    "dataset_training": {"limit": 6, "batch_size": 3, "epochs": 1},
    "snapshot": {"cell": "lstm"},
    "language": {"train_tokens": 60, "valid_tokens": 20, "test_tokens": 20, "epochs": 1, "measured": ("dynamic",)},
}
ROUNDED = ("differing", "relative_difference", "roundings")  # how sums were rounded: their zeros alone are the same
MORE = [
    ("training", {"penalty": None, "truncation": None}),
    ("dataset_training", CHANGES["dataset_training"] | {"regulariser": None, "batch_size": 6}),
    ("truncation", {"task": None, "decays": (0.5,), "length": 5}),
    ("variable_length", {"part": "cost", "paddings": (2,)}),
]


@pytest.mark.parametrize(("name", "changes"), [(name, CHANGES.get(name, {})) for name in ON_A_GPU] + MORE)
def test_a_study_gives_the_table_of_the_cpu(name, changes, monkeypatch):
    precise = {"dtype": "float64"} if "dtype" in SMALL[name] else {}
    cpu = run(name, [0, 3], **changes, **precise)
    runs, forward = [], on_device.forward
    monkeypatch.setattr(on_device, "forward", lambda *given: runs.append(given) or forward(*given))
    cuda = run(name, [0, 3], device="cuda", **changes, **precise)
    assert runs, "no layer ran on the GPU"
    for column, values in cpu.items():
        if column in ROUNDED and name != "constant_error":
            np.testing.assert_array_equal(cuda[column] == 0, values == 0, err_msg=column)
        elif values.dtype.kind == "f":
            np.testing.assert_allclose(cuda[column], values, rtol=1e-9, atol=1e-11, err_msg=column)
        else:
            np.testing.assert_array_equal(cuda[column], values, err_msg=column)
