"""Weights on disk: what was saved comes back to the bit, and no other file gets in."""

import json
import os
import struct

import numpy as np
import pytest
from cases import KINDS, assert_same_bits
from safetensors.numpy import save_file

import recurlab as rl
from recurlab.layers import files

SHAPES = {
    "plain": {},
    "deep and both ways": {"num_layers": 3, "bidirectional": True},
    "float64": {"dtype": "float64"},
    "one unit": {"hidden_size": 1, "input_size": 1},
}


def network(cell="lstm", seed=0, **shape):
    layer = rl.recurrent(cell, **{"input_size": 2, "hidden_size": 3} | shape)
    return layer, rl.init(layer, seed, bias="uniform")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("seed", [0, [1, 2, 3]], ids=["alone", "replicas"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", KINDS)
def test_what_was_saved_comes_back(path, cell, shape, seed):
    layer, params = network(cell, seed, **SHAPES[shape])
    rl.save(path, layer, params)
    found_layer, found = rl.load(path)
    assert found_layer == layer and set(found) == set(params)
    assert_same_bits(found, params)
    y, _, _ = rl.forward(found_layer, found, np.ones((2, 1, layer.input_size), layer.dtype))
    assert np.isfinite(y).all()


def test_same_weights_are_the_same_bytes_and_views_are_saved_as_they_look(path):
    layer, params = network()
    rl.save(path, layer, params)
    first = path.read_bytes()
    rl.save(str(path), layer, {name: np.asfortranarray(params[name]) for name in reversed(params)})
    assert path.read_bytes() == first and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("prefix", ["", "encoder.lstm."])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", ["gru", "min_lstm"])
def test_a_state_dict_without_metadata_needs_its_cell(path, cell, shape, prefix):
    layer, params = network(cell, **SHAPES[shape])
    others = {"decoder.weight": np.ones(3, np.float32)} if prefix else {}
    save_file({prefix + name: array for name, array in params.items()} | others, path)
    found_layer, found = rl.load(path, cell=cell, prefix=prefix)
    assert found_layer == layer
    assert_same_bits(found, params)
    with pytest.raises(ValueError, match=f"{path}: cell: expected one of rnn_tanh, .*no metadata"):
        rl.load(path, prefix=prefix)


# files that are refused


def refused(path, message, **settings):
    with pytest.raises(ValueError, match=message) as found:
        rl.load(path, **settings)
    assert str(path) in str(found.value)


def test_a_missing_file_and_a_folder_are_refused(path):
    refused(path, "no such file")
    refused(path.parent, "no such file")


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"PK\x03\x04", b"not weights at all", b"\xff" * 100])
def test_another_kind_of_file_is_refused(path, content):
    path.write_bytes(content)
    refused(path, "not a whole safetensors file")


def test_a_file_cut_anywhere_is_refused(path):
    rl.save(path, *network())
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, "not a whole safetensors file")
    path.write_bytes(whole + b"\0")
    refused(path, "not a whole safetensors file")


