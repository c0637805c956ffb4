"""Whose server may be asked: decided by addresses, in one place."""

import socket
from typing import Any

import pytest

from detector.errors import ConfigError
from detector.redteam.permission import permitted


def standing_for(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name stand for these addresses."""

    def found(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize("url", ["http://localhost/x", "https://127.0.0.1:8443", "http://127.8.0.1/", "http://[::1]:80/"])
def test_this_machine_is_asked_without_a_word(url: str) -> None:
    assert permitted(url, own=False)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:80/", "http://0.0.0.0:8000/", "http://[2001:db8::1]/", "http://169.254.169.254/latest"]
)
def test_another_machine_only_as_ones_own(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is not this machine: --i-may"):
        permitted(url, own=False, permission="--i-may")
    assert not permitted(url, own=True)


@pytest.mark.parametrize(
    ("addresses", "here"),
    [
        (("127.0.0.1", "::1"), True),
        (("::ffff:127.0.0.1",), True),
        (("::1%lo",), True),
        (("127.0.0.1", "192.0.2.1"), False),
        (("::ffff:192.0.2.1",), False),
        ((), False),
    ],
)
def test_a_name_is_what_it_stands_for(addresses: tuple[str, ...], here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what it is called: `localhost` elsewhere is elsewhere, and a name of this machine's is this machine."""
    standing_for(monkeypatch, *addresses)
    assert permitted("http://localhost/", own=True) is here
    if not here:
        with pytest.raises(ConfigError, match="not this machine"):
            permitted("http://localhost/", own=False)


def test_a_name_without_an_address_may_be_the_proxys() -> None:
    """Only where the server is one's own is it left to the proxy to find it."""
    with pytest.raises(ConfigError, match="has no address"):
        permitted("http://no-such-host.invalid/", own=False)
    assert not permitted("http://no-such-host.invalid/", own=True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://[::1", "is no address"),
        ("http://localhost:99999/", "is no address"),
        ("http:///x", "names no host"),
        ("file:///etc/passwd", "not an http or https address"),
        ("localhost:8000", "not an http or https address"),
        ("http://user:secret@localhost/", "leave user and password out"),
    ],
)
def test_what_is_no_address_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        permitted(url, own=True)
    assert "secret" not in str(raised.value)
