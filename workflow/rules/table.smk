# One tidy table an experiment, the summary a person reads, and the verdicts on its claims.
rule table:
    input:
        blocks,
    output:
        rows=f"{RESULTS}/{{experiment}}/{SCALE}/table.parquet",
        summary=multiext(f"{RESULTS}/{{experiment}}/{SCALE}/summary", ".csv", ".md"),
        page=report(
            f"{RESULTS}/{{experiment}}/{SCALE}/summary.html",
            caption="../report/summary.rst",
            category="{experiment}",
            labels={"what": "summary", "format": "html"},
        ),
        timing=f"{RESULTS}/{{experiment}}/{SCALE}/timing.parquet",
        record=f"{RESULTS}/{{experiment}}/{SCALE}/provenance.json",
    log:
        f"{RESULTS}/{{experiment}}/{SCALE}/table.log",
    localrule: True
    params:
        settings=table_settings,
    shell:
        f"{RECURLAB} table {{wildcards.experiment}} {OPTIONS} > {{log:q}} 2> >(tee -a {{log:q}} >&2)"


rule claims:
    input:
        rules.table.output.rows,
    output:
        rows=f"{RESULTS}/{{experiment}}/{SCALE}/claims.csv",
        page=report(
            f"{RESULTS}/{{experiment}}/{SCALE}/claims.html",
            caption="../report/claims.rst",
            category="{experiment}",
            labels={"what": "claims", "format": "html"},
        ),
        record=f"{RESULTS}/{{experiment}}/{SCALE}/claims.json",
    log:
        f"{RESULTS}/{{experiment}}/{SCALE}/claims.log",
    localrule: True
    params:
        settings=claims_settings,
    shell:
        f"{RECURLAB} claims {{wildcards.experiment}} {OPTIONS} > {{log:q}} 2> >(tee -a {{log:q}} >&2)"
