"""Experiments: what a YAML file becomes, and everything that is refused before anything runs."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import jsonschema
import pytest
from engine import GONE, PROBE, ROOT, TINY, add_studies, environment, write
from test_studies import SMALL

from recurlab import check, experiment, provenance
from recurlab.cli import main
from recurlab.files import read_record, write_record
from recurlab.studies import STUDIES, kinds, load_study
from recurlab.studies.study import parameters_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    add_studies(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    return tmp_path


def expanded(folder, base=PROBE, scale="default", overrides=(), **changes):
    return experiment.expand(write(folder, base, **changes), scale, overrides)


# expansion


def test_cases_come_in_the_order_of_the_file_with_the_first_key_slowest(folder):
    cases = expanded(folder, fixed={"width": GONE}, grid={"kind": ["b", "a"], "width": [2.0, 1.0]}).cases
    points = [(case.parameters["kind"], case.parameters["width"]) for case in cases]
    assert points == [("b", 2.0), ("b", 1.0), ("a", 2.0), ("a", 1.0)]


def test_a_list_of_grids_is_their_union_and_a_case_stands_once(folder):
    cases = expanded(folder, grid=[{"kind": ["a", "b"]}, {"kind": ["c", "b"]}]).cases
    assert [case.parameters["kind"] for case in cases] == ["a", "b", "c"]


def test_without_a_grid_there_is_one_case(folder):
    assert len(expanded(folder, grid=GONE, fixed={"kind": "a"}).cases) == 1


def test_the_case_id_is_a_fixed_function_of_study_parameters_and_replicas():
    """If this id changes, every result file is computed again: say so in the changelog."""
    assert experiment.case_id("probe", {"steps": 2, "kind": "a"}, {"gain": [0.5, 1.0]}) == "df1cca084ec4"


def test_ids_depend_neither_on_the_order_of_keys_nor_on_seeds_texts_and_figures(folder):
    ids = [case.id for case in expanded(folder).cases]
    turned = dict(reversed(PROBE.items())) | {"fixed": {"width": 1.5, "steps": 2}, "block": 1, "title": "T"}
    assert [case.id for case in expanded(folder, turned, replicas={"seeds": 9}).cases] == ids
    assert [case.id for case in expanded(folder, replicas={"gain": [0.5, 1]}).cases] != ids
    assert [case.id for case in expanded(folder, fixed={"width": 1.0}).cases] != ids


def test_blocks_are_whole_but_for_the_last(folder):
    blocks = experiment.blocks_of(expanded(folder))
    assert [block.seeds for block in blocks] == ["0-1", "2-3", "4-4"] * 2
    assert len({block.case.id for block in blocks}) == 2


def test_a_scale_merges_mappings_deeply_and_replaces_lists(folder):
    scales = {"quick": {"replicas": {"seeds": 1, "gain": [3.0]}, "fixed": {"steps": 1}}}
    quick = expanded(folder, scale="quick", scales=scales)
    assert (quick.seeds, quick.replicas) == (1, {"gain": [3.0]})
    assert quick.cases[0].parameters == {"steps": 1, "width": 1.5, "kind": "a"}
    assert expanded(folder, scale="paper", scales=scales).seeds == 5


def test_overrides_come_last_and_have_a_folder_of_their_own(folder):
    changed = expanded(folder, overrides=["replicas.seeds=7", "grid.kind=[c]"])
    assert (changed.seeds, [case.parameters["kind"] for case in changed.cases]) == (7, ["c"])
    assert changed.folder.startswith("default-") and expanded(folder).folder == "default"


def test_numbers_nulls_and_dates_are_read_as_one_expects():
    content, problems = experiment.parse("{a: 1e-3, b: -2E+5, c: 1.5, d: 12, e: null, f: 2024-13-45, g: 1e, h: true}")
    assert problems == []
    assert content == {"a": 1e-3, "b": -2e5, "c": 1.5, "d": 12, "e": None, "f": "2024-13-45", "g": "1e", "h": True}


def test_experiments_are_found_above_the_working_folder_and_by_path(folder, monkeypatch):
    inside = write(folder / "experiments", PROBE, "mine")
    outside = write(folder / "elsewhere", PROBE, "other")
    (folder / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(folder / "deep" / "down")
    assert experiment.find("mine") == inside
    assert experiment.find(str(outside)) == outside
    with pytest.raises(ValueError, match="did you mean 'mine'"):
        experiment.find("mime")
    with pytest.raises(ValueError, match="no such file"):
        experiment.find("nothing.yaml")


def test_without_a_snakefile_the_experiments_beside_the_package_are_found(folder):
    (folder / "Snakefile").unlink()
    assert experiment.project_root() == ROOT


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(experiment.load_schema())


# what is refused: (changes to PROBE, parts of the message)
MISTAKES = {
    "unknown key": ({"fixd": {}}, ["fixd: unknown key; did you mean 'fixed'?"]),
    "missing key": (
        {"question": GONE, "block": GONE},
        ["question: missing", "block: missing, wanted the number of seeds"],
    ),
    "wrong type": ({"title": 5, "fixed": [1]}, ["title: got 5, wanted a text", "fixed: got [1], wanted"]),
    "block below 1": ({"block": 0}, ["block: got 0, wanted a whole number >= 1"]),
    "seeds not whole": ({"replicas": {"seeds": 2.5}}, ["replicas.seeds: got 2.5, wanted a whole number >= 1"]),
    "no seeds": ({"replicas": {"seeds": GONE}}, ["replicas.seeds: missing, wanted the number of seeds"]),
    "empty grid list": ({"grid": {"kind": []}}, ["grid.kind: got [], wanted a list of different values"]),
    "value twice": ({"grid": {"kind": ["a", "a"]}}, ['grid.kind: got ["a", "a"], wanted a list of different values']),
    "grid value no list": ({"grid": {"kind": "a"}}, ['grid.kind: got "a", wanted a list']),
    "unknown study": ({"study": "prob"}, ["study: got \"prob\", wanted a study; did you mean 'probe'?"]),
    "unknown scale": ({"scales": {"quik": {}}}, ["scales.quik: unknown key; did you mean 'quick'?"]),
    "unknown parameter": (
        {"fixed": {"witdh": 1.0}},
        ["fixed.witdh: probe has no such parameter; did you mean 'width'?"],
    ),
    "missing parameter": (
        {"fixed": {"width": GONE}},
        ["width: missing in fixed or grid, probe wants a finite number > 0"],
    ),
    "negative size": ({"fixed": {"steps": -1}}, ["fixed.steps: got -1, wanted a whole number >= 1"]),
    "flag for a size": ({"fixed": {"steps": True}}, ["fixed.steps: got true, wanted a whole number >= 1"]),
    "text for a number": ({"fixed": {"width": "1.5x"}}, ['fixed.width: got "1.5x", wanted a finite number > 0']),
    "not finite": ({"fixed": {"width": float("inf")}}, ["fixed.width: got Infinity, wanted a finite number"]),
    "name of no value": ({"grid": {"kind": ["a", "z"]}}, ['grid.kind: got "z", wanted one of a, b, c']),
    "replica value": ({"replicas": {"gain": [1.0, -1.0]}}, ["replicas.gain: got -1.0, wanted a finite number > 0"]),
    "not a replica key": (
        {"fixed": {"steps": GONE}, "replicas": {"steps": [1, 2]}},
        ["replicas.steps: probe cannot vary it"],
    ),
    "given twice": ({"fixed": {"kind": "a"}}, ["kind: stands in fixed and grid, wanted once"]),
    "given twice to replicas": ({"fixed": {"gain": 1.0}}, ["gain: stands in fixed and replicas, wanted once"]),
    "missing in one grid": ({"grid": [{"kind": ["a"]}, {}]}, ["kind: missing in fixed or grid[1], probe wants"]),
    "key no text": ({"fixed": {1: 2}}, ["fixed.1: got 1, wanted a name"]),
    "bad name": ({"figures": {"My fig": {"plot": "lines"}}}, ['figures.My fig: got "My fig", wanted a name of a-z']),
    "figure no mapping": ({"figures": {"f": [1]}}, ["figures.f: got [1], wanted a figure {plot"]),
    "unknown plot": ({"figures": {"f": {"plot": "line", "caption": "c"}}}, ["figures.f: ", "lines"]),
    "figure column": (
        {"figures": {"f": {"plot": "lines", "caption": "c", "x": "step", "y": "valu"}}},
        ["figures.f: ", "valu", "value"],
    ),
    "claim column": ({"claims": [{"says": "s", "test": "mean", "y": "valu", "at_most": 1}]}, ["claims[0]: ", "valu"]),
    "unknown estimator": (
        {"claims": [{"says": "s", "test": "meen", "y": "value", "at_most": 1}]},
        ["claims[0]: ", "meen"],
    ),
    "claim no mapping": ({"claims": ["x"]}, ['claims[0]: got "x", wanted a claim']),
    "summary column": (
        {"summary": {"by": ["knd"]}},
        ["summary.by: got \"knd\", wanted a column; did you mean 'kind'?"],
    ),
    "summary value": ({"summary": {"values": ["kind"]}}, ['summary.values: got "kind", wanted a column']),
    "summary rows": ({"summary": {"where": {"knd": "a"}}}, ['summary.where: got "knd", wanted a column; did you mean']),
    "bad at one scale": ({"scales": {"paper": {"fixed": {"steps": 0}}}}, ["fixed.steps: got 0", "(scale paper)"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_with_file_key_value_and_what_is_wanted(folder, capsys, name):
    changes, parts = MISTAKES[name]
    path = write(folder, PROBE, **changes)
    assert main(["check", str(path)]) == 2
    told = capsys.readouterr().err
    assert "tiny.yaml: " in told
    assert [part for part in parts if part not in told] == []


def test_all_mistakes_are_told_at_once_each_once_and_nothing_is_written(folder, capsys):
    wrong = {
        "fixd": 1,
        "block": -1,
        "fixed": {"steps": 0, "nonsense": 1},
        "grid": {"kind": ["q"]},
        "summary": {"by": ["x"]},
    }
    path = write(folder, PROBE, **wrong)
    assert main(["run", str(path)]) == 2
    told = capsys.readouterr().err
    for part in ("fixd", "block", "fixed.steps", "fixed.nonsense", "grid.kind", "summary.by"):
        assert told.count(f"tiny.yaml: {part}: ") == 1
    assert sorted(entry.name for entry in folder.iterdir()) == ["Snakefile", "tiny.yaml"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("title: a\ntitle: b\n", "key 'title' stands 2 times in the mapping of line 1"),
        ("fixed: {a: 1, a: 2}\nstudy: probe\n", "key 'a' stands 2 times"),
        ("title: [a\n", "while parsing"),
        ("- a\n- b\n", "wanted a mapping of keys to values"),
        ("", "wanted a mapping of keys to values"),
        ("{}", "study: missing"),
        ("? [1]\n: 2\n", "unhashable key"),
        (
            "title: !!python/object/apply:os.getcwd []\n",
            "line 1: the tag tag:yaml.org,2002:python/object/apply:os.getcwd; wanted texts",
        ),
    ],
)
def test_yaml_that_cannot_be_meant_is_refused(folder, capsys, text, part):
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    assert main(["check", "bad.yaml"]) == 2
    told = capsys.readouterr().err
    assert "bad.yaml: " in told and part in told


def test_bytes_that_are_no_text_are_refused(folder, capsys):
    (folder / "bad.yaml").write_bytes(b"title: \xff\xfe")
    assert main(["check", "bad.yaml"]) == 2
    assert "bad.yaml: not readable" in capsys.readouterr().err


def test_a_file_name_that_cannot_name_a_folder_is_refused(folder, capsys):
    path = write(folder, PROBE, "My experiment")
    assert main(["check", str(path)]) == 2
    assert "file name: wanted a-z" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["seeds", "=5", "replicas.=5", "replicas.seeds=[", "scales.quick=1"])
def test_a_change_that_cannot_be_meant_is_refused(folder, capsys, change):
    write(folder / "experiments", PROBE)
    assert main(["run", "tiny", "--set", change]) == 2
    assert "tiny.yaml: " in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_a_name_alone_is_a_parameter(folder, capsys):
    changed = expanded(folder, overrides=["steps=7", "block=3"])
    assert [case.parameters["steps"] for case in changed.cases] == [7, 7] and changed.block == 3
    write(folder / "experiments", PROBE)
    assert main(["run", "tiny", "--set", "step=1"]) == 2
    assert "tiny.yaml: fixed.step: probe has no such parameter; did you mean 'steps'?" in capsys.readouterr().err


# devices


def device_problems_of(folder, study, **fixed):
    path = write(folder, TINY | {"study": study}, fixed=fixed)
    return [problem for problem in check.problems_of(path, ("default",)) if "fixed.device: " in problem]


def test_a_device_may_be_left_out_and_then_stands_in_no_case(folder):
    plain, cuda = expanded(folder, TINY), expanded(folder, TINY, overrides=["device=cuda"])
    assert all("device" not in case.parameters and case.device == "cpu" for case in plain.cases)
    assert all(case.parameters["device"] == case.device == "cuda" for case in cuda.cases)
    assert not {case.id for case in plain.cases} & {case.id for case in cuda.cases}
    assert check.problems_of(write(folder, TINY)) == []
    assert check.problems_of(write(folder, TINY), overrides=["device=cuda"]) == []


def test_a_device_that_a_study_cannot_use_is_refused_by_name(folder):
    (told,) = device_problems_of(folder, "sparsity", device="cuda")
    assert "fixed.device: sparsity has no such parameter" in told
    (told,) = device_problems_of(folder, "unrolling", device="gpu")
    assert 'fixed.device: got "gpu", wanted cpu, cuda or cuda_fast' in told


WINDOW = {"cell": None, "part": "documents", "rung": "counts"}


@pytest.mark.parametrize("name", ["snapshot", "independence", "language"])
def test_a_case_without_a_recurrent_layer_refuses_a_gpu(name):
    study = load_study(name)
    given = dict.fromkeys(parameters_of(study)) | SMALL[name] | WINDOW | {"device": "cuda"}
    assert [problem for problem in study.together(given) if problem.startswith("device: got cuda, wanted cpu for ")]
    assert not [problem for problem in study.together(given | {"device": "cpu"}) if "device" in problem]
    used = given | {"cell": "gru", "rung": "recurrent"}
    assert not [problem for problem in study.together(used) if "device" in problem]


def test_the_real_tables_are_asked_for_cells_and_initialisations(folder, capsys):
    path = write(folder, TINY, grid={"cell": ["gru", "rnn_tan"], "init_name": ["ortogonal"]})
    assert main(["check", str(path)]) == 2
    told = capsys.readouterr().err
    assert "grid.cell: got \"rnn_tan\", wanted a cell of `recurlab list cells`; did you mean 'rnn_tanh'?" in told
    assert "did you mean 'orthogonal'?" in told


def test_every_experiment_of_the_project_is_fine_at_every_scale():
    assert [problem for path in (ROOT / "experiments").glob("*.yaml") for problem in check.problems_of(path)] == []


# kinds

KINDS = [
    (kinds.SIZE, [1, 7], [0, -1, 1.0, True, "1", None]),
    (kinds.COUNT, [0, 3], [-1, 0.5, False]),
    (kinds.REAL, [0, -1.5], [float("nan"), float("inf"), "1", True]),
    (kinds.POSITIVE, [1, 1e-9], [0, -1.0, float("inf")]),
    (kinds.SHARE, [0, 1, 0.5], [-0.1, 1.1, float("nan")]),
    (kinds.FLAG, [True, False], [0, 1, "yes"]),
    (kinds.DTYPE, ["float32", "float64"], ["float16", 32]),
    (kinds.CELL, ["gru"], ["gruu", 1, ["gru"]]),
    (kinds.INIT, ["orthogonal"], ["x", None]),
    (kinds.one_of("a", 1), ["a", 1], ["b", True, 1.0, [1]]),
    (kinds.optional(kinds.SIZE), [None, 1], [0, "x"]),
    (kinds.list_of(kinds.SIZE), [[1], [1, 2]], [[], [0], 1, "12", [1.5]]),
]


@pytest.mark.parametrize(
    ("kind", "good", "bad"), KINDS, ids=lambda part: part.wanted if isinstance(part, kinds.Kind) else ""
)
def test_kinds_accept_what_they_say(kind, good, bad):
    assert [value for value in good if not kind.accepts(value)] == []
    assert [value for value in bad if kind.accepts(value)] == []


def test_whole_numbers_reach_a_study_as_floats_where_it_wants_a_number():
    assert repr(kinds.REAL.convert(1)) == "1.0"
    assert kinds.list_of(kinds.POSITIVE).convert([1, 2]) == (1.0, 2.0)
    assert kinds.optional(kinds.REAL).convert(None) is None


@pytest.mark.parametrize("name", STUDIES)
def test_studies_say_what_they_take_and_return(name):
    study = load_study(name)
    parameters = parameters_of(study)
    assert all(isinstance(kind, kinds.Kind) for kind in parameters.values())
    assert set(study.replicas) <= set(parameters)
    assert not {"case", "seed", "source", "replica", *parameters} & set(study.columns)
    assert all(";" in told for told in study.columns.values())


# the digest of the sources


@pytest.fixture
def sources(folder, monkeypatch):
    """A copy of the package that may be edited, and the digest of two studies in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    package = shutil.copytree(ROOT / "recurlab", folder / "recurlab", ignore=ignored)
    monkeypatch.setattr(provenance, "PACKAGE", package)

    def edit(name, old, new):
        text = (package / name).read_text(encoding="utf-8")
        assert old in text
        (package / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    def digests():
        provenance._known_sources.cache_clear()
        return provenance.source_digest("unrolling"), provenance.source_digest("gradient_decay")

    return SimpleNamespace(edit=edit, digests=digests)


def test_comments_docstrings_and_line_ends_do_not_change_the_digest(sources):
    before = sources.digests()
    sources.edit("studies/unrolling.py", '"""', '"""Other words. ')
    sources.edit("studies/unrolling.py", "def ", "# a comment\n\n\ndef ")
    sources.edit("cells/gru.py", "\n\n", "\n\n\n# a comment\n")
    assert sources.digests() == before


def test_code_of_kernels_changes_every_digest_and_code_of_a_study_its_own(sources):
    first = sources.digests()
    sources.edit("studies/unrolling.py", "def ", "UNUSED = 1\n\n\ndef ")
    second = sources.digests()
    assert second[0] != first[0] and second[1] == first[1]
    sources.edit("cells/gru.py", "def ", "UNUSED = 1\n\n\ndef ")
    third = sources.digests()
    assert third[0] != second[0] and third[1] != second[1]


def test_imported_modules_count_and_others_do_not(sources):
    first = sources.digests()
    sources.edit("layers/recurrent.py", "\nimport", "\nimport this\nimport")  # the studies import it
    second = sources.digests()
    assert second[0] != first[0] and second[1] != first[1]
    sources.edit("results.py", "\nimport", "\nimport this\nimport")
    assert sources.digests() == second


def test_what_was_read_of_the_sources_is_kept_for_the_next_process(sources):
    first = sources.digests()
    kept = provenance._sources_file()
    assert provenance.PACKAGE in kept.parents
    for damaged in ("{damaged", kept.read_text().replace("recurlab.studies.unrolling", "recurlab.studies.unrolled")):
        kept.write_text(damaged, encoding="utf-8")
        assert sources.digests() == first
    known = {name: [same, "0" * 64, []] for name, (same, *_) in read_record(kept)["sources"].items()}
    write_record(kept, {"sources": known})
    assert sources.digests() != first  # it is looked up
    kept.unlink()
    kept.parent.chmod(0o500)
    assert sources.digests() == first


# a job of a workflow expands everything again

EXPAND = """
import sys
from recurlab import experiment, provenance, report
found = [experiment.expand(path) for path in experiment.named().values()]
for each in found:
    experiment.blocks_of(each)
    provenance.source_digest(each.study)
print({"numpy", "numba", "pandas", "pyarrow", "scipy", "jsonschema"} & set(sys.modules) or "light")
"""


def test_expanding_all_experiments_is_light():
    """None of the packages that take time to import is."""
    result = subprocess.run([sys.executable, "-c", EXPAND], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert result.stdout.strip() == "light"
