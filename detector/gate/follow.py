"""Follows the source of decisions in a thread, and keeps house: sweeps, snapshots, and the mapping of clients."""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from detector.clock import Clock
from detector.config.gate import GateSection
from detector.errors import ConfigError, DetectorError, SnapshotError
from detector.gate import snapshot
from detector.gate.identity import Identity
from detector.gate.shelf import Shelf

__all__ = ["Follower", "Source"]

SWEEP_S: Final = 10.0
LARGE: Final = 50_000  # decisions, from which a sweep comes less often
AGAIN_S: Final = 1.0

log = structlog.get_logger(__name__)


class Source(Protocol):
    """Where decisions come from."""

    def follow(self, shelf: Shelf, tick: Callable[[], bool]) -> None:
        """Read everything, then what comes, until `tick` returns True; it is called every second or more often.

        Raises `DetectorError` where the source cannot be read; then it is asked again.
        """
        ...


class Follower:
    """The thread; `start` loads the snapshot and begins, `stop` ends it and keeps what is known."""

    def __init__(self, section: GateSection, source: Source, shelf: Shelf, identity: Identity, clock: Clock) -> None:
        """Prepare a thread that follows `source`."""
        self._file = section.snapshot_file
        self._every_s = section.snapshot_seconds
        self._source = source
        self._shelf = shelf
        self._identity = identity
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._swept_s = self._saved_s = time.monotonic()
        self._saved = 0  # changes that are in the snapshot

    def start(self) -> None:
        """Answer from the snapshot, where there is one, and begin to read the source."""
        if self._file is not None:
            try:
                known = snapshot.load(self._file)
            except SnapshotError as error:
                log.warning("starting without a snapshot", cause=str(error))
                known = None
            if known is not None:
                self._shelf.store = known
                self._shelf.answers = True
                self._shelf.live = known.sweep(self._clock.now_ms())
                log.info("answering from the snapshot until the decisions are read", decisions=len(known))
        self._thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """End the thread, and save what is known."""
        self._stopping.set()
        self._thread.join(patience_s)
        self._save()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._source.follow(self._shelf, self._tick)
            except DetectorError as error:
                self._lost(str(error))
            except Exception as error:  # the thread must not end: nothing would say so
                log.exception("following the decisions failed")
                self._lost(f"{type(error).__name__}: {error}")
            until = time.monotonic() + AGAIN_S
            while time.monotonic() < until and not self._tick():
                self._stopping.wait(0.1)

    def _lost(self, trouble: str) -> None:
        if self._shelf.trouble != trouble:
            log.warning("the decisions cannot be read; what is known stays in force", cause=trouble)
        self._shelf.lost(trouble)

    def _tick(self) -> bool:
        try:
            self._keep_house()
        except Exception:  # decisions are followed all the same; what failed is tried again when it is due
            log.exception("sweeping or saving the decisions failed")
        return self._stopping.is_set()

    def _keep_house(self) -> None:
        now_s = time.monotonic()
        if now_s - self._swept_s > (SWEEP_S if len(self._shelf.store) < LARGE else 6 * SWEEP_S):
            self._sweep()
        if now_s - self._saved_s > self._every_s:
            self._save()

    def _sweep(self) -> None:
        self._swept_s = time.monotonic()
        self._shelf.live = self._shelf.store.sweep(self._clock.now_ms())
        try:
            self._identity.refresh()
        except ConfigError as error:
            log.warning("the former mapping of clients stays in force", cause=str(error))

    def _save(self) -> None:
        self._saved_s = time.monotonic()
        changes = self._shelf.changes
        if self._file is None or changes == self._saved:
            return
        try:
            snapshot.save(self._shelf.store, self._file)
            self._saved = changes
        except SnapshotError as error:
            log.warning("no snapshot", cause=str(error))
