"""librdkafka's errors, and its calls that cannot be given a limit."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from kafka import errors as kafka_errors

from detector.errors import BrokerError, MemberFencedError, NoAnswerError, NotAssignedError
from detector.service.kafka.clients.confluent_settings import confluent_kafka
from detector.service.kafka.clients.faults import FIRST_OF_ITS_OWN, named

__all__ = ["Waiting", "call", "fault", "fault_of_reader", "is_fatal"]

T = TypeVar("T")


def fault(error: Any, topic: str | None = None) -> BrokerError:
    """Return our error for one of librdkafka's; `topic` is the one that it is about."""
    own = confluent_kafka.KafkaError
    code = error.code()
    if code in {
        own._TIMED_OUT,  # noqa: SLF001  # their public names
        own._TIMED_OUT_QUEUE,  # noqa: SLF001
        own._MSG_TIMED_OUT,  # noqa: SLF001
        own._WAIT_COORD,  # noqa: SLF001
        own._TRANSPORT,  # noqa: SLF001
        own._ALL_BROKERS_DOWN,  # noqa: SLF001
    }:
        return NoAnswerError(error.str())
    if code <= FIRST_OF_ITS_OWN:
        return BrokerError(error.str())
    if issubclass(kafka_errors.for_code(code), kafka_errors.AuthorizationError):
        # Its arguments are the names that it is about; who reads the error puts in what is not known here.
        return named(code, error.str(), topic) if topic else named(code, "")
    return named(code, error.str())


def is_fatal(error: Any) -> bool:
    """Whether the client can do nothing any more. An error that comes as a message has only the code."""
    return bool(error.fatal()) or error.code() == confluent_kafka.KafkaError._FATAL  # noqa: SLF001


def fault_of_reader(error: Any, topic: str | None = None) -> BrokerError:
    """Return our error for one of a consumer's, which may be fenced: another process has its name."""
    own = confluent_kafka.KafkaError
    if error.code() in {own._FENCED, own.FENCED_INSTANCE_ID}:  # noqa: SLF001
        return MemberFencedError(error.str())
    if is_fatal(error) and "group.instance.id" in error.str():  # the code is that of all fatal errors
        return MemberFencedError(error.str())
    return fault(error, topic)


def call(ask: Callable[[], T], of: Callable[[Any], BrokerError] = fault_of_reader) -> T:
    """Call librdkafka; raises our error in place of its own."""
    try:
        return ask()
    except confluent_kafka.KafkaException as error:
        found = of(error.args[0])
        raise found from found.__cause__  # which says what is denied
    except RuntimeError as error:  # it is closed
        raise NotAssignedError(str(error)) from error


class Waiting:
    """A call that may block for longer than it was told to: it runs in a thread, and is waited for in slices.

    `rd_kafka_send_offsets_to_transaction` does not keep its limit while the group's coordinator is away, and a commit that is
    waited for has none.
    """

    def __init__(self, ask: Callable[[], Any]) -> None:
        """Begin."""
        self._ask = ask
        self._done = threading.Event()
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="librdkafka", daemon=True).start()

    def _run(self) -> None:
        try:
            self._ask()
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            self._error = error
        finally:
            self._done.set()

    def over(self, patience_s: float | None = None) -> bool:
        """Return whether it is over by then; wait for its end where no time is given."""
        return self._done.wait(patience_s)

    def result(self) -> None:
        """Raise what it raised, once it is over."""
        if self._error is not None:
            raise self._error
