"""Data from outside: where files are looked for, what is refused, and the datasets made of them."""

import gzip
import hashlib
import os
import struct

import numpy as np
import pytest
import requests
from scipy.io import savemat

from recurlab import corpora, formats
from recurlab.cli import main
from recurlab.layers.recurrent import recurrent
from recurlab.models.gradients import loss_and_gradients
from recurlab.models.sequence import network, readout
from recurlab.tasks import DATASETS, TASKS, characters, given, images, music
from recurlab.tasks.grammar import GRAMMARS
from recurlab.text import TEXTS
from recurlab.weights import init

CONTENT = b"one\ntwo\n"
NAME = "shelf/words.txt"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A known file, an empty data folder and an empty cache; nothing may be fetched."""
    monkeypatch.setitem(corpora.FILES, NAME, corpora.Corpus("https://example.org/words.txt", digest(CONTENT)))
    (tmp_path / "data" / "shelf").mkdir(parents=True)
    monkeypatch.setenv("RECURLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RECURLAB_DOWNLOAD", raising=False)
    monkeypatch.setattr(requests.Session, "request", refused)
    return tmp_path


def refused(*_, **__):
    raise AssertionError("something was fetched")


def digest(content):
    return hashlib.sha256(content).hexdigest()


def put(shelf, content, name=NAME):
    (shelf / "data" / name).write_bytes(content)


# finding files


def test_a_file_is_read_from_the_folder(shelf):
    put(shelf, CONTENT)
    assert corpora.read(NAME) == CONTENT
    corpora.require([NAME])


def test_a_file_may_stand_compressed_in_the_folder(shelf):
    put(shelf, gzip.compress(CONTENT, mtime=0), f"{NAME}.gz")
    assert corpora.read(NAME) == CONTENT


def test_all_missing_files_are_told_at_once_and_nothing_is_missing_that_may_be_fetched(shelf, monkeypatch):
    other = "shelf/other.txt"
    monkeypatch.setitem(corpora.FILES, other, corpora.Corpus("https://example.org/other.txt", digest(CONTENT)))
    with pytest.raises(ValueError, match=f"^{NAME}, {other}: no such file.*example.org/words.*example.org/other"):
        corpora.require([NAME, other])
    put(shelf, b"whatever it is")
    assert corpora.missing([NAME, other]) == [other]
    monkeypatch.setenv("RECURLAB_DOWNLOAD", "1")
    assert corpora.missing([NAME, other]) == []


def test_a_file_without_a_home_is_never_fetched(shelf, monkeypatch):
    homeless = "shelf/licensed.txt"
    monkeypatch.setitem(corpora.FILES, homeless, corpora.Corpus(None, digest(CONTENT)))
    monkeypatch.setenv("RECURLAB_DOWNLOAD", "1")
    assert corpora.missing([NAME, homeless]) == [homeless]
    for asked in (lambda: corpora.require([homeless]), lambda: corpora.read(homeless)):
        with pytest.raises(ValueError, match=f"^{homeless}: no such file.*No public address has {homeless}") as told:
            asked()
        assert "RECURLAB_DOWNLOAD" not in str(told.value)
    put(shelf, CONTENT, homeless)
    assert corpora.read(homeless) == CONTENT


@pytest.mark.parametrize("folder", ["", None])
def test_a_missing_file_is_refused_with_its_name_and_both_ways_out(shelf, monkeypatch, folder):
    if folder is None:
        monkeypatch.delenv("RECURLAB_DATA")
    with pytest.raises(ValueError, match=f"^{NAME}: no such file.*RECURLAB_DATA.*RECURLAB_DOWNLOAD=1.*example.org"):
        corpora.require([NAME])


def test_a_folder_that_is_none_is_named(shelf, monkeypatch):
    monkeypatch.setenv("RECURLAB_DATA", str(shelf / "elsewhere"))
    with pytest.raises(ValueError, match="RECURLAB_DATA=.*elsewhere: not a folder"):
        corpora.read(NAME)


OTHER = (CONTENT + b" ", NAME), (gzip.compress(b"", mtime=0), f"{NAME}.gz"), (b"", NAME)


@pytest.mark.parametrize(("content", "name"), OTHER)
def test_other_bytes_are_refused_with_the_path(shelf, content, name):
    put(shelf, content, name)
    with pytest.raises(
        ValueError, match=f"{shelf / 'data' / name}: its SHA-256 is .*, that of {NAME} is {digest(CONTENT)}"
    ):
        corpora.read(NAME)


def test_a_damaged_compressed_file_is_refused_with_its_path(shelf):
    put(shelf, gzip.compress(CONTENT, mtime=0)[:-9], f"{NAME}.gz")
    with pytest.raises(ValueError, match=f"{NAME}.gz: not a whole gzip file"):
        corpora.read(NAME)


def test_homes_are_secure_and_hashes_are_whole():
    for corpus in corpora.FILES.values():
        assert (corpus.home or "https://").startswith("https://") and len(bytes.fromhex(corpus.sha256)) == 32
    homeless = {name for name, corpus in corpora.FILES.items() if corpus.home is None}
    assert {name.partition("/")[0] for name in homeless} == {"ptb", "text8"}


def test_every_known_file_belongs_to_a_dataset_or_a_corpus():
    assert {file for files in corpora.FILES_OF.values() for file in files} == set(corpora.FILES)
    read = {name: dataset.files for name, dataset in DATASETS.items() if dataset.files}
    assert read.items() <= corpora.FILES_OF.items()
    assert set(corpora.FILES_OF) - set(read) == set(TEXTS) - {"tinyshakespeare"} | {"multi30k"}
    assert not set(DATASETS) & set(TASKS)


def test_a_dataset_without_its_files_is_refused_before_it_is_loaded(shelf):
    for dataset in DATASETS.values():
        if dataset.files:
            with pytest.raises(ValueError, match=f"^{', '.join(dataset.files)}: no such file"):
                dataset.require()
        else:
            dataset.require()


def test_tasks_and_datasets_are_listed(capsys):
    assert main(["list", "tasks"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n{name}\t" in listed for name in [*TASKS, *DATASETS])


def test_languages_and_texts_are_listed(capsys):
    assert main(["list", "texts"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n{name}\t" in listed for name in [*GRAMMARS, *TEXTS])


# damaged and wrong content


def idx_file(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_idx_files_are_read():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(formats.idx(idx_file(array), "x"), array)
    assert np.array_equal(formats.idx(idx_file(array[:, 0, 0]), "x"), array[:, 0, 0])


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"0", lambda b: b"\1" + b[1:], lambda b: b[:7]])
def test_damaged_idx_files_are_refused_with_their_name(damage):
    content = idx_file(np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="^pixels: "):
        formats.idx(damage(content), "pixels")
    with pytest.raises(ValueError, match="^pixels: "):
        formats.idx(b"", "pixels")


@pytest.fixture
def mat(tmp_path):
    """Bytes of a MATLAB file with these pieces in each of its parts."""

    def written(pieces, parts=music.PARTS):
        cells = np.empty(len(pieces), object)
        cells[:] = pieces
        savemat(tmp_path / "rolls.mat", dict.fromkeys(parts, cells))
        return (tmp_path / "rolls.mat").read_bytes()

    return written


def pieces(*steps):
    return [(np.arange(n * 88).reshape(n, 88) % 7 == n % 5).astype(np.uint8) for n in steps]


def test_matlab_cells_are_read(mat):
    found = formats.mat_cells(mat(pieces(4, 2, 9)), "x", music.PARTS)
    for part in music.PARTS:
        assert all(np.array_equal(a, b) for a, b in zip(found[part], pieces(4, 2, 9), strict=True))


def test_damaged_matlab_files_are_refused_with_their_name(mat):
    content = mat(pieces(4, 2))
    for damaged in (b"", content[:100], content[:200], content[:-50], bytes(128) + content[128:], b"no" * 500):
        with pytest.raises(ValueError, match="^rolls.mat: "):
            formats.mat_cells(damaged, "rolls.mat", music.PARTS)
    with pytest.raises(ValueError, match="^rolls.mat: expected cell arrays traindata"):
        formats.mat_cells(mat(pieces(4, 2), ["traindata"]), "rolls.mat", music.PARTS)


@pytest.mark.parametrize(
    "wrong", [np.full((3, 88), np.nan), np.full((3, 88), 2), np.zeros((3, 87)), np.zeros((1, 88)), np.zeros(88)]
)
def test_rolls_that_are_none_are_refused_with_their_number(wrong):
    with pytest.raises(ValueError, match="^bach: piece 1 is not a roll"):
        music.rolls([np.zeros((2, 88)), wrong], "bach")


def test_a_column_is_read():
    assert formats.column(b'"a","b"\n"x",1.5\n\n"y",-2e3\n', "t.csv", 1).tolist() == [1.5, -2000]


@pytest.mark.parametrize("field", ["nan", "NaN", "inf", "-inf", "", "?2.5", "1 2"])
def test_what_is_no_finite_number_is_refused_with_its_line(field):
    with pytest.raises(ValueError, match="^t.csv, line 3: expected a finite number in column 2"):
        formats.column(f"a,b\nx,1\ny,{field}\n".encode(), "t.csv", 1)
    with pytest.raises(ValueError, match="^t.csv, line 2: expected a finite number in column 3, found ''"):
        formats.column(b"a,b\nx,1\n", "t.csv", 2)
    with pytest.raises(ValueError, match="^t.csv: not a table of text"):
        formats.column(b"a,b\n\xff,1\n", "t.csv", 1)


# datasets of given content


def assert_filled(batch, shape, replicas=()):
    steps, rows, width = shape
    assert batch.x.shape == (*replicas, steps, rows, width) and batch.x.flags.c_contiguous
    assert batch.targets.flags.c_contiguous


@pytest.mark.parametrize("name", ["digits", "permuted_digits"])
def test_digits_come_pixel_by_pixel(name):
    from sklearn.datasets import load_digits

    bundled, data = load_digits(), DATASETS[name].load("float64")
    batches = [part.take(np.arange(part.count)) for part in (data.train, data.test)]
    assert (data.train.count, data.valid, data.test.count) == (1437, None, 360)
    assert not DATASETS[name].validates
    assert (data.train.lengths == 64).all() and data.train.lengths.shape == (1437,)
    x = np.concatenate([batch.x[..., 0].T * 16 for batch in batches]).astype(int)
    targets = np.concatenate([batch.targets for batch in batches])
    order = np.arange(64)
    if name == "permuted_digits":
        order = images._order("digits", 64, True)
        assert sorted(order) == list(range(64)) and (order != np.arange(64)).sum() > 50
    known = {(*row, target) for row, target in zip(bundled.data.astype(int)[:, order], bundled.target, strict=True)}
    assert {(*row, target) for row, target in zip(x, targets, strict=True)} == known
    assert DATASETS[name].baseline(data) == pytest.approx(np.log(10), abs=0.02)


def test_rows_taken_for_each_replica_are_those_taken_alone():
    indices = np.array([[3, 1, 0], [2, 2, 4]])
    rolls = music.Rolls(tuple(pieces(4, 2, 9, 3, 7)), "float64")
    text = characters.passages(np.arange(1001) % 65, "float64")
    series = given.windows(np.sin(np.arange(400.0)), "float64").train
    for rows in (DATASETS["digits"].load("float32").train, rolls, text, series):
        both = rows.take(indices)
        for r in range(2):
            alone = rows.take(indices[r])
            steps = slice(alone.x.shape[0])  # a piece alone is filled up less
            assert np.array_equal(both.x[r][steps], alone.x) and not both.x[r][alone.x.shape[0] :].any()
            assert np.array_equal(both.targets[r][steps] if rows is rolls else both.targets[r], alone.targets)


def test_a_roll_predicts_every_next_step_and_counts_no_filling():
    rolls = music.Rolls(tuple(pieces(4, 2, 9)), "float32")
    assert rolls.count == 3 and rolls.lengths.tolist() == [3, 1, 8]
    batch = rolls.take([2, 0])
    assert_filled(batch, (8, 2, 88))
    assert batch.x.dtype == batch.targets.dtype == batch.weights.dtype == np.float32
    assert batch.lengths.tolist() == [8, 3] and batch.weights.sum(axis=0).tolist() == [8, 3]
    for b, piece in enumerate((rolls.pieces[2], rolls.pieces[0])):
        count = len(piece) - 1
        assert np.array_equal(batch.x[:count, b], piece[:-1]) and not batch.x[count:, b].any()
        assert np.array_equal(batch.targets[:count, b], piece[1:]) and not batch.targets[count:, b].any()
    assert rolls.take([[2, 0], [1, 1]]).lengths is None


def test_keys_without_memory_cost_their_binary_entropy():
    roll = np.zeros((6, 88), np.uint8)
    roll[::2, 0] = 1  # key 0 sounds in 3 of 6 steps, the others never
    rolls = music.Rolls((roll,), "float64")
    never = -87 * np.log1p(-1 / 8)  # (0 + 1) / (6 + 2)
    assert music.memoryless(rolls, rolls) == pytest.approx(np.log(2) + never, rel=1e-12)
    silent = music.Rolls((np.zeros((3, 88), np.uint8),), "float64")
    assert music.memoryless(silent, rolls) == pytest.approx(-88 * np.log(4 / 5) + 2 / 5 * np.log(4), rel=1e-12)
    assert music.memoryless(silent, rolls, first=True) == pytest.approx(-88 * np.log(4 / 5) + np.log(4) / 2, rel=1e-12)


def test_a_series_is_standardised_by_its_training_part_and_every_later_value_is_predicted_once():
    series = np.arange(1000.0)
    data = given.windows(series, "float64")
    mean, sd = series[:700].mean(), series[:700].std()
    assert data.train.count == len(range(0, 700 - 128, 16))
    last = data.train.take([data.train.count - 1])
    assert last.targets.max() * sd + mean <= 699 + 1e-9 and last.weights.all()
    assert np.allclose(last.targets - last.x, 1 / sd)
    predicted = []
    for part in (data.valid, data.test):
        batch = part.take([0])
        assert batch.x.shape[0] == part.lengths[0] == batch.weights.sum() + 127
        predicted.append(batch.targets[batch.weights == 1].ravel() * sd + mean)
    assert np.allclose(np.concatenate(predicted), np.arange(700, 1000))
    assert given.affine(data) < 1e-20  # the next value of a line is an affine function of the value
    with pytest.raises(ValueError, match="a series of 150 values is too short"):
        given.windows(series[:150], "float64")


def test_a_series_of_your_own_is_read_from_its_path(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("day,value\n" + "\n".join(f"{i},{i % 7}" for i in range(500)), encoding="utf-8")
    dataset = given.series_in(path)
    data = dataset.load("float32")
    assert dataset.name == "mine" and data.train.count > 5
    assert 0 < dataset.baseline(data) < 1.1
    path.write_text("day,value\n0,nan\n", encoding="utf-8")
    with pytest.raises(ValueError, match="mine.csv, line 2: expected a finite number"):
        given.series_in(path).load("float32")


def test_passages_cover_a_text_and_predict_every_next_character():
    symbols = np.arange(1234) % 65
    rows = characters.passages(symbols, "float32")
    batch = rows.take(np.arange(rows.count))
    assert rows.count == 12 and batch.x.shape == (100, 12, 65) and (batch.x.sum(axis=-1) == 1).all()
    assert np.array_equal(batch.x.argmax(axis=-1).T.ravel(), symbols[:1200])
    assert np.array_equal(batch.targets.T.ravel(), symbols[1:1201])


def test_pooling_takes_means_of_squares():
    image = np.arange(28 * 28, dtype=np.uint8).reshape(1, 28, 28)
    pooled = images.pooled(image, 2) / 4
    assert pooled.shape == (1, 14, 14)
    for i, j in ((0, 0), (3, 13), (13, 13)):
        assert pooled[0, i, j] == image[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].astype(float).mean()


# the real files


@pytest.fixture
def real(monkeypatch):
    """The folder RECURLAB_DATA; the test is left out where it is not set."""
    if not os.environ.get("RECURLAB_DATA"):
        pytest.skip("RECURLAB_DATA names no folder")
    return lambda name: DATASETS[name].load("float32")


@pytest.mark.data
@pytest.mark.parametrize(
    "name, counts, steps, floor, predicted_floor",
    [
        ("jsb", (229, 76, 77), (13_807, 4_602, 4_725), 11.06, 11.09),
        ("nottingham", (694, 173, 170), (176_561, 45_513, 44_463), 10.25, 10.26),
    ],
)
def test_music_has_the_counts_and_the_memoryless_loss_of_its_readers(real, name, counts, steps, floor, predicted_floor):
    data = real(name)
    assert tuple(part.count for part in data) == counts
    assert tuple(int((part.lengths + 1).sum()) for part in data) == steps
    assert music.memoryless(data.train, data.test, first=True) == pytest.approx(floor, abs=0.005)
    assert DATASETS[name].baseline(data) == pytest.approx(predicted_floor, abs=0.005)
    longest = int(np.argmax(data.test.lengths))
    batch = data.test.take([longest, 0])
    assert np.array_equal(batch.x[1:, 0], batch.targets[:-1, 0]) and batch.weights[:, 0].all()
    assert np.array_equal(data.test.pieces[longest][0], batch.x[0, 0])


@pytest.mark.data
def test_mnist_has_its_images_and_labels(real):
    data = real("mnist_28")
    assert [part.count for part in data] == [55_000, 5_000, 10_000]
    labels = np.bincount(np.concatenate([data.train.targets, data.valid.targets]))
    assert labels.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train.targets[:5].tolist() == [5, 0, 4, 1, 9]
    pixels = np.concatenate([data.train.pixels, data.valid.pixels]) / 255
    assert pixels.mean() == pytest.approx(0.1307, abs=5e-5)  # the mean and deviation that everyone divides by
    assert pixels.std() == pytest.approx(0.3081, abs=5e-5)
    batch = data.train.take([0, 7])
    assert_filled(batch, (784, 2, 1))
    assert batch.x.dtype == np.float32 and batch.x.max() == 1 and batch.targets.tolist() == [5, 3]
    assert DATASETS["mnist_28"].baseline(data) == pytest.approx(2.3010, abs=5e-5)


@pytest.mark.data
def test_smaller_and_permuted_mnist_are_the_same_images(real):
    whole, small, permuted = (real(name).test for name in ("mnist_28", "mnist_14", "permuted_mnist_28"))
    chosen = [0, 4, 9999]
    image = whole.take(chosen).x[..., 0].T.reshape(3, 28, 28).astype(float)
    means = image.reshape(3, 14, 2, 14, 2).mean(axis=(2, 4))
    assert np.allclose(small.take(chosen).x[..., 0].T.reshape(3, 14, 14), means, atol=1e-6)
    shuffled = permuted.take(chosen).x[..., 0].T
    order = images._order("mnist_28", 784, True)
    assert sorted(order) == list(range(784))
    assert np.array_equal(shuffled, image.reshape(3, 784)[:, order].astype(np.float32))
    assert np.array_equal(permuted.targets, whole.targets) and np.array_equal(small.targets, whole.targets)


@pytest.mark.data
def test_the_series_and_the_text_have_their_sizes(real):
    for name, count in (("sunspots", 2820), ("temperatures", 3650)):
        data = real(name)
        assert sum(int(part.take([0]).weights.sum()) for part in data[1:]) == count - 70 * count // 100
        assert 0.2 < DATASETS[name].baseline(data) < 0.5
    data = real("tinyshakespeare")
    assert sum(part.count for part in data) == pytest.approx(1_115_394 / 100, abs=3)
    first = "".join(
        map(chr, np.unique(np.frombuffer(corpora.read(characters.FILE), np.uint8))[data.train.symbols[0, :14]])
    )
    assert first == "First Citizen:"
    assert DATASETS["tinyshakespeare"].baseline(data) == pytest.approx(2.4896, abs=5e-4)


@pytest.mark.parametrize("replicas", [0, 2])
def test_a_network_that_says_nothing_pays_for_every_key_of_the_steps_that_count(replicas):
    rolls = music.Rolls(tuple(pieces(4, 2, 9)), "float64")
    batch = rolls.take([[2, 1], [0, 2]] if replicas else [2, 1])
    net = network(recurrent("rnn_tanh", 88, 3, dtype="float64"), 88, "bernoulli", "every")
    params = init(net.layer, [0, 1]) | {name: 0 * array for name, array in readout(net, [0, 1]).items()}
    assert np.allclose(loss_and_gradients(net, params, batch).loss, 88 * np.log(2), rtol=1e-12)
    loud = params | {"bias_out": params["bias_out"] + 1}
    heard = [piece[1:].sum(axis=1) for piece in rolls.pieces]
    chosen = ((2, 1), (0, 2)) if replicas else ((2, 1), (2, 1))
    mean = [np.concatenate([heard[i] for i in own]).mean() for own in chosen]
    expected = 88 * np.log1p(np.e) - np.array(mean)  # ln(1 + e) for each key, less 1 if it sounds
    assert np.allclose(loss_and_gradients(net, loud, batch).loss, expected, rtol=1e-12)
