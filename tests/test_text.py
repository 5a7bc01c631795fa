"""Texts as token ids: what is read, what is refused, vocabularies, ids on disk, batches; corpora by their counts."""

import io
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recurlab import text
from recurlab.text import reading, store, texts

STORY = "the cat\n\nsat on  the mat\n"
CORNERS = {
    "plain": STORY,
    "no line end at the end": STORY.rstrip("\n"),
    "spaces at the end": STORY + "  ",
    "other line ends": STORY.replace("\n", "\r\n"),
    "old line ends": STORY.replace("\n", "\r"),
    "byte order mark": "\ufeff" + STORY,
    "letters of two to four bytes": "é → 𝄞 é\n’tis Zürich\n",
    "one word": "word",
    "one long word": "w" * 500 + " end",
    "tabs": "a\tb\tc",
    "empty lines": "\n\n\n",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    monkeypatch.setenv("RECURLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "texts"


def own(folder, content, name="story.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def naive_lines(content):
    return io.StringIO(content.removeprefix("\ufeff"), newline=None).read().split("\n")


def naive_words(content):
    *lines, rest = naive_lines(content)
    return [token for line in lines + [rest] * (rest != "") for token in [*line.split(), "<eos>"]]


def naive_characters(content):
    return list("\n".join(naive_lines(content)))


NAIVE = {
    "word": naive_words,
    "character": naive_characters,
    "lower_case": lambda c: re.findall(r"[a-z]+(?:['-][a-z]+)*", c.lower().replace("’", "'")),
    "words_and_marks": lambda c: re.findall(r"[A-Za-z']+|[^\sA-Za-z']", c.removeprefix("\ufeff")),
}


def tokens_of(content, level, block):
    blocks = reading.decoded(io.BytesIO(content.encode()), block)
    return [token for tokens in reading.LEVELS[level](blocks) for token in tokens]


# reading


@pytest.mark.parametrize("level", reading.LEVELS)
@pytest.mark.parametrize("corner", CORNERS)
def test_tokens_are_those_of_the_whole_text_whatever_the_blocks(level, corner):
    expected = NAIVE[level](CORNERS[corner])
    for block in (1, 2, 3, 5, 64, reading.BLOCK):
        assert tokens_of(CORNERS[corner], level, block) == expected, block


def test_levels_keep_and_drop_what_they_say():
    line = "Don’t—he's well-known, O'er -- 'tis so!\n"
    assert tokens_of(line, "lower_case", 7) == ["don't", "he's", "well-known", "o'er", "tis", "so"]
    assert tokens_of("Don't stop--now!", "words_and_marks", 7) == ["Don't", "stop", "-", "-", "now", "!"]


@pytest.mark.parametrize("before", [b"", b"caf\xc3\xa9 ", "\ufeffa".encode()])
@pytest.mark.parametrize("wrong", [b"\xff", b"\xe9t\xe9", b"\xc3"])
def test_another_encoding_is_refused_with_the_place_of_the_first_wrong_byte(before, wrong):
    for block in (1, 3, 100):
        with pytest.raises(ValueError, match=f"^byte {len(before)} is not UTF-8"):
            list(reading.decoded(io.BytesIO(before + wrong), block))
    with pytest.raises(ValueError, match=r"byte 1 is not UTF-8|byte 0 is not UTF-8"):
        list(reading.decoded(io.BytesIO("naïve".encode("utf-16"))))


def test_no_more_than_a_block_is_asked_for_at_a_time():
    class Counting(io.BytesIO):
        sizes = []

        def read(self, size):
            self.sizes.append(size)
            return super().read(size)

    blocks = reading.words(reading.decoded(Counting(b"some words " * 100), 64))
    next(blocks)
    assert Counting.sizes == [64]
    assert max(map(len, blocks)) <= 64 and set(Counting.sizes) == {64}


# vocabularies


def test_the_most_frequent_types_come_first_and_equal_ones_by_name():
    counts = Counter("b b b c c a a d".split())
    assert text.choose(counts).types == ("b", "a", "c", "d")
    assert text.choose(counts, least_count=2).types == ("<unk>", "b", "a", "c")
    assert text.choose(counts, size=3).types == ("<unk>", "b", "a")
    assert text.choose(counts, size=4) == text.choose(counts)
    assert text.choose(counts, size=10**6) == text.choose(counts)
    assert text.choose(counts | {"<eos>": 1}, size=3).types == ("<unk>", "<eos>", "b")
    assert text.choose(counts | {"<unk>": 1, "<eos>": 1}, size=3).types == ("<unk>", "<eos>", "b")
    assert text.choose(counts | {"<unk>": 1}).types == ("<unk>", "b", "a", "c", "d")
    assert text.choose({"a": 1}, least_count=2).types == ("<unk>",)


@pytest.mark.parametrize("size", [1, 2])
def test_a_size_without_room_for_a_type_is_refused(size):
    with pytest.raises(ValueError, match="^vocabulary_size: expected at least 3, .*<unk>.*<eos>.* got"):
        text.choose({"a": 2, "b": 1, "<eos>": 1}, size)


def test_ids_go_to_tokens_and_back():
    types = text.vocabulary(["<unk>", "<eos>", "the", "cat"])
    assert (types.size, types.unknown, types.end) == (4, 0, 1)
    ids = types.encode("the dog <eos> cat".split())
    assert ids.dtype == np.int32 and ids.tolist() == [2, 0, 1, 3]
    assert types.decode(ids) == ["the", "<unk>", "<eos>", "cat"]
    assert types.encode([]).shape == (0,)
    for wrong in ([0, 4], [-1]):
        with pytest.raises(ValueError, match=f"^ids: expected 0 … 3, got {wrong[-1]}"):
            types.decode(wrong)


def test_an_unknown_token_is_named_where_nothing_stands_for_it():
    types = text.vocabulary(["the", "cat"])
    assert types.unknown is None and types.end is None
    with pytest.raises(ValueError, match="^token: expected one of the 2 types .*got 'dog'"):
        types.encode(["the", "dog"])


def test_types_are_different_and_there_are_some():
    with pytest.raises(ValueError, match="^types: .*got 'b' twice"):
        text.vocabulary(["b", "a", "b"])
    with pytest.raises(ValueError, match="^types: .*got 'none'"):
        text.vocabulary([])


# whole texts


def lines(count):
    return [" ".join(f"w{i % k}" for k in (2, 3, 7)) for i in range(count)]


def test_a_file_of_your_own_is_split_by_lines_and_decodes_to_itself(tmp_path):
    content = lines(43)
    found = text.load(own(tmp_path, "\n".join(content) + "\n"))
    assert (found.name, found.level) == ("story", "word")
    borders = (0, 43 * 90 // 100, 43 * 95 // 100, 43)
    for part, first, last in zip(found[3:], borders[:-1], borders[1:], strict=True):
        assert part.dtype == np.int32
        expected = [token for line in content[first:last] for token in [*line.split(), "<eos>"]]
        assert found.vocabulary.decode(part) == expected


@pytest.mark.parametrize("level", ["character", "words_and_marks", "lower_case"])
def test_other_levels_are_split_by_tokens(tmp_path, level):
    content = "So, the cat! sat. " * 60
    found = text.load(own(tmp_path, content), level, shares=(50, 80))
    expected = NAIVE[level](content)
    assert np.cumsum([len(part) for part in found[3:]]).tolist() == [
        share * len(expected) // 100 for share in (50, 80, 100)
    ]
    assert found.vocabulary.decode(np.concatenate(found[3:])) == expected


def test_a_whole_text_may_be_training(tmp_path):
    found = text.load(own(tmp_path, "one"), shares=(100, 100))
    assert found.vocabulary.decode(found.train) == ["one", "<eos>"]
    assert len(found.valid) == len(found.test) == 0


def test_the_vocabulary_is_that_of_the_training_part(tmp_path):
    path = own(tmp_path, "a a b d\n" * 18 + "c a\n" * 2)
    with pytest.raises(ValueError, match=": 'c' does not occur in the training part; a larger least_count"):
        text.load(path)
    assert not list(store.cache_folder().iterdir())  # nothing of a text that failed is left
    small = text.load(path, vocabulary_size=3)
    assert small.vocabulary.types == ("<unk>", "<eos>", "a")
    assert small.vocabulary.decode(small.test) == ["<unk>", "a", "<eos>"]
    assert small.vocabulary.decode(small.train[:4]) == ["a", "a", "<unk>", "<unk>"]


@pytest.mark.parametrize(
    "content, level, told",
    [
        (b"", "word", r"story.txt: expected tokens of the level word, got none"),
        (b"", "character", r"story.txt: expected tokens of the level character, got none"),
        (b"123 456", "lower_case", r"story.txt: expected tokens of the level lower_case, got none"),
        (b"word", "word", r"story.txt: expected enough lines for parts of 90, 5 and 5 %, got 1 lines"),
        (b"word", "character", r"story.txt: expected enough tokens for parts of 90, 5 and 5 %, got 4 tokens"),
        ("été\n".encode("latin-1") * 30, "word", r"story.txt: byte 0 is not UTF-8"),
    ],
)
def test_files_that_are_no_texts_are_refused_with_their_name(tmp_path, cache, content, level, told):
    with pytest.raises(ValueError, match=told):
        text.load(own(tmp_path, content), level)
    assert not list(cache.iterdir())


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"corpus": "ptbb"}, "corpus: expected one of ptb, .*or the path of a text file, got ptbb"),
        ({"level": "sentence"}, "level: expected one of word, character, .*got sentence"),
        ({"vocabulary_size": 0}, "vocabulary_size: expected a whole number ≥ 1, got 0"),
        ({"least_count": 1.5}, "least_count: expected a whole number ≥ 1, got 1.5"),
        ({"shares": (95, 90)}, "shares: expected two per cents"),
        ({"shares": (0, 50)}, "shares: expected two per cents"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, wrong, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        text.load(**({"corpus": own(tmp_path, STORY * 20)} | wrong))


def test_pieces_of_any_size_give_the_same_text(tmp_path, monkeypatch):
    path = own(tmp_path, "\n".join(lines(200)))
    whole = text.load(path, vocabulary_size=8)
    for piece in (1, 3, 64):
        monkeypatch.setattr(store, "PIECE", piece)
        monkeypatch.setenv("RECURLAB_CACHE", str(tmp_path / f"cache {piece}"))
        again = text.load(path, vocabulary_size=8)
        assert again.vocabulary == whole.vocabulary
        assert all(np.array_equal(a, b) for a, b in zip(again[3:], whole[3:], strict=True))


def test_a_text_is_read_once_and_again_when_its_bytes_change(tmp_path, cache, monkeypatch):
    path = own(tmp_path, "\n".join(lines(50)))
    first = text.load(path)
    monkeypatch.setattr(texts, "_make", None)
    again = text.load(path)
    assert np.array_equal(first.train, again.train) and len(list(cache.iterdir())) == 1
    for changed in ({"level": "character"}, {"vocabulary_size": 5}, {"least_count": 2}, {"shares": (80, 90)}):
        with pytest.raises(TypeError):  # it would be made anew
            text.load(path, **changed)
    own(tmp_path, "\n".join(lines(51)))
    with pytest.raises(TypeError):
        text.load(path)


def test_ids_are_mapped_and_writing_to_them_stays_here(tmp_path):
    path = own(tmp_path, "\n".join(lines(50)))
    found = text.load(path)
    base = found.train
    while not isinstance(base, np.memmap):
        base = base.base
    kept = found.train.copy()
    found.train[:] = 0
    assert np.array_equal(text.load(path).train, kept)


def test_who_comes_second_takes_what_is_there(tmp_path, cache):
    path = own(tmp_path, "\n".join(lines(3000)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: text.load(path), range(4)))
    assert len(list(cache.iterdir())) == 1
    assert all(np.array_equal(one.train, found[0].train) for one in found)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RECURLAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(PermissionError, match="file/texts: nothing can be written there"):
        text.load(own(tmp_path, STORY * 20))


def test_without_a_cache_of_its_own_a_text_goes_to_the_users(tmp_path, monkeypatch):
    monkeypatch.delenv("RECURLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.cache_folder() == tmp_path / "xdg" / "recurlab" / "texts"


# batches


def test_streams_lie_side_by_side_without_a_copy():
    ids = np.arange(23, dtype=np.int32)
    found = text.batched(ids, 5)
    assert found.shape == (4, 5) and np.shares_memory(found, ids)
    assert found[:, 2].tolist() == [8, 9, 10, 11]
    assert np.array_equal(text.batched(ids, 1)[:, 0], ids) and text.batched(ids, 23).shape == (1, 23)
    for rows in (0, 24):
        with pytest.raises(ValueError, match=f"^rows: expected 1 … 23.* got {rows}"):
            text.batched(ids, rows)


def test_sentences_end_with_their_end_and_are_filled_up_with_it():
    ids = np.array([4, 5, 0, 0, 6, 7, 8, 0, 9], np.int32)
    found = text.sentences(ids, 0)
    assert found.count == 4 and found.lengths.tolist() == [3, 1, 4, 1]
    columns, lengths = found.take([3, 0, 1])
    assert columns.T.tolist() == [[9, 0, 0], [4, 5, 0], [0, 0, 0]] and lengths.tolist() == [1, 3, 1]
    assert columns.dtype == np.int32
    whole = [found.take([i])[0][:, 0] for i in range(4)]
    assert np.array_equal(np.concatenate(whole), ids)
    assert text.sentences(ids[:4], 0).lengths.tolist() == [3, 1]
    assert text.sentences(ids[:2], 0).lengths.tolist() == [2]
    for wrong in ((ids, None), (ids[:0], 0)):
        with pytest.raises(ValueError, match="^ids: expected tokens with <eos>"):
            text.sentences(*wrong)


# the real corpora


def known(name, level="word", **settings):
    if not os.environ.get("RECURLAB_DATA"):
        pytest.skip("RECURLAB_DATA names no folder")
    return text.load(name, level, **settings)


@pytest.mark.data
@pytest.mark.parametrize(
    "name, sizes, ends, types",
    [
        ("ptb", (929_589, 73_760, 82_430), (42_068, 3_370, 3_761), 10_000),
        ("wikitext2", (2_088_628, 217_646, 245_569), (36_718, 3_760, 4_358), 33_278),
    ],
)
def test_word_corpora_have_their_known_sizes(name, sizes, ends, types):
    found = known(name)
    assert found.vocabulary.size == types and found.vocabulary.unknown is not None
    assert tuple(len(part) for part in found[3:]) == sizes
    assert tuple(int((part == found.vocabulary.end).sum()) for part in found[3:]) == ends


@pytest.mark.data
def test_characters_have_their_known_sizes():
    tiny = known("tinyshakespeare", "character")
    assert tiny.vocabulary.size == 65 and len(tiny.train) == 1_003_854 and len(tiny.valid) + len(tiny.test) == 111_540
    assert "".join(tiny.vocabulary.decode(tiny.train[:14])) == "First Citizen:"
    text8 = known("text8", "character")
    assert text8.vocabulary.size == 27 and sum(map(len, text8[3:])) == 6_800_000


@pytest.mark.data
def test_the_two_counts_of_shakespeare():
    works = known("shakespeare", "lower_case", shares=(100, 100))
    assert (len(works.train), works.vocabulary.size) == (955_564, 31_140)
    assert works.vocabulary.decode(works.train[:4]) == ["the", "sonnets", "from", "fairest"]
    tiny = known("tinyshakespeare", "words_and_marks", shares=(100, 100))
    assert (len(tiny.train), tiny.vocabulary.size) == (252_299, 14_564)
    pairs = np.unique(tiny.train[:-1].astype(np.int64) * tiny.vocabulary.size + tiny.train[1:])
    assert len(pairs) == 103_294
