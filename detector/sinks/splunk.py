"""Splunk's HTTP Event Collector: events in batches, with a token, and with acknowledgement where the token asks for it.

The collector responds when it has read a batch, before it has indexed it. With indexer acknowledgement on the token, the
response contains a number, and the sink polls that number until the collector reports the batch as indexed. A batch that is not
acknowledged in time is sent again.

A response with status 400 has an error code. Errors of the token, its channel or the index are fixed in Splunk, so the batch
waits. Other codes are about an event; where the collector names the event, only that one is refused.
"""

import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

from pydantic import Field
from urllib3.util import parse_url

from detector.errors import RefusedError, RetryableError
from detector.sinks.delivery import Delivery
from detector.sinks.formats import Format, enveloped
from detector.sinks.hec import Envelope
from detector.sinks.http import HttpClient, HttpResponse, PostingSection
from detector.sinks.message import Message
from detector.sinks.receiver import Receiver, SinkKind, rendered

EVENT_PATH: Final = "/services/collector/event"
ACK_PATH: Final = "/services/collector/ack"
LARGEST_BATCH: Final = 800_000  # bytes; a collector's default limit is 1 MB
_ABOUT_AN_EVENT: Final = frozenset({5, 6, 12, 13, 15})


class SplunkSection(PostingSection):
    """A Splunk with an HTTP Event Collector; the secret is its token."""

    kind: Literal["splunk"] = Field("splunk", description="what takes it")
    format: Format = Field("hec", description="how alerts and decisions are written")
    index: str | None = Field(None, description="index, where it is not the token's own")
    ack: bool = Field(default=False, description="wait until indexed; the token must have indexer acknowledgement")


class SplunkCollector(Delivery):
    """Delivers to one collector; `url` is its address, with or without the path."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ack: bool = False,
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
        ack_patience_s: float = 60.0,
        ack_every_s: float = 0.5,
    ) -> None:
        self._client = HttpClient(url, ca_file=ca_file, timeout_s=timeout_s)
        parsed = parse_url(url)
        self._base = f"{parsed.scheme}://{parsed.netloc}"
        self._url = url if (parsed.path or "/") != "/" else self._base + EVENT_PATH
        self._headers = {"Authorization": f"Splunk {token}", "Content-Type": "application/json"}
        if ack:
            self._headers["X-Splunk-Request-Channel"] = str(uuid4())
        self._ack = ack
        self._ack_patience_s = ack_patience_s
        self._ack_every_s = ack_every_s

    def deliver(self, batch: Sequence[Message]) -> None:
        """Post the batch, in several requests where it is large."""
        done = 0
        while done < len(batch):
            size, count = 0, 0
            while done + count < len(batch) and (not count or size + len(batch[done + count].body) < LARGEST_BATCH):
                size += len(batch[done + count].body) + 1
                count += 1
            self._post(batch[done : done + count], done)
            done += count

    def _post(self, part: Sequence[Message], done: int) -> None:
        try:
            answer = self._client.post(self._url, b"\n".join(message.body for message in part), self._headers)
        except RetryableError as error:
            error.done = done
            raise
        if not answer.accepted:
            raise _failure(answer, len(part), done)
        if self._ack:
            self._wait(_decoded(answer).get("ackId"), done)

    def _wait(self, number: Any, done: int) -> None:
        if number is None:
            raise RetryableError("the collector gave no ackId: turn on indexer acknowledgement for the token", done=done)
        until = time.monotonic() + self._ack_patience_s
        while True:
            try:
                answer = self._client.post(self._base + ACK_PATH, json.dumps({"acks": [number]}).encode(), self._headers)
            except RetryableError as error:
                error.done = done
                raise
            if not answer.accepted:
                raise RetryableError(f"acknowledgement: {answer.summary()}", done=done, after_s=answer.after_s)
            acks = _decoded(answer).get("acks")
            if isinstance(acks, dict) and acks.get(str(number)) is True:
                return
            if time.monotonic() > until:
                raise RetryableError(f"not acknowledged within {self._ack_patience_s:g} s", done=done)
            time.sleep(self._ack_every_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _decoded(answer: HttpResponse) -> dict[str, Any]:
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _failure(answer: HttpResponse, sent: int, done: int) -> RetryableError | RefusedError:
    """Return the error of a response: retryable, or the refused event."""
    said = _decoded(answer)
    code = said.get("code")
    if not answer.final or (answer.status == 400 and code is not None and code not in _ABOUT_AN_EVENT):
        return RetryableError(answer.summary(), done=done, after_s=answer.after_s)
    number = said.get("invalid-event-number")  # counted from 0
    at = done + number if isinstance(number, int) and 0 <= number < sent else None
    # Events before it may be stored or not, so they are sent again.
    return RefusedError(answer.summary(), done=done, at=at)


def _build(section: SplunkSection) -> Receiver:
    url, token, patience_s = section.url, section.secret_text(), section.timeout_seconds

    def way() -> Delivery:
        return SplunkCollector(url, token, ack=section.ack, ca_file=section.ca_file, timeout_s=patience_s)

    way().close()  # so that an unusable secret or certificate is reported now
    envelope = Envelope(host=socket.gethostname(), index=section.index)
    return Receiver(section, rendered(enveloped(section.format, envelope)), way)


SINK = SinkKind(SplunkSection, _build)
