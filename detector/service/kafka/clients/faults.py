"""What the Kafka clients raise, as errors of our own.

kafka-python has a class for each code of the protocol. The codes are the same for librdkafka, whose own ones are below zero. So
an error of either client is first one of kafka-python's, and that is the cause of ours: it knows which permission is missing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kafka import errors

from detector.errors import (
    BrokerError,
    CommitRefusedError,
    DeniedError,
    MemberFencedError,
    NoAnswerError,
    NotAssignedError,
    RecordTooLargeError,
)

__all__ = ["FIRST_OF_ITS_OWN", "fault_of", "named", "ours"]

FIRST_OF_ITS_OWN: Final = 0  # librdkafka's own codes are below
KINDS: Final[tuple[tuple[tuple[type[errors.KafkaError], ...], type[BrokerError]], ...]] = (
    ((errors.KafkaTimeoutError,), NoAnswerError),
    ((errors.FencedInstanceIdError,), MemberFencedError),
    (
        (
            errors.CommitFailedError,
            errors.IllegalGenerationError,
            errors.UnknownMemberIdError,
            errors.RebalanceInProgressError,
        ),
        CommitRefusedError,
    ),
    ((errors.MessageSizeTooLargeError, errors.RecordListTooLargeError), RecordTooLargeError),
    ((errors.AuthorizationError,), DeniedError),
    ((errors.IllegalStateError,), NotAssignedError),
)


def fault_of(error: BaseException) -> BrokerError:
    """Return our error for one of kafka-python's, which becomes its cause.

    >>> fault_of(errors.RebalanceInProgressError("joining"))
    CommitRefusedError('[Error 27] RebalanceInProgressError: joining')
    """
    if isinstance(error, BrokerError):
        return error
    kind = next((ours for theirs, ours in KINDS if isinstance(error, theirs)), BrokerError)
    found = kind(str(error) or type(error).__name__)
    found.__cause__ = error
    return found


def named(code: int, text: str, *about: Any) -> BrokerError:
    """Return our error for a code of the protocol; `about` are the names that it is about.

    >>> named(29, "denied", "log"), named(29, "denied", "log").__cause__
    (DeniedError('[Error 29] TopicAuthorizationFailedError: log'), TopicAuthorizationFailedError('log'))
    """
    return fault_of(errors.for_code(code)(*(about or filter(None, (text,)))))


@contextmanager
def ours() -> Iterator[None]:
    """Raise our error in place of kafka-python's."""
    try:
        yield
    except errors.KafkaError as error:
        raise fault_of(error) from error
