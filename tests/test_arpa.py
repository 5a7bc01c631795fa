"""ARPA files: there and back, files of other programs, and what is broken, with its line."""

import numpy as np
import pytest

from recurlab.models.ngram import SMOOTHINGS, count, log_probabilities, next_distribution, read_arpa, write_arpa

SIZE, END, NAMES = 9, 3, ["a", "b", "ß", "<eos>", "e", "f'", "-", "8", "<unk>"]  # <unk> is in no text


def text(length=300, number=0):
    return np.minimum(np.random.default_rng(number).zipf(1.5, length), 8).astype(np.int32) - 1


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("protocol", ["carry", "reset"])
@pytest.mark.parametrize("name", [name for name in SMOOTHINGS if name != "add_k"])
def test_a_model_comes_back_from_its_file(tmp_path, name, protocol, order):
    model = SMOOTHINGS[name](count(text(), SIZE, order, protocol, END), cutoffs=(1, 1, 1, 2)[:order])
    write_arpa(tmp_path / "a.arpa", model, NAMES)
    back, names = read_arpa(tmp_path / "a.arpa")
    assert names == tuple([*NAMES[:3], "</s>" if protocol == "reset" else "<eos>", *NAMES[4:]])
    assert (back.order, back.protocol, back.size) == (order, protocol, SIZE) and back.entries[1:] == model.entries[1:]
    fresh = np.append(text(200, 1), [8, 0, 8, 8, 1]).astype(np.int32)
    mine, theirs = log_probabilities(model, fresh), log_probabilities(back, fresh)
    np.testing.assert_allclose(theirs / np.log(10), mine / np.log(10), rtol=0, atol=1e-7)
    if name != "maximum_likelihood":
        assert np.exp(-theirs.mean()) == pytest.approx(np.exp(-mine.mean()), rel=1e-9)
    contexts = fresh[:60].reshape(20, 3)
    p = np.exp(next_distribution(back, contexts))
    np.testing.assert_allclose(p, np.exp(next_distribution(model, contexts)), rtol=1e-8)
    write_arpa(tmp_path / "b.arpa", back, [*names])
    assert (tmp_path / "b.arpa").read_bytes() == (tmp_path / "a.arpa").read_bytes()


# Sorted otherwise than here, with (x y) kept and (y z), the end of (x y z), dropped; spaces, comment and empty lines.
OTHER = """made by hand

\\data\\
ngram 1=5
ngram 2 = 3
ngram 3=1

\\1-grams:
-0.5 z
-0.7\ty\t-0.2
-99\t<s>\t-0.4
-0.9\t</s>
-0.6\tx\t-0.3

\\2-grams:
-0.4\tx y\t-0.1
-0.25\t<s> x
-0.35 y x -0.6

\\3-grams:
-0.05\tx y z

\\end\\
what follows the end does not count
"""


def scored(path, words):
    model, names = read_arpa(path)
    return log_probabilities(model, np.array([names.index(word) for word in words])) / np.log(10)


def test_a_file_of_another_program_is_read(tmp_path):
    """Each value by hand: what is in the file, or back-off weights plus the p of the longest suffix that is."""
    (tmp_path / "a.arpa").write_text(OTHER)
    expected = [
        -0.25,  # x | <s>
        -0.4,  # y | <s> x: (<s> x) is no entry with a weight, so x y
        -0.05,  # z | x y
        -0.9,  # </s> | y z: z has no weight
        -0.4 - 0.7,  # y | <s>
        -0.35,  # x | y
        -0.6 - 0.3 - 0.5,  # z | y x: the weights of (y x) and of x
    ]
    words = ["x", "y", "z", "</s>", "y", "x", "z"]
    np.testing.assert_allclose(scored(tmp_path / "a.arpa", words), expected, rtol=1e-12)


def test_a_file_without_sentence_ends_is_one_of_running_text(tmp_path):
    (tmp_path / "a.arpa").write_text(OTHER.replace("</s>", "e").replace("<s>", "s"))
    model, names = read_arpa(tmp_path / "a.arpa")
    assert model.protocol == "carry" and names == ("z", "y", "s", "e", "x")


