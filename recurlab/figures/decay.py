"""What a diagnosis found as files: its tables as CSV, and how the gradient decays under each change as a figure."""

from pathlib import Path

import numpy as np
import pandas

from recurlab.figures import draw
from recurlab.files import write_bytes
from recurlab.measures.diagnosis import AS_IT_IS, GONE, GONE_TEXT, Diagnosis

FIGURE = {
    "plot": "lines",
    "caption": "Norm of the gradient of the last output with respect to the state, medians over rows with 95 % bands; "
    "grey the network as it is.",
    "estimate": "median",
    "x": "lag",
    "y": "norm",
    "col": "weights",
    "col_wrap": 3,
    "behind": AS_IT_IS,
    "xlabel": "lag (steps)",
    "ylabel": "log₁₀ gradient norm",
    "hlines": {"value": float(np.log10(GONE)), "label": GONE_TEXT},
}


def write(found: Diagnosis, folder) -> list[Path]:
    """Write gates.csv, reach.csv and the figure `decay` into a folder; returns their paths."""
    tables = {"gates": found.gates, "reach": found.reach}
    written = [write_bytes(Path(folder) / f"{name}.csv", _csv(rows)) for name, rows in tables.items()]
    return [*written, *draw("decay", FIGURE, _table(found), folder, {})]


def _csv(rows: list[dict]) -> bytes:
    return pandas.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode()


def _table(found: Diagnosis) -> pandas.DataFrame:
    """A line for each change, lag and row, which stands in a seed's place; lags beyond a row's length are left out."""
    parts = [pandas.DataFrame(logs).rename_axis("lag").reset_index() for logs in found.decay.values()]
    table = pandas.concat(parts, keys=found.decay, names=["weights"]).reset_index("weights")
    table = table.melt(["weights", "lag"], var_name="seed", value_name="norm")
    return table[np.isfinite(table["norm"].astype(float))]
