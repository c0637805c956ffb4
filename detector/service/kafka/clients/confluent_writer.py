"""Writing with librdkafka (confluent-kafka): it takes a tenth of kafka-python's CPU time per record."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from kafka import TopicPartition

from detector.errors import BrokerError, DeniedError, NoAnswerError
from detector.service.kafka.clients.confluent_faults import Waiting, call, fault, is_fatal
from detector.service.kafka.clients.confluent_settings import confluent_kafka
from detector.service.kafka.clients.faults import named
from detector.service.kafka.clients.protocol import Header, Member

__all__ = ["ConfluentWriter"]

SERVE_EVERY: Final = 256  # records: what was acknowledged waits in the client's queue until it is served
ROOM_S: Final = 0.05
FULL_S: Final = 120.0
TURN_S: Final = 0.1
TRY_AGAIN_S: Final = 0.05
TRANSACTIONAL_ID_DENIED: Final = 53  # of the protocol
PATIENCE_S: Final = 60.0  # of a call in a transaction, whose caller gives up before


class _Delivery:
    """A `Delivery` of librdkafka's, which tells of it while somebody asks."""

    __slots__ = ("_found", "_health", "_producer", "_topic", "is_done")

    def __init__(self, producer: Any, health: "_Health", topic: str) -> None:
        self._producer = producer
        self._health = health
        self._topic = topic
        self._found: Any = None
        self.is_done = False

    def told(self, error: Any, _: Any) -> None:
        """Take note of what came of it; nothing of librdkafka's may be asked here, where its fatal error may be under way."""
        self._found = error
        self.is_done = True

    @property
    def error(self) -> BrokerError | None:
        """See `Delivery.error`."""
        return None if self._found is None else self._health.noted(self._found, self._topic)

    def wait(self, timeout_s: float) -> None:
        """See `Delivery.wait`."""
        until = time.monotonic() + timeout_s
        while not self.is_done:
            left = until - time.monotonic()
            if left <= 0:
                raise NoAnswerError(f"not acknowledged within {timeout_s:g} s")
            self._health.served(self._producer.poll, min(left, TURN_S))
        if (error := self.error) is not None:
            raise error


class _Health:
    """Whether a producer can go on."""

    def __init__(self) -> None:
        self.broken = False

    def noted(self, error: Any, topic: str | None = None) -> BrokerError:
        """Return our error for one of the producer's, of whatever kind."""
        self.broken = self.broken or is_fatal(error)
        return fault(error, topic)

    def served(self, ask: Callable[[float], Any], timeout_s: float) -> Any:
        """Let the producer tell what came of records; raises our error where it can send nothing any more."""
        try:
            return ask(timeout_s)
        except (confluent_kafka.KafkaException, SystemError) as error:
            # The client raises a fatal error and goes on to call `told`, which Python makes a SystemError of.
            cause = error.__cause__ if isinstance(error, SystemError) else error
            if not isinstance(cause, confluent_kafka.KafkaException):
                raise
            found = self.noted(cause.args[0])
            raise found from found.__cause__  # which says what is denied


class ConfluentWriter:
    """A `TransactionalWriter` of librdkafka's."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Make a producer with settings of `confluent_settings`."""
        self._health = _Health()
        self._producer = call(lambda: confluent_kafka.Producer(dict(options)), fault)
        self._sent = 0
        self._asked: Waiting | None = None

    def send(
        self,
        topic: str,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> _Delivery:
        """See `Writer.send`."""
        delivery = _Delivery(self._producer, self._health, topic)
        where = -1 if partition is None else partition
        until = 0.0
        while True:
            try:
                self._producer.produce(topic, value, key, where, delivery.told, headers=headers or None)
                break
            except BufferError:
                until = until or time.monotonic() + FULL_S
                if time.monotonic() > until:
                    raise NoAnswerError(f"the broker has taken nothing for {FULL_S:g} s") from None
                self._health.served(self._producer.poll, ROOM_S)
            except confluent_kafka.KafkaException as error:
                found = self._health.noted(error.args[0], topic)
                raise found from found.__cause__
        self._sent += 1
        if self._sent % SERVE_EVERY == 0:
            self.serve()
        return delivery

    def serve(self) -> None:
        """See `Writer.serve`."""
        self._health.served(self._producer.poll, 0)

    def flush(self, timeout_s: float) -> None:
        """See `Writer.flush`."""
        if left := self._health.served(self._producer.flush, timeout_s):
            raise NoAnswerError(f"{left} records are not acknowledged within {timeout_s:g} s")

    @property
    def broken(self) -> bool:
        """See `Writer.broken`."""
        return self._health.broken

    def close(self, timeout_s: float) -> None:
        """See `Writer.close`."""
        try:
            self.flush(timeout_s)
        except BrokerError:
            self.drop()

    def drop(self) -> None:
        """See `Writer.drop`."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        with suppress(BrokerError):
            self.serve()

    def start(self, patience_s: float) -> bool:
        """See `TransactionalWriter.start`."""
        try:
            return self._tried(lambda: self._producer.init_transactions(patience_s))
        except DeniedError:  # the client calls it a group, whose coordinator is found in the same way
            found = named(TRANSACTIONAL_ID_DENIED, "")
            raise found from found.__cause__

    def begin(self) -> None:
        """See `TransactionalWriter.begin`."""
        self._asked = None
        call(self._producer.begin_transaction, fault)

    def add_offsets(self, offsets: Mapping[TopicPartition, int], member: Member, patience_s: float) -> bool:
        """See `TransactionalWriter.add_offsets`."""
        reached = [
            confluent_kafka.TopicPartition(partition.topic, partition.partition, offset)
            for partition, offset in offsets.items()
        ]
        return self._waited(lambda: self._producer.send_offsets_to_transaction(reached, member.own, PATIENCE_S), patience_s)

    def commit(self, patience_s: float) -> bool:
        """See `TransactionalWriter.commit`."""
        return self._waited(lambda: self._producer.commit_transaction(PATIENCE_S), patience_s)

    def _waited(self, ask: Callable[[], Any], patience_s: float) -> bool:
        """Wait for a call that runs; it is begun where none does, and again after an error that passes."""
        self._asked = self._asked or Waiting(ask)
        if not self._asked.over(patience_s):
            return False
        asked, self._asked = self._asked, None
        return self._tried(asked.result)

    def _tried(self, ask: Callable[[], Any]) -> bool:
        """Return whether it was done; raises our error where trying again is of no use."""
        try:
            ask()
        except confluent_kafka.KafkaException as error:
            cause = error.args[0]
            if not cause.retriable() or cause.fatal() or cause.txn_requires_abort():
                found = self._health.noted(cause)
                raise found from found.__cause__
            time.sleep(TRY_AGAIN_S)
            return False
        return True
