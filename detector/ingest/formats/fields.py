"""Fields of records as they come: a value of the type that is wanted, or None, whatever stands there."""

import math
from collections.abc import Mapping
from typing import Any

from detector.ingest.formats.call import Payload
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.jsontext import read_json

__all__ = ["as_object", "cut", "mapping", "number", "object_of", "payload_of", "status_of", "text", "weight_of"]


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object, an empty one where there is none; one that is written as JSON text is read.

    >>> mapping('{"a": 1}'), mapping(3)
    ({'a': 1}, {})
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = read_json(value)
        except (ValueError, RecursionError):
            return {}
    return as_object(value)


def as_object(value: Any) -> Mapping[str, Any]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def object_of(document: Any, key: str) -> Mapping[str, Any]:
    """Return the object under a key of a record. Raises `UnusableError` where there is none."""
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise UnusableError("schema", f"{key}: missing, or no object")
    return found


def text(value: Any) -> str | None:
    """Return a text, or a whole number as text; None for anything else and for an empty text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**30 else None
    return value if isinstance(value, str) and value else None


def cut(text: str, characters: int) -> str:
    """Return the beginning of a text; what cannot be encoded in it is replaced."""
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return text[:characters]


def number(value: Any, *, least: float = 0.0) -> float | None:
    """Return a finite number of at least `least`, also where it is written as text; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and found >= least else None


def status_of(value: Any) -> int | None:
    """Return an HTTP status, also where it is written as text or as a decimal; else None."""
    found = number(value, least=100.0)
    return int(found) if found is not None and found < 600.0 else None


def weight_of(share: Any) -> float | None:
    """Return how many calls one stands for, where a share of all is logged.

    >>> weight_of(0.5), weight_of(1.0), weight_of(0)
    (2.0, None, None)
    """
    found = number(share)
    return 1.0 / found if found is not None and 1e-6 <= found < 1.0 else None


def payload_of(value: Any, content_type: str = "", *, cut: bool = False) -> Payload | None:
    """Return a body, None where there is none; one that is `cut` may be gone altogether."""
    if cut:
        return Payload("", content_type, cut=True)
    return None if value is None or value == "" else Payload(value, content_type, cut=cut)
