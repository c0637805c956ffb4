"""The results of a replay or run, out of their folder into Elasticsearch: for looking at a recorded day in Kibana.

Doing it again changes nothing: what is there already is found by its id. Lines that will never be taken are written to
``not-shipped.jsonl`` in the folder, as dead letters.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from elastic_transport import TransportError
from elasticsearch import ApiError

from detector import private
from detector.clock import Clock
from detector.contracts import DeadLetter, to_json
from detector.contracts.moment import rfc3339
from detector.errors import OutputError, SourceError
from detector.sinks.delivery import Backoff
from detector.sinks.elastic.bulk import Bulk, Written
from detector.sinks.elastic.documents import Document, Kind, NoDocumentError, documents
from detector.sinks.elastic.faults import ElasticError, explain

FILES: Final[dict[str, Kind]] = {"alerts.jsonl": "alert", "decisions.jsonl": "decision"}
REFUSED: Final = "not-shipped.jsonl"
AT_ONCE = 1000
ATTEMPTS = 5


@dataclass(slots=True)
class Shipped:
    """How many lines were read, and how many documents were written, were there before, or lines refused."""

    lines: int = 0
    written: int = 0
    repeated: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    source: str
    number: int
    kind: Kind
    record: bytes


def ship_folder(
    folder: Path,
    bulk: Bulk,
    namespace: str,
    clock: Clock,
    *,
    tell: Callable[[Shipped], None] = lambda _shipped: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Shipped:
    """Ship the alerts and decisions of `folder`.

    Raises `SourceError` when there are none, `OutputError` when refused lines cannot be kept, `ElasticError` when Elasticsearch
    does not take them in several attempts; then the same may be done again.
    """
    present = [name for name in FILES if (folder / name).is_file()]
    if not present:
        raise SourceError(f"{folder}: no results here: there is neither {' nor '.join(FILES)}")
    shipped = Shipped()
    letters: list[DeadLetter] = []
    lines = _lines(folder, present)
    while load := list(islice(lines, AT_ONCE)):
        letters += _ship(load, bulk, namespace, clock, shipped, sleep)
        shipped.lines += len(load)
        tell(shipped)
    shipped.refused = len(letters)
    _keep(folder / REFUSED, letters)
    return shipped


def _lines(folder: Path, names: list[str]) -> Iterator[_Line]:
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                for number, line in enumerate(file, start=1):
                    yield _Line(str(folder / name), number, FILES[name], line.rstrip(b"\r\n"))
        except OSError as error:
            raise SourceError(f"{folder / name}: cannot be read: {error.strerror}") from error


def _ship(
    load: list[_Line], bulk: Bulk, namespace: str, clock: Clock, shipped: Shipped, sleep: Callable[[float], None]
) -> list[DeadLetter]:
    """Ship lines; return those that will never be taken."""
    ingested = rfc3339(clock.now_ms())
    owners: list[_Line] = []
    found: list[Document] = []
    refused: dict[_Line, DeadLetter] = {}
    for line in load:
        try:
            made = documents(line.kind, line.record, namespace, ingested)
        except NoDocumentError as error:
            refused[line] = DeadLetter.of(line.source, line.number, error.reason, str(error)[:500], line.record)
            continue
        owners += [line] * len(made)
        found += made
    left = list(range(len(found)))
    pauses = Backoff()
    for attempt in range(ATTEMPTS):
        outcome = _write(bulk, found, left)
        shipped.written += outcome.written
        shipped.repeated += outcome.repeated
        for place, why in outcome.refused.items():
            line = owners[place]
            refused[line] = DeadLetter.of(
                line.source, line.number, "schema", f"Elasticsearch does not take it: {why}", line.record
            )
        left = outcome.left
        if outcome.fault is None:
            break
        if attempt == ATTEMPTS - 1 or outcome.fault.cause in {"login", "permission", "tls", "version", "setup"}:
            raise outcome.fault
        sleep(pauses.next())
    return list(refused.values())


def _write(bulk: Bulk, found: list[Document], left: list[int]) -> Written:
    try:
        known = bulk.known([found[place] for place in left])
    except (ApiError, TransportError) as error:
        fault: ElasticError = explain(bulk.section, error)
        return Written(left=left, fault=fault)
    present = {left[place] for place in known}
    outcome = bulk.write(found, [place for place in left if place not in present])
    outcome.repeated += len(present)
    return outcome


def _keep(path: Path, letters: list[DeadLetter]) -> None:
    try:
        if letters:
            private.write(path, b"".join(to_json(letter) + b"\n" for letter in letters))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
