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


def notice(modules, sooner=()):
    """(check, message) of the first check that fails on the copy as it stands, those of `sooner` first, or None."""
    for name in [name for name in sys.modules if name.split(".")[0] in CHANGED]:
        del sys.modules[name]
    importlib.invalidate_caches()
    reached = "import"
    try:
        checks = {name: of for module in modules for name, of in importlib.import_module(module).CHECKS.items()}
        for name in [*(name for name in sooner if name in checks), *(name for name in checks if name not in sooner)]:
            reached = name
            check, *arguments = checks[name]
            check(*arguments)
    except Exception as error:
        return reached, f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def notice_change(package, edits, sooner=()):
    """As `notice`, by whose checks look at what is edited, with the edits in place; afterwards all is as it was."""
    checked = [CHECKED_BY[path] for path, _, _ in edits if path in CHECKED_BY]
    modules = (dict.fromkeys(checked) or LAYERS) if edits else MODULES
    paths = {package / path for path, _, _ in edits}
    before = {path: path.read_text(encoding="utf-8") for path in paths}
    for path, old, new in edits:
        text = (package / path).read_text(encoding="utf-8")
        (package / path).write_text(text.replace(old, new), encoding="utf-8")
    try:
        return notice(modules, sooner)
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")


def notice_changes(package, changes):
    """What notices each change. Changes come file by file: the checks that noticed those before go first."""
    noticed, sooner = {}, []
    for name, edits in changes.items():
        noticed[name] = found = notice_change(package, edits, sooner)
        sooner = [found[0], *(check for check in sooner if check != found[0])] if found else sooner
    return noticed


def main(tests, package, folder):
    """Read changes from standard input, write what noticed them to standard output."""
    sys.dont_write_bytecode = True  # a changed file of the same size and second would be taken for its old bytecode
    warnings.simplefilter("ignore")  # a change may overflow; what counts is the number that comes out
    copy = Path(folder) / "recurlab"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    sys.path[:0] = [folder, tests]
    changes = json.load(sys.stdin)
    json.dump(notice_changes(copy, changes), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
