"""Logs of the service: one JSON object a line, or readable lines on a terminal; on standard error either way.

A client's id is personal data in many places, so what is logged under ``client`` is a keyed digest of it, except at level
debug: the same client has the same digest in every line, and who has the operator's seed can compute it. Passwords are cut
out of every line, wherever they came from, and so is whatever looks like a JSON Web Token, since tokens come and go; the Kafka
client's own warnings go the same way as ours.
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
# It warns of each turn of its loop that takes more than 0.1 s, which on a busy machine is most of what it says.
NOISE = "kafka.net.selector"
SAME_S = 60.0
MOST_KINDS = 1000

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")  # base64 of '{"', claims, signature


def digest(client: str, seed: int) -> str:
    """Return what stands for a client in the log.

    >>> digest("acme", 1) == digest("acme", 1), digest("acme", 1) == digest("acme", 2)
    (True, False)
    """
    key = seed.to_bytes(8, "little")
    return "c-" + blake2b(client.encode(errors="surrogatepass"), digest_size=6, key=key).hexdigest()


class HashClients:
    """A processor that puts a digest in place of a client's id."""

    def __init__(self, seed: int) -> None:
        """Key the digests with the operator's seed."""
        self._seed = seed

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        """Replace the value under ``client``, if there is one."""
        if event.get("client") is not None:
            event["client"] = digest(str(event["client"]), self._seed)
        return event


class Rarely(logging.Filter):
    """Lets one line of a kind pass a minute, and says with the next one how many it kept back.

    A kind is what a line says without its numbers: a library that cannot do something says so at each attempt.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._monotonic = monotonic
        self._kinds: OrderedDict[tuple[str, int, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be seen."""
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
            record.msg, record.args = f"{text} (repeated {kept:,} times since it was last said)", None
        return True


class CutOut:
    """The last processor: takes secrets out of a finished line, as they are and as the renderers would escape them."""

    def __init__(self, secrets: Collection[str | None]) -> None:
        """Remember what must not be seen; None and empty texts are no secrets."""
        forms = {secret for secret in secrets if secret}
        for _ in range(2):  # a message may hold the representation of a dictionary, and is then escaped itself
            forms |= {escaped for form in forms for escaped in _escaped(form)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, _logger: Any, _method: str, line: str) -> str:
        """Return the line without them."""
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
        # What fails in an exchange over HTTP gets its sentence from us.
        library.setLevel(max(logging.WARNING, number) if name == CLIENT_LIBRARY else logging.CRITICAL)
        library.propagate = False
    logging.getLogger(NOISE).setLevel(logging.ERROR)


def _harmless_values(_logger: Any, _method: str, event: Event) -> Event:
    """Let nothing that comes from outside act on a terminal; ends of lines stay, for tracebacks."""
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
