"""Committing to marks before the first answer bears one: how inputs are measured, how strong the tilt is, under which key."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.clock import Clock, SystemClock
from detector.config import OwnershipSection
from detector.contracts.moment import rfc3339
from detector.errors import ConfigError, OwnershipError
from detector.ingest.formats.event import DecodedEvent
from detector.ownership.answers import Kept, answer_of, said_of
from detector.perturb.committed import Committed
from detector.perturb.keys import key_digest, master_key
from detector.perturb.strengths import Gauge, Strengths
from detector.perturb.tilt import Frame, Tilts, draw, logits_of, pulls

__all__ = ["Choice", "Sample", "choices", "chosen", "committed", "file_digest", "frame_of", "gauge_for", "sample_of"]

SAMPLED: Final = 2000  # inputs that a strength is chosen by
LEAST: Final = 100  # inputs below which the share of labels that change cannot be told
EPOCHS: Final = 100  # that are told apart
KEYS: Final = 40  # that the share is the mean of
MOST_FLIPS: Final = 0.02
STRONGEST: Final = 2.0  # of what is chosen by itself: confidences suffer before labels do
STEPS: Final = 30
WEAKEST: Final = STRONGEST / STEPS**2
GAUGED: Final = 500  # inputs: a tilt changes no label of those that the model is surer about
GAUGE_BYTES: Final = 32 * 1024 * 1024
FLOOR: Final = 0.25  # of the median spread: a value that hardly varies must not be all that an input is measured by

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Inputs of a log (n, d), each once, and the model's own answers to them (n, classes).

    `marked` says for each epoch of marks that the log has when the first answer bore one, in milliseconds.
    """

    model: str
    X: npt.NDArray[np.float32]
    said: _Array
    marked: Mapping[str, int] = field(default_factory=dict)


class Choice(NamedTuple):
    """A strength, and the share of labels that it changes: the mean of many keys, and that of the worst one in twenty.

    Where keys have strengths of their own, `strength` is their mean, and `weakest` and `strongest` are among those of 40 keys.
    """

    strength: float
    flips: float
    worst: float
    weakest: float | None = None
    strongest: float | None = None


def sample_of(events: Iterator[DecodedEvent], model: str | None) -> Sample:
    """Draw a fair sample of a log: every input has the same chance, whoever sent it and however often.

    Raises `OwnershipError` where the log has too few inputs with probabilities, and `ConfigError` where it has several models.
    """
    kept: dict[tuple[str, int, int], Kept] = {}
    marked: dict[str, int] = {}
    seen = bare = 0
    for event in events:
        seen += 1
        changed = event.output.perturbed
        if changed is not None and changed.mark is not None and (changed.mark.epoch in marked or len(marked) < EPOCHS):
            marked[changed.mark.epoch] = min(int(event.time), marked.get(changed.mark.epoch, int(event.time)))
        said, vector = said_of(event.output), event.input.values()
        if said is None or len(said) < 2 or not np.isfinite(said).all():
            bare += 1
            continue
        answer = answer_of(vector, said, event.output)
        shape = (event.model.id, len(vector), len(said))
        if shape not in kept and len(kept) < 100:
            kept[shape] = Kept(SAMPLED)
        if shape in kept:
            kept[shape].add(int.from_bytes(answer.digest[:8]) / 2.0**64, answer)
    models = sorted({shape[0] for shape in kept})
    if len(models) > 1:
        raise ConfigError(f"the log has several models: say which one with --model ({', '.join(models)})")
    answers, name = max(
        ((each.answers(), shape[0]) for shape, each in kept.items()), key=lambda one: len(one[0]), default=([], "")
    )
    if len(answers) < LEAST:
        about = f" of model {model!r}" if model else ""
        raise OwnershipError(
            f"the log has {len(answers)} different inputs{about} with probabilities, and {LEAST} are needed to choose a "
            f"strength ({seen} events, {bare} of them without probabilities)"
        )
    return Sample(name, np.array([one.vector for one in answers]), np.array([one.said for one in answers]), marked)


def frame_of(X: npt.NDArray[np.float32]) -> Frame:
    """Return how inputs are measured: by the spread of each value, and the median distance of two of them."""
    values = np.asarray(X, np.float64)
    known = np.isfinite(values).any(axis=0)
    centre, spread = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    centre[known] = np.nanmean(values[:, known], axis=0)
    spread[known] = np.nanstd(values[:, known], axis=0)
    usual = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    scale = np.maximum(spread, FLOOR * usual)
    placed = Frame(centre, scale, 1.0).placed(X)
    rows = np.random.default_rng(0).permutation(len(placed))
    pairs = np.linalg.norm(placed[rows] - placed[np.roll(rows, 1)], axis=1)
    distance = float(np.median(pairs[pairs > 0])) if (pairs > 0).any() else 1.0
    return Frame(centre, scale, distance)


def choices(frame: Frame, sample: Sample, strengths: Sequence[float]) -> list[Choice]:
    """Return what each strength changes of the labels, under the same keys."""
    shares = _changed(frame, sample, np.tile(np.asarray(strengths, np.float64), (KEYS, 1)))
    return [
        Choice(strength, float(of_keys.mean()), float(np.quantile(of_keys, 0.95)))
        for strength, of_keys in zip(strengths, shares.T.copy(), strict=True)
    ]


