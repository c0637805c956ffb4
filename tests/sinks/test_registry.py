"""What every sink of the registry must do, whatever its kind.

A new one needs a line in `tables` here. One that writes to this machine is named in `LOCAL`, one that no answer is due to in
`SILENT`.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from detector import sinks
from detector.config import Config, DeliverySection, DeliveryTable, ElasticsearchSection, load
from detector.errors import ConfigError, DeliveryError, RefusedError, RetryableError
from detector.sinks.delivery import Delivery, DeliveryBatch
from detector.sinks.message import Document, Message
from detector.sinks.receiver import DeliveryRecord, Receiver
from detector.sinks.registry import KINDS, SECTIONS, receiver, receivers
from detector.sinks.sample import sample_alert, sample_decision

SECRET = "hush-hush-hush-hush"
LIMIT_S = 0.5
PATIENCE_S = 60.0

LOCAL = {"file": "lines"}  # what of the folder cannot be written once it is a folder itself
SILENT = {"file", "syslog"}  # neither waits for an answer

Tables = Mapping[str, dict[str, Any]]


class Mute:
    """A server that takes connections and says nothing."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._open.append(self.listener.accept()[0])

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(PATIENCE_S)
        for connection in self._open:
            connection.close()


@pytest.fixture
def mute() -> Iterator[Mute]:
    """Return a server that never answers."""
    server = Mute()
    yield server
    server.close()


def tables(port: int, folder: Path) -> Tables:
    """Return for each kind the least that has to be set, for a receiver at a port of this machine."""
    url = f"http://127.0.0.1:{port}"
    return {
        "elasticsearch": {"hosts": url},
        "file": {"path": str(folder / "lines")},
        "splunk": {"url": url, "secret": SECRET},
        "syslog": {"address": f"127.0.0.1:{port}", "transport": "tcp"},
        "webhook": {"url": url, "secret": SECRET},
    }


def ready(kind: str, port: int, folder: Path, **settings: Any) -> Receiver:
    """Return a receiver of a kind."""
    return receiver(DeliveryTable.model_validate({"name": "siem", "kind": kind} | tables(port, folder)[kind] | settings))


def samples() -> list[Document]:
    """Return an alert and a decision."""
    return [sample_alert(), sample_decision()]


kinds = pytest.mark.parametrize("kind", sorted(KINDS))


def test_every_kind_is_tried(tmp_path: Path) -> None:
    """The tables above name every kind of the registry, and each section bears its kind."""
    assert set(tables(1, tmp_path)) == set(KINDS)
    assert {kind: section.model_fields["kind"].default for kind, section in SECTIONS.items()} == {kind: kind for kind in KINDS}
    assert all(issubclass(section, DeliverySection) for section in SECTIONS.values())


def test_every_module_is_registered() -> None:
    """A sink that lies in the folder and is not in the registry would not be checked, nor found."""
    folder = Path(str(sinks.__file__)).parent
    written = {file.stem for file in folder.glob("*.py") if "\nSINK = SinkKind(" in file.read_text(encoding="utf-8")}
    assert written == set(KINDS)


@kinds
def test_it_is_built_of_the_least_that_is_set(tmp_path: Path, deaf_port: int, kind: str) -> None:
    """A table of a file makes a receiver; what is missing, or does not belong there, is named with its line."""
    path = tmp_path / "detector.toml"

    def write(**more: Any) -> None:
        given = {"name": "siem", "kind": kind} | tables(deaf_port, tmp_path)[kind] | more
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())
        path.write_text(f"[[deliveries]]\n{lines}", encoding="utf-8")

    write()
    config = load(path, lambda: SECTIONS)
    [section] = config.deliveries
    assert type(section) is KINDS[kind].section
    [made] = receivers(config)
    assert (made.name, made.wants("alert"), made.wants("decision")) == ("siem", True, True)
    write(colour="red")
    with pytest.raises(
        ConfigError, match=r"detector\.toml:\d+: deliveries\.0\.colour: there is no such key; known here: .*kind"
    ):
        load(path, lambda: SECTIONS)
    write(timeout_seconds=0)
    with pytest.raises(ConfigError, match=r"deliveries\.0\.timeout_seconds"):
        load(path, lambda: SECTIONS)


