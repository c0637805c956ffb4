"""What is read from the topic, and what is no decision."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.contracts.moment import LAST_MS, rfc3339
from detector.gate.packing import FOREVER_MS
from detector.gate.records import Key, _moment_ms, read_key, read_value
from tests.gate.decisions import decision, value


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(value()) | fields).encode()


def test_an_action_of_a_later_version_is_an_alert() -> None:
    record = read_value(changed(action="quarantine", novelty={"x": 1}))
    assert record is not None
    assert record.rank == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 5000,
        changed(revision=0),
        changed(revision="1"),
        changed(expires_at="tomorrow"),
        changed(subject={"type": "client", "id": ""}),
        changed(subject={"type": "client", "id": "a\0b"}),
        changed(subject={"type": "a\0b", "id": "c"}),
        changed(scope={"models": []}),
        changed(action="throttle", parameters={}),
        changed(simulated=None),
    ],
)
def test_what_is_no_decision_is_told_from_one(bad: bytes) -> None:
    assert read_value(bad) is None


def test_without_an_expiry_it_holds_until_lifted() -> None:
    record = read_value(value(expires_ms=None, origin="manual"))
    assert record is not None
    assert (record.expires_ms, record.key.origin) == (FOREVER_MS, 2)


@given(
    st.text(min_size=1).filter(lambda text: "\0" not in text),
    st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3, unique=True),
    st.none() | st.just("2001:db8::/64"),
)
def test_a_key_of_the_topic_names_what_its_decision_names(client: str, models: list[str], address: str | None) -> None:
    made = decision(client, models=tuple(models), address=address)
    record = read_value(value(client, models=tuple(models), address=address))
    assert record is not None
    assert read_key(made.key.encode()) == record.key


def test_a_key_that_names_no_subject() -> None:
    assert read_key(b"x") is None
    assert read_key(b"client:acme") is None
    assert read_key(b"client:a\0b:fraud") is None
    assert read_key(b"a\0b:c:fraud") is None
    assert read_key(b"client:acme:*") == Key(0, "client", "acme", "*")


@given(st.integers(0, LAST_MS))
def test_a_moment_is_the_same_by_the_short_way(ms: int) -> None:
    assert _moment_ms(rfc3339(ms)) == ms


@pytest.mark.parametrize(
    "text",
    ["2026-02-30T10:00:00.000Z", "2026-02-03T24:00:00.000Z", "2026-02-03T10:00:6\u0661.000Z", "2026-02-03T10:00:99.000Z"],
)
def test_what_is_no_moment_is_none_by_the_short_way(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _moment_ms(text)
