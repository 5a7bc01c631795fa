"""recurlab: a laboratory for recurrent networks. NumPy arrays in, NumPy arrays out (see README.md)."""

from importlib import import_module

__version__ = "0.1.0"

# The face and where each name lives; looked up at first use, so that `import recurlab` loads nothing heavy.
FACE = {
    "recurrent": "recurlab.layers.recurrent",
    "forward": "recurlab.layers.recurrent",
    "backward": "recurlab.layers.recurrent",
    "trace": "recurlab.layers.recurrent",
    "pack": "recurlab.layers.recurrent",
    "unpack": "recurlab.layers.recurrent",
    "memory_bytes": "recurlab.layers.footprint",
    "replica_groups": "recurlab.layers.footprint",
    "init": "recurlab.weights",
    "jacobians": "recurlab.measures.jacobian",
    "gradient_by_lag": "recurlab.measures.gradient",
    "lyapunov": "recurlab.measures.lyapunov",
    "diagnose": "recurlab.measures.diagnosis",
    "save": "recurlab.layers.files",
    "load": "recurlab.layers.files",
    "from_keras": "recurlab.layers.keras",
    "to_keras": "recurlab.layers.keras",
    "load_results": "recurlab.results",
}
__all__ = [*FACE, "__version__"]


def __getattr__(name: str):
    if name not in FACE:
        raise AttributeError(f"module 'recurlab' has no attribute {name!r}; the face is {', '.join(FACE)}")
    return getattr(import_module(FACE[name]), name)


def __dir__():
    return sorted(__all__)
