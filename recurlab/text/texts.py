"""Texts as token ids: known corpora by name, and any file of your own by its path."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from recurlab import corpora, files
from recurlab.text import store
from recurlab.text.reading import END, LEVELS, decoded
from recurlab.text.vocabulary import UNKNOWN, Vocabulary, choose

SHARES = (90, 95)  # per cent of a text at the ends of training and validation


class Text(NamedTuple):
    """Three streams of token ids, int32 (N,), and what the ids mean."""

    name: str
    level: str  # of LEVELS
    vocabulary: Vocabulary
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


class Source(NamedTuple):
    """A known corpus: one file that is split, or those of training, validation and test."""

    name: str
    source: str
    says: str
    body: Callable[[bytes], bytes] = bytes  # which bytes of a file are text

    @property
    def files(self) -> tuple[str, ...]:
        """Names of corpora.FILES."""
        return corpora.FILES_OF[self.name]


class Settings(NamedTuple):
    """What decides the ids of a text but for its bytes."""

    level: str
    vocabulary_size: int | None
    least_count: int
    shares: tuple[int, int]


def _works(content: bytes) -> bytes:
    """The works alone: from the first sonnet, behind the contents, to the note that closes the book."""
    return content[content.rindex(b"THE SONNETS") : content.rindex(b"* CONTENT NOTE")]


_KNOWN = (
    Source(
        "ptb",
        "Marcus, Santorini & Marcinkiewicz 1993 as prepared by Mikolov 2010",
        "Wall Street Journal, one sentence a line, 10,000 types with <unk> and <eos>",
    ),
    Source(
        "wikitext2",
        "Merity, Xiong, Bradbury & Socher 2016",
        "articles of Wikipedia, one paragraph a line, 33,278 types with <unk> and <eos>",
    ),
    Source("tinyshakespeare", "Karpathy 2015", "1,115,394 characters of plays, 65 kinds"),
    Source(
        "shakespeare",
        "Project Gutenberg eBook 100, edition of June 14, 2018",
        "the complete works, without the contents before and the notes behind them",
        _works,
    ),
    Source("text8", "Mahoney 2006", "the first 6,800,000 characters of text8, a-z and space, one line"),
)
TEXTS = {source.name: source for source in _KNOWN}


def load(
    corpus: str,
    level: str = "word",
    vocabulary_size: int | None = None,
    least_count: int = 1,
    shares: tuple[int, int] = SHARES,
) -> Text:
    """A text of TEXTS, or of the UTF-8 file at a path, as token ids that are mapped from the disk (see `store`).

    The vocabulary is that of the training part, see `vocabulary.choose`. A corpus of one file is split at `shares` per
    cent, rounded down: of the lines (level word), or of the tokens (other levels). ValueError for a wrong argument, a
    file that is not there, is empty, not UTF-8 or too short to be split, and for a token that neither training nor
    `<unk>` covers.
    """
    settings = Settings(level, vocabulary_size, least_count, shares)
    _check(corpus, settings)
    known = TEXTS.get(corpus)
    name, paths = (corpus, known.files) if known else (Path(corpus).stem, (corpus,))
    sums = [corpora.FILES[path].sha256 if known else files.sha256(path) for path in paths]
    place = store.folder_of(name, {"files": sums, "settings": settings})
    if not place.is_dir():
        _make(place, known, paths, settings)
    types, parts = store.read(place)
    return Text(name, level, types, *parts)


def _check(corpus: str, settings: Settings) -> None:
    """ValueError that names the first wrong argument."""
    level, vocabulary_size, least_count, (first, second) = settings
    known = f"one of {', '.join(TEXTS)}, or the path of a text file"
    _expect(corpus in TEXTS or Path(corpus).is_file(), "corpus", corpus, known)
    _expect(level in LEVELS, "level", level, f"one of {', '.join(LEVELS)}")
    sizes = {"least_count": least_count} | ({} if vocabulary_size is None else {"vocabulary_size": vocabulary_size})
    for name, value in sizes.items():
        _expect(isinstance(value, int | np.integer) and value >= 1, name, value, "a whole number ≥ 1")
    _expect(0 < first <= second <= 100, "shares", settings.shares, "two per cents, 0 < first ≤ second ≤ 100")


def _expect(condition: bool, name: str, came, wanted: str) -> None:
    """The ValueError of the house unless the condition holds (layers.checks stands on a higher floor)."""
    if not condition:
        raise ValueError(f"{name}: expected {wanted}, got {came}")


def _open(known: Source | None, path: str) -> BinaryIO:
    """The bytes of a file that are text."""
    return io.BytesIO(known.body(corpora.read(path))) if known else open(path, "rb")


def _make(place: Path, known: Source | None, paths: tuple[str, ...], settings: Settings) -> None:
    """Read a text once and write its ids: first numbers in the order of appearance, then ids by the vocabulary."""
    numbers: dict[str, int] = {}
    with store.workshop() as work:
        parts = []
        for i, path in enumerate(paths):
            with _open(known, path) as file:
                blocks = LEVELS[settings.level](decoded(file))
                parts.append(_numbered(path, Path(work, str(i)), blocks, numbers))
            _expect(len(parts[-1]) > 0, path, "none", f"tokens of the level {settings.level}")
        if len(paths) == 1:
            parts = _split(paths[0], parts[0], numbers.get(END), settings)
        types, lookup = _vocabulary(known.name if known else paths[0], numbers, parts, settings)
        store.write(place, Path(work), types, parts, lookup)


def _numbered(path: str, place: Path, blocks, numbers: dict[str, int]) -> np.ndarray:
    """`store.numbered`; what is wrong with the text is told with its path."""
    try:
        return store.numbered(place, blocks, numbers)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _split(path: str, ids: np.ndarray, end: int | None, settings: Settings) -> list[np.ndarray]:
    """Training, validation and test part of a text; ValueError if one that should have a share would be empty."""
    lines, shares = settings.level == "word", settings.shares
    count = sum(int((piece == end).sum()) for piece in store.pieces(ids)) if lines else len(ids)
    borders = [share * count // 100 for share in shares]
    if lines:
        borders = [_after_line(ids, end, line) for line in borders]
    parts = np.split(ids, borders)
    asked = (shares[0], shares[1] - shares[0], 100 - shares[1])
    enough = all(len(part) > 0 for part, share in zip(parts, asked, strict=True) if share)
    unit = "lines" if lines else "tokens"
    _expect(enough, path, f"{count} {unit}", f"enough {unit} for parts of {asked[0]}, {asked[1]} and {asked[2]} %")
    return parts


def _after_line(ids: np.ndarray, end: int, line: int) -> int:
    """How many tokens the first `line` lines have."""
    start = 0
    for piece in store.pieces(ids):
        ends = np.flatnonzero(piece == end)
        if line <= len(ends):
            return start + (int(ends[line - 1]) + 1 if line else 0)
        line, start = line - len(ends), start + len(piece)
    return start


def _vocabulary(name: str, numbers: dict[str, int], parts, settings: Settings) -> tuple[Vocabulary, np.ndarray]:
    """The vocabulary of the training part and the id of every number; ValueError for a token that has none."""
    counts = store.counted(parts[0], len(numbers))
    seen = {token: int(counts[number]) for token, number in numbers.items() if counts[number]}
    types = choose(seen, settings.vocabulary_size, settings.least_count)
    lost = next((token for token in numbers if token not in seen), None)
    if types.unknown is None and lost is not None:
        remedy = f"a larger least_count or a smaller vocabulary_size makes rare types {UNKNOWN}, which stands for it"
        raise ValueError(f"{name}: {lost!r} does not occur in the training part; {remedy}")
    unknown = -1 if types.unknown is None else types.unknown
    return types, np.array([types.ids.get(token, unknown) for token in numbers], np.int32)
