"""Weights on disk: safetensors with PyTorch's parameter names; never pickle."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from recurlab.cells import CELLS
from recurlab.files import write_bytes
from recurlab.layers.checks import expect, expect_choice
from recurlab.layers.recurrent import DTYPES, Recurrent, check_params, recurrent

KEY = "recurlab"  # the metadata entry that holds the layer, and the SHA-256 of it and of all arrays
SUM = "sha256"


def save(path, layer: Recurrent, params: dict) -> None:
    """Write a layer's parameters as safetensors, the layer in the metadata; the file appears whole or not at all."""
    expect(not layer.packed, "layer", "a packed one, whose layout belongs to this host", "a natural one (see unpack)")
    check_params(layer, params)
    arrays = {name: np.ascontiguousarray(array) for name, array in params.items()}
    told = _description(layer) | {SUM: _sum(layer, arrays)}
    write_bytes(path, to_bytes(arrays, metadata={KEY: json.dumps(told, sort_keys=True)}))


def _description(layer: Recurrent) -> dict:
    """What `recurrent` makes the layer from."""
    return {name: value for name, value in layer._asdict().items() if name != "packed"}


def _sum(layer: Recurrent, arrays: dict) -> str:
    """SHA-256 of a layer's description and the bytes of its parameters, in the order of their names."""
    found = hashlib.sha256(json.dumps(_description(layer), sort_keys=True).encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].shape}".encode() + arrays[name].tobytes())
    return found.hexdigest()


def load(path, cell: str | None = None, prefix: str = "") -> tuple[Recurrent, dict[str, np.ndarray]]:
    """Read safetensors -> (layer, params).

    A file that recurlab saved names its cell. For any other file (a PyTorch state_dict saved as safetensors) give
    `cell`, and `prefix` if the names carry one ("encoder.lstm."): sizes, layers and directions are read off the shapes.

    Raises ValueError for a file that is missing, truncated, not safetensors, of wrong names or shapes, not finite, or
    that is not as recurlab saved it.
    """
    path = Path(path)
    arrays, metadata = _read(path)
    params = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    try:
        layer, total = _layer(params, metadata, cell)
        check_params(layer, params)
        expect(total in (None, _sum(layer, params)), "file", "other bytes", "those that were saved, by their SHA-256")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return layer, params


def load_sequences(path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read safetensors with sequences: x (T, B, I) and, if the file has them, lengths (B,), else None.

    Raises ValueError for a file that is missing, not whole, of other names, or not finite.
    """
    path = Path(path)
    arrays, _ = _read(path)
    fine = "x" in arrays and arrays.keys() <= {"x", "lengths"}
    expect(fine, str(path), f"names {sorted(arrays)[:4]}", "x (time, batch, input) and, if you like, lengths (batch)")
    x = arrays["x"]
    real = np.issubdtype(x.dtype, np.floating) and x.ndim == 3 and np.isfinite(x).all()
    expect(real, f"{path}: x", f"{x.dtype} of shape {x.shape}", "finite floats (time, batch, input)")
    return x, arrays.get("lengths")


def _read(path: Path) -> tuple[dict, dict]:
    """All arrays and the metadata of a safetensors file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, TypeError, AttributeError) as error:  # the last two: a number format NumPy does not have
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from None


def _layer(params: dict, metadata: dict, cell: str | None) -> tuple[Recurrent, str | None]:
    """The layer the metadata names and the SHA-256 beside it, else the layer the shapes show."""
    if KEY in metadata:
        try:
            told = dict(json.loads(metadata[KEY]))
            total = told.pop(SUM, None)
            layer = recurrent(**told)
        except (TypeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"metadata {KEY!r}: {error}") from None
        expect(cell in (None, layer.cell), "cell", repr(cell), f"{layer.cell!r}, as the file says")
        expect(layer.num_layers <= len(params), "num_layers", layer.num_layers, f"layers for {len(params)} arrays")
        return layer, total
    expect(cell is not None, "cell", "None and no metadata in the file", f"one of {', '.join(CELLS)}")
    expect_choice("cell", cell, CELLS)
    return _layer_of_shapes(params, cell), None


def _layer_of_shapes(params: dict, cell: str) -> Recurrent:
    """Sizes of a network from the shapes of its parameters (no replica axis)."""
    names = ["weight_ih_l0", "weight_hh_l0"][: 1 + CELLS[cell].recurrent_matrix]
    wanted = ", ".join(names)
    expect(params.keys() >= set(names), "file", f"names {sorted(params)[:4]}…", f"{wanted}, …")
    shapes = [params[name].shape for name in names]
    expect(all(len(shape) == 2 for shape in shapes), wanted, f"shapes {', '.join(map(str, shapes))}", "matrices")
    dtype = expect_choice("dtype", str(params["weight_ih_l0"].dtype), DTYPES)
    levels = {int(found[1]) for name in params if (found := re.fullmatch(r"weight_ih_l(\d+)(_reverse)?", name))}
    hidden = shapes[0][0] // len(CELLS[cell].gates)
    return recurrent(cell, shapes[0][1], hidden, len(levels), "weight_ih_l0_reverse" in params, dtype)
