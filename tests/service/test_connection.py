"""Connections that cannot be: each cause has a sentence of its own."""

import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from detector.config import KafkaSection
from detector.errors import ServiceError
from detector.local.kafka import LocalBroker
from detector.service import connection
from detector.service.connection import Connection

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def guarded(kafka_can_run: None) -> Iterator[LocalBroker]:  # noqa: ARG001
    """Return a broker that wants TLS and a login."""
    with LocalBroker(users={"detector": "right"}) as local:
        yield local


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(connection, "CONNECT_MS", 1500)
    yield
    gc.collect()  # what refused clients leave behind is to be found here, where the filters of these tests hold


def _section(broker: LocalBroker, **changes: Any) -> KafkaSection:
    settings: dict[str, Any] = {
        "bootstrap_servers": (broker.secure_bootstrap,),
        "security_protocol": "SASL_SSL",
        "username": "detector",
        "password": SecretStr("right"),
        "ca_file": broker.ca_file,
    }
    return KafkaSection(**settings | changes)


def _refused(section: KafkaSection) -> str:
    with pytest.raises(ServiceError) as refused:
        Connection(section).admin()
    return str(refused.value)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_login(guarded: LocalBroker, mechanism: str) -> None:
    """The right password lets in, by either mechanism."""
    admin = Connection(_section(guarded, sasl_mechanism=mechanism)).admin()
    admin.list_topics()
    admin.close()


def test_wrong_password(guarded: LocalBroker) -> None:
    """A wrong password is called one, with the user's name and without the password."""
    said = _refused(_section(guarded, password=SecretStr("wrong-one")))
    assert "answers but refuses user 'detector' by SCRAM-SHA-512" in said
    assert "wrong-one" not in said


def test_unknown_authority(guarded: LocalBroker) -> None:
    """A certificate that nobody vouches for is called that, with the setting that mends it."""
    assert "its certificate is not trusted" in (said := _refused(_section(guarded, ca_file=None)))
    assert "ca_file" in said


def test_no_tls_on_this_port(guarded: LocalBroker) -> None:
    """TLS on a port without it is called that."""
    assert "does not speak TLS on this port" in _refused(_section(guarded, bootstrap_servers=(guarded.bootstrap,)))


def test_tls_wanted(guarded: LocalBroker) -> None:
    """A port that wants TLS, used without, leads to security_protocol."""
    said = _refused(KafkaSection(bootstrap_servers=(guarded.secure_bootstrap,)))
    assert "does this port want TLS or SASL? See security_protocol" in said


def test_nothing_listens() -> None:
    """A port where nothing listens is called that."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{held.getsockname()[1]}"
        assert f"{where}: nothing listens there" in _refused(KafkaSection(bootstrap_servers=(where,)))


def test_unknown_host() -> None:
    """A host that nobody knows is called that."""
    assert "the host name 'no-such-host.invalid' is unknown" in _refused(
        KafkaSection(bootstrap_servers=("no-such-host.invalid:9092",))
    )


def test_no_port() -> None:
    """An address without a port is called that."""
    assert "lacks a port" in Connection(KafkaSection(bootstrap_servers=("kafka",))).explain(OSError())


def test_password_from_a_file(guarded: LocalBroker, tmp_path: Path) -> None:
    """The password may lie in a file."""
    file = tmp_path / "password"
    file.write_text("right\n", encoding="utf-8")
    admin = Connection(_section(guarded, password=None, password_file=file)).admin()
    admin.list_topics()
    admin.close()
