"""Every error this project raises on purpose.

::

    DetectorError
    ├── ConfigError        a setting is wrong; names the file and, where known, the line
    ├── SourceError        a log cannot be read (missing, damaged, cut off)
    │   └── DamagedError       compressed data is corrupt or ends early; what came before it was read
    ├── BaselineError      a baseline cannot be fitted, read or used here
    ├── SnapshotError      a client snapshot is of another version or another baseline
    ├── SketchesError      a record of the sketches topic cannot be used; it becomes a dead letter
    ├── OutputError        results cannot be written (full disk, no permission)
    ├── UnknownBodyError   an answer of a model server cannot be perturbed; says in one word why
    ├── OwnershipError     a suspect cannot be tested, marks cannot be committed to, or evidence was changed; says why
    ├── ModelError         a model that was asked threw, or answered in another form; names the input
    │   └── EndpointError      a model behind HTTP cannot be asked
    ├── DrillError         a drill did not go as it was expected to
    ├── ServerError        a local server cannot be had or does not start
    ├── DeliveryError      alerts or decisions were not delivered; says how many were
    │   ├── RetryableError     the same may work later
    │   │   └── ElasticError       Elasticsearch or Kibana cannot be used; says in one word why
    │   ├── RefusedError       the receiver will never take a message
    │   └── NoDocumentError    a record is no alert or decision, so nobody can be sent it
    └── ServiceError       Kafka cannot be used: unreachable, refused, or its topics do not fit
        ├── BrokerError        a client or a broker did not do what was asked; the same may work later
        │   ├── NoAnswerError      there was no answer in time: whether it was done is not known
        │   ├── CommitRefusedError the group has moved on since we last heard of it
        │   ├── MemberFencedError  another process has joined under the name of this static member
        │   ├── NotAssignedError   a partition is not ours
        │   ├── RecordTooLargeError a record or a batch is larger than its topic takes
        │   └── DeniedError        a permission is missing
        ├── NotKafkaError      what answers at a broker's address does not speak Kafka
        ├── BatchTooLargeError a batch is too large when it is decompressed; it becomes a dead letter
        └── FatalError         trying again is no use: a permission is missing, or another deployment is in force

Bad records are not errors: they become dead-letter records and the stream goes on.
"""

from typing import Literal

__all__ = [
    "BaselineError",
    "BatchTooLargeError",
    "BrokerError",
    "CommitRefusedError",
    "ConfigError",
    "DamagedError",
    "DeliveryError",
    "DeniedError",
    "DetectorError",
    "DrillError",
    "ElasticCause",
    "ElasticError",
    "EndpointError",
    "FatalError",
    "MemberFencedError",
    "ModelError",
    "NoAnswerError",
    "NoDocumentError",
    "NotAssignedError",
    "NotKafkaError",
    "OutputError",
    "OwnershipError",
    "RecordTooLargeError",
    "RefusedError",
    "RetryableError",
    "ServerError",
    "ServiceError",
    "SketchesError",
    "SnapshotError",
    "SourceError",
    "UnknownBodyError",
]

ElasticCause = Literal["unreachable", "tls", "timeout", "login", "permission", "version", "setup", "busy", "server"]


class DetectorError(Exception):
    """Base of all; its text is written for the person who has to act on it."""


class ConfigError(DetectorError):
    """A setting is wrong. The message begins with ``file:line:`` where they are known."""


class SourceError(DetectorError):
    """A log cannot be read, or ended in the middle of a compressed block."""


class DamagedError(SourceError):
    """Compressed data is corrupt or ends early; the text completes the sentence "the compressed data ..."."""


class BaselineError(DetectorError):
    """A baseline cannot be fitted from this log, is damaged, or does not fit the events."""


class SnapshotError(DetectorError):
    """A snapshot was written by another version of the format or under another baseline."""


class SketchesError(DetectorError):
    """A record of the sketches topic cannot be used; the text says why."""


class OutputError(DetectorError):
    """Results cannot be written where they were asked for."""


class OwnershipError(DetectorError):
    """A suspect cannot be tested by this log, marks cannot be committed to, or evidence was changed; the message says why."""


class UnknownBodyError(DetectorError):
    """A response body is of no form that is known, so it can neither be perturbed nor shown to be harmless."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ModelError(DetectorError):
    """A model that was asked threw or answered in another form; `row` is the input's place in what was asked, None for all."""

    def __init__(self, text: str, *, row: int | None = None) -> None:
        super().__init__(text)
        self.row = row


class EndpointError(ModelError):
    """A model's endpoint cannot be reached, refuses us, or answers in another form; the message says which."""


class DrillError(DetectorError):
    """What a drill expected did not arrive, or an innocent was not left alone; one line for each."""


class ServerError(DetectorError):
    """A local server cannot be had (no Java, no network for the first fetch) or does not start; says what to install or why."""


class DeliveryError(DetectorError):
    """Messages were not delivered; the first `done` of the batch were."""

    def __init__(self, text: str, *, done: int = 0) -> None:
        super().__init__(text)
        self.done = done


class RetryableError(DeliveryError):
    """The same may work later, at the earliest in `after_s` seconds where the receiver said so."""

    def __init__(self, text: str, *, done: int = 0, after_s: float = 0.0) -> None:
        super().__init__(text, done=done)
        self.after_s = after_s


class ElasticError(RetryableError):
    """Elasticsearch or Kibana cannot be used as it is set up, or cannot be reached; `cause` says in one word why."""

    def __init__(self, text: str, cause: ElasticCause) -> None:
        super().__init__(text)
        self.cause = cause


class RefusedError(DeliveryError):
    """The receiver will never take the message at place `at` of the batch, or, if that is None, some of those not done."""

    def __init__(self, text: str, *, done: int = 0, at: int | None = None) -> None:
        super().__init__(text, done=done)
        self.at = at


class NoDocumentError(DeliveryError):
    """A record is not what its topic or file holds; `reason` is that of its dead-letter record."""

    def __init__(self, reason: Literal["json", "schema"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ServiceError(DetectorError):
    """Kafka cannot be used: it is unreachable, refuses us, or its topics do not fit."""


class BrokerError(ServiceError):
    """A Kafka client or a broker did not do what was asked. Its cause is the client's own error, where there is one."""


class NoAnswerError(BrokerError):
    """There was no answer in time, so whether it was done is not known."""


class CommitRefusedError(BrokerError):
    """The group has moved on since we last heard of it, and takes no commit of ours until we have."""


class MemberFencedError(BrokerError):
    """Another process has joined under the name of this static member of a group."""


class NotAssignedError(BrokerError):
    """A partition is not ours, or not any more."""


class RecordTooLargeError(BrokerError):
    """A record, or the batch it was sent in, is larger than its topic or the client takes."""


class DeniedError(BrokerError):
    """A permission is missing; `detector.service.kafka.connection.Connection.failure` says which."""


class NotKafkaError(ServiceError):
    """What answers at a broker's address does not speak Kafka."""


class BatchTooLargeError(ServiceError):
    """A batch of Kafka's is too large when it is decompressed."""


class FatalError(ServiceError):
    """Trying again is no use, an operator has to act: a permission is missing, or another deployment is in force."""
