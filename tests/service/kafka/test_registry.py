"""Records of a schema registry, with a small registry that the tests start."""

import datetime as dt
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro
import pytest

from detector.config import Config, KafkaSection, RegistrySection
from detector.errors import ServiceError
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.native import NativeDecoder
from detector.service.kafka.registry import RegistryDecoder, decoder_of_topics
from detector.testing import traffic

CLIENT = {"type": "record", "name": "Client", "fields": [{"name": "id", "type": "string"}]}
EVENT = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "client", "type": "Client"},
        {"name": "model", "type": {"type": "record", "name": "Model", "fields": [{"name": "id", "type": "string"}]}},
        {
            "name": "input",
            "type": {
                "type": "record",
                "name": "Input",
                "fields": [{"name": "vector", "type": {"type": "array", "items": "float"}}],
            },
        },
        {"name": "output", "type": {"type": "record", "name": "Output", "fields": [{"name": "label", "type": "int"}]}},
    ],
}
TIME = dt.datetime(2026, 5, 4, 10, 31, 7, 412_000, tzinfo=dt.UTC)
VALUE = {
    "event_id": "e1",
    "time": TIME,
    "client": {"id": "acme"},
    "model": {"id": "fraud"},
    "input": {"vector": [1.0, 2.5]},
    "output": {"label": 1},
}


class SmallRegistry:
    """Answers what the decoder asks a registry; `paths` are the documents by path, `asked` what was asked for."""

    def __init__(self) -> None:
        self.paths: dict[str, tuple[int, Any]] = {
            "/schemas/ids/7": (
                200,
                {"schema": json.dumps(EVENT), "references": [{"name": "Client", "subject": "a/b", "version": 2}]},
            ),
            "/subjects/a%2Fb/versions/2": (200, {"schema": json.dumps(CLIENT)}),
            "/schemas/ids/8": (200, {"schema": "{}", "schemaType": "JSON"}),
            "/schemas/ids/9": (200, {"schema": "<xs:schema/>", "schemaType": "XSD"}),
            "/schemas/ids/10": (200, {"schema": "no schema"}),
            "/schemas/ids/11": (401, {"error_code": 401}),
        }
        self.asked: list[str] = []
        self.logins: list[str | None] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.logins.append(self.headers.get("Authorization"))
                status, document = registry.paths.get(self.path, (404, {"error_code": 40403}))
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the parent's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    """Return a registry that runs."""
    running = SmallRegistry()
    yield running
    running.close()


def framed(number: int, value: bytes) -> Record:
    return Record(b"\0" + number.to_bytes(4, "big") + value)


def avro() -> bytes:
    named: dict[str, Any] = {}
    fastavro.parse_schema(CLIENT, named_schemas=named)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(EVENT, named_schemas=named), VALUE)
    return stream.getvalue()


def test_avro_with_a_schema_that_refers_to_another(registry: SmallRegistry) -> None:
    """The event is the one that was written; the registry is asked once, with the login."""
    decoder = RegistryDecoder(RegistrySection(url=registry.url, username="u", password="p"), NativeDecoder())
    for _ in range(3):
        event = decoder.decode(framed(7, avro()))
        assert isinstance(event, DecodedEvent)
        assert (event.event_id, event.time, event.client.id) == ("e1", int(TIME.timestamp() * 1000), "acme")
        assert event.input.values().tolist() == [1.0, 2.5]
    assert registry.asked == ["/schemas/ids/7", "/subjects/a%2Fb/versions/2"]
    assert registry.logins == ["Basic dTpw"] * 2
    assert decoder.time_of(framed(7, avro())) == int(TIME.timestamp() * 1000)


def test_json_and_records_without_a_schema(registry: SmallRegistry) -> None:
    """A value of a JSON Schema, and a plain record of the same topic."""
    decoder = RegistryDecoder(RegistrySection(url=registry.url), NativeDecoder())
    (line,) = traffic(innocents=1, thieves=0, queries=1)
    assert (
        repr(decoder.decode(framed(8, line)))
        == repr(decoder.decode(Record(line)))
        == repr(NativeDecoder().decode(Record(line)))
    )


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        (404, b"x", "does not know schema 404"),
        (9, b"x", "schema 9 is XSD and cannot be used"),
        (7, b"\xff" * 30, "not a value of schema 7"),
        (7, avro()[:-3], "not a value of schema 7"),
        (7, avro() + b"x", "bytes are left over"),
    ],
)
def test_what_cannot_be_decoded_is_refused(registry: SmallRegistry, number: int, value: bytes, words: str) -> None:
    """Each with what is wrong; cut anywhere, nothing raises."""
    decoder = RegistryDecoder(RegistrySection(url=registry.url), NativeDecoder())
    refusal = decoder.decode(framed(number, value))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, words in refusal.detail) == ("schema", True)
    for at in range(len(value)):
        decoder.decode(framed(number, value[:at]))
    assert decoder.owner(framed(number, value)) is None


def test_a_registry_that_is_away_or_broken_is_no_fault_of_the_record(registry: SmallRegistry) -> None:
    """The stage stands still, and goes on when the registry is back."""
    decoder = RegistryDecoder(RegistrySection(url=registry.url), NativeDecoder())
    for number, words in ((10, "schema 10 cannot be used"), (11, "answered 401")):
        with pytest.raises(ServiceError, match=words):
            decoder.decode(framed(number, b"x"))
    registry.paths["/schemas/ids/7"], kept = (503, {}), registry.paths["/schemas/ids/7"]
    with pytest.raises(ServiceError, match="answered 503"):
        decoder.decode(framed(7, avro()))
    registry.paths["/schemas/ids/7"] = kept
    assert isinstance(decoder.decode(framed(7, avro())), DecodedEvent)
    nowhere = RegistryDecoder(RegistrySection(url="http://127.0.0.1:1"), NativeDecoder())
    with pytest.raises(ServiceError, match="cannot be reached"):
        nowhere.decode(framed(7, avro()))


def test_configuration(registry: SmallRegistry) -> None:
    """A registry stands before the decoder of the format where one is configured."""
    assert isinstance(
        decoder_of_topics(Config(kafka=KafkaSection(registry=RegistrySection(url=registry.url)))), RegistryDecoder
    )
    assert isinstance(decoder_of_topics(Config()), NativeDecoder)
