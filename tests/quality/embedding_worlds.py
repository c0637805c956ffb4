"""Worlds of embeddings: unit vectors that an encoder makes of pictures and of texts."""

import inspect
from types import ModuleType

import numpy as np
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats
import sklearn.cluster
import sklearn.linear_model
import sklearn.metrics
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer

from detector.redteam.conversation import Array, Labels
from tests.quality.examples import Examples
from tests.quality.picture_worlds import SIDE, portrait


def features(seed: int) -> Examples:
    """Embeddings of pictures: random features of the digits, projected to 48 dimensions, unit vectors in half precision."""
    found = load_digits()
    rng = np.random.default_rng([seed, 23])
    hidden = np.maximum(found.data @ rng.standard_normal((64, 512)) / 64.0 + rng.standard_normal(512), 0.0)
    return _embeddings(hidden, found.target, 48, seed, "float16")


def features_portrait(seed: int) -> Examples:
    """Embeddings of dense pictures: random features of the patches of `portrait`, 40 dimensions, four decimals."""
    found = portrait(seed)
    rng = np.random.default_rng([seed, 28])
    hidden = np.maximum(found.X @ rng.standard_normal((SIDE**2, 512)) / 1000.0 + 0.3 * rng.standard_normal(512), 0.0)
    return _embeddings(hidden, found.y, 40, seed, "decimals-4")


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


def _embeddings(X: Array, y: Labels, dimension: int, seed: int, wire: str) -> Examples:
    projected = PCA(dimension, whiten=True, random_state=seed).fit_transform(X)
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    largest = float(np.abs(projected).max())
    return Examples(projected, np.asarray(y, np.int64), (-largest, largest), wire=wire)
