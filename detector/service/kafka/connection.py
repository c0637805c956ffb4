"""Connections to Kafka: one place that turns settings into clients, and failures into sentences."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.base import MemberState

from detector.config import KafkaSection
from detector.errors import FatalError, ServiceError
from detector.service.kafka import confluent, unpacking
from detector.service.kafka.handshake import Fault, fault
from detector.service.kafka.oauth import Tokens
from detector.service.kafka.topics import LARGEST_RECORD

T = TypeVar("T")
CONNECT_MS = 10_000
PAST_MS = 5_000
FETCH_BYTES = 1024 * 1024  # of a partition at a time; a larger record comes alone, larger fetches cost twice the time
FETCHES_BYTES = LARGEST_RECORD  # of all partitions of a broker, as they lie there; unpacked see `unpacking`
HEARTBEAT_MS = 1000  # the other members hear of a newcomer with their next heartbeat


class Connection:
    """Makes the clients of one process, all with the same settings; `client_id` is how the members of a group know it."""

    def __init__(self, section: KafkaSection, client_id: str | None = None) -> None:
        self._section = section
        self._client_id = client_id
        self._common: dict[str, Any] = {
            "bootstrap_servers": list(section.bootstrap_servers),
            "security_protocol": section.security_protocol,
        }
        if section.ca_file is not None:
            self._common["ssl_cafile"] = str(section.ca_file)
        self._login: dict[str, Any] = {}
        if section.security_protocol.startswith("SASL") and section.sasl_mechanism == "OAUTHBEARER":
            self._login = {"sasl_oauth_token_provider": Tokens(section.oauth)}
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
        _keep_joins(consumer)
        _fetch_again(consumer)
        _ask_once(consumer)
        return consumer

    def reader(self, *, group: str | None = None, member: str | None = None, **settings: Any) -> Any:
        """Return a consumer as `consumer` does, of the client that the configuration names; see `confluent`."""
        if self._section.client == "kafka-python":
            return self.consumer(group=group, member=member, **settings)
        options = confluent.settings(self._section, group, member, settings["fetch_max_wait_ms"])
        if self._client_id is not None:
            options["client.id"] = self._client_id
        return self._made(lambda: confluent.ConfluentReader(options, settings["max_poll_records"], self._read_past))

    def _read_past(self, partition: TopicPartition, offset: int) -> list[Any]:
        """Return what lies at an offset, or behind it, as few records as possible; nothing where that takes too long."""
        consumer = self.consumer(max_poll_records=1, fetch_max_wait_ms=50)
        try:
            consumer.assign([partition])
            consumer.seek(partition, offset)
            found: list[Any] = consumer.poll(timeout_ms=PAST_MS).get(partition, [])
            return found
        finally:
            consumer.close(autocommit=False)

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
        # A client that cannot be made tries for long, hides the cause and leaves a thread behind: so we look first.
        self._look()
        try:
            return make()
        except (kafka_errors.KafkaError, OSError, ValueError, AssertionError) as error:
            where = ", ".join(self._section.bootstrap_servers)
            raise ServiceError(f"Kafka at {where} knows us, but the connection fails nevertheless: {error}") from error

    def _look(self) -> None:
        """Raise `ServiceError` unless one of the servers can be used; the cause is that of one that answers, if any does."""
        told: Fault | None = None
        for where in self._section.bootstrap_servers:
            found = fault(self._section, where, self._login)
            if found is None:
                return
            told = found if told is None or (found.answers and not told.answers) else told
        if told is not None:
            raise ServiceError(told.sentence)

    def failure(self, error: BaseException, what: str) -> ServiceError:
        """Return what to raise for an error of the client that came up while doing `what`.

        Where a permission is missing that is a `FatalError`, which says what to grant and to whom.
        """
        denied = _denial(error)
        if denied is None:
            return ServiceError(f"{what}: {error}")
        section = self._section
        who = "the owner of our token" if section.sasl_mechanism == "OAUTHBEARER" else f"user {section.username!r}"
        who = who if section.security_protocol.startswith("SASL") else "us, who have not logged in,"
        return FatalError(f"{what}: Kafka denies {who} {_needed(denied, section.group_id)}")


def _denial(error: BaseException | None) -> kafka_errors.KafkaError | None:
    """Return the missing permission among an error and its causes."""
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
    """Say what is denied, what to grant, and which setting leads elsewhere."""
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


def _fetch_again(consumer: KafkaConsumer) -> None:
    """Let a partition go on that was paused while what was fetched of it was half read.

    kafka-python 3.0.12 puts the rest aside, and takes it up again only while no other partition has been read in between: else
    never, and it fetches nothing more of the partition either. It asks whether the place for the current fetch is None, where
    a fetch that is used up stays; so that is cleared.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public way
    fetched = fetcher.fetched_records

    def fetched_records(*args: Any, **options: Any) -> Any:
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        return fetched(*args, **options)

    fetcher.fetched_records = fetched_records


def _ask_once(consumer: KafkaConsumer) -> None:
    """Let a poll not ask the client's own thread who coordinates the group where that is known: it costs as much as a fetch."""
    coordinator = consumer._coordinator  # noqa: SLF001  # there is no public way
    ensure = coordinator.ensure_coordinator_ready

    def ensure_coordinator_ready(timeout_ms: float | None = None) -> bool:
        return not coordinator.coordinator_unknown() or bool(ensure(timeout_ms=timeout_ms))

    coordinator.ensure_coordinator_ready = ensure_coordinator_ready


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
