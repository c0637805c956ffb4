"""Webhooks: one signed request per message, as https://www.standardwebhooks.com has it, so libraries exist for receivers.

A request has three headers: ``webhook-id``, the same each time a message is sent, so that a receiver can skip
repeats; ``webhook-timestamp``, when it was sent, in seconds since 1970; and ``webhook-signature``, ``v1,`` and the base64 of
HMAC-SHA256 over id, timestamp and body, joined by dots. The signature proves the sender and that the request was
not changed; the timestamp prevents replays of old requests. `verify` is the receiver's check.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from detector.errors import ConfigError, RefusedError, RetryableError
from detector.sinks.delivery import Delivery
from detector.sinks.formats import Format, encoder
from detector.sinks.http import HttpClient, PostingSection
from detector.sinks.message import Message
from detector.sinks.receiver import Receiver, SinkKind, rendered

PREFIX: Final = "whsec_"
TOLERANCE_S: Final = 300
LONGEST_TIME: Final = 20  # digits
AT_ONCE: Final = 20  # messages per attempt, each of which is one request


class WebhookSection(PostingSection):
    """A webhook; the secret is the key of the signature."""

    kind: Literal["webhook"] = Field("webhook", description="what takes it")
    format: Format = Field("native", description="how alerts and decisions are written")


def key_of(secret: str) -> bytes:
    """Return the key: the base64 after ``whsec_``, or, without that, the bytes of the text itself.

    Raises `ConfigError` for a secret that is no base64, or too short to be one.

    >>> key_of("whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgMjQ=")
    b'secret secret secret 24'
    """
    if not secret.startswith(PREFIX):
        key = secret.encode()
    else:
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error as error:
            raise ConfigError(f"the secret of a webhook after {PREFIX} is not base64") from error
    if len(key) < 16:
        raise ConfigError("the secret of a webhook is too short: it needs 16 bytes, better 32")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a request.

    >>> sign(b"secret secret secret 24", "7", 1_777_890_667, b"{}")
    'v1,S10pFL+LQM++Tg4XXkX/HKj2KKB3G+3KJlhIUfaCcXE='
    """
    content = f"{message_id}.{timestamp}.".encode(errors="surrogatepass") + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    """Return the id of the message when the request is genuine and no older or newer than five minutes.

    `headers` have lower-case names. Raises ValueError otherwise. Compare ids with those of the last minutes, too: a request
    may come twice.

    >>> key = key_of("a secret that both sides know")
    >>> headers = {"webhook-id": "7", "webhook-timestamp": "1777890667", "webhook-signature": sign(key, "7", 1777890667, b"{}")}
    >>> verify(key, headers, b"{}", now_s=1777890700)
    '7'
    >>> verify(key, headers, b"{ }", now_s=1777890700)
    Traceback (most recent call last):
    ValueError: the signature does not fit
    """
    given = headers.get("webhook-timestamp", "")
    if not (given.isascii() and given.isdigit() and len(given) <= LONGEST_TIME) or abs(now_s - int(given)) > TOLERANCE_S:
        raise ValueError("the time is missing or too far from now")
    message_id = headers.get("webhook-id", "")
    expected = sign(key, message_id, int(given), body).encode()
    # Several signatures, separated by spaces, while a secret is changed. Bytes, since compare_digest takes only ASCII text.
    signatures = headers.get("webhook-signature", "").encode(errors="surrogatepass").split(b" ")
    if not any(hmac.compare_digest(expected, one) for one in signatures):
        raise ValueError("the signature does not fit")
    if not message_id:
        raise ValueError("the signature does not fit a message without an id")
    return message_id


class Webhook(Delivery):
    """Posts each message to one address."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        content_type: str = "application/json",
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._client = HttpClient(url, ca_file=ca_file, timeout_s=timeout_s)
        self._url = url
        self._key = key_of(secret)
        self._content_type = content_type
        self._now_s = now_s

    def deliver(self, batch: Sequence[Message]) -> None:
        """Post the messages one after the other."""
        for done, message in enumerate(batch):
            timestamp = int(self._now_s())
            try:
                answer = self._client.post(
                    self._url,
                    message.body,
                    {
                        "content-type": self._content_type,
                        "user-agent": "detector",
                        "webhook-id": message.id,
                        "webhook-timestamp": str(timestamp),
                        "webhook-signature": sign(self._key, message.id, timestamp, message.body),
                    },
                )
            except RetryableError as error:
                error.done = done
                raise
            if answer.final:
                raise RefusedError(answer.summary(), done=done, at=done)
            if not answer.accepted:
                raise RetryableError(answer.summary(), done=done, after_s=answer.after_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _build(section: WebhookSection) -> Receiver:
    url, secret, patience_s = section.url, section.secret_text(), section.timeout_seconds
    content_type = "text/plain; charset=utf-8" if section.format == "cef" else "application/json"

    def way() -> Delivery:
        return Webhook(url, secret, content_type=content_type, ca_file=section.ca_file, timeout_s=patience_s)

    way().close()  # so that an unusable secret or certificate is reported now
    return Receiver(section, rendered(encoder(section.format)), way, AT_ONCE)


SINK = SinkKind(WebhookSection, _build)
