"""Texts as token ids: reading in a stream, vocabularies, ids on disk, and batches of them."""

from recurlab.text.batches import Sentences, batched, sentences
from recurlab.text.reading import END, LEVELS
from recurlab.text.texts import SHARES, TEXTS, Source, Text, load
from recurlab.text.vocabulary import UNKNOWN, Vocabulary, choose, vocabulary

__all__ = [
    "END",
    "LEVELS",
    "SHARES",
    "TEXTS",
    "UNKNOWN",
    "Sentences",
    "Source",
    "Text",
    "Vocabulary",
    "batched",
    "choose",
    "load",
    "sentences",
    "vocabulary",
]
