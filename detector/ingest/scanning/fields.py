"""The fields of a record that are read, and what is done with each; all others are skipped."""

from typing import Final, NamedTuple

import numpy as np

from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS, USER_AGENT_CHARACTERS
from detector.ingest.scanning.cells import ADDRESS, AGENT, CLIENT, EVENT, MODEL, ORGANIZATION, TYPE, VERSION
from detector.ingest.scanning.machine import part

__all__ = [
    "ANSWER",
    "CHANCES",
    "COLUMN",
    "KIND",
    "LABEL",
    "LABELLED",
    "LEFT",
    "LEVEL",
    "MOST",
    "NULLABLE",
    "NUMBER",
    "OPEN",
    "PACKED",
    "RATE",
    "REQUIRED",
    "SKIP",
    "TEXT",
    "TIME",
    "TRUST",
    "VALUE",
    "VECTOR",
    "WHOLE",
    "field_of",
]

SKIP, OPEN, TEXT, TIME, TRUST, VECTOR, PACKED, LABEL, CHANCES, NUMBER, RATE, WHOLE, VALUE, LEFT = range(14)
"""What is done with a value. An object is opened, a text kept; `LEFT` leaves the record, unless the value is null."""


class _Field(NamedTuple):
    level: int
    name: bytes
    kind: int
    nullable: bool = True
    column: int = 0  # of the span of a text; the level of what is opened
    most: int = 0  # bytes of a text: if it has more characters, it has more bytes


_FIELDS: Final = (
    _Field(0, b"event_id", TEXT, False, EVENT, ID_CHARACTERS),
    _Field(0, b"time", TIME, False),
    _Field(0, b"client", OPEN, False, 1),
    _Field(0, b"model", OPEN, False, 2),
    _Field(0, b"input", OPEN, False, 3),
    _Field(0, b"output", OPEN, False, 4),
    _Field(0, b"latency_ms", NUMBER),
    _Field(0, b"status", WHOLE),
    _Field(0, b"sampled_rate", RATE),
    _Field(1, b"id", TEXT, False, CLIENT, ID_CHARACTERS),
    _Field(1, b"trusted", TRUST),
    _Field(1, b"type", TEXT, True, TYPE, TEXT_CHARACTERS),
    _Field(1, b"organization", TEXT, True, ORGANIZATION, TEXT_CHARACTERS),
    _Field(1, b"ip", TEXT, True, ADDRESS, TEXT_CHARACTERS),
    _Field(1, b"user_agent", TEXT, True, AGENT, USER_AGENT_CHARACTERS),
    _Field(2, b"id", TEXT, False, MODEL, ID_CHARACTERS),
    _Field(2, b"version", TEXT, True, VERSION, TEXT_CHARACTERS),
    _Field(3, b"vector", VECTOR),
    _Field(3, b"vector_b64", PACKED),
    _Field(3, b"columns", LEFT),
    _Field(3, b"text", LEFT),
    _Field(3, b"image_b64", LEFT),
    _Field(4, b"label", LABEL),
    _Field(4, b"probabilities", CHANCES),
    _Field(4, b"value", VALUE),
    _Field(4, b"perturbed", LEFT),
    _Field(4, b"original", LEFT),
    _Field(4, b"ranking", LEFT),
    _Field(4, b"ranking_scores", LEFT),
)


def _column(number: int) -> np.ndarray:
    return np.array([entry[number] for entry in _FIELDS], np.int64)


def _bits(*names: bytes) -> int:
    return sum(1 << at for at, entry in enumerate(_FIELDS) if entry.name in names)


KIND: Final = _column(2)
NULLABLE: Final = _column(3)
COLUMN: Final = _column(4)
LEVEL: Final = COLUMN
MOST: Final = _column(5)
REQUIRED: Final = _bits(b"event_id", b"time", b"client", b"model", b"input", b"output", b"id")
ANSWER: Final = _bits(b"label", b"probabilities")
LABELLED: Final = _bits(b"label")
_STARTS: Final = np.array([[entry.level for entry in _FIELDS].index(level) for level in range(5)] + [len(_FIELDS)], np.int64)
_SIZES: Final = np.array([len(entry.name) for entry in _FIELDS], np.int64)
_NAMES: Final = np.array([[int.from_bytes(entry.name[at : at + 8], "little") for at in (0, 8)] for entry in _FIELDS], np.uint64)


@part
def field_of(level, size, first, second):
    """Return the field of a level whose name has that size and those letters (see `texts.key`), -1 if none has."""
    for at in range(_STARTS[level], _STARTS[level + 1]):
        if _SIZES[at] == size and _NAMES[at, 0] == first and _NAMES[at, 1] == second:
            return at
    return -1
