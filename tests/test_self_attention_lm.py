"""The self-attention language model: gradients against slopes and torch, what it sees, and what it says of a text."""

import numpy as np
import pytest
from cases import assert_close, assert_same_bits
from test_sequence import R, assert_gradients_are_slopes

from recurlab.layers import transformer_block
from recurlab.models import self_attention_lm
from recurlab.models.beam_search import write
from recurlab.models.generation import sample
from recurlab.models.self_attention_lm import loss_and_gradients
from recurlab.models.self_attention_lm_scores import (
    context_log_probabilities,
    log_probabilities,
    next_distribution,
    step,
)
from recurlab.models.words import Words
from recurlab.random import Stream, integers, normal
from recurlab.train import Plan, train

V, C, E, HEADS, L, F, B, END = 7, 6, 4, 2, 2, 5, 3, 0


def model(dtype="float64", seeds=range(R), context=C, end=END):
    """All numbers are random and of size 1, so that nothing is close to linear."""
    net = self_attention_lm.self_attention_lm(V, context, E, HEADS, L, F, end, dtype)
    shapes = self_attention_lm.parameter_shapes(net).items()
    drawn = {name: [normal(Stream(seed, f"test {name}"), shape) for seed in seeds] for name, shape in shapes}
    return net, {name: np.stack(arrays).astype(dtype) for name, arrays in drawn.items()}


def words_of(own=True, lengths=None, steps=5):
    lead = (R,) if own else ()
    ids, targets = (integers(Stream(0, name), V, (*lead, steps, B)) for name in ("ids", "targets"))
    return Words(ids, targets, lengths)


@pytest.mark.parametrize("lengths", [None, np.array([5, 2, 4])], ids=["whole windows", "lengths"])
@pytest.mark.parametrize("dropping", [False, True], ids=["", "dropout"])
def test_gradients_are_the_slopes_of_the_loss(dropping, lengths):
    net, params = model()
    words = words_of(own=dropping, lengths=lengths)
    dropped = self_attention_lm.dropout(net, list(range(R)), 3, words, 0.3) if dropping else None
    found = loss_and_gradients(net, params, words, dropped)
    assert list(found.grads) == list(params) == list(self_attention_lm.parameter_shapes(net))
    assert_gradients_are_slopes(net, params, lambda p: loss_and_gradients(net, p, words, dropped).loss, found.grads)


def test_dropout_has_its_rate_and_masks_of_their_own():
    net, _ = model("float32")
    dropped = self_attention_lm.dropout(net, [3, 4], 5, words_of(own=False, steps=6), 0.25)
    masks = [dropped.embedding, *(mask for block in dropped.blocks for mask in block)]
    assert len(masks) == 1 + 2 * L and all(mask.shape == (2, 6, B, E) for mask in masks)
    assert all(set(np.unique(mask)) == {0, np.float32(1 / 0.75)} for mask in masks)
    assert len({mask.tobytes() for mask in masks}) == len(masks)


def test_a_replica_has_the_bits_it_has_alone():
    (net, together), (_, alone) = model("float32"), model("float32", [1])
    words = words_of()
    own = Words(words.ids[1:2], words.targets[1:2])
    a, b = (loss_and_gradients(net, p, each) for p, each in ((together, words), (alone, own)))
    assert_same_bits(b.loss, a.loss[1:2])
    assert_same_bits(b.grads, {name: g[1:2] for name, g in a.grads.items()})


def test_words_behind_a_place_change_no_bit_of_it():
    net, params = model("float32")
    words = words_of(own=False)
    ids = words.ids.copy()
    ids[3:] = (ids[3:] + 1) % V
    before, after = (self_attention_lm.read(net, params, words._replace(ids=i)).h for i in (words.ids, ids))
    assert_same_bits(after[:, : 3 * B], before[:, : 3 * B])
    assert (after[:, 3 * B :] != before[:, 3 * B :]).any()


