"""Attention, self-attention and layer normalisation against naive loops, torch, and what masks promise."""

import naive
import numpy as np
import pytest
from cases import assert_close, assert_same_bits

from recurlab.layers import attention, layer_norm, self_attention
from recurlab.layers.attention_scores import SCORES
from recurlab.random import Stream, normal

R, TQ, TK, B, H, A, HV, E, HEADS = 2, 3, 5, 3, 4, 3, 2, 6, 3
LENGTHS = np.array([5, 1, 3])
BOUND = {"float64": 1e-13, "float32": 1e-5}  # sums of at most 15 numbers in five steps


def drawn(name, *shape, dtype="float64"):
    return normal(Stream(0, f"test {name}"), shape).astype(dtype)


def layer_of(score, dtype="float64"):
    """Keys of another size than queries where the score allows it."""
    layer = attention.attention(score, H, H if "dot" in score else H + 1, A, dtype)
    params = {name: drawn(name, R, *shape, dtype=dtype) for name, shape in attention.parameter_shapes(layer).items()}
    return layer, params


def inputs_of(layer):
    """Queries, keys, values and dL/dcontexts."""
    shapes = {"queries": (TQ, B, H), "keys": (TK, B, layer.key_size), "values": (TK, B, HV)}
    given = {name: drawn(name, R, *shape, dtype=layer.dtype) for name, shape in shapes.items()}
    return given, drawn("d_contexts", R, TQ, B, HV, dtype=layer.dtype)


def both_passes(layer, params, given, d_contexts, lengths):
    contexts, weights, tape = attention.forward(layer, params, *given.values(), lengths)
    grads, *d_inputs = attention.backward(layer, params, tape, d_contexts)
    return contexts, weights, grads | dict(zip(given, d_inputs, strict=True))


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole rows", "lengths"])
@pytest.mark.parametrize("score", SCORES)
def test_attention_and_all_its_gradients_are_those_of_naive_loops(score, lengths, dtype):
    layer, params = layer_of(score, dtype)
    given, d_contexts = inputs_of(layer)
    contexts, weights, grads = both_passes(layer, params, given, d_contexts, lengths)
    assert contexts.dtype == weights.dtype == dtype and all(g.dtype == dtype for g in grads.values())
    ends = np.full(B, TK) if lengths is None else lengths
    for r in range(R):
        own = {name: array[r].astype(float) for name, array in (params | given).items()}

        def attend(values, part=0):
            p = {name: values[name] for name in params}
            return naive.attend(score, p, *(values[name] for name in given), ends)[part]  # noqa: B023 - used at once

        assert_close(contexts[r], attend(own), BOUND[dtype])
        assert_close(weights[r], attend(own, 1), BOUND[dtype])
        expected = naive.derivatives(attend, own, d_contexts[r].astype(float))
        assert_close({name: g[r] for name, g in grads.items()}, expected, 10 * BOUND[dtype])


@pytest.mark.parametrize("score", SCORES)
def test_what_lies_beyond_the_length_of_a_row_has_weight_0_and_may_be_anything(score):
    layer, params = layer_of(score)
    given, d_contexts = inputs_of(layer)
    clean = both_passes(layer, params, given, d_contexts, LENGTHS)
    beyond = np.arange(TK)[:, None] >= LENGTHS  # (Tk, B)
    for name in ("keys", "values"):
        given[name][:, beyond] = np.nan
    found = both_passes(layer, params, given, d_contexts, LENGTHS)
    assert_same_bits(found[:2], clean[:2])
    assert_same_bits(found[2], clean[2])
    assert not found[1].swapaxes(1, 2)[:, :, beyond.T].any()
    assert not any(found[2][name][:, beyond].any() for name in ("keys", "values"))


def test_weights_are_shares_however_large_the_scores():
    scores = np.array([[[1e4, -1e4, 0.0], [-1e30, -1e30, 1.0]]], np.float32)
    weights = attention.softmax(scores, np.array([[True, True, True], [True, True, False]]))
    assert np.array_equal(weights, [[[1, 0, 0], [0.5, 0.5, 0]]])


@pytest.mark.parametrize("score", SCORES)
def test_a_replica_has_the_bits_it_has_alone(score):
    layer, params = layer_of(score, "float32")
    given, d_contexts = inputs_of(layer)
    together = both_passes(layer, params, given, d_contexts, LENGTHS)
    one = ({name: array[1:] for name, array in part.items()} for part in (params, given))
    alone = both_passes(layer, *one, d_contexts[1:], LENGTHS)
    for a, b in zip(together, alone, strict=True):
        assert_same_bits({n: g[1:] for n, g in a.items()} if isinstance(a, dict) else a[1:], b)


