"""Fields and headers of records: which of them may say who asked."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from detector.ingest.formats.auto import first_document
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.identity import text_of

__all__ = ["Candidate", "Fields"]

_NAMES: Final = re.compile(
    r"consumer|user|client|principal|api.?key|tenant|customattributes|authorization|requester|account", re.IGNORECASE
)
_NEVER: Final = re.compile(r"user.?agent|client.?ip|latency|_ms$", re.IGNORECASE)
_BODIES: Final = frozenset({"request", "body", "full_request"})  # texts that hold the body of a request
_MOST_VALUES: Final = 1000
_MOST_FIELDS: Final = 200
_DEPTH: Final = 4
_SHARE: Final = 0.5  # of records that a field has to be in


class Candidate(NamedTuple):
    """A header (of the Kafka record or the request) or path that may say who asked."""

    kind: str
    name: str
    records: int
    values: int


class Fields:
    """Counts the values of fields whose names sound like a client."""

    def __init__(self) -> None:
        self._records = 0
        self._seen: dict[tuple[str, str], Counter[str]] = {}

    def note(self, record: Record, document: Any) -> None:
        """Look at one record."""
        self._records += 1
        for name, value in record.headers:
            self._count("header", name.lower(), (value or b"").decode(errors="replace"))
        for kind, name, text in _walk(document, "", 0):
            self._count(kind, name, text)

    def candidates(self) -> list[Candidate]:
        """Return what is in most records, with more than one value, and fewer values than records; the best first."""
        found = [
            Candidate(kind, name, counts.total(), len(counts))
            for (kind, name), counts in self._seen.items()
            if 1 < len(counts) < min(_MOST_VALUES, counts.total()) and counts.total() > _SHARE * self._records
        ]
        return sorted(found, key=lambda entry: (-entry.records, entry.kind != "header", entry.values, entry.name))

    def _count(self, kind: str, name: str, text: str) -> None:
        if not text or not _NAMES.search(name) or _NEVER.search(name):
            return
        counts = self._seen.get((kind, name))
        if counts is None:
            if len(self._seen) >= _MOST_FIELDS:
                return
            counts = self._seen[kind, name] = Counter()
        if text in counts or len(counts) < _MOST_VALUES:
            counts[text[:256]] += 1


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str, str]]:
    if not isinstance(value, Mapping) or depth > _DEPTH:
        return
    for key, below in value.items():
        name = str(key) if re.fullmatch(r"[A-Za-z_]\w*", str(key)) else '"' + str(key).replace("\\", "").replace('"', "") + '"'
        inner = f"{path}.{name}" if path else name
        if path.rsplit(".", maxsplit=1)[-1] == "headers" and (text := text_of(below)) is not None:
            yield "header", str(key).lower(), text
        elif isinstance(below, Mapping):
            yield from _walk(below, inner, depth + 1)
        elif key in _BODIES and isinstance(below, str) and below.startswith("{"):
            yield from (
                ("body", name, text) for _, name, text in _walk(first_document(below.encode(errors="replace")), "", depth + 1)
            )
        elif not isinstance(below, list) and (text := text_of(below)) is not None:
            yield "path", inner, text
