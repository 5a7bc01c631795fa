"""Encoder and decoder: gradients against slopes and torch, teacher-forced against step by step, decoding by beams."""

from itertools import product

import numpy as np
import pytest
from cases import assert_close, assert_same_bits
from test_sequence import assert_gradients_are_slopes, drawn

from recurlab.layers.recurrent import parameter_shapes
from recurlab.models import translation, translation_gradients
from recurlab.models.beam_search import write
from recurlab.models.pairs import Pairs
from recurlab.models.translation import Dropped, translator
from recurlab.random import Stream, integers
from recurlab.tasks.translation import TRANSLATIONS, drawn_lengths
from recurlab.train import Plan, train

R, B, E, H, VS, VT = 3, 4, 3, 4, 7, 6  # R as in test_sequence
BEGIN, END = 5, 4
SOURCE, TARGET = np.array([5, 1, 3, 4]), np.array([2, 4, 1, 4])
NETWORKS = {
    "tanh": {"cell": "rnn_tanh"},
    "lstm": {"cell": "lstm"},
    "gru, dot": {"cell": "gru", "score": "dot"},
    "lstm, two layers, both directions, additive": {
        "cell": "lstm",
        "num_layers": 2,
        "bidirectional": True,
        "score": "additive",
    },
    "gru, both directions, general": {"cell": "gru", "bidirectional": True, "score": "general"},
    "tanh, both directions": {"cell": "rnn_tanh", "bidirectional": True},
}


def network(name, dtype="float64", seeds=range(R)):
    net = translator(
        source_words=VS,
        target_words=VT,
        begin=BEGIN,
        end=END,
        embedding_size=E,
        hidden_size=H,
        dtype=dtype,
        **NETWORKS[name],
    )
    return net, translation.initial(net, list(seeds), bias="uniform")


def pairs_of(own=True):
    lead = (R,) if own else ()
    source = integers(Stream(0, "source"), VS, (*lead, SOURCE.max(), B))
    target = integers(Stream(0, "target"), END, (*lead, TARGET.max(), B))
    steps = np.arange(TARGET.max())[:, None]
    return Pairs(source, SOURCE, np.where(steps < TARGET - 1, target, END), TARGET)


def masks(net):
    sizes = {"source": E, "target": E, "outputs": H}
    return Dropped(**{name: 2.0 * (drawn(f"mask {name}", R, 1, B, size) > 0) for name, size in sizes.items()})


def test_parameters_are_those_described_and_those_of_two_networks():
    for name in NETWORKS:
        net, params = network(name, "float32")
        assert {n: p.shape[1:] for n, p in params.items()} == translation.parameter_shapes(net)
        assert all(p.dtype == np.float32 for p in params.values())
        for side, layer in (("encoder.", net.encoder), ("decoder.", net.decoder)):
            assert translation.part(params, side).keys() == parameter_shapes(layer).keys()
    net, params = network("tanh")
    assert (params["encoder.weight_hh_l0"] != params["decoder.weight_hh_l0"]).all()


