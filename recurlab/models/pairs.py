"""Pairs of sentences as ids, and the positions (t, b) of a side that count: not those behind the end of a sentence."""

from typing import NamedTuple

import numpy as np

from recurlab.layers.checks import expect


class Pairs(NamedTuple):
    """B sentence pairs as ids. Both sides end with `<eos>` and are filled up with it; without R all replicas share."""

    source: np.ndarray  # ([R,] Ts, B)
    source_lengths: np.ndarray  # (B,), with `<eos>`
    target: np.ndarray  # ([R,] Tt, B)
    target_lengths: np.ndarray  # (B,), with `<eos>`


def check_lengths(side: str, ids: np.ndarray, lengths: np.ndarray) -> None:
    """ValueError unless there is a length for each row, from 1 to T, and T is one of them."""
    name, (steps, rows) = f"{side}_lengths", ids.shape[-2:]
    expect(np.shape(lengths) == (rows,), name, f"shape {np.shape(lengths)}", f"one for each of {rows} rows")
    there = lengths.min() >= 1 and lengths.max() == steps
    expect(there, name, f"{lengths.min()} … {lengths.max()}", f"from 1 on, the longest T = {steps}")


def within(lengths: np.ndarray) -> np.ndarray:
    """Which positions count, (T, B)."""
    return np.arange(lengths.max())[:, None] < lengths


def counted(array: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The positions that count in order of time and row: (R, T, B, H) -> (R, N, H), words ([R,] T, B) -> ([R,] N)."""
    return array[:, within(lengths)] if array.ndim == 4 else array[..., within(lengths)]


def placed(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The other way round, with zeros elsewhere: (R, N, H) -> (R, T, B, H)."""
    there = within(lengths)
    out = np.zeros((len(values), *there.shape, values.shape[-1]), values.dtype)
    out[:, there] = values
    return out


def spread(mask: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Factors of rows (R, 1, B, H) at the positions that count, (R, N, H)."""
    _, rows = np.nonzero(within(lengths))
    return mask[:, 0, rows]
