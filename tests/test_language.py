"""The study of language models: its texts, what is asked of a model, and every rung of the ladder."""

import numpy as np
import pytest
from test_studies import SMALL

from recurlab.models import ngram
from recurlab.studies import language_measures as asked
from recurlab.studies import load_study
from recurlab.studies.language_texts import Sizes, places, spelled, texts_of, windows
from recurlab.studies.rungs import RUNGS, Rung
from recurlab.tasks.grammar import AGREEMENT, intervening

SEEDS = np.array([4, 7])
SIZES = Sizes(3000, 400, 20000)
LANGUAGE = load_study("language")
REPLICAS = {"learning_rate": np.full(2, 0.01), "clip": np.full(2, 1.0, object), "dropout": np.zeros(2)}
OWN = {  # what a rung is made of, beside the settings in SMALL
    "counts": {"order": 3, "smoothing": "kneser_ney", "batch_size": 1, "steps": None, "truncation": None},
    "window": {"window": 2, "batch_size": 16, "steps": None, "truncation": None},
    "recurrent": {},
    "attention": {"heads": 3, "truncation": None, "contexts": (1, 3)},
}


@pytest.fixture(scope="module")
def texts():
    return texts_of(SEEDS, "agreement", "word", None, SIZES)


def rung_of(score, after) -> Rung:
    """A model that is nothing but its answers."""
    return Rung("exact", np.ones(2), np.full(2, 8), np.zeros(2), score, after)


def exact(texts) -> Rung:
    """The best predictor itself."""

    def after(replica, contexts):
        ends = [np.flatnonzero(row == texts.vocabulary.end) for row in contexts]
        begun = [row[end[0] + 1 :] for row, end in zip(contexts, ends, strict=True)]  # what is before is no sentence
        return np.stack([AGREEMENT.next_distribution(np.append(texts.vocabulary.end, row)) for row in begun])

    return rung_of(lambda replica, tokens, protocol: AGREEMENT.log_probabilities(tokens), after)


def uniform(texts) -> Rung:
    size = texts.vocabulary.size
    return rung_of(
        lambda replica, tokens, protocol: np.full(len(tokens), -np.log(size)),
        lambda replica, contexts: np.full((len(contexts), size), -np.log(size)),
    )


# texts


def test_every_seed_has_a_text_of_its_own_whoever_is_beside_it(texts):
    alone = texts_of(SEEDS[1:], "agreement", "word", None, SIZES)
    for part in ("train", "valid", "test"):
        assert np.array_equal(texts.of(part, 1), alone.of(part, 0))
        assert not np.array_equal(texts.of(part, 0), texts.of(part, 1))
    assert texts.entropy == AGREEMENT.entropy


def test_spelled_words_are_told_by_their_characters():
    words = texts_of(SEEDS, "agreement", "word", None, SIZES)
    letters = texts_of(SEEDS, "agreement", "character", None, SIZES)
    assert [len(letters.of("train", r)) for r in (0, 1)] == [3000, 3000]
    text = "".join(letters.vocabulary.types[i] for i in letters.of("train", 0))
    told = text.replace("\n", "<eos> ").split(" ")
    known = [words.vocabulary.types[i] for i in words.of("train", 0)]
    assert told[:500] == known[:500]


def test_the_entropy_of_characters_is_that_of_words_over_their_mean_length():
    many = texts_of([0], "agreement", "character", None, Sizes(10, 10, 400_000))
    _, _, lengths = spelled(AGREEMENT.vocabulary)
    drawn = AGREEMENT.draw([0], "test", 0, 400_000)[0]
    best = -AGREEMENT.log_probabilities(drawn)
    per_character = best.sum() / lengths[drawn].sum()
    assert many.entropy == pytest.approx(per_character, rel=0.004)  # standard error 0.001, relative
    assert many.language is None


