"""A survey as JSON, and as tables for people."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from detector.names import printable
from detector.offline.odometer.budgets import BudgetCost, costs
from detector.offline.odometer.survey import CLIENT, ORGANIZATION, Fleet, Holding, Surveyed

LISTED = 20
TOLD_UNKNOWN = 0.01  # share of unknown labels that is worth a line


def to_dict(found: Surveyed, budgets: tuple[float, ...]) -> dict[str, Any]:
    """Return a survey for scripts."""
    return {
        "models": {
            fleet.model: {
                "guess": round(fleet.guess, 6),
                "reference_inputs": fleet.reference_inputs,
                "unmeasured_queries": fleet.unmeasured,
                "given_up": fleet.given_up,
                "unknown_labels": round(fleet.unknown_labels, 6),
                "budgets": [_cost(cost) for cost in costs(fleet, budgets)],
                "clients": [_holding(held) for held in fleet.of(CLIENT)],
                "organizations": [_holding(held) for held in fleet.of(ORGANIZATION)],
            }
            for fleet in found.fleets
        },
        "silent": dict(found.silent),
    }


def _cost(cost: BudgetCost) -> dict[str, Any]:
    return {
        "budget": cost.budget,
        "clients": cost.clients,
        "clients_met": cost.clients_met,
        "clients_share": round(cost.clients_share, 6),
        "queries": cost.queries,
        "queries_after": cost.queries_after,
        "queries_share": round(cost.queries_share, 6),
    }


def _holding(held: Holding) -> dict[str, Any]:
    best = held.reading
    return {
        "id": held.id,
        "queries": held.queries,
        "measured_at": None if best is None else best.queries,
        "agreement": None if best is None else round(best.agreement, 6),
        "lead": None if best is None else round(best.lead, 6),
        "lead_low": None if best is None else round(best.low, 6),
        "lead_high": None if best is None else round(best.high, 6),
        "reached": {f"{budget:g}": at for budget, at in held.reached.items()},
    }


def tell(found: Surveyed, budgets: tuple[float, ...]) -> Group:
    """Return a survey for people: the largest leads, and what the budgets cost."""
    parts: list[Any] = []
    for fleet in found.fleets:
        parts.append(
            Text(
                f"model {printable(fleet.model)}: {len(fleet.of(CLIENT)):,} clients. The lead is how far a copy is from the "
                f"best guess, which is right for {fleet.guess:.0%} of {fleet.reference_inputs:,} benign inputs, to the model "
                "itself."
            )
        )
        if fleet.unmeasured:
            parts.append(Text(f"{fleet.unmeasured:,} queries could not be measured: wrong length, or a missing value"))
        if fleet.unknown_labels > TOLD_UNKNOWN:
            parts.append(
                Text(
                    f"{fleet.unknown_labels:.0%} of what clients were told has a label that the baseline does not know, which "
                    "teaches nothing: were labels renamed?"
                )
            )
        if fleet.given_up:
            parts.append(
                Text(
                    f"{fleet.given_up:,} clients and organisations were not measured to the end, because others were seen "
                    "later and there was no room for more"
                )
            )
        parts += [_holdings(fleet, kind, budgets) for kind in (CLIENT, ORGANIZATION) if fleet.of(kind)]
        parts.append(_costs(costs(fleet, budgets)))
    parts += [Text(f"model {printable(model)} is not measured: {why}", style="yellow") for model, why in found.silent.items()]
    return Group(*parts)


def _holdings(fleet: Fleet, kind: str, budgets: tuple[float, ...]) -> Table:
    holdings = fleet.of(kind)
    more = len(holdings) - LISTED
    others = f" And {more:,} more: --json lists all." if more > 0 else ""
    table = Table(
        caption=f"95%: interval of the lead. At {budgets[0]:g}: the query at which that budget would meet the {kind}.{others}",
        caption_justify="left",
    )
    table.add_column(kind, overflow="fold", min_width=12)
    for column in ("queries", "lead", "95%", *(f"at {budget:g}" for budget in budgets)):
        table.add_column(column, justify="right", no_wrap=True)
    for held in holdings[:LISTED]:
        best = held.reading
        measured = ("too few", "") if best is None else (f"{best.lead:.2f}", f"{best.low:.2f}-{best.high:.2f}")
        met = (held.reached[budget] for budget in budgets)
        table.add_row(printable(held.id), f"{held.queries:,}", *measured, *("" if at is None else f"{at:,}" for at in met))
    return table


def _costs(found: list[BudgetCost]) -> Table:
    table = Table(
        caption="Where the log is of innocent clients, this is what a budget costs them.",
        caption_justify="left",
    )
    for column in ("budget", "clients met", "of clients", "queries after it", "of queries"):
        table.add_column(column, justify="right", no_wrap=True)
    for cost in found:
        table.add_row(
            f"{cost.budget:g}",
            f"{cost.clients_met:,} of {cost.clients:,}",
            f"{cost.clients_share:.1%}",
            f"{cost.queries_after:,} of {cost.queries:,}",
            f"{cost.queries_share:.1%}",
        )
    return table
