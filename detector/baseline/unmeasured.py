"""Unmeasured: budgets of the odometer that can meet nobody, since nothing is measured where they hold."""

from collections.abc import Iterator

from detector.baseline.store import Baseline
from detector.config import Config
from detector.config.odometer import OdometerSection, TierTable
from detector.names import printable

LISTED = 5


def tell(config: Config, baseline: Baseline | None) -> Iterator[str]:
    """Yield a sentence for each reason why budgets in ``[odometer]`` meet nobody, with what to do."""
    section = config.odometer
    tables: tuple[OdometerSection | TierTable, ...] = (section, *section.tiers)
    if not any(table.limits for table in tables):
        return
    if baseline is None:
        yield (
            "[odometer] has budgets, and there is no baseline: nothing is measured, so they meet nobody; fit one "
            "(detector baseline fit) and name it in [baseline] path"
        )
        return
    if unmeasured := sorted(model for model in _budgeted(config, baseline) if baseline.models[model].reference_set is None):
        more = len(unmeasured) - LISTED
        named = ", ".join(printable(model) for model in unmeasured[:LISTED]) + (f" and {more} more" if more > 0 else "")
        yield (
            f"[odometer] has budgets, and the baseline has no reference inputs for {named}: nothing is measured there, so they "
            "meet nobody; fit the baseline again with more queries, of more than one label"
        )
    if any(table.together for table in tables) and not config.links.enabled:
        yield (
            "[odometer] has budgets for organisations or campaigns, and [links] enabled is false: what accounts hold together "
            "is not measured, so these budgets meet nobody"
        )


def _budgeted(config: Config, baseline: Baseline) -> set[str]:
    """Return the models of the baseline for which somebody has a budget."""
    if config.odometer.limits:
        return set(baseline.models)
    found: set[str] = set()
    for tier in config.odometer.tiers:
        if tier.limits:
            found |= set(baseline.models if tier.models is None else tier.models) & set(baseline.models)
    return found