BROKEN = {  # name: (what stands there, what comes in its place, the message)
    "empty": (OTHER, "", r"line 1: expected \\data\\, found the end of the file"),
    "no header": ("\\data\\", "data", r"line \d+: expected \\data\\, found the end of the file"),
    "no counts": ("ngram 1=5\nngram 2 = 3\nngram 3=1\n", "", r"line 5: expected ngram 1=COUNT before \\1-grams:"),
    "counts out of order": (
        "ngram 2 = 3",
        "ngram 3=3",
        r"line 5: expected ngram 2=COUNT or \\1-grams:, found ngram 3=3",
    ),
    "a count that is none": ("ngram 3=1", "ngram 3=few", r"line 6: expected ngram 3=COUNT or .*, found ngram 3=few"),
    "too few entries": ("ngram 1=5", "ngram 1=6", r"line 15: expected one of 6 entries: .*; found \\2-grams:"),
    "too many entries": ("ngram 2 = 3", "ngram 2=2", r"line 18: expected \\3-grams:, found -0.35 y x -0.6"),
    "a length too many": ("ngram 3=1", "ngram 3=1\nngram 4=1", r"line 24: expected \\4-grams:, found \\end\\"),
    "no number": ("-0.05", "zero", r"line 21: expected log10 of a probability, found zero"),
    "not a probability": ("-0.05", "0.05", r"line 21: expected log10 of a probability, found 0.05"),
    "NaN": ("-0.7\ty\t-0.2", "-0.7 y nan", r"line 10: expected log10 of a weight, found nan"),
    "a word too few": ("x y z", "x y", r"line 21: expected one of 1 entries: log10 p, 3 words; found -0.05 x y"),
    "a weight too many": ("x y z", "x y z -1", r"line 21: expected one of 1 entries: log10 p, 3 words; found .* z -1"),
    "unknown word": ("x y z", "x y w", r"line 21: w is no unigram of the file"),
    "a unigram twice": ("-0.5 z", "-0.5 y", r"line 10: y is there twice"),
    "a bigram twice": ("-0.35 y x", "-0.35 x y", r"line 18: the entry is there twice"),
    "no context": ("x y z", "z y z", r"line 21: its first 2 words are no entry"),
    "no end": ("\\end\\\n", "", r"line \d+: expected \\end\\, found what follows"),
    "cut": (
        OTHER[OTHER.index("x y z") - 6 :],
        "",
        r"line 21: expected one of 1 entries: .*, found the end of the file",
    ),
    "not UTF-8": ("-0.5 z", "-0.5 \udcff", r"line 9: expected a name in UTF-8, found b'\\xff'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_its_line(tmp_path, name):
    old, new, message = BROKEN[name]
    assert OTHER.count(old) == 1
    (tmp_path / "a.arpa").write_bytes(OTHER.replace(old, new).encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"a\.arpa, " + message):
        read_arpa(tmp_path / "a.arpa")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (NAMES[:-1], r"words: expected 9 names, one for each id, got 8"),
        ([*NAMES[:-1], "a"], r"words: expected different names, none of them <s>, got a name twice"),
        ([*NAMES[:-1], "<s>"], r"words: expected different names, none of them <s>, got a name twice"),
        ([*NAMES[:-1], "u k"], r"words: expected names without white space, got 'u k'"),
        ([*NAMES[:-1], "\n"], r"words: expected names without white space, got '\\n'"),
        ([*NAMES[:-1], ""], r"words: expected names without white space, got ''"),
    ],
)
def test_names_that_the_format_cannot_hold_are_refused(tmp_path, names, message):
    model = SMOOTHINGS["witten_bell"](count(text(), SIZE, 2))
    with pytest.raises(ValueError, match=message):
        write_arpa(tmp_path / "a.arpa", model, names)


def test_add_k_has_no_such_file_but_for_single_words(tmp_path):
    with pytest.raises(ValueError, match=r"model: expected a smoothing that backs off to the next shorter context"):
        write_arpa(tmp_path / "a.arpa", SMOOTHINGS["add_k"](count(text(), SIZE, 2)), NAMES)
    model = SMOOTHINGS["add_k"](count(text(), SIZE, 1))
    write_arpa(tmp_path / "a.arpa", model, NAMES)
    back = log_probabilities(read_arpa(tmp_path / "a.arpa")[0], text(50, 1))
    np.testing.assert_allclose(back, log_probabilities(model, text(50, 1)), rtol=1e-8)
