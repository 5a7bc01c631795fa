# One job for all figures of an experiment, from the table alone: a process takes 1.8 s to start, a figure 0.3 s to draw.
rule figures:
    input:
        rules.table.output.rows,
    output:
        report(
            directory(f"{RESULTS}/{{experiment}}/{SCALE}/figures"),
            patterns=["{figure}.{format,svg|png}"],
            caption="../report/figure.rst",
            category="{experiment}",
            labels={"what": "{figure}", "format": "{format}"},
        ),
    log:
        f"{RESULTS}/{{experiment}}/{SCALE}/figures.log",
    localrule: True
    params:
        settings=figure_settings,
    shell:
        f"{RECURLAB} figure {{wildcards.experiment}} {OPTIONS} > {{log:q}} 2> >(tee -a {{log:q}} >&2)"