@pytest.mark.parametrize("own", [False, True], ids=["shared pairs", "own pairs"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_the_slopes_of_the_loss(name, own):
    net, params = network(name)
    pairs, dropped = pairs_of(own), masks(net) if own else Dropped()
    found = translation_gradients.loss_and_gradients(net, params, pairs, dropped)
    slope = lambda p: translation_gradients.loss_and_gradients(net, p, pairs, dropped).loss  # noqa: E731
    assert list(found.grads) == list(params)
    assert_gradients_are_slopes(net, params, slope, found.grads)


@pytest.mark.parametrize("name", NETWORKS)
def test_teacher_forced_probabilities_are_those_of_the_decoder_step_by_step(name):
    net, params = network(name)
    pairs = pairs_of()
    encoded, states, _ = translation.encode(net, params, pairs.source, pairs.source_lengths)
    step, words, total = translation.next_words(net, params, encoded, SOURCE), np.full((R, B), BEGIN), np.zeros((R, B))
    for t in range(TARGET.max()):
        logs, states = step(states, words)
        assert_close(np.exp(logs).sum(axis=2), np.ones((R, B)), 1e-13)
        words = pairs.target[:, t]
        total += np.where(t < TARGET, np.take_along_axis(logs, words[..., None], axis=2)[..., 0], 0)
    assert_close(translation.log_probabilities(net, params, pairs), total, 1e-13)
    loss = translation_gradients.loss_and_gradients(net, params, pairs).loss
    assert_close(loss, -total.sum(axis=1) / TARGET.sum(), 1e-13)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_lies_behind_the_end_of_a_sentence_changes_nothing(name):
    net, params = network(name, "float32")
    pairs = pairs_of()
    other = pairs._replace(
        source=np.where(np.arange(SOURCE.max())[:, None] < SOURCE, pairs.source, 0),
        target=np.where(np.arange(TARGET.max())[:, None] < TARGET, pairs.target, 0),
    )
    found, same = (translation_gradients.loss_and_gradients(net, params, each) for each in (pairs, other))
    assert_same_bits(same.loss, found.loss)
    assert_same_bits(same.grads, found.grads)


def test_a_replica_has_the_bits_it_has_alone():
    name = "lstm, two layers, both directions, additive"
    (net, together), (_, alone) = network(name, "float32"), network(name, "float32", [1])
    pairs = pairs_of()
    own = pairs._replace(source=pairs.source[1:2], target=pairs.target[1:2])
    a, b = (translation_gradients.loss_and_gradients(net, p, each) for p, each in ((together, pairs), (alone, own)))
    assert_same_bits(b.loss, a.loss[1:2])
    assert_same_bits(b.grads, {n: g[1:2] for n, g in a.grads.items()})


def test_the_two_ways_to_the_source_sum_to_the_slope():
    net, params = network("gru, dot")
    pairs = pairs_of()
    reading = translation.read(net, params, pairs)
    d_seen = drawn("d_seen", *reading.seen.shape)
    _, d_encoded, d_state = translation_gradients.back_to_encoder(net, params, reading, pairs, d_seen)
    ways = [
        translation_gradients.back_through_encoder(net, params, reading, *way)[1]
        for way in ((d_encoded, None), (None, d_state), (d_encoded, d_state))
    ]
    assert_close(ways[0] + ways[1], ways[2], 1e-13)
    assert all(np.abs(way).max() > 1e-3 for way in ways)
    moved = params | {"weight_source": params["weight_source"] + 1e-6}
    change = (translation.read(net, moved, pairs).seen - reading.seen) / 1e-6  # every word moves in every direction
    assert_close((change * d_seen).sum(axis=(1, 2)), ways[2].sum(axis=(1, 2, 3)), 1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"begin": 6}, "begin: expected a word 0 … 5, got 6"),
        ({"end": -1}, "end"),
        ({"source_words": 0}, "source_words"),
        ({"bidirectional": True, "hidden_size": 5}, "hidden_size: expected an even number"),
        ({"score": "cosine"}, "score"),
        ({"cell": "elman"}, "cell"),
    ],
)
def test_wrong_settings_are_refused(wrong, said):
    good = dict.fromkeys(("source_words", "target_words", "embedding_size", "hidden_size"), 6) | {"cell": "gru"}
    with pytest.raises(ValueError, match=said):
        translator(**good | {"begin": 0, "end": 1} | wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"source_lengths": SOURCE - 1}, "source_lengths: expected from 1 on, the longest T = 5, got 0 … 4"),
        ({"target_lengths": np.minimum(TARGET, 3)}, "target_lengths: expected from 1 on, the longest T = 4, got 1 … 3"),
        ({"target_lengths": TARGET[1:]}, "target_lengths: expected one for each of 4 rows"),
        ({"source": np.full((5, 4), VS)}, "ids: expected words 0 … 6, got 7 … 7"),
        ({"target": np.full((4, 4), -1)}, "ids"),
    ],
)
def test_wrong_pairs_are_refused_by_name(wrong, said):
    net, params = network("gru, dot")
    with pytest.raises(ValueError, match=said):
        translation_gradients.loss_and_gradients(net, params, pairs_of()._replace(**wrong))


