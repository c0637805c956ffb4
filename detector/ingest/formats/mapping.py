"""Logs of any shape, by configuration: JSON objects, rows of CSV and of Parquet, whose fields ``[ingest.mapping]`` finds.

The identity is where ``client`` or ``[[ingest.clients]]`` says. What a log lacks may be left out: without an id the record's
content and time make one, without a model ``[ingest] model`` names it. Numbers may be texts, and lists may be JSON in a text.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from detector.config.ingest import MappingSection
from detector.ingest.formats.call import Call, Caller, Payload
from detector.ingest.formats.decoder import Format, Record, Surroundings
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import number
from detector.ingest.formats.identity import text_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]


class MappingDecoder(ServingDecoder):
    """Decodes objects by the paths of `MappingSection`."""

    def __init__(self, known: Surroundings) -> None:
        """Follow the configuration of `known`."""
        super().__init__(known)
        section = known.ingest.mapping
        self._columns = section.columns
        self._label = known.ingest.label_output or "label"
        self._chances = known.ingest.score_output or "probabilities"
        self._paths = {
            name: jmespath.compile(path)
            for name in MappingSection.model_fields
            if isinstance(path := getattr(section, name), str)
        }

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call that an object is."""
        del record
        if not isinstance(document, dict):
            raise UnusableError("schema", "not an object")
        found = {name: _search(path, document) for name, path in self._paths.items()}
        sampled = _number(found.get("sampled_rate"))
        latency = _number(found.get("latency_ms"))
        status = _number(found.get("status"))
        yield Call(
            id=text_of(found.get("id")) or "",
            time=_time(found.get("time")),
            model=text_of(found.get("model")),
            request=self._request(found.get("input"), document),
            response=self._response(found),
            version=text_of(found.get("version")),
            caller=Caller(
                id=text_of(found.get("client")),
                organization=text_of(found.get("organization")),
                ip=text_of(found.get("ip")),
                user_agent=text_of(found.get("user_agent")),
            ),
            document=document,
            status=None if status is None else int(status),
            latency_ms=latency if latency is not None and 0 <= latency < 1e12 else None,
            sampled_rate=sampled if sampled is not None and sampled >= 1 else None,
        )

    def _request(self, value: Any, document: Mapping[str, Any]) -> Payload | None:
        if self._columns:
            return Payload({"instances": [{name: document.get(name) for name in self._columns}]})
        value = _unfolded(value)
        return None if value is None else Payload({"instances": value})

    def _response(self, found: Mapping[str, Any]) -> Payload | None:
        label, chances = _known(found.get("label")), _unfolded(_known(found.get("probabilities")))
        score = _number(found.get("score"))
        if isinstance(chances, dict):
            chances = {str(name): _number(value) for name, value in chances.items()}
        if chances is None and score is not None and 0.0 <= score <= 1.0:
            chances = [1.0 - score, score]
        if label is None and chances is None:
            return None if score is None else Payload({"predictions": [score]})
        answer = {self._label: label, self._chances: chances}
        return Payload({"predictions": [{name: value for name, value in answer.items() if value is not None}]})


def _search(path: Any, document: Any) -> Any:
    try:
        return path.search(document)
    except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError):
        return None


def _known(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _unfolded(value: Any) -> Any:
    """Return what a text means where it is a JSON list or object, as tables hold them."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _number(value: Any) -> float | None:
    return number(value, least=-math.inf)


def _time(value: Any) -> str | float | None:
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "" else None


FORMAT = Format("mapping", "objects and rows of any shape, whose fields [ingest.mapping] finds", MappingDecoder)
