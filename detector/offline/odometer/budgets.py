"""What a budget would stop, and what it would cost the clients of the log."""

from dataclasses import dataclass

from detector.offline.odometer.survey import CLIENT, Fleet, Holding


@dataclass(frozen=True, slots=True)
class BudgetCost:
    """How many of `clients` a budget meets, and how many of their `queries` come after that.

    Where the log is of innocent clients, all of this is what the budget costs them.
    """

    budget: float
    clients: int
    clients_met: int
    queries: int
    queries_after: int

    @property
    def clients_share(self) -> float:
        """Share of the clients that the budget meets."""
        return self.clients_met / self.clients if self.clients else 0.0

    @property
    def queries_share(self) -> float:
        """Share of the queries that come after a client's budget."""
        return self.queries_after / self.queries if self.queries else 0.0


def costs(fleet: Fleet, budgets: tuple[float, ...]) -> list[BudgetCost]:
    """Return what each budget costs the clients of a fleet."""
    clients = fleet.of(CLIENT)
    return [
        BudgetCost(
            budget,
            len(clients),
            sum(held.reached[budget] is not None for held in clients),
            sum(held.queries for held in clients),
            sum(_after(held, budget) for held in clients),
        )
        for budget in budgets
    ]


def _after(held: Holding, budget: float) -> int:
    met = held.reached[budget]
    return 0 if met is None else held.queries - met
