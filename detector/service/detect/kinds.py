"""New kinds of clients in the service's log: each kind once, when the first client of it was met."""

import time
from collections.abc import Iterable

import structlog

from detector.engine.shard import Shard

EVERY_S = 30.0

log = structlog.get_logger(__name__)


class KindReporter:
    """Logs the kinds of clients that the baseline does not know; a kind is logged again after a restart."""

    def __init__(self) -> None:
        """Start; the first look is due in `EVERY_S`."""
        self._due = time.monotonic() + EVERY_S
        self._told: set[tuple[str, int, tuple[str, ...]]] = set()

    def check(self, shards: Iterable[Shard]) -> None:
        """Log the kinds that were not logged before, if it is time."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_S
        for shard in shards:
            for model, kind in shard.kinds:
                key = (model, kind.profile, kind.features)
                if key not in self._told:
                    self._told.add(key)
                    log.info("new kind of client", model=model, finding=kind.tell(), clients=list(kind.clients))
