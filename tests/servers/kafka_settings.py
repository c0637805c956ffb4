"""The settings of a local broker, as Kafka reads them (``server.properties``).

Paths are relative to the broker's folder, in which it runs, so no path ever needs quoting.
"""

import re
from collections.abc import Mapping

from tests.servers import tls

_WORD = re.compile(r"[A-Za-z0-9_.-]+")  # what needs no quoting in any of the three syntaxes it is put into
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
    "log.dirs": "data",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker is let in again only when the session of its former life is over; 9 seconds are the default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}

_SECURE_SETTINGS = {
    "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
    "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required;",
    "ssl.keystore.type": "PKCS12",
    "ssl.keystore.location": tls.KEYSTORE,
    "ssl.keystore.password": tls.KEYSTORE_WORD,
    "ssl.key.password": tls.KEYSTORE_WORD,
}


def check_users(users: Mapping[str, str]) -> None:
    """Raise `ValueError` if a name or a password holds anything but letters, digits and ``_.-``."""
    for word in (*users, *users.values()):
        if not _WORD.fullmatch(word):
            raise ValueError(f"names and passwords of a local broker hold letters, digits and _.- only, not {word!r}")


def server_properties(ports: Mapping[str, int], users: Mapping[str, str], extra: Mapping[str, str]) -> str:
    """Return the text of ``server.properties`` for listeners by name on `ports`, `users` by name, and `extra` settings.

    >>> print(server_properties({"PLAINTEXT": 9092, "CONTROLLER": 9093}, {}, {}).splitlines()[-1])
    listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
    """
    settings = _SETTINGS | {
        # Named here and not in the storage, so that the same data can be served on other ports.
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "listeners": ",".join(f"{listener}://127.0.0.1:{port}" for listener, port in ports.items()),
    }
    if users:
        accounts = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        settings |= _SECURE_SETTINGS
        settings["listener.name.sasl_ssl.plain.sasl.jaas.config"] = f"{_PLAIN} required {accounts};"
    return "".join(f"{key}={value}\n" for key, value in (settings | dict(extra)).items())


def scram_options(users: Mapping[str, str]) -> list[str]:
    """Return the options of Kafka's storage tool that make `users` known for SCRAM."""
    made = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in users.items()]
    return [word for user in made for word in ("--add-scram", user)]
