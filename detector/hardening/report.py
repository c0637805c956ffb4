"""What the bench found, as JSON, as Markdown, and as tables for the terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from detector.hardening.bench import LEVELS, Plan, Row, Tally, days, money
from detector.hardening.honest import Honest
from detector.names import printable

__all__ = ["CAPTION", "document", "failing", "honest_table", "markdown", "thefts_tables"]

WIDE = 48


def document(plan: Plan, tally: Tally, judged: str, fail_above: float | None, *, interrupted: bool) -> dict[str, Any]:
    """Return all of it for scripts; fidelities that were not reached are null, never a guess."""
    return {
        "budgets": list(plan.budgets),
        "price_per_1000": plan.price,
        "rate_per_minute": plan.rate,
        "seed": plan.seed,
        "judged_by": judged,
        "interrupted": interrupted,
        "fail_above": fail_above,
        "failed": [
            {"model": row.model, "defence": row.defence, "attack": row.attack} for row in failing(tally.rows, fail_above)
        ],
        "warnings": list(tally.warnings),
        "honest": [{**one._asdict(), "warnings": list(one.warnings)} for one in tally.honest],
        "thefts": [_theft(row, plan) for row in tally.rows],
    }


def _theft(row: Row, plan: Plan) -> dict[str, Any]:
    stop = row.stop
    return {
        "model": row.model,
        "defence": row.defence,
        "attack": row.attack,
        "asked": row.asked,
        "nothing_left_to_ask": row.ended,
        "copies": [
            {"queries": moment, "fidelity": copy.fidelity, "accuracy": copy.accuracy} for moment, copy in row.copies.items()
        ],
        "reached": [
            {"fidelity": level, "queries": q, "money": money(q, plan.price), "days": days(q, plan.rate)}
            for level in LEVELS
            for q in [row.queries_to(level)]
        ],
        "stop": None
        if stop is None
        else {
            "throttled_after": stop.throttled,
            "stopped_after": stop.stopped,
            "action": stop.action,
            "reason": stop.reason,
            "queries_ignored": stop.ignored,
            "fidelity": None if row.stopped_with is None else row.stopped_with.fidelity,
            "money": money(stop.stopped, plan.price),
        },
        "exposed": row.exposed,
    }


def failing(rows: Sequence[Row], fail_above: float | None) -> list[Row]:
    """Return the rows whose thief had a copy above `fail_above` before he was stopped."""
    return [] if fail_above is None else [row for row in rows if row.exposed > fail_above]


def _copy_cell(row: Row, budget: int) -> str:
    copy = row.at(budget)
    if copy is None:
        return "-"
    return f"{copy.fidelity:.0%}" if copy.accuracy is None else f"{copy.fidelity:.0%} ({copy.accuracy:.0%})"


def _reached_cell(row: Row, level: float) -> str:
    queries = row.queries_to(level)
    return f"> {row.asked:,}, not reached" if queries is None else f"{queries:,}"


def _cost_cells(row: Row, plan: Plan) -> list[str]:
    """What the highest level costs; where it was not reached, what the queries cost that did not reach it."""
    queries = row.queries_to(LEVELS[-1])
    spent, more = (row.asked, "> ") if queries is None else (queries, "")
    price, taken = money(spent, plan.price), days(spent, plan.rate)
    cells = [] if price is None else [f"{more}{price:,.2f}"]
    return cells if taken is None else [*cells, f"{more}{duration(taken)}"]


def duration(taken: float) -> str:
    """Return days in the unit that suits them.

    >>> duration(0.005), duration(0.5), duration(30.0)
    ('7 min', '12 h', '30 days')
    >>> duration(25 / 86400)
    '25 s'
    """
    if taken * 1440.0 < 1.0:
        return f"{taken * 86_400.0:.0f} s"
    if taken < 1.0 / 24.0:
        return f"{taken * 1440.0:.0f} min"
    return f"{taken * 24.0:.0f} h" if taken < 2.0 else f"{taken:,.0f} days"


def _stop_cell(row: Row) -> str:
    if row.stop is None:
        return "not judged"
    slowed = "" if row.stop.throttled is None else f"; throttled at {row.stop.throttled:,}"
    if row.stop.stopped is None or row.stopped_with is None:
        return f"not stopped{slowed}"
    return f"{row.stop.action} at {row.stop.stopped:,}, with {row.stopped_with.fidelity:.0%}"


def _theft_heads(plan: Plan) -> list[str]:
    heads = ["model", "defence", "attack", *(f"copy at {budget:,}" for budget in plan.budgets)]
    heads += [f"queries to {level:.0%}" for level in LEVELS]
    heads += [f"price of {LEVELS[-1]:.0%}"] * (plan.price is not None) + [f"time to {LEVELS[-1]:.0%}"] * (plan.rate is not None)
    return [*heads, "detector"]


def _theft_cells(row: Row, plan: Plan) -> list[str]:
    names = [printable(name, WIDE) for name in (row.model, row.defence, row.attack)]
    copies = [_copy_cell(row, budget) for budget in plan.budgets]
    return [*names, *copies, *(_reached_cell(row, level) for level in LEVELS), *_cost_cells(row, plan), _stop_cell(row)]


HONEST_HEADS = (
    "model",
    "defence",
    "accuracy",
    "accuracy lost",
    "calibration error",
    "labels changed",
    "answers changed",
    "agrees with itself",
)


def _honest_cells(one: Honest) -> list[str]:
    known = ["-" if share is None else f"{share:.1%}" for share in (one.accuracy, one.accuracy_lost)]
    shares = [f"{share:.1%}" for share in (one.flips, one.changed, one.agrees)]
    return [printable(one.model, WIDE), printable(one.defence, WIDE), *known, f"{one.calibration:.3f}", *shares]


CAPTION = (
    "Copy: share of fresh inputs on which the best copy after so many queries agrees with the model without the defence; in "
    "brackets its accuracy. Queries to, price, time: at the first of the measured numbers of queries that reached it (90%), "
    "so at most as many are needed; > where it was not reached. Detector: after how many queries it acts on the thief, and "
    "his copy then; a throttle stops nobody."
)


BY_OWN = (
    "Without true labels the calibration error is that against the model's own labels, and accuracy is not known: --labels."
)


def thefts_tables(plan: Plan, tally: Tally) -> Iterator[Table]:
    """Yield a table for each model and defence, which fits a narrow terminal; what that has no room for stands below it."""
    for model, defence in dict.fromkeys((row.model, row.defence) for row in tally.rows):
        own = [row for row in tally.rows if (row.model, row.defence) == (model, defence)]
        table = Table(title=f"{printable(model, WIDE)}, defence {printable(defence, WIDE)}", title_justify="left")
        table.box, table.pad_edge = None, False
        heads = ["attack", *(f"at {budget:,}" for budget in plan.budgets), "to 70 / 80 / 90%"]
        for head in heads:
            table.add_column(head, no_wrap=True, overflow="fold")
        for row in own:
            reached = [row.queries_to(level) for level in LEVELS]
            told = " / ".join(f"> {row.asked:,}" if queries is None else f"{queries:,}" for queries in reached)
            copies = [_copy_cell(row, budget) for budget in plan.budgets]
            table.add_row(printable(row.attack, WIDE), *copies, told)
        costs = ["price"] * (plan.price is not None) + ["time"] * (plan.rate is not None)
        of_90 = f"{' and '.join(costs)} of {LEVELS[-1]:.0%}, and what ".capitalize() if costs else "What "
        below = [f"{printable(row.attack, WIDE)}: {', '.join([*_cost_cells(row, plan), _stop_cell(row)])}" for row in own]
        table.caption = "\n".join([f"{of_90}the detector does:", *below])
        table.caption_justify, table.caption_style = "left", ""
        yield table


def honest_table(tally: Tally) -> Table:
    """Return what each defence costs the honest."""
    table = Table(pad_edge=False, box=None)
    if _by_own(tally):
        table.caption, table.caption_justify, table.caption_style = BY_OWN, "left", ""
    for place, head in enumerate(HONEST_HEADS):
        table.add_column(head, overflow="fold", justify="left" if place < 2 else "right", max_width=None if place < 2 else 11)
    for one in tally.honest:
        table.add_row(*_honest_cells(one))
    return table


def _by_own(tally: Tally) -> bool:
    return any(one.accuracy is None for one in tally.honest)


def markdown(plan: Plan, tally: Tally, judged: str, *, interrupted: bool) -> str:
    """Return both tables and the warnings as Markdown."""
    parts = ["# How extractable the model is", *(["Interrupted: rows are missing."] * interrupted)]
    parts += [_rows(_theft_heads(plan), [_theft_cells(row, plan) for row in tally.rows]), CAPTION]
    parts += [
        f"Detector: {judged}. Seed {plan.seed}; one theft a row, so a few points mean nothing.",
        "## What the honest lose",
    ]
    parts += [_rows(HONEST_HEADS, [_honest_cells(one) for one in tally.honest]), *([BY_OWN] * _by_own(tally))]
    if tally.warnings:
        parts += ["## Warnings", "\n".join(f"- {printable(text, 500)}" for text in tally.warnings)]
    return "\n\n".join(parts) + "\n"


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(heads), ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |" for cells in lines)
