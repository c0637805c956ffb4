"""Moments in time: milliseconds inside, RFC 3339 text at the edges.

Inside, a moment is an integer count of milliseconds since 1970-01-01T00:00:00Z, so it sorts, subtracts and packs into
an array. Text is written in one form only (UTC, three decimals, ``Z``), so equal moments give equal bytes. Text is
read in any form of RFC 3339 that names its offset; local time without one is refused unless the reader is given its
time zone, because nobody else can tell when it was.

A number in a log is a count of seconds, milliseconds, microseconds or nanoseconds since 1970, and its size tells which:

| reading           | unit         | valid years  |
|-------------------|--------------|--------------|
| below 1e11        | seconds      | 2000 to 5138 |
| 1e11 to 1e14      | milliseconds | 2000 to 5138 |
| 1e14 to 1e17      | microseconds | 2000 to 5138 |
| 1e17 and more     | nanoseconds  | 2000 to 9999 |

The ranges do not overlap, so no reading has two meanings. A moment before 2000 is no time of an event: such readings
are missing values (0), counters, or a clock that was never set.
"""

import datetime as dt
import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

__all__ = [
    "FIRST_EVENT_MS",
    "LAST_MS",
    "MILLISECOND_READINGS",
    "PATTERN",
    "READINGS",
    "Instant",
    "Timestamp",
    "event_ms",
    "parse_rfc3339",
    "rfc3339",
]

LAST_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last moment that four-digit years can write; the first is 0."""

FIRST_EVENT_MS: Final = 946_684_800_000
"""2000-01-01T00:00:00Z, the earliest time of an event."""

_UNITS: Final = (
    ("seconds", 10**11, 1_000_000, 1),
    ("milliseconds", 10**14, 1000, 1),
    ("microseconds", 10**17, 1, 1),
    ("nanoseconds", (LAST_MS + 1) * 10**6, 1, 1000),
)
"""Each unit, the reading at which it ends, and its length in microseconds as a fraction."""

READINGS: Final = tuple((FIRST_EVENT_MS * 1000 * below // above, end) for _, end, above, below in _UNITS)
"""The valid readings of a number, one range per unit, each without its end."""

MILLISECOND_READINGS: Final = READINGS[1]

PATTERN: Final = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""What JSON Schema can say of the text; it leaves out the length of months, leap seconds and the range."""

_DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1).toordinal()
_PARTS = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"([Zz]|([+-])([0-9]{2}):([0-9]{2}))?"
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


def parse_rfc3339(text: str, zone: dt.tzinfo | None = None) -> int:
    """Read a moment, in milliseconds rounded down; digits beyond the third decimal are dropped.

    The grammar is RFC 3339, section 5.6: ``T`` (not a space) between date and time, and an offset. Text without an offset
    is local time of `zone`; the hour that a zone repeats in autumn is taken for its first, the hour that it leaves out in
    spring is counted on from the hour before. A leap second is accepted where one can fall, at 23:59:60 UTC, and reads as
    the first moment of the next day.

    Raises ValueError for any other text, for text without an offset where there is no `zone`, for days that no calendar
    has, and outside the years 1970 to 9999 (in UTC).

    >>> parse_rfc3339("2026-05-04T12:31:07.4129+02:00")
    1777890667412
    """
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time with an offset")
    year, month, day, hour, minute, second, fraction, offset, sign, ahead_h, ahead_m = found.groups()
    try:
        date = dt.date(int(year), int(month), int(day))
    except ValueError:
        raise ValueError("no such day in the calendar") from None
    h, m, s = int(hour), int(minute), int(second)
    if h > 23 or m > 59 or s > 60:
        raise ValueError("not a time of day")
    if offset is None:
        ahead = _ahead(dt.datetime.combine(date, dt.time(h, m)), zone)
    elif sign is None:
        ahead = 0
    elif ahead_h > "23" or ahead_m > "59":
        raise ValueError("the offset is not a time of day")
    else:
        ahead = (int(ahead_h) * 60 + int(ahead_m)) * (-60 if sign == "-" else 60)
    seconds = (date.toordinal() - _EPOCH) * 86_400 + h * 3600 + m * 60 - ahead
    if s == 60 and seconds % 86_400 != 86_340:
        raise ValueError("not a time of day")
    ms = (seconds + s) * 1000
    if fraction and s != 60:
        ms += int(fraction[:3].ljust(3, "0"))
    if not 0 <= ms <= LAST_MS:
        raise ValueError("outside the years 1970 to 9999")
    return ms


def _ahead(local: dt.datetime, zone: dt.tzinfo | None) -> int:
    """Return by how many seconds a zone is ahead of UTC at this local time."""
    if zone is None:
        raise ValueError(
            'not an RFC 3339 time with an offset; set [engine] naive_time_zone = "UTC" (or the name of a zone) '
            "if its times are of one time zone"
        )
    try:
        ahead = zone.utcoffset(local)
    except OverflowError:
        raise ValueError("outside the years 1970 to 9999") from None
    return 0 if ahead is None else round(ahead.total_seconds())


def event_ms(time: str | float, zone: dt.tzinfo | None = None) -> int:
    """Read the time of an event, RFC 3339 text or a number in the unit that its size tells, in milliseconds rounded down.

    A float is rounded to microseconds first, because it cannot hold most of them: 1777890667.412 is a little less.

    Raises ValueError as `parse_rfc3339` does, and for a moment before 2000 or, of a number, after 9999.

    >>> event_ms("2026-05-04T10:31:07.412Z"), event_ms(1777890667.412), event_ms(1777890667412000)
    (1777890667412, 1777890667412, 1777890667412)
    >>> event_ms(0)
    Traceback (most recent call last):
    ValueError: 0 read as seconds since 1970 is 1970-01-01T00:00:00.000Z, before the year 2000
    """
    if isinstance(time, str):
        ms = parse_rfc3339(time, zone)
        if ms < FIRST_EVENT_MS:
            raise ValueError(f"{rfc3339(ms)} is before the year 2000")
        return ms
    for unit, end, above, below in _UNITS:
        if time < end:
            return _reading(time, unit, above, below)
    raise ValueError("larger than any time before the year 10000, even in nanoseconds since 1970")


def _reading(time: float, unit: str, above: int, below: int) -> int:
    if time < 0:
        raise ValueError(f"{_shown(time)} read as {unit} since 1970 is before 1970")
    microseconds = round(time * above / below) if isinstance(time, float) else time * above // below
    ms = microseconds // 1000
    if time * above < FIRST_EVENT_MS * 1000 * below:
        raise ValueError(f"{_shown(time)} read as {unit} since 1970 is {rfc3339(ms)}, before the year 2000")
    return ms


def _shown(time: float) -> str:
    return "a negative number" if time < -1e18 else str(time)


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
