"""The picture of one client: its queries over the population, and its evidence against the thresholds."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize

from detector.engine.evidence.accumulate import CHANNELS, MAY_STOP
from detector.engine.models.reference import LANDMARKS
from detector.engine.policy import ALERT_SHARE, BLOCK_SHARE
from detector.offline.explain.explanation import Explanation
from detector.offline.pictures.style import (
    ACTION_INK,
    ACTION_MARKS,
    CHANNEL_COLOURS,
    GREY,
    INK,
    NOVELTY_COLOUR,
    PALE,
    RING,
    TOP,
    canvas,
    drawable,
    query_axis,
)
from detector.offline.trace import Trace, nearest_earlier

MOST_POINTS, MOST_RINGS = 4000, 400


def client_picture(explanation: Explanation, path: Path) -> None:
    """Draw one client, 1400 by 800 pixels: its queries over the population, and its evidence against the thresholds.

    Of very long sessions an even sample of the queries is drawn. Two directions out of many show what is foreign only if it is
    foreign along them: queries that lie among the population here may be far from it elsewhere.

    Raises `OutputError` when `path` cannot be written.
    """
    trace = explanation.trace
    with canvas(path, 14, 8) as figure:
        left = figure.add_gridspec(1, 1, left=0.05, right=0.47, top=0.765, bottom=0.085)
        right = figure.add_gridspec(2, 1, height_ratios=(1.3, 1.0), left=0.565, right=0.98, top=0.84, bottom=0.085, hspace=0.27)
        figure.text(0.012, 0.945, f"{drawable(trace.client)} on model {drawable(trace.model)}", fontsize=17, weight="bold")
        figure.text(0.012, 0.904, explanation.headline, fontsize=12.5)
        _draw_queries(figure.add_subplot(left[0]), explanation)
        upper = figure.add_subplot(right[0])
        _draw_channels(upper, trace)
        lower = figure.add_subplot(right[1], sharex=upper)
        _draw_novelty(lower, trace)
        last = int(trace.queries[-1])
        for axes in (upper, lower):
            query_axis(axes, last)
            for query, action in trace.marks:
                axes.axvline(query, color=ACTION_MARKS[action][0], linewidth=1.6, zorder=1)
        for place, (query, action) in enumerate(trace.marks):
            far = query > last**0.3
            upper.annotate(
                f"{action}: query {query:,}",
                (query, 0.955 - 0.085 * place),
                xycoords=("data", "axes fraction"),
                xytext=(-5 if far else 5, 0),
                textcoords="offset points",
                ha="right" if far else "left",
                va="center",
                fontsize=10.5,
                color=ACTION_INK[action],
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0},
                zorder=5,
            )
        lower.set_xlabel("queries of the client (logarithmic)")


def _principal(population: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the middle of the population and its first two principal directions, (COORDINATES,) and (COORDINATES, 2)."""
    centre = population.mean(axis=0)
    _, _, directions = np.linalg.svd(population - centre, full_matrices=True)
    axes = directions[:2].T
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return centre, axes * np.where(signs == 0, 1, signs)


