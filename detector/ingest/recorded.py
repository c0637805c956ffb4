"""Recorded logs, read as the configuration says: which files, out of what wrapping, in the order of which time."""

from collections.abc import Callable, Iterator, Sequence

from detector.config import Config
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.lines import Lines
from detector.ingest.logs import read_logs
from detector.ingest.paths import expand
from detector.ingest.source import Position

__all__ = ["read", "records_of"]


def read(
    logs: Sequence[str],
    config: Config,
    problems: list[str],
    *,
    follow: bool = False,
    stop: Callable[[], bool] | None = None,
    position: Position | None = None,
) -> Iterator[Lines]:
    """Read `logs` as the configuration says, merged by time; see `read_logs`. Folders and patterns are expanded (`expand`)."""
    time_of = decoder_of_files(config).time_of
    envelope = config.ingest.envelope
    return read_logs(
        expand(logs),
        wrapper="none" if envelope == "kcat" else envelope,
        max_record_bytes=config.engine.max_record_bytes,
        time_of=lambda line, log: time_of(Record(line, topic=log)),
        problems=problems,
        follow=follow,
        stop=stop,
        position=position,
    )


def records_of(lines: Lines) -> Iterator[Record]:
    """Yield the lines as records that a decoder takes; what is damaged is none of them."""
    for at, line in enumerate(lines.lines):
        origin = lines.origin(at)
        yield Record(line, topic=origin.source, place=origin)
