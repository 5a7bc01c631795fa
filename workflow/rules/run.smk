# Blocks of seeds: one job each, and before them one that compiles, or each would compile for itself what it does not
# find. The experiment file is no input: a new grid value, seed or figure runs only what is new.
rule compile:
    output:
        f"{RESULTS}/compiled.json",
    log:
        f"{RESULTS}/compile.log",
    localrule: True
    params:
        kernels=kernel_digest(),
    shell:
        f"{RECURLAB} compile --flag {{output:q}} 2> {{log:q}}"


rule block:
    input:
        ancient(rules.compile.output),
    output:
        rows=f"{RESULTS}/{{experiment}}/cases/{{case}}/{{seeds}}.parquet",
        record=f"{RESULTS}/{{experiment}}/cases/{{case}}/{{seeds}}.json",
    log:
        f"{RESULTS}/{{experiment}}/cases/{{case}}/{{seeds}}.log",
    threads: 1
    resources:
        mem_mb=memory_mb,
        runtime=minutes,
        gpu=gpus,
    params:
        sources=source_digest,
    shell:
        f"{RECURLAB} run {{wildcards.experiment}} {OPTIONS} --case {{wildcards.case}} --seeds {{wildcards.seeds}}"
        " --threads {threads} 2> {log:q}"


# A block whose results are times takes all cores, so that nothing runs beside it.
use rule block as timing with:
    wildcard_constraints:
        experiment=timed_experiments(),
    threads: lambda wildcards: workflow.cores


ruleorder: timing > block
