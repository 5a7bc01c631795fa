"""What kernels for a GPU take, found without one: compiled to PTX for a compute capability, then assembled by ptxas.

    python tests/gpu_code.py 9.0 float32 strict steps lstm gru      prints JSON: {kernel: figures}

One process for each compute capability and build: numba-cuda keeps what kernels call by their arguments' types alone.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LIMITS = {"stack": 0, "spills": 0, "local": 0, "calls": 0}
SHARED = 227 * 1024  # bytes of shared memory that a block can have, compute capability 9.0 (8.0: 163 KB)


BARRIER = r"^\s*cudaCG(?:GetIntrinsicHandle|Synchronize),"  # what a call of them says: the barrier of a whole launch


def ptxas() -> str | None:
    """The assembler of the toolkit in this environment, or of the system."""
    try:
        spec = importlib.util.find_spec("nvidia.cu13")
    except ModuleNotFoundError:
        spec = None
    found = [Path(root, "bin", "ptxas") for root in (spec.submodule_search_locations if spec else ())]
    return next((str(path) for path in found if path.is_file()), shutil.which("ptxas"))


def without_a_driver(capability: tuple[int, int]) -> None:
    """Let numba-cuda compile device functions: it asks the current device for its compute capability."""
    from numba.cuda import dispatcher

    class Device:
        compute_capability = capability

    dispatcher.get_current_device = lambda: Device


def figures(kernel, signature, capability: tuple[int, int]) -> dict:
    """Registers, bytes of shared memory, stack and spills, and what stands in the PTX."""
    from numba import cuda

    options = {name: kernel.targetoptions[name] for name in ("fastmath", "launch_bounds")}
    ptx, _ = cuda.compile(kernel.py_func, signature, device=False, abi="numba", cc=capability, output="ptx", **options)
    counts = {
        "float64": len(re.findall(r"\.f64", ptx)),
        "calls": len(re.findall(r"^\s*call", ptx, re.MULTILINE)) - len(re.findall(BARRIER, ptx, re.MULTILINE)),
        "local": len(re.findall(r"(?:ld|st)\.local", ptx)),
        "multiply_adds": len(re.findall(r"fma\.rn", ptx)),
        "approximate": len(re.findall(r"(?:tanh|ex2|rcp|div)\.approx", ptx)),
    }
    return counts | _assembled(ptx, capability)


def _assembled(ptx: str, capability: tuple[int, int]) -> dict:
    """What ptxas says of it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        line = [ptxas(), "-v", f"-arch=sm_{capability[0]}{capability[1]}", "-O3", source, "-o", Path(folder, "cubin")]
        line += ["-c"] if re.search(BARRIER, ptx, re.MULTILINE) else []  # it comes from a library, linked later
        result = subprocess.run(line, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr)
    found = {"registers": "Used (\\d+) registers", "shared": "(\\d+) bytes smem", "stack": "(\\d+) bytes stack frame"}
    found["spills"] = "(\\d+) bytes spill"
    return {name: max(map(int, re.findall(text, result.stderr)), default=0) for name, text in found.items()}


def arguments(dtype):
    """The types of what kernels take, by name."""
    from numba import int64, types
    from numba.core.types import float32, float64

    from recurlab.kernels.cuda import layout, residence

    real = {"float32": float32, "float64": float64}[dtype]
    flat, whole = types.Array(real, 1, "C"), types.Array(int64, 1, "C")

    def uniform(kind, of):
        return types.NamedUniTuple(kind, len(of._fields), of)

    seq = types.NamedTuple([flat, whole, flat, flat], layout.Sequence)
    some = {
        "n": uniform(int64, layout.Sizes),
        "plan": uniform(int64, residence.Plan),
        "norm": uniform(real, layout.Norm),
        "lengths": whole,
        "flat": flat,
    }
    return some | {"weights": uniform(flat, layout.Weights), "seq": seq, "work": uniform(flat, layout.Work)}


# The arguments of each kernel, in order, by the names of `arguments`.
SIGNATURES = {
    "forward": "n norm weights seq" + 6 * " flat",
    "backward": "n norm weights seq flat flat flat work flat flat",
    "project": "n weights seq flat",
    "recurrent_gradients": "n lengths flat flat flat flat",
    "input_gradients": "n lengths flat flat flat",
    "x_gradients": "n lengths flat flat flat",
    "sum_of_steps": "n flat flat",
    "biases_of_planes": "n flat flat flat",
}


RESIDENT = {"forward": "n plan weights seq" + 6 * " flat", "backward": "n plan weights seq" + 9 * " flat"}


def signature_of(name, dtype, signatures=SIGNATURES):
    """The signature of a kernel."""
    known = arguments(dtype)
    return tuple(known[argument] for argument in signatures[name].split())


def steps(names, dtype, fast):
    """(name, kernel, signature) of the steps of some cells."""
    from recurlab.kernels.cuda import reference

    for cell in names:
        for name, kernel in reference.steps_of(cell, fast=fast)._asdict().items():
            yield f"{cell} {name}", kernel, signature_of(name, dtype)


