"""Who asked: the rules of the configuration, in turn, and then what the format knows by itself."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError

from detector.config.ingest import ClientRule, IngestSection
from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS, USER_AGENT_CHARACTERS
from detector.ingest.formats.bodies import parsed
from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import UnusableError

__all__ = ["Identity", "headers_of", "lowered", "text_of"]


GATEWAY_HEADERS: Final = ("x-consumer-username", "x-consumer-id", "x-consumer-custom-id", "x-credential-identifier")
"""What Kong and APISIX tell the server of who asked. Whoever reaches the server past them can write these, too."""


MOST_TRIED: Final = 100  # entries of a list that a rule's path leads to
LONGEST: Final = 4096  # characters of a text that a pattern is sought in


class _Rule(NamedTuple):
    rule: ClientRule
    path: Any
    pattern: re.Pattern[str] | None


class Identity:
    """Finds who made a call, by ``[[ingest.clients]]``; the first rule that finds a text decides."""

    def __init__(self, section: IngestSection) -> None:
        self._rules = [
            _Rule(
                rule,
                None if rule.path is None and rule.body is None else jmespath.compile(rule.path or rule.body or ""),
                None if rule.pattern is None else re.compile(rule.pattern),
            )
            for rule in section.clients
        ]
        self._proxies = [ip_network(network, strict=False) for network in section.trusted_proxies]

    def caller(self, call: Call) -> Caller:
        """Return who asked; `id` is None where nothing says so."""
        known = call.caller
        known = replace(
            known,
            id=_cut(known.id, ID_CHARACTERS),
            organization=_cut(known.organization, TEXT_CHARACTERS),
            ip=_cut(known.ip or _address(call.headers.get("x-forwarded-for"), self._proxies), TEXT_CHARACTERS),
            user_agent=_cut(known.user_agent or call.headers.get("user-agent"), USER_AGENT_CHARACTERS),
        )
        for entry in self._rules:
            text = _normalized(_sought(entry, call), entry.rule)
            if text:
                rule = entry.rule
                return replace(known, id=text[:ID_CHARACTERS], type=rule.type or known.type, trusted=rule.trusted)
        if known.id is None:
            header = next((call.headers[name] for name in GATEWAY_HEADERS if call.headers.get(name)), None)
            return replace(known, id=_cut(header, ID_CHARACTERS))
        return known

    def source(self, call: Call) -> str:
        """Say what names the client of a call: the rule, such as ``path user.id``, or a header that gateways set.

        Empty where the format itself names the client, or nothing does.
        """
        for entry in self._rules:
            if _normalized(_sought(entry, call), entry.rule):
                rule = entry.rule
                kind = next(kind for kind in ("header", "path", "body", "constant") if getattr(rule, kind) is not None)
                return f"{kind} {getattr(rule, kind)}"
        if call.caller.id:
            return ""
        return next((f"header {name}" for name in GATEWAY_HEADERS if call.headers.get(name)), "")


def _sought(entry: _Rule, call: Call) -> str | None:
    rule = entry.rule
    if rule.constant is not None:
        return rule.constant
    if rule.header is not None:
        found: Any = call.headers.get(rule.header.lower())
    else:
        found = _searched(entry.path, call.document if rule.path is not None else _body(call))
    for value in found[:MOST_TRIED] if isinstance(found, list) else [found]:
        text = text_of(value)
        if text is not None and entry.pattern is not None:
            match = entry.pattern.search(text[:LONGEST])
            text = None if match is None else match.group(1 if entry.pattern.groups else 0)
        if text:
            return text
    return None


def _body(call: Call) -> Any:
    if call.request is None:
        return None
    try:
        return parsed(call.request)
    except UnusableError:
        return None


def _searched(path: Any, document: Any) -> Any:
    try:
        return path.search(document)
    except (JMESPathError, TypeError, ValueError, RecursionError):
        return None


def text_of(value: Any) -> str | None:
    """Return a value as text where it is one text or number, of a list the first; else None."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _normalized(text: str | None, rule: ClientRule) -> str | None:
    if text is None:
        return None
    for step in rule.normalize:
        text = text.strip() if step == "trim" else text.casefold() if step == "lower" else unicodedata.normalize("NFC", text)
    return text


def _cut(text: str | None, characters: int) -> str | None:
    return text.encode(errors="replace").decode()[:characters] or None if text else None


def _address(forwarded: str | None, proxies: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """Return the last address of X-Forwarded-For that is none of our proxies: what stands before it is the caller's word."""
    if not forwarded:
        return None
    for part in reversed(forwarded.split(",")):
        text = part.strip()
        try:
            address = ip_address(text)
        except ValueError:
            return text or None
        if not any(address in network for network in proxies):
            return text
    return forwarded.split(",")[0].strip() or None


def headers_of(record: Record) -> dict[str, str]:
    """Return the Kafka headers of a record as text, names in lower case; of several with one name the first counts."""
    return {name.lower(): value.decode(errors="replace") for name, value in reversed(record.headers) if value is not None}


def lowered(headers: Any) -> dict[str, str]:
    """Return headers with names in lower case, of a list of values the first; whatever else they hold is left out."""
    if not isinstance(headers, Mapping):
        return {}
    return {str(name).lower(): text for name, value in headers.items() if (text := text_of(value)) is not None}
