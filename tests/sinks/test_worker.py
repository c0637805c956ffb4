"""The delivery worker: it holds up no other, tries again, keeps what is refused, and can be closed whatever happens."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from detector.config import DeliverySection
from detector.contracts.dead_letter import Reason
from detector.errors import NoDocumentError, OutputError, RetryableError
from detector.sinks.delivery import Backoff, Delivery
from detector.sinks.entry import Entry, Manner, Tally
from detector.sinks.message import Message
from detector.sinks.receiver import DeliveryRecord, Receiver
from detector.sinks.webhook import Webhook
from detector.sinks.worker import DeliveryWorker

SECRET = "a secret that both sides know"


class Kept:
    """Dead letters in memory; `broken` they can be kept nowhere."""

    def __init__(self, *, broken: bool = False) -> None:
        self.dead_letters: list[tuple[int, str, str]] = []
        self.closed = False
        self._broken = broken

    def put(self, entry: Entry, reason: Reason, detail: str) -> None:
        """Keep a record."""
        if self._broken:
            raise OutputError("the disk is full")
        self.dead_letters.append((entry.number, reason, detail))

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Note the end."""
        self.closed = True


class Remembering(Delivery):
    """Takes everything, except while `away`; fails unexpectedly where `bug` is set."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.doubts = 0
        self.attempts = 0
        self.away = threading.Event()
        self.bug = threading.Event()

    def deliver(self, batch: Sequence[Message]) -> None:
        """Take it or not."""
        self.attempts += 1
        if self.bug.is_set():
            raise KeyError("nobody thought of this")
        if self.away.is_set():
            raise RetryableError("away")
        self.taken += [message.id for message in batch]

    def doubt(self) -> None:
        """Count."""
        self.doubts += 1


def entry(number: int, data: bytes | None = None, **named: Any) -> Entry:
    """Return an entry with a number for a record."""
    return Entry(DeliveryRecord("alert", b"%d" % number if data is None else data), "alerts.jsonl", number, **named)


def write(record: DeliveryRecord) -> Message:
    """Return the message of a record; some cannot be written."""
    if record.data == b"none":
        raise NoDocumentError("json", "not JSON")
    if record.data == b"strange":
        raise ZeroDivisionError
    number = int(record.data)
    return Message(str(number), "alert", 1_777_890_667_412 + number, "high", b'{"n":%d}' % number)


def worker_of(
    way: Delivery, name: str = "siem", kept: Kept | None = None, tally: Tally | None = None, at_once: int = 20, **manner: Any
) -> DeliveryWorker:
    """Return a worker with short pauses."""
    receiver = Receiver(DeliverySection(name=name, kind="any"), write, lambda: way, at_once)
    quick = Backoff(first_s=0.001, longest_s=0.01)
    return DeliveryWorker(receiver, kept or Kept(), tally or Tally(), Manner(**manner), quick)


def test_one_that_fails_holds_up_no_other(web_receiver: Callable[..., Any], until: Callable[..., None], deaf_port: int) -> None:
    """While one receiver is away, one busy and one silent, the fourth gets everything; afterwards so do the others."""
    good, busy, silent = web_receiver(), web_receiver(), web_receiver()
    speak = threading.Event()
    busy.answer = lambda *_: (503, b"", {})
    silent.answer = lambda *_: (200, b"", {}) if speak.wait(60) else None
    urls = {"good": good.url, "busy": busy.url, "silent": silent.url, "away": f"http://127.0.0.1:{deaf_port}"}
    tally, kept = Tally(), Kept()
    workers = {name: worker_of(Webhook(url, SECRET, timeout_s=60.0), name, kept, tally) for name, url in urls.items()}
    for i in range(50):
        for worker in workers.values():
            assert worker.put(entry(i))
    until(lambda: tally.count("good", "delivered") == 50)
    assert [tally.count(name, "delivered") for name in ("busy", "silent", "away")] == [0, 0, 0]
    until(lambda: "503" in str(workers["busy"].trouble) and workers["away"].trouble)

    busy.answer = lambda *_: (200, b"", {})
    speak.set()
    web_receiver(port=deaf_port)
    for name, worker in workers.items():
        assert worker.close(60.0) == []
        assert tally.count(name, "delivered") == 50
        assert worker.trouble is None
    assert kept.dead_letters == []


def test_what_is_not_delivered_is_given_back(deaf_port: int) -> None:
    """A worker that runs out of patience returns all it still has, in order, and a full one takes no more."""
    worker = worker_of(Webhook(f"http://127.0.0.1:{deaf_port}", SECRET), capacity=30)
    taken = [each for each in map(entry, range(200)) if worker.put(each)]
    assert 30 <= len(taken) < 200
    assert worker.close(0.0) == taken
    assert not worker.put(entry(0))
    assert worker.finished() == []


def test_bytes_are_bounded_too(deaf_port: int) -> None:
    """A few large records fill a worker as many small ones do."""
    worker = worker_of(Webhook(f"http://127.0.0.1:{deaf_port}", SECRET), capacity_bytes=1000)
    taken = [each for each in (entry(i, b"%0100d" % i) for i in range(60)) if worker.put(each)]
    assert 10 <= len(taken) <= 30
    assert worker.close(0.0) == taken


def test_what_is_refused_becomes_a_dead_letter_record(web_receiver: Callable[..., Any], until: Callable[..., None]) -> None:
    """A message that the receiver calls broken is kept with what it said, a record that is none with why; the others pass."""
    server = web_receiver()
    server.answer = lambda _path, headers, _body: (422 if headers["webhook-id"] == "3" else 200, b"no such field", {})
    kept, tally = Kept(), Tally()
    worker = worker_of(Webhook(server.url, SECRET), "hook", kept, tally)
    put = [*map(entry, range(6)), entry(6, b"none"), entry(7, b"strange"), entry(8, b"")]
    for each in put:
        worker.put(each)
    until(lambda: tally.count("hook", "delivered") == 5)
    assert worker.close(60.0) == []
    assert sorted(kept.dead_letters) == [
        (3, "schema", "delivery hook does not take it: 422 no such field"),
        (6, "json", "not JSON"),
        (7, "failed", "cannot be written for delivery hook: ZeroDivisionError()"),
    ]
    assert tally.count("hook", "refused") == 3
    assert worker.finished() == put
    assert kept.closed


def test_a_secret_that_comes_back_is_masked(web_receiver: Callable[..., Any]) -> None:
    """Servers repeat what they were asked; neither a dead-letter record nor the reason of a failure shows what is secret."""
    server = web_receiver()
    server.answer = lambda path, *_: (400 if "bad" in path else 503, f"Cannot POST {path}".encode(), {})

    class Hidden(DeliverySection):
        def secrets(self) -> tuple[str, ...]:
            return ("/services/T0/B0/token",)

    for ending, shown in (("/bad", "schema"), ("", None)):
        way = Webhook(f"{server.url}/services/T0/B0/token{ending}", SECRET)
        kept = Kept()
        receiver = Receiver(Hidden(name="hook", kind="any"), write, lambda way=way: way, 20)  # type: ignore[misc]
        worker = DeliveryWorker(receiver, kept, Tally(), Manner(attempts=1))
        worker.put(entry(1))
        worker.close(60.0)
        said = kept.dead_letters[0][2] if shown else worker.trouble
        assert "Cannot POST ***" in str(said)
        assert "token" not in str(said)


def test_what_can_be_kept_nowhere_is_not_finished(web_receiver: Callable[..., Any], until: Callable[..., None]) -> None:
    """Where a refused record cannot be kept the worker ends with the fault, and gives back what is not through."""
    server = web_receiver()
    server.answer = lambda *_: (422, b"no", {})
    worker = worker_of(Webhook(server.url, SECRET), kept=Kept(broken=True))
    put = [entry(i) for i in range(3)]
    for each in put:
        worker.put(each)
    until(lambda: worker.ended)
    assert [*worker.finished(), *worker.close(60.0)] == put
    assert isinstance(worker.failure, OutputError)


def test_a_fault_that_nobody_foresaw_is_tried_again(until: Callable[..., None]) -> None:
    """The worker goes on, says so, and delivers when it has passed."""
    way = Remembering()
    way.bug.set()
    worker = worker_of(way)
    worker.put(entry(1))
    until(lambda: way.attempts > 2)
    assert "unexpected" in str(worker.trouble)
    way.bug.clear()
    assert worker.close(60.0) == []
    assert way.taken == ["1"]


def test_it_gives_up_after_so_many_attempts() -> None:
    """One that is told to gives back everything, and takes nothing more."""
    way = Remembering()
    way.away.set()
    worker = worker_of(way, attempts=5, capacity=10)
    put = [entry(i) for i in range(30)]
    taken = [each for each in put if worker.put(each, wait=True)]
    assert worker.close(None) == taken
    assert (way.attempts, way.taken, worker.trouble) == (5, [], "away")
    assert worker.ended


def test_a_doubt_reaches_the_receiver() -> None:
    """A batch with an entry that may have been delivered before is announced."""
    way = Remembering()
    worker = worker_of(way)
    worker.put(entry(1))
    assert worker.close(60.0) == []
    assert way.doubts == 0
    worker = worker_of(way)
    worker.put(entry(2, doubtful=True))
    assert worker.close(60.0) == []
    assert way.doubts == 1


def test_what_is_somebody_else_s_now_is_left_out(until: Callable[..., None]) -> None:
    """It is neither delivered nor given back, from the queue and from a batch that is tried again."""
    way = Remembering()
    way.away.set()
    worker = worker_of(way, at_once=10)
    for i in range(20):
        worker.put(entry(i, partition=i % 2))
    until(lambda: way.attempts > 0)
    worker.drop(lambda each: each.partition == 1)
    until(lambda: way.attempts > 3)
    way.away.clear()
    assert worker.close(60.0) == []
    assert way.taken == [str(i) for i in range(0, 20, 2)]
    assert [each.number for each in worker.finished()] == list(range(0, 20, 2))


def test_a_share_of_the_time(until: Callable[..., None]) -> None:
    """After each batch the worker rests, for as long as its share of the time asks, and ends at once when it is closed."""

    class Busy(Remembering):
        def deliver(self, batch: Sequence[Message]) -> None:
            """Compute for a while."""
            for _ in range(200_000):
                pass
            super().deliver(batch)

    way = Busy()
    worker = worker_of(way, at_once=1, share=0.0001)
    worker.put(entry(1))
    worker.put(entry(2))
    until(lambda: way.taken)
    assert [each.number for each in worker.close(0.0)] == [2]
    assert way.taken == ["1"]


@pytest.mark.parametrize("patience_s", [0.0, 0.2])
def test_it_is_closed_whatever_hangs(patience_s: float) -> None:
    """Closing returns while an attempt hangs, with the messages of the attempt and what is queued, in order."""
    let_go, begun = threading.Event(), threading.Event()

    class Hung(Delivery):
        def deliver(self, _batch: Sequence[Message]) -> None:
            """Hang."""
            begun.set()
            let_go.wait(60)

    worker = worker_of(Hung(), at_once=2)
    put = [entry(i) for i in range(5)]
    worker.put(put[0])
    assert begun.wait(60)
    for each in put[1:]:
        worker.put(each)
    assert worker.close(patience_s, 0.0) == put
    let_go.set()
