"""A format for tests only: two queries in one record, the client in a header, the model in the topic's name."""

import json
from collections.abc import Sequence
from typing import Any

from detector.ingest.formats.decoder import Decoder, Format, Outcome, Record
from detector.ingest.formats.event import refuse
from detector.ingest.formats.native import NativeDecoder

CLIENT = "x-consumer-id"


class PairedDecoder(Decoder):
    """Reads ``{"id": ..., "rows": [[...], [...]], "answers": [..., ...]}``; the time is that of the record."""

    def __init__(self) -> None:
        """Build on the native decoder."""
        self._native = NativeDecoder()

    def decode(self, record: Record) -> Outcome | Sequence[Outcome]:
        """Return an event for each row."""
        try:
            body: Any = json.loads(record.value)
        except (ValueError, RecursionError) as error:
            return refuse("json", str(error) or "not JSON")
        rows, answers = (body.get(name) for name in ("rows", "answers")) if isinstance(body, dict) else (None, None)
        if not isinstance(rows, list) or not isinstance(answers, list) or len(rows) != len(answers):
            return refuse("schema", "rows and answers: not two lists of one length")
        return [self._event(record, f"{body.get('id')}#{at}", *pair) for at, pair in enumerate(zip(rows, answers, strict=True))]

    def _event(self, record: Record, event_id: str, row: Any, answer: Any) -> Outcome:
        return self._native.from_fields(
            {
                "event_id": event_id,
                "time": record.time_ms,
                "client": {"id": record.header(CLIENT)},
                "model": {"id": record.topic},
                "input": {"vector": row},
                "output": {"label": answer},
            }
        )


FORMAT = Format("paired", "two queries a record", lambda _: PairedDecoder())


def dumped(record: Record) -> bytes:
    """Return a record as `kcat -J` writes it."""
    headers = [text if isinstance(text, str) else (text or b"").decode() for header in record.headers for text in header]
    line = {"topic": record.topic, "ts": record.time_ms, "headers": headers, "payload": record.value.decode()}
    return json.dumps(line, separators=(",", ":")).encode()


def paired(lines: Sequence[bytes]) -> list[Record]:
    """Return lines of the native format as records of this one, two of one client each; the ids become the first one's."""
    waiting: dict[str, dict[str, Any]] = {}
    records = []
    for event in map(json.loads, lines):
        client = event["client"]["id"]
        first = waiting.pop(client, None)
        if first is None:
            waiting[client] = event
            continue
        two = (first, event)
        body = {
            "id": first["event_id"],
            "rows": [one["input"]["vector"] for one in two],
            "answers": [one["output"]["label"] for one in two],
        }
        value = json.dumps(body).encode()
        records.append(Record(value, None, [(CLIENT, client.encode())], first["model"]["id"], event["time"]))
    return records


def unpaired(records: Sequence[Record]) -> list[bytes]:
    """Return the events of records as lines of the native format, in the order in which they are decoded."""
    return [
        json.dumps(
            {
                "event_id": f"{body['id']}#{at}",
                "time": record.time_ms,
                "client": {"id": record.header(CLIENT)},
                "model": {"id": record.topic},
                "input": {"vector": row},
                "output": {"label": answer},
            }
        ).encode()
        for record in records
        for body in [json.loads(record.value)]
        for at, (row, answer) in enumerate(zip(body["rows"], body["answers"], strict=True))
    ]
