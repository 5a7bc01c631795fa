"""The devices that layers can run on: what was found, and why one cannot be used."""

from recurlab import provenance
from recurlab.kernels.cuda import device

PACKAGES = ("numba-cuda", "cuda-toolkit", "cuda-bindings")


def rows() -> list[dict]:
    """A row for the processor and one for each GPU, or one that says why there is none."""
    return [_cpu(), *(_gpu(found) for found in device.gpus())] + ([_no_gpu()] if not device.gpus() else [])


def _cpu() -> dict:
    machine = provenance.machine()
    found = f"{machine['cpu']}, {machine['cores']} cores, vectors of {machine['vector_bits']} bits"
    return {"device": "cpu", "usable": "yes", "found": found}


def _gpu(found: dict) -> dict:
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    text = "{name}, compute capability {compute_capability}, {memory} GiB".format(**found)
    return {"device": "cuda", "usable": "yes", "found": f"{text}; {versions}"}


def _no_gpu() -> dict:
    if device.SIMULATED:
        return {"device": "cuda", "usable": "yes", "found": "Numba's simulator (NUMBA_ENABLE_CUDASIM=1), for tests"}
    return {"device": "cuda", "usable": "no", "found": device.problem()}


def _versions() -> dict[str, str]:
    """The versions of the packages behind a GPU that are installed."""
    found = {name: provenance.installed(name) for name in PACKAGES}
    return {name: version for name, version in found.items() if version}
