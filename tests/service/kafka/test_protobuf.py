"""Records in Protobuf behind the small registry: compiled at run time, whatever the bytes are nothing raises."""

import json
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import RegistrySection
from detector.errors import ServiceError
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import DecodedEvent, Refusal, UnusableError
from detector.ingest.formats.native import NativeDecoder
from detector.service.kafka import protobuf
from detector.service.kafka.protobuf import ProtobufSchema, compiled
from detector.service.kafka.registry import RegistryDecoder
from tests.service.kafka.test_registry import SmallRegistry

pytest.importorskip("grpc_tools", reason="compiles schemas: pip install grpcio-tools")

CLIENT = 'syntax = "proto3"; package acme; message Client { string id = 1; string ip = 2; }'
EVENT = """
syntax = "proto3";
package acme;
import "acme/client.proto";
import "google/protobuf/timestamp.proto";

message Other { string a = 1; }

message Event {
  message Model { string id = 1; }
  map<string, int32> counts = 8;
  message Input { repeated float vector = 1; }
  message Output { int32 label = 1; optional double value = 2; repeated double probabilities = 3; }
  string event_id = 1;
  google.protobuf.Timestamp time = 2;
  Client client = 3;
  Model model = 4;
  Input input = 5;
  Output output = 6;
}
"""
KINDS = """
syntax = "proto3";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/duration.proto";
enum Colour { RED = 0; BLUE = 1; }
message Kinds {
  int64 big = 1; bool truth = 2; bytes raw = 3; Colour colour = 4; optional int32 gone = 5; map<bool, Kinds> by_truth = 6;
  google.protobuf.Struct any = 7; google.protobuf.Int64Value wrapped = 8; google.protobuf.Duration took = 9;
  oneof one { string a = 10; Kinds b = 11; } repeated Kinds more = 12;
}
"""
# Written by hand after the encoding's documentation: event_id, time, client.id, model.id, input.vector (packed), output.label.
VALUE = (
    b"\x0a\x02e1"
    b"\x12\x06\x08\xdb\xe8\xe1\xcf\x06"
    b"\x1a\x06\x0a\x04acme"
    b"\x22\x07\x0a\x05fraud"
    b"\x2a\x0a\x0a\x08\x00\x00\x80\x3f\x00\x00\x20\x40"
    b"\x32\x02\x08\x01"
)
INDEXES = b"\x02\x02"  # one index: the second message
EMPTY = b"\0"


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    """Return a registry that runs and has schemas of Protobuf."""
    running = SmallRegistry()
    running.paths |= {
        "/schemas/ids/20": (
            200,
            {
                "schema": EVENT,
                "schemaType": "PROTOBUF",
                "references": [{"name": "acme/client.proto", "subject": "client", "version": 1}],
            },
        ),
        "/subjects/client/versions/1": (200, {"schema": CLIENT, "schemaType": "PROTOBUF"}),
        "/schemas/ids/21": (200, {"schema": EVENT, "schemaType": "PROTOBUF"}),
        "/schemas/ids/22": (200, {"schema": "message {", "schemaType": "PROTOBUF"}),
    }
    yield running
    running.close()


def _framed(number: int, value: bytes) -> Record:
    return Record(b"\0" + number.to_bytes(4, "big") + value)


def _decoder(registry: SmallRegistry) -> RegistryDecoder:
    return RegistryDecoder(RegistrySection(url=registry.url), NativeDecoder())


@pytest.fixture(scope="module")
def event() -> ProtobufSchema:
    """Return the schema of events, compiled."""
    return compiled(EVENT, {"acme/client.proto": CLIENT})


@pytest.fixture(scope="module")
def kinds() -> ProtobufSchema:
    """Return the schema with a field of each kind, compiled."""
    return _kinds()


def test_a_message_whose_schema_imports_another(registry: SmallRegistry) -> None:
    """The event is the one that was written; the registry is asked once for each of the files."""
    decoder = _decoder(registry)
    for _ in range(3):
        found = decoder.decode(_framed(20, INDEXES + VALUE))
        assert isinstance(found, DecodedEvent), found
        assert (found.event_id, found.time, found.client.id, found.model.id) == ("e1", 1_777_890_395_000, "acme", "fraud")
        assert (found.input.values().tolist(), found.output.label) == ([1.0, 2.5], 1)
    assert registry.asked == ["/schemas/ids/20", "/subjects/client/versions/1"]


def test_indexes_lead_to_messages(event: ProtobufSchema) -> None:
    """The first one for a single zero byte, those within others; messages of maps do not count."""
    assert event.decode(EMPTY + b"\x0a\x01x") == {"a": "x"}
    assert event.decode(b"\x02\0\x0a\x01x") == {"a": "x"}
    assert event.decode(b"\x04\x02\0\x0a\x01x") == {"id": "x"}
    assert event.decode(b"\x04\x02\x02\x0a\x04\0\0\0\0") == {"vector": [0.0]}
    assert event.decode(b"\x02\x02\x42\x05\x0a\x01k\x10\x07") == {"counts": {"k": 7}}


