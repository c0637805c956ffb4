"""Words: what every kind of evidence and every feature means, and how ids and counts are written."""

from detector.engine.judge import WORDS
from detector.names import printable
from detector.offline.trace import NOVELTY

MEANINGS = {**WORDS, NOVELTY: "queries are, taken together, unlike those of every known benign client"}
LOOKALIKES = {
    "offset": "a tester who adds random noise of one size to every input value asks the very same queries",
    "bisect": "a cross-fade between two inputs comes closest; a slider moved in order through its range does not look so",
    "aim": "a slider that fades one input into another, and augmentation that mixes pairs, come close",
    "probe": "somebody who tries one field of a form a little up and a little down comes close",
    "sens": "strong blur and a failing sensor lower confidence steeply as well, at half the rate or less",
    "dwell": "a camera that stands still before an ambiguous scene does; so one crowd of neighbours counts six times at most",
    "select": "a list that is sorted by how unusual its entries are, and a scrolling picture, come close",
    "foreign": "a mirrored, filtered or dithered camera, an explainer and a robustness tester are as foreign",
    "cooccur": "an explainer that draws columns independently and records with columns swapped for anonymity do the same",
    NOVELTY: "a new device, a mirrored or filtered camera, a customer with new kinds of data, or an explainer is as strange",
}
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

    >>> count(1, "look"), count(1200, "query")
    ('1 look', '1,200 queries')
    """
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
