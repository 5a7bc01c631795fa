"""Ways to damage a file: bytes, lines, trees of JSON and YAML, archives. Each takes the content and a source of chance.

`chance` is a random.Random, or hypothesis's stand-in for one, which finds the smallest damage that shows a fault.
"""

import gzip
import io
import json
import struct
import warnings
import zipfile

SIZES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
ESCAPES = ("../../escaped", "/etc/passwd", "..", ".", "", "a/../../b", "~", "\0", "x" * 5000, "con\nfig")
NUMBERS = ("1e999", "-1e999", "nan", "inf", "-0", "1" * 30, "1" * 5000, "-1", "0", "1e-400", "0x10", "1_0", "½")
VALUES = (None, True, 0, -1, 2**63, 2**200, 1.5, float("nan"), float("inf"), "", "x", [], [[]], {}, {"a": 1}, *ESCAPES)


# bytes


def _span(content: bytes, chance, most: int = 64) -> tuple[int, int]:
    """A piece of at most `most` bytes, from and to."""
    start = chance.randrange(len(content) + 1)
    return start, min(len(content), start + chance.randrange(most + 1))


def flip(content: bytes, chance) -> bytes:
    if not content:
        return b"\1"
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def truncate(content: bytes, chance) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def drop(content: bytes, chance) -> bytes:
    start, end = _span(content, chance)
    return content[:start] + content[end:]


def repeat(content: bytes, chance) -> bytes:
    start, end = _span(content, chance)
    return content[:end] + content[start:end] * chance.choice((1, 2, 50)) + content[end:]


def move(content: bytes, chance) -> bytes:
    """A piece in another place."""
    start, end = _span(content, chance)
    rest = content[:start] + content[end:]
    place = chance.randrange(len(rest) + 1)
    return rest[:place] + content[start:end] + rest[place:]


def blank(content: bytes, chance) -> bytes:
    """A piece of zeros or ones, as a disk leaves a block that was never written."""
    start, end = _span(content, chance, 4096)
    return content[:start] + chance.choice((b"\0", b"\xff")) * (end - start) + content[end:]


def resize(content: bytes, chance) -> bytes:
    """A whole number of 4 or 8 bytes becomes an extreme one: sizes, offsets and counts are such."""
    form = chance.choice(("<I", ">I", "<Q", ">Q"))
    number = struct.pack(form, chance.choice(SIZES) % 2 ** (8 * struct.calcsize(form)))
    place = chance.randrange(len(content) + 1)
    return content[:place] + number + content[place + len(number) :]


def insert(content: bytes, chance) -> bytes:
    piece = chance.choice(
        (b"\0", b"\n", b" ", b"\xff\xfe", b"\xed\xa0\x80", b"PK\x03\x04", b"\x1f\x8b", b"-", b"9" * 99)
    )
    place = chance.randrange(len(content) + 1)
    return content[:place] + piece + content[place:]


BYTES = (flip, flip, truncate, drop, repeat, move, blank, resize, insert)


# lines and words


def lines(content: bytes, chance) -> bytes:
    """A line more, less, twice or elsewhere."""
    rows = content.split(b"\n")
    place, row = chance.randrange(len(rows)), chance.choice(rows)
    change = chance.randrange(4)
    rows[place : place + (change != 0)] = [[row], [], [rows[place]] * 2, [row, rows[place]]][change]
    return b"\n".join(rows)


def words(content: bytes, chance) -> bytes:
    """A word becomes an extreme number, a path or another word."""
    rows = content.split(b" ")
    rows[chance.randrange(len(rows))] = chance.choice((*NUMBERS, *ESCAPES, rows[0].decode(errors="replace"))).encode()
    return b" ".join(rows)


def endless(content: bytes, chance) -> bytes:
    """Very long: one line without a space, or one short line very often."""
    return chance.choice((b"x" * 200_000, b"[" * 50_000, b"a b\n" * 20_000, b"\n" * 50_000))


TEXT = (lines, words, endless)


# trees


def places(tree, path=()) -> list[tuple]:
    """The ways to all values of a tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(tree, path: tuple, value):
    """The tree with another value at the end of a way."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = changed(tree[path[0]], path[1:], value)
    return copy


def regrown(tree, chance):
    """A value of a tree becomes another one, moves elsewhere, or gets an unknown key."""
    path, other = chance.choice(places(tree)), chance.choice(places(tree))
    value = tree
    for key in other:
        value = value[key]
    new = chance.choice((*VALUES, value, {chance.choice(("x", "..", "0")): value}, [value] * 2, [value] * 1000))
    return changed(tree, path, new)


def json_tree(content: bytes, chance) -> bytes:
    try:
        return json.dumps(regrown(json.loads(content), chance)).encode()
    except (ValueError, RecursionError):
        return content + b"}"


def json_text(content: bytes, chance) -> bytes:
    """A key twice, or a nesting without end."""
    return chance.choice((content.replace(b"{", b'{"a": 1, "a": 2, ', 1), b'{"a":' * 5000, b"[" * 100_000))


JSON = (json_tree, json_tree, json_text)


# containers


def safetensors_header(content: bytes, chance) -> bytes:
    """The header of a safetensors file with another tree, and its right length."""
    size = struct.unpack("<Q", content[:8].ljust(8, b"\0"))[0]
    header = json_tree(content[8 : 8 + size], chance)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def zip_members(content: bytes, chance) -> bytes:
    """Members of an archive with other names, twice, or blown up."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
        return content
    sink = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members:
            archive.writestr(
                chance.choice((name, name, "../../escaped.npy", "update.npy")), chance.choice((value, b""))
            )
    return sink.getvalue()


def bomb(content: bytes, chance) -> bytes:
    """A few kB of gzip that are many MB of zeros, in several members."""
    return gzip.compress(b"\0" * 2**22, 1) * chance.choice((1, 5))


def damaged(content: bytes, chance, ways=BYTES) -> bytes:
    """The content after one to three damages."""
    for _ in range(chance.randrange(1, 4)):
        content = chance.choice(ways)(content, chance)
    return content
