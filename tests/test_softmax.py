"""The fused output layer against its slow twin and torch: pieces, groups, chunks; replicas alone; threads; refusals."""

import os
import subprocess
import sys

import naive
import numpy as np
import pytest
from cases import assert_close, assert_same_bits

from recurlab.kernels.target import lanes
from recurlab.layers import softmax
from recurlab.layers.loss import cross_entropy
from recurlab.layers.softmax import log_probabilities, loss, loss_and_gradients, target_log_probabilities
from recurlab.random import Stream, integers, normal, uniform

# (R, N, V, H): one of all; less than a vector; two pieces of rows and words and two replicas; two groups of words.
SIZES = {"one": (1, 1, 1, 1), "few": (2, 3, 4, 2), "pieces": (2, 9, 37, 5), "groups": (1, 3, 530, 3)}
NAMES = "loss", "error", "d_h", "d_weight", "d_bias"


def problem(size, dtype="float64", own=True):
    """weight, bias, h, targets, weights 0, 1 or 2; of every replica its own, or targets and weights of all."""
    replicas, count, words, hidden = SIZES.get(size, size)
    shapes = {"weight": (replicas, words, hidden), "bias": (replicas, words), "h": (replicas, count, hidden)}
    arrays = [normal(Stream(0, f"test {name}"), shape).astype(dtype) for name, shape in shapes.items()]
    places = (replicas, count) if own else (count,)
    weights = np.floor(3 * uniform(Stream(1, "test weights"), places))
    weights[..., 0] = 1
    return *arrays, integers(Stream(0, "test words"), words, places), weights


def of_replica(given, r):
    """The arguments of one replica."""
    return *(array[r : r + 1] for array in given[:3]), *(array[r] for array in given[3:])


def plain(weight, bias, h, targets, weights):
    """What `loss_and_gradients` gives, from `layers.loss` on all logits."""
    found, error, d = cross_entropy(h @ weight.swapaxes(1, 2) + bias[:, None], targets, weights)
    return dict(zip(NAMES, (found, error, d @ weight, d.swapaxes(1, 2) @ h, d.sum(axis=1)), strict=True))


@pytest.mark.parametrize("size", ["one", "few", "pieces"])
def test_loss_and_every_gradient_are_those_of_the_slow_twin(size):
    given = problem(size)
    found = loss_and_gradients(*given)
    for r in range(len(given[0])):
        weight, bias, h = (array[r] for array in given[:3])
        own = [array[r] for array in given[3:]]
        assert found.loss[r] == pytest.approx(naive.word_loss(weight, bias, h, *own), rel=1e-13)
        slopes = naive.slopes(lambda W, b, x, own=own: naive.word_loss(W, b, x, *own), weight, bias, h)
        for name, slope in zip(("d_weight", "d_bias", "d_h"), slopes, strict=True):
            scale = max(np.abs(slope).max(), 1e-3)  # a single word has no gradient
            assert np.abs(getattr(found, name)[r] - slope).max() <= 1e-13 * scale, name


@pytest.mark.parametrize("size", [*SIZES, (3, 300, 140, 7), (1, 2, 1100, 33)])
def test_it_is_the_linear_layer_with_cross_entropy(size):
    given = problem(size)
    assert_close(loss_and_gradients(*given)._asdict(), plain(*given), 1e-12)
    assert loss(*given)[0] == pytest.approx(plain(*given)["loss"], rel=1e-13)


def test_float32_is_within_its_rounding():
    """max|a - b| ≤ eps · (H + 8) · max|b|: a sum of H products, an exponential, and sums of bounded terms."""
    given = problem((2, 70, 600, 20), "float32")
    exact = plain(*(array.astype("float64") for array in given[:3]), *given[3:])
    assert_close(loss_and_gradients(*given)._asdict(), exact, np.finfo("float32").eps * 28)
    assert {array.dtype.name for array in loss_and_gradients(*given)[2:]} == {"float32"}


