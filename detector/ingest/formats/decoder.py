"""What a format has to do: turn records into events.

A format is one module of this package with a `FORMAT` in it, and its name in `registry.MODULES`. The module holds a subclass
of `Decoder`; `Format.build` makes one for each thread that reads.
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from detector.config.ingest import IngestSection
from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.documents import Documents
from detector.ingest.formats.encoder import TextEncoder
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.inputs import Inputs
from detector.ingest.learning import SchemaLearner
from detector.ingest.owner import Owner
from detector.ingest.schema import InputSchema

__all__ = ["Choosing", "Decoder", "Format", "Outcome", "Record", "Surroundings", "Unwrapping", "several"]

Outcome: TypeAlias = DecodedEvent | Refusal
Header: TypeAlias = tuple[str, bytes | None]


class Record(NamedTuple):
    """A record as it was read: a line of a file, or what Kafka holds.

    `key`, `headers`, `topic` and `time_ms` (of the record, not of the event) are Kafka's, and empty for a line of a file. A
    file written by ``kcat -J`` has them; see `dump`. `place` is the reader's own word for where the record came from.
    """

    value: bytes
    key: bytes | None = None
    headers: Sequence[Header] = ()
    topic: str = ""
    time_ms: int | None = None
    place: Hashable = None

    def header(self, name: str) -> str | None:
        """Return the first header of that name as text, None without one; letter case does not matter.

        >>> Record(b"", headers=[("CE_Id", b"7f1c")]).header("ce_id")
        '7f1c'
        """
        wanted = name.casefold()
        for known, value in self.headers:
            if known.casefold() == wanted:
                return None if value is None else value.decode(errors="replace")
        return None


def several(outcome: Outcome | Sequence[Outcome]) -> Sequence[Outcome]:
    """Return what a decoder returned as a sequence, also where it is one outcome."""
    return (outcome,) if isinstance(outcome, DecodedEvent | Refusal) else outcome


class Decoder(ABC):
    """Decodes the records of one format; one for each thread.

    Nothing that a record may hold raises. The same records in the same order give the same events, whenever and however often
    they are decoded: no clock, no chance.

    A decoder may keep state from record to record, so that a format that logs request and response apart can join them: it
    returns nothing for the first record and the event with the second. The event's place is then that of the second record. The
    state must be bounded, in entries and in bytes, and what is dropped from it must depend on the records alone. What is
    dropped is refused, with the record that was held back (`Refusal.record`).
    """

    plain: Callable[[bytes], Outcome] | None = None
    """Decodes a value, where one record is one event and nothing but its value matters: no `Record` need be made then."""

    native: bool = False
    """Whether `plain` takes a valid record of the native format for what that says, so that others may read it, too."""

    @abstractmethod
    def decode(self, record: Record) -> Outcome | Sequence[Outcome]:
        """Return what a record holds: one event, several in their order, none, or a refusal for each that cannot be used.

        The texts of an event are within the lengths of the contract (`event`), its time is in milliseconds, it has an input and
        an output. Several events of one record need ids of their own, such as ``<request id>#<place>``.
        """

    def owner(self, record: Record) -> Owner | None:
        """Return whose query a record is that was refused as a whole; it may be cut off. None where that cannot be read."""
        del record
        return None

    def time_of(self, record: Record) -> int | None:
        """Return the time of a record in milliseconds, by which several files are merged; must change no state and be cheap."""
        return record.time_ms

    def flush(self) -> Sequence[Outcome]:
        """Return the outcomes of all records that are held back: nothing comes after them, as at the end of a file."""
        return ()

    def held(self) -> Collection[Hashable]:
        """Return the places of the records that are held back: what must be read again if this decoder is lost."""
        return ()

    def skipped(self) -> int:
        """Return how many documents were left out so far, since they are no queries: schemas, feedback, spans of other work."""
        return 0

    def forget(self, gone: Callable[[Hashable], bool]) -> None:  # noqa: B027  # most decoders hold nothing back
        """Forget the records that are held back and whose place is `gone`."""

    def explain(self, record: Record) -> Refusal | None:
        """Say what is wrong with the numbers of a record's first event, once decoded; None where the format cannot say."""
        del record
        return None