def test_a_header_with_a_flipped_bit_is_refused_or_harmless(path):
    layer, params = network("gru", hidden_size=2)
    rl.save(path, layer, params)
    whole = path.read_bytes()
    for position in range(8 + struct.unpack("<Q", whole[:8])[0]):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            _, found = rl.load(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert_same_bits(found, params)


def raw_file(path, header, data=b""):
    """A safetensors file by hand: length, JSON header, bytes."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def described(*entries):
    """Header entries (name, format, bytes a number, shape) one after the other, and as many zero bytes."""
    header, end = {}, 0
    for name, kind, size, shape in entries:
        start, end = end, end + size * int(np.prod(shape))
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    return header, b"\0" * end


W_IH, W_HH = ("weight_ih_l0", "F32", 4, [3, 2]), ("weight_hh_l0", "F32", 4, [3, 3])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "expected weight_ih_l0, weight_hh_l0"),
        ([W_HH], "expected weight_ih_l0, weight_hh_l0"),
        ([W_IH, W_HH], "params: .*bias_hh_l0"),
        ([W_IH, W_HH, ("weight_hh_l99999999", "F32", 4, [0])], "params: .*weight_hh_l99999999"),
        ([("weight_ih_l0", "F32", 4, [6]), W_HH], "expected matrices"),
        ([("weight_ih_l0", "F32", 4, [0, 0]), ("weight_hh_l0", "F32", 4, [0, 0])], "input_size: .*0"),
        ([("weight_ih_l0", "F16", 2, [3, 2]), ("weight_hh_l0", "F16", 2, [3, 3])], "dtype: .*float16"),
        (
            [("weight_ih_l0", "BF16", 2, [3, 2]), W_HH],
            "bfloat16|not a whole safetensors file",
        ),  # as NumPy knows it or not
        ([("weight_ih_l0", "F8_E4M3", 1, [3, 2]), W_HH], "not a whole safetensors file"),
        ([("weight_ih_l0", "I64", 8, [3, 2]), W_HH], "dtype: .*int64"),
    ],
    ids=str,
)
def test_wrong_contents_are_refused(path, entries, message):
    raw_file(path, *described(*entries))
    refused(path, message, cell="rnn_tanh")


SETTINGS = files._description(network()[0])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", "metadata 'recurlab'"),
        ("[1, 2]", "metadata 'recurlab'"),
        ("null", "metadata 'recurlab'"),
        (json.dumps(SETTINGS | {"bias": True}), "metadata 'recurlab': .*bias"),
        (json.dumps(SETTINGS | {"cell": "transformer"}), "cell: .*'transformer'"),
        (json.dumps(SETTINGS | {"cell": ["lstm"]}), "cell: "),
        (json.dumps(SETTINGS | {"device": "tpu"}), "device: .*'tpu'"),
        (json.dumps(SETTINGS | {"hidden_size": 4}), r"params\['weight_ih_l0'\]: .*16, 2.*\(12, 2\)"),
        (json.dumps(SETTINGS | {"hidden_size": -3}), "hidden_size: .*-3"),
        (json.dumps(SETTINGS | {"num_layers": 10**9}), "num_layers: .*1000000000"),
        (json.dumps(SETTINGS | {"num_layers": 2}), "params: .*bias_hh_l1"),
        (json.dumps(SETTINGS | {"dtype": "float64"}), r"params\['weight_ih_l0'\]: .*float64.*float32"),
    ],
)
def test_wrong_metadata_is_refused(path, metadata, message):
    save_file(network()[1], path, metadata={"recurlab": metadata})
    refused(path, message)


def test_another_cell_than_the_files_own_is_refused(path):
    rl.save(path, *network("lstm"))
    refused(path, "cell: expected 'lstm', as the file says, got 'gru'", cell="gru")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_both_ways(path, value):
    layer, params = network()
    params["weight_hh_l0"][4, 1] = value
    with pytest.raises(ValueError, match=r"params\['weight_hh_l0'\]: expected finite values, got .* at index \(4, 1\)"):
        rl.save(path, layer, params)
    assert os.listdir(path.parent) == []
    save_file(params, path, metadata={"recurlab": json.dumps(SETTINGS)})
    refused(path, r"params\['weight_hh_l0'\]: expected finite values")


def test_wrong_names_are_refused_both_ways(path):
    layer, params = network()
    params["weight_hh_0"] = params.pop("weight_hh_l0")
    with pytest.raises(ValueError, match=r"params: .*missing \['weight_hh_l0'\], unknown \['weight_hh_0'\]"):
        rl.save(path, layer, params)
    save_file(params, path, metadata={"recurlab": json.dumps(SETTINGS)})
    refused(path, r"params: .*missing \['weight_hh_l0'\], unknown \['weight_hh_0'\]")


# a save that fails


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(path, step, monkeypatch):
    rl.save(path, *network(seed=1))
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        rl.save(path, *network(seed=2))
    assert os.listdir(path.parent) == [path.name] and path.read_bytes() == before