def _tried(sample: Sample) -> Tilts:
    """Return the tilts of keys that are nobody's."""
    keys = [hashlib.sha256(b"detector strength\0" + bytes([at])).digest() for at in range(KEYS)]
    return draw(keys, sample.X.shape[1], sample.said.shape[1])


def _changed(frame: Frame, sample: Sample, strengths: _Array) -> _Array:
    """Return the share of labels that each of some strengths changes under each key (keys, strengths)."""
    logits, placed, tilts = logits_of(sample.said), frame.placed(sample.X), _tried(sample)
    own = logits.argmax(axis=1)
    shares = np.empty(strengths.shape)
    for at, each in enumerate(strengths):
        pull = pulls(Tilts(*(one[at : at + 1] for one in tilts)), placed)[0]
        shares[at] = [float(((logits + strength * pull).argmax(axis=1) != own).mean()) for strength in each]
    return shares


def gauge_for(sample: Sample, most_flips: float = MOST_FLIPS) -> Gauge | None:
    """Return what strengths of keys are measured by: of the sample the inputs that the model is least certain about.

    None where inputs are so large that too few of them would fit.
    """
    logits = np.sort(logits_of(sample.said), axis=1)
    least = np.argsort(logits[:, -1] - logits[:, -2], kind="stable")
    rows = least[: min(GAUGED, GAUGE_BYTES // (4 * (sample.X.shape[1] + sample.said.shape[1])))]
    changes = int(most_flips * len(sample.X))
    if len(rows) < min(LEAST, len(sample.X)) or changes >= len(rows):
        return None
    return Gauge(sample.X[rows].astype(np.float32), sample.said[rows].astype(np.float32), changes)


def keyed(strengths: Strengths, sample: Sample) -> Choice:
    """Return what strengths that keys have of their own change."""
    found = strengths.of(_tried(sample))
    shares = _changed(strengths.frame, sample, found[:, None])
    return Choice(
        float(found.mean()), float(shares.mean()), float(np.quantile(shares, 0.95)), float(found.min()), float(found.max())
    )


def strength_for(frame: Frame, sample: Sample, most_flips: float = MOST_FLIPS) -> Choice:
    """Return the strongest tilt that changes such a share of the labels at most; labels change the more, the stronger it is."""
    # Finer where models are uncertain.
    steps = [float(f"{STRONGEST * (step / STEPS) ** 2:.2g}") for step in range(1, STEPS + 1)]
    weak = takewhile(lambda choice: choice.flips <= most_flips, choices(frame, sample, steps))
    return [Choice(0.0, 0.0, 0.0), *weak][-1]


def chosen(sample: Sample, strength: float | None, most_flips: float = MOST_FLIPS) -> tuple[Strengths, Choice]:
    """Return how strong tilts are to be: as `strength` says for all keys, else by a gauge; and what that changes."""
    frame = frame_of(sample.X)
    if strength is not None:
        return Strengths(frame, strength), choices(frame, sample, [strength])[0]
    gauge = gauge_for(sample, most_flips)
    if gauge is None:
        common = strength_for(frame, sample, most_flips)
        return Strengths(frame, common.strength), common
    strengths = Strengths(frame, STRONGEST, gauge)
    return strengths, keyed(strengths, sample)


def committed(
    sample: Sample,
    section: OwnershipSection,
    model_file: Path | None = None,
    clock: Clock | None = None,
    most_flips: float = MOST_FLIPS,
) -> tuple[Committed, Choice]:
    """Return the commitment that the settings ask for, and what its strength changes.

    Raises `ConfigError` where there is no master key, and `OwnershipError` where no strength is weak enough, or answers of the
    log were marked under this epoch before.
    """
    master = master_key(section.secret())
    if section.epoch in sample.marked:
        raise OwnershipError(
            f"the log has answers that were marked under epoch {section.epoch!r}, the first on "
            f"{rfc3339(sample.marked[section.epoch])}: a commitment of now proves nothing about them. Set another [ownership] "
            "epoch, and mark under that"
        )
    strengths, choice = chosen(sample, section.strength, most_flips)
    if choice.strength < WEAKEST:
        raise OwnershipError(
            f"even the weakest tilt changes more than {most_flips:.0%} of the labels of this log: the model is too uncertain "
            "about its inputs to be marked without harm; set [ownership] strength to mark all the same"
        )
    made = Committed(
        model=sample.model,
        epoch=section.epoch,
        key_sha256=key_digest(master),
        created=rfc3339((clock or SystemClock()).now_ms()),
        classes=sample.said.shape[1],
        strength=strengths.most,
        dawn_rate=section.dawn_rate,
        frame=strengths.frame,
        flips=round(choice.flips, 6),
        queries=len(sample.X),
        model_sha256=None if model_file is None else file_digest(model_file),
        gauge_sha256=None if strengths.gauge is None else hashlib.sha256(strengths.gauge.to_bytes()).hexdigest(),
        gauge=strengths.gauge,
    )
    return made, choice


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file. Raises `ConfigError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the model: {error.strerror or error}") from error
