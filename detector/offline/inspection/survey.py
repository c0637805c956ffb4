"""Decodes a sample as the detector would, and counts what it meets: events, clients, columns, and what is refused."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from detector.clock import Clock, SystemClock
from detector.config import Config
from detector.ingest.assemble import Rejection, assembler_for
from detector.ingest.batch import usable
from detector.ingest.formats.auto import AUTO, first_document, recognize
from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Outcome, Record, Surroundings, Unwrapping, several
from detector.ingest.formats.dump import read_dumped
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.registry import FORMATS
from detector.ingest.formats.routing import decoder_of_files, schemas_for
from detector.ingest.refusals import Refusals
from detector.offline.inspection.columns import Columns
from detector.offline.inspection.fields import Fields, place_of
from detector.offline.inspection.sample import Sample

__all__ = ["Recognition", "Survey", "recognition", "survey"]

_MOST_NAMES: Final = 10_000
_MOST_DETAILS: Final = 100
_OWN_FIELD: Final = "field client.id"


@dataclass(slots=True)
class Recognition:
    """How many records each format recognises as its own, by which sign, and in which place it first did."""

    formats: Counter[str] = field(default_factory=Counter)
    signs: dict[str, str] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    unknown: int = 0


def recognition(sample: Sample) -> Recognition:
    """Ask every format about each record; what `kcat -J` wrote is unwrapped."""
    found = Recognition()
    known = [entry for name, entry in FORMATS.items() if name != AUTO]
    for record in sample.records():
        within = read_dumped(record)
        sign = recognize(within, first_document(within.value), iter(known))
        if sign is None:
            found.unknown += 1
            continue
        found.formats[sign.format] += 1
        found.signs.setdefault(sign.format, sign.sign)
        found.first.setdefault(sign.format, _place(record))
    return found


def _place(record: Record) -> str:
    return f"{record.topic}:{getattr(record.place, 'line', 0)}"


@dataclass(slots=True)
class Survey:
    """What was met: counts by name, the first events, and what was refused.

    `clients` are by what names them, a rule or a field. `waited` are halves of calls whose other half never came. `rows` are
    events of requests with several inputs, `requests` how many such requests there were.
    """

    columns: Columns
    records: int = 0
    events: int = 0
    calls: int = 0
    joined: int = 0
    waited: int = 0
    rows: int = 0
    requests: int = 0
    clients: dict[str, Counter[str]] = field(default_factory=dict)
    queries: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    dimensions: dict[str, Counter[int]] = field(default_factory=dict)
    outputs: Counter[str] = field(default_factory=Counter)
    weights: Counter[float] = field(default_factory=Counter)
    refusals: Refusals = field(default_factory=Refusals)
    details: Counter[str] = field(default_factory=Counter)
    first: list[DecodedEvent] = field(default_factory=list)
    earliest_ms: int | None = None
    latest_ms: int | None = None
    anonymous: Fields = field(default_factory=Fields)

    def note_call(self, call: Call, caller: Caller, source: str) -> None:
        """Count a whole call, and what names its client."""
        self.calls += 1
        self.joined += call.join != ""
        if caller.id is None:
            self.anonymous.note(call)
        else:
            self.name(source or place_of(call, caller.id) or "the format's own field", caller.id)

    def name(self, source: str, client: str) -> None:
        """Count a call of a client under what names it."""
        known = self.clients.setdefault(source, Counter())
        if client in known or len(known) < _MOST_NAMES:
            known[client] += 1

    def note_event(self, event: DecodedEvent, keep: int) -> None:
        """Count what a decoded event says."""
        if len(self.first) < keep:
            self.first.append(event)
        for counted, name in ((self.queries, event.client.id), (self.models, event.model.id)):
            if name in counted or len(counted) < _MOST_NAMES:
                counted[name] += 1
        values = event.input.values()
        if event.model.id in self.models:
            self.dimensions.setdefault(event.model.id, Counter())[len(values)] += 1
        self.columns.note_vector(event.model.id, values)
        if event.sampled_rate is not None:
            self.weights[event.sampled_rate] += 1
        self.outputs["label only" if event.output.probabilities is None else "probabilities"] += 1
        time = int(event.time)
        self.earliest_ms = time if self.earliest_ms is None else min(self.earliest_ms, time)
        self.latest_ms = time if self.latest_ms is None else max(self.latest_ms, time)

    def note_rejections(self, rejections: Sequence[Rejection]) -> None:
        """Count what was refused."""
        self.refusals.note(rejections)
        for entry in rejections:
            self.waited += entry.held is not None
            if entry.detail in self.details or len(self.details) < _MOST_DETAILS:
                self.details[entry.detail] += 1


class _Watched(Unwrapping):
    """Passes records through, and shows the survey what comes of them."""

    def __init__(self, config: Config, found: Survey, keep: int) -> None:
        watching = Surroundings(witness=found.note_call)
        super().__init__(decoder_of_files(config, learner=found.columns, watching=watching))
        self._found = found
        self._keep = keep
        self._request = ""

    def within(self, record: Record) -> Record:
        return record

    def decode(self, record: Record) -> Sequence[Outcome]:
        calls = self._found.calls
        outcomes = several(super().decode(record))
        for event in outcomes:
            if isinstance(event, DecodedEvent):
                self._found.note_event(event, self._keep)
                self._note_row(event.event_id)
                if self._found.calls == calls:  # a format without calls: our own
                    self._found.name(_OWN_FIELD, event.client.id)
        return outcomes

    def _note_row(self, event_id: str) -> None:
        request, hash_mark, row = event_id.rpartition("#")
        if hash_mark and row.isdigit():
            self._found.rows += 1
            self._found.requests += request != self._request
            self._request = request


def survey(sample: Sample, config: Config, *, events: int = 0, clock: Clock | None = None) -> Survey:
    """Decode a sample under `config`, and keep the first `events` events.

    Raises `ConfigError` for a format that does not exist.
    """
    found = Survey(Columns(schemas_for(config)), records=len(sample))
    assembler = assembler_for(config, {}, clock or SystemClock(), _Watched(config, found, events))
    sequence = 0
    for piece in sample.pieces:
        assembled = assembler.assemble_chunk(piece, first_sequence=sequence)
        sequence += len(assembled.places)
        good = usable(assembled.batches)
        found.events += sum(map(len, good))
        found.note_rejections(assembled.rejections)
        found.refusals.pass_by(good)
    found.note_rejections(assembler.finish(first_sequence=sequence).rejections)
    return found
