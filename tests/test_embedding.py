"""The embedding: rows of a matrix, and the sum of gradients over the places of a word."""

import numpy as np
import pytest
from cases import assert_same_bits

from recurlab.layers import embedding
from recurlab.random import Stream, integers, normal

R, T, B, V, E = 3, 4, 5, 19, 3


def problem(own=True, dtype="float64"):
    """weight, ids of every replica or of all, dL/dx."""
    ids = integers(Stream(0, "test ids"), V, (R, T, B) if own else (T, B))
    weight, d_x = (normal(Stream(0, f"test {shape}"), shape).astype(dtype) for shape in ((R, V, E), (R, T, B, E)))
    return weight, ids, d_x


@pytest.mark.parametrize("own", [True, False])
def test_a_word_is_its_row_and_its_gradient_the_sum_over_its_places(own):
    weight, ids, d_x = problem(own)  # 20 places for 19 words: some stand at several of them, some at none
    x, d_weight = embedding.forward(weight, ids), embedding.backward(V, ids, d_x)
    expected = np.zeros_like(weight)
    for r in range(R):
        for t in range(T):
            for b in range(B):
                word = (ids[r] if own else ids)[t, b]
                assert np.array_equal(x[r, t, b], weight[r, word])
                expected[r, word] += d_x[r, t, b]
    assert_same_bits(d_weight, expected)


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_ids_of_any_kind_and_a_gradient_that_is_added_to(kind):
    weight, ids, d_x = problem()
    into = np.ones_like(weight)
    assert embedding.backward(V, ids.astype(kind), d_x, into) is into
    assert np.allclose(into, embedding.backward(V, ids, d_x) + 1, rtol=0, atol=1e-14)
    assert_same_bits(embedding.forward(weight, ids.astype(kind)), embedding.forward(weight, ids))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replica_has_its_bits_alone(dtype):
    weight, ids, d_x = problem(dtype=dtype)
    together = embedding.backward(V, ids, d_x)
    for r in range(R):
        assert_same_bits(embedding.forward(weight, ids)[r : r + 1], embedding.forward(weight[r : r + 1], ids[r]))
        assert_same_bits(together[r : r + 1], embedding.backward(V, ids[r : r + 1], d_x[r : r + 1]))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.full((T, B), V), f"ids: expected words 0 … {V - 1}"),
        (np.full((T, B), -1), "ids: expected words"),
        (np.zeros((T, B)), "ids: expected whole numbers, got dtype float64"),
        (np.zeros((2, T, B), int), "ids: expected R = 1 or 3, got R = 2"),
    ],
)
def test_refused(ids, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        embedding.forward(problem()[0], ids)


@pytest.mark.oracle
def test_torch_says_the_same():
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracle installs it")
    weight, ids, d_x = problem()
    for r in range(R):
        own = torch.tensor(weight[r], requires_grad=True)
        x = torch.nn.functional.embedding(torch.tensor(ids[r]), own)
        x.backward(torch.tensor(d_x[r]))
        assert np.array_equal(x.detach().numpy(), embedding.forward(weight, ids)[r])
        assert np.allclose(own.grad.numpy(), embedding.backward(V, ids, d_x)[r], rtol=1e-14, atol=1e-15)


# What test_mutations runs on changed sources, uncompiled.
CHECKS = {
    "own ids": (test_a_word_is_its_row_and_its_gradient_the_sum_over_its_places, True),
    "shared ids": (test_a_word_is_its_row_and_its_gradient_the_sum_over_its_places, False),
    "into": (test_ids_of_any_kind_and_a_gradient_that_is_added_to, "uint8"),
}
