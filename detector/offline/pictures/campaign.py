"""The picture of a campaign: which account made something of whose queries, over time, and the evidence against the bars."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FuncFormatter, NullLocator

from detector.offline.explain.campaign import CampaignExplanation
from detector.offline.pictures.style import (
    CHANNEL_COLOURS,
    CONSTRUCTION_COLOUR,
    GREY,
    INK,
    NOVELTY_COLOUR,
    RING,
    canvas,
    drawable,
)

MOST_LINKS = 4000
MOST_NAMES = 40  # accounts that are named beside the axis
COLOURS = (*CHANNEL_COLOURS, RING, NOVELTY_COLOUR, INK, GREY)


def campaign_picture(found: CampaignExplanation, path: Path) -> None:
    """Draw a campaign, 1400 by 900 pixels. One line is one account, in the order in which they came; a dot is an event.

    A thin line leads from it to the account whose query it was made from. Of many events an even sample is drawn.

    Raises `OutputError` when `path` cannot be written.
    """
    with canvas(path, 14, 9) as figure:
        figure.text(0.012, 0.955, f"{found.campaign} on model {drawable(found.model)}", fontsize=17, weight="bold")
        figure.text(0.012, 0.918, found.headline, fontsize=12.5)
        grid = figure.add_gridspec(2, 1, height_ratios=(2.6, 1.0), left=0.14, right=0.98, top=0.875, bottom=0.06, hspace=0.16)
        upper = figure.add_subplot(grid[0])
        lower = figure.add_subplot(grid[1], sharex=upper)
        _draw_links(upper, found)
        _draw_evidence(lower, found)
        locator = AutoDateLocator()
        lower.xaxis.set_major_locator(locator)
        lower.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
        upper.tick_params(labelbottom=False)


def _moment(time_ms: int) -> float:
    return float(date2num(datetime.fromtimestamp(time_ms / 1000.0, UTC)))


def _draw_links(axes: Any, found: CampaignExplanation) -> None:
    step = max(len(found.links) // MOST_LINKS, 1)
    links = found.links[::step]
    lines = [
        [(_moment(link.time_ms), link.account), (_moment(link.time_ms), place)]
        for link in links
        for place in link.made_from
        if place != link.account
    ]
    axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.5, alpha=0.5))
    kinds = list(dict.fromkeys(link.kind for link in found.links))
    for number, kind in enumerate(kinds):
        own = [link for link in links if link.kind == kind]
        axes.scatter(
            [_moment(link.time_ms) for link in own],
            [link.account for link in own],
            s=14,
            color=COLOURS[number % len(COLOURS)],
            label=kind,
            zorder=3,
        )
    axes.set_ylim(len(found.accounts) - 0.5, -0.5)
    shown = range(0, len(found.accounts), max(len(found.accounts) // MOST_NAMES, 1))
    axes.set_yticks(list(shown), [_name(found.accounts[place].client) for place in shown], fontsize=8)
    axes.set_title("Which account made something of whose queries")
    if kinds:
        axes.legend(loc="lower left", bbox_to_anchor=(0.4, 1.0), ncols=4)


def _name(client: str) -> str:
    text = drawable(client)
    return text if len(text) <= 24 else f"{text[:10]}…{text[-13:]}"


def _draw_evidence(axes: Any, found: CampaignExplanation) -> None:
    times = [_moment(time_ms) for time_ms, _ in found.evidence]
    axes.plot(times, [max(score, 0.1) for _, score in found.evidence], color=CONSTRUCTION_COLOUR, linewidth=1.8)
    for height, label in ((found.review_at, "review"), (found.stop_at, "stop")):
        axes.axhline(height, color=RING, linewidth=1.0, linestyle="--")
        axes.annotate(
            f"{label} at {height:g}", (1.0, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title("Evidence")
