"""Decoding one record: the reason of every refusal, and agreement with the reference definition of an event."""

import base64
import datetime as dt
import json
import struct
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.contracts.moment import event_ms
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import DETAIL_CHARACTERS, DecodedEvent, Refusal
from detector.ingest.formats.inputs import Inputs
from detector.ingest.formats.native import NativeDecoder
from detector.ingest.formats.texts import text_vector
from detector.ingest.schema import InputSchema


def _record(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": "e1",
        "time": 1_777_890_667_412,
        "client": {"id": "acme"},
        "model": {"id": "fraud"},
        "input": {"vector": [1.0, 2.0, 3.0]},
        "output": {"label": "b", "probabilities": [0.25, 0.75]},
    } | changes


def _bytes(**changes: Any) -> bytes:
    return json.dumps(_record(**changes)).encode()


def _b64(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


GOOD = _bytes()
NAN, INF = float("nan"), float("inf")
DEEP = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (b"", "json", "empty record"),
        (b" \t\r", "json", "empty record"),
        (b"\xef\xbb\xbf" + GOOD, "json", "byte order mark"),
        (b"\0", "json", "character 0"),
        (GOOD + b"\0", "json", "Extra data"),
        (GOOD + GOOD, "json", "Extra data"),
        (GOOD[:-1], "json", "delimiter"),
        (GOOD.replace(b"1.0", b"01.0"), "json", "delimiter"),
        (GOOD.replace(b"acme", b"ac\0me"), "json", "control character"),
        (DEEP, "json", "nested too deep"),
        (_bytes(x=json.loads("[" * 300 + "true" + "]" * 300))[:-1] + b', "time": true}', "json", "nested too deep"),
        (GOOD.replace(b"acme", b"ac\xffme"), "encoding", "0xff is not UTF-8"),
        (_bytes(note="caf").replace(b"caf", b"caf\xe9"), "encoding", "0xe9 is not UTF-8"),
        (GOOD.replace(b"acme", b"\xed\xa0\x80"), "encoding", "0xed is not UTF-8"),
        (GOOD.replace(b"acme", rb"\ud800"), "encoding", "client.id: half of a surrogate pair"),
        (_bytes(note=["x"]).replace(b'"x"', rb'"\udfff!"'), "encoding", "note[0]: half of a surrogate pair"),
        (_bytes(note=1).replace(b"note", rb"\udfff"), "encoding", "record: half of a surrogate pair in a field name"),
        (b"null", "schema", "record: "),
        (b"[]", "schema", "record: "),
        (b"7", "schema", "record: "),
        (b"{}", "schema", "event_id: Field required"),
        (_bytes(event_id=""), "schema", "event_id: String should have at least 1 character"),
        (_bytes(event_id="é" * 257), "schema", "event_id: String should have at most 256 characters"),
        (_bytes(event_id=7), "schema", "event_id: "),
        (_bytes(time=True), "schema", "time: "),
        (_bytes(time=-1), "schema", "time: -1 read as seconds since 1970 is before 1970"),
        (_bytes(time=0), "schema", "time: 0 read as seconds since 1970 is 1970-01-01T00:00:00.000Z, before the year 2000"),
        (_bytes(time=123_456_789_012), "schema", "time: 123456789012 read as milliseconds since 1970 is 1973-"),
        (_bytes(time=2e14), "schema", "time: 200000000000000.0 read as microseconds since 1970 is 1976-"),
        (_bytes(time=10**30), "schema", "time: larger than any time"),
        (_bytes(time=-(10**30)), "schema", "time: a negative number read as seconds"),
        (_bytes(time="1999-12-31T23:59:59Z"), "schema", "time: 1999-12-31T23:59:59.000Z is before the year 2000"),
        (_bytes(time="2026-05-04T10:31:07"), "schema", "set [engine] naive_time_zone"),
        (_bytes(time="2026-05-04 10:31:07Z"), "schema", "time: not an RFC 3339"),
        (_bytes(time="2026-02-29T10:31:07Z"), "schema", "time: no such day"),
        (_bytes(client="acme"), "schema", "client: "),
        (_bytes(client={}), "schema", "client.id: Field required"),
        (_bytes(client={"id": "a", "trusted": 1}), "schema", "client.trusted: "),
        (_bytes(model={"id": None}), "schema", "model.id: "),
        (_bytes(model={"id": "m" * 257}), "schema", "model.id: String should have at most 256 characters"),
        (_bytes(client={"id": "c" * 257}), "schema", "client.id: String should have at most 256 characters"),
        (_bytes(input={}), "schema", "input: neither vector nor vector_b64"),
        (_bytes(input=None), "schema", "input: "),
        (_bytes(input={"vector": []}), "schema", "input.vector: "),
        (_bytes(input={"vector": [None, None], "vector_b64": _b64(1)}), "schema", "input.vector: every value is missing"),
        (_bytes(input={"vector": [1], "vector_b64": _b64(NAN)}), "schema", "input.vector_b64: every value is missing"),
        (_bytes(input={"vector": [1, True]}), "schema", "input.vector[1]: "),
        (_bytes(input={"vector": [1, "2"]}), "schema", "input.vector[1]: "),
        (_bytes(input={"vector": [[1]]}), "schema", "input.vector[0]: "),
        (_bytes(input={"vector_b64": ""}), "schema", "input.vector_b64: 0 bytes"),
        (_bytes(input={"vector_b64": "AAAAAAA="}), "schema", "input.vector_b64: 5 bytes"),
        (_bytes(input={"vector_b64": "AAAA"}), "schema", "input.vector_b64: 3 bytes"),
        (_bytes(input={"vector_b64": "AAAA\nAAAA\nAAAA"}), "schema", "input.vector_b64: not base64"),
        (_bytes(input={"vector": [1], "vector_b64": "?"}), "schema", "input.vector_b64: not base64"),
        (_bytes(output={}), "schema", "output: neither label nor probabilities"),
        (_bytes(output={"label": 1.5}), "schema", "output.label: "),
        (_bytes(output={"label": "x" * 257}), "schema", "output.label: String should have at most 256 characters"),
        (_bytes(output={"label": False}), "schema", "output.label: "),
        (_bytes(output={"label": 2**63}), "schema", "output.label: Input should be less than or equal to"),
        (_bytes(output={"probabilities": []}), "schema", "output.probabilities: "),
        (_bytes(output={"probabilities": [0.5, 1.5]}), "schema", "output.probabilities[1]: "),
        (_bytes(output={"probabilities": [-0.1]}), "schema", "output.probabilities[0]: "),
        (_bytes(status="ok"), "schema", "status: "),
        (_bytes(latency_ms=-1), "schema", "latency_ms: "),
        (_bytes(sampled_rate=0.5), "schema", "sampled_rate: "),
        (_bytes(input={"vector": [1, NAN]}), "not_finite", "input.vector[1]: NaN"),
        (_bytes(input={"vector": [-INF]}), "not_finite", "input.vector[0]: -Infinity"),
        (_bytes(latency_ms=NAN), "not_finite", "latency_ms: NaN"),
        (_bytes(extra={"a": [0, INF]}), "not_finite", "extra.a[1]: Infinity"),
        (GOOD.replace(b"2.0", b"1e999"), "not_finite", "input.vector[1]: not finite in float32"),
        (GOOD.replace(b"2.0", b"-" + b"9" * 400), "not_finite", "input.vector[1]: not finite in float32"),
        (GOOD.replace(b"2.0", b"9" * 5000), "not_finite", "number out of range"),
        (GOOD.replace(b"0.75", b"1e999"), "not_finite", "output.probabilities[1]: not finite in float32"),
        (_bytes(input={"vector": [1], "vector_b64": _b64(INF)}), "not_finite", "input.vector_b64: not finite"),
        (_bytes(input={"vector": [None, INF]}), "not_finite", "input.vector[1]: Infinity"),
    ],
)
def test_every_refusal_has_its_reason(record: bytes, reason: str, detail: str) -> None:
    """The reason is the fixed code, and the detail names the field in a few words."""
    refusal = NativeDecoder().decode_value(record)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert detail in refusal.detail
    assert len(refusal.detail) <= DETAIL_CHARACTERS


