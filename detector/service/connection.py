"""Connections to Kafka: one place that turns settings into clients, and failures into sentences."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.base import MemberState

from detector.config import KafkaSection
from detector.errors import ServiceError
from detector.service.topics import LARGEST_RECORD

T = TypeVar("T")
CONNECT_MS = 10_000
HEARTBEAT_MS = 1000  # the other members hear of a newcomer with their next heartbeat


class Connection:
    """Makes the clients of one process, all with the same settings."""

    def __init__(self, section: KafkaSection) -> None:
        self._section = section
        self._common: dict[str, Any] = {
            "bootstrap_servers": list(section.bootstrap_servers),
            "security_protocol": section.security_protocol,
        }
        if section.ca_file is not None:
            self._common["ssl_cafile"] = str(section.ca_file)
        if section.security_protocol.startswith("SASL"):
            self._common["sasl_mechanism"] = section.sasl_mechanism
            self._common["sasl_plain_username"] = section.username
            self._common["sasl_plain_password"] = section.secret()

    def admin(self) -> KafkaAdminClient:
        """Return an admin client."""
        return self._made(lambda: KafkaAdminClient(**self._common, bootstrap_timeout_ms=CONNECT_MS))

    def consumer(self, *, group: str | None = None, member: str | None = None, **settings: Any) -> KafkaConsumer:
        """Return a consumer that commits nothing by itself and sees no aborted transactions."""
        session_ms = int(self._section.session_seconds * 1000)
        consumer = self._made(
            lambda: KafkaConsumer(
                **self._common,
                group_id=group,
                group_instance_id=member,
                enable_auto_commit=False,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                partition_assignment_strategy=[CooperativeStickyAssignor()],
                max_partition_fetch_bytes=2 * LARGEST_RECORD,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=CONNECT_MS,
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=min(HEARTBEAT_MS, session_ms // 3),
                **settings,
            )
        )
        _keep_joins(consumer)
        return consumer

    def producer(self, *, transactional_id: str | None = None, **settings: Any) -> KafkaProducer:
        """Return a producer whose writes are acknowledged by all replicas and never doubled by its own retries."""
        return self._made(
            lambda: KafkaProducer(
                **self._common,
                transactional_id=transactional_id,
                acks="all",
                enable_idempotence=True,
                compression_type=None if self._section.compression == "none" else self._section.compression,
                max_request_size=LARGEST_RECORD,
                bootstrap_timeout_ms=CONNECT_MS,
                **settings,
            )
        )

    @staticmethod
    def drop(producer: KafkaProducer) -> None:
        """Close a producer at once; what it has not sent is never sent.

        The client's own `close` raises while something is on its way, and its thread would go on sending.
        """
        producer._sender.force_close()  # noqa: SLF001  # there is no public way
        with suppress(kafka_errors.KafkaError):
            producer.close(timeout=1)

    def _made(self, make: Callable[[], T]) -> T:
        # A client that cannot be made leaves a thread behind, and an outage is long: so no client is made during one.
        if self._section.bootstrap_servers and not any(map(_listens, self._section.bootstrap_servers)):
            raise ServiceError(self.explain(ConnectionError("no server can be reached")))
        try:
            return make()
        except (kafka_errors.KafkaError, OSError, ValueError, AssertionError) as error:
            raise ServiceError(self.explain(error)) from error

    def explain(self, error: BaseException) -> str:
        """Say in a sentence why the broker cannot be used; asks the first address itself, since the client hides the cause."""
        where = self._section.bootstrap_servers[0]
        host, _, port = where.rpartition(":")
        host = host.strip("[]")
        if not port.isdigit():
            return f"Kafka address {where!r} lacks a port: write it as host:9092"
        try:
            with socket.create_connection((host, int(port)), timeout=5) as plain:
                if "SSL" not in self._section.security_protocol:
                    return self._beyond_the_line(where, error)
                context = ssl.create_default_context(cafile=self._section.ca_file)
                with context.wrap_socket(plain, server_hostname=host):
                    return self._beyond_the_line(where, error)
        except ssl.SSLCertVerificationError as fault:
            return (
                f"Kafka at {where}: its certificate is not trusted ({fault.verify_message}): set [kafka] ca_file to the "
                "certificate of the authority that signed it"
            )
        except ssl.SSLError as fault:
            return f"Kafka at {where} does not speak TLS on this port ({fault.reason}): check the port and security_protocol"
        except socket.gaierror:
            return f"Kafka at {where}: the host name {host!r} is unknown"
        except ConnectionRefusedError:
            return f"Kafka at {where}: nothing listens there: check host and port, and that the broker runs"
        except (TimeoutError, OSError) as fault:
            return f"Kafka at {where} cannot be reached: {fault}"

    def _beyond_the_line(self, where: str, error: BaseException) -> str:
        section = self._section
        if section.security_protocol.startswith("SASL"):
            return (
                f"Kafka at {where} answers but refuses user {section.username!r} by {section.sasl_mechanism}: check user, "
                f"password and sasl_mechanism ({error})"
            )
        return (
            f"Kafka at {where} answers, but not as expected ({error}): does this port want TLS or SASL? See security_protocol"
        )


def _listens(where: str) -> bool:
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError):
        return False
    return True


def _keep_joins(consumer: KafkaConsumer) -> None:
    """Let a consumer use a join to its group that completes between two polls, as most do when polls are short.

    kafka-python 3.0.12 throws that away and joins again; then the others have to join again, too, and a group hardly settles.
    So what came of a join is kept until the client has taken it, which its state tells. And a leader that joins because the
    topics changed forgets that it joins, and keeps its former partitions for ever: so it is reminded.
    """
    coordinator = consumer._coordinator  # noqa: SLF001  # there is no public way
    join = coordinator._do_join_and_sync_async  # noqa: SLF001
    kept: list[Any] = []

    async def join_once() -> Any:
        if coordinator.state is not MemberState.REBALANCING:
            kept.clear()
        coordinator.request_rejoin()  # until it is done
        if not kept:
            kept.append(await join())
        return kept[-1]

    coordinator._do_join_and_sync_async = join_once  # noqa: SLF001
