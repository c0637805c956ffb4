"""Who asked: the rules of the configuration, in turn, and then what the format knows by itself."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple, TypeAlias

import jmespath
from jmespath.exceptions import JMESPathError

from detector.config.ingest import ClientRule, IngestSection
from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS, USER_AGENT_CHARACTERS
from detector.ingest.formats.bodies import parsed
from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import cut

__all__ = ["Identity", "body_of", "headers_of", "lowered", "text_of"]


GATEWAY_HEADERS: Final = ("x-consumer-username", "x-consumer-id", "x-consumer-custom-id", "x-credential-identifier")
"""What Kong and APISIX tell the server of who asked. Whoever reaches the server past them can write these, too."""


MOST_TRIED: Final = 100  # entries of a list that a rule's path leads to
LONGEST: Final = 4096  # characters of a text that a pattern is sought in


_PORT: Final = re.compile(r"^(\[[^\]]*\]|\d+\.\d+\.\d+\.\d+):\d+$")
_NAMES: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_Search: TypeAlias = Callable[[Any], Any]


_MOST_ADDRESSES: Final = 4096  # that are remembered


class _Rule(NamedTuple):
    rule: ClientRule
    path: _Search | None
    pattern: re.Pattern[str] | None


class Identity:
    """Finds who made a call, by ``[[ingest.clients]]``; the first rule that finds a text decides."""

    def __init__(self, section: IngestSection) -> None:
        self._rules = [
            _Rule(
                rule,
                None if rule.path is None and rule.body is None else _search_of(rule.path or rule.body or ""),
                None if rule.pattern is None else re.compile(rule.pattern),
            )
            for rule in section.clients
        ]
        self._proxies = [ip_network(network, strict=False) for network in section.trusted_proxies]
        self._addresses: dict[str, str | None] = {}

    @property
    def reads_documents(self) -> bool:
        """Whether a rule looks into the record: where none does, a format need not say what it holds."""
        return any(entry.rule.path is not None for entry in self._rules)

    def caller(self, call: Call) -> Caller:
        """Return who asked; `id` is None where nothing says so."""
        known, headers = call.caller, call.headers
        caller, kind, trusted = _cut(known.id, ID_CHARACTERS), known.type, known.trusted
        for entry in self._rules:
            text = _normalized(_sought(entry, call), entry.rule)
            if text:
                caller, kind, trusted = text[:ID_CHARACTERS], entry.rule.type or kind, entry.rule.trusted
                break
        else:
            if caller is None and headers and not call.at_gateway:
                header = next((headers[name] for name in GATEWAY_HEADERS if headers.get(name)), None)
                caller = _cut(header, ID_CHARACTERS)
        return Caller(
            caller,
            _cut(kind, TEXT_CHARACTERS),
            trusted,
            _cut(known.organization, TEXT_CHARACTERS),
            _cut(known.ip or self._address(headers.get("x-forwarded-for")), TEXT_CHARACTERS),
            _cut(known.user_agent or headers.get("user-agent"), USER_AGENT_CHARACTERS),
        )

    def _address(self, forwarded: str | None) -> str | None:
        if not forwarded or len(forwarded) > TEXT_CHARACTERS:
            return _address(forwarded, self._proxies)
        if forwarded not in self._addresses:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses.clear()
            self._addresses[forwarded] = _address(forwarded, self._proxies)
        return self._addresses[forwarded]

    def source(self, call: Call) -> str:
        """Say what names the client of a call: the rule, such as ``path user.id``, or a header that gateways set.

        Empty where the format itself names the client, or nothing does.
        """
        for entry in self._rules:
            if _normalized(_sought(entry, call), entry.rule):
                rule = entry.rule
                kind = next(kind for kind in ("header", "path", "body", "constant") if getattr(rule, kind) is not None)
                return f"{kind} {getattr(rule, kind)}"
        if call.caller.id or call.at_gateway:
            return ""
        return next((f"header {name}" for name in GATEWAY_HEADERS if call.headers.get(name)), "")


def _sought(entry: _Rule, call: Call) -> str | None:
    rule = entry.rule
    if rule.constant is not None:
        return rule.constant
    if rule.header is not None:
        found: Any = call.headers.get(rule.header.lower())
    else:
        found = entry.path and entry.path(call.document if rule.path is not None else body_of(call))
    for value in found[:MOST_TRIED] if isinstance(found, list) else [found]:
        text = text_of(value)
        if text is not None and entry.pattern is not None:
            match = entry.pattern.search(text[:LONGEST])
            text = None if match is None else match.group(1 if entry.pattern.groups else 0)
        if text:
            return text
    return None


def body_of(call: Call) -> Any:
    """Return the body of a call's request as a document; None where it has none that can be read."""
    if call.request is None:
        return None
    try:
        return parsed(call.request)
    except UnusableError:
        return None


def _search_of(expression: str) -> _Search:
    """Return what finds the value that a JMESPath leads to; names with dots between them need no interpreter."""
    if _NAMES.fullmatch(expression):
        names = tuple(expression.split("."))

        def walk(document: Any) -> Any:
            for name in names:
                document = document.get(name) if isinstance(document, dict) else None
            return document

        return walk
    path = jmespath.compile(expression)

    def search(document: Any) -> Any:
        try:
            return path.search(document)
        except (JMESPathError, TypeError, ValueError, RecursionError):
            return None

    return search


def text_of(value: Any) -> str | None:
    """Return a value as text where it is one text or number, of a list the first; else None."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _normalized(text: str | None, rule: ClientRule) -> str | None:
    if text is None:
        return None
    for step in rule.normalize:
        text = text.strip() if step == "trim" else text.casefold() if step == "lower" else unicodedata.normalize("NFC", text)
    return text


def _cut(text: str | None, characters: int) -> str | None:
    return cut(text, characters) or None if text else None


def _address(forwarded: str | None, proxies: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """Return the last address of X-Forwarded-For that is none of our proxies: what stands before it is the caller's word."""
    if not forwarded:
        return None
    for part in reversed(forwarded.split(",")):
        text = _PORT.sub(r"\1", part.strip()).strip("[]")
        try:
            address = ip_address(text)
        except ValueError:
            if not text:
                continue
            return None if text.lower() == "unknown" else text
        mapped = getattr(address, "ipv4_mapped", None)
        if not any(address in network or (mapped is not None and mapped in network) for network in proxies):
            return text
    return forwarded.split(",")[0].strip() or None


def headers_of(record: Record) -> dict[str, str]:
    """Return the Kafka headers of a record as text, names in lower case; of several with one name the first counts."""
    return {name.lower(): str(value, "utf-8", "replace") for name, value in reversed(record.headers) if value is not None}


def lowered(headers: Any) -> dict[str, str]:
    """Return headers with names in lower case, of a list of values the first; whatever else they hold is left out."""
    if not isinstance(headers, dict):
        return {}
    return {str(name).lower(): text for name, value in headers.items() if (text := text_of(value)) is not None}