class Unwrapping(Decoder):
    """A decoder of records that hold others: it takes each out and hands it to the decoder of its format."""

    def __init__(self, inner: Decoder) -> None:
        """Decode what the records hold with `inner`."""
        self._inner = inner

    @abstractmethod
    def within(self, record: Record) -> Record | Refusal:
        """Return the record that a record holds, or why it holds none."""

    def decode(self, record: Record) -> Outcome | Sequence[Outcome]:
        """Decode the record within."""
        within = self.within(record)
        return within if isinstance(within, Refusal) else self._inner.decode(within)

    def owner(self, record: Record) -> Owner | None:
        """Read the owner of the record within."""
        within = self.within(record)
        return None if isinstance(within, Refusal) else self._inner.owner(within)

    def time_of(self, record: Record) -> int | None:
        """Read the time of the record within; without one there, that of the record around it."""
        within = self.within(record)
        return record.time_ms if isinstance(within, Refusal) else self._inner.time_of(within)

    def explain(self, record: Record) -> Refusal | None:
        """Explain the record within."""
        within = self.within(record)
        return within if isinstance(within, Refusal) else self._inner.explain(within)

    def flush(self) -> Sequence[Outcome]:
        """Return what the inner decoder holds back."""
        return self._inner.flush()

    def held(self) -> Collection[Hashable]:
        """Return the places of the records that the inner decoder holds back."""
        return self._inner.held()

    def skipped(self) -> int:
        """Return how many documents the inner decoder left out."""
        return self._inner.skipped()

    def forget(self, gone: Callable[[Hashable], bool]) -> None:
        """Forget records that are held back."""
        self._inner.forget(gone)


class Choosing(Decoder):
    """A decoder that hands each record to one of several."""

    @abstractmethod
    def decoders(self) -> Collection[Decoder]:
        """Return all decoders that were handed records."""

    def flush(self) -> Sequence[Outcome]:
        """Return what any of the decoders holds back."""
        return [outcome for decoder in self.decoders() for outcome in decoder.flush()]

    def held(self) -> Collection[Hashable]:
        """Return the places of the records that any of the decoders holds back."""
        return [place for decoder in self.decoders() for place in decoder.held()]

    def skipped(self) -> int:
        """Return how many documents the decoders left out."""
        return sum(decoder.skipped() for decoder in self.decoders())

    def forget(self, gone: Callable[[Hashable], bool]) -> None:
        """Forget records that are held back."""
        for decoder in self.decoders():
            decoder.forget(gone)


def _unheard(topic: str, name: str, sign: str) -> None:
    del topic, name, sign


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a decoder may need to know.

    `naive_zone` is the zone of times without an offset, None where they are refused. `schemas` say what inputs and answers of
    each model consist of, where that is declared or the baseline knows it. `learner`, where given, is shown both. `encoder`,
    where given, makes vectors of texts, and `embedding` is where an embedding of the input stands. `recognized` is told, once
    for each topic, which format ``auto`` takes its records for: topic (of files their name), format and sign. `witness`, where
    given, is shown each whole call, who asked, and what says so (`Identity.source`). `documents` are those that one decoder has
    parsed for another, or for itself.
    """

    naive_zone: dt.tzinfo | None = None
    ingest: IngestSection = field(default_factory=IngestSection)
    schemas: Mapping[str, InputSchema] = field(default_factory=dict)
    learner: SchemaLearner | None = None
    encoder: TextEncoder | None = None
    embedding: str | None = None
    recognized: Callable[[str, str, str], None] = _unheard
    witness: Callable[[Call, Caller, str], None] | None = None
    documents: Documents = field(default_factory=Documents)

    def inputs(self) -> Inputs:
        """Return what makes vectors of inputs, for one decoder."""
        return Inputs(self.schemas, missing=self.ingest.missing == "keep", learner=self.learner, encoder=self.encoder)


def _never(record: Record, document: Any) -> str | None:
    del record, document
    return None


@dataclass(frozen=True, slots=True)
class Format:
    """A format of prediction logs: what it is called in the configuration, what it is, and how to make a decoder of it.

    `recognize` says by what a record is known to be of this format, None where it is not; it gets the record and what its value
    means as JSON (of an array the first entry), None where that is no JSON. Nothing that they hold may make it raise.
    """

    name: str
    description: str
    build: Callable[[Surroundings], Decoder]
    recognize: Callable[[Record, Any], str | None] = _never
    joins: bool = False
    """Whether a request and its answer may be two records, so that its decoder holds one back until the other comes."""
