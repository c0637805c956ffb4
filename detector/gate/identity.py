"""Whose request it is: a header's value, its SHA-256, or what a file says about it.

The client's name must be the log's, or no decision ever matches. The header must be set by the gateway from the verified login;
what a caller wrote there himself names whom he likes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from detector.config.gate import GateSection
from detector.errors import ConfigError

__all__ = ["Identity", "Member", "read_mapping", "subject_of"]

_DIGEST: Final = "sha256:"
_SCHEMES: Final = frozenset({"bearer", "basic", "apikey"})


class Member(NamedTuple):
    """A client of the mapping file."""

    client: str
    organization: str | None = None
    campaigns: tuple[str, ...] = ()


class Identity:
    """Names the client behind a header's value, as `[gate] identity` says."""

    def __init__(self, section: GateSection, members: Mapping[str, Member] | None = None) -> None:
        """Read the mapping file, unless `members` holds it; raises `ConfigError` where it is wrong."""
        self._kind = section.identity
        self._file = section.mapping_file
        self.members: Mapping[str, Member] = {} if members is None else members
        self._read_ns = 0
        if members is None:
            self.refresh()

    def refresh(self) -> None:
        """Read the mapping file again if it has changed; raises `ConfigError`, and keeps the former one, where it is wrong."""
        if self._file is None:
            return
        try:
            changed_ns = self._file.stat().st_mtime_ns
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot read the mapping of clients: {error.strerror}") from error
        if changed_ns != self._read_ns:
            self.members = read_mapping(self._file)
            self._read_ns = changed_ns

    def member(self, value: bytes) -> Member | None:
        """Return the client whose value a header holds; None where the mapping has none."""
        text = subject_of(value)
        if self._kind == "header":
            return Member(text)
        if self._kind == "sha256":
            return Member(_digest(_credential(text)))
        secret = _credential(text)
        members = self.members
        return members.get(text) or members.get(secret) or members.get(_DIGEST + _digest(secret))


def subject_of(value: bytes) -> str:
    """Return a header's value as text.

    >>> subject_of(b" acme ")
    'acme'
    """
    try:
        return value.strip().decode()
    except UnicodeDecodeError:
        return value.strip().decode("latin-1")


def _credential(text: str) -> str:
    scheme, *rest = text.split(maxsplit=1)  # servers take a tab behind the scheme for a space, and so must we
    return rest[0] if rest and scheme.lower() in _SCHEMES else text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_mapping(file: Path) -> dict[str, Member]:
    """Return the clients of a mapping file by credential, or by ``sha256:`` and the digest of it.

    Raises `ConfigError` where it cannot be read; no credential is in the message.
    """
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: cannot read the mapping of clients: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: the mapping of clients is no JSON") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: the mapping of clients must be one JSON object")
    found = {}
    for number, (credential, entry) in enumerate(content.items(), 1):
        member = _member({"client": entry} if isinstance(entry, str) else entry)
        if member is None or not credential:
            raise ConfigError(f"{file}: entry {number} must be a client, or an object with client, organization and campaigns")
        known = credential.lower() if credential.lower().startswith(_DIGEST) else credential
        found[known] = member
    return found


def _member(entry: Any) -> Member | None:
    if not isinstance(entry, dict) or not entry.keys() <= {"client", "organization", "campaigns"}:
        return None
    client, organization, campaigns = entry.get("client"), entry.get("organization"), entry.get("campaigns", [])
    named = isinstance(client, str) and client and isinstance(organization, str | None)
    if not named or not isinstance(campaigns, list) or not all(isinstance(name, str) for name in campaigns):
        return None
    return Member(str(client), organization, tuple(campaigns))
