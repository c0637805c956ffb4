"""Whose query a refused record was."""

import json

from hypothesis import given
from hypothesis import strategies as st

from detector.ingest.batch import Sender
from detector.ingest.owner import Owner, read_owner

WHOLE = {
    "event_id": "e1",
    "time": "2026-05-04T10:31:07Z",
    "client": {"id": "acme", "trusted": False, "ip": "192.0.2.1"},
    "model": {"id": "fraud", "version": "3"},
    "input": {"vector": [1.0, 2.0]},
}


def test_everything_that_can_be_read_is() -> None:
    """Client, model, id and time, in a record that breaks some rule."""
    assert read_owner(json.dumps(WHOLE).encode()) == Owner(
        "acme", "fraud", "3", "e1", 1_777_890_667_000, Sender(trusted=False, ip="192.0.2.1")
    )


def test_broken_records_still_name_their_client() -> None:
    """NaN, bytes that are no UTF-8, wrong types elsewhere, and a record that is cut off after the client."""
    whole = json.dumps(WHOLE).encode()
    for record in (
        whole.replace(b"1.0", b"NaN"),
        whole.replace(b'"e1"', b'"e\xff"'),
        whole.replace(b'"3"', b"[]").replace(b'"e1"', b"7"),
        whole[: whole.index(b"[1.0")],
    ):
        owner = read_owner(record)
        assert owner is not None
        assert (owner.client, owner.model) == ("acme", "fraud")


def test_a_text_that_is_too_long_is_cut_the_same_way_each_time() -> None:
    """An id of 300 characters is still one client's."""
    first, second = (read_owner(json.dumps(WHOLE | {"client": {"id": "x" * n}}).encode()) for n in (300, 400))
    assert first is not None
    assert second is not None
    assert first.client == second.client == "x" * 256


def test_an_input_cannot_name_another_client() -> None:
    """Of a record that is cut off only fields of the record itself are read, not what an input holds."""
    inner = json.dumps({"client": {"id": "victim"}, "model": {"id": "m"}})
    assert read_owner(b'{"input": {"columns": ' + inner.encode() + b', "broken') is None
    quoted = json.dumps({"input": {"text": inner}}).encode()
    assert read_owner(quoted[:-2]) is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: ('{"client": {"id": "a"}, ' + text).encode()))
def test_no_bytes_raise(record: bytes) -> None:
    """Whatever they are."""
    owner = read_owner(record)
    assert owner is None or owner.client