def test_log_probabilities_are_those_of_the_targets_and_their_exponentials_add_up_to_one():
    given = problem("pieces")
    every = log_probabilities(*given[:3])
    assert np.allclose(np.exp(every).sum(axis=-1), 1, rtol=0, atol=1e-14)
    at_targets = np.take_along_axis(every, given[3][..., None], axis=-1)[..., 0]
    assert np.allclose(target_log_probabilities(*given[:4]), at_targets, rtol=0, atol=1e-14)
    z = given[2] @ given[0].swapaxes(1, 2) + given[1][:, None]
    assert np.allclose(every - z, (every - z)[..., :1], rtol=0, atol=1e-13)


def in_chunks(monkeypatch, given, logits):
    """All results with at most `logits` logits at a time."""
    monkeypatch.setattr(softmax, "CHUNK", logits)
    return {**loss_and_gradients(*given)._asdict(), "every": log_probabilities(*given[:3])}


def test_chunks_add_up_and_replicas_in_groups_keep_their_bits(monkeypatch):
    given = problem((3, 50, 41, 5))
    whole, groups = (in_chunks(monkeypatch, given, logits) for logits in (2**22, 50 * 41))
    assert_same_bits(groups, whole)
    assert_close(in_chunks(monkeypatch, given, 13 * 41), whole, 1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(3, 9, 37, 5), (2, 150, 20, 4)])
def test_a_replica_has_its_bits_alone_and_shared_arrays_are_those_of_all(size, dtype):
    given = problem(size, dtype)
    together = loss_and_gradients(*given)
    for r in range(size[0]):
        alone = loss_and_gradients(*of_replica(given, r))
        assert_same_bits(tuple(array[r : r + 1] for array in together), tuple(alone))
    shared = problem(size, dtype, own=False)
    copies = [np.stack([array] * size[0]) for array in shared[3:]]
    assert_same_bits(tuple(loss_and_gradients(*shared)), tuple(loss_and_gradients(*shared[:3], *copies)))


def test_no_weights_are_weights_of_one():
    given = problem("pieces")
    ones = loss_and_gradients(*given[:4], np.ones(given[3].shape))
    assert_same_bits(tuple(loss_and_gradients(*given[:4])), tuple(ones))


def test_a_position_of_weight_zero_is_never_looked_at():
    weight, bias, h, targets, weights = problem("pieces")
    spoiled = np.where(weights[..., None] == 0, np.nan, h)
    clean, found = loss_and_gradients(weight, bias, h, targets, weights), None
    found = loss_and_gradients(weight, bias, spoiled, targets, weights)
    assert not weights.all() and not found.d_h[weights == 0].any()
    assert_same_bits(tuple(found), tuple(clean))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_neither_overflow_nor_lose_the_loss(dtype):
    weight = np.array([[[1e4], [-1e4], [0]]], dtype)
    found = loss_and_gradients(weight, np.zeros((1, 3), dtype), np.array([[[1], [-1]]], dtype), np.array([0, 0]))
    assert found.loss[0] == pytest.approx(1e4) and found.error[0] == 0.5
    assert np.allclose(found.d_bias, [[-0.5, 0.5, 0]], atol=1e-30)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["h", "weight"])
def test_what_is_not_finite_shows_in_the_loss_and_stays_in_its_replica(where, spoiled):
    given = problem((3, 9, 37, 5))
    clean = loss_and_gradients(*given)
    given[("weight", "bias", "h").index(where)][1, 0, 3] = spoiled
    found = loss_and_gradients(*given)
    assert not np.isfinite(found.loss[1]) and not np.isfinite(found.d_weight[1]).all()
    others = [tuple(array[[0, 2]] for array in result) for result in (found, clean)]
    assert_same_bits(*others)


def test_a_network_of_nans_is_wrong_everywhere():
    weight, bias, h, targets, _ = problem("pieces")
    assert (loss(weight, bias, h * np.nan, targets)[1] == 1).all()


REFUSED = {
    "targets: expected words 0 … 36": {"targets": np.full(9, 37)},
    "targets: expected words": {"targets": np.full(9, -1)},
    "targets: expected whole numbers": {"targets": np.zeros(9)},
    "targets: expected shape": {"targets": np.zeros(8, int)},
    "weights: expected a sum above 0": {"weights": np.zeros(9)},
    "bias: expected": {"bias": np.zeros((2, 36))},
    "h: expected .* dtype": {"bias": np.zeros((2, 37), "float32")},
    "h: expected": {"h": np.zeros((2, 9, 4))},
    "h: expected .*N ≥ 1": {"h": np.zeros((2, 0, 5))},
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message):
    given = dict(zip(("weight", "bias", "h", "targets", "weights"), problem("pieces", own=False), strict=True))
    with pytest.raises(ValueError, match=f"^{message}"):
        loss_and_gradients(**given | REFUSED[message])


