"""A real broker, through the client that the service uses."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from detector.errors import ServerError
from tests.servers.cache import cache_folder
from tests.servers.kafka import LocalBroker
from tests.servers.process import is_running

pytestmark = pytest.mark.broker

Start = Callable[..., LocalBroker]


def _create(broker: LocalBroker, topic: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        admin.create_topics({topic: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True)


def _produce(topic: str, values: list[bytes], **how: Any) -> None:
    with closing(KafkaProducer(**how)) as producer:
        for sent in [producer.send(topic, value) for value in values]:
            sent.get(timeout=20)


def _consume(topic: str, count: int, **how: Any) -> list[bytes]:
    with closing(KafkaConsumer(topic, auto_offset_reset="earliest", consumer_timeout_ms=20_000, **how)) as consumer:
        return sorted(record.value for _, record in zip(range(count), consumer, strict=False))


def _at(broker: LocalBroker) -> dict[str, Any]:
    return {"bootstrap_servers": broker.bootstrap}


def _secure(broker: LocalBroker, mechanism: str, password: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": broker.secure_bootstrap,
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(broker.ca_file),
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "ann",
        "sasl_plain_password": password,
    }


def test_what_was_acknowledged_survives_a_restart_and_a_crash(local_broker: Start) -> None:
    """Records are there after an orderly restart and after a kill, at the same address; at the end nothing is left."""
    broker = local_broker()
    address, folder, first = broker.bootstrap, broker.folder, broker.process_id
    _create(broker, "log")
    _produce("log", [b"a", b"b"], **_at(broker))
    assert _consume("log", 2, **_at(broker)) == [b"a", b"b"]

    broker.restart()
    assert broker.bootstrap == address
    assert broker.process_id != first
    _produce("log", [b"c"], **_at(broker))
    assert _consume("log", 3, **_at(broker)) == [b"a", b"b", b"c"]

    broker.kill()
    assert broker.process_id is None
    broker.start()
    assert _consume("log", 3, group_id="after", **_at(broker)) == [b"a", b"b", b"c"]

    last = broker.process_id
    assert last is not None
    broker.close()
    assert not is_running(last, "kafka.Kafka")
    assert not folder.exists()


def _is_refused(**how: Any) -> bool:
    try:
        KafkaAdminClient(bootstrap_timeout_ms=1_500, **how).close()
    except KafkaError:
        return True
    return False


def test_only_who_knows_the_password_is_let_in(local_broker: Start) -> None:
    """By both mechanisms; and the certificate is good for this machine and for no other name."""
    broker = local_broker(users={"ann": "right", "bob": "other"})
    _create(broker, "log")
    _produce("log", [b"a"], **_secure(broker, "SCRAM-SHA-512", "right"))
    assert _consume("log", 1, **_secure(broker, "PLAIN", "right")) == [b"a"]
    assert not _is_refused(**_secure(broker, "SCRAM-SHA-512", "right"))
    assert _is_refused(**_secure(broker, "SCRAM-SHA-512", "wrong"))
    assert _is_refused(**_secure(broker, "PLAIN", "other"))
    _produce("log", [b"b"], **_at(broker))
    assert _consume("log", 2, **_at(broker)) == [b"a", b"b"]

    address = broker.secure_bootstrap.split(":")
    trusting = ssl.create_default_context(cafile=broker.ca_file)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python does by itself from 3.13 on
    for name in ("127.0.0.1", "localhost"):
        with socket.create_connection((address[0], int(address[1]))) as raw, trusting.wrap_socket(raw, server_hostname=name):
            pass
    for context, name in ((ssl.create_default_context(), "localhost"), (trusting, "example.org")):
        with socket.create_connection((address[0], int(address[1]))) as raw, pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(raw, server_hostname=name)


def test_what_stands_in_the_way_of_a_start_is_said(local_broker: Start, tmp_path: Path) -> None:
    """A preferred port that is taken gives way; a folder in use is refused; a wrong setting is told in Kafka's own words."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        broker = local_broker(folder=tmp_path, port=port)
        assert broker.bootstrap != f"127.0.0.1:{port}"
    with pytest.raises(ServerError, match="already"):
        LocalBroker(tmp_path).start()
    broker.stop()
    broken = LocalBroker(tmp_path, settings={"log.retention.ms": "soon"})
    with pytest.raises(ServerError, match=r"ended while it started:\n(.*\n)*.*soon"):
        broken.start()
    assert broken.process_id is None


@pytest.mark.usefixtures("kafka_can_run")
def test_the_command_line_starts_one_that_stays(tmp_path: Path) -> None:
    """Up, up again, status and down, each in a process of its own; the address is all that standard output gets."""
    jars = cache_folder("maven")
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "maven").symlink_to(jars)  # they need not be fetched again
    cache = {"XDG_CACHE_HOME": str(tmp_path)}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "tests.servers.kafka", *words],
            env=os.environ | cache,
            capture_output=True,
            text=True,
            check=False,
        )

    with ExitStack() as after:
        after.callback(run, "down", "--delete")
        assert run("status").returncode == 1
        up = run("up")
        assert up.returncode == 0, up.stderr
        again = run("up")
        assert again.stdout == up.stdout
        assert "already" in again.stderr
        assert run("status").stdout == up.stdout
        with closing(KafkaAdminClient(bootstrap_servers=up.stdout.strip())) as admin:
            assert admin.list_topics() == []
        assert run("down").returncode == 0
        assert run("status").returncode == 1
        assert (tmp_path / "detector" / "kafka" / "data").exists()
    assert not (tmp_path / "detector" / "kafka").exists()
