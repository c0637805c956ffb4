"""Reads the beginning of logs as the detector would, and counts what it meets."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec

from detector.config import Config
from detector.ingest.formats.auto import AUTO, first_document, recognize
from detector.ingest.formats.decoder import Outcome, Record, several
from detector.ingest.formats.dump import read_dumped
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.registry import FORMATS
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.source import read_lines
from detector.offline.inspection.fields import Fields

__all__ = ["Survey", "survey"]

_MOST_NAMES: Final = 10_000


@dataclass(slots=True)
class Survey:
    """What was met: counts by name, the first events, and an example of each reason."""

    kcat: bool = False
    records: int = 0
    events: int = 0
    missing: int = 0
    values: int = 0
    sampled: int = 0
    batched: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    signs: dict[str, str] = field(default_factory=dict)
    clients: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    dimensions: Counter[int] = field(default_factory=Counter)
    outputs: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    first: list[DecodedEvent] = field(default_factory=list)
    earliest_ms: int | None = None
    latest_ms: int | None = None
    fields: Fields = field(default_factory=Fields)

    def note(self, outcomes: Sequence[Outcome], place: str, keep: int) -> None:
        """Count what came of one record."""
        found = [outcome for outcome in outcomes if isinstance(outcome, DecodedEvent)]
        self.batched += len(found) > 1
        for outcome in outcomes:
            if isinstance(outcome, DecodedEvent):
                self._event(outcome, keep)
            else:
                self.refused[outcome.reason] += 1
                self.examples.setdefault(outcome.reason, f"{place}: {outcome.detail}")

    def _event(self, event: DecodedEvent, keep: int) -> None:
        self.events += 1
        if len(self.first) < keep:
            self.first.append(event)
        for counted, name in ((self.clients, event.client.id), (self.models, event.model.id)):
            if name in counted or len(counted) < _MOST_NAMES:
                counted[name] += 1
        values = event.input.values().tolist()
        self.dimensions[len(values)] += 1
        self.values += len(values)
        self.missing += sum(map(math.isnan, values))
        self.sampled += event.sampled_rate is not None
        self.outputs["label only" if event.output.probabilities is None else "probabilities"] += 1
        time = int(event.time)
        self.earliest_ms = time if self.earliest_ms is None else min(self.earliest_ms, time)
        self.latest_ms = time if self.latest_ms is None else max(self.latest_ms, time)


def survey(logs: Sequence[str], config: Config, *, records: int, events: int) -> Survey:
    """Read at most `records` records of `logs`, one after the other, and keep the first `events` events.

    Raises `SourceError` for a log that cannot be read, and `ConfigError` for a format that does not exist.
    """
    found = Survey()
    lines = (
        (chunk.origin(at), line)
        for log in logs
        for chunk in read_lines(log, max_record_bytes=config.engine.max_record_bytes)
        for at, line in enumerate(chunk.lines)
    )
    decoder = None
    known = [entry for name, entry in FORMATS.items() if name != AUTO]
    for origin, line in islice(lines, records):
        if decoder is None:
            found.kcat = config.ingest.envelope == "kcat" or _is_dump(line)
            if found.kcat:
                config = config.model_copy(update={"ingest": config.ingest.model_copy(update={"envelope": "kcat"})})
            decoder = decoder_of_files(config)
        found.records += 1
        record = Record(line)
        within = read_dumped(record) if found.kcat else record
        document = first_document(within.value)
        sign = recognize(within, document, iter(known))
        if sign is not None:
            found.formats[sign.format] += 1
            found.signs.setdefault(sign.format, sign.sign)
        found.fields.note(within, document)
        found.note(several(decoder.decode(record)), f"{origin.source}:{origin.line}", events)
    if decoder is not None:
        found.note(decoder.flush(), "at the end", events)
    return found


def _is_dump(line: bytes) -> bool:
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(document, dict) and {"topic", "partition", "offset", "payload"} <= document.keys()
