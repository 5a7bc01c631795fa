r"""The ARPA format of back-off models, as SRILM and KenLM read and write it.

    \data\
    ngram 1=…                                   how many n-grams of each length
    \1-grams:
    log10 p <tab> word [<tab> log10 back]       -99 stands for log10 0
    …
    \end\

`<s>` and `</s>` are the beginning and the end of a sentence. Every word of the vocabulary is a unigram of the file,
whether it was seen or not.
"""

import hashlib
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from recurlab.files import write_bytes
from recurlab.layers.checks import expect
from recurlab.models.ngram.counting import BEGIN, grown, keys, lookup
from recurlab.models.ngram.model import Model, unigrams

ZERO = -99.0
LN10 = np.log(10)
MOST_WEIGHT = 99.0  # log10 of a back-off weight: those of real models are below 10
SUM = b"# sha256 of what follows: "  # KenLM skips lines that begin with #, SRILM all before \data\
FIRST, LAST = "<s>", "</s>"


def write_arpa(path, model: Model, words: Sequence[str]) -> None:
    """Write a model; words are the names of the ids 0 … V-1, that of the sentence end becomes </s>.

    ValueError for names that the format cannot hold, and for add-k, which backs off past all lengths between.
    """
    fits = model.order == 1 or not model.direct
    expect(fits, "model", "add-k", "a smoothing that backs off to the next shorter context")
    content = "".join(_lines(model, _names(model, words))).encode()
    write_bytes(path, SUM + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _names(model: Model, words: Sequence[str]) -> list[str]:
    """The names of the words, and of <s> as the last, which is where id -1 finds it."""
    names = [*words, FIRST]
    expect(len(words) == model.size, "words", len(words), f"{model.size} names, one for each id")
    if model.end is not None:
        names[model.end] = LAST
    expect(len(set(names)) == len(names), "words", "a name twice", "different names, none of them <s>")
    for name in names:
        expect(name.encode().split() == [name.encode()], "words", repr(name), "names without white space")
    return names


def _lines(model: Model, names: list[str]) -> Iterator[str]:
    """The lines of the file."""
    tree, p, back = model.trie, _shown(model.log_p), _shown(model.log_back)
    leaf = np.diff(tree.first) == 0
    entries = (model.size + int(tree.begins.any()), *model.entries[1:])
    yield "\\data\\\n" + "".join(f"ngram {k}={count}\n" for k, count in enumerate(entries, 1))
    yield "\n\\1-grams:\n"
    yield from _unigram_lines(model, names, leaf, back)
    parents, texts = tree.parents, [names[word] for word in tree.words[tree.level(1)]]
    for k in range(2, model.order + 1):
        yield f"\n\\{k}-grams:\n"
        above, level = tree.level(k - 1).start, tree.level(k)
        texts = [f"{texts[parents[n] - above]} {names[tree.words[n]]}" for n in range(level.start, level.stop)]
        for n, text in enumerate(texts, level.start):
            yield f"{p[n]:.10g}\t{text}\n" if leaf[n] else f"{p[n]:.10g}\t{text}\t{back[n]:.10g}\n"
    yield "\n\\end\\\n"


def _unigram_lines(model: Model, names: list[str], leaf: np.ndarray, back: np.ndarray) -> Iterator[str]:
    """<s>, then all words in the order of their ids."""
    nodes = {int(model.trie.words[n]): n for n in range(1, 1 + model.entries[0])}
    p = np.append(_shown(unigrams(model)), ZERO)  # of <s>, id -1
    for word in range(-1 if BEGIN in nodes else 0, model.size):
        node = nodes.get(word)
        weight = "" if node is None or leaf[node] else f"\t{back[node]:.10g}"
        yield f"{p[word]:.10g}\t{names[word]}{weight}\n"


def _shown(logs: np.ndarray) -> np.ndarray:
    """Natural logarithms as decimal ones, -99 for ln 0."""
    return np.where(np.isneginf(logs), ZERO, logs / LN10)


def read_arpa(path) -> tuple[Model, tuple[str, ...]]:
    """The model in a file, and the names of its words in the order of the ids; the file is read line by line.

    The protocol is "reset" if the file has <s> and </s>. ValueError with the number of the line and what is wrong
    there: other numbers of entries than in the header, no number, a word that is no unigram, an entry twice, an n-gram
    whose first words are no entry, names that are not UTF-8, an end that comes too early; and for a file of
    `write_arpa` that is not as it was written.
    """
    with open(path, "rb") as file:
        reader = _Reader(path, file)
        sections = reader.sections()
        reader.end()
    names = reader.names
    end = names.index(LAST) if FIRST.encode() in reader.ids and LAST in names else None
    return _assembled(reader, sections, len(names), end), tuple(names)


class Section(NamedTuple):
    """The entries of one length as they stand in the file."""

    words: np.ndarray  # ids, (n, k)
    log_p: np.ndarray  # natural logarithms, (n,)
    log_back: np.ndarray  # (n,)
    lines: np.ndarray  # the number of each line, (n,)


class _Reader:
    """The lines of a file that are not empty, split at white space; what is wrong is refused with its line."""

    def __init__(self, path, file):
        self.path, self.number, self.ids, self.names = path, 0, {}, []
        self.told, self.sum = None, hashlib.sha256()
        lines = enumerate(self.summed(file), 1)
        self.lines = ((number, fields) for number, line in lines if (fields := line.split()))

    def summed(self, file) -> Iterator[bytes]:
        """The lines of the file; those behind a line SUM enter its SHA-256."""
        for line in file:
            if self.told is not None:
                self.sum.update(line)
            elif line.startswith(SUM):
                self.told = line.removeprefix(SUM).strip().decode(errors="replace")
            yield line

    def end(self) -> None:
        """All that is left of the file, which may be anything where no sum is told."""
        for _ in self.lines:
            pass
        if self.told not in (None, self.sum.hexdigest()):
            raise ValueError(f"{self.path}: its SHA-256 is not the one in its first line: it was damaged or changed")

    def refuse(self, wrong: str, number: int | None = None) -> NoReturn:
        raise ValueError(f"{self.path}, line {self.number if number is None else number}: {wrong}")

    def next(self, wanted: str) -> list[bytes]:
        """The fields of the next line."""
        self.number, fields = next(self.lines, (self.number + 1, []))
        return fields or self.refuse(f"expected {wanted}, found the end of the file")

    def heading(self, wanted: str) -> None:
        """The next line is this heading."""
        fields = self.next(wanted)
        if fields != [wanted.encode()]:
            self.refuse(f"expected {wanted}, found {_text(fields)}")

    def sections(self) -> list[Section]:
        """All there is, from \\data\\ to \\end\\; what stands before does not count."""
        while self.next("\\data\\") != [b"\\data\\"]:
            pass
        entries = self.entries()
        found = []
        for k, count in enumerate(entries, 1):
            if k > 1:
                self.heading(f"\\{k}-grams:")
            found.append(self.section(k, count, k == len(entries)))
        self.heading("\\end\\")
        return found

    def entries(self) -> list[int]:
        """How many entries each length has; the heading of the first is read, too."""
        entries = []
        while (fields := self.next("\\1-grams:")) != [b"\\1-grams:"]:
            line = re.fullmatch(rb"ngram (\d{1,9}) ?= ?(\d{1,12})", b" ".join(fields))
            if not line or int(line[1]) != len(entries) + 1:
                self.refuse(f"expected ngram {len(entries) + 1}=COUNT or \\1-grams:, found {_text(fields)}")
            entries.append(int(line[2]))
        return entries or self.refuse("expected ngram 1=COUNT before \\1-grams:")

    def section(self, k: int, count: int, longest: bool) -> Section:
        """The entries of length k."""
        words, log_p, log_back, lines = array("i"), array("d"), array("d"), array("q")
        wanted = f"one of {count} entries: log10 p, {k} words" + ", log10 back or nothing" * (not longest)
        for _ in range(count):
            fields = self.next(wanted)
            if len(fields) not in ((k + 1,) if longest else (k + 1, k + 2)):
                self.refuse(f"expected {wanted}; found {_text(fields)}")
            words.extend(map(self.new_word if k == 1 else self.word, fields[1 : k + 1]))
            log_p.append(self.logarithm(fields[0], "probability", 1e-6))
            log_back.append(self.logarithm(fields[k + 1], "weight", MOST_WEIGHT) if len(fields) == k + 2 else 0.0)
            lines.append(self.number)
        return Section(np.array(words, np.int32).reshape(count, k), *map(np.array, (log_p, log_back, lines)))

    def logarithm(self, field: bytes, what: str, most: float) -> float:
        """A natural logarithm."""
        try:
            value = float(field)
        except ValueError:
            value = np.nan
        if not value <= most:
            self.refuse(f"expected log10 of a {what}, found {_text([field])}")
        return value * LN10 if value > ZERO else -np.inf

    def new_word(self, name: bytes) -> int:
        """The id of a unigram: they are numbered as they come, <s> apart."""
        if name in self.ids:
            self.refuse(f"{_text([name])} is there twice")
        try:
            text = name.decode()
        except UnicodeDecodeError:
            self.refuse(f"expected a name in UTF-8, found {name!r}")
        self.ids[name] = BEGIN if text == FIRST else len(self.names)
        if text != FIRST:
            self.names.append(text)
        return self.ids[name]

    def word(self, name: bytes) -> int:
        """The id of a word in a longer n-gram."""
        return self.ids[name] if name in self.ids else self.refuse(f"{_text([name])} is no unigram of the file")


def _text(fields: list[bytes]) -> str:
    """Fields of a line for a message."""
    return b" ".join(fields).decode(errors="replace")


def _assembled(reader: _Reader, sections: list[Section], size: int, end: int | None) -> Model:
    """The model of the entries, sorted into a tree."""
    words, contexts, known, log_p, log_back = [np.array([BEGIN], np.int32)], [], [], [[-np.inf]], [[0.0]]
    for section in sections:
        context = _contexts(reader, section, known)
        numbers = keys(context, section.words[:, -1])
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        twice = np.flatnonzero(numbers[1:] == numbers[:-1])
        if twice.size:
            reader.refuse("the entry is there twice", section.lines[order[twice[0] + 1]])
        for parts, values in (words, section.words[:, -1]), (log_p, section.log_p), (log_back, section.log_back):
            parts.append(values[order])
        contexts.append(context[order])
        known.append(numbers)
    return Model(grown(words, contexts), np.concatenate(log_p), np.concatenate(log_back), size, end)


def _contexts(reader: _Reader, section: Section, known: list[np.ndarray]) -> np.ndarray:
    """The node of all words but the last of each entry, from the sorted numbers of the nodes of each shorter length."""
    node, start = np.zeros(len(section.lines), np.int64), 1
    for word, numbers in zip(section.words.T, known, strict=False):
        place = lookup(numbers, keys(node, word))
        if (place < 0).any():
            reader.refuse(f"its first {len(known)} words are no entry", section.lines[place < 0][0])
        node, start = place + start, start + len(numbers)
    return node
