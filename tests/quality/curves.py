"""The picture: what share of the thieves each detector has met after so many queries, one panel a share of cover."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.quality.matches import OURS
from tests.quality.published.registry import PUBLISHED

COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#cc79a7", "#009e73", "#e69f00", "#999999", "#000000")  # Okabe and Ito


def found_by(cells: Sequence[dict[str, Any]], name: str, moments: Sequence[float]) -> list[float]:
    """Share of the thieves of `cells` whom a detector had met when they had asked so many queries, every attack alike.

    >>> cell = {"detectors": {"ours/stop": {"moments": [{"queries": 24}, None]}}}
    >>> found_by([cell], "ours/stop", [10, 100])
    [0.0, 0.5]
    """
    shares = []
    for cell in cells:
        met = [np.inf if one is None else one["queries"] for one in cell["detectors"][name]["moments"]]
        shares.append([float(np.mean(np.array(met) <= moment)) for moment in moments])
    return [float(value) for value in np.mean(shares, axis=0)]


def draw(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw detection over queries into `path`; thefts without other disguise than cover, published detectors as calibrated."""
    thefts = [cell for cell in cells if cell["kind"] == "theft" and set(cell["disguise"]) <= {"cover"}]
    covers = sorted({cell["cover"] for cell in thefts})
    figure = Figure(figsize=(4.0 * max(len(covers), 1), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    names = {f"{OURS}/stop": "detector: stop", f"{OURS}/alert": "detector: alert"}
    names |= {f"{detector}/calibrated": one.title for detector, one in PUBLISHED.items()}
    axes = np.atleast_1d(figure.subplots(1, max(len(covers), 1), sharey=True))
    for cover, axis in zip(covers, axes, strict=False):
        here = [cell for cell in thefts if cell["cover"] == cover]
        moments = np.unique(np.geomspace(4, max(max(cell["asked"]) for cell in here), 120).round())
        for colour, (name, title) in zip(COLOURS, names.items(), strict=True):
            seen = [cell for cell in here if name in cell["detectors"]]
            if seen:
                axis.step(moments, found_by(seen, name, moments.tolist()), where="post", color=colour, label=title)
        axis.set(xscale="log", ylim=(-0.02, 1.02), xlabel="queries", title=f"{100 * cover:.0f}% cover, {len(here)} attacks")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of the thieves met")
    if covers:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=120)