def test_first_weights_have_their_deviations():
    net = self_attention_lm.self_attention_lm(200, 10, 64, 4, 2)
    params = self_attention_lm.initial(net, [0, 1])
    assert {name: p.shape[1:] for name, p in params.items()} == self_attention_lm.parameter_shapes(net)
    assert net.hidden_size == 256 and all(p.dtype == np.float32 for p in params.values())
    for name, p in params.items():
        adds = name.endswith(("out_proj.weight", "linear2.weight"))
        expected = 0 if "bias" in name or "norm" in name else 0.01 if adds else 0.02
        mean = 1.0 if "norm" in name and "bias" not in name else 0.0
        assert p.std() == pytest.approx(expected, rel=0.1), name
        assert p.mean() == pytest.approx(mean, abs=2e-3), name
    count, size = self_attention_lm.size(net)
    assert count == sum(p[0].size for p in params.values()) and size == 4 * count


@pytest.mark.parametrize(
    "wrong", [{"heads": 3}, {"words": 0}, {"context": 0}, {"end": 7}, {"dtype": "int8"}, {"hidden_size": 0}]
)
def test_wrong_settings_are_refused(wrong):
    good = {"words": V, "context": C, "size": E, "heads": HEADS, "num_layers": L}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        self_attention_lm.self_attention_lm(**good | wrong)


def test_a_window_longer_than_the_context_is_refused():
    net, params = model(context=4)
    with pytest.raises(ValueError, match="words: expected at most context = 4 words, got a window of 5"):
        loss_and_gradients(net, params, words_of())


# what it says of a text


def one_by_one(net, params, before):
    """ln p of every word behind some words (n,), by a pass of their own, (R, V)."""
    return next_distribution(net, params, np.asarray(before)[None])[:, 0]


def seen(tokens, t, protocol):
    """The words that tell token t, the oldest first, behind an `<eos>`."""
    start = 0 if protocol == "carry" else 1 + max((k for k in range(t) if tokens[k] == END), default=-1)
    return [END, *tokens[start:t]]


@pytest.mark.parametrize("protocol", ["carry", "reset"])
def test_probabilities_within_a_context_are_those_of_all_words_before(protocol):
    net, params = model(context=12)
    tokens = np.array([3, 5, END, 2, 2, 6, END, 1, END, 4])
    found = log_probabilities(net, params, tokens, protocol)
    assert found.shape == (R, 10) and found.dtype == np.float64
    for t, token in enumerate(tokens):
        expected = one_by_one(net, params, seen(tokens.tolist(), t, protocol))[:, token]
        assert_close(found[:, t], expected, 1e-12)


@pytest.mark.parametrize("protocol", ["carry", "reset"])
def test_longer_texts_go_in_windows_that_overlap_by_half(protocol):
    net, params = model(context=4)
    tokens = np.array([3, 5, 1, 2, 2, 6, 4, 1, 3, END, 4, 5, 5, 1, 2, 3, 6])
    found = log_probabilities(net, params, tokens, protocol)
    for t, token in enumerate(tokens):
        words = seen(tokens.tolist(), t, protocol)
        place = len(words) - 1  # in its sequence; windows begin at 0, 2, 4, …
        start = 0 if place < 4 else (place - 4) // 2 * 2 + 2
        assert_close(found[:, t], one_by_one(net, params, words[start:])[:, token], 1e-12)
        assert place < 4 or place - start >= 2


def test_a_vocabulary_without_end_begins_uniformly_and_has_no_sentences():
    net, params = model(end=None)
    tokens = np.array([3, 5, 1])
    found = log_probabilities(net, params, tokens)
    assert np.allclose(found[:, 0], -np.log(V))
    assert_close(found[:, 2], one_by_one(net, params, [3, 5])[:, 1], 1e-12)
    with pytest.raises(ValueError, match="protocol: expected carry for a vocabulary without <eos>"):
        log_probabilities(net, params, tokens, "reset")


@pytest.mark.parametrize(("tokens", "said"), [([0, 7], "tokens"), ([0.5], "tokens")])
def test_tokens_that_are_no_words_are_refused(tokens, said):
    net, params = model()
    with pytest.raises(ValueError, match=said):
        log_probabilities(net, params, np.array(tokens))
    with pytest.raises(ValueError, match="protocol"):
        log_probabilities(net, params, np.array([1]), "keep")


