"""The price of a copy: how many queries it takes to hold so much of a model, from the baseline alone, and what they cost.

The reference set of the odometer is inputs of benign clients with the model's labels. A copy that learns from one half of them
is judged by the other, as the odometer judges clients. So the figures are those of somebody who asks what benign clients ask
and is told labels. Nothing is continued beyond the half: what it does not show is said to be more.

Blind to: thieves whose queries teach more or less than benign ones, and answers with probabilities, which teach more.
`detector redteam run` plays these against the model itself.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from detector.baseline.store import Baseline
from detector.config import CostSection
from detector.contracts.alert import Price
from detector.engine.odometer.arc_cosine import PENALTY, TABLE_PENALTY, kernel_predictions
from detector.engine.odometer.reading import LEADS, lead_of
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.view import View, view_of
from detector.engine.policy import ACTIONS, PolicySettings

__all__ = ["PRICED", "Learned", "amount", "copies_of", "copy_of", "learned", "prices", "tell_prices", "told_price"]

PRICED: Final = (*LEADS, 0.9)
FEWEST: Final = 16  # queries that a copy learns from
SPLITS: Final = 8  # of the reference set, over which leads are averaged


class Learned(NamedTuple):
    """The mean lead of copies that learned from so many benign queries, told labels."""

    queries: int
    lead: float


def learned(reference_set: ReferenceSet) -> list[Learned]:
    """Return how the lead grows with the queries: 16, and twice as many each time, up to half of the reference inputs."""
    view = view_of(reference_set)
    half = len(view.judge.answers) // 2
    sizes = [FEWEST << doubling for doubling in range(16) if FEWEST << doubling <= half]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(view.judge.answers)) for _ in range(SPLITS)]
    return [Learned(size, float(np.mean([_lead(view, order, size, half) for order in orders]))) for size in sizes]


def _lead(view: View, order: np.ndarray, size: int, half: int) -> float:
    """Return the lead of a copy that learned from the first `size` inputs of an order, judged by those after the `half`."""
    judge = view.judge
    asked, judging = order[:size], order[half:]
    targets = np.eye(judge.classes, dtype=np.float32)[judge.answers[asked]]
    inputs = np.ascontiguousarray(view.inputs.T[asked])
    penalty = TABLE_PENALTY if judge.table else PENALTY
    copied = kernel_predictions(inputs, targets, np.ascontiguousarray(view.inputs[:, judging]), penalty)
    told_apart = judge.answers[judging] < judge.classes - 1
    agreement = float(((copied == judge.answers[judging]) & told_apart).mean())
    commonest = np.bincount(judge.answers[judging][told_apart], minlength=1).max()
    return lead_of(agreement, float(commonest / len(judging)))


def prices(found: Sequence[Learned], cost: CostSection, policy: PolicySettings) -> list[dict[str, Any]]:
    """Return for each lead of `PRICED` what a copy with it costs; without a price of queries, an empty list.

    Where no measured number of queries reached the lead, `queries` and `price` are None, and `more_than` holds for them.
    `meanwhile` is what policy would have done with a client who holds so much and is vouched for, in no tier.
    """
    if cost.price_per_1000 is None or not found:
        return []
    rows = []
    for lead in PRICED:
        queries = next((one.queries for one in found if one.lead >= lead), None)
        most = found[-1].queries
        rows.append(
            {
                "lead": lead,
                "queries": queries,
                "price": None if queries is None else cost.price_of(queries),
                "more_than": None if queries is not None else {"queries": most, "price": cost.price_of(most)},
                "currency": cost.currency,
                "meanwhile": ACTIONS[policy.budget.action(lead)],
            }
        )
    return rows


def copy_of(known: ReferenceSet | None, cost: CostSection, policy: PolicySettings) -> Price | None:
    """Return what a copy with the highest lead of `PRICED` costs that was reached; the lowest, where none was.

    None without reference inputs or a price of queries.
    """
    if known is None or cost.price_per_1000 is None:
        return None
    rows = prices(learned(known), cost, policy)
    if not rows:
        return None
    best = next((row for row in reversed(rows) if row["queries"] is not None), rows[0])
    told = best["more_than"] or best
    return Price(
        lead=best["lead"],
        queries=told["queries"],
        amount=told["price"],
        reached=best["more_than"] is None,
        action=best["meanwhile"],
    )


def copies_of(baseline: Baseline | None, cost: CostSection, policy: PolicySettings) -> dict[str, Price]:
    """Return `copy_of` each model of a baseline that has one."""
    models = {} if baseline is None else baseline.models
    return {
        model: price for model, known in models.items() if (price := copy_of(known.reference_set, cost, policy)) is not None
    }


def amount(exact: float) -> str:
    """Return an amount for people: whole from 1,000 on, else with six digits at most.

    >>> amount(128_000_000_000.0), amount(0.048), amount(1234.5), amount(12.5)
    ('128,000,000,000', '0.048', '1,234', '12.5')
    """
    return f"{exact:,.0f}" if exact >= 1000.0 else f"{exact:g}"


def told_price(price: float, currency: str, queries: int, *, reached: bool) -> tuple[str, str]:
    """Return the amount and the number of queries for people, as bounds where a copy was not reached with them.

    >>> told_price(0.192, "EUR", 128, reached=False)
    ('> 0.192 EUR', '> 128 queries, not reached')
    """
    sign, end = ("", "") if reached else ("> ", ", not reached")
    return f"{sign}{amount(price)} {currency}", f"{sign}{queries:,} queries{end}"


def tell_prices(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the prices as sentences.

    >>> row = {"lead": 0.5, "queries": 32, "price": 0.048, "more_than": None, "currency": "EUR", "meanwhile": "allow"}
    >>> tell_prices([row])
    ['a copy with lead 0.50 costs 0.048 EUR: 32 queries']
    >>> more = {"queries": 128, "price": 0.192}
    >>> tell_prices([row | {"queries": None, "price": None, "more_than": more, "meanwhile": "block"}])
    ['a copy with lead 0.50 costs > 0.192 EUR: > 128 queries, not reached; the budget would block from there on']
    """
    told = []
    for row in rows:
        most = row["more_than"] or row
        paid, queries = told_price(most["price"], row["currency"], most["queries"], reached=row["more_than"] is None)
        then = "" if row["meanwhile"] == "allow" else f"; the budget would {row['meanwhile']} from there on"
        told.append(f"a copy with lead {row['lead']:.2f} costs {paid}: {queries}{then}")
    return told
