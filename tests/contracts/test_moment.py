"""Moments: one form written, every form of RFC 3339 with an offset read."""

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.contracts.moment import LAST_MS, PATTERN, parse_rfc3339, rfc3339

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
