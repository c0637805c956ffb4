"""The picture of many clients: how the case against each grew, one panel a group, the benign ones below."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from detector.engine.evidence.accumulate import CHANNELS
from detector.offline.pictures.style import (
    ACTION_INK,
    ACTION_MARKS,
    CONSTRUCTION_COLOUR,
    GREY,
    INK,
    NOVELTY_COLOUR,
    TOP,
    canvas,
    drawable,
    query_axis,
)
from detector.offline.trace import NOVELTY, Trace

BENIGN = "benign"
DONE = {"throttle": "throttled", "perturb": "stopped", "block": "stopped"}


def evidence_picture(traces: Sequence[Trace], path: Path) -> None:
    """Draw the evidence of many clients, 1400 by 900 pixels: one panel a group, the group `BENIGN` in grey below.

    Made for up to nine groups of a few clients each. Raises `OutputError` when `path` cannot be written, ValueError without
    any trace.
    """
    if not traces:
        raise ValueError("there is nothing to draw: no traces")
    groups = list(dict.fromkeys(trace.group for trace in traces if trace.group != BENIGN))
    columns = min(max(len(groups), 1), 3 if len(groups) <= 6 else 4)
    rows = -(-len(groups) // columns)
    benign = [trace for trace in traces if trace.group == BENIGN]
    last = max(int(trace.queries[-1]) for trace in traces)
    with canvas(path, 14, 9) as figure:
        heights = [1.0] * rows + [0.85] * bool(benign)
        grid = figure.add_gridspec(
            len(heights),
            columns,
            height_ratios=heights,
            left=0.07,
            right=0.985,
            top=0.845,
            bottom=0.07,
            hspace=0.5 if len(heights) <= 3 else 0.8,
            wspace=0.1,
        )
        figure.text(0.012, 0.957, "How the case grew, query by query", fontsize=17, weight="bold")
        figure.text(
            0.012,
            0.922,
            "Evidence relative to the threshold at which the client is acted upon; beyond twice that it is drawn at the edge.",
            fontsize=12,
        )
        for place, group in enumerate(groups):
            row, column = divmod(place, columns)
            axes = figure.add_subplot(grid[row, column])
            _draw_group(axes, group, [trace for trace in traces if trace.group == group], last)
            _evidence_axis(axes, last, labelled=column == 0)
        if benign:
            axes = figure.add_subplot(grid[-1, :])
            _draw_benign(axes, benign)
            _evidence_axis(axes, last, labelled=True)
        figure.axes[-1].set_xlabel("queries of the client (logarithmic)")
        if not benign:
            for axes in figure.axes[-columns:]:
                axes.set_xlabel("queries of the client (logarithmic)")
        if rows * columns > len(groups) > 0:
            spare = figure.add_subplot(grid[rows - 1, columns - 1])
            spare.set_axis_off()
            spare.legend(handles=_legend(), loc="center", fontsize=11, labelspacing=0.7)
        else:
            figure.legend(handles=_legend(), loc="upper right", bbox_to_anchor=(0.99, 0.992), ncols=3, columnspacing=1.4)


def _legend() -> list[Line2D]:
    lines = [
        Line2D([], [], color=CONSTRUCTION_COLOUR, linewidth=2.2, label="construction, threshold: stop"),
        Line2D([], [], color=NOVELTY_COLOUR, linewidth=1.6, linestyle=(0, (4, 2)), label="novelty, threshold: throttle"),
        Line2D([], [], color=GREY, linewidth=1.2, label="benign clients, either"),
    ]
    marks = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=9, label=action)
        for action, (colour, marker) in ACTION_MARKS.items()
    ]
    return [*lines, *marks]


def _evidence_axis(axes: Any, last: int, *, labelled: bool) -> None:
    axes.axhline(1.0, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
    axes.set_ylim(0, TOP * 1.04)
    axes.set_yticks([0, 1, TOP], ["0", "1", f"≥ {TOP:g}"] if labelled else [""] * 3)
    if labelled:
        axes.set_ylabel("evidence ÷ threshold")
    query_axis(axes, last)


def _draw_group(axes: Any, group: str, traces: Sequence[Trace], last: int) -> None:
    faint = 1.0 if len(traces) < 3 else 0.7
    for trace in traces:
        construction = np.minimum(trace.construction, TOP)
        strangeness = np.minimum(trace.strangeness, TOP)
        axes.plot(
            trace.queries, construction, color=CONSTRUCTION_COLOUR, linewidth=2.2, alpha=faint, drawstyle="steps-post", zorder=3
        )
        axes.plot(
            trace.evaluations, strangeness, color=NOVELTY_COLOUR, linewidth=1.6, linestyle=(0, (4, 2)), alpha=faint, zorder=2
        )
    labelled: set[str] = set()
    for query, action, height in sorted(mark for trace in traces for mark in _placed(trace)):
        colour, marker = ACTION_MARKS[action]
        axes.plot([query], [height], color=colour, marker=marker, markersize=9, markeredgecolor="white", zorder=5)
        if action in labelled:
            continue
        labelled.add(action)
        # A throttle comes from the line of novelty, which rises slowly and runs through a label beside its mark.
        beside = action != "throttle"
        left = query > last**0.5
        axes.annotate(
            f"{action}: query {query:,}",
            (query, height),
            xytext=((-9 if left else 9) if beside else 0, -3 if beside else 9),
            textcoords="offset points",
            ha=("right" if left else "left") if beside else "center",
            va="center" if beside else "bottom",
            color=ACTION_INK[action],
            fontsize=10.5,
            zorder=6,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
        )
    _two_titles(axes, drawable(group), _outcome(traces))


def _placed(trace: Trace) -> Iterator[tuple[int, str, float]]:
    """Yield (query, action, height) of each mark, on the line that led to it."""
    height_of = {name: (trace.queries, trace.peak[:, j] / trace.thresholds.stop[j]) for j, name in enumerate(CHANNELS)}
    height_of[NOVELTY] = (trace.evaluations, trace.strangeness)
    for query, action in trace.marks:
        name = next(
            escalation.name for escalation in trace.escalations if (escalation.query, escalation.action) == (query, action)
        )
        queries, heights = height_of[name]
        yield query, action, min(float(heights[np.searchsorted(queries, query)]), TOP)


def _outcome(traces: Sequence[Trace]) -> str:
    """Say in words what became of a group: its hardest treatment, and after how many queries it began."""
    treated: dict[str, list[int]] = {}
    for trace in traces:
        first = {DONE[action]: query for query, action in reversed(trace.marks)}
        how = "stopped" if "stopped" in first else "throttled" if first else "not acted upon"
        treated.setdefault(how, []).append(first.get(how, 0))
    said = []
    for how in ("stopped", "throttled", "not acted upon"):
        if how not in treated:
            continue
        found = sorted(treated[how])
        who = f"{len(found)} of {len(traces)} " if len(treated) > 1 else ""
        after = f"{found[0]:,}" if found[0] == found[-1] else f"{found[0]:,} to {found[-1]:,}"
        said.append(f"{who}{how}" + (f" after {after} queries" if how != "not acted upon" else ""))
    return ", ".join(said)


def _draw_benign(axes: Any, traces: Sequence[Trace]) -> None:
    for trace in traces:
        axes.plot(trace.queries, np.minimum(trace.construction, TOP), color=GREY, linewidth=1.2, drawstyle="steps-post")
        axes.plot(
            trace.evaluations, np.minimum(trace.strangeness, TOP), color=GREY, linewidth=1.0, linestyle=(0, (4, 2)), alpha=0.8
        )
        for query, action, height in _placed(trace):
            colour, marker = ACTION_MARKS[action]
            axes.plot([query], [height], color=colour, marker=marker, markersize=9, markeredgecolor="white", zorder=5)
    highest = max(max(trace.construction.max(), trace.strangeness.max(initial=0.0)) for trace in traces)
    _two_titles(
        axes, f"Benign: {len(traces)} clients", f"{_outcome(traces)}; the highest came to {100 * highest:.0f}% of its threshold"
    )


def _two_titles(axes: Any, title: str, outcome: str) -> None:
    axes.set_title(title, fontsize=11.5, weight="bold", pad=21)
    axes.annotate(outcome, (0, 1), xycoords="axes fraction", xytext=(0, 6), textcoords="offset points", fontsize=11)