def test_details_stay_short_whatever_the_record_holds() -> None:
    """Names of fields are the sender's, so they are cut."""
    for record in (_bytes(**{"x" * 5000: NAN}), _bytes(x={"y" * 300: {"z" * 300: NAN}})):
        refusal = NativeDecoder().decode_value(record)
        assert isinstance(refusal, Refusal)
        assert len(refusal.detail) == DETAIL_CHARACTERS


@pytest.mark.parametrize(
    "record",
    [
        _bytes(time="2016-12-31T23:59:60.5Z"),
        _bytes(time=1_777_890_667),
        _bytes(time=1_777_890_667_412_000_000),
        _bytes(time=2.534e20),
        _bytes(client={"id": "a", "user_agent": "x" * 16_000, "ip": "é" * 999, "type": "t" * 257}),
        _bytes(input={"vector": [None, 1]}),
        _bytes(input={"vector": [1], "vector_b64": _b64(1, NAN)}),
        GOOD[:-1] + b', "time": 1777890667}',
        b'{"event_id": 5, "client": "?", ' + GOOD[1:],
        _bytes(event_id="😀" * 256, note="naïve"),
        _bytes(output={"label": -(2**63)}),
        _bytes(output={"label": "", "probabilities": None}),
        _bytes(input={"vector": None, "vector_b64": _b64(1)}),
        _bytes(input={"vector": [1], "vector_b64": _b64(1)}),
        _bytes(extra=None, client={"id": "a", "trusted": None, "team": [1]}),
        GOOD.replace(b"}", b' , "huge": 1e999}', 1),
        GOOD.replace(b'"fraud"', rb'"fra\u0075d\u0000"'),
        b" \t" + GOOD + b" \r",
    ],
)
def test_unusual_but_valid_records_are_events(record: bytes) -> None:
    """What the reference accepts is an event, whether the fast path knows it or not."""
    assert isinstance(NativeDecoder().decode_value(record), DecodedEvent)