def test_windows_are_those_of_every_live_seed(texts):
    take, updates = windows(texts, SEEDS, 4, 5)
    both, alone = take(SEEDS, 3), take(SEEDS[1:], 3)
    assert both.ids.shape == (2, 5, 4) and np.array_equal(both.ids[1:], alone.ids)
    stream = texts.of("train", 1).reshape(4, -1)
    assert np.array_equal(both.ids[1], stream[:, 15:20].T) and np.array_equal(both.targets[1], stream[:, 16:21].T)
    assert updates == (3000 // 4 - 1) // 5
    assert take(SEEDS, 0).fresh and not take(SEEDS, 1).fresh and take(SEEDS, updates).fresh


def test_places_go_through_a_text_once_an_epoch(texts):
    from recurlab.models.window_lm import Contexts

    batch, updates = places(texts, SEEDS, 100, lambda tokens, at: Contexts(at[:, None], tokens[at]))
    seen = np.concatenate([batch(SEEDS, update).ids[0, :, 0] for update in range(updates)])
    assert updates == 30 and np.array_equal(np.sort(seen), np.arange(3000))
    again = batch(SEEDS, updates)
    assert np.array_equal(again.targets[1], texts.of("train", 1)[again.ids[1, :, 0]])


# what is asked


def test_the_best_predictor_has_no_excess_wherever_it_is_asked(texts):
    test, made = texts.of("test", 0), exact(texts)
    logs = made.score(0, test, "carry")
    rows = asked._by_position(texts, test, logs) + asked._by_distance(test, logs)
    rows += asked._by_knowledge(texts, 0, logs)
    assert len(rows) > 30 and max(abs(row["excess"]) for row in rows) < 1e-12
    assert sum(row["tokens"] for row in rows if row["quantity"] == "contexts") == len(test)
    verbs = sum(row["tokens"] for row in rows if row["quantity"] == "distance")
    assert verbs == ((intervening(test) >= 0) & (intervening(test) <= asked.LONGEST)).sum()


def test_the_best_predictor_knows_every_form_and_no_predictor_none(texts):
    found = {name: asked._agreement(made(texts), texts, 0, 4) for name, made in (("e", exact), ("u", uniform))}
    assert {row["accuracy"] for row in found["e"]} == {1.0} and {row["accuracy"] for row in found["u"]} == {0.5}
    assert {row["place"] for row in found["e"]} == set(range(asked.LONGEST + 1))
    assert {row["subset"] for row in found["e"]} == {"all", "misled"}


def test_given_words_alone_the_loss_stands_beside_the_least_that_is_possible(texts):
    bounds = AGREEMENT.window_losses(4)
    rows = asked._by_context(uniform(texts), texts, 0, (1, 3))
    assert [row["best_loss"] for row in rows] == [bounds[1], bounds[3]]
    assert [row["loss"] for row in rows] == pytest.approx([np.log(texts.vocabulary.size)] * 2)
    assert all(row["tokens"] == asked.PLACES for row in rows)


def test_the_words_given_are_those_before_the_place(texts):
    test, seen = texts.of("test", 0), []
    made = rung_of(None, lambda replica, contexts: seen.append(contexts) or np.zeros((len(contexts), 100)))
    asked._by_context(made, texts, 0, (1, 3))
    places = np.arange(3, 3 + asked.PLACES)
    assert np.array_equal(seen[0], test[places - 1][:, None])
    assert np.array_equal(seen[1], np.stack([test[places - 3], test[places - 2], test[places - 1]], axis=1))


def test_the_weight_of_a_mixture_is_the_best_one():
    rng = np.random.default_rng(3)
    p, q = np.log(rng.random(400)), np.log(rng.random(400))
    found = asked._weight(p, q)
    grid = np.linspace(0.001, 0.999, 999)
    losses = [-np.logaddexp(np.log(w) + p, np.log1p(-w) + q).mean() for w in grid]
    assert abs(found - grid[np.argmin(losses)]) < 0.02


def test_a_mixture_is_not_worse_than_its_parts(texts):
    made = exact(texts)
    logs = {"carry": made.score(0, texts.of("test", 0), "carry")}
    (row,) = asked._interpolated(made, texts, 0, logs)
    assert row["weight"] > 0.9 and row["loss"] <= -logs["carry"].mean() + 0.01


# rungs


def run(rung, seeds=SEEDS, **changes):
    replicas = {name: values[: len(seeds)] for name, values in REPLICAS.items()}
    return LANGUAGE.function(
        seeds=np.asarray(seeds), **SMALL["language"] | {"rung": rung} | OWN[rung] | replicas | changes
    )


@pytest.mark.parametrize("rung", RUNGS)
def test_every_rung_answers_everything(rung):
    found = run(rung)
    wanted = {"test", *asked.QUANTITIES} - (set() if rung == "recurrent" else {"dynamic"})
    wanted -= set() if rung == "window" else {"window"}
    wanted |= set() if rung == "counts" else {"epoch"}
    assert set(found["quantity"]) == wanted
    losses = found["loss"][~np.isin(found["quantity"], ("agreement", "window"))]
    assert np.isfinite(losses).all() and (losses > 0).all()
    assert found["weight"][found["quantity"] == "window"].sum() == pytest.approx(2 if rung == "window" else 0)
    test = found["quantity"] == "test"
    assert set(found["protocol"][test]) == {"carry", "reset"} and (found["numbers"][test] > 0).all()
    assert (found["flops"][test] == 0).all() == (rung == "counts")
    usual = found["protocol"][test & (found["usual"] == 1)]
    assert usual.tolist() == ["reset" if rung == "counts" else "carry"] * 2
    assert np.allclose(found["excess"][test], found["loss"][test] - AGREEMENT.entropy)


@pytest.mark.parametrize("rung", RUNGS)
def test_rows_of_a_seed_depend_on_that_seed_only(rung):
    both, alone = run(rung), run(rung, SEEDS[1:])
    for name, values in both.items():
        if name != "replica":
            np.testing.assert_array_equal(values[both["replica"] == 1], alone[name], err_msg=name)


def test_counts_are_those_of_the_text(texts):
    found = run("counts", train_tokens=3000, test_tokens=20000, valid_tokens=400, measured=("held_out",))
    model = ngram.SMOOTHINGS["kneser_ney"](ngram.count(texts.of("train", 0), texts.vocabulary.size, 3))
    chosen = (found["quantity"] == "test") & (found["protocol"] == "carry") & (found["replica"] == 0)
    expected = -ngram.log_probabilities(model, texts.of("test", 0)).mean()
    assert found["loss"][chosen] == pytest.approx(expected, rel=1e-12)
    assert found["numbers"][chosen] == sum(model.entries)


def test_networks_learn(texts):
    sizes = {"train_tokens": 20000, "test_tokens": 2000, "embedding_size": 16, "hidden_size": 24, "steps": 16}
    sizes |= {"batch_size": 8, "truncation": None, "num_layers": 1, "measured": ("held_out",), "epochs": 2}
    for rung, own in (("recurrent", {}), ("attention", {"heads": 2}), ("window", {"steps": None, "batch_size": 64})):
        found = run(rung, **sizes | own)
        loss = found["loss"][(found["quantity"] == "test") & (found["protocol"] == "carry")]
        assert (loss < 3.0).all(), rung  # words alone: 3.861


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rung": "counts", "order": None}, "order: got null, wanted a value for counts"),
        ({"rung": "attention", "heads": 2, "truncation": None, "contexts": [8]}, "contexts: got 8"),
        ({"rung": "attention", "heads": 2, "truncation": None}, "heads: got 2, wanted a divisor"),
        ({"rung": "window", "window": 2, "hidden_size": None}, "hidden_size: got null"),
        ({"truncation": 8}, "truncation: got 8, wanted at most steps = 7"),
        ({"train_tokens": None}, "wanted numbers for a generated language"),
        ({"level": "lower_case"}, "level: got lower_case"),
        ({"level": "character"}, "distance is about words"),
    ],
)
def test_settings_that_do_not_fit_are_told_before_any_work(changes, told):
    given = SMALL["language"] | {"measured": ["distance"], "contexts": [1, 3]} | changes
    assert any(told in problem for problem in LANGUAGE.together(given))
    assert not LANGUAGE.together(SMALL["language"])
