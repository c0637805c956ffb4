"""The deliveries as a stage of a worker: one thread per receiver, which restarts after an error of Kafka's."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

import structlog
from kafka.errors import KafkaError

from detector.errors import FatalError, MemberFencedError, ServiceError
from detector.service.deliver.dependencies import Dependencies
from detector.service.deliver.reading import POLL_MS, DeliveryReader
from detector.sinks.delivery import Backoff
from detector.sinks.receiver import Receiver

END_S = 5.0
SHARE = 0.2  # most CPU for all deliveries together when they share the process with detection

log = structlog.get_logger(__name__)


class Deliveries:
    """The stage: one thread per receiver; `step` only checks whether a thread has failed."""

    def __init__(self, receivers: Sequence[Receiver], dependencies: Dependencies) -> None:
        self._stop = threading.Event()
        self._threads = [DeliveryThread(receiver, dependencies, self._stop) for receiver in receivers]
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether every receiver's thread has joined its group; it does not say that the receivers accept anything."""
        return all(thread.joined for thread in self._threads)

    @property
    def trouble(self) -> str | None:
        """Why a receiver does not have everything; None while nothing is wrong."""
        found = [
            f"delivery {thread.receiver}: {trouble}" for thread in self._threads if (trouble := thread.trouble) is not None
        ]
        return "; ".join(found) or None

    def step(self, timeout_ms: int) -> int:
        """Wait a little; raises the error that ended a thread, such as `FatalError` where a permission is missing."""
        if timeout_ms > 0:
            self._stop.wait(timeout_ms / 1000)
        for thread in self._threads:
            if thread.failure is not None:
                raise thread.failure
        return 0

    def close(self, patience_s: float = END_S) -> None:
        """End after the current attempts. One that takes longer than `patience_s` is left: the next start delivers again."""
        self._stop.set()
        until = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    abandon = close


class DeliveryThread(threading.Thread):
    """Feeds one receiver until `stop` is set; starts again from the last commit after an error of Kafka's."""

    def __init__(self, receiver: Receiver, dependencies: Dependencies, stop: threading.Event) -> None:
        super().__init__(name=f"reading for {receiver.name}", daemon=True)
        self.failure: Exception | None = None
        self.receiver = receiver.name
        self._receiver = receiver
        self._dependencies = dependencies
        self._stop_asked = stop
        self._reading: DeliveryReader | None = None
        self._away: str | None = None

    @property
    def joined(self) -> bool:
        """Whether it is in its group. It stays there while the receiver is away, since the topics hold what waits."""
        return self._reading is not None and self._reading.joined

    @property
    def trouble(self) -> str | None:
        """Why the receiver does not have everything, in a sentence; None while nothing is wrong."""
        reading = self._reading
        return self._away if reading is None or not reading.joined else reading.trouble

    def run(self) -> None:
        """Read and deliver; wait for a broker that is away."""
        pauses = Backoff(first_s=1.0, longest_s=30.0)
        while not self._stop_asked.is_set():
            try:
                with ExitStack() as stack:
                    self._reading = DeliveryReader(self._receiver, self._dependencies, stack)
                    while not self._stop_asked.is_set():
                        self._reading.step(POLL_MS)
                        if self._reading.joined:
                            self._away = None
                            pauses.reset()
            except (MemberFencedError, FatalError) as error:
                self.failure = error
                return
            except (ServiceError, KafkaError) as error:
                self._away = str(error)
                log.warning("delivering starts again from its last commit", delivery=self.receiver, cause=str(error))
            except Exception as error:
                # A bug in a delivery must not end the detection.
                self._away = f"unexpected error: {error}"
                log.exception("delivering starts again from its last commit", delivery=self.receiver)
            self._reading = None
            self._stop_asked.wait(pauses.next())
