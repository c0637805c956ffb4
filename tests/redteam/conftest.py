from collections.abc import Mapping

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from detector.redteam.loans import Lender, lender
from detector.redteam.setting import Data
from detector.redteam.targets import Target, named
from detector.redteam.texts import embedded_all, sentences
from detector.redteam.victim import Pool, Victim, digits_victim


@pytest.fixture(scope="session")
def victim() -> Victim:
    """Train one model for all clients to ask."""
    return digits_victim(7)


@pytest.fixture(scope="session")
def applied() -> Lender:
    """Train one model of records for all clients to ask."""
    return lender(7)


@pytest.fixture(scope="session")
def targets() -> Mapping[Data, Target]:
    """Train one model of each kind of data."""
    written, topics = sentences(500, np.random.default_rng(5))
    X = embedded_all(written)
    model = LogisticRegression(max_iter=500).fit(X[:200], topics[:200])
    attacker, benign = Pool(X[200:300], topics[200:300]), Pool(X[300:450], topics[300:450])
    texts = Target("text", model.predict_proba, attacker, benign, X[450:], (-1.0, 1.0), len(model.classes_), unit=True)
    return {"image": named("digits:7"), "tabular": named("loans:7"), "text": texts}
