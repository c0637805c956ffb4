"""Tokens for SASL OAUTHBEARER: from a file that another program renews, or from an identity provider.

A file (as Kubernetes mounts one) is read again for each login, so a renewed token is used without a restart. The identity
provider is asked by the client credentials grant (RFC 6749, section 4.4) with the client's secret in the Authorization header
(section 2.3.1). Its token is kept for 80 % of its lifetime: the broker ends a session with its token, and the Kafka client logs
in again at 85 to 95 % of the lifetime, so the new token must be there before.
"""

import base64
import binascii
import json
import math
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus, urlencode

from kafka.net.sasl.oauth import AbstractTokenProvider
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TimedOutError

from detector.config import OAuthSection
from detector.errors import ServiceError
from detector.exchange import Exchanges, cause_of
from detector.names import printable

PATIENCE_S = 10.0  # for one request; the Kafka client's heartbeats wait for it, too
USUAL_LIFE_S = 60.0  # assumed lifetime of a token that names none
LONGEST_LIFE_S = 86_400.0  # one day: a longer claimed lifetime is cut to it
WORN = 0.8  # of a token's lifetime, after which it is renewed


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its lifetime, in seconds of the caller's clock."""

    text: str
    since_s: float
    until_s: float

    def worn(self, now_s: float) -> bool:
        """Whether it is time to renew it."""
        return now_s >= self.since_s + WORN * (self.until_s - self.since_s)


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # the client ships without types
    """Gives the Kafka client its tokens; shared by all clients of a process, thread-safe."""

    def __init__(self, section: OAuthSection, clock_s: Callable[[], float] = time.time) -> None:
        """Read the client's secret; raises `ConfigError` when its file cannot be read."""
        super().__init__()
        self._section = section
        self._secret = section.secret() or ""
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._token: Token | None = None

    def token(self) -> str:
        """Return a valid token.

        While the identity provider is away, a token that is due for renewal but still valid is returned. Raises `ServiceError`,
        without any secret in its text, when there is none.
        """
        return self.current().text

    def current(self) -> Token:
        """Return a valid token with its lifetime, as `token` does; that of a file that does not say is `USUAL_LIFE_S`."""
        if self._section.token_file is not None:
            text, now_s = read_token(self._section.token_file), self._clock_s()
            return Token(text, now_s, expiry_s(text) or now_s + USUAL_LIFE_S)
        with self._lock:
            now_s = self._clock_s()
            if self._token is None or self._token.worn(now_s):
                try:
                    self._token = self._fetched(now_s)
                except ServiceError:
                    if self._token is None or now_s >= self._token.until_s:
                        raise
            return self._token

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions to be sent with a token."""
        return dict(self._section.extensions or {})

    def _fetched(self, now_s: float) -> Token:
        section = self._section
        url = section.token_url or ""
        login = f"{quote_plus(section.client_id or '')}:{quote_plus(self._secret)}"
        form = {"grant_type": "client_credentials"} | ({"scope": section.scope} if section.scope else {})
        headers = {
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        where = url.partition("?")[0]
        try:
            exchanges = Exchanges(timeout_s=PATIENCE_S, context=ssl.create_default_context(cafile=section.ca_file))
            try:
                answer = exchanges.ask("POST", url, urlencode(form).encode(), headers)
            finally:
                exchanges.close()
        except (HTTPError, OSError) as error:
            raise ServiceError(_unreachable(where, cause_of(error))) from None
        if not 200 <= answer.status < 300:
            raise ServiceError(_refused(where, answer.status, _said(answer.body)))
        return _token(where, answer.body, now_s)


def read_token(file: Path) -> str:
    """Return the token that a file holds. Raises `ServiceError` where there is none."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ServiceError(f"[kafka.oauth] token_file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or " " in text:
        raise ServiceError(f"[kafka.oauth] token_file {file} holds no token: it must hold one, and nothing else")
    return text


def expiry_s(token: str) -> float | None:
    """Return when a JSON Web Token expires, in seconds since 1970; None where the token does not say.

    It is used for planning only: the broker checks whether a token is genuine.

    >>> expiry_s("e30." + base64.urlsafe_b64encode(b'{"exp": 1700000000}').decode().rstrip("=") + ".")
    1700000000.0
    >>> expiry_s("opaque") is None
    True
    """
    parts = token.split(".")
    if len(parts) != 3:  # header, claims, signature
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _token(url: str, body: bytes, now_s: float) -> Token:
    try:
        content = json.loads(body)
        text, life_s = content["access_token"], content.get("expires_in")
        until_s = now_s + float(life_s) if life_s is not None else expiry_s(text) or now_s + USUAL_LIFE_S
        until_s = min(until_s, now_s + LONGEST_LIFE_S)
        good = text.isascii() and text.isprintable() and text != "" and not math.isnan(until_s)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        good = False
    if not good:
        raise ServiceError(
            f"the identity provider at {url} answers without a token: is [kafka.oauth] token_url its token endpoint?"
        )
    return Token(text, now_s, until_s)


def _said(body: bytes) -> str:
    """Return the error fields of RFC 6749, section 5.2, from a response."""
    try:
        content = json.loads(body)
        found = ": ".join(str(content[name]) for name in ("error", "error_description") if content.get(name))
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f" ({printable(found, 200)})" if found else ""


def _refused(url: str, status: int, said: str) -> str:
    if status in {400, 401, 403}:
        return (
            f"the identity provider at {url} refuses us{said or f' (status {status})'}: "
            "check [kafka.oauth] client_id, client_secret and scope"
        )
    if 300 <= status < 400:
        return f"the identity provider at {url} redirects (status {status}): set [kafka.oauth] token_url to the new address"
    hint = "check [kafka.oauth] token_url" if status in {404, 405} else "it may be out of order"
    return f"the identity provider at {url} answers with status {status}{said}: {hint}"


def _unreachable(url: str, cause: object) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the identity provider at {url} has a certificate that is not trusted ({cause.verify_message}): "
            "set [kafka.oauth] ca_file to the certificate of the authority that signed it"
        )
    if isinstance(cause, (TimeoutError, TimedOutError)):
        cause = f"no whole answer within {PATIENCE_S:g} s"
    return f"the identity provider at {url} cannot be reached ({printable(str(cause), 300)}): check [kafka.oauth] token_url"
