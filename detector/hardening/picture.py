"""The picture of the bench: fidelity over queries, a panel for each attack, a line for each model and defence, stops marked."""

from pathlib import Path
from typing import Any, Final

from matplotlib.ticker import PercentFormatter

from detector.hardening.bench import Plan, Row, Tally
from detector.offline.pictures.style import (
    ACTION_MARKS,
    CHANNEL_COLOURS,
    INK,
    NOVELTY_COLOUR,
    RING,
    canvas,
    drawable,
    query_axis,
)

__all__ = ["bench_picture"]

COLOURS: Final = (CHANNEL_COLOURS[0], NOVELTY_COLOUR, RING, CHANNEL_COLOURS[1], CHANNEL_COLOURS[2], INK)
DASHES: Final = ("-", "--", ":", "-.")
MOST_LINES: Final = len(COLOURS) * len(DASHES)


def bench_picture(plan: Plan, tally: Tally, path: Path) -> None:
    """Draw the rows that there are; after its stop a line is thin, for that copy the thief never gets.

    Of models and defences beyond 24 the later ones are left out. Raises `OutputError` when `path` cannot be written.
    """
    attacks = [name for name in plan.attacks if any(row.attack == name for row in tally.rows)]
    lines = list(dict.fromkeys((row.model, row.defence) for row in tally.rows))[:MOST_LINES]
    columns = max(min(len(attacks), 3), 1)
    deep = max(-(-len(attacks) // columns), 1)
    legend = 0.25 * (-(-(len(lines) + 2) // 2)) + 0.15
    height = 3.6 * deep + legend
    with canvas(path, 4.6 * columns + 0.4, height) as figure:
        grid = figure.subplots(deep, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(attacks) :]:
            axes.set_axis_off()
        for axes, attack in zip(grid.flat, attacks, strict=False):
            for row in tally.rows:
                if row.attack == attack and (row.model, row.defence) in lines:
                    _draw(axes, row, lines.index((row.model, row.defence)))
            axes.set_title(drawable(attack))
            axes.set_ylim(0.0, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            query_axis(axes, max(plan.budgets))
            axes.set_xlabel("queries")
        grid[0][0].set_ylabel("fidelity of the best copy")
        handles = [
            grid[0][0].plot([], [], color=_colour(at), linestyle=_dash(at), label=drawable(f"{model}, {defence}"))[0]
            for at, (model, defence) in enumerate(lines)
        ]
        for action in ("perturb", "block"):
            colour, mark = ACTION_MARKS[action]
            handles.append(grid[0][0].plot([], [], color=colour, marker=mark, linestyle="", label=f"stopped: {action}")[0])
        figure.legend(handles=handles, loc="lower center", ncols=2)
        figure.tight_layout(rect=(0.0, legend / height, 1.0, 1.0))


def _draw(axes: Any, row: Row, at: int) -> None:
    points = {moment: copy.fidelity for moment, copy in row.copies.items()}
    stopped = row.stop.stopped if row.stop is not None and row.stopped_with is not None else None
    if stopped is not None and row.stopped_with is not None:
        points[stopped] = row.stopped_with.fidelity
    moments = sorted(points)
    style = {"color": _colour(at), "linestyle": _dash(at)}
    before = [moment for moment in moments if stopped is None or moment <= stopped]
    after = [moment for moment in moments if stopped is not None and moment >= stopped]
    axes.plot(before, [points[moment] for moment in before], linewidth=2.0, **style)
    axes.plot(after, [points[moment] for moment in after], linewidth=0.8, alpha=0.6, **style)
    if stopped is not None and row.stop is not None:
        colour, mark = ACTION_MARKS[row.stop.action or "block"]
        axes.plot([stopped], [points[stopped]], marker=mark, color=colour, markersize=8, zorder=3)


def _colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]


def _dash(at: int) -> str:
    return DASHES[at // len(COLOURS) % len(DASHES)]
