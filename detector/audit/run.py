"""One audit: every query of the logs past every check."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from detector.audit.force import NOTHING, Caller, Force
from detector.audit.known import Known
from detector.audit.reading import Reading, read_queries
from detector.audit.registry import CHECKS
from detector.audit.report import Report
from detector.audit.result import Clear
from detector.audit.seen import Asked, Seen
from detector.audit.table import Distinct
from detector.ingest.formats.decoder import Surroundings
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.routing import NOBODY
from detector.ingest.owner import Owner
from detector.ingest.schema import InputSchema
from detector.ingest.source import Position

__all__ = ["audit"]

_STATUS: Final = re.compile(r"\bstatus (\d{3})\b")
_FAILED: Final = 400
_RECENT: Final = 50_000
"""Queries among which a repeat is looked for: shippers send records twice, and an answer is not given twice by that."""


def audit(
    logs: Sequence[str],
    known: Known,
    *,
    schemas: Mapping[str, InputSchema] | None = None,
    watching: Surroundings = NOBODY,
    progress: Callable[[Position], None] | None = None,
) -> Report:
    """Return what `logs` and what else is known prove.

    The same records give the same report, however they are cut into files, as long as the files are in order of time. Where no
    record can be used nothing was looked at, so the report calls nothing clear, and `Report.problems` says so.

    Raises `ConfigError` for a format that does not exist. A log that cannot be read to its end is used as far as it can be, and
    `Report.problems` says so.
    """
    checks = [check(known) for check in CHECKS]
    force = Force(known.trail.entries if known.trail is not None else (), known.latest_ms)
    recent: OrderedDict[tuple[str, str, str, int], None] = OrderedDict()
    reading = Reading()
    clients, models = Distinct(), Distinct()
    events = refused = repeats = 0
    first_ms = last_ms = None
    for found, owner in read_queries(logs, known.config, reading, schemas=schemas, watching=watching, progress=progress):
        if isinstance(found, Refusal):
            refused += 1
            asked = _asked(found, owner, force)
            for check in checks:
                check.refuse(asked)
            continue
        if _is_repeat(found, recent):
            repeats += 1
            continue
        events += 1
        seen = _seen(found, force)
        first_ms = seen.time_ms if first_ms is None else min(first_ms, seen.time_ms)
        last_ms = seen.time_ms if last_ms is None else max(last_ms, seen.time_ms)
        clients.add(seen.client)
        models.add(seen.model)
        for check in checks:
            check.take(seen)
    results = tuple(result for check in checks for result in check.results())
    if not events:
        results = tuple(result for result in results if not isinstance(result, Clear))
        reading.problems.append("no record can be used" if refused else "the log holds no event")
    return Report(
        events=events,
        refused=refused,
        repeats=repeats,
        clients=clients,
        models=len(models),
        first_ms=first_ms,
        last_ms=last_ms,
        decisions=None if known.trail is None else len(known.trail.entries),
        by_route=force.by_route,
        results=results,
        problems=tuple(reading.problems),
        refusals=dict(reading.first),
    )


def _is_repeat(event: DecodedEvent, recent: OrderedDict[tuple[str, str, str, int], None]) -> bool:
    name = (event.client.id, event.model.id, event.event_id, int(event.time))
    if name in recent:
        return True
    recent[name] = None
    if len(recent) > _RECENT:
        recent.popitem(last=False)
    return False


def _seen(event: DecodedEvent, force: Force) -> Seen:
    client, output = event.client, event.output
    time_ms = int(event.time)
    status = event.status
    return Seen(
        event,
        time_ms,
        client.id,
        event.model.id,
        status is None or status < _FAILED,
        event.sampled_rate or 1.0,
        max(output.probabilities) if output.probabilities else None,
        force.at(Caller(client.id, client.organization, client.ip), event.model.id, time_ms),
    )


def _asked(refusal: Refusal, owner: Owner | None, force: Force) -> Asked:
    said = _STATUS.search(refusal.detail)
    standing = NOTHING
    if owner is not None and owner.time_ms and owner.model is not None:
        caller = Caller(owner.client, owner.sender.organization, owner.sender.ip)
        standing = force.at(caller, owner.model, owner.time_ms)
    return Asked(refusal, owner, None if said is None else int(said[1]), standing)
