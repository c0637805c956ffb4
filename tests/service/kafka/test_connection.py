"""Connections that cannot be: each cause has a sentence of its own, which names the setting to change."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from detector.config import KafkaSection
from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from tests.servers.kafka import LocalBroker

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def guarded(secured_broker: Callable[..., LocalBroker]) -> LocalBroker:
    """Return a broker that wants TLS and a login."""
    return secured_broker()


def _section(broker: LocalBroker, **changes: Any) -> KafkaSection:
    settings: dict[str, Any] = {
        "bootstrap_servers": (broker.secure_bootstrap,),
        "security_protocol": "SASL_SSL",
        "username": "detector",
        "password": SecretStr("right"),
        "ca_file": broker.ca_file,
    }
    return KafkaSection(**settings | changes)


def _enters(section: KafkaSection) -> None:
    with contextlib.closing(Connection(section).admin()) as admin:
        admin.list_topics()


def _refused(section: KafkaSection) -> str:
    with pytest.raises(ServiceError) as refused:
        Connection(section).admin()
    return str(refused.value)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_login(guarded: LocalBroker, mechanism: str) -> None:
    """The right password lets in, by either mechanism."""
    _enters(_section(guarded, sasl_mechanism=mechanism))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
@pytest.mark.parametrize(("name", "password"), [("detector", "wrong-one"), ("nobody", "wrong-one")])
def test_wrong_login(guarded: LocalBroker, mechanism: str, name: str, password: str) -> None:
    """A wrong password or user is called one, with the user's name and the settings, and without the password."""
    said = _refused(_section(guarded, sasl_mechanism=mechanism, username=name, password=SecretStr(password)))
    assert f"answers but refuses user '{name}' by {mechanism}: check [kafka] username, password" in said
    assert password not in said


def test_mechanism_not_offered(guarded: LocalBroker) -> None:
    """A mechanism that the broker does not know is called that, with those it knows."""
    said = _refused(_section(guarded, sasl_mechanism="SCRAM-SHA-256"))
    assert "does not know SCRAM-SHA-256: set [kafka] sasl_mechanism to one of" in said
    assert "SCRAM-SHA-512" in said


def test_unknown_authority(guarded: LocalBroker) -> None:
    """A certificate that nobody vouches for is called that, with the setting that mends it."""
    assert "its certificate is not trusted" in (said := _refused(_section(guarded, ca_file=None)))
    assert "set [kafka] ca_file" in said


def test_certificate_of_another_name(guarded: LocalBroker) -> None:
    """A certificate for another host is refused, whoever signed it: 127.0.0.2 is this machine, too, but not in it."""
    with socket.socket() as door:
        door.bind(("127.0.0.2", 0))
        door.listen()
        where = f"127.0.0.2:{door.getsockname()[1]}"
        threading.Thread(target=_lead, args=(door, guarded.secure_bootstrap), daemon=True).start()
        assert "its certificate is not trusted (IP address mismatch" in _refused(_section(guarded, bootstrap_servers=(where,)))
        door.shutdown(socket.SHUT_RDWR)


def _lead(door: socket.socket, there: str) -> None:
    host, _, port = there.rpartition(":")
    with contextlib.suppress(OSError):
        while True:
            caller, _ = door.accept()
            broker = socket.create_connection((host, int(port)))
            for source, target in ((caller, broker), (broker, caller)):
                threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    source.close()


def test_no_tls_on_this_port(guarded: LocalBroker) -> None:
    """TLS on a port without it is called that."""
    said = _refused(_section(guarded, bootstrap_servers=(guarded.bootstrap,)))
    assert "does not speak TLS on this port" in said
    assert "security_protocol" in said


@pytest.mark.parametrize(
    ("protocol", "secure", "words"),
    [
        (
            "PLAINTEXT",
            True,
            "closes the connection on PLAINTEXT: does this port want TLS or SASL? See [kafka] security_protocol",
        ),
        (
            "SSL",
            True,
            "closes the connection on SSL: does this port want a login, too (SASL_SSL)? See [kafka] security_protocol",
        ),
        ("SASL_PLAINTEXT", False, "closes the connection on SASL_PLAINTEXT: does this port want neither TLS nor SASL?"),
    ],
)
def test_wrong_protocol(guarded: LocalBroker, protocol: str, secure: bool, words: str) -> None:
    """A port that wants another protocol leads to security_protocol."""
    where = guarded.secure_bootstrap if secure else guarded.bootstrap
    assert words in _refused(_section(guarded, bootstrap_servers=(where,), security_protocol=protocol))


class _Greeter(socketserver.BaseRequestHandler):
    """Answers whatever it is asked as a web server does."""

    def handle(self) -> None:
        self.request.recv(1)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_another_kind_of_server() -> None:
    """A port where something else answers is called that, and the setting is named."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Greeter) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        where = f"127.0.0.1:{server.server_address[1]}"
        said = _refused(KafkaSection(bootstrap_servers=(where,)))
        server.shutdown()
    assert f"what listens at {where} is no Kafka broker" in said
    assert "the port in [kafka] bootstrap_servers" in said


def test_nothing_listens() -> None:
    """A port where nothing listens is called that."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{held.getsockname()[1]}"
        said = _refused(KafkaSection(bootstrap_servers=(where,)))
        assert f"{where}: nothing listens there: check [kafka] bootstrap_servers" in said


def test_the_server_that_listens_is_asked(guarded: LocalBroker) -> None:
    """Of several servers the one that answers is asked for the cause, not the one that is down."""
    section = _section(guarded, bootstrap_servers=("127.0.0.1:1", guarded.secure_bootstrap), password=SecretStr("wrong-one"))
    assert f"Kafka at {guarded.secure_bootstrap} answers but refuses user" in _refused(section)


def test_unknown_host() -> None:
    """A host that nobody knows is called that."""
    assert "the host name 'no-such-host.invalid' is unknown" in _refused(
        KafkaSection(bootstrap_servers=("no-such-host.invalid:9092",))
    )


@pytest.mark.parametrize("where", ["kafka", ":9092", "kafka:"])
def test_no_port(where: str) -> None:
    """An address without a port, or without a host, is called that."""
    assert "lacks a port" in _refused(KafkaSection(bootstrap_servers=(where,)))


def test_bad_authority_file(guarded: LocalBroker, tmp_path: Path) -> None:
    """A ca_file that is missing or holds no certificate is named."""
    file = tmp_path / "ca.pem"
    assert f"[kafka] ca_file {file} cannot be used" in _refused(_section(guarded, ca_file=file))
    file.write_text("nothing")
    assert f"[kafka] ca_file {file} cannot be used" in _refused(_section(guarded, ca_file=file))


def test_password_from_a_file(guarded: LocalBroker, tmp_path: Path) -> None:
    """The password may lie in a file."""
    file = tmp_path / "password"
    file.write_text("right\n", encoding="utf-8")
    _enters(_section(guarded, password=None, password_file=file))