@kinds
@pytest.mark.parametrize("checked", [True, False])
def test_no_secret_is_shown(tmp_path: Path, deaf_port: int, kind: str, checked: bool) -> None:
    """Neither of a section nor of a table that its kind has not checked; and the log is told what to mask."""
    fields = set(SECTIONS[kind].model_fields)
    secret = next((name for name in ("secret", "api_key") if name in fields), None)
    if secret is None:
        pytest.skip("it logs in with nothing")
    given = {"name": "siem", "kind": kind} | tables(deaf_port, tmp_path)[kind] | {secret: SECRET}
    section = SECTIONS[kind].model_validate(given) if checked else DeliveryTable.model_validate(given)
    config = Config(deliveries=(section,))
    told = json.dumps(config.shown()) + repr(config) + str(config) + repr(section)
    assert SECRET not in told
    assert "siem" in told
    if checked:
        assert SECRET in config.delivery_secrets()


@kinds
def test_a_secret_that_cannot_be_read_is_told_before_anything_is_sent(tmp_path: Path, deaf_port: int, kind: str) -> None:
    """Building it says which file is missing."""
    names = [name for name in ("secret_file", "api_key_file", "ca_file") if name in SECTIONS[kind].model_fields]
    for name in names:
        settings: dict[str, Any] = {name: str(tmp_path / "missing")}
        if name == "secret_file":
            settings["secret"] = None
        if name == "ca_file":
            settings |= {
                key: value.replace("http:", "https:")
                for key, value in tables(deaf_port, tmp_path)[kind].items()
                if "http" in value
            }
            settings |= {"transport": "tls"} if kind == "syslog" else {}
        with pytest.raises(ConfigError, match="missing"):
            ready(kind, deaf_port, tmp_path, **settings)


@kinds
def test_it_renders_an_alert_and_a_decision(tmp_path: Path, deaf_port: int, kind: str) -> None:
    """Each becomes one line with its own id, the same from the document and from its bytes; what is not meant for it is not."""
    made = ready(kind, deaf_port, tmp_path)
    found = []
    for document in samples():
        record = DeliveryRecord.of(document)
        message = made.message(record)
        assert message is not None
        again = made.message(DeliveryRecord(record.kind, record.data))
        assert again is not None
        assert (again.id, again.body) == (message.id, message.body)
        assert message.body
        assert b"\n" not in message.body
        assert message.kind == record.kind
        found.append(message.id)
    assert len(set(found)) == 2
    quiet = ready(kind, deaf_port, tmp_path, min_severity="high")
    assert quiet.message(DeliveryRecord.of(sample_alert(severity="low"))) is None
    assert quiet.message(DeliveryRecord.of(sample_alert(severity="high"))) is not None
    only = ready(kind, deaf_port, tmp_path, send="decisions")
    assert only.message(DeliveryRecord.of(sample_alert())) is None
    with pytest.raises(DeliveryError):
        made.message(DeliveryRecord("alert", b"[]"))


def batch(made: Receiver) -> list[Message]:
    """Return the samples as a receiver is sent them."""
    return [message for document in samples() if (message := made.message(DeliveryRecord.of(document))) is not None]


def fault_of(way: Delivery, messages: list[Message]) -> RetryableError:
    """Return why messages are left, however the sink says it; fail when they are not."""
    load = DeliveryBatch(messages, len(messages))
    with pytest.raises(RetryableError) as caught:
        load.push(way, lambda message, why: pytest.fail(f"{message.id}: {why}"))
    assert load.left == messages
    return caught.value


@kinds
def test_one_that_is_away_is_tried_again(tmp_path: Path, deaf_port: int, kind: str) -> None:
    """Nobody listens: everything is left, the sentence says where, and closing and beginning again is no harm."""
    if kind in LOCAL:
        (tmp_path / LOCAL[kind]).mkdir()
    made = ready(kind, deaf_port, tmp_path)
    for _ in range(2):
        way = made.open()
        way.doubt()
        told = str(fault_of(way, batch(made)))
        assert (str(tmp_path / LOCAL[kind]) if kind in LOCAL else f"127.0.0.1:{deaf_port}") in told
        assert SECRET not in told
        way.close()
        way.close()


