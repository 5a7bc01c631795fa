"""`make fuzz`: 10,000 damaged files for every reader; tells how many were refused and accepted. A fault ends it with 1.

With atheris installed, libFuzzer mutates bytes towards code that was not reached before, and half of the damages are
those of `damage`; without it all are. Each reader runs in a process of its own, so that a crash of native code is a
fault of that reader and no more. The file that did it is kept, and its path told.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = 3600  # for one reader
KERNELS = ("maths", "cells", "kernels")


def main() -> int:
    options = _options()
    if options.one:
        return _one(options.one, options.inputs, options.start)
    from readers import READERS

    failed = [name for name in options.readers or READERS if not _in_process(name, options)]
    print(f"faults in {', '.join(failed)}" if failed else "no faults")
    return bool(failed)


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", help="names of readers; all without")
    parser.add_argument("--inputs", type=int, default=10_000, help="files for each (default: 10,000)")
    parser.add_argument("--start", type=int, default=0, help="number of the first file: other numbers, other files")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_process(name: str, options) -> bool:
    """Whether a reader had no fault; its last lines otherwise."""
    begun = time.monotonic()
    line = [sys.executable, "-X", "faulthandler", "-W", "ignore", __file__, "--one", name]
    line += ["--inputs", str(options.inputs), "--start", str(options.start)]
    result = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    told = [text for text in result.stdout.splitlines() if text.startswith("fuzz: ")]
    print(f"{name}: {'; '.join(told) or 'ended early'}, {time.monotonic() - begun:.0f} s", flush=True)
    if result.returncode:
        print(result.stdout[-1000:], result.stderr[-3000:], sep="\n")
    return result.returncode == 0 and len(told) == 1


def _one(name: str, inputs: int, start: int) -> int:
    """All files for one reader."""
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris:
        with atheris.instrument_imports(["recurlab"], _compiled()):
            import readers
    else:
        import readers
    import engine
    import judge
    import pytest

    engine.add_studies(pytest.MonkeyPatch())
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    of, count = judge.whole(readers.READERS[name], folder), Counter()

    def judged(content: bytes) -> None:
        try:
            count[judge.verdict(of, content)] += 1
        except BaseException:
            kept = folder / "fault"
            kept.write_bytes(content)
            print(f"a fault of {name}: {kept}", flush=True)
            raise
        if sum(count.values()) == inputs:
            print(f"fuzz: {inputs:,} files, {count['refused']:,} refused, {count['accepted']:,} accepted", flush=True)

    _guided(atheris, of, judged, inputs, start) if atheris else _drawn(name, of, judged, inputs, start)
    return 0


def _compiled() -> list[str]:
    """The modules whose functions go to Numba, which cannot compile what atheris adds to them."""
    root = HERE.parent
    paths = [(path, path.relative_to(root).with_suffix("").parts) for path in sorted(root.glob("recurlab/**/*.py"))]
    inner = [parts for path, parts in paths if parts[1] in KERNELS or "kernels.target" in path.read_text("utf-8")]
    return [".".join(parts).removesuffix(".__init__") for parts in inner]


def _drawn(name: str, of, judged, inputs: int, start: int) -> None:
    """Damages by chance; the number of a file decides it."""
    import damage

    for number in range(start, start + inputs):
        judged(damage.damaged(of.content, random.Random(f"{name} {number}"), of.reader.ways))


def _guided(atheris, of, judged, inputs: int, start: int) -> None:
    """Damages that libFuzzer chooses by what they reach."""
    import damage

    def mutated(content: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.randrange(2):
            return atheris.Mutate(content, min(len(content) + 64, most))
        return damage.damaged(content if chance.randrange(2) else of.content, chance, of.reader.ways)[:most]

    corpus = Path(tempfile.mkdtemp(prefix="corpus-"))
    (corpus / "whole").write_bytes(of.content)
    flags = [f"-runs={inputs + 2}", f"-seed={start + 1}", "-max_len=300000", "-rss_limit_mb=6000", "-timeout=60"]
    atheris.Setup([sys.argv[0], *flags, "-verbosity=0", str(corpus)], judged, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.path.insert(0, str(HERE.parent))
    sys.exit(main())
