"""Apply changes to a copy of the package, one after the other, and say which check notices each: run by test_mutations.

    python mutation_worker.py TESTS PACKAGE FOLDER < changes.json > noticed.json

`changes` maps a name to [[path, old text, new text], …]; `noticed` maps it to [check, message], or null if all pass.
"""

import importlib
import json
import shutil
import sys
import warnings
from pathlib import Path

# Whose CHECKS look at a file; for any other those of the layers do.
CHECKED_BY = {
    "layers/loss.py": "test_loss",
    "layers/softmax.py": "test_softmax",
    "kernels/softmax.py": "test_softmax",
    "layers/embedding.py": "test_embedding",
    "penalties.py": "test_penalties",
    "layers/omega.py": "test_penalties",
    "kernels/omega.py": "test_penalties",
    "noise.py": "test_noise",
}
LAYERS = "test_conformance", "test_zoneout"
MODULES = *LAYERS, *dict.fromkeys(CHECKED_BY.values())
CHANGED = "recurlab", "test_parametrise", *MODULES  # imported anew for every change


def notice(modules):
    """(check, message) of the first check that fails on the copy as it stands, or None."""
    for name in [name for name in sys.modules if name.split(".")[0] in CHANGED]:
        del sys.modules[name]
    importlib.invalidate_caches()
    reached = "import"
    try:
        for module in modules:
            for name, (check, *arguments) in importlib.import_module(module).CHECKS.items():
                reached = name
                check(*arguments)
    except Exception as error:
        return reached, f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def notice_change(package, edits):
    """As `notice`, by whose checks look at what is edited, with the edits in place; afterwards all is as it was."""
    checked = [CHECKED_BY[path] for path, _, _ in edits if path in CHECKED_BY]
    modules = (dict.fromkeys(checked) or LAYERS) if edits else MODULES
    paths = {package / path for path, _, _ in edits}
    before = {path: path.read_text(encoding="utf-8") for path in paths}
    for path, old, new in edits:
        text = (package / path).read_text(encoding="utf-8")
        (package / path).write_text(text.replace(old, new), encoding="utf-8")
    try:
        return notice(modules)
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")


def main(tests, package, folder):
    """Read changes from standard input, write what noticed them to standard output."""
    sys.dont_write_bytecode = True  # a changed file of the same size and second would be taken for its old bytecode
    warnings.simplefilter("ignore")  # a change may overflow; what counts is the number that comes out
    copy = Path(folder) / "recurlab"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    sys.path[:0] = [folder, tests]
    changes = json.load(sys.stdin)
    json.dump({name: notice_change(copy, edits) for name, edits in changes.items()}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
