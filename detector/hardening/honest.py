"""What a defence costs everybody else: accuracy, calibration, changed labels; and whether it changes anything at all."""

from typing import Final, NamedTuple

import numpy as np

from detector.hardening.defences import Defence, memoised
from detector.hardening.subject import Subject
from detector.redteam.conversation import Array, Labels
from detector.redteam.perturbed import calibration_error

__all__ = ["ALONE", "ASKED", "Honest", "honest"]

ASKED: Final = 4  # times about each input: the model, through the defence, and twice without a memory
MUCH: Final = 0.7  # the least fidelity whose price is told
ALONE: Final = 20  # inputs that are also asked about one by one
SAME: Final = 1e-6  # probabilities closer than that are the same answer: some libraries compute in single precision


class Honest(NamedTuple):
    """One model under one defence, over inputs of benign clients; shares are between 0 and 1.

    `accuracy` is that of what is told and `accuracy_lost` how much less it is than without the defence, None where the true
    labels are not known; then `calibration` is measured against the model's own labels. `flips` is the share of labels that the
    defence changes, `changed` that of answers. `agrees` is the share of inputs to which the defended model gives the same label
    twice.
    """

    model: str
    defence: str
    accuracy: float | None
    accuracy_lost: float | None
    calibration: float
    flips: float
    changed: float
    agrees: float
    warnings: tuple[str, ...]


def honest(subject: Subject, defence: Defence) -> Honest:
    """Ask about the benign examples: the model once, twice through the defence, and some of them one by one.

    Raises `ModelError`.
    """
    target = subject.target
    X, labels = target.benign.vectors, target.benign.labels
    own = memoised(target.predict)
    plain, told = own(X), defence.over(own, target)(X)
    # A model that answers at random does so without the memory, so it is asked again.
    defended = defence.over(target.predict, target)
    first, again = defended(X), defended(X)
    known = labels if subject.truth else plain.argmax(axis=1)
    accuracy, before = _right(told, labels), _right(plain, labels)
    changed, differ = _differ(told, plain), _differ(first, again)
    agrees = float((first.argmax(axis=1) == again.argmax(axis=1)).mean())
    alone = np.concatenate([defended(row[None]) for row in X[:ALONE]])
    apart = 0.0 if differ else _differ(first[: len(alone)], alone)
    name = f"{subject.name} with {defence.name}"
    warnings = []
    usual = float(np.bincount(plain.argmax(axis=1)).max() / len(X))
    if usual >= MUCH:
        warnings.append(
            f"{subject.name} gives {usual:.0%} of inputs one and the same label: a copy that says nothing else agrees as "
            "often, and fidelities up to that mean nothing"
        )
    if defence.name != "none" and changed == 0.0:
        warnings.append(
            f"{subject.name}: {defence.name} changed 0 of {len(X)} answers{': ' * bool(defence.hint)}{defence.hint}"
        )
    if differ:
        warnings.append(
            f"{name} gives {differ:.0%} of inputs another answer when asked again, and {1.0 - agrees:.0%} another label: "
            "figures vary from run to run, and a thief who asks twice averages that away"
        )
    if apart:
        warnings.append(
            f"{name} gives {apart:.0%} of inputs another answer alone than in a batch: the honest are asked about in batches, "
            "thieves ask one by one"
        )
    return Honest(
        subject.name,
        defence.name,
        round(accuracy, 4) if subject.truth else None,
        round(before - accuracy, 4) if subject.truth else None,
        round(calibration_error(told, known), 4),
        round(float((told.argmax(axis=1) != plain.argmax(axis=1)).mean()), 4),
        round(changed, 4),
        round(agrees, 4),
        tuple(warnings),
    )


def _differ(some: Array, others: Array) -> float:
    return float((np.abs(some - others) > SAME).any(axis=1).mean())


def _right(told: Array, labels: Labels) -> float:
    return float((told.argmax(axis=1) == labels).mean())
