"""Every error this project raises on purpose.

::

    DetectorError
    ├── ConfigError        a setting is wrong; names the file and, where known, the line
    ├── SourceError        a log cannot be read (missing, damaged, cut off)
    ├── BaselineError      a baseline cannot be fitted, read or used here
    ├── SnapshotError      a client snapshot is of another version or another baseline
    ├── OutputError        results cannot be written (full disk, no permission)
    ├── EndpointError      a model behind HTTP cannot be asked
    ├── ServerError        a local server cannot be had or does not start
    └── ServiceError       Kafka cannot be used: unreachable, refused, or its topics do not fit
        └── FatalError     trying again is no use: a permission is missing, or another deployment is at work

Bad records are not errors: they become dead letters and the stream goes on.
"""

__all__ = [
    "BaselineError",
    "ConfigError",
    "DetectorError",
    "EndpointError",
    "FatalError",
    "OutputError",
    "ServerError",
    "ServiceError",
    "SnapshotError",
    "SourceError",
]


class DetectorError(Exception):
    """Base of all; its text is written for the person who has to act on it."""


class ConfigError(DetectorError):
    """A setting is wrong. The message begins with ``file:line:`` where they are known."""


class SourceError(DetectorError):
    """A log cannot be read, or ended in the middle of a compressed block."""


class BaselineError(DetectorError):
    """A baseline cannot be fitted from this log, is damaged, or does not fit the events."""


class SnapshotError(DetectorError):
    """A snapshot was written by another version of the format or under another baseline."""


class OutputError(DetectorError):
    """Results cannot be written where they were asked for."""


class EndpointError(DetectorError):
    """A model's endpoint cannot be reached, refuses us, or answers in another form; the message says which."""


class ServerError(DetectorError):
    """A local server cannot be had (no Java, no network for the first fetch) or does not start; says what to install or why."""


class ServiceError(DetectorError):
    """Kafka cannot be used: it is unreachable, refuses us, or its topics do not fit."""


class FatalError(ServiceError):
    """Trying again is no use, somebody has to act: a permission is missing, or another deployment is at work."""