ELSEWHERE = """
import sys
import numpy as np
from recurlab.layers.softmax import loss_and_gradients
from test_softmax import problem
for size in ("pieces", "groups"):
    for dtype in ("float32", "float64"):
        np.savez(f"{size} {dtype}.npz", **loss_and_gradients(*problem(size, dtype))._asdict())
"""


def elsewhere(folder, **settings):
    """The results of another process."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | settings
    subprocess.run([sys.executable, "-c", ELSEWHERE], check=True, cwd=folder, env=environment)
    for size in ("pieces", "groups"):
        for dtype in ("float32", "float64"):
            expected = loss_and_gradients(*problem(size, dtype))._asdict()
            yield dtype, dict(np.load(folder / f"{size} {dtype}.npz")), expected


def test_three_threads_give_the_same_bits(tmp_path):
    for _, found, expected in elsewhere(tmp_path, NUMBA_NUM_THREADS="3"):
        assert_same_bits(found, expected)


def test_uncompiled_kernels_give_the_same(tmp_path):
    for dtype, found, expected in elsewhere(tmp_path, NUMBA_DISABLE_JIT="1"):
        assert_close(found, expected, 28 * np.finfo(dtype).eps)


def test_a_piece_is_never_longer_than_its_room():
    width = lanes("float32")
    for count in (1, 2, 7, 8, 9, 127, 128, 129, 255, 257, 1000):
        n = softmax.kernels.sizes_of("float32", 1, count, width * count, 3)
        rows, blocks = -(-count // n.row_pieces), -(-count // n.word_pieces)
        assert rows <= softmax.kernels.ROWS and blocks <= softmax.kernels.BLOCKS
        assert softmax.kernels.working_numbers(n) >= n.blocks * width * max(rows, blocks * width) + width


@pytest.mark.oracle
@pytest.mark.parametrize("size", [*SIZES, (2, 37, 131, 9)])
def test_torch_says_the_same(size):
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
    given = problem(size)
    found = loss_and_gradients(*given)
    for r in range(len(given[0])):
        weight, bias, h = leaves = [torch.tensor(array[r], requires_grad=True) for array in given[:3]]
        each = torch.nn.functional.cross_entropy(
            torch.nn.functional.linear(h, weight, bias), torch.tensor(given[3][r]), reduction="none"
        )
        share = torch.tensor(given[4][r])
        expected = (share * each).sum() / share.sum()
        expected.backward()
        assert found.loss[r] == pytest.approx(expected.item(), rel=1e-12)
        for name, leaf in zip(("d_weight", "d_bias", "d_h"), leaves, strict=True):
            assert_close(getattr(found, name)[r], leaf.grad.numpy(), 1e-12, name)


# What test_mutations runs on changed sources, uncompiled.
CHECKS = {
    f"twin: {size}": (test_loss_and_every_gradient_are_those_of_the_slow_twin, size) for size in ("few", "pieces")
}
CHECKS |= {
    "groups": (test_it_is_the_linear_layer_with_cross_entropy, "groups"),
    "log-probabilities": (test_log_probabilities_are_those_of_the_targets_and_their_exponentials_add_up_to_one,),
    "weight 0": (test_a_position_of_weight_zero_is_never_looked_at,),
    "huge logits": (test_huge_logits_neither_overflow_nor_lose_the_loss, "float64"),
    "NaN": (test_a_network_of_nans_is_wrong_everywhere,),
    "replicas": (test_a_replica_has_its_bits_alone_and_shared_arrays_are_those_of_all, (3, 9, 37, 5), "float64"),
    "room": (test_a_piece_is_never_longer_than_its_room,),
    "chunks": (lambda: test_chunks_add_up_and_replicas_in_groups_keep_their_bits(pytest.MonkeyPatch()),),
}
