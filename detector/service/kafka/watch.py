"""Monitoring of the topics: a topic that is deleted while the service runs is reported by name.

The Kafka clients would wait for a deleted topic for ever, or report another cause. So a thread asks the broker every 30 seconds
which topics exist. That costs one small request and blocks nothing else.
"""

import threading
from collections.abc import Collection
from contextlib import suppress

import structlog
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import partitions_of

EVERY_S = 30.0
END_S = 2.0

log = structlog.get_logger(__name__)


class TopicMonitor:
    """Checks that topics exist, from its creation until `close`."""

    def __init__(self, connection: Connection, names: Collection[str], every_s: float = EVERY_S) -> None:
        self._connection = connection
        self._names = sorted(names)
        self._every_s = every_s
        self._missing: tuple[str, ...] = ()
        self._admin: KafkaAdminClient | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topics", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Which topics are missing, in a sentence; None while all exist, or before the first answer."""
        missing = self._missing
        if not missing:
            return None
        several = len(missing) > 1
        return (
            f"topic{'s' if several else ''} {', '.join(map(repr, missing))} {'do' if several else 'does'} not exist any more: "
            "create with `detector topics create`, an input topic with its own settings"
        )

    def check(self) -> None:
        """Ask the broker; without an answer the last result stays."""
        try:
            if self._admin is None:
                self._admin = self._connection.admin()
            found = partitions_of(self._admin, self._names)
        except (KafkaError, ServiceError, OSError):  # an unreachable broker or a missing permission is reported elsewhere
            self._drop_admin()
            return
        before = self._missing
        self._missing = tuple(name for name in self._names if name not in found)
        if self._missing != before and (trouble := self.trouble) is not None:
            log.error("topics are missing", cause=trouble)
        elif self._missing != before:
            log.info("all topics exist again")

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.check()
            except Exception:  # a bug here must not end the monitor
                self._drop_admin()
                log.exception("the topics could not be checked")
        self._drop_admin()

    def _drop_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(Exception):
                admin.close()

    def close(self) -> None:
        """Stop, without waiting for a request that is running."""
        self._stop.set()
        self._thread.join(END_S)
