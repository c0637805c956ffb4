"""The delivery worker: a thread that delivers records from a queue to one receiver, and retries until they are delivered.

It is fed from Kafka (`detector.service.deliver`), a run (`detector.sinks.dispatch`) or a folder of results
(`detector.sinks.backfill`). Each receiver has its own worker, so one that fails or is slow delays nothing else. A record that
the receiver refuses for good becomes a dead-letter record with the reason. Everything else is retried, with growing pauses,
until it is delivered or the worker is closed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from detector.contracts.dead_letter import Reason
from detector.errors import NoDocumentError, RetryableError
from detector.sinks.delivery import Backoff, Delivery, DeliveryBatch
from detector.sinks.entry import DeadLetters, Entry, Gauges, Manner
from detector.sinks.message import Message
from detector.sinks.receiver import Receiver

LAST_S = 5.0  # that a running attempt may take after `close` has waited for the queue
LONGEST_PAUSE_S = 60.0  # between attempts of a worker that gives up after some, whatever the receiver asks for
REMIND_S = 300.0  # between log lines about the same failure
LARGEST_BATCH = 4 * 1024 * 1024  # bytes of records
LONGEST_DETAIL = 500  # characters

log = structlog.get_logger(__name__)


class DeliveryWorker:
    """Delivers entries in the order in which they are put; `put` them while there is room, and collect the `finished` ones.

    `trouble` says why it cannot deliver, None while it can. `failure` is the exception that ended it: an error in keeping dead
    letters, never one of the receiver.
    """

    def __init__(
        self,
        receiver: Receiver,
        dead_letters: DeadLetters,
        gauges: Gauges,
        manner: Manner | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = receiver.name
        self.trouble: str | None = None
        self.failure: Exception | None = None
        self._receiver = receiver
        self._secrets = receiver.section.secrets()
        self._dead_letters = dead_letters
        self._gauges = gauges
        self._manner = manner or Manner()
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        self._queue: deque[Entry] = deque()
        self._bytes = 0
        self._under_way: list[Entry] = []
        self._finished: deque[Entry] = deque()
        self._gone: list[Callable[[Entry], bool]] = []
        self._closing = False
        self._giving_up = threading.Event()
        self._failed = 0
        self._told_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"delivery {receiver.name}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it has given up, failed or been closed, and accepts nothing more."""
        return self._closing

    def put(self, entry: Entry, *, wait: bool = False) -> bool:
        """Queue an entry; with `wait`, wait for room. Returns False when it is not queued."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._closing or not self._full())
            if self._closing or self._full():
                return False
            self._queue.append(entry)
            self._bytes += len(entry.record.data)
            self._changed.notify_all()
            return True

    def _full(self) -> bool:
        return len(self._queue) >= self._manner.capacity or self._bytes >= self._manner.capacity_bytes

    def finished(self) -> list[Entry]:
        """Return the entries delivered, or kept as dead letters, since the last call."""
        return [self._finished.popleft() for _ in range(len(self._finished))]

    def drop(self, gone: Callable[[Entry], bool]) -> None:
        """Drop entries that another worker delivers now; those in a running attempt are dropped if it fails."""
        with self._changed:
            self._gone.append(gone)
            self._queue = deque(entry for entry in self._queue if not gone(entry))
            self._bytes = sum(len(entry.record.data) for entry in self._queue)

    def close(self, patience_s: float | None = 0.0, last_s: float = LAST_S) -> list[Entry]:
        """Deliver what is queued for up to `patience_s` (None: until it gives up), then stop; return what is not finished.

        A running attempt then has `last_s` to end. After that this returns whatever the receiver does: the messages of the
        attempt count as not delivered, although the receiver may still get them.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(patience_s)
        self._giving_up.set()
        self._thread.join(last_s)
        with self._changed:
            return [*self._under_way, *self._queue]

    def _run(self) -> None:
        delivery: Delivery | None = None
        try:
            delivery = self._receiver.open()
            while (entries := self._take()) is not None:
                begun_s = time.thread_time()
                if not self._deliver(delivery, entries):
                    break
                self._rest(time.thread_time() - begun_s)
        except Exception as error:  # noqa: BLE001  # its feeder raises it
            self.failure = error
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            if delivery is not None:
                delivery.close()
            self._dead_letters.close()

    def _take(self) -> list[Entry] | None:
        """Return the next entries, up to a number and a size; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if self._giving_up.is_set() or not self._queue:
                return None
            self._gone.clear()
            taken: list[Entry] = []
            size = 0
            while self._queue and len(taken) < self._receiver.at_once and size < LARGEST_BATCH:
                taken.append(self._queue.popleft())
                size += len(taken[-1].record.data)
            self._bytes -= size
            self._under_way = list(taken)
            self._changed.notify_all()
            return taken

    def _deliver(self, delivery: Delivery, entries: Sequence[Entry]) -> bool:
        """Deliver entries; returns False when stopped, or given up, before all were delivered."""
        owners: dict[int, Entry] = {}
        messages: list[Message] = []
        for entry in entries:
            made = self._message(entry)
            if made is not None:
                messages.append(made)
                owners[id(made)] = entry
        if any(entry.doubtful for entry in entries):
            delivery.doubt()
        batch = DeliveryBatch(messages, self._receiver.at_once)
        while True:
            before = len(batch.left)
            fault = self._attempt(delivery, batch, owners)
            self._settle([owners[id(message)] for message in batch.left])
            self._tell(fault)
            if fault is None:
                return True
            if len(batch.left) < before:
                self._failed = 0
                self._backoff.reset()
            self._failed += 1
            if self._failed == self._manner.attempts or self._giving_up.wait(self._pause_s(fault)):
                return False
            self._leave_out(batch, owners)

    def _pause_s(self, fault: RetryableError) -> float:
        """Return how long to wait before the next attempt; a worker that gives up some time does not wait for an hour each."""
        pause_s = self._backoff.next(fault.after_s)
        return pause_s if self._manner.attempts is None else min(pause_s, LONGEST_PAUSE_S)

    def _message(self, entry: Entry) -> Message | None:
        if not entry.record.data:  # a tombstone: the decision expired long ago
            return None
        try:
            return self._receiver.message(entry.record)
        except NoDocumentError as error:
            self._refuse(entry, error.reason, str(error))
        except MemoryError:
            raise
        except Exception as error:
            # One record must not block all that come after it.
            log.exception("a record cannot be written for a receiver", delivery=self.name, source=entry.source, at=entry.number)
            self._refuse(entry, "failed", f"cannot be written for delivery {self.name}: {error!r}")
        return None

    def _attempt(self, delivery: Delivery, batch: DeliveryBatch, owners: dict[int, Entry]) -> RetryableError | None:
        """Deliver what can be delivered; return the error that stopped the rest."""
        delivered, repeated = batch.delivered, batch.repeated
        refused: list[tuple[Message, str]] = []
        fault: RetryableError | None = None
        try:
            batch.push(delivery, lambda message, why: refused.append((message, why)))
        except RetryableError as error:
            fault = error
        except MemoryError:
            raise
        except Exception as error:
            log.exception("delivering failed unexpectedly, trying again", delivery=self.name)
            fault = RetryableError(f"unexpected error: {error!r}")
        self._gauges.sent(self.name, "delivered", batch.delivered - delivered)
        self._gauges.sent(self.name, "repeated", batch.repeated - repeated)
        for message, why in refused:
            self._refuse(owners[id(message)], "schema", f"delivery {self.name} does not take it: {why}")
        return fault

    def _masked(self, text: str) -> str:
        """Return a text without our secrets, which a receiver may repeat in its response."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _refuse(self, entry: Entry, reason: Reason, detail: str) -> None:
        detail = self._masked(detail)
        self._dead_letters.put(entry, reason, detail[:LONGEST_DETAIL])
        self._gauges.sent(self.name, "refused")
        log.warning(
            "refused for good: see the dead letters",
            delivery=self.name,
            cause=detail[:LONGEST_DETAIL],
            source=entry.source,
            at=entry.number,
        )

    def _settle(self, left: list[Entry]) -> None:
        """Mark entries that are not left as finished, once their dead letters are kept."""
        self._dead_letters.flush()
        still = set(left)
        with self._changed:
            self._finished.extend(entry for entry in self._under_way if entry not in still)
            self._under_way = left

    def _leave_out(self, batch: DeliveryBatch, owners: dict[int, Entry]) -> None:
        with self._changed:
            gone, self._gone = self._gone, []
            if gone:
                batch.left = [each for each in batch.left if not any(is_gone(owners[id(each)]) for is_gone in gone)]
                self._under_way = [owners[id(each)] for each in batch.left]

    def _tell(self, fault: RetryableError | None) -> None:
        """Set the gauges, and log a change."""
        before, self.trouble = self.trouble, None if fault is None else self._masked(str(fault))
        self._gauges.sink_up(self.name, up=fault is None)
        if fault is None:
            self._failed = 0
            self._backoff.reset()
            self._gauges.sink_current(self.name)
            if before is not None:
                log.info("delivers again", delivery=self.name)
            return
        self._gauges.sending_again(self.name)
        if self.trouble != before or time.monotonic() > self._told_s + REMIND_S:
            self._told_s = time.monotonic()
            log.warning(
                "not delivered: trying again until it is",
                delivery=self.name,
                cause=self.trouble,
                waiting=len(self._under_way) + len(self._queue),
            )

    def _rest(self, used_s: float) -> None:
        """Pause so that this thread stays within its share of the CPU, since only one thread computes at a time."""
        if self._manner.share < 1.0:
            self._giving_up.wait(used_s * (1.0 / self._manner.share - 1.0))
