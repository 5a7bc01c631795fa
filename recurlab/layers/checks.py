"""Refuse wrong arrays before any work: every message names the argument, what came and what was expected."""

import numpy as np

from recurlab.kernels import DEVICES
from recurlab.kernels.cuda import device
from recurlab.kernels.cuda.device import is_on_device


def expect(condition: bool, name: str, came, expected) -> None:
    """Raise the ValueError of the face unless the condition holds."""
    if not condition:
        raise ValueError(f"{name}: expected {expected}, got {came}")


def expect_array(
    name: str, array, shape: tuple, dtype: str, axes: str, finite: bool = True, device: str = "cpu"
) -> None:
    """Check type, dtype, shape (None matches any size) and, unless switched off, that no value is NaN or infinite.

    For a layer on a GPU it may be a device array, too.
    """
    known = isinstance(array, np.ndarray) or (device != "cpu" and is_on_device(array))
    if not known or array.dtype != dtype or array.shape != shape:
        _explain(name, array, known, shape, dtype, axes)
    if finite:
        _expect_finite(name, array)


def _expect_finite(name: str, array) -> None:
    """Look at every number where it is; a device array comes to the host only to say which one is wrong."""
    if is_on_device(array):
        from recurlab.kernels.cuda.target import is_finite, to_host  # numba.cuda, for those who have a GPU

        array = np.zeros(0) if is_finite(array) else to_host(array)
    if not np.isfinite(array).all():
        bad = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        expect(False, name, f"{array[bad]} at index {bad}", "finite values")


def _explain(name, array, known, shape, dtype, axes) -> None:
    """Raise what is wrong with an array's type, dtype or shape, if anything is."""
    expect(known, name, type(array).__name__, f"a NumPy array {axes}")
    expect(array.dtype == dtype, name, f"dtype {array.dtype}", f"dtype {dtype}, the layer's")
    fits = array.ndim == len(shape) and all(w is None or w == n for w, n in zip(shape, array.shape, strict=True))
    wanted = ", ".join("any" if size is None else str(size) for size in shape)
    expect(fits, name, f"shape {array.shape}", f"shape {axes} = ({wanted})")


def expect_names(name: str, came, wanted) -> None:
    """Check that two sets of keys are equal."""
    missing, extra = sorted(set(wanted) - set(came)), sorted(set(came) - set(wanted))
    expect(
        not missing and not extra,
        name,
        f"missing {missing or 'none'}, unknown {extra or 'none'}",
        f"keys {sorted(wanted)}",
    )


def expect_size(name: str, value, low: int = 1) -> int:
    """A whole number of at least `low`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    expect(whole and value >= low, name, repr(value), f"a whole number ≥ {low}")
    return int(value)


def expect_choice(name: str, value, choices) -> str:
    """One of the given names."""
    expect(isinstance(value, str) and value in choices, name, repr(value), f"one of {', '.join(map(str, choices))}")
    return value


def expect_device(value) -> str:
    """One of DEVICES that can be used here; else the reason, in one line."""
    expect_choice("device", value, DEVICES)
    problem = "" if value == "cpu" else device.problem()
    expect(not problem, "device", f"{value}, which cannot: {problem}", "one that can be used here")
    return value