def together(names, dtype, fast):
    """The same where all blocks of a launch go step by step."""
    from recurlab.kernels.cuda import reference

    for cell in names:
        for name, kernel in reference.steps_of(cell, fast=fast, together=True)._asdict().items():
            yield f"{cell} {name}", kernel, signature_of(name, dtype)


def products(names, dtype, fast):
    """The same of the products of their structures."""
    from recurlab.cells import CELLS
    from recurlab.kernels.cuda import layout, reference

    for structure in dict.fromkeys(layout.structure_of(CELLS[cell]) for cell in names):
        for name, kernel in reference.products_of(structure)._asdict().items():
            yield f"{tuple(map(int, structure))} {name}", kernel, signature_of(name, dtype)


def tiles(names, dtype, fast):
    """The same of the products of large matrices."""
    from numba import types

    from recurlab.kernels.cuda import matrix

    flat, whole = arguments(dtype)["flat"], arguments(dtype)["lengths"]
    z = types.NamedUniTuple(whole.dtype, len(matrix.Extents._fields), matrix.Extents)
    places = types.NamedUniTuple(whole, len(matrix.Places._fields), matrix.Places)
    yield "multiply", matrix.compiled(dtype), (z, places, flat, flat, flat)


def resident(names, dtype, fast):
    """The same of the kernels with the weights on the chip; a thread holds as many numbers as it may."""
    from recurlab.cells import CELLS
    from recurlab.kernels.cuda.layout import structure_of
    from recurlab.kernels.cuda.residence import SLICES, may_stay
    from recurlab.kernels.cuda.resident_kernels import resident_of

    most = SLICES[{"float32": 4, "float64": 8}[dtype]][-1]
    for cell in (name for name in names if may_stay(structure_of(CELLS[name]))):
        for name, kernel in resident_of(cell, dtype, (most, most), fast)._asdict().items():
            yield f"{cell} {name}", kernel, signature_of(name, dtype, RESIDENT)


def learning(names, dtype, fast):
    """The same of what training does beside the layer, with every loss and rule."""
    from numba import float64, types

    from recurlab.kernels.cuda import learning
    from recurlab.layers import loss
    from recurlab.optimise import RULES

    flat, whole = arguments(dtype)["flat"], arguments(dtype)["lengths"]
    number, of = whole.dtype, {k: types.Array(flat.dtype, k, "C") for k in (1, 2, 3)}
    exact = {k: types.Array(float64, k, "C") for k in (1, 2, 3)}
    plain = {
        "gather": (whole, number, flat, flat),
        "scatter": (whole, number, flat, flat),
        "read_out": (*[number] * 3, *[flat] * 4),
        "weight_gradients": (*[number] * 3, *[flat] * 3),
        "bias_gradients": (*[number] * 2, *[flat] * 2),
        "x_gradients": (*[number] * 3, *[flat] * 3),
    }
    for name, signature in plain.items():
        yield name, learning.compiled(getattr(learning, name)), signature
    yield "exact mean", learning.compiled(learning.mean), (exact[3], exact[1], exact[2])
    yield "exact square", learning.compiled(learning.square), (number, flat, exact[1])
    yield "exact add_lanes", learning.compiled(learning.add_lanes), (number, exact[1], exact[1])
    classes = types.Array(number, 2, "C")
    for position, targets in ((loss._cross_entropy, classes), (loss._squared_error, of[3]), (loss._bernoulli, of[3])):
        kernel = learning.compiled(learning.judge, position.__name__, position=position)
        yield f"exact judge {position.__name__}", kernel, (of[3], targets, exact[2], exact[1], exact[3], of[3])
    for name, rule in RULES.items():
        yield f"update {name}", learning.update_by(rule.update), (*[of[2]] * 4, of[1], of[1])


def drawing(names, dtype, fast):
    """The same of random numbers, which are float64 in any case."""
    from numba import types, uint64

    from recurlab.kernels.cuda import draw

    signature = (types.Array(uint64, 1, "C"), uint64, uint64, arguments("float64")["flat"])
    for function in (draw.fill_uniforms, draw.fill_normals):
        yield f"exact {function.__name__}", draw.compiled(function), signature


def bench(names, dtype, fast):
    """The same of what measures the card."""
    from recurlab.bench.gpu import ceiling
    from recurlab.kernels.cuda.target import kernel

    flat, whole = arguments(dtype)["flat"], arguments(dtype)["lengths"].dtype
    yield "multiply_add", kernel(ceiling.multiply_add, "bench"), (whole, flat.dtype, flat.dtype, flat)
    yield "copy", kernel(ceiling.copy, "bench"), (flat, flat)


KERNELS = {
    "steps": steps,
    "together": together,
    "products": products,
    "tiles": tiles,
    "resident": resident,
    "learning": learning,
    "drawing": drawing,
    "bench": bench,
}


def main(capability, dtype, build, family, *names) -> None:
    """Print the figures of some kernels as JSON."""
    os.environ.pop("NUMBA_ENABLE_CUDASIM", None)
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    capability = tuple(map(int, capability.split(".")))
    without_a_driver(capability)
    found = KERNELS[family](names, dtype, build == "fast")
    print(json.dumps({name: figures(kernel, signature, capability) for name, kernel, signature in found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
