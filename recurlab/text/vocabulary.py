"""Vocabularies: the types of a text, each with a number."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from recurlab.text.reading import END

UNKNOWN = "<unk>"  # stands for every type that the vocabulary lacks


class Vocabulary(NamedTuple):
    """V types and their ids 0 … V-1. Made by `vocabulary` or `choose`."""

    types: tuple[str, ...]
    ids: dict[str, int]

    @property
    def size(self) -> int:
        """V."""
        return len(self.types)

    @property
    def end(self) -> int | None:
        """The id of `<eos>`; None without it."""
        return self.ids.get(END)

    @property
    def unknown(self) -> int | None:
        """The id of `<unk>`; None without it."""
        return self.ids.get(UNKNOWN)

    def id_of(self, token: str) -> int:
        """The id of a token, or that of `<unk>`; ValueError that names the token if there is neither."""
        found = self.ids.get(token, self.unknown)
        if found is None:
            raise ValueError(f"token: expected one of the {self.size} types (without {UNKNOWN}), got {token!r}")
        return found

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """The ids of tokens, int32 (N,); see `id_of`."""
        return np.array([self.id_of(token) for token in tokens], np.int32)

    def decode(self, ids) -> list[str]:
        """The tokens of ids (N,); ValueError for one outside of 0 … V-1."""
        ids = np.asarray(ids)
        wrong = ids[(ids < 0) | (ids >= self.size)]
        if wrong.size:
            raise ValueError(f"ids: expected 0 … {self.size - 1}, got {wrong[0]}")
        return [self.types[i] for i in ids]


def vocabulary(types: Iterable[str]) -> Vocabulary:
    """The vocabulary of these types, in their order; ValueError for one that stands twice, or none."""
    types = tuple(types)
    ids = {token: i for i, token in enumerate(types)}
    if len(ids) < len(types) or not types:
        twice = next((token for i, token in enumerate(types) if ids[token] != i), "none")
        raise ValueError(f"types: expected different ones, at least one, got {twice!r}{' twice' * bool(types)}")
    return Vocabulary(types, ids)


def choose(counts: Mapping[str, int], size: int | None = None, least_count: int = 1) -> Vocabulary:
    """The vocabulary of a counted text: the most frequent types, at most `size` with `<unk>` and `<eos>`.

    `<unk>` is in it if the text has it or a type is left out, `<eos>` if the text has it; they come first, then the
    others by falling count, equal ones by name. A size above the number of types keeps all. ValueError for a size
    that has no room for any type of the text.
    """
    special = [token for token in (UNKNOWN, END) if token in counts]
    plain = sorted((token for token in counts if token not in special), key=lambda token: (-counts[token], token))
    kept = [token for token in plain if counts[token] >= least_count]
    room = len(kept) if size is None else size - len(special)
    if min(room, len(kept)) < len(plain) and UNKNOWN not in special:
        special.insert(0, UNKNOWN)
        room -= size is not None
    if room < 1 and kept:
        raise ValueError(f"vocabulary_size: expected at least {len(special) + 1}, {special} among them, got {size}")
    return vocabulary(special + kept[:room])
