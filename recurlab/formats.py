"""What is in a file of data: idx, MATLAB cells, tables of numbers. `name` is what messages call the content."""

import csv
import io
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

MOST_AXES = 4  # of an idx file; images have 3
MATRIX, COMPRESSED, CELL = 14, 15, 1  # types of elements of a MATLAB file, and the class of a cell array
NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
MOST_INFLATED = 2**28  # bytes of a variable; Nottingham has 6 million


def idx(content: bytes, name) -> np.ndarray:
    """The array of an idx file of unsigned bytes: 0, 0, 8, number of axes, sizes as big-endian 32-bit words, data."""
    axes = content[3] if len(content) > 3 else 0
    header = 4 + 4 * axes
    if content[:3] != b"\0\0\x08" or not 1 <= axes <= MOST_AXES or len(content) < header:
        raise ValueError(f"{name}: not an idx file of unsigned bytes with 1 to {MOST_AXES} axes")
    shape = tuple(np.frombuffer(content, ">u4", axes, offset=4).tolist())
    if len(content) - header != math.prod(shape):  # np.prod would wrap around
        raise ValueError(f"{name}: {len(content) - header} bytes of data for an array of shape {shape}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def mat_cells(content: bytes, name, keys) -> dict[str, list[np.ndarray]]:
    """The cell arrays of numbers in a MATLAB file (level 5, little-endian) as lists of arrays.

    Nothing is made that the file does not hold: SciPy's reader, which takes every file, makes an array of 2 GB of 200
    bytes that say so.
    """
    try:
        found = {key: cells if key in keys else None for key, cells in _variables(content)}
        cells = {key: [_numbers(*cell) for cell in found[key]] for key in keys if found.get(key)}
    except (ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{name}: not a whole MATLAB file ({error})") from None
    if len(cells) < len(keys):
        raise ValueError(f"{name}: expected cell arrays {', '.join(keys)}, found {', '.join(found) or 'none'}")
    return cells


def _variables(content: bytes) -> Iterator[tuple[str, list | None]]:
    """Name and cells, (type, data) each, of every variable; None for what is no cell array."""
    if content[124:128] != b"\0\1IM":
        raise ValueError("no header of level 5, little-endian")
    for kind, data in _elements(content[128:]):
        inner = _inflated(data) if kind == COMPRESSED else [(kind, data)]
        for matrix in inner:
            what, shape, name, parts = _matrix(*matrix)
            if what == CELL and len(parts) != math.prod(shape):
                raise ValueError(f"{len(parts)} cells for an array of shape {shape}")
            yield name, parts if what == CELL else None


def _inflated(data: bytes) -> list[tuple[int, bytes]]:
    """The elements that are packed in one."""
    packed = zlib.decompressobj()
    content = packed.decompress(data, MOST_INFLATED)
    if not packed.eof:
        raise ValueError(f"cut off, or more than {MOST_INFLATED:,} bytes decompressed")
    return list(_elements(content))


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, data) of the elements one after the other; a short one has its data in its tag."""
    place = 0
    while place < len(content):
        kind, size = struct.unpack_from("<II", content, place)
        start, fill = (place + 4, -(kind >> 16) % 4) if kind >> 16 else (place + 8, -size % 8)
        kind, size = (kind & 0xFFFF, kind >> 16) if kind >> 16 else (kind, size)
        if start + size > len(content):
            raise ValueError(f"{size} bytes at {start}, and there are {len(content)}")
        yield kind, content[start : start + size]
        place = start + size + (0 if kind == COMPRESSED else fill)


def _matrix(kind: int, data: bytes) -> tuple[int, tuple[int, ...], str, list]:
    """Class, shape, name and the elements behind them of an array."""
    heads = list(_elements(data))
    if kind != MATRIX or [head for head, _ in heads[:3]] != [6, 5, 1]:
        raise ValueError("an element that is no array")
    (_, flags), (_, sizes), (_, name), *parts = heads
    shape = struct.unpack(f"<{len(sizes) // 4}i", sizes)
    return flags[0] if flags else 0, shape, name.decode("ascii"), parts


def _numbers(kind: int, data: bytes) -> np.ndarray:
    """An array of real numbers, in the type in which they are stored."""
    _, shape, _, parts = _matrix(kind, data)
    if len(parts) != 1 or parts[0][0] not in NUMBERS or min(shape, default=-1) < 0:
        raise ValueError("a cell that is no array of real numbers")
    return np.frombuffer(parts[0][1], NUMBERS[parts[0][0]]).reshape(shape, order="F")


def column(content: bytes, name, number: int) -> np.ndarray:
    """A column of numbers of a comma-separated file whose first line holds names; NaN and infinity are refused."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name}: not a table of text ({error})") from None
    return np.array([_number(line, f"{name}, line {i}", number) for i, line in enumerate(lines[1:], 2) if line])


def _number(line: list[str], place: str, number: int) -> float:
    """A finite number in a field of a line."""
    field = line[number] if number < len(line) else ""
    try:
        value = float(field)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{place}: expected a finite number in column {number + 1}, found {field!r}")
    return value
