"""What a single value of an input means: a number, a time, a text, or missing."""

import datetime as dt
import math
from typing import Any, Final
from zlib import crc32

from detector.contracts.moment import event_ms

__all__ = ["hashed_code", "hours_of", "is_missing", "is_number", "number_of", "text_of"]

_MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "-"})
_TRUTH: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_HOUR_MS: Final = 3_600_000


def is_missing(value: Any) -> bool:
    """Say whether a value stands for none: null, NaN, an empty text, or what loggers write for them."""
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_number(text: str) -> bool:
    """Say whether a text is written as a number, NaN and the infinities included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def number_of(value: Any) -> float | None:
    """Return a value as a number, None where it is none; texts of numbers count, and truth is 1 or 0.

    Raises OverflowError for an integer that no float holds.

    >>> number_of("12.5"), number_of(True), number_of("yes"), number_of("FR"), number_of("nan")
    (12.5, 1.0, 1.0, None, None)
    """
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _TRUTH:
            return _TRUTH[text]
        try:
            value = float(text)
        except ValueError:
            return None
    if isinstance(value, bool | int | float):
        number = float(value)
        return None if math.isnan(number) else number
    return None


def hashed_code(text: str) -> float:
    """Return a code of a text that is the same everywhere: a whole number from 1 to 1,048,576, which float32 holds exactly.

    Two texts in a million share a code. Codes say nothing but same or different.
    """
    return float(1 + (crc32(text.strip().encode(errors="replace")) & 0xFFFFF))


def hours_of(value: Any) -> float | None:
    """Return a time as hours since 1970, None where it is none; a text without an offset counts as UTC.

    Hours, because a day or a week is then of a size that other columns have. float32 tells 2 minutes apart in either unit.

    >>> hours_of("1970-01-02"), hours_of("1970-01-01T01:30:00+01:00"), hours_of("soon")
    (24.0, 0.5, None)
    """
    try:
        if isinstance(value, str):
            moment = dt.datetime.fromisoformat(value.strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
            return moment.timestamp() / 3600
        if isinstance(value, int | float) and not isinstance(value, bool):
            return event_ms(value) / _HOUR_MS
    except (ValueError, OverflowError):
        return None
    return None


def text_of(value: Any) -> str:
    """Return what a category is called, whether the log wrote it as a text or as a number.

    >>> text_of(" FR "), text_of(3), text_of(3.0), text_of(True)
    ('FR', '3', '3', 'true')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int) and value.bit_length() > 64:
        return f"{value:x}"  # digits of very long integers cannot be written
    return str(value).strip()
