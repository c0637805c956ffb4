"""The commitment: what was decided about the marks before the first one was made, as a file.

It has the hash of the master key, that of the model's file, and all that the marks depend on besides the key. Whoever marks
reads it, and so does whoever tests a suspect: an accuser who could choose any of it afterwards could accuse anybody.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from detector.errors import ConfigError
from detector.perturb.keys import key_digest
from detector.perturb.strengths import Gauge, Strengths
from detector.perturb.tilt import Frame

__all__ = ["FORMAT", "Committed", "gauge_path", "read_committed"]

FORMAT: Final = 2  # 2: each key has a strength of its own, by a gauge, and tilts are squared
MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """Marks of a model, as they were committed to.

    `flips` is the share of labels that the tilt changed on the log that its strength was chosen by, of so many `queries`.
    `created` is what its writer says (RFC 3339): only a time stamp proves it. Where there is a gauge, each key has the strength
    that it gives, at most `strength`, and the commitment has its hash; without, all keys have `strength`.
    """

    model: str
    epoch: str
    key_sha256: str
    created: str
    classes: int
    strength: float
    dawn_rate: float
    frame: Frame
    flips: float
    queries: int
    model_sha256: str | None = None
    digest: str = ""
    gauge_sha256: str | None = None
    gauge: Gauge | None = None

    @property
    def dimension(self) -> int:
        """How many values an input has."""
        return len(self.frame.scale)

    @property
    def strengths(self) -> Strengths:
        """How strong the tilts of keys are. Raises `ConfigError` where the gauge is needed and was not read."""
        if self.gauge_sha256 is not None and self.gauge is None:
            raise ConfigError(f"the commitment for {self.model} has a gauge, which was not read with it")
        return Strengths(self.frame, self.strength, self.gauge)

    def check_key(self, master: bytes, where: str) -> None:
        """Raise `ConfigError` where the master key is another one than was committed to."""
        if key_digest(master) != self.key_sha256:
            raise ConfigError(f"{where}: was made with another master key: its marks could not be proved with this one")

    def to_bytes(self) -> bytes:
        """Return the file."""
        content = {
            "format": FORMAT,
            "model": self.model,
            "epoch": self.epoch,
            "key_sha256": self.key_sha256,
            "model_sha256": self.model_sha256,
            "created": self.created,
            "classes": self.classes,
            "strength": self.strength,
            "gauge_sha256": self.gauge_sha256,
            "dawn_rate": self.dawn_rate,
            "flips": self.flips,
            "queries": self.queries,
            "distance": self.frame.distance,
            "centre": self.frame.centre.tolist(),
            "scale": self.frame.scale.tolist(),
        }
        return json.dumps(content, indent=1).encode() + b"\n"

    @classmethod
    def of(cls, raw: bytes, where: str) -> "Committed":
        """Read the file. Raises `ConfigError` where it is none."""
        try:
            content = json.loads(raw)
            return cls._read(content, hashlib.sha256(raw).hexdigest())
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"{where}: is no commitment of `detector ownership commit`: {said}") from None

    @classmethod
    def _read(cls, content: Any, digest: str) -> "Committed":
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, this version reads {FORMAT}")
        frame = Frame(
            np.asarray(content["centre"], np.float64), np.asarray(content["scale"], np.float64), float(content["distance"])
        )
        shaped = frame.centre.ndim == 1 and frame.centre.shape == frame.scale.shape and len(frame.scale) > 0
        numbers = [*frame.centre.tolist(), *frame.scale.tolist(), frame.distance] if shaped else []
        if not shaped or not np.isfinite(numbers).all() or frame.distance <= 0 or frame.scale.min() <= 0:
            raise ValueError("centre, scale and distance fit no input")
        texts = [content[name] for name in ("model", "epoch", "key_sha256", "created")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("model, epoch, key_sha256 and created are texts")
        gauge = content["gauge_sha256"]
        if gauge is not None and not isinstance(gauge, str):
            raise TypeError("gauge_sha256 is a text, or null")
        strength, rate, classes = float(content["strength"]), float(content["dawn_rate"]), int(content["classes"])
        if not (0.0 <= strength <= 4.0 and 0.0 <= rate <= 0.05 and classes >= 2):
            raise ValueError("strength, dawn_rate or classes are out of range")
        return cls(
            model=texts[0],
            epoch=texts[1],
            key_sha256=texts[2],
            created=texts[3],
            classes=classes,
            strength=strength,
            dawn_rate=rate,
            frame=frame,
            flips=float(content["flips"]),
            queries=int(content["queries"]),
            model_sha256=content["model_sha256"],
            digest=digest,
            gauge_sha256=gauge,
        )


def gauge_path(commitment: Path) -> Path:
    """Return where the gauge of a commitment lies: beside it."""
    return commitment.with_name(f"{commitment.stem}.gauge.npz")


def read_committed(path: Path, *, gauged: bool = True) -> Committed:
    """Read a commitment, and its gauge where there is one and marks are to be made or tested (`gauged`).

    Raises `ConfigError` where one of them cannot be read, or the gauge is another than was committed to.
    """
    made = Committed.of(_content(path, "commitment"), str(path))
    if made.gauge_sha256 is None or not gauged:
        return made
    beside = gauge_path(path)
    raw = _content(beside, "gauge of the commitment")
    if hashlib.sha256(raw).hexdigest() != made.gauge_sha256:
        raise ConfigError(f"{beside}: is not the gauge that {path} was made with")
    try:
        return replace(made, gauge=Gauge.of(raw, made.dimension, made.classes))
    except ValueError as error:
        raise ConfigError(f"{beside}: is no gauge of `detector ownership commit`: {error}") from None


def _content(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the {what}: {error.strerror or error}") from error
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path}: is no {what}: more than {MOST_BYTES} bytes")
    return raw
