"""Checks a real gateway: a canary that must be refused, and a caller who must not.

It catches what no unit test sees: a gateway that does not ask, asks with another header or path, or takes the client's name
from whoever calls.
"""

import urllib3
from urllib3.exceptions import HTTPError

from detector.config.gate import GateSection
from detector.errors import ConfigError, EndpointError

__all__ = ["Credential", "Finding", "check", "read_credential"]

Credential = tuple[str, str]
Finding = tuple[bool, str]

_REFUSED = frozenset({401, 403, 429})


def read_credential(text: str) -> Credential:
    """Return a header as name and value; raises `ConfigError` where it is none.

    >>> read_credential("Authorization: Bearer key")
    ('Authorization', 'Bearer key')
    """
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not value.strip():
        raise ConfigError("a credential is written as a header, such as 'Authorization: Bearer KEY'")
    return name.strip(), value.strip()


def check(
    url: str, section: GateSection, blocked: Credential | None, allowed: Credential | None, method: str = "GET"
) -> list[Finding]:
    """Ask a gateway as a blocked and as an allowed caller; return what was found, each with whether it is right.

    Without credentials the client's header is sent as it is, which a gateway that makes it from a login does not accept.
    Raises `ConfigError` where `url` is none, `EndpointError` where nothing answers there.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url}: write the address as http://host:port/path")
    blocked = blocked or (section.client_header, section.canary)
    allowed = allowed or (section.client_header, f"{section.canary}-passes")
    passed = _status(url, method, [allowed])
    refused = _status(url, method, [blocked])
    lying = _status(url, method, [blocked, ("X-Detector-Action", "allow"), ("X-Detector-Status", "200")])
    found = [
        (passed not in _REFUSED and passed < 500, f"the allowed caller was answered {passed}"),
        (refused in {403, 429}, f"the canary was answered {refused}"),
        (lying in {403, 429}, f"the canary that brought a verdict of its own was answered {lying}"),
    ]
    if blocked[0].lower() != section.client_header.lower():
        named = _status(url, method, [blocked, (section.client_header, f"{section.canary}-passes")])
        hidden = _status(url, method, [blocked, ("Connection", f"close, {section.client_header}")])
        found.append(
            (named in _REFUSED, f"the canary that named another client in {section.client_header} was answered {named}")
        )
        found.append((hidden in _REFUSED, f"the canary that named {section.client_header} in Connection was answered {hidden}"))
    return found


def _status(url: str, method: str, headers: list[Credential]) -> int:
    try:
        with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10.0)) as pool:
            return pool.request(method, url, headers=dict(headers), redirect=False, preload_content=False).status
    except (HTTPError, ValueError) as error:
        cause = getattr(error.__cause__, "strerror", None) or error
        raise EndpointError(f"{url}: the gateway cannot be asked: {cause}") from error
