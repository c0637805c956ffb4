"""HTTP for the deliveries that use it: one connection, no retries of its own, and what an answer means.

An exchange as a whole has a time limit, and of an answer only the beginning is read (`detector.exchange`). An answer that is
about the set-up (wrong password, no such address) is retried like a busy receiver, since mending the set-up makes the same
message pass; only an answer about the message itself refuses it.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TimedOutError

from detector.errors import ConfigError
from detector.exchange import Exchanges, cause_of
from detector.names import origin_of, printable
from detector.sinks.delivery import RetryableError
from detector.sinks.syslog import trusting

ABOUT_THE_SET_UP: Final = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429})
_LONGEST_WAIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said."""

    status: int
    body: bytes
    after_s: float

    @property
    def accepted(self) -> bool:
        """Whether it took the request."""
        return 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """Whether it will never take this request.

        >>> [Answer(status, b"", 0.0).final for status in (400, 413, 401, 429, 503)]
        [True, True, False, False, False]
        """
        return 400 <= self.status < 500 and self.status not in ABOUT_THE_SET_UP

    def told(self) -> str:
        """Return status and the beginning of the text, for people."""
        said = self.body[:200].decode(errors="replace")
        return f"{self.status} {''.join(letter if letter.isprintable() else ' ' for letter in said)}".strip()


class Client:
    """Posts to one address; one exchange takes no longer than `timeout_s`, whatever the receiver does."""

    def __init__(self, url: str, *, ca_file: Path | None = None, timeout_s: float = 10.0) -> None:
        self._where = origin_of(url)
        if not self._where:
            raise ConfigError("that is no address to post to: write it as https://host/path, without a user and password")
        self._timeout_s = timeout_s
        context = trusting(ca_file) if self._where.startswith("https:") else None
        self._exchanges = Exchanges(timeout_s=timeout_s, context=context)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post and return the answer, whatever it is; of its text, 64 KB are kept.

        Raises `RetryableError` when there was none in time.
        """
        try:
            reply = self._exchanges.ask("POST", url, body, headers)
        except (HTTPError, OSError) as error:
            raise RetryableError(f"{self._where}: {self._why(cause_of(error))}") from error
        return Answer(reply.status, reply.body, _after_s(reply.headers.get("Retry-After")))

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
