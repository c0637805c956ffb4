"""A watch over the topics: one that is deleted under a running service is named.

The clients would wait for a deleted topic for ever, or say something else. So a thread asks the broker every half a minute
which of the topics are there; that costs one small request, and holds nobody up.
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
    """Looks after topics by their names, from its making until `close`."""

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
        """Which topics are missing, in a sentence; None while all are there, or as far as is known."""
        missing = self._missing
        if not missing:
            return None
        several = len(missing) > 1
        return (
            f"topic{'s' if several else ''} {', '.join(map(repr, missing))} {'do' if several else 'does'} not exist any more: "
            "create with `detector topics create`, an input topic with its own settings"
        )

    def check(self) -> None:
        """Ask the broker; without an answer what was known stands."""
        try:
            if self._admin is None:
                self._admin = self._connection.admin()
            found = partitions_of(self._admin, self._names)
        except (KafkaError, ServiceError, OSError):  # who is away, or denies it, is told elsewhere
            self._let_go()
            return
        before = self._missing
        self._missing = tuple(name for name in self._names if name not in found)
        if self._missing != before and (trouble := self.trouble) is not None:
            log.error("topics are missing", cause=trouble)
        elif self._missing != before:
            log.info("all topics are there again")

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.check()
            except Exception:  # the watch must not end for it
                self._let_go()
                log.exception("the topics could not be looked at")
        self._let_go()

    def _let_go(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(Exception):
                admin.close()

    def close(self) -> None:
        """End; a question that is under way is left alone."""
        self._stop.set()
        self._thread.join(END_S)
