"""What is in a file of data: idx, MATLAB cells, tables of numbers. `name` is what messages call the content."""

import csv
import io

import numpy as np


def idx(content: bytes, name) -> np.ndarray:
    """The array of an idx file of unsigned bytes: 0, 0, 8, number of axes, sizes as big-endian 32-bit words, data."""
    axes = content[3] if len(content) > 3 else 0
    header = 4 + 4 * axes
    if content[:3] != b"\0\0\x08" or len(content) < header:
        raise ValueError(f"{name}: not an idx file of unsigned bytes")
    shape = tuple(np.frombuffer(content, ">u4", axes, offset=4).tolist())
    if len(content) - header != np.prod(shape):
        raise ValueError(f"{name}: {len(content) - header} bytes of data for an array of shape {shape}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def mat_cells(content: bytes, name, keys) -> dict[str, list[np.ndarray]]:
    """The cell arrays of a MATLAB file as lists of arrays."""
    from scipy.io import loadmat

    try:
        found = loadmat(io.BytesIO(content))
    except Exception as error:  # a damaged file raises nearly anything, from struct.error to MemoryError
        raise ValueError(f"{name}: not a whole MATLAB file ({error})") from None
    if not all(isinstance(found.get(key), np.ndarray) and found[key].dtype.hasobject for key in keys):
        raise ValueError(f"{name}: expected cell arrays {', '.join(keys)}, found {', '.join(found) or 'none'}")
    return {key: list(found[key].ravel()) for key in keys}


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
