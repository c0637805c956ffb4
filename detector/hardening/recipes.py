"""Models that were hardened while they were trained, or answer through a noisy input: ``recipe:NAME:DATA``.

===============  =============================================================================================
``plain``        nothing: what the others are compared with
``adversarial``  trained on inputs that were moved against the model (fast adversarial training)
``dp``           DP-SGD: gradients clipped and noised
``smoothing``    label smoothing of 0.3
``nasty``        a nasty teacher (Ma et al., ICLR 2021): right labels, confidences unlike those of a plain model
``noise``        Gaussian noise on each input at serving, a tenth of the value range
``squeeze``      inputs rounded to three levels at serving
===============  =============================================================================================

DATA is digits, wine, breast_cancer or iris. With a seed all recipes are trained on the same examples, and attacked with the
same others. A parameter can be another: ``recipe:dp(noise=2.0):digits``.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from detector.errors import ConfigError
from detector.hardening.defences import parts_of
from detector.hardening.training import Course, descend, epsilon_of
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Labels, Predict
from detector.redteam.network import logged, softmax
from detector.redteam.opened import OpenedModel
from detector.redteam.targets import SHIPPED, Target
from detector.redteam.victim import Pool

__all__ = ["PREFIX", "RECIPES", "open_recipe"]

PREFIX: Final = "recipe:"
DELTA: Final = 1e-3  # for DP-SGD: below one in the number of examples


class Lesson(NamedTuple):
    """What a recipe learns from: X (n, dimension) between -1 and 1, labels (n,), how many classes, and the seed."""

    X: Array
    labels: Labels
    classes: int
    seed: int

    def taught(self, course: Course | None = None) -> Predict:
        """Return a plain network, or one that was trained in another course."""
        return descend(self.X, self.labels, self.classes, course or Course(), self.seed).probabilities


def _plain(lesson: Lesson) -> tuple[Predict, str]:
    return lesson.taught(), ""


def _adversarial(lesson: Lesson, *, reach: float = 0.15) -> tuple[Predict, str]:
    return lesson.taught(Course(reach=2.0 * reach)), f"inputs moved by {reach:g} of the value range"


def _dp(lesson: Lesson, *, noise: float = 1.0, clip: float = 1.0) -> tuple[Predict, str]:
    course = Course(clip=clip, noise=noise)
    epsilon = epsilon_of(noise, min(course.batch / len(lesson.X), 1.0), course.steps, DELTA)
    return lesson.taught(course), f"epsilon {epsilon:.1f} at delta {DELTA:g}"


def _smoothing(lesson: Lesson, *, share: float = 0.3) -> tuple[Predict, str]:
    def pull(logits: Array, targets: Array, chosen: Labels) -> Array:
        del chosen
        return np.asarray(softmax(logits) - ((1.0 - share) * targets + share / targets.shape[1]))

    return descend(lesson.X, lesson.labels, lesson.classes, Course(), lesson.seed, pull).probabilities, f"share {share:g}"


def _nasty(lesson: Lesson, *, weight: float = 0.02, temperature: float = 4.0) -> tuple[Predict, str]:
    other = descend(lesson.X, lesson.labels, lesson.classes, Course(), lesson.seed + 1).logits(lesson.X)

    def pull(logits: Array, targets: Array, chosen: Labels) -> Array:
        apart = softmax(logits, temperature) - softmax(other[chosen], temperature)
        return np.asarray(softmax(logits) - targets - weight * temperature * apart)

    network = descend(lesson.X, lesson.labels, lesson.classes, Course(), lesson.seed, pull)
    return network.probabilities, f"weight {weight:g}, temperature {temperature:g}"


def _noise(lesson: Lesson, *, scale: float = 0.1) -> tuple[Predict, str]:
    plain, rng = lesson.taught(), np.random.default_rng(lesson.seed)

    def noisy(X: Array) -> Array:
        return plain(np.asarray(X + rng.normal(0.0, 2.0 * scale, X.shape)))

    return noisy, f"{scale:g} of the value range"


def _squeeze(lesson: Lesson, *, levels: int = 3) -> tuple[Predict, str]:
    plain = lesson.taught()

    def squeezed(X: Array) -> Array:
        return plain(np.asarray(np.rint((X + 1.0) / 2.0 * (levels - 1)) / (levels - 1) * 2.0 - 1.0))

    return squeezed, f"{levels} levels"


RECIPES: Final[Mapping[str, Callable[..., tuple[Predict, str]]]] = {
    "plain": _plain,
    "adversarial": _adversarial,
    "dp": _dp,
    "smoothing": _smoothing,
    "nasty": _nasty,
    "noise": _noise,
    "squeeze": _squeeze,
}


def open_recipe(name: str, seed: int = 0) -> tuple[OpenedModel, str]:
    """Train the model that ``recipe:NAME:DATA`` names; returns it, and what its parameters are. Raises `ConfigError`.

    >>> opened, said = open_recipe("recipe:dp:iris")
    >>> opened.classes, opened.target.test.shape[1]
    (3, 4)
    """
    recipe, colon, rest = name.removeprefix(PREFIX).rpartition(":")
    kind, options = parts_of(recipe) if recipe else ("", {})
    if not colon or kind not in RECIPES or rest not in SHIPPED:
        known = f"{', '.join(RECIPES)}, with {', '.join(SHIPPED)}"
        raise ConfigError(f"there is no model {name!r}; recipes are {PREFIX}NAME:DATA: {known}")
    data = SHIPPED[rest]()
    X, y = np.asarray(data.data, dtype=np.float64), np.asarray(data.target, dtype=np.int64)
    cuts = [int(len(X) * cut) for cut in (0.4, 0.6, 0.8)]
    training, attacker, benign, held = np.split(np.random.default_rng(seed).permutation(len(X)), cuts)
    classes = len(data.target_names)
    picture = rest == "digits"
    ends = (float(X.min()), float(X.max()))
    if picture:
        low, high = np.full(X.shape[1], ends[0]), np.full(X.shape[1], ends[1])
    else:
        low, high = X[training].min(axis=0), X[training].max(axis=0)

    def scale(rows: Array) -> Array:
        return np.asarray((rows - low) / np.where(high > low, high - low, 1.0) * 2.0 - 1.0)

    try:
        says, told = RECIPES[kind](Lesson(scale(X[training]), y[training], classes, seed), **options)
    except TypeError:
        raise ConfigError(f"{name}: {kind} has no parameter {', '.join(options)}") from None

    def predict(rows: Array) -> Array:
        return logged(says(scale(rows)))

    pools = Pool(X[attacker], y[attacker]), Pool(X[benign], y[benign])
    target = Target(name, predict, *pools, X[held], ends, classes, None if picture else TableColumns.of(X))
    return OpenedModel(name, "named", True, classes, False, predict, target), told