def _draw_queries(axes: Any, explanation: Explanation) -> None:
    trace = explanation.trace
    population = explanation.population if len(explanation.population) else trace.z.astype(np.float64)
    centre, directions = _principal(population)
    unit = explanation.unit or 1.0
    cloud = (population - centre) @ directions * unit
    points = (trace.z - centre) @ directions * unit
    axes.scatter(*cloud.T, s=900 if len(cloud) <= LANDMARKS else 150, color=PALE, alpha=0.35, linewidths=0, zorder=0)
    axes.scatter(*cloud.T, s=14, color=GREY, alpha=0.8, linewidths=0, zorder=1, label=explanation.population_name)
    shown = np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).astype(np.intp))
    colours = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.93, 256)))
    size = 34 if len(shown) < 1000 else 12
    dots = axes.scatter(
        *points[shown].T,
        c=trace.queries[shown],
        cmap=colours,
        norm=Normalize(1, max(int(trace.queries[-1]), 2)),
        s=size,
        linewidths=0,
        zorder=3,
        label="query of this client",
    )
    carried = np.flatnonzero(trace.constructed.any(axis=1))
    carried = carried[np.unique(np.linspace(0, len(carried) - 1, MOST_RINGS).astype(np.intp))] if len(carried) else carried
    sources = [nearest_earlier(trace.z, i) for i in carried.tolist()]
    ways = [points[[source, i]] for source, i in zip(sources, carried.tolist(), strict=True) if source is not None]
    axes.add_collection(LineCollection(ways, colors=RING, linewidths=0.7, alpha=0.45, zorder=2))
    if len(carried):
        axes.scatter(
            *points[carried].T,
            s=2.6 * size,
            facecolors="none",
            edgecolors=RING,
            linewidths=1.2,
            zorder=4,
            label="carried evidence; line to the nearest earlier query",
        )
    axes.set_title("What it asked, seen along two directions out of many", pad=48)
    if explanation.unit is None:
        axes.set_xticks([])
        axes.set_yticks([])
    where = "median nearest-neighbour distances" if explanation.unit else "no units"
    axes.set_xlabel(f"first principal direction of the population ({where})")
    axes.set_ylabel("second principal direction (same units)")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.06)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.005),
        ncols=2,
        handletextpad=0.3,
        columnspacing=1.2,
        labelspacing=0.3,
        borderaxespad=0.0,
    )
    threshold = axes.figure.colorbar(dots, ax=axes, fraction=0.032, pad=0.015, aspect=38)
    threshold.set_label("query number", labelpad=2)
    threshold.outline.set_visible(False)


def _threshold_line(axes: Any, height: float, text: str, *, below: bool = False) -> None:
    axes.axhline(height, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
    axes.annotate(
        text,
        (0.008, height),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3 if below else 2),
        textcoords="offset points",
        va="top" if below else "bottom",
        fontsize=10,
    )


def _draw_channels(axes: Any, trace: Trace) -> None:
    reached = trace.peak[-1] / np.asarray(trace.thresholds.stop)
    shown = sorted(np.argsort(-reached, kind="stable")[: len(CHANNEL_COLOURS)].tolist())
    for place, j in enumerate(shown):
        name, score, stop = CHANNELS[j], float(trace.peak[-1, j]), trace.thresholds.stop[j]
        treated = "stops" if MAY_STOP[j] else "throttles"
        axes.plot(
            trace.queries,
            np.minimum(trace.peak[:, j] / stop, TOP),
            color=CHANNEL_COLOURS[place],
            linestyle=("-", (0, (4, 1.5)))[place % 2],
            linewidth=2.4,
            drawstyle="steps-post",
            clip_on=False,
            zorder=3,
            label=f"{name}: {score:,.1f}, {treated} at {stop:.1f}",
        )
    for height, action in ((ALERT_SHARE, "alert"), (1.0, "perturb"), (BLOCK_SHARE, "block")):
        _threshold_line(axes, height, action)
    axes.set_ylim(0, TOP)
    axes.set_yticks([0, ALERT_SHARE, 1, BLOCK_SHARE, TOP], ["0", f"{ALERT_SHARE:g}", "1", f"{BLOCK_SHARE:g}", f"≥ {TOP:g}"])
    axes.set_ylabel("evidence ÷ threshold that stops")
    axes.set_title("Evidence per query, the four strongest channels")
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.14), frameon=True, framealpha=0.9, edgecolor="none")


def _draw_novelty(axes: Any, trace: Trace) -> None:
    thresholds = trace.thresholds
    top = (
        max([*trace.novelty.tolist(), 1.25 * (thresholds.throttle if np.isfinite(thresholds.throttle) else thresholds.alert)])
        * 1.08
    )
    axes.plot(
        trace.evaluations,
        trace.novelty,
        color=NOVELTY_COLOUR,
        linewidth=2.0,
        marker="o",
        markersize=4.5,
        clip_on=False,
        zorder=3,
    )
    _threshold_line(axes, thresholds.alert, f"alert at {thresholds.alert:.2f}", below=True)
    if np.isfinite(thresholds.throttle):
        _threshold_line(axes, thresholds.throttle, f"throttle at {thresholds.throttle:.2f}")
    axes.set_ylim(0, top)
    axes.set_ylabel("novelty score")
    if len(trace.evaluations):
        axes.set_title("Novelty at each evaluation: unlike benign clients")
    else:
        axes.set_title("Novelty: too few queries for an evaluation")
