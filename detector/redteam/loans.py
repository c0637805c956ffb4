"""A table worth asking about, made by formula: applications for a loan, and a forest that grants them.

No real table ships with the libraries that has both numbers and codes, so this one is drawn: columns depend on each other
(education and age on income, occupation on hours), as independent columns would make a thief who breaks those
dependences look innocent. It is a stand-in for tests and demonstrations; figures about a detector want a real table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Labels
from detector.redteam.network import logged
from detector.redteam.setting import Setting
from detector.redteam.victim import Pool

NAMES = ("age", "income", "hours", "years_employed", "debt", "savings", "education", "occupation", "region", "marital")
CATEGORICAL = (6, 7, 8, 9)
_TRAINING, _BASELINE, _BENIGN, _ATTACKER, _TEST = 800, 500, 500, 400, 300


def applications(count: int, rng: np.random.Generator) -> tuple[Array, Labels]:
    """Draw `count` applications, (count, 10) in the order of `NAMES`, and whether each was repaid, (count,) of 0 and 1.

    Age, hours and years employed are whole; income, debt and savings are in thousands with one decimal; the last four
    are codes from 0.

    >>> X, y = applications(500, np.random.default_rng(0))
    >>> X.shape, sorted(set(y.tolist()))
    ((500, 10), [0, 1])
    """
    education = rng.choice(5, count, p=(0.12, 0.33, 0.27, 0.2, 0.08)).astype(np.float64)
    age = np.rint(np.clip(18.0 + rng.gamma(3.0, 8.0, count) + 1.5 * education, 18.0, 90.0))
    occupation = np.abs(np.clip(np.rint(1.4 * education + rng.normal(0.0, 1.2, count)), 0.0, 6.0))
    hours = np.rint(np.clip(np.where(rng.random(count) < 0.6, 40.0, rng.normal(36.0, 11.0, count)) + occupation, 5.0, 90.0))
    seniority = np.clip((age - 18.0) / 30.0, 0.0, 1.2)
    income = np.exp(2.6 + 0.17 * education + 0.5 * seniority + 0.012 * (hours - 40.0) + rng.normal(0.0, 0.35, count))
    employed = np.rint(np.clip((age - 18.0 - education) * rng.beta(1.2, 2.0, count), 0.0, 50.0))
    married = rng.random(count) < np.clip((age - 20.0) / 30.0, 0.05, 0.8)
    marital = np.where(married, 1.0, np.where(rng.random(count) < np.clip((age - 25.0) / 60.0, 0.0, 0.5), 2.0, 0.0))
    region = rng.choice(6, count, p=(0.35, 0.25, 0.15, 0.12, 0.08, 0.05)).astype(np.float64)
    debt = np.where(rng.random(count) < 0.35, 0.0, income * rng.gamma(1.5, 0.3, count))
    savings = np.where(rng.random(count) < 0.3, 0.0, income * rng.gamma(1.0, 0.4, count) * (0.4 + seniority))
    worth = 0.06 * income + 0.05 * savings - 0.12 * debt + 0.05 * employed + 0.3 * (marital == 1.0) + 0.15 * education
    repaid = worth - 0.2 * (region == 5.0) + rng.normal(0.0, 0.4, count) > 1.6
    whole = np.column_stack([age, income, hours, employed, debt, savings, education, occupation, region, marital])
    return np.round(whole, 1), repaid.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Lender:
    """A forest and the pools its clients draw from, disjoint and named as those of `detector.redteam.victim.Victim`."""

    model: RandomForestClassifier
    columns: TableColumns
    training: Pool
    baseline: Pool
    benign: Pool
    attacker: Pool
    test: Pool
    classes: int = 2

    def setting(self, pool: Pool, rng: np.random.Generator) -> Setting:
        """What a client begins with that holds `pool`."""
        return Setting(pool.vectors, pool.labels, rng, classes=self.classes, columns=self.columns)

    def predict(self, X: Array) -> Array:
        """Probabilities (n, 2) as a log would hold them: at least 0.0001 and rounded to six digits.

        Computed from the trees themselves, which spares single queries most of the time that `predict_proba` takes.
        """
        return logged(votes(self.model.estimators_, X))


def votes(trees: Sequence[DecisionTreeClassifier], X: Array) -> Array:
    """The mean answer of fitted trees, (n, classes)."""
    rows = X.astype(np.float32)
    return np.asarray(np.mean([np.asarray(tree.tree_.predict(rows)).reshape(len(rows), -1) for tree in trees], axis=0))


def lender(seed: int) -> Lender:
    """Train a forest of 20 trees on drawn applications; the same seed gives the same lender."""
    rng = np.random.default_rng(seed)
    sizes = (_TRAINING, _BASELINE, _BENIGN, _ATTACKER, _TEST)
    X, y = applications(sum(sizes), rng)
    cuts = np.cumsum(sizes)[:-1]
    parts = [Pool(vectors, labels) for vectors, labels in zip(np.split(X, cuts), np.split(y, cuts), strict=True)]
    model = RandomForestClassifier(n_estimators=20, min_samples_leaf=3, random_state=seed)
    model.fit(parts[0].vectors, parts[0].labels)
    training, baseline, benign, attacker, test = parts
    return Lender(model, TableColumns.of(X, CATEGORICAL), training, baseline, benign, attacker, test)
