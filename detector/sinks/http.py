"""HTTP for deliveries: settings, one connection without retries of its own, and the meaning of status codes.

A request has one time limit, and only the beginning of the response is read (`detector.exchange`). A status about the set-up
(wrong password, unknown address) is retried like a busy receiver, since the same message passes once the set-up is fixed. Only
a status about the message itself refuses it.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TimedOutError

from detector.config import DeliverySection
from detector.config.section import read_secret
from detector.errors import ConfigError, RetryableError
from detector.exchange import Exchanges, cause_of
from detector.names import origin_of, printable
from detector.sinks.syslog import trusting

ABOUT_THE_SET_UP: Final = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429})
SHORTEST_SECRET_PATH: Final = 16  # characters
_LONGEST_WAIT_S: Final = 3600.0


class PostingSection(DeliverySection):
    """The common settings of receivers over HTTP: an address, and one secret."""

    url: str = Field(description="address to post to", repr=False)
    secret: SecretStr | None = Field(None, description="what authenticates us: a token, or the key of the signature")
    secret_file: Path | None = Field(None, description="file that holds the secret, instead of it")
    secret_env: str | None = Field(None, description="environment variable that holds the secret, instead of it")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the receiver's")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if "@" in urlsplit(url).netloc:  # the message must not repeat what holds a password
            raise ValueError("an address holds no user and password: set secret instead")
        if not origin_of(url):
            raise ValueError("write it as https://host/path")
        return url

    @model_validator(mode="after")
    def _one_secret(self) -> "PostingSection":
        if sum(given is not None for given in (self.secret, self.secret_file, self.secret_env)) != 1:
            raise ValueError("give one of secret, secret_file and secret_env")
        return self

    def shown(self) -> dict[str, Any]:
        """Return what is set, as plain data for people; of an address only scheme and host, as its path may be secret."""
        origin = origin_of(self.url)
        return super().shown() | {"url": origin if self.url.rstrip("/") == origin else f"{origin}/***"}

    def secrets(self) -> tuple[str, ...]:
        """Return the secret, and the path of the address where it may be one."""
        path = self.url.removeprefix(origin_of(self.url))
        # A short path is no secret, and masking it would damage many log lines.
        return (self.secret_text(), *([path] if len(path) >= SHORTEST_SECRET_PATH else []))

    def secret_text(self) -> str:
        """Return the secret, from the setting, the file or the environment.

        Raises `ConfigError` when the file cannot be read, the variable is not set, or the secret is empty.
        """
        if self.secret_env is not None:
            found = os.environ.get(self.secret_env)
            what = f"environment variable {self.secret_env}"
        else:
            found = read_secret(self.secret, self.secret_file, "the secret")
            what = "the secret" if self.secret_file is None else f"{self.secret_file}"
        if not found:
            raise ConfigError(f"delivery {self.name!r}: {what} is not set or empty")
        return found


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The response of a receiver."""

    status: int
    body: bytes
    after_s: float

    @property
    def accepted(self) -> bool:
        """Whether the receiver accepted the request."""
        return 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """Whether the receiver will never accept this request.

        >>> [HttpResponse(status, b"", 0.0).final for status in (400, 413, 401, 429, 503)]
        [True, True, False, False, False]
        """
        return 400 <= self.status < 500 and self.status not in ABOUT_THE_SET_UP

    def summary(self) -> str:
        """Return the status and the beginning of the text, for messages."""
        said = self.body[:200].decode(errors="replace")
        return f"{self.status} {''.join(character if character.isprintable() else ' ' for character in said)}".strip()


class HttpClient:
    """Posts to one address; a request takes no longer than `timeout_s`, whatever the receiver does."""

    def __init__(self, url: str, *, ca_file: Path | None = None, timeout_s: float = 10.0) -> None:
        self._where = origin_of(url)
        if not self._where:
            raise ConfigError("that is no address to post to: write it as https://host/path, without a user and password")
        self._timeout_s = timeout_s
        context = trusting(ca_file) if self._where.startswith("https:") else None
        self._exchanges = Exchanges(timeout_s=timeout_s, context=context)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpResponse:
        """Post and return the response, whatever its status; the first 64 KB of its text are kept.

        Raises `RetryableError` when there is none in time.
        """
        try:
            reply = self._exchanges.ask("POST", url, body, headers)
        except (HTTPError, OSError) as error:
            raise RetryableError(f"{self._where}: {self._why(cause_of(error))}") from error
        return HttpResponse(reply.status, reply.body, _after_s(reply.headers.get("Retry-After")))

    def _why(self, cause: BaseException) -> str:
        if isinstance(cause, (TimeoutError, TimedOutError)):
            return f"no whole answer within {self._timeout_s:g} s"
        hint = ": set ca_file" if isinstance(cause, ssl.SSLError) and "certificate verify failed" in str(cause) else ""
        return f"{printable(str(cause), 300)}{hint}"

    def close(self) -> None:
        """Close the connections."""
        self._exchanges.close()


def _after_s(text: str | None) -> float:
    """Return the seconds that a receiver asks to wait; dates are left out, since clocks differ.

    >>> _after_s("7"), _after_s("Wed, 21 Oct 2015 07:28:00 GMT"), _after_s(None)
    (7.0, 0.0, 0.0)
    """
    return min(float(text), _LONGEST_WAIT_S) if text is not None and text.isascii() and text.isdigit() else 0.0
