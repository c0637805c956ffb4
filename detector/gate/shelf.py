"""What the following thread and the event loop share: the store in force, and how fresh it is."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from detector.gate.records import Key, Record, read_key, read_value
from detector.gate.store import Store

__all__ = ["Shelf"]


@dataclass(slots=True)
class Shelf:
    """The store that answers, and what is known of its source; written by one thread, read by others."""

    store: Store = field(default_factory=Store)
    answers: bool = False  # whether there is a store to answer from: the source's, or a snapshot's
    ready: bool = False  # whether the source was read to its end, or cannot be read and a snapshot stands in
    trouble: str | None = "the decisions are not read yet"
    lag: int = 0
    unusable: int = 0
    changes: int = 0  # of the store in force
    read_s: float | None = None  # when the source was last read to its end
    live: Counter[str] = field(default_factory=Counter)
    monotonic: Callable[[], float] = time.monotonic

    def take(self, store: Store, key: bytes | None, value: bytes | None, now_ms: int) -> bool:
        """Put one record into a store; return whether that changed it."""
        found: Record | Key | None
        if value:
            if (found := read_value(value)) is not None:
                return self._changed(store.set(found, now_ms))
        elif key is not None and (found := read_key(key)) is not None:
            return self._changed(store.remove(found))
        self.unusable += 1
        return False

    def _changed(self, changed: bool) -> bool:
        self.changes += changed
        return changed

    def put(self, store: Store) -> None:
        """Answer from this store, which holds all that the source has."""
        self.store = store
        self.answers = self.ready = True
        self.changes += 1
        self.fresh()

    def fresh(self) -> None:
        """Note that the source was just read to its end."""
        self.trouble = None
        self.read_s = self.monotonic()

    def lost(self, trouble: str) -> None:
        """Note that the source cannot be read; what is known stays in force."""
        self.trouble = trouble
        self.ready = self.answers

    def gauges(self, *, knows_addresses: bool) -> dict[str, float | dict[str, int]]:
        """Return the state for the metrics."""
        age_s = -1.0 if self.read_s is None else self.monotonic() - self.read_s
        return {
            "decisions": dict(self.live),
            "ready": float(self.ready),
            "connected": float(self.trouble is None),
            "lag_records": float(self.lag),
            "age_seconds": age_s,
            "unusable_records": float(self.unusable),
            "unbound_decisions": float(self.store.is_bound and not knows_addresses),
        }
