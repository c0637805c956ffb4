"""Connections to Kafka: settings become clients here, and errors become messages."""

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
FETCH_BYTES = 1024 * 1024  # per partition and fetch; a larger record still comes, alone. Larger fetches take twice the time
FETCHES_BYTES = LARGEST_RECORD  # per broker and fetch, compressed; for the decompressed size see `unpacking`
HEARTBEAT_MS = 1000  # a rebalance starts with the members' next heartbeat, so it should be short


class Connection:
    """Makes the clients of one process, all with the same settings; `client_id` identifies it to the group."""

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
        """Return the next record at an offset or after it; nothing where that takes more than `PAST_MS`."""
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
        """Close a producer at once; unsent records are dropped.

        The client's own `close` raises while records are in flight, and its thread would go on sending.
        """
        producer._sender.force_close()  # noqa: SLF001  # there is no public way
        with suppress(kafka_errors.KafkaError):
            producer.close(timeout=1)

    def _made(self, make: Callable[[], T]) -> T:
        # A client that cannot connect retries for long, hides the cause and leaves a thread behind: so we probe first.
        self._probe()
        try:
            return make()
        except (kafka_errors.KafkaError, OSError, ValueError, AssertionError) as error:
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


def _fetch_again(consumer: KafkaConsumer) -> None:
    """Let a partition resume that was paused while its last fetch was half read.

    kafka-python 3.0.12 sets the rest of that fetch aside, and returns to it only if no other partition was read in between.
    Otherwise the partition stops for ever. The cause: it tests whether the current fetch is None, but keeps a used-up fetch
    there. So a used-up fetch is cleared.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public way
    fetched = fetcher.fetched_records

    def fetched_records(*args: Any, **options: Any) -> Any:
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        return fetched(*args, **options)

    fetcher.fetched_records = fetched_records


def _ask_once(consumer: KafkaConsumer) -> None:
    """Skip the lookup of the group coordinator in each poll while it is known: it costs as much as a fetch."""
    coordinator = consumer._coordinator  # noqa: SLF001  # there is no public way
    ensure = coordinator.ensure_coordinator_ready

    def ensure_coordinator_ready(timeout_ms: float | None = None) -> bool:
        return not coordinator.coordinator_unknown() or bool(ensure(timeout_ms=timeout_ms))

    coordinator.ensure_coordinator_ready = ensure_coordinator_ready


def _keep_joins(consumer: KafkaConsumer) -> None:
    """Keep a group join that completes between two polls, as most do when polls are short.

    kafka-python 3.0.12 drops such a join and joins again. The other members then have to join again, too, and the group hardly
    settles. So the result of a join is kept until the client has used it, which its state shows. A second bug: a leader that
    joins because the topics changed forgets its join and keeps its old partitions for ever. So the join is requested again.
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