# decoding


def table_step(logs):
    """A model whose next word depends on replica, row and the word before: logs (R, B, V, V); it counts its steps."""

    def step(states, words):
        replicas, rows = words.shape
        beams = rows // logs.shape[1]
        row = np.arange(rows) // beams
        assert (states[0][:, 0, :, 0] == row).all()  # beams stay with their row
        return logs[np.arange(replicas)[:, None], row, words], (states[0],)

    return step


def states_of(replicas, rows, beams):
    row = np.repeat(np.arange(float(rows)), beams)
    return (np.broadcast_to(row[:, None], (replicas, 1, rows * beams, 2)).copy(),)


def exhaustive(logs, begin, end, longest, power):
    """The best of all sentences of one row: (ln p / length^power, words)."""
    found = []
    for length in range(1, longest + 1):
        for words in product(range(len(logs)), repeat=length):
            if end in words[:-1] or (words[-1] != end and length < longest):
                continue
            total = sum(logs[a, b] for a, b in zip((begin, *words), words, strict=False))
            found.append((total / length**power, total, words))
    return max(found)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_as_many_beams_as_beginnings_find_the_best_of_all_sentences(power):
    size, rows, longest, beams = 3, 2, 3, 9
    z = drawn("table", 2, rows, size, size)
    logs = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    found = write(table_step(logs), states_of(2, rows, beams), 2, 0, longest, beams, power)
    for r, b in np.ndindex(2, rows):
        _, total, words = exhaustive(logs[r, b], 2, 0, longest, power)
        assert found.log_probability[r, b] == pytest.approx(total, rel=1e-13)
        assert tuple(found.words[r, b][: found.lengths[r, b]]) == words
        assert found.lengths[r, b] == len(words) and (found.words[r, b][len(words) :] == 0).all()


def test_one_beam_takes_the_most_probable_word_at_every_step():
    logs = np.log(np.array([[[[1, 0, 0], [0.5, 0.2, 0.3], [0.1, 0.6, 0.3]]]]) + 1e-300)
    found = write(table_step(logs), states_of(1, 1, 1), 2, 0, 5)
    assert found.words.tolist() == [[[1, 0]]]  # 2 -> 1 with 0.6, 1 -> 0 (the end) with 0.5
    assert np.exp(found.log_probability[0, 0]) == pytest.approx(0.3)
    two = write(table_step(logs), states_of(1, 1, 2), 2, 0, 1, beams=2)
    assert two.words.tolist() == [[[1]]] and two.lengths.tolist() == [[1]]  # cut off before its end


@pytest.mark.parametrize("name", ["lstm", "lstm, two layers, both directions, additive"])
def test_beams_of_a_translator_are_scored_as_its_sentences_are(name):
    net, params = network(name)
    pairs = pairs_of()
    greedy, wide = (translation.translate(net, params, pairs.source, SOURCE, 6, beams) for beams in (1, 4))
    for found in (greedy, wide):
        for b in np.flatnonzero((found.words == END).any(axis=2).all(axis=0)):
            for r in range(R):
                own = {n: p[r : r + 1] for n, p in params.items()}
                length = found.lengths[r, b]
                text = found.words[r, b, :length][None, :, None]
                pair = Pairs(
                    pairs.source[r : r + 1, : SOURCE[b], b : b + 1], SOURCE[b : b + 1], text, np.array([length])
                )
                expected = translation.log_probabilities(net, own, pair)[0, 0]
                assert found.log_probability[r, b] == pytest.approx(expected, rel=1e-12)
    assert (wide.log_probability >= greedy.log_probability - 1e-12).mean() > 0.9


# training


