"""BentoML's default monitor: a line a row, and the roles of its columns in a schema line of another file.

The rows of one request share ``request_id``, so an event's id has a digest of the row besides. Times are local and without an
offset: set ``[engine] naive_time_zone``. The client is there only where the service logs it as a column; else
``[[ingest.clients]]`` with a constant. The monitors of one process share a logger, so a file holds rows of several monitors
once a second one has begun: a row goes by the schema whose columns it has. Without one the columns are told apart by their
names, else by their values: a list of probabilities is the answer. Source: bentoml/_internal/monitoring/default.py (1.4).
"""

from collections import OrderedDict
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
_NO_VERSION: Final = "not available"  # of a service that runs from its source
_SLACK: Final = 0.02  # rounding of probabilities that sum to 1
_MOST_COLUMNS: Final = 100_000
_MOST_SCHEMAS: Final = 16


@dataclass(frozen=True, slots=True)
class _Schema:
    model: str | None
    version: str | None
    features: tuple[str, ...]
    labels: tuple[str, ...]
    chances: tuple[str, ...]
    columns: frozenset[str]


class BentomlDecoder(ServingDecoder):
    """Decodes rows by the schema lines that came before: by the one whose columns a row has, the most of them."""

    def __init__(self, known: Surroundings) -> None:
        """Begin without a schema. A column that a rule names as the client is no input."""
        super().__init__(known)
        self._schemas: OrderedDict[frozenset[str], _Schema] = OrderedDict()
        self._clients = frozenset(rule.path.strip('"') for rule in known.ingest.clients if rule.path is not None)

    def time_of(self, record: Record) -> int | None:
        """Read the time of a row; a schema line has none, so that it comes before all rows."""
        try:
            document = self.document(record)
            time = text(document["timestamp"]) if isinstance(document, Mapping) and "timestamp" in document else None
            return self._time(Call("", time, None), record)
        except (UnusableError, ValueError, TypeError, OverflowError):
            return record.time_ms

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one row."""
        if not isinstance(document, dict):
            raise UnusableError("schema", "not an object")
        if "columns" in document and "meta_data" in document:
            self._learn(_schema_of(document))
            return [Skip("the schema")]
        if "request_id" not in document or "timestamp" not in document:
            raise UnusableError("schema", "request_id and timestamp: missing")
        request = text(document["request_id"]) or ""
        row = blake2b(record.value, digest_size=8).hexdigest()
        schema = self._schema(document) or _guessed(document)
        answer: dict[str, Any] = {}
        if schema.labels:
            answer["label"] = document.get(schema.labels[0])
        if schema.chances:
            answer["probabilities"] = document.get(schema.chances[0])
        features = {name: document.get(name) for name in schema.features if name not in self._clients}
        return [
            Call(
                id=f"{request}#{row}",
                time=text(document["timestamp"]),
                model=schema.model,
                version=schema.version,
                request=Payload({"instances": [_instance(features)]}),
                response=Payload({"predictions": [answer]}) if any(value is not None for value in answer.values()) else None,
                document=document,
            )
        ]

    def _learn(self, schema: _Schema) -> None:
        self._schemas[schema.columns] = schema
        self._schemas.move_to_end(schema.columns)
        if len(self._schemas) > _MOST_SCHEMAS:
            self._schemas.popitem(last=False)

    def _schema(self, document: Mapping[str, Any]) -> _Schema | None:
        """Return the schema of a row: all of its columns are there. None where none fits."""
        if (exact := self._schemas.get(frozenset(document.keys() - _OWN))) is not None:
            return exact
        fitting = [schema for columns, schema in self._schemas.items() if columns <= document.keys()]
        return max(fitting, key=lambda schema: len(schema.columns), default=None)


def _instance(features: Mapping[str, Any]) -> Any:
    """Return an input: a sequence alone is the whole input, beside others its values are columns of their own.

    >>> _instance({"pixels": [1, 2]}), _instance({"age": 44, "pixels": [1, 2]})
    ([1, 2], {'age': 44, 'pixels[0]': 1, 'pixels[1]': 2})
    """
    if len(features) == 1:
        (only,) = features.values()
        if isinstance(only, list):
            return only
    spread: dict[str, Any] = {}
    for name, value in features.items():
        if isinstance(value, list):
            spread |= {f"{name}[{at}]": entry for at, entry in enumerate(value)}
        else:
            spread[name] = value
    return spread


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
    about = mapping(document["meta_data"])
    version = text(about.get("bento_version"))
    return _Schema(
        text(about.get("bento_name")),
        None if version == _NO_VERSION else version,
        tuple(name for name, role, _ in found if role == "feature"),
        tuple(name for name, kind in predictions if kind != "numerical_sequence"),
        tuple(name for name, kind in predictions if kind == "numerical_sequence"),
        frozenset(name for name, _, _ in found),
    )


def _guessed(document: Mapping[str, Any]) -> _Schema:
    names = [str(name) for name in document if name not in _OWN]
    answers = [name for name in names if any(word in name.lower() for word in _ANSWERS)]
    answers = answers or [name for name in names if _are_chances(document[name])]
    lists = tuple(name for name in answers if isinstance(document[name], list))
    labels = tuple(name for name in answers if name not in lists)
    return _Schema(None, None, tuple(name for name in names if name not in answers), labels, lists, frozenset(names))


def _are_chances(value: Any) -> bool:
    """Tell whether a value is a list of probabilities that sum to 1."""
    if not isinstance(value, list) or len(value) < 2:
        return False
    if not all(isinstance(entry, int | float) and 0 <= entry <= 1 for entry in value):
        return False
    return abs(sum(value) - 1.0) <= _SLACK


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, dict):
        return None
    if "bento_name" in mapping(document.get("meta_data")):
        return "the schema line of BentoML's monitor"
    return "timestamp, request_id and trace_id, as BentoML's monitor writes them" if document.keys() >= _OWN else None


FORMAT = Format("bentoml", "BentoML's default monitor", BentomlDecoder, _recognize)
