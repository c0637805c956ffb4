"""The report of a drill: for the terminal, and as Markdown for the record."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from detector.drill.outcome import Bystander, Drilled, Outcome
from detector.drill.plan import STEPS, Step
from detector.names import counted, one_line

__all__ = ["markdown", "tell"]

_HEADS = ("thief", "step", "seconds", "queries", "by the detector", "what")
_BESIDE = ("innocent", "profile", "queries", "answered", "refused", "told less", "alerts", "decisions", "left alone")
_CAPTION = (
    "seconds and queries: from the thief's first query until the step arrived here; by the detector: queries of his when the "
    "alert was raised"
)


def _rows(thief: Drilled, expected: tuple[Step, ...]) -> list[tuple[str, ...]]:
    found = {one.step: one for one in thief.arrivals}
    rows = []
    for step in STEPS:
        if step in found:
            one = found[step]
            needed = "-" if one.detector_queries is None else f"{one.detector_queries:,}"
            rows.append((step, f"{one.seconds:.1f}", f"{one.queries:,}", needed, one.told))
        else:
            what = "MISSING" if step in expected else "not expected"
            if step == "enforced" and thief.varies:
                what += "; the model's own answers vary, so only refusals are seen"
            rows.append((step, "-", "-", "-", what))
    return [(thief.client, *row) for row in rows]


def _counts(thief: Drilled) -> str:
    told = (
        f"{thief.client} ({thief.attack}): {counted(thief.queries, 'query', 'queries')}, "
        f"{thief.answered:,} answered, {thief.refused:,} refused, "
        f"{thief.coarse:,} seen to be told less"
    )
    return told if thief.fault is None else f"{told}; {thief.fault}"


def _beside(innocent: Bystander) -> tuple[str, ...]:
    return (
        innocent.client,
        innocent.profile,
        *(f"{count:,}" for count in (innocent.queries, innocent.answered, innocent.refused, innocent.coarse)),
        "; ".join(innocent.alerts) or "none",
        "; ".join(innocent.decisions) or "none",
        "yes" if innocent.left_alone else "NO",
    )


def _about(outcome: Outcome) -> str:
    told = (
        f"{outcome.url}, from {outcome.started}, {outcome.per_second:g} queries a second of each client, patience "
        f"{outcome.patience_s:g} s, seed {outcome.seed}; expected: {', '.join(outcome.expected)}"
    )
    if outcome.unreadable:
        told += f"; {outcome.unreadable:,} records were no alert or decision"
    if outcome.older:
        told += f"; {outcome.older:,} alerts or decisions are older than the drill and do not count"
    return told + ("; INTERRUPTED" if outcome.interrupted else "")


def tell(outcome: Outcome) -> Group:
    """Return the report for a terminal."""
    steps = Table(caption=_CAPTION, caption_justify="left")
    beside = Table()
    for table, heads, left in ((steps, _HEADS, (0, 1, 5)), (beside, _BESIDE, (0, 1, 6, 7, 8))):
        for place, head in enumerate(heads):
            table.add_column(head, justify="left" if place in left else "right", overflow="fold")
    for thief in outcome.thieves:
        for row in _rows(thief, outcome.expected):
            steps.add_row(*(Text(one_line(cell), "red" if "MISSING" in cell else "") for cell in row))
    for innocent in outcome.innocents:
        beside.add_row(*(Text(one_line(cell), "red" if cell == "NO" else "") for cell in _beside(innocent)))
    counts = [Text(one_line(_counts(thief))) for thief in outcome.thieves]
    return Group(Text(one_line(_about(outcome))), steps, *counts, *([beside] if outcome.innocents else []))


def markdown(outcome: Outcome) -> str:
    """Return the report as Markdown."""
    verdict = "as expected" if not outcome.problems else "not as expected"
    rows = [row for thief in outcome.thieves for row in _rows(thief, outcome.expected)]
    lines = [f"# Drill: {verdict}", "", _about(outcome), "", *_table(_HEADS, rows), "", _CAPTION + ".", ""]
    lines += [f"- {_cell(_counts(thief))}" for thief in outcome.thieves]
    if outcome.innocents:
        lines += ["", *_table(_BESIDE, [_beside(innocent) for innocent in outcome.innocents])]
    if outcome.problems:
        lines += ["", "## What to look at", "", *(f"- {_cell(problem)}" for problem in outcome.problems)]
    return "\n".join(lines) + "\n"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [heads, ("---",) * len(heads), *(tuple(map(_cell, row)) for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _cell(text: str) -> str:
    """Return text that ends neither a cell nor its line."""
    return one_line(text).replace("|", "\\|")
