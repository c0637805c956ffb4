"""What to do about a log: the configuration to go on with."""

import json
from collections.abc import Iterator
from typing import Any

from detector.ingest.formats.auto import AUTO
from detector.offline.inspection.survey import Survey

__all__ = ["advice", "proposal", "report"]

_MOST_RULES = 3


def advice(found: Survey) -> Iterator[str]:
    """Yield a sentence for each thing that keeps records from being used."""
    if found.records and not found.formats:
        yield 'no format is recognised: set [ingest] format = "mapping" and say in [ingest.mapping] where the fields are'
    if found.refused["unidentified"] > found.events:
        proposed = ", ".join(f"{entry.kind} {entry.name}" for entry in found.fields.candidates()[:_MOST_RULES])
        yield "many records do not say who asked: " + (f"try {proposed}" if proposed else "log a header that names the client")
    if any("offset" in said for said in found.examples.values()):
        yield "times have no offset: set [engine] naive_time_zone to the zone of the server that wrote them"


def proposal(found: Survey) -> str:
    """Return the configuration to go on with, as TOML."""
    name = next(iter(found.formats)) if len(found.formats) == 1 else AUTO if found.formats else "mapping"
    lines = ["[ingest]", f"format = {json.dumps(name)}"]
    if found.kcat:
        lines.append('envelope = "kcat"')
    if found.refused["unidentified"] > found.events:
        for entry in found.fields.candidates()[:_MOST_RULES]:
            lines += [
                "",
                "[[ingest.clients]]",
                f"{entry.kind} = {json.dumps(entry.name)}  # {entry.values} values in {entry.records} records",
            ]
    return "\n".join(lines) + "\n"


def report(found: Survey) -> dict[str, Any]:
    """Return everything that was found, for scripts."""
    return {
        "records": found.records,
        "container": "kcat" if found.kcat else "lines",
        "formats": {name: {"records": count, "sign": found.signs[name]} for name, count in found.formats.most_common()},
        "events": found.events,
        "clients": {"count": len(found.clients), "largest": dict(found.clients.most_common(5))},
        "models": dict(found.models.most_common(20)),
        "dimensions": dict(found.dimensions.most_common(5)),
        "missing_share": found.missing / found.values if found.values else None,
        "records_with_several_events": found.batched,
        "outputs": dict(found.outputs),
        "sampled_events": found.sampled,
        "time_ms": [found.earliest_ms, found.latest_ms],
        "refused": {
            reason: {"count": count, "example": found.examples[reason]} for reason, count in found.refused.most_common()
        },
        "advice": list(advice(found)),
        "configuration": proposal(found),
        "first_events": [
            {
                "event_id": event.event_id,
                "time": event.time,
                "client": event.client.id,
                "model": event.model.id,
                "values": len(event.input.values()),
                "label": event.output.label,
                "probabilities": event.output.probabilities,
            }
            for event in found.first
        ],
    }
