"""The answers of a model in a prediction log: what it said, what clients were told, and the marks that this bore.

Memory is bounded: of each subject and of all others the inputs are kept that the model was least certain about, since there
a mark shows. Repeats of an input count once.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.config import Config
from detector.errors import SourceError
from detector.ingest.formats.decoder import Outcome, several
from detector.ingest.formats.event import DecodedEvent, EventOutput
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.recorded import read, records_of
from detector.ingest.source import Position
from detector.perturb.keys import MarkName
from detector.perturb.tilt import LEAST

__all__ = ["Answer", "Kept", "Read", "Subject", "answer_of", "events_of", "read_answers", "said_of"]

MOST_SUBJECTS: Final = 10_000

_Vector = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """One input, the model's own probabilities, and the place of the label that the client was told.

    `gap` is that between the logarithms of the two largest probabilities.
    """

    gap: float
    digest: bytes
    vector: _Vector
    said: npt.NDArray[np.float64]
    told: int


class Kept:
    """The `most` answers of least order, each input once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, bytes, Answer]] = []
        self._there: set[bytes] = set()

    def add(self, order: float, answer: Answer) -> None:
        """Keep an answer, if its order is low enough."""
        if answer.digest in self._there or (len(self._heap) == self._most and -self._heap[0][0] <= order):
            return
        entry = (-order, answer.digest, answer)
        self._there.add(answer.digest)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        else:
            _, gone, _ = heapq.heappushpop(self._heap, entry)
            self._there.discard(gone)

    def __len__(self) -> int:
        """Return how many inputs are kept."""
        return len(self._heap)

    def answers(self) -> list[Answer]:
        """Return what was kept, in order."""
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))]


@dataclass(slots=True)
class Subject:
    """What was told under one key.

    `uncertain` are inputs for the tilt; for the wrong labels there are those `misled` and a fair sample of all.

    `clients` asked under it, each with its number of answers; `answers` counts all, repeats as well; `first_ms` is when the
    first one was told.
    """

    name: MarkName
    uncertain: Kept
    misled: Kept
    sampled: Kept
    clients: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    first_ms: int = 2**62


@dataclass(slots=True)
class Read:
    """What a log holds of one model. `others` are inputs whatever their mark; `unusable` have no probabilities of the model.

    `misnamed` records bear the mark of one client, and say that another one asked. Nobody marks so: they count for neither.
    """

    others: Kept
    subjects: dict[MarkName, Subject] = field(default_factory=dict)
    events: int = 0
    unusable: int = 0
    misnamed: int = 0
    dimension: int = 0
    classes: int = 0


def events_of(
    logs: Sequence[str], config: Config, model: str | None, progress: Callable[[Position], None] | None = None
) -> Iterator[DecodedEvent]:
    """Yield the events of a model, or of all.

    Raises `SourceError` where a log cannot be read to its end, after all that could be read.
    """
    decoder = decoder_of_files(config)
    problems: list[str] = []
    position = Position()
    for chunk in read(logs, config, problems, position=position):
        for record in records_of(chunk):
            yield from _events(decoder.decode(record), model)
        if progress is not None:
            progress(position)
    yield from _events(decoder.flush(), model)
    if problems:
        raise SourceError("\n".join(problems))


def _events(found: Outcome | Sequence[Outcome], model: str | None) -> Iterator[DecodedEvent]:
    for one in several(found):
        if isinstance(one, DecodedEvent) and (model is None or one.model.id == model):
            yield one


def read_answers(events: Iterator[DecodedEvent], dimension: int, classes: int, most: int) -> Read:
    """Keep what a test of `most` queries can use, of inputs of `dimension` values and answers of so many classes."""
    found = Read(Kept(most), dimension=dimension, classes=classes)
    for event in events:
        found.events += 1
        said, vector = said_of(event.output), event.input.values()
        if said is None or len(said) != classes or len(vector) != dimension or not np.isfinite(said).all():
            found.unusable += 1
            continue
        answer = answer_of(vector, said, event.output)
        found.others.add(answer.gap, answer)
        changed = event.output.perturbed
        if changed is None or changed.mark is None or event.output.original is None:
            continue
        name = MarkName(changed.mark.id, changed.mark.subject, changed.mark.epoch)
        if name.subject.startswith("client:") and name.subject != f"client:{event.client.id}":
            found.misnamed += 1
            continue
        subject = found.subjects.get(name)
        if subject is None:
            if len(found.subjects) >= MOST_SUBJECTS:
                raise SourceError(f"the log has marks of more than {MOST_SUBJECTS} keys: test a part of it")
            subject = found.subjects[name] = Subject(name, Kept(most), Kept(most), Kept(most))
        subject.answers += 1
        subject.clients[event.client.id] += 1
        subject.first_ms = min(subject.first_ms, int(event.time))
        subject.uncertain.add(answer.gap, answer)
        drawn = int.from_bytes(hashlib.sha256(answer.digest).digest()[:8]) / 2.0**64  # a sample that no key has a part in
        subject.sampled.add(drawn, answer)
        if answer.told != int(said.argmax()):
            subject.misled.add(drawn, answer)
    return found


def said_of(output: EventOutput) -> npt.NDArray[np.float64] | None:
    """Return the model's own probabilities, None where the log has none."""
    said = output.said().probabilities
    return None if said is None else np.array(said, np.float64)


def answer_of(vector: _Vector, said: npt.NDArray[np.float64], output: EventOutput) -> Answer:
    """Return an answer as a test uses it."""
    second, first = np.partition(np.log(np.maximum(said, LEAST)), len(said) - 2)[-2:].tolist()
    own = int(said.argmax())
    told = own if output.probabilities is None or output.perturbed is None else int(np.argmax(output.probabilities))
    place = vector.astype("<f4")
    return Answer(first - second, hashlib.blake2b(place.tobytes(), digest_size=16).digest(), place, said, told)
