# Every experiment of experiments/ at one scale: blocks of seeds -> table -> claims and figures.
#
#   snakemake                              all experiments at the scale "default"
#   snakemake --config scale=quick         or at another one: quick, default, paper
#   snakemake results/NAME/default/table.parquet
#   snakemake --report results/report.zip
#
# Each rule calls a command that a person could type (`recurlab --help`); experiments/README.md explains the files.
from snakemake.utils import min_version

min_version("9.27")


report: "workflow/report/workflow.rst"


# Snakemake limits jobs to 100 a second, and for that looks at all ready jobs once more a second with every job that it
# has started: a fifth of a core after 400 jobs. Jobs here take seconds.
onstart:
    workflow.scheduler.job_rate_limiter = None


include: "workflow/rules/common.smk"
include: "workflow/rules/run.smk"
include: "workflow/rules/table.smk"
include: "workflow/rules/figures.smk"


rule all:
    default_target: True
    input:
        final_outputs(),
