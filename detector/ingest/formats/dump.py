"""Files of records as Kafka had them: each line is a record that ``kcat -J`` wrote, with its topic, key, headers and time.

It is what a format needs whose client or model stands in a header. ``kcat`` writes text, so a value that is not UTF-8 is lost.
"""

import msgspec

from detector.ingest.formats.decoder import Decoder, Outcome, Record, Unwrapping
from detector.ingest.formats.event import Refusal, refuse

__all__ = ["Dump", "read_dumped"]


class _Line(msgspec.Struct, gc=False):
    payload: str | None
    topic: str = ""
    key: str | None = None
    headers: list[str | None] | None = None
    ts: int | None = None


class Dump(Unwrapping):
    """Takes the record out of each line and hands it to the decoder of its format.

    >>> from detector.ingest.formats.native import NativeDecoder
    >>> Dump(NativeDecoder()).decode(Record(b'{"topic": "log", "payload": "{}"}'))
    Refusal(reason='schema', detail='event_id: Field required')
    >>> Dump(NativeDecoder()).decode(Record(b'{"event_id": "e1"}'))
    Refusal(reason='schema', detail='not a record of `kcat -J`: Object missing required field `payload`')
    """

    def __init__(self, inner: Decoder, *, sure: bool = True) -> None:
        """Decode what the lines hold with `inner`; where it is not `sure` that they hold records, those that do."""
        super().__init__(inner)
        self._sure = sure
        if not sure and inner.plain is not None:
            self._inner_plain = inner.plain
            self.plain = self._decode_value
            self.native = inner.native

    def _decode_value(self, value: bytes) -> Outcome:
        """Decode a value; only what is refused is looked at again, so that records without a wrapper cost no more."""
        found = self._inner_plain(value)
        if isinstance(found, Refusal) and _looks_wrapped(value):
            within = self.within(Record(value))
            return within if isinstance(within, Refusal) else self._inner_plain(within.value)
        return found

    def within(self, record: Record) -> Record | Refusal:
        """Return the record within a line; where it is not sure that it holds one, the line itself if it does not."""
        if not self._sure and not _looks_wrapped(record.value):
            return record
        return within_line(record)


_read_line = msgspec.json.Decoder(_Line).decode


def read_dumped(record: Record) -> Record:
    """Return the record within a line of ``kcat -J``; a line that is none is returned as it is."""
    within = within_line(record)
    return record if isinstance(within, Refusal) else within


def within_line(record: Record) -> Record | Refusal:
    """Return the record within a line, or why the line holds none."""
    try:
        record.value.decode()
        line = _read_line(record.value)
    except UnicodeDecodeError as error:
        return refuse("encoding", f"byte {error.start}: 0x{record.value[error.start]:02x} is not UTF-8 ({error.reason})")
    except msgspec.ValidationError as error:
        return refuse("schema", f"not a record of `kcat -J`: {error}")
    except (msgspec.DecodeError, RecursionError) as error:
        return refuse("json", f"not a record of `kcat -J`: {error}")
    flat = line.headers or []
    headers = [
        (name or "", None if value is None else value.encode(errors="replace"))
        for name, value in zip(flat[::2], flat[1::2], strict=False)
    ]
    return Record(
        value=(line.payload or "").encode(errors="surrogatepass"),
        key=None if line.key is None else line.key.encode(errors="replace"),
        headers=headers,
        topic=line.topic,
        time_ms=line.ts,
        place=record.place,
    )


def _looks_wrapped(value: bytes) -> bool:
    """Tell whether a line is a record as ``kcat -J`` writes it: it names topic, partition, offset and payload."""
    return value.startswith(b'{"topic"') and b'"payload"' in value and b'"partition"' in value and b'"offset"' in value
