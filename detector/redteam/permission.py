"""Whose server may be asked: that of this machine; another one only where somebody says that it is his own.

An address is this machine's where all that its name stands for are loopback addresses: the name alone says nothing. Names are
looked up when the question is asked. Whoever rules a name can let it stand for another machine afterwards, and then that one is
asked.
"""

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from detector.errors import ConfigError

__all__ = ["OWN", "permitted"]

OWN: Final = "--i-own-this if it is yours, and you may attack it"


def permitted(url: str, own: bool, permission: str = OWN) -> bool:
    """Tell whether an address is this machine's.

    Raises `ConfigError` where it is another's, unless that is one's `own`, with the option that says so (`permission`); and for
    what is no address of the web, or holds a password, which nothing prints.

    >>> permitted("http://127.0.0.1:8000/", own=False)
    True
    """
    host, port = _place(url)
    local = _on_this_machine(host, port, own, permission)
    if not local and not own:
        raise ConfigError(f"{host} is not this machine: {permission}")
    return local


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"{url}: is no address: {error}") from error
    if "@" in parts.netloc:
        raise ConfigError(
            f"{host or 'the address'}: leave user and password out of the address; --token-env names a bearer token"
        )
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(f"{url} is not an http or https address: write it as http://host:port/path")
    if not host:
        raise ConfigError(f"{url}: is no address: it names no host")
    return host, port or (443 if parts.scheme == "https" else 80)


def _on_this_machine(host: str, port: int, own: bool, permission: str) -> bool:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        if own:  # a proxy may know it
            return False
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{host} has no address here: {why}. Where only a proxy knows it: {permission}") from error
    return bool(found) and all(map(_is_here, found))


def _is_here(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