def test_values_of_each_kind(kinds: ProtobufSchema) -> None:
    """Numbers stay numbers, bytes become base64; what is absent and optional, empty or a choice not made is left out."""
    assert kinds.decode(EMPTY) == {"big": 0, "truth": False, "colour": "RED"}
    any_ = b"\x3a\x0c\x0a\x0a\x0a\x01n\x12\x05\x1a\x03abc"
    rest = b"\x42\x02\x08\x07\x4a\x08\x08\x01\x10\x80\xca\xb5\xee\x01\x52\x01x\x62\x00"
    start = b"\x08\x83\x80\x80\x80\x80\x80\x80\x10\x10\x01\x1a\x02\xff\x00\x20\x01\x28\0\x32\x04\x08\x01\x12\x00"
    found = kinds.decode(EMPTY + start + any_ + rest)
    empty = {"big": 0, "truth": False, "colour": "RED"}
    assert found == {
        "big": 2**53 + 3,
        "truth": True,
        "raw": "/wA=",
        "colour": "BLUE",
        "gone": 0,
        "by_truth": {"true": empty},
        "any": {"n": "abc"},
        "wrapped": 7,
        "took": 1.5,
        "a": "x",
        "more": [empty],
    }


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        (20, b"", "indexes of the message are cut off"),
        (20, b"\xff" * 9, "indexes of the message are cut off, or too long"),
        (20, b"\x7e" + b"\0" * 63, "63 indexes"),
        (20, b"\x01", "-1 indexes"),
        (20, b"\x02\x08", "has no message [4]"),
        (20, b"\x02\x01", "has no message [-1]"),
        (20, INDEXES + b"\x0a\xff", "no Event"),
        (20, INDEXES + b"\x0a\x01\xff", "no Event"),
        (21, INDEXES + VALUE, "schema 21 is PROTOBUF and cannot be used: protoc: "),
        (22, INDEXES + VALUE, "schema 22 is PROTOBUF and cannot be used: protoc: "),
    ],
)
def test_what_cannot_be_decoded_is_refused(registry: SmallRegistry, number: int, value: bytes, words: str) -> None:
    """Each with what is wrong: indexes, the message, a file that is imported and unknown, a schema that is none."""
    decoder = _decoder(registry)
    refusal = decoder.decode(_framed(number, value))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "schema"
    assert words in refusal.detail
    assert decoder.owner(_framed(number, value)) is None
    assert registry.asked.count(f"/schemas/ids/{number}") == 1


@cache
def _kinds() -> ProtobufSchema:
    return compiled(KINDS, {})


@given(st.binary(max_size=60))
def test_hostile_bytes_raise_nothing_else(value: bytes) -> None:
    """Whatever they are; deep nesting is no exception."""
    schema = _kinds()
    for start in (EMPTY, b""):
        try:
            json.dumps(schema.decode(start + value))
        except UnusableError as error:
            assert error.detail  # noqa: PT017  # either way is right


def test_nesting_and_size_are_bounded(kinds: ProtobufSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message within a message a thousand times, and two bytes that stand for a message, a hundred times."""
    nested = b""
    for _ in range(1000):
        size = len(nested)
        nested = b"\x5a" + (bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])) + nested
    with pytest.raises(UnusableError, match="no Kinds"):
        kinds.decode(EMPTY + nested)
    monkeypatch.setattr(protobuf, "MOST_VALUES", 300)
    with pytest.raises(UnusableError, match="more than 300 values") as caught:
        kinds.decode(EMPTY + b"\x62\x00" * 100)
    assert caught.value.reason == "oversized"


@pytest.mark.parametrize("name", ["../../etc/x.proto", "/etc/x.proto", "a/../x.proto", "", "a b.proto"])
def test_names_of_imports_stay_in_their_folder(name: str) -> None:
    """A registry cannot have files written elsewhere."""
    with pytest.raises(UnusableError, match="no name of a file"):
        compiled(EVENT, {name: CLIENT})


def test_imports_are_bounded(registry: SmallRegistry) -> None:
    """A file that imports another, and that one another, and so on, is refused; a registry that lacks one is at fault."""
    for number in range(20):
        reference = {"name": f"f{number + 1}.proto", "subject": f"f{number + 1}", "version": 1}
        registry.paths[f"/subjects/f{number}/versions/1"] = (200, {"schema": CLIENT, "references": [reference]})
    first = {"name": "f0.proto", "subject": "f0", "version": 1}
    registry.paths["/schemas/ids/30"] = (200, {"schema": EVENT, "schemaType": "PROTOBUF", "references": [first]})
    refusal = _decoder(registry).decode(_framed(30, VALUE))
    assert isinstance(refusal, Refusal)
    assert "it imports more than" in refusal.detail
    lost = {**first, "subject": "lost"}
    registry.paths["/schemas/ids/31"] = (200, {"schema": EVENT, "schemaType": "PROTOBUF", "references": [lost]})
    with pytest.raises(ServiceError, match="does not have schema 'lost'"):
        _decoder(registry).decode(_framed(31, VALUE))
    registry.paths["/schemas/ids/32"] = (200, {"schema": EVENT, "schemaType": "PROTOBUF", "references": [7]})
    with pytest.raises(ServiceError, match="references are not as expected"):
        _decoder(registry).decode(_framed(32, VALUE))


def test_without_protoc_the_extra_is_named(registry: SmallRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is kept as a dead letter."""
    monkeypatch.setattr(protobuf, "find_spec", lambda _: None)
    refusal = _decoder(registry).decode(_framed(20, INDEXES + VALUE))
    assert isinstance(refusal, Refusal)
    assert "extra `protobuf`" in refusal.detail


def test_a_compiler_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage stands still and tries again: a busy machine is no fault of the schema."""
    monkeypatch.setattr(protobuf, "PATIENCE_S", 0.001)
    with pytest.raises(ServiceError, match="was not compiled within"):
        compiled(CLIENT, {})
