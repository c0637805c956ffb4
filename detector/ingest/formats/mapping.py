"""Records of any shape: ``[ingest.mapping]`` says by JMESPath where the fields of an event stand.

It reads JSON objects, and rows of CSV, Parquet and data frames, which arrive as such. A score is the probability of the second
class.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from detector.ingest.formats.call import Call, Caller, Payload
from detector.ingest.formats.decoder import Format, Record, Surroundings
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import number, status_of
from detector.ingest.formats.identity import lowered, text_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]


class MappingDecoder(ServingDecoder):
    """Decodes objects by configured paths."""

    def __init__(self, known: Surroundings) -> None:
        """Compile the paths."""
        super().__init__(known)
        section = known.ingest.mapping
        self._columns = section.columns
        self._paths: dict[str, Any] = {name: jmespath.compile(path) for name, path in section if isinstance(path, str) and path}

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one record."""
        del record
        if not isinstance(document, Mapping):
            raise UnusableError("schema", "not an object")

        def found(name: str) -> Any:
            path = self._paths.get(name)
            try:
                return None if path is None else path.search(document)
            except (JMESPathError, TypeError, ValueError, RecursionError):
                return None

        answer = {
            "label": found("label"),
            "probabilities": found("probabilities") if "probabilities" in self._paths else _score(found("score")),
        }
        yield Call(
            id=text_of(found("id")) or "",
            time=found("time"),
            model=text_of(found("model")),
            version=text_of(found("version")),
            request=self._request(document, found("input")),
            response=Payload({"predictions": [answer]}) if any(_is_there(value) for value in answer.values()) else None,
            caller=Caller(
                id=text_of(found("client")) or None,
                organization=text_of(found("organization")),
                ip=text_of(found("ip")),
                user_agent=text_of(found("user_agent")),
            ),
            headers=lowered(document.get("headers")),
            document=document,
            status=status_of(found("status")),
            latency_ms=number(found("latency_ms")),
            sampled_rate=number(found("sampled_rate"), least=1.0),
        )

    def _request(self, document: Mapping[str, Any], value: Any) -> Payload | None:
        if self._columns:
            return Payload({"instances": [{name: document.get(name) for name in self._columns}]})
        if value is None:
            return None
        return Payload({"instances": [value]}) if not isinstance(value, str) else Payload(value)


def _score(value: Any) -> Any:
    """Return a score between 0 and 1 as the probability of the second class, also where it is a text; else as it is."""
    chance = number(value)
    return [1.0 - chance, chance] if chance is not None and chance <= 1.0 else value


def _is_there(value: Any) -> bool:
    return value is not None and value != ""


FORMAT = Format("mapping", "objects of any shape, by [ingest.mapping]", MappingDecoder)
