"""Logs of the service: one JSON object per line, or readable lines on a terminal; on standard error either way.

A client's id is often personal data, so ``client`` is logged as a keyed digest, except at level debug. The same client has the
same digest in every line, and the operator's seed is needed to compute it. Passwords are removed from every line, whatever
their source. So is anything of the form of a JSON Web Token, since tokens change at run time. Warnings of the Kafka client take
the same path.
"""

import json
import logging
import math
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, MutableMapping
from hashlib import blake2b
from typing import Any, Literal, TextIO

import structlog

from detector.names import harmless

Level = Literal["debug", "info", "warning", "error", "critical"]
Event = MutableMapping[str, Any]

MASK = "***"
CLIENT_LIBRARY = "kafka"
OTHER_LIBRARIES = ("elastic_transport", "elasticsearch", "urllib3")
# It warns of each loop iteration that takes more than 0.1 s, which on a busy machine hides everything else.
NOISE = "kafka.net.selector"
SAME_S = 60.0
MOST_KINDS = 1000

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")  # base64 of '{"', claims, signature


def digest(client: str, seed: int) -> str:
    """Return the digest that replaces a client's id in the log.

    >>> digest("acme", 1) == digest("acme", 1), digest("acme", 1) == digest("acme", 2)
    (True, False)
    """
    key = seed.to_bytes(8, "little")
    return "c-" + blake2b(client.encode(errors="surrogatepass"), digest_size=6, key=key).hexdigest()


class HashClients:
    """A processor that replaces a client's id with its digest."""

    def __init__(self, seed: int) -> None:
        """Key the digests with the operator's seed."""
        self._seed = seed

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        """Replace the value under ``client``, if there is one."""
        if event.get("client") is not None:
            event["client"] = digest(str(event["client"]), self._seed)
        return event


class Rarely(logging.Filter):
    """Lets one line of a kind pass per minute, and adds to the next one how many were suppressed.

    Lines that differ only in numbers are of one kind: a library reports a failure at each attempt.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with no lines seen."""
        super().__init__()
        self._monotonic = monotonic
        self._kinds: OrderedDict[tuple[str, int, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line passes."""
        text = record.getMessage()
        kind = record.name, record.levelno, _NUMBER.sub("#", text)
        now = self._monotonic()
        told_s, kept = self._kinds.get(kind, (-math.inf, 0))
        if now < told_s + SAME_S:
            self._kinds[kind] = (told_s, kept + 1)
            return False
        self._kinds[kind] = (now, 0)
        self._kinds.move_to_end(kind)
        if len(self._kinds) > MOST_KINDS:
            self._kinds.popitem(last=False)
        if kept:
            record.msg, record.args = f"{text} (repeated {kept:,} times since it was last logged)", None
        return True


class CutOut:
    """The last processor: removes secrets from a finished line, both verbatim and as the renderers escape them."""

    def __init__(self, secrets: Collection[str | None]) -> None:
        """Remember the secrets; None and empty texts are ignored."""
        forms = {secret for secret in secrets if secret}
        for _ in range(2):  # a message may hold the representation of a dictionary, and is then escaped itself
            forms |= {escaped for form in forms for escaped in _escaped(form)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, _logger: Any, _method: str, line: str) -> str:
        """Return the line with every secret masked."""
        for form in self._forms:
            line = line.replace(form, MASK)
        return _TOKEN.sub(MASK, line)


def configure(
    level: Level = "info", *, seed: int = 0, secrets: Collection[str | None] = (), stream: TextIO | None = None
) -> None:
    """Set up logging for this process: once, at its start. Lines go to `stream`, standard error by default.

    `seed` keys the digests of clients, `secrets` never appear. Below warning the Kafka client is silent at every level: its
    debug lines hold whole requests. Of its lines that differ in numbers only, one a minute is seen.
    """
    out = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([] if level == "debug" else [HashClients(seed)]),
    ]
    last = [_harmless_values, *_renderers(out), CutOut(secrets)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    handler.addFilter(Rarely())
    for name in (CLIENT_LIBRARY, *OTHER_LIBRARIES):
        library = logging.getLogger(name)
        library.handlers = [handler]
        # We report errors of HTTP requests ourselves.
        library.setLevel(max(logging.WARNING, number) if name == CLIENT_LIBRARY else logging.CRITICAL)
        library.propagate = False
    logging.getLogger(NOISE).setLevel(logging.ERROR)


def _harmless_values(_logger: Any, _method: str, event: Event) -> Event:
    """Remove terminal control characters from values that come from outside; line breaks stay, for tracebacks."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = harmless(value)
    return event


def _escaped(text: str) -> tuple[str, ...]:
    return (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])


def _renderers(out: TextIO) -> list[Any]:
    if out.isatty():
        # Plain tracebacks: the colourful ones show the values of local variables, and those hold passwords.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