def test_distributions_sum_to_one_and_see_the_last_words_of_the_context():
    net, params = model()
    contexts = integers(Stream(0, "contexts"), V, (B, 9))
    found = next_distribution(net, params, contexts)
    assert found.shape == (R, B, V) and np.allclose(np.exp(found).sum(axis=2), 1)
    assert_same_bits(found, next_distribution(net, params, contexts[:, -C:]))


def test_tokens_are_told_by_as_many_words_before_them_as_asked_for():
    net, params = model()
    tokens, at = integers(Stream(0, "tokens"), V, (60,)), np.arange(3, 60)
    found = context_log_probabilities(net, params, tokens, at, 3)
    assert found.shape == (R, 57)
    for k in (0, 31, 32, 56):
        assert_close(found[:, k], one_by_one(net, params, tokens[at[k] - 3 : at[k]])[:, tokens[at[k]]], 1e-12)
    for wrong, said in (((at - 1, 3), "at"), ((at + 1, 3), "at"), ((at, C + 1), "context"), ((at, 0), "context")):
        with pytest.raises(ValueError, match=said):
            context_log_probabilities(net, params, tokens, *wrong)


def test_greedy_text_takes_the_most_probable_word():
    net, params = model()
    states = (np.empty((R, 1, 1, 0), int),)
    written = write(step(net, params), states, END, END, 9)
    for r in range(R):
        own, text = {name: p[r : r + 1] for name, p in params.items()}, [END]
        for _ in range(written.lengths[r, 0]):
            text.append(int(one_by_one(net, own, text[-C:]).argmax()))
        assert written.words[r, 0, : written.lengths[r, 0]].tolist() == text[1:]
    coldest = sample(step(net, params), None, np.full((R, 1, 1), END), range(R), 9, 0.0, END)
    assert np.array_equal(coldest.words[..., : written.words.shape[2]], written.words)


def test_the_training_loop_learns_which_word_stood_three_places_before():
    net = self_attention_lm.self_attention_lm(5, 12, 16, 2, 2)

    def source(seeds, update):
        first = [integers(Stream(int(seed), "words", update), 5, (3, 16)) for seed in seeds]
        ids = np.tile(np.stack(first), (1, 5, 1))
        return Words(ids[:, :12], ids[:, 1:13])

    def gradients(params, live, words, update, penalised):
        return loss_and_gradients(net, params, words)

    plan = Plan(300, 0.01, schedule="linear", clip_norm=1.0)
    found = train(None, self_attention_lm.initial(net, [0, 1]), [0, 1], source, plan, gradients=gradients)
    guess = 2 / 12 * np.log(5)  # words 2 and 3 are new, all others stood three places before
    assert found.history["loss"][1].min() > guess + 0.1
    assert np.all(np.abs(found.history["loss"][-1] - guess) < 0.03)


@pytest.mark.oracle
def test_a_block_and_the_model_are_those_of_torch():
    torch = pytest.importorskip("torch")
    net, params = model()
    words = words_of(own=False)
    found = loss_and_gradients(net, params, words)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    for r in range(R):
        p = {name: torch.tensor(array[r], requires_grad=True) for name, array in params.items()}
        block = torch.nn.TransformerEncoderLayer(E, HEADS, F, 0.0, norm_first=True, dtype=torch.float64)
        stack = torch.nn.TransformerEncoder(
            block, L, torch.nn.LayerNorm(E, dtype=torch.float64), enable_nested_tensor=False
        )
        assert {name: tuple(p.shape) for name, p in block.named_parameters()} == transformer_block.parameter_shapes(
            E, F
        )
        x = p["weight_embedding"][torch.tensor(words.ids)] + p["weight_position"][:5, None]
        own = {name: p[name] for name, _ in stack.named_parameters()}
        y = torch.func.functional_call(stack, own, (x,), {"mask": mask})
        z = y @ p["weight_out"].T + p["bias_out"]
        loss = torch.nn.functional.cross_entropy(z.reshape(-1, V), torch.tensor(words.targets).reshape(-1))
        loss.backward()
        assert found.loss[r] == pytest.approx(loss.item(), rel=1e-12)
        for name, tensor in p.items():
            worst = np.abs(found.grads[name][r] - tensor.grad.numpy()).max()
            assert worst <= 1e-11 * max(1, np.abs(tensor.grad.numpy()).max()), name
