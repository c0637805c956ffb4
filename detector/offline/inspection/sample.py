"""The beginning of logs, read once as a replay reads it and kept, so that it can be decoded under several configurations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from detector.config import Config
from detector.errors import SourceError
from detector.ingest.containers import Container
from detector.ingest.formats.decoder import Record
from detector.ingest.lines import Lines
from detector.ingest.paths import expand
from detector.ingest.recorded import read, records_of
from detector.ingest.source import STDIN, Position, read_lines
from detector.ingest.wrappers import wrapper_of
from detector.offline.pipeline import BATCH_SIZE, cut

__all__ = ["MOST_LOGS", "Sample", "read_sample"]

MOST_LOGS: Final = 100
"""Files that are looked at; of a folder with more the first ones, since a request and its answer may lie in two."""

_MOST_BYTES: Final = 64 * 1024 * 1024  # of records that are kept
_MOST_UNCUT: Final = 256 * 1024 * 1024  # bytes of a log in which a record must end


@dataclass(slots=True)
class Sample:
    """What was read: pieces of logs, merged by time where there are several.

    `containers` says what each log is, and `left_out` how many more there are. `complete` says that nothing was left unread.
    `problems` are the logs that could not be read to their end.
    """

    logs: list[str]
    left_out: int = 0
    containers: dict[str, Container] = field(default_factory=dict)
    wrappers: dict[str, str] = field(default_factory=dict)
    pieces: list[Lines] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    complete: bool = True

    def __len__(self) -> int:
        """Return the number of records, damaged ones included."""
        return sum(map(len, self.pieces))

    def records(self) -> Iterator[Record]:
        """Give the records that are whole, as the assembler makes them."""
        for piece in self.pieces:
            yield from records_of(piece)

    def beginning(self, records: int) -> "Sample":
        """Return the first records alone."""
        pieces: list[Lines] = []
        left = records
        for piece in self.pieces:
            if left <= 0:
                break
            pieces.append(piece.part(0, left))
            left -= len(pieces[-1])
        return Sample(self.logs, pieces=pieces)


def read_sample(logs: Sequence[str], config: Config, records: int) -> Sample:
    """Read at most so many records of `logs`, and at most 64 MiB of them; `expand` says which files they are.

    Raises `SourceError` where a folder or a pattern gives no file, or no log can be read at all.
    """
    names = expand(logs)
    sample = Sample(names[:MOST_LOGS], left_out=len(names[MOST_LOGS:]))
    readable = [name for name in sample.logs if name == STDIN or _look(name, config, sample)]
    if not readable:
        raise SourceError("\n".join(sample.problems))
    try:
        _read(readable, config, sample, records)
    except KeyboardInterrupt:
        if not sample.pieces:
            raise
        sample.complete = False
        sample.problems.append("interrupted: what was read until then is shown")
    return sample


def _read(logs: Sequence[str], config: Config, sample: Sample, records: int) -> None:
    position = Position()
    count = size = 0
    for chunk in read(logs, config, sample.problems, stop=lambda: position.consumed > _MOST_UNCUT, position=position):
        if position.container is not None and STDIN in logs and not count:
            sample.containers[STDIN] = position.container
            _note_wrapper(STDIN, chunk.lines, sample)
        for piece in cut(chunk, BATCH_SIZE):
            kept = piece.part(0, records - count) if len(piece) > records - count else piece
            sample.pieces.append(kept)
            count += len(kept)
            size += sum(map(len, kept.lines))
            if len(kept) < len(piece) or size > _MOST_BYTES:
                sample.complete = False
                return
    sample.complete = position.consumed <= _MOST_UNCUT


def _look(name: str, config: Config, sample: Sample) -> bool:
    """Tell whether a log can be read, and note what it is."""
    position = Position()
    chunks = read_lines(
        name,
        max_record_bytes=config.engine.max_record_bytes,
        stop=lambda: position.consumed > _MOST_UNCUT,
        position=position,
    )
    try:
        first = next(chunks, None)
    except SourceError as error:
        sample.problems.append(str(error))
        return False
    if first is None and position.consumed > _MOST_UNCUT:
        sample.problems.append(f"{name}: no record ends within the first {_MOST_UNCUT >> 20} MiB: not read any further")
        return False
    sample.containers[name] = position.container or Container()
    if first is not None:
        _note_wrapper(name, first.lines, sample)
    return True


def _note_wrapper(name: str, lines: Sequence[bytes], sample: Sample) -> None:
    found = "kcat" if lines and is_dump(lines[0]) else wrapper_of(lines)
    if found is not None:
        sample.wrappers[name] = found


def is_dump(line: bytes) -> bool:
    """Tell whether a line is a record as ``kcat -J`` writes it, with its keys in any order."""
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(document, dict) and {"topic", "partition", "offset", "payload"} <= document.keys()
