"""Words: what every feature means, and how ids and counts are written. Those for evidence stand in its registry."""

from detector.names import printable

FEATURES = {
    "rate_10s": "log10 of queries a second, over the last 10 s",
    "rate_5m": "log10 of queries a second, over the last 5 min",
    "rate_1h": "log10 of queries a second, over the last hour",
    "burstiness": "gaps between queries: -1 clockwork, 0 random, 1 bursts",
    "regularity": "sameness of the gaps: 1 is one gap for ever",
    "cells_per_query": "different regions of the input space per query",
    "new_cell_rate": "share of recent queries that opened a new region",
    "label_entropy": "evenness of the answers over the labels, 0 to 1",
    "label_share": "labels seen, over the labels of the population",
    "population_share": "share of queries in regions where the population lives",
    "population_covered": "share of the population's regions visited",
    "off_manifold": "how far inputs leave the population's directions (log)",
    "off_manifold_spread": "how much that differs from query to query",
    "landmark_distance": "ln of the distance to the nearest centre of the population",
    "distance_mean": "ln of the distance to own earlier queries, same label: mean",
    "distance_low": "the same: 10% quantile",
    "distance_mid": "the same: median",
    "distance_high": "the same: 90% quantile",
    "normality": "Shapiro-Wilk W of these distances: 1 is a normal spread",
    "near_duplicate_rate": "share of queries very close to an earlier one",
    "repeat_rate": "share of queries that repeat an earlier one exactly",
    "step": "ln of the distance from one query to the next, mean",
    "structure": "how foreign differences between own queries are: 0 like the population's (log)",
    "confidence": "mean of the largest probability",
    "margin": "mean of ln(largest over second largest probability)",
    "low_margin_rate": "share of answers that were close to a tie",
    "flip_rate": "share of near duplicates that got another label",
}


def listed(names: list[str]) -> str:
    """Return ids, printable, separated by commas."""
    return ", ".join(printable(name) for name in names)


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "evaluation"), count(1200, "query")
    ('1 evaluation', '1,200 queries')
    """
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