_digits = st.integers(0, 99).map("{:02}".format)
_zones = st.sampled_from(["Z", "z", "", "+24:00", "+1:00", "Z ", "-00:00"]) | st.builds(
    "{}{}:{}".format, st.sampled_from("+-"), _digits, _digits
)
_fractions = st.one_of(
    st.just(""),
    st.integers(0, 999).map(".{:03}".format),
    st.text("0123456789", max_size=10).map(".{}".format),
    st.sampled_from([".", ".٣٣٣", ".1_1", ",123", "123", ".+12"]),
)
_moments = st.builds(
    "{}{}{}:{}:{}{}{}".format,
    st.sampled_from(
        ["2026-05-04", "1970-01-01", "2000-01-01", "9999-12-31", "2024-02-29", "2023-02-29", "0001-01-01", "20260504"]
    ),
    st.sampled_from(["T", "T", "T", "t", " "]),
    st.integers(0, 25).map("{:02}".format),
    st.sampled_from(["00", "31", "59", "60"]),
    st.sampled_from(["00", "07", "59", "60"]),
    _fractions,
    _zones,
)


@settings(deadline=None)
@given(st.lists(_moments, min_size=1, max_size=6), st.sampled_from([None, dt.UTC, ZoneInfo("America/New_York")]))
def test_moments_are_those_of_the_reference(moments: list[str], zone: dt.tzinfo | None) -> None:
    """The cache of seconds changes no value and accepts no text, in whatever order moments arrive."""
    decoder = NativeDecoder(zone)
    for moment in [*moments, *(m[:20] + "123" + m[20:] for m in moments), *moments]:
        found = decoder.decode_value(json.dumps(_record(time=moment), ensure_ascii=False).encode())
        try:
            expected = event_ms(moment, zone)
        except ValueError:
            assert isinstance(found, Refusal)
        else:
            assert isinstance(found, DecodedEvent)
            assert found.time == expected


LONG = {"type": "t", "organization": "o", "ip": "1", "user_agent": "é"}


