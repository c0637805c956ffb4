"""HTTP for the deliveries that use it: one pool of connections, no retries of its own, and what an answer means.

Redirects are not followed: a redirect would take secrets to another host. An answer that is about the set-up (wrong password,
no such address) is retried like a busy receiver, since mending the set-up makes the same message pass; only an answer about
the message itself refuses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from detector.errors import ConfigError
from detector.siem.delivery import RetryableError
from detector.siem.syslog import trusting

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
    """Posts to one address."""

    def __init__(self, url: str, *, ca_file: Path | None = None, timeout_s: float = 10.0) -> None:
        parsed = urllib3.util.parse_url(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ConfigError(f"{url!r} is no address to post to: write it as https://host/path")
        self._where = f"{parsed.scheme}://{parsed.netloc}"
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
            ssl_context=trusting(ca_file) if parsed.scheme == "https" else None,
        )

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post and return the answer, whatever it is.

        Raises `RetryableError` when there was none.
        """
        try:
            reply = self._pool.request("POST", url, body=body, headers=dict(headers), redirect=False)
        except (HTTPError, OSError) as error:
            cause = error.reason if isinstance(error, MaxRetryError) else error
            hint = ": set ca_file" if isinstance(cause, SSLError) and "certificate verify failed" in str(cause) else ""
            raise RetryableError(f"{self._where}: {cause}{hint}") from error
        return Answer(reply.status, reply.data, _after_s(reply.headers.get("Retry-After")))

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _after_s(text: str | None) -> float:
    """Return the seconds that a receiver asks to wait; dates are left out, since clocks differ.

    >>> _after_s("7"), _after_s("Wed, 21 Oct 2015 07:28:00 GMT"), _after_s(None)
    (7.0, 0.0, 0.0)
    """
    return min(float(text), _LONGEST_WAIT_S) if text is not None and text.isascii() and text.isdigit() else 0.0