@kinds
def test_an_attempt_ends(tmp_path: Path, mute: Mute, kind: str) -> None:
    """Whoever takes the connection and says nothing has one deadline, or, where no answer is due, the messages."""
    made = ready(kind, mute.port, tmp_path, timeout_seconds=LIMIT_S)
    way = made.open()
    began = time.monotonic()
    if kind in SILENT:
        assert way.deliver(batch(made)) is None
    else:
        fault_of(way, batch(made))
    assert time.monotonic() - began < PATIENCE_S / 2
    way.close()


@kinds
@pytest.mark.parametrize("status", [200, 400, 413, 429, 503])
def test_it_survives_every_answer(
    tmp_path: Path, web_receiver: Callable[..., Any], deaf_port: int, kind: str, status: int
) -> None:
    """Taken, refused for good or left: each message comes to one of these, once, and none is lost."""
    over_http = "http" in str(tables(deaf_port, tmp_path)[kind])
    port = deaf_port
    if over_http:
        server = web_receiver()
        server.answer = lambda *_: (status, b"{}", {"x-elastic-product": "Elasticsearch", "content-type": "application/json"})
        port = int(server.url.rsplit(":", 1)[1].strip("/"))
    made = ready(kind, port, tmp_path)
    messages = batch(made)
    load = DeliveryBatch(messages, made.at_once)
    refused: list[Message] = []
    way = made.open()
    with suppress(RetryableError):
        load.push(way, lambda message, _why: refused.append(message))
    way.close()
    assert {id(message) for message in (*load.left, *refused)} <= {id(message) for message in messages}
    through = len(messages) - len(load.left) - len(refused)
    assert through >= 0
    if over_http and status in {429, 503}:
        assert load.left == messages
    if kind in {"splunk", "webhook"} and status == 413:
        assert refused == messages


def test_the_errors_say_whose_they_are(tmp_path: Path) -> None:
    """What is wrong in a table names the delivery."""
    for table in (
        {"name": "nest", "kind": "pigeon"},
        {"name": "nest", "kind": "webhook", "url": f"https://x:{SECRET}@y", "secret": SECRET},
        {"name": "nest", "kind": "webhook", "url": "https://x", "secret": "short"},
        {"name": "nest", "kind": "splunk", "url": "https://x", "secret": "token", "ca_file": str(tmp_path / "none")},
    ):
        with pytest.raises(ConfigError, match="delivery 'nest': ") as caught:
            receiver(DeliveryTable.model_validate(table))
        assert SECRET not in str(caught.value)


def test_elasticsearch_is_one_of_them(tmp_path: Path) -> None:
    """`[elasticsearch]` defines the delivery of that name, which no other may bear; a table can name a second one."""
    config = Config(
        elasticsearch=ElasticsearchSection(hosts=("http://h:1",), namespace="a", username="u", password=SECRET),
        deliveries=(DeliveryTable(name="other", kind="elasticsearch", hosts="http://h:2", namespace="b"),),
    )
    assert [made.name for made in receivers(config)] == ["elasticsearch", "other"]
    assert SECRET in config.delivery_secrets()
    assert SECRET not in json.dumps(config.shown()) + repr(config)
    assert receivers(Config()) == []
    with pytest.raises(ValueError, match=r"the name of that of \[elasticsearch\]"):
        Config(
            elasticsearch=ElasticsearchSection(hosts=("http://h:1",)),
            deliveries=(DeliveryTable(name="elasticsearch", kind="file", path=tmp_path),),
        )


def test_both_ways_to_say_no() -> None:
    """A refusal for good is no fault that passes, and both are errors of a delivery."""
    assert not issubclass(RefusedError, RetryableError)
    assert issubclass(RefusedError, DeliveryError)
    assert issubclass(RetryableError, DeliveryError)
