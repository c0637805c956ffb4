"""``format = "auto"``: the format of each record is recognised, and the record decoded as that format does.

What is usual on a topic, or in files, is decided by the first records that are recognised there, and is tried first. A record
that the usual format does not recognise goes to the first one that does, so a topic that holds several loses nothing. What
nobody recognises is refused. Name the format itself where it is known: recognising a record takes a part of the time of
decoding it, except of the native format, which costs the same.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from detector.ingest.formats.decoder import Choosing, Decoder, Format, Outcome, Record, Surroundings
from detector.ingest.formats.event import DecodedEvent, Refusal, UnusableError, refuse
from detector.ingest.formats.serving import parse_json
from detector.ingest.owner import Owner

__all__ = ["AUTO", "Auto", "Recognized", "auto_format", "first_document", "recognize"]

AUTO: Final = "auto"
DECIDING: Final = 21  # recognised records of a topic by which its format is decided; odd, so that of two one has more
UNKNOWN: Final = "no known format: see `detector logs inspect`"
_MOST_TOPICS: Final = 1000  # that are told apart; all others count as one
_OTHERS: Final = "\0"  # no topic is called so
_NATIVE: Final = "native"


class Recognized(NamedTuple):
    """The name of the format that a record has, and the sign by which it is known."""

    format: str
    sign: str


@dataclass(slots=True)
class _Usual:
    """What the records of one topic were so far, and the format that is tried first."""

    counts: dict[str, int] = field(default_factory=dict)
    signs: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    decided: bool = False


def first_document(value: bytes) -> Any:
    """Return what a record means as JSON, of an array the first entry; None where it is no JSON."""
    try:
        return _first(parse_json(value))
    except UnusableError:
        return None


def _first(document: Any) -> Any:
    if isinstance(document, list):
        return document[0] if document else None
    return document


def recognize(record: Record, document: Any, formats: Iterator[Format]) -> Recognized | None:
    """Return the first of `formats` that knows a record as its own."""
    for entry in formats:
        sign = entry.recognize(record, document)
        if sign is not None:
            return Recognized(entry.name, sign)
    return None


class Auto(Choosing):
    """Recognises the format of each record; one for each thread."""

    def __init__(self, known: Surroundings, formats: Mapping[str, Format]) -> None:
        """Choose among `formats`; their decoders are made with `known` once they are needed."""
        self._known = known
        self._formats = {name: entry for name, entry in formats.items() if name != AUTO}
        self._decoders: dict[str, Decoder] = {}
        self._usual: dict[str, _Usual] = {}

    def decode(self, record: Record) -> Outcome | Sequence[Outcome]:
        """Decode a record as the format that recognises it."""
        usual = self._usual_of(record.topic)
        if usual.format == _NATIVE and usual.decided:
            outcome = self._decoder(_NATIVE).decode(record)
            if isinstance(outcome, DecodedEvent):  # no other format's records have all of an event's fields
                return outcome
        document = self._document(record)
        found = recognize(record, document, self._in_turn(usual.format))
        if found is not None:
            self._count(record.topic, usual, found)
            return self._decoder(found.format).decode(record)
        if document is None:  # broken: the usual format says best what is wrong
            return self._decoder(usual.format or _NATIVE).decode(record)
        return refuse("schema", UNKNOWN)

    def owner(self, record: Record) -> Owner | None:
        """Read the owner by the record's format, or else by the usual one: the record may be cut off."""
        name = self._format_of(record, usual := self._usual_of(record.topic).format) or usual
        return None if name is None else self._decoder(name).owner(record)

    def time_of(self, record: Record) -> int | None:
        """Read the time by the record's format."""
        name = self._format_of(record, None)
        return record.time_ms if name is None else self._decoder(name).time_of(record)

    def explain(self, record: Record) -> Refusal | None:
        """Explain by the record's format."""
        name = self._format_of(record, self._usual_of(record.topic).format)
        return None if name is None else self._decoder(name).explain(record)

    def flush(self) -> Sequence[Outcome]:
        """Tell what topics with few records are taken for, and return what the decoders hold back."""
        for topic, usual in self._usual.items():
            if usual.format is not None and not usual.decided:
                usual.decided = True
                self._known.recognized(topic, usual.format, usual.signs[usual.format])
        return super().flush()

    def decoders(self) -> Collection[Decoder]:
        """Return the decoders of the formats that were met."""
        return self._decoders.values()

    def _format_of(self, record: Record, usual: str | None) -> str | None:
        found = recognize(record, self._document(record), self._in_turn(usual))
        return None if found is None else found.format

    def _document(self, record: Record) -> Any:
        """Return the first document of a record; the decoder of its format need not parse it again."""
        documents = self._known.documents
        document = documents.take(record.value)
        try:
            document = parse_json(record.value) if document is None else document
        except UnusableError:
            return None
        documents.keep(record.value, document)
        return _first(document)

    def _in_turn(self, usual: str | None) -> Iterator[Format]:
        if usual is not None:
            yield self._formats[usual]
        yield from (entry for name, entry in self._formats.items() if name != usual)

    def _decoder(self, name: str) -> Decoder:
        decoder = self._decoders.get(name)
        if decoder is None:
            decoder = self._decoders[name] = self._formats[name].build(self._known)
        return decoder

    def _usual_of(self, topic: str) -> _Usual:
        usual = self._usual.get(topic)
        if usual is None:
            if len(self._usual) >= _MOST_TOPICS:
                topic = _OTHERS
            usual = self._usual.setdefault(topic, _Usual())
        return usual

    def _count(self, topic: str, usual: _Usual, found: Recognized) -> None:
        if usual.decided:
            return
        usual.counts[found.format] = usual.counts.get(found.format, 0) + 1
        usual.signs.setdefault(found.format, found.sign)
        usual.format = max(usual.counts, key=lambda name: usual.counts[name])  # of as many, the one that came first
        usual.decided = sum(usual.counts.values()) >= DECIDING
        if usual.decided:
            self._known.recognized(topic, usual.format, usual.signs[usual.format])


def auto_format(formats: Mapping[str, Format]) -> Format:
    """Return the format that chooses among `formats`, also among those that are added later."""
    return Format(AUTO, "each record as the format that recognises it", lambda known: Auto(known, formats))
