"""BentoML's default monitor: a line a row, and the roles of its columns in a schema line of another file.

The rows of one request share ``request_id``, so an event's id has a digest of the row besides. Times are local and without an
offset: set ``[engine] naive_time_zone``. The client is there only where the service logs it as a column; else
``[[ingest.clients]]`` with a constant. Without a schema line the columns are told apart by their values: the last ones that
look like an answer are it. Source: bentoml/_internal/monitoring/default.py (1.4).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from detector.ingest.formats.call import Call, Payload, Skip
from detector.ingest.formats.decoder import Format, Record, Surroundings
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, text
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_OWN: Final = frozenset({"timestamp", "request_id", "trace_id"})
_ANSWERS: Final = ("probabilities", "proba", "prediction", "pred", "label", "class", "score", "target", "output")
_MOST_COLUMNS: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Schema:
    model: str | None
    features: tuple[str, ...]
    labels: tuple[str, ...]
    chances: tuple[str, ...]


class BentomlDecoder(ServingDecoder):
    """Decodes data lines by the latest schema line."""

    def __init__(self, known: Surroundings) -> None:
        """Begin without a schema."""
        super().__init__(known)
        self._schema: _Schema | None = None

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one row."""
        if not isinstance(document, dict):
            raise UnusableError("schema", "not an object")
        if "columns" in document and "meta_data" in document:
            self._schema = _schema_of(document)
            return [Skip("the schema")]
        if "request_id" not in document or "timestamp" not in document:
            raise UnusableError("schema", "request_id and timestamp: missing")
        request = text(document["request_id"]) or ""
        row = blake2b(record.value, digest_size=8).hexdigest()
        schema = self._schema or _guessed(document)
        answer: dict[str, Any] = {}
        if schema.labels:
            answer["label"] = document.get(schema.labels[0])
        if schema.chances:
            answer["probabilities"] = document.get(schema.chances[0])
        return [
            Call(
                id=f"{request}#{row}",
                time=text(document["timestamp"]),
                model=schema.model,
                request=Payload({"instances": [{name: document.get(name) for name in schema.features}]}),
                response=Payload({"predictions": [answer]}) if any(value is not None for value in answer.values()) else None,
                document=document,
            )
        ]


def _schema_of(document: Mapping[str, Any]) -> _Schema:
    columns = document["columns"]
    if not isinstance(columns, list) or len(columns) > _MOST_COLUMNS:
        raise UnusableError("schema", "columns: not a list")
    found = [
        (text(column.get("name")) or "", column.get("role"), column.get("type"))
        for column in columns
        if isinstance(column, dict)
    ]
    predictions = [(name, kind) for name, role, kind in found if role == "prediction"]
    return _Schema(
        text(mapping(document["meta_data"]).get("bento_name")),
        tuple(name for name, role, _ in found if role == "feature"),
        tuple(name for name, kind in predictions if kind != "numerical_sequence"),
        tuple(name for name, kind in predictions if kind == "numerical_sequence"),
    )


def _guessed(document: Mapping[str, Any]) -> _Schema:
    names = [str(name) for name in document if name not in _OWN]
    answers = [name for name in names if any(word in name.lower() for word in _ANSWERS)]
    lists = tuple(name for name in answers if isinstance(document[name], list))
    labels = tuple(name for name in answers if name not in lists)
    return _Schema(None, tuple(name for name in names if name not in answers), labels, lists)


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, dict):
        return None
    if "bento_name" in mapping(document.get("meta_data")):
        return "the schema line of BentoML's monitor"
    return "timestamp, request_id and trace_id, as BentoML's monitor writes them" if document.keys() >= _OWN else None


FORMAT = Format("bentoml", "BentoML's default monitor", BentomlDecoder, _recognize)
