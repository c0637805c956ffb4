"""Webhooks: signed as the published convention has it, one request per message, and never lost."""

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as PublishedWebhook
from standardwebhooks.webhooks import WebhookVerificationError

from detector.errors import ConfigError, RefusedError, RetryableError
from detector.sinks.delivery import DeliveryBatch
from detector.sinks.message import Message
from detector.sinks.webhook import TOLERANCE_S, Webhook, key_of, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.binary(max_size=200))
def test_the_published_library_accepts_our_signature(message_id: str, body: bytes) -> None:
    """What we sign, the library of the convention verifies; with one byte more it does not."""
    text = f'"{body.hex()}"'  # the library takes JSON
    timestamp = int(time.time())
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(key_of(SECRET), message_id, timestamp, text.encode()),
    }
    published = PublishedWebhook(SECRET)
    published.verify(text, headers)
    with pytest.raises(WebhookVerificationError):
        published.verify(text + " ", headers)
    assert verify(key_of(SECRET), headers, text.encode(), time.time()) == message_id


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "8"},
        {"webhook-timestamp": "1777890668"},
        {"webhook-timestamp": "soon"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": ""},
    ],
)
def test_nothing_can_be_changed(change: dict[str, str]) -> None:
    """Another id, time or signature is refused; so is a missing one."""
    key = key_of(SECRET)
    headers = {"webhook-id": "7", "webhook-timestamp": "1777890667", "webhook-signature": sign(key, "7", 1777890667, b"{}")}
    assert verify(key, headers, b"{}", 1777890667.0) == "7"
    with pytest.raises(ValueError, match=r"time|signature"):
        verify(key, headers | change, b"{}", 1777890667.0)
    for name in headers:
        with pytest.raises(ValueError, match=r"time|signature"):
            verify(key, {other: value for other, value in headers.items() if other != name}, b"{}", 1777890667.0)


@given(st.text(), st.text(), st.text(), st.binary(max_size=20))
def test_a_stranger_gets_one_kind_of_error(message_id: str, timestamp: str, signature: str, body: bytes) -> None:
    """Whatever headers hold, `verify` raises ValueError and nothing else, so a receiver answers 401 and does not fall over."""
    for given_time in (timestamp, "1777890667", "9" * 5000):
        headers = {"webhook-id": message_id, "webhook-timestamp": given_time, "webhook-signature": f"{signature} v1,ü"}
        with pytest.raises(ValueError, match=r"time|signature"):
            verify(key_of(SECRET), headers, body, 1777890667.0)


def test_a_message_without_an_id_is_refused() -> None:
    """Repeats are known by their ids, so there is none without, however well it is signed."""
    key = key_of(SECRET)
    headers = {"webhook-timestamp": "1777890667", "webhook-signature": sign(key, "", 1777890667, b"{}")}
    with pytest.raises(ValueError, match="without an id"):
        verify(key, headers, b"{}", 1777890667.0)


def test_an_old_request_is_refused() -> None:
    """A request that was recorded is of no use after five minutes, nor is one from the future."""
    key = key_of(SECRET)
    headers = {"webhook-id": "7", "webhook-timestamp": "1777890667", "webhook-signature": sign(key, "7", 1777890667, b"{}")}
    for away in (TOLERANCE_S + 1, -TOLERANCE_S - 1):
        with pytest.raises(ValueError, match="too far from now"):
            verify(key, headers, b"{}", 1777890667.0 + away)


@pytest.mark.parametrize("secret", ["short", "whsec_!!!", "whsec_c2hvcnQ="])
def test_weak_secrets_are_refused(secret: str) -> None:
    """A secret that is too short or not base64 is a mistake of the configuration."""
    with pytest.raises(ConfigError, match="secret of a webhook"):
        key_of(secret)


def test_each_message_is_one_signed_request(make_message: Callable[..., Message], web_receiver: Callable[..., Any]) -> None:
    """The receiver can verify every request, and knows each by its id."""
    server = web_receiver()
    sender = Webhook(f"{server.url}/hook?x=1", SECRET)
    sender.deliver([make_message(i) for i in range(5)])
    sender.close()
    assert [path for path, _, _ in server.requests] == ["/hook?x=1"] * 5
    assert [verify(key_of(SECRET), headers, body, time.time()) for _, headers, body in server.requests] == list("01234")
    assert [body["n"] for body in server.bodies()] == list(range(5))


