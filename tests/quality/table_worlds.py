"""Worlds of tables: few columns and many, whole numbers, codes, cents, and models that are nearly always or never sure."""

import numpy as np
from river import datasets as river
from sklearn.datasets import make_blobs, make_classification

from detector.redteam.conversation import Array
from tests.quality.examples import Examples


def bananas(_seed: int) -> Examples:
    """Two columns."""
    return _river(river.Bananas(), decimals=3)


def phishing(_seed: int) -> Examples:
    """Nine columns with three levels each."""
    return _river(river.Phishing())


def segments(_seed: int) -> Examples:
    """Eighteen columns of different units, seven classes."""
    return _river(river.ImageSegments(), decimals=4)


def solar(_seed: int) -> Examples:
    """Ten columns, most of them codes or small counts; whether a flare comes."""
    return _river(river.SolarFlare(), coded=(0, 1, 2))


def wide(seed: int) -> Examples:
    """120 columns of one range, two decimals."""
    X, y = make_classification(3000, 120, n_informative=30, n_redundant=40, n_classes=3, random_state=seed)
    return Examples(np.round(X, 2), y.astype(np.int64), wire="grid")


def many(seed: int) -> Examples:
    """24 columns, 40 classes, one decimal."""
    X, y = make_blobs(4000, 24, centers=40, cluster_std=4.0, random_state=seed)
    return Examples(np.round(X, 1), y.astype(np.int64), wire="grid")


def fraud(seed: int) -> Examples:
    """Payments: amounts in cents with heavy tails, counts and codes; one class is 4% of all."""
    rng = np.random.default_rng([seed, 22])
    n = 4000
    bad = rng.random(n) < 0.04
    amount = np.round(np.exp(rng.normal(3.2 + 1.1 * bad, 1.1)), 2)
    X = np.column_stack(
        [
            amount,
            np.floor(rng.normal(13 - 5 * bad, 5.0) % 24),
            rng.poisson(2 + 5 * bad),
            np.round(rng.gamma(2.0, 20.0 - 12.0 * bad), 1),
            rng.integers(0, 12, n),
            np.where(rng.random(n) < 0.2 + 0.5 * bad, 1, 0),
            np.round(rng.beta(2 + 2 * bad, 5), 4),
            rng.geometric(0.02 + 0.06 * bad),
        ]
    ).astype(np.float64)
    return Examples(X, bad.astype(np.int64), categorical=(4, 5), wire="grid")


def machines(seed: int) -> Examples:
    """Ten readings of machines, four decimals; the states lie far apart, and the model is nearly always sure."""
    rng = np.random.default_rng([seed, 24])
    y = rng.choice(4, 3000, p=[0.6, 0.2, 0.1, 0.1])
    centres = rng.normal(0.0, 4.0, (4, 10))
    X = centres[y] + rng.standard_normal((3000, 10)) * rng.uniform(0.5, 1.5, 10)
    return Examples(np.round(X, 4), y.astype(np.int64), wire="grid", answers="decimals-4")


def visits(seed: int) -> Examples:
    """Twelve counts of a visit to a shop; the three classes overlap, and the model is nearly never sure."""
    rng = np.random.default_rng([seed, 25])
    y = rng.integers(3, size=4000)
    rates = np.exp(rng.normal(1.5, 1.0, 12)) * np.exp(0.15 * rng.standard_normal((3, 12)))
    X = rng.poisson(rates[y] * rng.gamma(4.0, 0.25, (4000, 1)))
    return Examples(X.astype(np.float64), y.astype(np.int64), wire="integers", answers="decimals-2")


def yeast(_seed: int) -> Examples:
    """103 measurements of genes, six decimals; the label is the first function that a gene has."""
    rows = [(list(x.values()), list(y.values())) for x, y in river.Yeast()]
    first = [next((place for place, has in enumerate(functions) if has), len(functions)) for _, functions in rows]
    X = np.array([values for values, _ in rows], np.float64)
    return Examples(np.round(X, 6), np.unique(first, return_inverse=True)[1].astype(np.int64), wire="grid")


def shuttle(seed: int) -> Examples:
    """Nine small whole numbers of a space shuttle's telemetry; one record in fourteen is an anomaly."""
    found = _river(river.Shuttle())
    rows = np.random.default_rng([seed, 26]).permutation(len(found.X))[:4000]
    X, y = found.X[rows], np.unique(found.y[rows], return_inverse=True)[1].astype(np.int64)
    return Examples(X, y, wire="integers")


def customers(seed: int) -> Examples:
    """Fourteen named columns of a form: texts as codes, amounts and counts, and one value in twelve left out.

    What was left out is a code of its own, and -1 where a number belongs.
    """
    rng = np.random.default_rng([seed, 27])
    n = 4000
    region, plan, device = rng.integers(8, size=n), rng.integers(4, size=n), rng.integers(5, size=n)
    age, since = rng.integers(18, 90, n), rng.geometric(0.02, n)
    spent = np.round(np.exp(rng.normal(3.0 + 0.4 * plan, 0.8)), 2)
    calls = rng.poisson(1.0 + 2.0 * (device == 0) + (since < 20))
    score = 0.8 * calls - 0.015 * since - 0.3 * plan + 0.02 * (age - 40) + 0.4 * (region % 3) + rng.normal(0.0, 1.0, n)
    columns: list[Array] = [
        *(np.asarray(one, np.float64) for one in (region, plan, device, age, since, spent, calls)),
        np.round(spent / np.maximum(since, 1), 2),
        rng.poisson(3.0 + plan).astype(np.float64),
        np.round(rng.beta(2.0, 5.0, n), 3),
        rng.integers(2, size=n).astype(np.float64),
        rng.integers(1, 32, n).astype(np.float64),
        np.round(rng.gamma(2.0, 15.0, n)),
        rng.integers(3, size=n).astype(np.float64),
    ]
    X = np.column_stack(columns)
    left_out = rng.random(X.shape) < 1.0 / 12.0
    X[left_out] = -1.0
    labels = np.digitize(score, np.quantile(score, [0.5, 0.8])).astype(np.int64)
    return Examples(X, labels, categorical=(0, 1, 2, 10, 13), wire="grid")


def _river(found: object, *, coded: tuple[int, ...] = (), decimals: int | None = None) -> Examples:
    rows, labels = [], []
    for x, y in found:  # type: ignore[attr-defined]
        rows.append(list(x.values()))
        labels.append(str(sum(y.values()) > 0) if isinstance(y, dict) else str(y))
    columns = [_numbers([row[j] for row in rows]) for j in range(len(rows[0]))]
    X = np.column_stack(columns)
    y = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return Examples(X if decimals is None else np.round(X, decimals), y, categorical=coded, wire="grid")


def _numbers(column: list[object]) -> Array:
    if any(isinstance(value, str) for value in column):
        return np.unique([str(value) for value in column], return_inverse=True)[1].astype(np.float64)
    return np.array(column, np.float64)