def test_pieces_of_the_additive_score_change_nothing(monkeypatch):
    layer, params = layer_of("additive")
    given, d_contexts = inputs_of(layer)
    whole = both_passes(layer, params, given, d_contexts, LENGTHS)
    monkeypatch.setattr("recurlab.layers.attention_scores.PIECE", 2 * TQ * TK * A)  # two rows, then one
    pieces = both_passes(layer, params, given, d_contexts, LENGTHS)
    for a, b in zip(whole, pieces, strict=True):
        assert_close(b, a, 1e-14)


@pytest.mark.parametrize("score", SCORES)
def test_first_weights_are_within_the_bounds_of_a_linear_layer(score):
    layer, _ = layer_of(score, "float32")
    params = attention.initial(layer, [3, 4])
    assert {name: array.shape[1:] for name, array in params.items()} == attention.parameter_shapes(layer)
    for name, array in params.items():
        assert np.abs(array).max() <= array.shape[-1] ** -0.5 and array.dtype == np.float32
        assert_same_bits(array[1:], attention.initial(layer, [4])[name])


@pytest.mark.parametrize(
    "wrong", [{"score": "cosine"}, {"query_size": 0}, {"key_size": 5}, {"size": 0}, {"dtype": "int8"}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        attention.attention(**{"score": "dot", "query_size": 4, "key_size": 4} | wrong)


@pytest.mark.parametrize("wrong", ["queries", "keys", "values", "lengths", "params"])
def test_wrong_arrays_are_refused_by_name(wrong):
    layer, params = layer_of("additive")
    given, _ = inputs_of(layer)
    given |= {"lengths": LENGTHS, "params": params}
    given[wrong] = {} if wrong == "params" else given[wrong][:1, ..., :-1] if wrong != "lengths" else LENGTHS + 1
    with pytest.raises(ValueError, match=wrong):
        attention.forward(layer, given["params"], *(given[name] for name in ("queries", "keys", "values", "lengths")))


# self-attention


def self_attention_of(dtype="float64"):
    params = {name: drawn(name, R, *shape, dtype=dtype) for name, shape in self_attention.parameter_shapes(E).items()}
    return params, drawn("x", R, TK, B, E, dtype=dtype), drawn("dy", R, TK, B, E, dtype=dtype)


@pytest.mark.parametrize("dtype", BOUND)
def test_self_attention_and_its_gradients_are_those_of_naive_loops(dtype):
    params, x, dy = self_attention_of(dtype)
    y, tape = self_attention.forward(params, x, HEADS)
    grads, dx = self_attention.backward(params, tape, dy)
    for r in range(R):
        own = {name: array[r].astype(float) for name, array in (params | {"x": x}).items()}
        attend = lambda values: naive.self_attend(values, values["x"], HEADS)  # noqa: E731
        assert_close(y[r], attend(own), 10 * BOUND[dtype])
        expected = naive.derivatives(attend, own, dy[r].astype(float))
        found = {name: g[r] for name, g in (grads | {"x": dx}).items()}
        scale = max(np.abs(g).max() for g in expected.values())  # the keys' part of in_proj_bias has gradient 0
        assert all(np.abs(found[name] - expected[name]).max() <= 10 * BOUND[dtype] * scale for name in expected)


def test_what_follows_changes_no_bit_of_a_step():
    params, x, _ = self_attention_of("float32")
    before, _ = self_attention.forward(params, x, HEADS)
    x[:, 3:] += 1
    after, tape = self_attention.forward(params, x, HEADS)
    assert_same_bits(after[:, :3], before[:, :3])
    assert (after[:, 3:] != before[:, 3:]).all()
    assert not np.triu(tape.weights, 1).any()


def test_self_attention_of_a_replica_has_the_bits_it_has_alone():
    params, x, dy = self_attention_of("float32")
    found = [
        self_attention.backward(p, self_attention.forward(p, part, HEADS)[1], d)
        for p, part, d in ((params, x, dy), ({name: a[1:] for name, a in params.items()}, x[1:], dy[1:]))
    ]
    assert_same_bits({name: g[1:] for name, g in found[0][0].items()}, found[1][0])
    assert_same_bits(found[0][1][1:], found[1][1])


def test_heads_must_divide_the_size():
    params, x, _ = self_attention_of()
    with pytest.raises(ValueError, match="heads: expected a divisor of E = 6, got 4"):
        self_attention.forward(params, x, 4)


# layer normalisation


def norm_of(dtype):
    return drawn("gain", R, H, dtype=dtype), drawn("bias", R, H, dtype=dtype), drawn("x", R, TK, B, H, dtype=dtype)


@pytest.mark.parametrize("dtype", BOUND)
def test_layer_norm_and_its_gradients_are_those_of_naive_loops(dtype):
    weight, bias, x = norm_of(dtype)
    dy = drawn("dy", *x.shape, dtype=dtype)
    y, tape = layer_norm.forward(weight, bias, x)
    grads, dx = layer_norm.backward(weight, tape, dy)
    for r in range(R):
        own = {"weight": weight[r].astype(float), "bias": bias[r].astype(float), "x": x[r].astype(float)}

        def normalised(p):
            return np.array([[naive.layer_normalised(p, position) for position in row] for row in p["x"]])

        assert_close(y[r], normalised(own), 10 * BOUND[dtype])
        expected = naive.derivatives(normalised, own, dy[r].astype(float))
        found = {name: g[r] for name, g in (grads | {"x": dx}).items()}
        assert_close(found, expected, 10 * BOUND[dtype])


def test_layer_norm_forgets_shift_and_scale_and_keeps_the_bits_of_a_replica():
    weight, bias, x = norm_of("float64")
    y, tape = layer_norm.forward(weight, bias, x)
    far, further = (layer_norm.forward(weight, bias, moved)[0] for moved in (100 * x + 7, 1e4 * x))
    assert_close(far, further, 1e-6)  # ε is 2e-7 of the least variance there, 55
    assert_same_bits(layer_norm.forward(weight[1:], bias[1:], x[1:])[0], y[1:])
    alone = layer_norm.backward(weight[1:], layer_norm.Tape(*(part[1:] for part in tape)), y[1:])
    together = layer_norm.backward(weight, tape, y)
    assert_same_bits(alone, ({name: g[1:] for name, g in together[0].items()}, together[1][1:]))


# torch


@pytest.mark.oracle
@pytest.mark.parametrize("score", ["dot", "scaled_dot"])
def test_dot_product_attention_is_that_of_torch(score):
    torch = pytest.importorskip("torch")
    layer, params = layer_of(score)
    given, d_contexts = inputs_of(layer)
    contexts, _, grads = both_passes(layer, params, given, d_contexts, LENGTHS)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in given.items()}
    q, k, v = (tensor.transpose(1, 2) for tensor in tensors.values())
    there = torch.tensor(np.arange(TK) < LENGTHS[:, None])[:, None]
    scale = 1.0 if score == "dot" else None
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=there, scale=scale).transpose(1, 2)
    expected.backward(torch.tensor(d_contexts))
    assert_close(contexts, expected.detach().numpy(), 1e-13)
    assert_close(grads, {name: tensor.grad.numpy() for name, tensor in tensors.items()}, 1e-12)


