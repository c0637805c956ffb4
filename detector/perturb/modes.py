"""Perturbation of one answer: what a client is told instead of the model's probabilities.

========== =======================================================================================================
top1       the label, and its confidence to one decimal; the other classes share the rest evenly
label      the label only: its class has all of the probability
mislead    as top1, but half of the coarse answers name a wrong label, which a secret key chooses; opt-in
none       as the model said: for answers that only bear a mark of ownership (`marks`)
========== =======================================================================================================

While the label stays right, no mode is stronger than `label`: a thief trains on labels then. With ten classes `top1` is
within three points of it, and leaves the honest a confidence that is calibrated; with two it protects nothing. Plain noise is
averaged away by repeats, noise keyed by client by accounts, and noise keyed by the exact answer by jitter. So an answer here
depends on the model and on the coarse answer, and on nothing else: whoever asks, how often, and by how little the input
differs.

Blind to: what a label gives away. A thief with data from the domain copies from labels alone.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from detector.errors import ConfigError

__all__ = ["ART_NAMES", "How", "Mode", "coarse", "is_distribution", "mode_of", "perturb"]

Mode = Literal["top1", "label", "mislead", "none"]

SLACK: Final = 0.02  # rounding of probabilities that sum to 1
LEAST_LEAD: Final = 0.02  # by which the label's confidence exceeds an even share, so that the label stays the largest
MOST: Final = 0.99  # confidence: a thief must not be told where the model is surest
FAINT: Final = 0.05  # probabilities below it are 0 in the coarse answer, so a thousand classes cost no more than twenty
SHARE: Final = 0.5  # of coarse answers that mislead
_SCALE: Final = float(2**32)

ART_NAMES: Final[dict[str, tuple[Mode, str]]] = {
    "rounded": (
        "top1",
        "rounding alone leaves a thief nearly all (97 to 100% fidelity on two decimals): top1 is used, which also rounds",
    ),
    "reverse_sigmoid": (
        "top1",
        "reverse_sigmoid protects no better than top1 and ruins confidences (calibration error .71, not .06): top1 is used",
    ),
    "gaussian_noise": (
        "top1",
        "noise is averaged away by repeats, and changes labels of the honest: top1 is used, which has no noise",
    ),
    "high_confidence": ("top1", "high_confidence tells exactly the confidences that are worth most: top1 is used"),
    "class_labels": ("label", "class_labels is called label here"),
}
"""Names of the postprocessors of the Adversarial Robustness Toolbox: the mode to use instead, and why."""


@dataclass(frozen=True, slots=True)
class How:
    """How answers are perturbed; `secret` is the operator's, and only `mislead` needs it.

    Raises `ConfigError` for `mislead` without a secret of 16 bytes or more: labels that anybody can compute mislead nobody.
    """

    mode: Mode = "top1"
    decimals: int = 1
    secret: bytes | None = None

    def __post_init__(self) -> None:
        """Check what the mode needs."""
        if self.mode == "mislead" and (self.secret is None or len(self.secret) < 16):
            raise ConfigError("[perturb] mode mislead needs a key of 16 bytes or more: set key_file")

    @property
    def key_id(self) -> str | None:
        """Which key it was, for the log, without the key; None where the mode has none."""
        if self.mode != "mislead" or self.secret is None:
            return None
        return hashlib.sha256(b"detector perturb key id\0" + self.secret).hexdigest()[:12]


def mode_of(name: str) -> tuple[Mode, str | None]:
    """Return the mode of a name, and a warning where the name is one of the Adversarial Robustness Toolbox.

    Raises `ConfigError` for an unknown name.

    >>> mode_of("label"), mode_of("class_labels")[0]
    (('label', None), 'label')
    """
    if name in {"top1", "label", "mislead", "none"}:
        known: Mode = name  # type: ignore[assignment]  # just looked up
        return known, None
    if name not in ART_NAMES:
        raise ConfigError(f"[perturb] mode {name!r}: known are top1, label, mislead, none, {', '.join(ART_NAMES)}")
    return ART_NAMES[name]


def is_distribution(values: Sequence[object]) -> bool:
    """Tell whether these are probabilities of two or more classes that exclude each other.

    >>> is_distribution([0.25, 0.75]), is_distribution([0.9, 0.8]), is_distribution([1, True])
    (True, False, False)
    """
    if len(values) < 2:
        return False
    total = 0.0
    for value in values:
        if type(value) is not float and type(value) is not int:
            return False
        if not -1e-6 <= value <= 1.0 + 1e-6:  # NaN is refused as well
            return False
        total += value
    return abs(total - 1.0) <= SLACK


def coarse(probabilities: Sequence[float], model: str) -> bytes:
    """Return the model and the coarse answer, which is all that noise may depend on: probabilities to one decimal."""
    parts = [f"{i}:{round(value, 1)}" for i, value in enumerate(probabilities) if value >= FAINT]
    return f"{model}\0{','.join(parts)}".encode("utf-8", "surrogatepass")


def perturb(probabilities: Sequence[float], how: How, model: str = "") -> list[float]:
    """Return the probabilities that the client is told. The largest stays the largest, but for `mislead`.

    `probabilities` must be a distribution (`is_distribution`). The first of several largest ones is the label. The result sums
    to 1 and depends on the model, the label and the coarse answer only.

    >>> [round(value, 3) for value in perturb([0.03, 0.63, 0.34], How("top1"))]
    [0.2, 0.6, 0.2]
    >>> perturb([0.03, 0.63, 0.34], How("label"))
    [0.0, 1.0, 0.0]
    """
    if how.mode == "none":
        return list(probabilities)
    classes = len(probabilities)
    highest = max(probabilities)
    label = probabilities.index(highest)
    if how.mode == "label":
        told = [0.0] * classes
        told[label] = 1.0
        return told
    if how.mode == "mislead":
        label = _misled(probabilities, label, how.secret or b"", model)
    confidence = min(max(round(highest, how.decimals), 1.0 / classes + LEAST_LEAD), MOST)
    told = [round((1.0 - confidence) / (classes - 1), 9)] * classes
    told[label] = confidence
    return told


def _misled(probabilities: Sequence[float], label: int, secret: bytes, model: str) -> int:
    digest = hmac.digest(secret, coarse(probabilities, model), "sha256")
    if int.from_bytes(digest[:4]) >= SHARE * _SCALE:
        return label
    wrong = int.from_bytes(digest[4:8]) % (len(probabilities) - 1)
    return wrong if wrong < label else wrong + 1
