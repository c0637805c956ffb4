"""What perturbation costs a thief, and what it costs the honest: fidelity of copies against calibration of confidences.

Thieves of several kinds ask a model whose answers are perturbed as `detector.perturb` does it, and, to compare, as the
Adversarial Robustness Toolbox does. Each trains one copy on what he was told and one on the labels alone; the better one
counts, since whoever is told nonsense beside the label leaves it out. The honest lose labels (flips) and calibration.

Blind to: thieves who undo a perturbation by a model of it. Against `top1` and `label` there is nothing to undo.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from rich.table import Table

from detector.perturb.modes import How, perturb
from detector.redteam.attacks.jbda import jbda
from detector.redteam.attacks.line_search import line_search
from detector.redteam.attacks.uniform import uniform
from detector.redteam.conversation import Array, Conversation, Predict, converse
from detector.redteam.copy import fidelity
from detector.redteam.network import one_hot
from detector.redteam.setting import Setting
from detector.redteam.targets import Target, named

__all__ = ["MODES", "TARGETS", "Row", "markdown", "measure", "table", "told_by"]

TARGETS: Final = ("digits", "loans")
"""Ten classes, and two."""

THIEVES: Final[dict[str, Callable[[Setting], Conversation] | None]] = {
    "own": None,
    "uniform": uniform,
    "line_search": line_search,
    "jbda": jbda,
}
"""What each asks: examples of the domain that he holds, random inputs, points between examples, steps from examples."""

_KEY: Final = b"a key of the bench, not a secret"
BINS: Final = 10

Change = Callable[[Array, np.random.Generator], Array]


class Row(NamedTuple):
    """One mode on one data set: the fidelity of each thief's copy, None where he needs pictures, and the honest's loss.

    `flips` is the share of labels that changed, `calibration` the expected calibration error in ten bins.
    """

    data: str
    mode: str
    own: float
    uniform: float
    line_search: float | None
    jbda: float | None
    flips: float
    calibration: float


def told_by(how: How) -> Change:
    """Return a mode as a change of answers (n, classes)."""

    def change(answers: Array, rng: np.random.Generator) -> Array:
        del rng
        return np.array([perturb(row, how, "bench") for row in answers.tolist()]).reshape(answers.shape)

    return change


def _rounded(answers: Array, rng: np.random.Generator) -> Array:
    del rng
    return np.round(answers, 2)


def _gaussian(answers: Array, rng: np.random.Generator) -> Array:
    noisy = np.clip(answers + rng.normal(0.0, 0.05, answers.shape), 0.0, None)
    return _shared(noisy)


def _reverse_sigmoid(answers: Array, rng: np.random.Generator) -> Array:
    """Lee et al. (2019) with beta 1 and gamma 0.2, as the Adversarial Robustness Toolbox has it."""
    del rng
    clipped = np.clip(answers, 1e-9, 1.0 - 1e-9)
    inner = 0.2 * np.log(clipped / (1.0 - clipped))
    changed = np.clip(clipped - (1.0 / (1.0 + np.exp(-inner)) - 0.5), 0.0, 1.0)
    return _shared(changed)


def _shared(values: Array) -> Array:
    return np.asarray(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-12))


MODES: Final[dict[str, Change]] = {
    "none": lambda answers, _: answers,
    "top1": told_by(How("top1")),
    "label": told_by(How("label")),
    "mislead": told_by(How("mislead", secret=_KEY)),
    "rounded to 2 decimals": _rounded,
    "Gaussian noise .05": _gaussian,
    "ReverseSigmoid (1, .2)": _reverse_sigmoid,
}


def measure(queries: int, seeds: int, *, note: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Return one row for each mode and data set; thieves ask so many `queries`, and figures are means over `seeds`."""
    rows = []
    for name in TARGETS:
        targets = [named(name, seed) for seed in range(seeds)]
        for mode, change in MODES.items():
            note(f"{name}: {mode}")
            found = [_measured(target, change, queries, seed) for seed, target in enumerate(targets)]
            means = {part: _mean([one[part] for one in found]) for part in found[0]}
            rows.append(Row(name, mode, **means))  # type: ignore[arg-type]  # only thieves of pictures may be None
    return rows


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _measured(target: Target, change: Change, queries: int, seed: int) -> dict[str, float | None]:
    rng = np.random.default_rng(seed)

    def predict(X: Array) -> Array:
        return change(target.predict(X), rng)

    copies = {name: _copied(target, thief, predict, queries, seed) for name, thief in THIEVES.items()}
    true = target.predict(target.benign.vectors)
    told = change(true, rng)
    flips = float((told.argmax(axis=1) != true.argmax(axis=1)).mean())
    return {**copies, "flips": flips, "calibration": calibration_error(told, target.benign.labels)}


def _copied(
    target: Target, thief: Callable[[Setting], Conversation] | None, predict: Predict, queries: int, seed: int
) -> float | None:
    if thief is None:
        vectors = target.attacker.vectors[:queries]
        answers = predict(vectors)
    elif target.columns is not None and thief is not uniform:
        return None
    else:
        setting = target.setting(target.attacker, np.random.default_rng(seed))
        vectors, answers, _ = converse(thief(setting), predict, queries)
    labels = one_hot(answers.argmax(axis=1), target.classes)
    return max(fidelity(vectors, told, target.test, target.predict, seed, target.encode) for told in (answers, labels))


def calibration_error(told: Array, labels: np.ndarray) -> float:
    """Return the expected calibration error of confidences (n, classes) against the true labels (n,).

    >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
    0.0
    """
    confidence, right = told.max(axis=1), told.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(float(confidence[bins == b].mean() - right[bins == b].mean())) * float((bins == b).mean()) for b in set(bins)]
    return sum(gaps)


def _cells(row: Row) -> list[str]:
    figures = [row.own, row.uniform, row.line_search, row.jbda, row.flips]
    return [row.data, row.mode, *("-" if one is None else f"{one:.1%}" for one in figures), f"{row.calibration:.3f}"]


_HEADS: Final = ("data", "mode", "own examples", "uniform", "line search", "JbDA", "labels changed", "calibration error")


def markdown(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [_HEADS, ["---"] * len(_HEADS), *map(_cells, rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def table(rows: list[Row]) -> Table:
    """Return the rows as a table for the terminal."""
    shown = Table(box=None, pad_edge=False, caption="fidelity of the better copy; calibration error of the confidences told")
    for head in _HEADS:
        shown.add_column(head)
    for row in rows:
        shown.add_row(*_cells(row))
    return shown