@pytest.mark.parametrize("field", LONG)
def test_what_only_describes_is_cut(field: str) -> None:
    """A header of any length leaves the event valid, and the fast path keeps what the reference keeps."""
    record = _bytes(client={"id": "a", field: LONG[field] * 5000}, model={"id": "m", "version": "7" * 300})
    decoder = NativeDecoder()
    fast, slow = decoder.decode_value(record), decoder.read_slowly(record)
    assert isinstance(fast, DecodedEvent)
    assert isinstance(slow, DecodedEvent)
    assert getattr(fast.client, field) == getattr(slow.client, field)
    assert len(getattr(fast.client, field)) == (1024 if field == "user_agent" else 256)
    assert fast.model.version == slow.model.version == "7" * 256


@pytest.mark.parametrize(
    ("query", "vector"),
    [
        ({"columns": {"amount": 2, "flag": True, "note": None}}, [2.0, 1.0, None]),
        ({"text": "the red fox"}, text_vector("the red fox")),
        ({"vector": None, "text": ""}, text_vector("")),
    ],
)
def test_inputs_that_are_no_vectors_become_vectors(query: dict[str, Any], vector: list[float | None]) -> None:
    """Columns go by the schema, a text by its hashed n-grams."""
    event = NativeDecoder().decode_value(_bytes(input=query))
    assert isinstance(event, DecodedEvent)
    assert event.input.vector == vector


def test_columns_follow_the_schema_of_the_model() -> None:
    """The order in a record does not count, and categories have the codes of the baseline."""
    schema = InputSchema(("country", "amount"), ("category", "number"), {"country": {"FR": 1}})
    decoder = NativeDecoder(inputs=Inputs({"fraud": schema}))
    event = decoder.decode_value(_bytes(input={"columns": {"amount": 1.5, "country": "FR"}}))
    assert isinstance(event, DecodedEvent)
    assert event.input.vector == [1.0, 1.5]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"vector": [1], "text": "x"}, "more than one"),
        ({"columns": {"a": 1}, "text": "x"}, "more than one"),
        ({"columns": {}}, "input.columns"),
        ({"columns": {"a": [1]}}, "input.columns"),
        ({"columns": {"a": None}}, "all values are missing"),
        ({"image_b64": "AAAA"}, "picture"),
        ({"text": 5}, "input.text"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(query: dict[str, Any], detail: str) -> None:
    """Exactly one input, of the right type."""
    refusal = NativeDecoder().decode_value(_bytes(input=query))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "schema"
    assert detail in refusal.detail


@pytest.mark.parametrize(
    ("output", "label", "probabilities"),
    [
        ({"value": 1234.5}, "1.2e+03", None),
        ({"value": 0.25}, None, [0.75, 0.25]),
        ({"value": 0.25, "label": "b"}, "b", None),
        ({"label": "b", "perturbed": {"mode": "round", "key_id": "k1"}, "original": {"label": "a"}}, "b", None),
    ],
)
def test_a_predicted_value_and_what_was_done_to_an_answer(
    output: dict[str, Any], label: str | None, probabilities: list[float] | None
) -> None:
    """A value is a score or two digits of it; the answer is what the client was told."""
    for record in (_bytes(output=output), _bytes(output=output, input={"text": "x"})):
        event = NativeDecoder().decode_value(record)
        assert isinstance(event, DecodedEvent)
        assert (event.output.label, event.output.probabilities) == (label, probabilities)


@pytest.mark.parametrize("output", [{"label": 1, "perturbed": {"mode": 5}}, {"label": 1, "original": "a"}, {"value": "1"}])
def test_parts_of_an_answer_must_be_valid_though_they_are_not_used(output: dict[str, Any]) -> None:
    """Whatever is present must be valid."""
    assert isinstance(NativeDecoder().decode_value(_bytes(output=output)), Refusal)


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ({"ranking": ["b", "a"]}, "b"),
        ({"ranking": [7, "7"], "ranking_scores": [2, -0.5]}, 7),
        ({"ranking": ["b", "a"], "label": "c"}, "c"),
        ({"ranking": ["b", "a"], "value": 0.5}, "b"),
        ({"ranking": [1], "perturbed": {"mode": "swaps"}, "original": {"label": 1}}, 1),
        ({"ranking": list(range(1000))}, 0),
    ],
)
def test_the_first_item_of_a_ranking_is_the_label(output: dict[str, Any], label: str | int) -> None:
    """On the fast path and in the reference; the rest of the list is not carried on."""
    decoder = NativeDecoder()
    for found in (decoder.decode_value(_bytes(output=output)), decoder.read_slowly(_bytes(output=output))):
        assert isinstance(found, DecodedEvent)
        assert (found.output.label, found.output.probabilities, found.output.value) in [
            (label, None, None),
            (label, None, output.get("value")),
        ]
        assert found.output.ranking is None
        assert found.output.ranking_scores is None


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        ({"ranking": []}, "output.ranking: Value should have at least 1 item"),
        ({"ranking": ["a", "b", "a"]}, "output.ranking: an item stands in it twice"),
        ({"ranking": list(range(1001))}, "output.ranking: Value should have at most 1000 items"),
        ({"ranking": [f"{n:0255}" for n in range(999)] + ["a", "a"]}, "output.ranking: "),
        ({"ranking": [f"{n:0255}" for n in range(998)] + ["a", "a"]}, "output.ranking: an item stands in it twice"),
        ({"ranking": "a"}, "output.ranking: "),
        ({"ranking": ["a", 1.0]}, "output.ranking[1]: "),
        ({"ranking": [True]}, "output.ranking[0]: "),
        ({"ranking": [""]}, "output.ranking[0]: String should have at least 1 character"),
        ({"ranking": ["x" * 257]}, "output.ranking[0]: String should have at most 256 characters"),
        ({"ranking": [2**63]}, "output.ranking[0]: Input should be less than or equal to"),
        ({"label": "a", "ranking": [None]}, "output.ranking[0]: "),
        ({"ranking": ["a"], "ranking_scores": [1, 2]}, "output: ranking_scores has another length than ranking"),
        ({"label": "a", "ranking_scores": [1]}, "output: ranking_scores has another length than ranking"),
    ],
)
def test_bad_rankings_are_refused(output: dict[str, Any], detail: str) -> None:
    """With the field and the rule, however long the record is."""
    refusal = NativeDecoder().decode_value(_bytes(output=output))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "schema"
    assert detail in refusal.detail


