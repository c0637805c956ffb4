"""The prediction event: what is read from it, and the edges that its schema cannot express."""

import base64
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.contracts import PredictionEvent, to_json
from detector.contracts.event import FLOAT32_BOUND, decode_vector


def event(**changes: Any) -> PredictionEvent:
    """A valid event with some fields replaced, read from JSON."""
    return PredictionEvent.model_validate_json(
        json.dumps(
            {
                "event_id": "e1",
                "time": 1_777_890_667_412,
                "client": {"id": "c"},
                "model": {"id": "m"},
                "input": {"vector": [1.0]},
                "output": {"label": 0},
            }
            | changes
        )
    )


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_both_forms_of_a_vector_are_equal(numbers: list[float]) -> None:
    """A vector as numbers and the same as base64 give the same float32 values."""
    packed = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    plain = event(input={"vector": numbers}).values()
    coded = event(input={"vector_b64": packed}).values()
    assert plain.dtype == coded.dtype == np.float32
    assert plain.tobytes() == coded.tobytes() == np.array(numbers, dtype=np.float32).tobytes()


@given(st.floats(min_value=3.4028234e38, max_value=3.4028237e38), st.sampled_from([1, -1]))
def test_a_number_is_valid_if_float32_can_hold_it(number: float, sign: int) -> None:
    """The bound is exactly where rounding to float32 reaches infinity."""
    with np.errstate(over="ignore"):
        fits = bool(np.isfinite(np.float32(number)))
    assert fits == (number < FLOAT32_BOUND)
    if fits:
        assert np.isfinite(event(input={"vector": [sign * number]}).values()).all()
    else:
        with pytest.raises(ValidationError):
            event(input={"vector": [sign * number]})


def test_the_bound_is_where_rounding_turns() -> None:
    """The double below the bound rounds to the largest float32; the bound itself rounds to infinity."""
    assert event(input={"vector": [math.nextafter(FLOAT32_BOUND, 0)]}).values()[0] == np.finfo(np.float32).max
    with pytest.raises(ValidationError):
        event(input={"vector": [FLOAT32_BOUND]})


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400])
@pytest.mark.parametrize(
    "place",
    ['"vector":[{}]', '"label":0,"probabilities":[{}]', '"time":{}', '"latency_ms":{}', '"sampled_rate":{}'],
)
def test_numbers_are_finite(token: str, place: str) -> None:
    """NaN, infinities and numbers beyond a double are refused wherever a number is read."""
    whole = to_json(event(input={"vector": [1.5]}, latency_ms=2.5, sampled_rate=3.5)).decode()
    old = {
        '"vector"': '"vector":[1.5]',
        '"label"': '"label":0',
        '"time"': '"time":1777890667412',
        '"latency_ms"': '"latency_ms":2.5',
        '"sampled_rate"': '"sampled_rate":3.5',
    }[place.partition(":")[0]]
    assert old in whole
    with pytest.raises(ValidationError):
        PredictionEvent.model_validate_json(whole.replace(old, place.format(token)))


@given(st.binary(max_size=24), st.sampled_from(["", "=", "==", "\n", "A"]))
def test_only_whole_finite_float32_are_decoded(raw: bytes, tail: str) -> None:
    """Base64 is read if its bytes are float32 numbers, none infinite, not all missing; anything appended breaks it."""
    text = base64.b64encode(raw).decode()
    whole = len(raw) > 0 and len(raw) % 4 == 0
    values = np.frombuffer(raw if whole else b"", dtype="<f4")
    if whole and not np.isinf(values).any() and not np.isnan(values).all():
        assert decode_vector(text).tobytes() == np.frombuffer(raw, dtype="<f4").astype(np.float32).tobytes()
    else:
        with pytest.raises(ValueError, match=r"base64|float32|infinity|missing"):
            decode_vector(text)
    if tail:
        with pytest.raises(ValueError, match=r"base64|float32|infinity|missing"):
            decode_vector(text + tail)


def test_vector_wins_over_base64() -> None:
    """Where a record holds both forms, the plain numbers are used."""
    assert event(input={"vector": [1], "vector_b64": "AAAAQA=="}).values().tolist() == [1.0]


def test_values_are_the_callers_own() -> None:
    """Writing into the returned array changes no event, and both forms can be written to."""
    for form in ({"vector": [1.0]}, {"vector_b64": "AACAPw=="}):
        read = event(input=form)
        read.values()[0] = 7
        assert read.values().tolist() == [1.0]


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        (1_777_890_667, 1_777_890_667_000),
        (1_777_890_667.412, 1_777_890_667_412),
        (1_777_890_667_412, 1_777_890_667_412),
        (1_777_890_667_412.99, 1_777_890_667_412),
        (1_777_890_667_412_999, 1_777_890_667_412),
        (1_777_890_667_412_000.0, 1_777_890_667_412),
        (1_777_890_667_412_999_999, 1_777_890_667_412),
        (1_777_890_667_412_000_000.0, 1_777_890_667_412),
        (946_684_800, 946_684_800_000),
        (253_402_300_799_999_999_999, 253_402_300_799_999),
        ("2000-01-01T00:00:00.0129Z", 946_684_800_012),
    ],
)
def test_time_is_rounded_down_to_milliseconds(time: Any, ms: int) -> None:
    """Every form of time gives whole milliseconds, never rounded up into a later one."""
    assert event(time=time).time_ms == ms
    assert type(event(time=time).time_ms) is int


@pytest.mark.parametrize(("client", "trusted"), [({}, None), ({"trusted": None}, None), ({"trusted": False}, False)])
def test_a_log_may_leave_open_whether_a_client_is_trusted(client: dict[str, Any], trusted: bool | None) -> None:
    """Absent and null leave it to the policy."""
    assert event(client={"id": "c", **client}).client.trusted is trusted


def test_labels_keep_their_type() -> None:
    """The label 1 and the label "1" stay two labels."""
    assert event(output={"label": 1}).output.label == 1
    assert event(output={"label": "1"}).output.label == "1"


def test_the_last_of_a_repeated_key_counts() -> None:
    """A record that names a field twice is read as most JSON readers do."""
    whole = to_json(event()).decode()
    twice = whole.replace('"event_id":"e1"', '"event_id":1,"event_id":"e2"')
    assert PredictionEvent.model_validate_json(twice).event_id == "e2"


@pytest.mark.parametrize("record", [b"", b"null", b"[]", b"{", b'{"event_id":"\\ud800"}', b'{"event_id":"\xff"}'])
def test_what_is_not_a_json_object_is_refused(record: bytes) -> None:
    """Empty, broken and non-object records fail like any other invalid event."""
    with pytest.raises(ValidationError):
        PredictionEvent.model_validate_json(record)


def test_absent_fields_stay_absent_when_written() -> None:
    """Writing an event back invents no null."""
    assert to_json(event()) == (
        b'{"event_id":"e1","time":1777890667412,"client":{"id":"c"},"model":{"id":"m"},'
        b'"input":{"vector":[1.0]},"output":{"label":0}}'
    )
