"""Splunk's collector: batches, tokens, codes and acknowledgements, with a server that answers as Splunk documents."""

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.errors import RefusedError, RetryableError
from detector.sinks.delivery import DeliveryBatch
from detector.sinks.message import Message
from detector.sinks.splunk import ACK_PATH, EVENT_PATH, LARGEST_BATCH, SplunkCollector


class Collector:
    """Answers like a collector: keeps events, refuses those marked as bad, and acknowledges when it is asked a second time."""

    def __init__(self, server: Any, *, ack: bool = False) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked = 0
        self._ack = ack
        server.answer = self

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if headers.get("authorization") != "Splunk secret":
            return 403, b'{"text":"Invalid token","code":4}', {}
        if self._ack and "x-splunk-request-channel" not in headers:
            return 400, b'{"text":"Data channel is missing","code":10}', {}
        if path == ACK_PATH:
            self.asked += 1
            return 200, json.dumps({"acks": {str(i): self.asked > 1 for i in json.loads(body)["acks"]}}).encode(), {}
        events = [json.loads(line) for line in body.split(b"\n")]
        bad = [i for i, event in enumerate(events) if event.get("bad")]
        if bad:
            said = {"text": "Invalid data format", "code": 6, "invalid-event-number": bad[0]}
            return 400, json.dumps(said).encode(), {}
        self.events += events
        return 200, b'{"text":"Success","code":0%s}' % (b',"ackId":7' if self._ack else b""), {}


def numbers(collector: Collector) -> list[int]:
    """Return the numbers of the events, in order."""
    return [event["n"] for event in collector.events]


def test_a_batch_is_one_request(make_message: Callable[..., Message], web_receiver: Callable[..., Any]) -> None:
    """All events of a batch go at once, with the token, to the documented path."""
    server = web_receiver()
    collector = Collector(server)
    sender = SplunkCollector(server.url, "secret")
    sender.deliver([make_message(i) for i in range(100)])
    sender.close()
    assert numbers(collector) == list(range(100))
    assert [path for path, _, _ in server.requests] == [EVENT_PATH]


def test_a_large_batch_is_cut(make_message: Callable[..., Message], web_receiver: Callable[..., Any]) -> None:
    """No request is larger than what a collector takes, and what was taken is not sent again when a later one fails."""
    server = web_receiver()
    collector = Collector(server)
    sender = SplunkCollector(server.url, "secret")
    text = "x" * (LARGEST_BATCH // 3)
    batch = [make_message(i, json.dumps({"n": i, "text": text, "bad": i == 6}).encode()) for i in range(8)]
    with pytest.raises(RefusedError) as caught:
        sender.deliver(batch)
    assert all(len(body) <= LARGEST_BATCH + 10 for _, _, body in server.requests)
    assert caught.value.at == 6
    assert numbers(collector) == list(range(caught.value.done))
    sender.close()


def test_only_the_bad_event_is_refused(make_message: Callable[..., Message], web_receiver: Callable[..., Any]) -> None:
    """The collector names the event that it stumbled over; all others arrive once."""
    server = web_receiver()
    collector = Collector(server)
    sender = SplunkCollector(server.url, "secret")
    batch = [make_message(i, json.dumps({"n": i, "bad": i in {3, 7}}).encode()) for i in range(10)]
    refused: list[str] = []
    DeliveryBatch(batch).push(sender, lambda message, _why: refused.append(message.id))
    sender.close()
    assert refused == ["3", "7"]
    assert numbers(collector) == [0, 1, 2, 4, 5, 6, 8, 9]


@pytest.mark.parametrize(
    ("status", "code", "final"),
    [
        (400, 6, True),
        (400, 12, True),
        (400, 7, False),
        (400, 10, False),
        (403, 4, False),
        (404, None, False),
        (413, None, True),
        (503, 9, False),
    ],
)
def test_only_codes_about_an_event_refuse_it(
    make_message: Callable[..., Message], web_receiver: Callable[..., Any], status: int, code: int | None, final: bool
) -> None:
    """A wrong index, token or address waits until it is mended; a broken event does not."""
    server = web_receiver()
    server.answer = lambda *_: (status, json.dumps({"text": "no", "code": code} if code else {}).encode(), {})
    sender = SplunkCollector(server.url, "secret")
    with pytest.raises(RefusedError if final else RetryableError, match=str(status)):
        sender.deliver([make_message(1)])
    sender.close()


def test_acknowledgement_is_waited_for(make_message: Callable[..., Message], web_receiver: Callable[..., Any]) -> None:
    """With acknowledgement a batch is through when the collector says that it is indexed, asked on the same channel."""
    server = web_receiver()
    collector = Collector(server, ack=True)
    sender = SplunkCollector(server.url, "secret", ack=True, ack_every_s=0.01)
    sender.deliver([make_message(i) for i in range(3)])
    sender.close()
    assert (numbers(collector), collector.asked) == ([0, 1, 2], 2)
    assert len({headers["x-splunk-request-channel"] for _, headers, _ in server.requests}) == 1


def test_without_acknowledgement_in_time_it_is_tried_again(
    make_message: Callable[..., Message], web_receiver: Callable[..., Any]
) -> None:
    """A collector that never acknowledges, or has no number to ask for, has not got the batch."""
    server = web_receiver()
    server.answer = lambda path, *_: (200, b'{"acks":{"7":false}}' if path == ACK_PATH else b'{"ackId":7}', {})
    sender = SplunkCollector(server.url, "secret", ack=True, ack_every_s=0.01, ack_patience_s=0.05)
    with pytest.raises(RetryableError, match="not acknowledged"):
        sender.deliver([make_message(1)])
    server.answer = lambda *_: (200, b'{"code":0}', {})
    with pytest.raises(RetryableError, match="turn on indexer acknowledgement"):
        sender.deliver([make_message(1)])
    sender.close()


def test_tls(
    make_message: Callable[..., Message], web_receiver: Callable[..., Any], server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """With the authority's certificate it works; without, the error says what to set and no event leaves."""
    server = web_receiver(server_tls)
    collector = Collector(server)
    with pytest.raises(RetryableError, match="set ca_file"):
        SplunkCollector(server.url, "secret").deliver([make_message(1)])
    assert server.requests == []
    sender = SplunkCollector(server.url, "secret", ca_file=ca_file)
    sender.deliver([make_message(1)])
    sender.close()
    assert numbers(collector) == [1]
