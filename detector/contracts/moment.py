"""Moments in time: milliseconds inside, RFC 3339 text at the edges.

Inside, a moment is an integer count of milliseconds since 1970-01-01T00:00:00Z, so it sorts, subtracts and packs into
an array. Text is written in one form only (UTC, three decimals, ``Z``), so equal moments give equal bytes. Text is
read in any form of RFC 3339 that names its offset; local time without one is refused, because nobody can tell when it
was.
"""

import datetime as dt
import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

__all__ = ["LAST_MS", "PATTERN", "Instant", "Timestamp", "parse_rfc3339", "rfc3339"]

LAST_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last moment that four-digit years can write; the first is 0."""

PATTERN: Final = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""What JSON Schema can say of the text; it leaves out the length of months, leap seconds and the range."""

_DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1).toordinal()
_PARTS = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def rfc3339(ms: int) -> str:
    """Write a moment as UTC text with milliseconds.

    Raises ValueError outside 0 to `LAST_MS`.

    >>> rfc3339(1_777_890_667_412)
    '2026-05-04T10:31:07.412Z'
    """
    if not 0 <= ms <= LAST_MS:
        raise ValueError(f"{ms} ms is outside the years 1970 to 9999")
    day, rest = divmod(ms, _DAY_MS)
    second, milli = divmod(rest, 1000)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{dt.date.fromordinal(_EPOCH + day)}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"


def parse_rfc3339(text: str) -> int:
    """Read a moment, in milliseconds rounded down; digits beyond the third decimal are dropped.

    The grammar is RFC 3339, section 5.6: ``T`` (not a space) between date and time, and an offset is required. A leap
    second is accepted where one can fall, at 23:59:60 UTC, and reads as the first moment of the next day.
    Raises ValueError for any other text, for days that no calendar has, and outside the years 1970 to 9999 (in UTC).

    >>> parse_rfc3339("2026-05-04T12:31:07.4129+02:00")
    1777890667412
    """
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time with an offset")
    year, month, day, hour, minute, second, fraction, sign, ahead_h, ahead_m = found.groups()
    try:
        days = dt.date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        raise ValueError("no such day in the calendar") from None
    h, m, s = int(hour), int(minute), int(second)
    ahead = 0
    if sign is not None:
        if ahead_h > "23" or ahead_m > "59":
            raise ValueError("the offset is not a time of day")
        ahead = int(ahead_h) * 60 + int(ahead_m)
        if sign == "-":
            ahead = -ahead
    minutes = days * 1440 + h * 60 + m - ahead
    if h > 23 or m > 59 or s > 60 or (s == 60 and minutes % 1440 != 1439):
        raise ValueError("not a time of day")
    ms = minutes * 60_000 + s * 1000
    if s == 60:
        fraction = None
    if fraction:
        ms += int(fraction[:3].ljust(3, "0"))
    if not 0 <= ms <= LAST_MS:
        raise ValueError("outside the years 1970 to 9999")
    return ms


def _readable(text: str) -> str:
    parse_rfc3339(text)
    return text


def _as_written(text: str) -> str:
    if rfc3339(parse_rfc3339(text)) != text:
        raise ValueError("not written as UTC with milliseconds and Z")
    return text


Timestamp = Annotated[str, AfterValidator(_readable), Field(json_schema_extra={"format": "date-time", "pattern": PATTERN})]
"""RFC 3339 text in any of its forms, kept as it came."""

Instant = Annotated[
    str,
    AfterValidator(_as_written),
    Field(
        json_schema_extra={
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        }
    ),
]
"""RFC 3339 text in the one form that `rfc3339` writes."""