def test_what_is_through_is_not_sent_again(make_message: Callable[..., Message], web_receiver: Callable[..., Any]) -> None:
    """When the third request finds the receiver busy, the two before it are done; the next attempt begins with the third."""
    server = web_receiver()
    busy = [True]

    def answer(_path: str, headers: dict[str, str], _body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if headers["webhook-id"] == "2" and busy:
            busy.clear()
            return 503, b"later", {"retry-after": "4"}
        return 204, b"", {}

    server.answer = answer
    sender = Webhook(server.url, SECRET)
    load = DeliveryBatch([make_message(i) for i in range(4)])
    with pytest.raises(RetryableError, match="503 later") as caught:
        load.push(sender, lambda *_: pytest.fail("nothing is refused for good"))
    assert caught.value.after_s == 4.0
    load.push(sender, lambda *_: pytest.fail("nothing is refused for good"))
    sender.close()
    assert [headers["webhook-id"] for _, headers, _ in server.requests] == ["0", "1", "2", "2", "3"]


@pytest.mark.parametrize(
    ("status", "final"),
    [
        (400, True),
        (413, True),
        (422, True),
        (401, False),
        (403, False),
        (404, False),
        (408, False),
        (429, False),
        (500, False),
        (301, False),
        (100, False),
    ],
)
def test_what_a_receiver_may_say(
    make_message: Callable[..., Message], web_receiver: Callable[..., Any], status: int, final: bool
) -> None:
    """Only answers about the message refuse it; a redirect is not followed."""
    server = web_receiver()
    server.answer = lambda *_: (status, b"", {"location": "/elsewhere"})
    sender = Webhook(server.url, SECRET, timeout_s=0.5 if status == 100 else 30.0)
    with pytest.raises(RefusedError if final else RetryableError):
        sender.deliver([make_message(1)])
    sender.close()
    assert {path for path, _, _ in server.requests} == {"/"}


def test_a_connection_that_is_cut_is_tried_again(
    make_message: Callable[..., Message], web_receiver: Callable[..., Any]
) -> None:
    """A receiver that hangs up without an answer may have the message or not: it is sent again with the same id."""
    server = web_receiver()
    server.answer = lambda *_: None
    sender = Webhook(server.url, SECRET)
    with pytest.raises(RetryableError):
        sender.deliver([make_message(1)])
    server.answer = lambda *_: (200, b"", {})
    sender.deliver([make_message(1)])
    sender.close()
    assert {headers["webhook-id"] for _, headers, _ in server.requests} == {"1"}


def test_nobody_listens(make_message: Callable[..., Message], deaf_port: int) -> None:
    """The address is told, the path not, since it may hold a secret."""
    with pytest.raises(RetryableError, match=f"http://127.0.0.1:{deaf_port}: ") as caught:
        Webhook(f"http://127.0.0.1:{deaf_port}/services/T0/secret", SECRET).deliver([make_message(1)])
    assert "T0" not in str(caught.value)


def test_tls(
    make_message: Callable[..., Message], web_receiver: Callable[..., Any], server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """A receiver with a certificate of the authority is trusted, another is not."""
    server = web_receiver(server_tls)
    with pytest.raises(RetryableError, match="set ca_file"):
        Webhook(server.url, SECRET).deliver([make_message(1)])
    sender = Webhook(server.url, SECRET, ca_file=ca_file)
    sender.deliver([make_message(2)])
    sender.close()
    assert [body["n"] for body in server.bodies()] == [2]


@pytest.mark.parametrize("url", ["ftp://host/x", "host/x", "http://"])
def test_addresses_that_cannot_be_posted_to(url: str) -> None:
    """They are mistakes of the configuration."""
    with pytest.raises(ConfigError, match="no address to post to"):
        Webhook(url, SECRET)
