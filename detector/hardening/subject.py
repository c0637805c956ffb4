"""What is benched: a model, and the examples that thieves, innocents and the test have of its domain.

All models of a bench are asked about the same examples, of which none is in two of the three parts.
"""

from dataclasses import dataclass, replace

import numpy as np

from detector.errors import ConfigError
from detector.hardening.examples import Examples
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Labels
from detector.redteam.opened import OpenedModel
from detector.redteam.targets import Target
from detector.redteam.victim import Pool

__all__ = ["LEAST", "Subject", "subject_of"]

LEAST = 40  # examples: fewer than twelve of them would judge a copy


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model to be benched; with `truth` the labels of the benign examples are the true ones, so that accuracy is known.

    `log` is the log that the examples come from, None where they come from elsewhere, and `model_id` the model's id in it.
    """

    name: str
    opened: OpenedModel
    target: Target
    truth: bool
    log: str | None = None
    model_id: str | None = None

    def beside(self, name: str, opened: OpenedModel) -> "Subject":
        """Return a second model with the same examples; raises `ConfigError` where it does not go with them."""
        if opened.classes != self.target.classes:
            raise ConfigError(f"{name} tells {opened.classes} classes and {self.name} {self.target.classes}: no comparison")
        if opened.target is not None and opened.target.test.shape[1] != self.target.test.shape[1]:
            dimensions = opened.target.test.shape[1], self.target.test.shape[1]
            raise ConfigError(f"{name} takes {dimensions[0]} values and {self.name} {dimensions[1]}: no comparison")
        target = replace(self.target, id=name, predict=opened.predict)
        target.predict(target.test[:1])
        return replace(self, name=name, opened=opened, target=target)


def subject_of(
    name: str,
    opened: OpenedModel,
    given: Examples | None = None,
    labels: Labels | None = None,
    *,
    categorical: tuple[int, ...] = (),
    tabular: bool = False,
    wire: str | None = None,
    seed: int = 0,
) -> Subject:
    """Deal the examples to thieves (two fifths), innocents and the test (three tenths each).

    A model of the red team brings its own unless others are `given`. `labels` are the true ones, the model's own otherwise.
    Raises `ConfigError` where there are too few, `ModelError` where the model cannot answer.
    """
    if given is None:
        if opened.target is None:
            raise ConfigError(f"{name}: natural inputs are needed: name them with --data")
        return Subject(name, opened, opened.target.over(wire), truth=True)
    X = given.X
    if len(X) < LEAST:
        raise ConfigError(f"{len(X)} examples are too few to steal with and to judge copies by: {LEAST} or more are needed")
    try:
        columns = TableColumns.of(X, categorical) if tabular or categorical else None
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if labels is not None and (labels.min() < 0 or labels.max() >= opened.classes):
        raise ConfigError(
            f"labels go from {labels.min()} to {labels.max()}, the model's classes from 0 to {opened.classes - 1}"
        )
    order = np.random.default_rng(seed).permutation(len(X))
    attacker, benign, test = np.array_split(order, [len(X) * 2 // 5, len(X) * 7 // 10])
    known = opened.predict(X).argmax(axis=1) if labels is None else labels
    target = Target(
        name,
        opened.predict,
        Pool(X[attacker], known[attacker]),
        Pool(X[benign], known[benign]),
        X[test],
        (float(X.min()), float(X.max())),
        opened.classes,
        columns,
    )
    # Without a name, each column arrives on the grid that its examples lie on.
    return Subject(name, opened, target.over(wire or "grid"), labels is not None, given.log, given.model)
