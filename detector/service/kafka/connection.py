"""Connections to Kafka: settings become clients here, and errors become messages.

A `reader` or a `writer` is of the client that the configuration names, behind `clients.protocol`; the stages use these. An
`admin`, a `consumer` and a `producer` are kafka-python's own: commands use them, and readers for what librdkafka does not do.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from detector.config import KafkaSection
from detector.errors import BrokerError, FatalError, ServiceError
from detector.service.kafka import unpacking
from detector.service.kafka.clients import confluent_settings
from detector.service.kafka.clients.confluent_reader import Beside, ConfluentReader
from detector.service.kafka.clients.confluent_writer import ConfluentWriter
from detector.service.kafka.clients.faults import ours
from detector.service.kafka.clients.kafka_python import PythonReader, PythonWriter, dropped, mended
from detector.service.kafka.clients.protocol import Reader, TransactionalWriter, Writer
from detector.service.kafka.handshake import Fault, fault
from detector.service.kafka.oauth import Tokens
from detector.service.kafka.topics import LARGEST_RECORD, partitions_of

T = TypeVar("T")
CONNECT_MS = 10_000
BATCH_BYTES: Final = 256 * 1024  # that a writer sends at once, where nobody says otherwise
STATE_BYTES: Final = 256 * 1024  # of a transaction: one client's state fills kafka-python's default of 16 KiB
FETCH_BYTES = 1024 * 1024  # per partition and fetch; a larger record still comes, alone. Larger fetches take twice the time
FETCHES_BYTES = LARGEST_RECORD  # per broker and fetch, compressed; for the decompressed size see `unpacking`
HEARTBEAT_MS = 1000  # a rebalance starts with the members' next heartbeat, so it should be short


class Connection:
    """Makes the clients of one process, all with the same settings; `client_id` identifies it to the group."""

    def __init__(self, section: KafkaSection, client_id: str | None = None) -> None:
        self.native = section.client == "confluent" or (section.client == "auto" and confluent_settings.installed())
        """Whether readers and writers are librdkafka's."""
        self._section = section
        self._client_id = client_id
        self._common: dict[str, Any] = {
            "bootstrap_servers": list(section.bootstrap_servers),
            "security_protocol": section.security_protocol,
        }
        if section.ca_file is not None:
            self._common["ssl_cafile"] = str(section.ca_file)
        self._login: dict[str, Any] = {}
        self._tokens: Tokens | None = None
        if section.security_protocol.startswith("SASL") and section.sasl_mechanism == "OAUTHBEARER":
            self._tokens = Tokens(section.oauth)
            self._login = {"sasl_oauth_token_provider": self._tokens}
        elif section.security_protocol.startswith("SASL"):
            self._login = {"sasl_plain_username": section.username, "sasl_plain_password": section.secret()}
        if self._login:
            self._login["sasl_mechanism"] = section.sasl_mechanism
            self._common |= self._login

    def admin(self) -> KafkaAdminClient:
        """Return an admin client."""
        return self._made(lambda: KafkaAdminClient(**self._common, bootstrap_timeout_ms=CONNECT_MS))

    def consumer(self, *, group: str | None = None, member: str | None = None, **settings: Any) -> KafkaConsumer:
        """Return a consumer that commits nothing by itself and sees no aborted transactions."""
        session_ms = int(self._section.session_seconds * 1000)
        named = {} if self._client_id is None else {"client_id": self._client_id}
        consumer = self._made(
            lambda: KafkaConsumer(
                **self._common,
                **named,
                group_id=group,
                group_instance_id=member,
                enable_auto_commit=False,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                partition_assignment_strategy=[CooperativeStickyAssignor()],
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_bytes=FETCHES_BYTES,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=CONNECT_MS,
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=min(HEARTBEAT_MS, session_ms // 3),
                **settings,
            )
        )
        unpacking.bound(consumer)
        return mended(consumer)

    def reader(
        self, *, group: str | None = None, member: str | None = None, max_poll_records: int, fetch_max_wait_ms: int
    ) -> Reader:
        """Return a reader of the client that the configuration names; `member` makes it a static member of its `group`."""
        if not self.native:
            settings = {
                "max_poll_records": max_poll_records,
                "fetch_max_wait_ms": fetch_max_wait_ms,
                "metadata_max_age_ms": confluent_settings.METADATA_MS,
            }
            return PythonReader(self.consumer(group=group, member=member, **settings), static=member is not None)
        options = confluent_settings.of_reader(
            self._section, self._tokens, self._client_id, group=group, member=member, fetch_max_wait_ms=fetch_max_wait_ms
        )
        beside = Beside(partial(self.consumer, max_poll_records=1, fetch_max_wait_ms=50), partial(self._complete, group or ""))
        return self._made(lambda: ConfluentReader(options, max_poll_records, beside))

    @property
    def bounded(self) -> "Connection":
        """The connection for reading topics that others write to: of what they pack it unpacks `LARGEST_BATCH` at most.

        librdkafka unpacks gzip without a limit, so it reads such topics only where the configuration names it.
        """
        if not self.native or self._section.client == "confluent":
            return self
        return Connection(self._section.model_copy(update={"client": "kafka-python"}), self._client_id)

    def writer(self, *, linger_ms: int, batch_bytes: int = BATCH_BYTES) -> Writer:
        """Return a writer of the client that the configuration names."""
        if not self.native:
            return PythonWriter(self.producer(linger_ms=linger_ms))
        options = confluent_settings.of_writer(
            self._section, self._tokens, self._client_id, linger_ms=linger_ms, batch_bytes=batch_bytes
        )
        return self._made(lambda: ConfluentWriter(options))

    def transactional_writer(self, name: str, timeout_ms: int) -> TransactionalWriter:
        """Return a writer of transactions under `name`, which the broker ends after `timeout_ms`; it has to be started."""
        if not self.native:
            settings = {
                "transaction_timeout_ms": timeout_ms,
                "batch_size": STATE_BYTES,
                "linger_ms": confluent_settings.LINGER_MS,
            }
            return PythonWriter(self.producer(transactional_id=name, **settings))
        options = confluent_settings.of_transactions(
            self._section, self._tokens, self._client_id, name=name, timeout_ms=timeout_ms, batch_bytes=STATE_BYTES
        )
        return self._made(lambda: ConfluentWriter(options))

    def _complete(self, group: str, topics: Collection[str]) -> bool | None:
        """Return whether each partition of `topics` has a member in `group`; None while the group does not rest."""
        with ours():
            admin = self.admin()
            try:
                described = admin.describe_groups([group])[group]
                counts = partitions_of(admin, list(topics))
            finally:
                admin.close()
        if described["group_state"] != "Stable":
            return None
        given = {
            (topic["topic"], number)
            for member in described["members"]
            for topic in (member["member_assignment"] or {}).get("assigned_partitions", ())
            for number in topic["partitions"]
        }
        return given >= {(topic, number) for topic, count in counts.items() for number in range(count)}

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
        """Close one of kafka-python's producers at once; unsent records are dropped."""
        dropped(producer)

    def _made(self, make: Callable[[], T]) -> T:
        # A client that cannot connect retries for long, hides the cause and leaves a thread behind: so we probe first.
        self._probe()
        try:
            return make()
        except (kafka_errors.KafkaError, BrokerError, OSError, ValueError, AssertionError) as error:
            where = ", ".join(self._section.bootstrap_servers)
            raise ServiceError(f"Kafka at {where} accepts our login, but the client cannot connect: {error}") from error

    def _probe(self) -> None:
        """Raise `ServiceError` unless one of the servers can be used; the fault of one that answers comes first."""
        worst: Fault | None = None
        for where in self._section.bootstrap_servers:
            found = fault(self._section, where, self._login)
            if found is None:
                return
            worst = found if worst is None or (found.answers and not worst.answers) else worst
        if worst is not None:
            raise ServiceError(worst.sentence)

    def failure(self, error: BaseException, what: str) -> ServiceError:
        """Return the error to raise for a client error; `what` begins its message.

        For a missing permission that is a `FatalError`, which says what to grant and to whom.
        """
        denied = _denial(error)
        if denied is None:
            return ServiceError(f"{what}: {error}")
        section = self._section
        who = "the owner of our token" if section.sasl_mechanism == "OAUTHBEARER" else f"user {section.username!r}"
        who = who if section.security_protocol.startswith("SASL") else "this service, which has not logged in,"
        return FatalError(f"{what}: Kafka denies {who} {_needed(denied, section.group_id)}")


def _denial(error: BaseException | None) -> kafka_errors.KafkaError | None:
    """Return the permission error among an error and its causes; None where there is none."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, kafka_errors.AuthorizationError):
            return error
        if kafka_errors.ClusterAuthorizationFailedError.__name__ in str(error):  # the producer's start hands on the text only
            return kafka_errors.ClusterAuthorizationFailedError()
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None


def _needed(denied: kafka_errors.KafkaError, group: str) -> str:
    """Return what is denied, what to grant, and which setting may be wrong instead."""
    given = denied.args[0] if denied.args and denied.args[0] else ()
    names = ", ".join(repr(name) for name in ([given] if isinstance(given, str) else sorted(given)))
    match denied:
        case kafka_errors.TopicAuthorizationFailedError():
            return (
                f"the topic {names}: grant Describe on it, and Read, Write, Create or DescribeConfigs for what is done with it "
                "(or check [kafka] username, prefix and input_topics)"
            )
        case kafka_errors.GroupAuthorizationFailedError():
            return (
                f"the group {names or repr(group)}: grant Read on the groups that begin with {group!r}, or set another "
                "[kafka] group_id"
            )
        case kafka_errors.TransactionalIdAuthorizationFailedError():
            return (
                f"its transactions: grant Write and Describe on the transactional ids that begin with {group + '-'!r}, or set "
                "another [kafka] group_id"
            )
    return (
        "to write at all: grant Write on the topics with [kafka] prefix (and IdempotentWrite on the cluster before Kafka 2.8; "
        "Create on it for `detector topics create`), or set another [kafka] username"
    )
