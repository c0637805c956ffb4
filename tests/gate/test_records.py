"""What is read from the topic, and what is no decision."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.gate.packing import FOREVER_MS
from detector.gate.records import Key, read_key, read_value
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
    assert read_key(b"client:acme:*") == Key(0, "client", "acme", "*")
