"""Windows of parallel streams, sentences that begin anew, and the place of a word in its sentence."""

import numpy as np
import pytest

from recurlab.models.words import positions_in_sentence, sentence_words, streams
from recurlab.text import sentences


def test_windows_of_an_epoch_follow_one_another_in_every_part():
    tokens = np.arange(100, 137, dtype=np.int32)  # three parts of 12, one token left out
    cut = streams(tokens, 3, 4)
    assert cut.updates == 2  # 11 targets of a part: two windows of 4
    for update in range(5):
        words, place = cut.take(update), update % 2
        for b in range(3):
            first = 100 + 12 * b + 4 * place
            assert words.ids[:, b].tolist() == list(range(first, first + 4))
            assert words.targets[:, b].tolist() == list(range(first + 1, first + 5))
        assert words.fresh == (place == 0) and words.lengths is None


@pytest.mark.parametrize(
    ("rows", "steps", "told"), [(3, 12, "steps"), (38, 1, "rows"), (0, 1, "rows"), (1, 0, "steps")]
)
def test_texts_that_are_too_short_are_refused(rows, steps, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        streams(np.arange(37), rows, steps)


def test_a_mapped_text_is_read_window_by_window(tmp_path):
    np.arange(50, dtype=np.int32).tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", np.int32, "r")
    cut = streams(mapped, 2, 3)
    assert np.shares_memory(cut.columns, mapped) and not np.shares_memory(cut.take(1).ids, mapped)


def test_before_a_sentence_stands_its_end_and_behind_it_too():
    tokens = np.array([5, 6, 1, 1, 7, 8], np.int32)  # the last sentence breaks off
    words = sentence_words(sentences(tokens, 1), [0, 2, 1])
    assert words.lengths.tolist() == [3, 2, 1] and words.fresh
    assert words.ids[:, 0].tolist() == [1, 5, 6] and words.targets[:, 0].tolist() == [5, 6, 1]
    assert words.ids[:2, 1].tolist() == [1, 7] and words.targets[:2, 1].tolist() == [7, 8]
    assert words.ids[0, 2] == 1 and words.targets[0, 2] == 1


def test_positions_count_from_the_last_sentence_end():
    assert positions_in_sentence(np.array([5, 6, 1, 1, 7, 8, 1, 9]), 1).tolist() == [0, 1, 2, 0, 0, 1, 2, 0]
