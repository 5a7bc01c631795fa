"""Bind functions into a template so that the disk cache of Numba still hits in a new process.

A closure over other compiled functions never hits that cache. A copy of the template whose *globals* name them does,
provided that its qualified name holds everything that was bound: two bindings under one name would silently run each
other's machine code. The name therefore ends in a digest of every source the result depends on.
"""

import hashlib
import os
import types
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

# "contract" allows fused multiply-add but no reordering and keeps NaN and inf; the numpy error model drops the
# division-by-zero branch that stops vectorisation.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


@cache
def kernel_digest() -> str:
    """Digest of all that any kernel may contain: the sources of maths, cells and kernels, and the width asked for.

    Numba adds its own version and the processor's features to the key.
    """
    files = [PACKAGE / "maths.py", *sorted(PACKAGE.glob("cells/*.py")), *sorted(PACKAGE.glob("kernels/*.py"))]
    width = os.environ.get("RECURLAB_VECTOR_BITS", "").encode()
    return hashlib.sha256(b"\0".join([width, *(path.read_bytes() for path in files)])).hexdigest()[:12]


def rebind(function, label: str, **names):
    """A copy of `function` with some of its globals replaced, named after `label` and the digest of the sources."""
    copy = types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__qualname__ = f"{function.__qualname__}_{label}_{kernel_digest()}"
    copy.__module__ = function.__module__
    return copy


def compile_tree(function, label: str, target: dict, compile_one):
    """Compile a cell function for a target together with the helpers it calls.

    `target` maps the names of `maths` to the target's versions; helpers from `recurlab.cells` are compiled alike.
    """
    bound = {}
    for name in function.__code__.co_names:
        helper = function.__globals__.get(name)
        if name in target:
            bound[name] = target[name]
        elif isinstance(helper, types.FunctionType) and helper.__module__.startswith("recurlab.cells"):
            bound[name] = compile_tree(helper, label, target, compile_one)
    return compile_one(rebind(function, label, **bound))