def test_a_bad_ranking_counts_for_its_client() -> None:
    """The refused query has an owner, so that its client cannot ask unseen."""
    decoder = NativeDecoder()
    record = _bytes(output={"ranking": [1, 1]})
    owner = decoder.owner(Record(record))
    assert owner is not None
    assert (owner.client, owner.model) == ("acme", "fraud")


_items = st.one_of(
    st.sampled_from(["a", "b", "1", "", "x" * 256, "x" * 257, True, None, 1.0, 2**63, -(2**63)]), st.integers(0, 3)
)
_answers = st.fixed_dictionaries(
    {},
    optional={
        "label": st.sampled_from(["a", 1, None, 1.5]),
        "probabilities": st.sampled_from([[0.5, 0.5], None, []]),
        "value": st.sampled_from([0.5, 12.25, None]),
        "ranking": st.one_of(st.none(), st.lists(_items, max_size=4), st.lists(st.integers(0, 9), unique=True, max_size=4)),
        "ranking_scores": st.one_of(st.none(), st.lists(st.sampled_from([1, -0.5, 1e300, True]), max_size=4)),
    },
)


@settings(deadline=None, max_examples=400)
@given(_answers)
def test_answers_are_those_of_the_reference(output: dict[str, Any]) -> None:
    """The fast path accepts, reads and refuses answers as the reference does."""
    decoder = NativeDecoder()
    fast, slow = decoder.decode_value(_bytes(output=output)), decoder.read_slowly(_bytes(output=output))
    if isinstance(slow, Refusal):
        assert fast == slow
    else:
        assert isinstance(fast, DecodedEvent)
        assert (fast.output.label, fast.output.probabilities) == (slow.output.label, slow.output.probabilities)
