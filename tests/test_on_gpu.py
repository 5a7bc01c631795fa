"""On a GPU: the tests of the simulator, and cuDNN as the outside oracle. Without one each says why it is not run."""

import sys
from pathlib import Path

import numpy as np
import pytest

import recurlab as rl
from recurlab.kernels.cuda import device

sys.path.insert(0, str(Path(__file__).resolve().parent / "simulated"))
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(device.problem()), reason=f"no GPU: {device.problem()}")]

if not device.problem():
    from test_draw_gpu import (  # noqa: F401
        test_normals_are_those_of_the_cpu_to_2_ulp,
        test_uniforms_have_the_bits_of_the_cpu,
    )
    from test_layers import (  # noqa: F401 - the same tests, on a GPU
        test_a_checkpointed_pass_has_the_bits_of_the_whole,
        test_a_number_that_is_not_finite_is_named_on_the_device_too,
        test_a_product_of_rows_and_columns_anywhere,
        test_a_replica_has_the_bits_it_has_alone,
        test_a_replica_that_diverges_leaves_the_others_alone,
        test_blocks_that_share_out_each_step_have_the_same_bits,
        test_columns_in_slices,
        test_device_arrays_stay_on_the_device,
        test_every_cell_is_that_of_the_cpu,
        test_every_configuration_is_that_of_the_cpu,
        test_factors_between_layers_are_those_of_the_cpu,
        test_products_in_tiles_have_the_same_bits,
        test_weights_may_stay_in_memory,
        test_what_does_not_fit_on_the_chip,
        test_zoneout_is_that_of_the_cpu,
    )
    from test_learning import (  # noqa: F401
        test_clipped_updates_are_those_of_the_cpu,
        test_gradients_are_those_of_the_cpu,
        test_gradients_with_a_regulariser_are_those_of_the_cpu,
        test_training_is_that_of_the_cpu,
        test_truncated_gradients_are_those_of_the_cpu,
    )
    from test_studies_gpu import test_a_study_gives_the_table_of_the_cpu  # noqa: F401

SIZES = (64, 128, 192, 256, 512)  # cuDNN has an algorithm of its own below 192 and 128 units
BOUNDS = {"float32": 1e-4, "float64": 1e-12}
PLAIN = {"rnn_tanh": "RNN", "lstm": "LSTM", "gru": "GRU"}


def gradients_of(cell, hidden, dtype):
    """Weights and data, and y with all gradients of a layer on the GPU."""
    layer = rl.recurrent(cell, 32, hidden, dtype=dtype, device="cuda")
    params = rl.init(layer, seed=0, recurrent="uniform", input="uniform", bias="uniform")
    rng = np.random.default_rng(hidden)
    x, dy = (rng.standard_normal((50, 16, width)).astype(dtype) for width in (32, hidden))
    y, _, tape = rl.forward(layer, params, x)
    grads, dx, _ = rl.backward(layer, params, tape, dy)
    return params, x, dy, {"y": y, "dx": dx} | grads


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("hidden", SIZES)
@pytest.mark.parametrize("cell", PLAIN)
def test_gradients_are_those_of_cudnn(cell, hidden, dtype):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    params, x, dy, found = gradients_of(cell, hidden, dtype)
    module = getattr(torch.nn, PLAIN[cell])(32, hidden, dtype=getattr(torch, dtype))
    module.load_state_dict({name: torch.from_numpy(array) for name, array in params.items()})
    module, there = module.cuda(), torch.from_numpy(x).cuda().requires_grad_()
    y, _ = module(there)
    y.backward(torch.from_numpy(dy).cuda())
    expected = {"y": y.detach(), "dx": there.grad} | {name: value.grad for name, value in module.named_parameters()}
    for name, array in expected.items():
        array = array.cpu().numpy()
        assert np.abs(found[name] - array).max() <= BOUNDS[dtype] * np.abs(array).max(), name


@pytest.mark.parametrize("cell", PLAIN)
def test_two_runs_have_the_same_bits(cell):
    first, second = (gradients_of(cell, 64, "float32")[-1] for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
