"""The receivers of the configuration, made ready: how to write for each, what it is sent, and the way to it."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from detector.config import DeliverySection
from detector.contracts import Alert
from detector.contracts.ecs import Severity
from detector.errors import ConfigError
from detector.sinks.delivery import MOST_AT_ONCE, Delivery
from detector.sinks.file import LinesFile
from detector.sinks.formats import Format, encoder, enveloped
from detector.sinks.hec import Envelope
from detector.sinks.message import Document, Message, message, passes
from detector.sinks.splunk import SplunkCollector
from detector.sinks.syslog import StreamSyslog, UdpSyslog, trusting
from detector.sinks.webhook import Webhook

_DEFAULT_FORMATS: Final[dict[str, Format]] = {"syslog": "cef", "splunk": "hec", "webhook": "native", "file": "native"}
_AT_ONCE: Final = {"syslog": 200, "splunk": MOST_AT_ONCE, "webhook": 20, "file": MOST_AT_ONCE}
_LONGEST_ATTEMPT_S: Final = 200.0  # Kafka takes a member for dead that has not polled for 300 s


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where documents go: `open` makes a way there, which the one thread that uses it has to close."""

    name: str
    alerts: bool
    decisions: bool
    least: Severity
    at_once: int
    encode: Callable[[Document], bytes]
    open: Callable[[], Delivery]

    def written(self, document: Document) -> Message | None:
        """Return the document as this receiver is sent it, or None when it is not meant to have it."""
        wanted = self.alerts if isinstance(document, Alert) else self.decisions
        if not wanted or not passes(document, self.least):
            return None
        return message(document, self.encode(document))


def receiver(section: DeliverySection) -> Receiver:
    """Make a receiver ready; nothing is connected yet.

    Raises `ConfigError` when a secret or a certificate cannot be read.

    >>> from detector.sinks.sample import sample_alert
    >>> quiet = receiver(DeliverySection(name="lines", kind="file", path="alerts.log", format="cef", min_severity="critical"))
    >>> quiet.written(sample_alert(severity="high")), quiet.written(sample_alert()).severity
    (None, 'critical')
    """
    name: Format = section.format or _DEFAULT_FORMATS[section.kind]
    if section.kind == "splunk":
        encode = enveloped(name, Envelope(host=socket.gethostname(), index=section.index))
    else:
        encode = encoder(name)
    return Receiver(
        name=section.name,
        alerts="alerts" in section.send,
        decisions="decisions" in section.send,
        least=section.min_severity,
        at_once=_at_once(section),
        encode=encode,
        open=_way(section, "text/plain; charset=utf-8" if name == "cef" else "application/json"),
    )


def _at_once(section: DeliverySection) -> int:
    """Return how many messages one attempt carries: of a webhook, which has an exchange for each, so many as time allows."""
    most = _AT_ONCE[section.kind]
    return min(most, max(int(_LONGEST_ATTEMPT_S / section.timeout_seconds), 1)) if section.kind == "webhook" else most


def _way(section: DeliverySection, content_type: str) -> Callable[[], Delivery]:
    patience_s = section.timeout_seconds
    if section.kind == "file" and section.path is not None:
        path = section.path
        return lambda: LinesFile(path)
    if section.kind == "syslog" and section.address is not None:
        name, _, digits = section.address.rpartition(":")
        host, port = name.strip("[]"), int(digits)
        facility = section.facility
        if section.transport == "udp":
            return lambda: UdpSyslog(host, port, facility=facility)
        context = trusting(section.ca_file) if section.transport == "tls" else None
        return lambda: StreamSyslog(host, port, context=context, facility=facility, timeout_s=patience_s)
    url, secret, ca_file = section.url or "", section.secret_text(), section.ca_file
    if section.kind == "splunk":
        way: Callable[[], Delivery] = lambda: SplunkCollector(  # noqa: E731
            url, secret, ack=section.ack, ca_file=ca_file, timeout_s=patience_s
        )
    else:
        way = lambda: Webhook(url, secret, content_type=content_type, ca_file=ca_file, timeout_s=patience_s)  # noqa: E731
    try:
        way().close()  # a secret or certificate that cannot be used shows now
    except ConfigError as error:
        raise ConfigError(f"delivery {section.name!r}: {error}") from error
    return way
