"""The picture of an organisation: what its accounts hold of the model over time, and who asked how much."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

from detector.offline.explain.organization import OrganizationExplanation
from detector.offline.pictures.style import CONSTRUCTION_COLOUR, GREY, RING, canvas, drawable

MOST_NAMES = 20  # accounts that are drawn, those that asked most


def organization_picture(found: OrganizationExplanation, path: Path) -> None:
    """Draw an organisation, 1400 by 800 pixels: its highest lead over time, beside it the queries of its accounts.

    Raises `OutputError` when `path` cannot be written.
    """
    with canvas(path, 14, 8) as figure:
        figure.text(
            0.012, 0.945, f"{drawable(found.organization)} on model {drawable(found.model)}", fontsize=17, weight="bold"
        )
        figure.text(0.012, 0.905, found.headline, fontsize=12.5)
        grid = figure.add_gridspec(1, 2, width_ratios=(1.7, 1.0), left=0.06, right=0.98, top=0.84, bottom=0.08, wspace=0.32)
        _draw_leads(figure.add_subplot(grid[0]), found)
        _draw_accounts(figure.add_subplot(grid[1]), found)


def _draw_leads(axes: Any, found: OrganizationExplanation) -> None:
    times = [float(date2num(datetime.fromtimestamp(time_ms / 1000.0, UTC))) for time_ms, _ in found.leads]
    axes.step(times, [lead for _, lead in found.leads], where="post", color=CONSTRUCTION_COLOUR, linewidth=1.8)
    for height, label in ((found.degrade_at, "labels only"), (found.stop_at, "blocked")):
        if height is not None:
            axes.axhline(height, color=RING, linewidth=1.0, linestyle="--")
            axes.annotate(
                f"{label} from {height:g}",
                (1.0, height),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=9,
            )
    axes.set_ylim(0.0, 1.0)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.set_title("Lead that all accounts hold together")


def _draw_accounts(axes: Any, found: OrganizationExplanation) -> None:
    shown = found.accounts[:MOST_NAMES]
    names = [name if len(name := drawable(one.client)) <= 24 else f"{name[:10]}…{name[-13:]}" for one in shown]
    axes.barh(range(len(shown)), [one.queries for one in shown], color=GREY)
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_title("New queries by account")
