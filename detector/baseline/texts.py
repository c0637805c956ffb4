"""Fitting the space of texts: the directions in which the texts of benign clients differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from detector.ingest.formats.reduction import MOST_DIRECTIONS, TextReduction, counted, folded
from detector.ingest.schema import InputSchema

__all__ = ["fit_reduction", "with_reductions"]

_LEAST_TEXTS: Final = 32
_ENOUGH: Final = 0.9  # of the variance
_LEAST_SHARE: Final = 1e-6  # of the variance
_REST: Final = 0.8  # of the least variance that a direction has: with less, texts of another kind lie too near to each other
_LEAST_REST: Final = 0.08  # of the largest variance: less than a twentieth would count as not varying at all

_MOST_COLUMNS: Final = 8  # of texts in a model that are reduced; each takes 0.8 MB in the baseline


def fit_reduction(texts: Sequence[str]) -> TextReduction | None:
    """Return the space of `texts`, None for fewer than 32 different ones, which say too little.

    It has as many directions as hold 90% of the variance, but at most 48. Some hundred form letters need few; people who write
    as they like need all of them, which then hold between 35% and 75% of it.
    """
    if len(set(texts)) < _LEAST_TEXTS:
        return None
    counts = counted(texts)
    found = _directions(counts)
    shares = np.cumsum(found.explained_variance_ratio_)
    # Directions without variance are not determined.
    determined = max(int((found.explained_variance_ratio_ > _LEAST_SHARE).sum()), 1)
    kept = min(int(np.searchsorted(shares, _ENOUGH)) + 1, determined)
    spread = np.sqrt(found.explained_variance_[:kept])
    rest = _rest(counts, kept)
    # The root of the variance remains: directions of little variance are no noise, but should not rule distances either.
    along = 1.0 / np.sqrt(spread)
    outside = np.sqrt(max(_REST * spread[-1], _LEAST_REST * spread[0]) / rest) if rest > 0.0 else 1.0
    return TextReduction(
        found.mean_.astype(np.float32),
        found.components_[:kept].astype(np.float32),
        np.append(along, outside).astype(np.float32),
    )


def _directions(counts: npt.NDArray[np.float32]) -> PCA:
    return PCA(min(MOST_DIRECTIONS, len(counts) - 1), svd_solver="randomized", random_state=0).fit(counts)


def _rest(counts: npt.NDArray[np.float32], kept: int) -> float:
    """Return the variance of a sum of buckets outside of the directions, of texts that have not shaped them."""
    found = _directions(counts[::2])
    centered = counts[1::2] - found.mean_
    directions = found.components_[:kept]
    return float(folded((centered - centered @ directions.T @ directions).astype(np.float64)).var(axis=0).mean())


def with_reductions(
    schemas: Mapping[str, InputSchema], texts: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, InputSchema]:
    """Return the schemas with the space of each column of texts; `texts` are samples by model and column."""
    found = dict(schemas)
    for model, schema in schemas.items():
        fitted = {
            name: reduction
            for name, sample in list(texts.get(model, {}).items())[:_MOST_COLUMNS]
            if (reduction := fit_reduction(sample)) is not None
        }
        if fitted:
            found[model] = replace(schema, reductions=fitted)
    return found
