"""Data of more kinds than the first table had, with the wire that a real client of each uses.

All of it ships with packages that the project has anyway. Half of the worlds are held out (`HELD_OUT`): they are measured, and
nobody looks at them while a channel is changed.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats
import sklearn.cluster
import sklearn.linear_model
import sklearn.metrics
from matplotlib import cbook
from PIL import Image
from river import datasets as river
from sklearn.datasets import load_digits, load_sample_images, make_blobs, make_classification
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer

from detector.redteam.conversation import Array, Labels

SIDE = 12  # pixels of a dense patch


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Natural examples X (n, dimension) with labels y (n,), and how clients send them (see `detector.redteam.wire`)."""

    X: Array
    y: Labels
    value_range: tuple[float, float] = (0.0, 1.0)
    categorical: tuple[int, ...] = ()
    wire: str = "float64"


def digits_8bit(_seed: int) -> Examples:
    """Sparse pictures of 8x8 pixels."""
    found = load_digits()
    return Examples(np.asarray(found.data, np.float64), np.asarray(found.target, np.int64), (0.0, 16.0), wire="uint8")


def patches(seed: int) -> Examples:
    """Dense grey patches of two photographs, 8 bits; the label is the photograph and its half."""
    grey = [np.asarray(picture, np.float64).mean(axis=2) for picture in load_sample_images().images]
    return _patches([half for picture in grey for half in np.array_split(picture, 2)], seed)


def portrait(seed: int) -> Examples:
    """Dense grey patches of a photograph of another kind; the label is the place of the patch in a grid of 3x2."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as picture:
        grey = np.asarray(picture.convert("L"), np.float64)
    return _patches([part for half in np.array_split(grey, 2) for part in np.array_split(half, 3, axis=1)], seed)


def _patches(pictures: list[Array], seed: int) -> Examples:
    rng = np.random.default_rng([seed, 21])
    rows, labels = [], []
    for label, picture in enumerate(pictures):
        for _ in range(4000 // len(pictures)):
            top, left = (int(rng.integers(size - SIDE)) for size in picture.shape)
            rows.append(np.rint(picture[top : top + SIDE, left : left + SIDE]).ravel())
            labels.append(label)
    return Examples(np.stack(rows), np.array(labels, np.int64), (0.0, 255.0), wire="uint8")


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


def docstrings(seed: int) -> Examples:
    """Texts that people wrote, the documentation of numpy, scipy and scikit-learn, embedded as unit vectors; by package."""
    modules: list[list[ModuleType]] = [
        [np, np.linalg, np.random],
        [scipy.stats, scipy.special],
        [scipy.signal, scipy.linalg],
        [sklearn.metrics, sklearn.linear_model, sklearn.cluster],
    ]
    texts, labels = [], []
    for label, group in enumerate(modules):
        for module in group:
            for name in sorted(vars(module)):
                lines = (inspect.getdoc(getattr(module, name)) or "").split("\n\n")
                pieces = [piece.replace("\n", " ") for piece in lines if 60 < len(piece) < 600 and ">>>" not in piece]
                texts += pieces[:12]
                labels += [label] * len(pieces[:12])
    kept = sorted({text: i for i, text in enumerate(texts)}.values())
    hashed = HashingVectorizer(n_features=2**14, ngram_range=(1, 2)).transform([texts[i] for i in kept])
    X = TruncatedSVD(96, random_state=seed).fit_transform(hashed)
    lengths = np.linalg.norm(X, axis=1)
    known = lengths > 1e-6
    X = X[known] / lengths[known, None]
    largest = float(np.abs(X).max())
    return Examples(X, np.array([labels[i] for i in kept], np.int64)[known], (-largest, largest), wire="float32")


WORLDS: dict[str, Callable[[int], Examples]] = {
    "digits_8bit": digits_8bit,
    "patches": patches,
    "portrait": portrait,
    "bananas": bananas,
    "phishing": phishing,
    "segments": segments,
    "solar": solar,
    "wide": wide,
    "many": many,
    "fraud": fraud,
    "docstrings": docstrings,
}
VICTIMS: dict[str, str] = {
    "digits_8bit": "mlp",
    "patches": "mlp",
    "bananas": "boosting",
    "phishing": "forest",
    "wide": "linear",
    "fraud": "forest",
    "portrait": "mlp",
    "segments": "boosting",
    "solar": "tree",
    "many": "mlp",
    "docstrings": "linear",
}
"""Which model is served in each world."""

HELD_OUT = frozenset({"portrait", "segments", "solar", "many", "docstrings"})


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