@pytest.mark.oracle
def test_self_attention_is_that_of_torch():
    torch = pytest.importorskip("torch")
    params, x, dy = self_attention_of()
    y, tape = self_attention.forward(params, x, HEADS)
    grads, dx = self_attention.backward(params, tape, dy)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(TK, dtype=torch.float64)
    for r in range(R):
        module = torch.nn.MultiheadAttention(E, HEADS, dtype=torch.float64)
        module.load_state_dict({name: torch.tensor(array[r]) for name, array in params.items()})
        own = torch.tensor(x[r], requires_grad=True)
        expected, _ = module(own, own, own, attn_mask=mask, need_weights=False)
        expected.backward(torch.tensor(dy[r]))
        assert_close(y[r], expected.detach().numpy(), 1e-13)
        assert_close(dx[r], own.grad.numpy(), 1e-12)
        for name, parameter in module.named_parameters():
            scale = np.abs(grads[name][r]).max()
            assert np.abs(grads[name][r] - parameter.grad.numpy()).max() <= 1e-12 * scale, name


@pytest.mark.oracle
def test_layer_norm_is_that_of_torch():
    torch = pytest.importorskip("torch")
    weight, bias, x = norm_of("float64")
    dy = drawn("dy", *x.shape)
    y, tape = layer_norm.forward(weight, bias, x)
    grads, dx = layer_norm.backward(weight, tape, dy)
    for r in range(R):
        w, b, own = (torch.tensor(array[r], requires_grad=True) for array in (weight, bias, x))
        expected = torch.nn.functional.layer_norm(own, (H,), w, b)
        expected.backward(torch.tensor(dy[r]))
        assert_close(y[r], expected.detach().numpy(), 1e-13)
        found = {"weight": grads["weight"][r], "bias": grads["bias"][r], "x": dx[r]}
        assert_close(found, {"weight": w.grad.numpy(), "bias": b.grad.numpy(), "x": own.grad.numpy()}, 1e-12)
