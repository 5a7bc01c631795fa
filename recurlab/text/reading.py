"""Reading text in a stream: blocks of characters, then tokens. No more than a block is ever held.

A block of tokens is a list of texts. Levels differ in what a token is; `LEVELS` has them by name.
"""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

BLOCK = 2**20  # bytes read at a time
END = "<eos>"  # stands at the end of every line
_LETTERS = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_WORDS_AND_MARKS = re.compile(r"[A-Za-z']+|[^\sA-Za-z']")
_SPACES = " \n\t"  # where blocks may be cut
LONGEST = 2**22  # characters without a space; a longer run would be copied with every block and held in memory


def decoded(file: BinaryIO, block: int = BLOCK) -> Iterator[str]:
    r"""The characters of a UTF-8 file, block by block; every line end is \n, a byte order mark is left out.

    ValueError that names the first byte that is no UTF-8.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    read, content = 0, b"more"
    while content:
        content = file.read(block)
        read += len(content)
        try:
            text = decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            at = read - len(error.object) + error.start  # what an earlier block left over stands before the block
            raise ValueError(f"byte {at} is not UTF-8 ({error.reason}); wanted a text in UTF-8") from None
        if text:
            yield text


def _cut_at_spaces(blocks: Iterator[str]) -> Iterator[str]:
    """The same text in blocks such that no word lies in two of them."""
    rest = ""
    for block in blocks:
        block = rest + block
        cut = 1 + max(block.rfind(space) for space in _SPACES)
        rest = block[cut:]
        if len(rest) > LONGEST:
            raise ValueError(f"more than {LONGEST:,} characters without a space; wanted a text of words")
        if cut:
            yield block[:cut]
    if rest:
        yield rest


def words(blocks: Iterator[str]) -> Iterator[list[str]]:
    """Words between white space, and `<eos>` at the end of every line, also of an empty one."""
    last = "\n"
    for block in _cut_at_spaces(blocks):
        last = block[-1]
        yield block.replace("\n", f" {END} ").split()
    if last != "\n":
        yield [END]


def characters(blocks: Iterator[str]) -> Iterator[list[str]]:
    """Characters; a line end is one of them."""
    return map(list, blocks)


def lower_case(blocks: Iterator[str]) -> Iterator[list[str]]:
    """Runs of the letters a-z, apostrophes and hyphens inside them, all in lower case."""
    for block in _cut_at_spaces(blocks):
        yield _LETTERS.findall(block.lower().replace("’", "'"))


def words_and_marks(blocks: Iterator[str]) -> Iterator[list[str]]:
    """Runs of letters and apostrophes, case kept, and every other mark by itself."""
    for block in _cut_at_spaces(blocks):
        yield _WORDS_AND_MARKS.findall(block)


LEVELS: dict[str, Callable[[Iterator[str]], Iterator[list[str]]]] = {
    "word": words,
    "character": characters,
    "lower_case": lower_case,
    "words_and_marks": words_and_marks,
}
