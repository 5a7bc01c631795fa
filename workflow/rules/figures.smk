# One job a figure, from the table alone: changing one figure in the experiment file draws that one again.
rule figure:
    input:
        rules.table.output.rows,
    output:
        multiext(
            f"{RESULTS}/{{experiment}}/{SCALE}/figures/{{figure}}",
            ".pdf",
            ".csv",
            ".json",
        ),
        report(
            f"{RESULTS}/{{experiment}}/{SCALE}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="{experiment}",
            labels={"what": "{figure}", "format": "svg"},
        ),
        report(
            f"{RESULTS}/{{experiment}}/{SCALE}/figures/{{figure}}.png",
            caption="../report/figure.rst",
            category="{experiment}",
            labels={"what": "{figure}", "format": "png"},
        ),
    log:
        f"{RESULTS}/{{experiment}}/{SCALE}/figures/{{figure}}.log",
    localrule: True
    params:
        settings=figure_settings,
    shell:
        f"{RECURLAB} figure {{wildcards.experiment}} {{wildcards.figure}} {OPTIONS}"
        " > {log:q} 2> >(tee -a {log:q} >&2)"
