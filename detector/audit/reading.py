"""Logs of any format, as decoded queries and refusals in the order of time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from detector.config import Config
from detector.ingest.batch import Origin
from detector.ingest.formats.decoder import Record, Surroundings, several
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.routing import NOBODY, decoder_of_files
from detector.ingest.owner import Owner
from detector.ingest.recorded import read, records_of
from detector.ingest.schema import InputSchema
from detector.ingest.source import Position

__all__ = ["Reading", "read_queries"]


@dataclass(slots=True)
class Reading:
    """How far the logs were read: `problems` are those that could not be read to their end."""

    position: Position = field(default_factory=Position)
    problems: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)
    """Of each reason of a refusal the first record, as ``log:line: detail``."""


def read_queries(
    logs: Sequence[str],
    config: Config,
    reading: Reading,
    *,
    schemas: Mapping[str, InputSchema] | None = None,
    watching: Surroundings = NOBODY,
    progress: Callable[[Position], None] | None = None,
) -> Iterator[tuple[DecodedEvent | Refusal, Owner | None]]:
    """Yield each query of `logs`, merged by time; of one that cannot be used, its refusal and whose it was, where that shows.

    Raises `ConfigError` for a format that does not exist, `SourceError` where more logs are named than can be open at once.
    """
    decoder = decoder_of_files(config, schemas, watching=watching)
    limit = config.engine.max_record_bytes

    def whose(refusal: Refusal, record: Record) -> Owner | None:
        if refusal.owner is not None:
            return refusal.owner
        held = record if refusal.record is None else refusal.record
        return decoder.owner(held._replace(value=held.value[:limit]))

    for chunk in read(logs, config, reading.problems, position=reading.position):
        for at, record in enumerate(records_of(chunk)):
            for found in several(decoder.decode(record)):
                if isinstance(found, DecodedEvent):
                    yield found, None
                elif not found.further:
                    reading.first.setdefault(found.reason, f"{_told(chunk.origin(at))}: {found.detail}")
                    yield found, whose(found, record)
        if chunk.damaged is not None:
            origin, damaged = chunk.origin(len(chunk.lines)), chunk.damaged
            record = Record(damaged.record, topic=origin.source, place=origin)
            reading.first.setdefault(damaged.reason, f"{_told(origin)}: {damaged.detail}")
            refusal = Refusal(damaged.reason, damaged.detail)
            yield refusal, whose(refusal, record)
        if progress is not None:
            progress(reading.position)
    for found in decoder.flush():
        yield found, None if isinstance(found, DecodedEvent) else whose(found, found.record or Record(b""))


def _told(origin: Origin) -> str:
    return f"{origin.source}:{origin.line}"