def test_the_training_loop_learns_to_reverse_with_attention():
    task, seeds = TRANSLATIONS["reverse_words"], np.array([0, 1])
    net = translator(
        "gru", task.source.size, task.target.size, task.target.ids["<bos>"], task.target.end, 16, 32, score="dot"
    )

    def source(seeds, update):
        return task.draw(seeds, "train", update, drawn_lengths(update, 1, 4, 16))

    def gradients(params, live, batch, update, penalised):
        dropped = translation_gradients.dropout(net, seeds[live], update, batch, 0.0)
        return translation_gradients.loss_and_gradients(net, params, batch, dropped)

    params = translation.initial(net, seeds)
    found = train(None, params, seeds, source, Plan(300, 0.01, schedule="linear", clip_norm=1.0), gradients=gradients)
    assert (found.history["loss"][-1] < 0.3).all() and (found.history["error"][-1] < 0.06).all()
    pairs = task.draw(seeds, "test", 0, np.full(20, 3))
    written = translation.translate(net, found.params, pairs.source, pairs.source_lengths, 5)
    assert np.mean((written.words[:, :, :4] == pairs.target.swapaxes(1, 2)).all(axis=2)) > 0.8


def test_dropout_drops_with_its_rate_and_by_the_seed():
    net, _ = network("gru, dot", "float32")
    pairs = pairs_of()
    found = translation_gradients.dropout(net, [3, 4], 5, pairs, 0.25)
    assert [mask.shape for mask in found] == [(2, 1, B, E), (2, 1, B, E), (2, 1, B, H)]
    assert all(set(np.unique(mask)) <= {0, np.float32(1 / 0.75)} for mask in found)
    assert_same_bits(tuple(mask[1:] for mask in found), tuple(translation_gradients.dropout(net, [4], 5, pairs, 0.25)))
    assert not np.array_equal(found.source, found.target)


def with_parameters(torch, module, params, prefix, *given):
    """The module with its parameters out of a dict."""
    own = {name: params[prefix + name] for name, _ in module.named_parameters()}
    return torch.func.functional_call(module, own, given)


@pytest.mark.oracle
def test_loss_and_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")
    net, params = network("lstm, two layers, both directions, additive")
    pairs = pairs_of()
    found = translation_gradients.loss_and_gradients(net, params, pairs)
    for r in range(R):
        p = {name: torch.tensor(array[r], requires_grad=True) for name, array in params.items()}
        encoder, decoder = (
            torch.nn.LSTM(E, width, 2, bidirectional=both, dtype=torch.float64)
            for width, both in ((H // 2, True), (H, False))
        )
        logs = []
        for b in range(B):
            source = torch.tensor(pairs.source[r, : SOURCE[b], b])
            target = torch.tensor(pairs.target[r, : TARGET[b], b])
            before = torch.cat([torch.tensor([BEGIN]), target[:-1]])
            keys, ends = with_parameters(torch, encoder, p, "encoder.", p["weight_source"][source])
            start = tuple(torch.stack([torch.cat([end[2 * k], end[2 * k + 1]]) for k in (0, 1)]) for end in ends)
            s, _ = with_parameters(torch, decoder, p, "decoder.", p["weight_target"][before], start)
            hidden = torch.tanh(
                (s @ p["attention.weight_query"].T)[:, None] + (keys @ p["attention.weight_key"].T)[None]
            )
            weights = torch.softmax(hidden @ p["attention.weight_score"], dim=1)
            h = torch.tanh(torch.cat([weights @ keys, s], dim=1) @ p["weight_combine"].T)
            z = h @ p["weight_out"].T + p["bias_out"]
            logs.append(torch.log_softmax(z, dim=1)[torch.arange(TARGET[b]), target])
        loss = -torch.cat(logs).mean()
        loss.backward()
        assert found.loss[r] == pytest.approx(loss.item(), rel=1e-12)
        assert_close({n: g[r] for n, g in found.grads.items()}, {n: own.grad.numpy() for n, own in p.items()}, 1e-10)
