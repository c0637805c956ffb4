"""A model of the Adult table for `detector bench`, trained on the reader's own file; docs/pages/bench.md has the command.

``python -m tests.quality.bench_adult DIR`` writes ``adult.npz`` with records that the model has not seen.
"""

import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from detector.redteam.conversation import Array
from tests.quality.quality import REAL_DATA
from tests.quality.real import CODED, adult

__all__ = ["predict"]

TRAINED, POOL = 8000, 2000


@cache
def _model(folder: Path) -> HistGradientBoostingClassifier:
    X, y, _ = adult(folder)
    order = np.random.default_rng(0).permutation(len(X))[:TRAINED]
    return HistGradientBoostingClassifier(max_iter=60, categorical_features=list(CODED), random_state=0).fit(X[order], y[order])


def predict(X: Array) -> Array:
    """Return probabilities (n, 2) for records (n, 14); the folder with the table is named by the environment."""
    told: Array = _model(Path(os.environ[REAL_DATA])).predict_proba(X)
    return told


def main(folder: str) -> None:
    """Write the records that a bench asks about."""
    X, y, _ = adult(Path(folder))
    rest = np.random.default_rng(0).permutation(len(X))[TRAINED : TRAINED + POOL]
    np.savez("adult.npz", X=X[rest], y=y[rest])


if __name__ == "__main__":
    main(sys.argv[1])
