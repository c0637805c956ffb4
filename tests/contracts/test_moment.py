"""Moments: one form written, every form of RFC 3339 with an offset read."""

import datetime as dt
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.contracts.moment import FIRST_EVENT_MS, LAST_MS, PATTERN, READINGS, event_ms, parse_rfc3339, rfc3339

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@given(st.integers(0, LAST_MS))
def test_written_moments_read_back(ms: int) -> None:
    """Every millisecond from 1970 to 9999 survives the round trip and agrees with the standard library."""
    text = rfc3339(ms)
    assert parse_rfc3339(text) == ms
    assert re.search(PATTERN, text)
    assert dt.datetime.fromisoformat(text) - EPOCH == dt.timedelta(milliseconds=ms)


@given(
    st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(9998, 12, 31)),  # noqa: DTZ001 - the offset is drawn apart
    st.integers(-1439, 1439),
)
def test_offsets_and_microseconds_are_read(local: dt.datetime, ahead: int) -> None:
    """Any offset is applied and digits beyond milliseconds are dropped, as the standard library has it."""
    moment = local.replace(tzinfo=dt.timezone(dt.timedelta(minutes=ahead)))
    assert parse_rfc3339(moment.isoformat()) == (moment - EPOCH) // dt.timedelta(milliseconds=1)


@given(st.from_regex(PATTERN, fullmatch=True))
def test_pattern_and_parser_differ_only_by_arithmetic(text: str) -> None:
    """What the pattern lets through is read, or refused for the calendar, a leap second or the range alone."""
    reason = ""
    try:
        assert 0 <= parse_rfc3339(text) <= LAST_MS
    except ValueError as refusal:
        reason = str(refusal)
    assert reason in {"", "no such day in the calendar", "not a time of day", "outside the years 1970 to 9999"}


@given(st.text(st.sampled_from("0123456789-+:.TtZz "), max_size=30))
def test_what_the_parser_reads_matches_the_pattern(text: str) -> None:
    """The parser is never more generous than the published pattern."""
    try:
        parse_rfc3339(text)
    except ValueError:
        return
    assert re.fullmatch(PATTERN, text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.0019z", 1),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T01:00:00.5+01:00", 500),
        ("1969-12-31T23:00:00-01:00", 0),
        ("9999-12-31T23:59:59.999999999Z", LAST_MS),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2017-01-01T08:59:60.7+09:00", 1_483_228_800_000),
    ],
)
def test_edges_are_read(text: str, ms: int) -> None:
    """Both ends of the range, small letters, long fractions and leap seconds."""
    assert parse_rfc3339(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-05-04",
        "2026-05-04T10:31:07",
        "2026-05-04 10:31:07Z",
        "2026-05-04T10:31Z",
        "2026-05-04T10:31:07.Z",
        "2026-05-04T10:31:07,5Z",
        "2026-05-04T10:31:07+02",
        "2026-05-04T10:31:07+0200",
        "2026-05-04T10:31:07+24:00",
        "2026-05-04T10:31:07+02:60",
        "2026-05-04T24:00:00Z",
        "2026-05-04T10:60:00Z",
        "2026-05-04T10:31:61Z",
        "2016-12-31T12:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01",
        "\uff12\uff10\uff12\uff16-05-04T10:31:07Z",
        "2026-05-04T10:31:07Z\n",
        " 2026-05-04T10:31:07Z",
        "+2026-05-04T10:31:07Z",
        "2026-W19-1T10:31:07Z",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    """ISO 8601 beyond RFC 3339, impossible days and hours, and moments outside the range."""
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339(text)


@pytest.mark.parametrize("ms", [-1, LAST_MS + 1])
def test_moments_outside_the_range_are_not_written(ms: int) -> None:
    """There is no text for a moment before 1970 or after 9999."""
    with pytest.raises(ValueError, match="outside"):
        rfc3339(ms)


UNITS = {"seconds": 1000.0, "milliseconds": 1.0, "microseconds": 1e-3, "nanoseconds": 1e-6}


@given(st.integers(FIRST_EVENT_MS, 99_999_999_999_000), st.integers(0, 999_999))
def test_every_unit_reads_as_the_same_moment(ms: int, below: int) -> None:
    """Whole seconds, milliseconds, microseconds and nanoseconds of one moment are distinguished by their size."""
    assert event_ms(ms // 1000) == ms // 1000 * 1000
    assert event_ms(ms) == event_ms(ms * 1000 + below // 1000) == event_ms(ms * 1_000_000 + below) == ms


@given(st.integers(FIRST_EVENT_MS, 4_102_444_800_000))
def test_floats_read_as_the_digits_that_were_written(ms: int) -> None:
    """Until 2100, a moment written with milliseconds in any unit, and read as a float, is that millisecond."""
    for written in (f"{ms // 1000}.{ms % 1000:03}", f"{ms}.0", f"{ms}000.0", f"{ms}000000.0"):
        assert event_ms(float(written)) == ms


def test_readings_of_the_units_do_not_overlap() -> None:
    """Each range begins at 2000 in its unit and ends before the next one begins."""
    ends = [0, *(end for _, end in READINGS)]
    for (first, end), before, scale in zip(READINGS, ends, UNITS.values(), strict=False):
        assert before <= first < end
        assert first * scale == FIRST_EVENT_MS
        assert event_ms(first) == FIRST_EVENT_MS
        assert event_ms(end - 1) <= LAST_MS
        with pytest.raises(ValueError, match="before the year 2000"):
            event_ms(first - 1)


@pytest.mark.parametrize(
    ("zone", "text", "ms"),
    [
        (dt.UTC, "2026-05-04T10:31:07.412", 1_777_890_667_412),
        (ZoneInfo("Europe/Berlin"), "2026-05-04T12:31:07.412", 1_777_890_667_412),
        (ZoneInfo("Europe/Berlin"), "2026-01-04T12:00:00", 1_767_524_400_000),
        (ZoneInfo("Europe/Berlin"), "2026-05-04T10:31:07Z", 1_777_890_667_000),
        (ZoneInfo("Europe/Berlin"), "2026-10-25T02:30:00", 1_792_888_200_000),  # twice: the first
        (ZoneInfo("Europe/Berlin"), "2026-03-29T02:30:00", 1_774_747_800_000),  # never: counted on from winter time
        (dt.UTC, "2016-12-31T23:59:60.5", 1_483_228_800_000),
    ],
)
def test_local_time_is_read_in_a_zone_that_is_named(zone: dt.tzinfo, text: str, ms: int) -> None:
    """Text without an offset is local time of the zone; an offset that is there wins."""
    assert parse_rfc3339(text, zone) == event_ms(text, zone) == ms


def test_local_time_without_a_zone_names_the_setting() -> None:
    """The refusal says what to set."""
    with pytest.raises(ValueError, match="naive_time_zone"):
        parse_rfc3339("2026-05-04T10:31:07")
