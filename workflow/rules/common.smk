# What the rules share: the experiments, resolved at one scale, and the paths and settings that follow from them.
# Each job of a cluster parses this again, so it reads YAML and sources only: no NumPy, no Numba, no pandas.
import json
import shlex
import subprocess
import sys
from functools import cache

from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.real import RealExecutor

from recurlab import costs
from recurlab import experiment as experiments
from recurlab import provenance
from recurlab.kernels.rebind import kernel_digest
from recurlab.report import landing
from recurlab.studies import TIMED

RECURLAB = f"{shlex.quote(sys.executable)} -m recurlab"
RESULTS = "results"
SNAKEMAKE_MB = 400  # what Snakemake itself takes in a job of a cluster
SCALE = config.setdefault("scale", "default")

# Executors put the interpreter on a command line as it is, where a blank in its path would end the command.
_unquoted = RealExecutor.format_job_exec
RealExecutor.format_job_exec = lambda executor, job: _unquoted(executor, job).replace(
    sys.executable, shlex.quote(sys.executable), 1
)

if SCALE not in experiments.SCALES:
    raise WorkflowError(
        f"--config scale={SCALE}: wanted one of {', '.join(experiments.SCALES)}"
    )

OPTIONS = f"--scale {SCALE} --results {RESULTS}"

if workflow.is_main_process:
    checked = subprocess.run(
        [sys.executable, "-m", "recurlab", "check", "--scale", SCALE],
        capture_output=True,
        text=True,
    )
    if checked.returncode:
        raise WorkflowError(checked.stderr)

EXPERIMENTS = {
    name: experiments.expand(path, SCALE) for name, path in experiments.named().items()
}

MADE = dict(EXPERIMENTS)  # but for those whose data are not here

if workflow.is_main_process:
    left_out = {name: experiments.left_out(e) for name, e in EXPERIMENTS.items()}
    MADE = {name: e for name, e in EXPERIMENTS.items() if not left_out[name]}
    config["left_out"] = list(filter(None, left_out.values()))
    config["landing"] = landing(RESULTS, list(MADE.values()))
    for why in config["left_out"]:
        print(why, file=sys.stderr)


wildcard_constraints:
    experiment="[a-z0-9_]+",
    case="[0-9a-f]{12}",
    seeds=r"\d+-\d+",


def of(wildcards):
    """The experiment a job belongs to."""
    return EXPERIMENTS[wildcards.experiment]


def timed_experiments():
    """A pattern of the names of the experiments that measure times; it fits nothing if there is none."""
    return (
        "|".join(name for name, e in EXPERIMENTS.items() if e.study in TIMED) or "(?!)"
    )


def final_outputs():
    """Tables, claims and figures of every experiment that has some and whose data are here."""
    return [
        f"{RESULTS}/{name}/{SCALE}/{target}"
        for name, e in MADE.items()
        for target in experiments.targets_of(e)
    ]


def source_digest(wildcards):
    """The sources behind a block: when they change, it is computed again."""
    return digest_of_study(of(wildcards).study)


digest_of_study = cache(
    provenance.source_digest
)  # 1 ms, for each of perhaps 5,000 jobs


def blocks(wildcards):
    """The files of an experiment's blocks: rows and records."""
    folder = f"{RESULTS}/{wildcards.experiment}/cases"
    return [
        f"{folder}/{block.case.id}/{block.seeds}.{kind}"
        for block in experiments.blocks_of(of(wildcards))
        for kind in ("parquet", "json")
    ]


def table_settings(wildcards):
    """What decides a table besides its blocks: the order of the cases, the text and the groups of the summary."""
    e = of(wildcards)
    cases = experiments.digest([case.id for case in e.cases])
    return json.dumps([cases, e.title, e.question, e.summary])


def claims_settings(wildcards):
    e = of(wildcards)
    return json.dumps([e.title, e.question, e.source, e.claims])


def figure_settings(wildcards):
    """The figures as the file has them, with what their captions in the report say."""
    e = of(wildcards)
    return {"figures": e.figures, "question": e.question, "seeds": e.seeds}


@cache
def measured(name):
    """What is known of an experiment's jobs: what its blocks took, and its cases by id; read once."""
    e = EXPERIMENTS[name]
    return costs.measured(RESULTS, e), {case.id: case for case in e.cases}


def request(wildcards, attempt):
    """What a job asks of a cluster, from what blocks of its experiment took; more with each attempt."""
    known, cases = measured(wildcards.experiment)
    first, last = map(int, wildcards.seeds.split("-"))
    block = experiments.Block(cases[wildcards.case], first, last)
    return costs.request(known, block, attempt)


def memory_mb(wildcards, attempt):
    return request(wildcards, attempt).memory_mb + SNAKEMAKE_MB


def minutes(wildcards, attempt):
    return request(wildcards, attempt).minutes


def gpus(wildcards, attempt):
    return request(wildcards, attempt).gpus
