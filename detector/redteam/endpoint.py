"""A model behind HTTP, asked as a function.

The forms are those of `detector.redteam.protocols`; where the path of the address names none, it is KServe's v1 protocol, which
most serving stacks speak: ``{"instances": [[...]]}`` is answered by ``{"predictions": [[...]]}``. The two keys can be others. A
prediction may be a list of probabilities, or a label from 0, which becomes a certainty. Only for models that one may attack:
one's own.
"""

import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from detector.errors import EndpointError
from detector.redteam.conversation import Array
from detector.redteam.protocols import Answers, Instances, WireProtocol, protocol_of

PASSING = (408, 425, 429, 500, 502, 503, 504)  # worth asking again
REFUSALS = (403, 429)  # with which a gateway refuses a client
TOO_MANY: Final = 429
OF_CONTENT: Final = (400, 413, 422, 500)  # what a server says to an input that it cannot take, or to too many
FIGURES: Final = 19  # of a whole number that 64 bits hold for sure
MOST_BYTES: Final = 64 << 20  # of an answer
PIECE: Final = 1 << 16
ANSWERED_WITHIN: Final = 10  # timeouts, for a whole answer
LONGEST_PAUSE_S: Final = 10.0  # between requests; an endpoint that wants more says so with Retry-After


class _StatusError(EndpointError):
    """A server's refusal, with its status; 0 for one that was not reached."""

    def __init__(self, text: str, status: int, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.wait_s = wait_s


class Reply(NamedTuple):
    """What came of one question: the status, the probabilities (n, classes) where it was answered, and how long to wait."""

    status: int
    answers: Array | None = None
    retry_after_s: float = 0.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A question that is sent on arrives as another request, without its rows, or elsewhere than was allowed."""

    def redirect_request(self, *_of_request: Any) -> None:
        """Follow nothing: the status is then told as an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)
_DIRECT = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


@dataclass(slots=True)
class Traffic:
    """What asking has cost so far: requests, those that were tried again, refusals for haste (429), and seconds waited.

    `pause_s` is how long is waited before each request: refusals for haste double it, answers let it shrink.
    """

    requests: int = 0
    repeated: int = 0
    too_many: int = 0
    waited_s: float = 0.0
    pause_s: float = 0.0
    about: Mapping[str, Any] | None = None

    def refused(self) -> None:
        """Count a refusal for haste, and slow down."""
        self.too_many += 1
        self.pause_s = min(max(2.0 * self.pause_s, 0.1), LONGEST_PAUSE_S)

    def answered(self) -> None:
        """Go a little faster again."""
        self.pause_s = 0.9 * self.pause_s if self.pause_s > 0.01 else 0.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A predict function over HTTP: call it with X (n, dimension) for probabilities (n, classes).

    Each call is one POST for as many rows as its form takes at once. Connections that fail and passing refusals (408, 425, 429,
    5xx) are tried again, `attempts` times in all, after half a second and twice as long each time, or as long as
    ``Retry-After`` says, up to a minute. After a 429 all requests slow down. `traffic` counts.
    `classes` is needed where the endpoint answers with labels only. `protocol` is the form, which otherwise the path tells.
    Redirections are not followed. `direct` says that the proxy of the environment is not used.
    """

    url: str
    request_key: str = "instances"
    response_key: str = "predictions"
    classes: int | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    timeout: float = 30.0
    attempts: int = 5
    direct: bool = False
    sleep: Callable[[float], None] = time.sleep
    protocol: WireProtocol | None = None
    traffic: Traffic = field(default_factory=Traffic, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is no web address, such as a file."""
        if urllib.parse.urlsplit(self.url).scheme not in {"http", "https"}:
            raise EndpointError(f"{self.url} is not an http or https address")

    @property
    def form(self) -> WireProtocol:
        """How it is asked: as `protocol` says, or with keys that are not the usual ones, or as the path says."""
        if self.protocol is not None:
            return self.protocol
        keys = Instances(self.request_key, self.response_key)
        return keys if keys != Instances() else protocol_of(self.url)

    def __call__(self, X: Array) -> Array:
        """Ask about all rows; raises `EndpointError`, with the row where it is known."""
        return self._rows(self.raw(X))

    def ask(self, X: Array) -> Reply:
        """Ask about rows in one request, and take 403 and 429 for the reply that they are to a client who is refused.

        Raises `EndpointError`.
        """
        form = self.form
        body = json.dumps(form.body(X, self._about(form))).encode()
        try:
            content = self.post(body, REFUSALS)
        except _StatusError as error:
            if error.status not in REFUSALS:
                raise
            return Reply(error.status, retry_after_s=error.wait_s)
        return Reply(HTTPStatus.OK, self._rows(self._read(content, len(X), form)))

    def raw(self, X: Array) -> Answers:
        """Ask about all rows, and return what was told of each: a list of numbers, a number, or a label."""
        told: Answers = []
        form = self.form
        known = self._about(form)
        for at in range(0, len(X), form.at_once):
            rows = X[at : at + form.at_once]
            try:
                told += self._asked(rows, form, known)
            except _StatusError as error:
                if error.status not in OF_CONTENT or len(rows) == 1:
                    raise EndpointError(str(error), row=at if len(rows) == 1 else None) from error
                for number, row in enumerate(rows):  # one of them may be what is refused, or so many at once
                    try:
                        told += self._asked(row[None], form, known)
                    except EndpointError as alone:
                        raise EndpointError(str(alone), row=at + number) from alone
        return told

    def _asked(self, rows: Array, form: WireProtocol, known: Mapping[str, Any]) -> Answers:
        return self._read(self.post(json.dumps(form.body(rows, known)).encode()), len(rows), form)

    def _about(self, form: WireProtocol) -> Mapping[str, Any]:
        """What the server tells of the model, asked for once; nothing where it tells nothing."""
        if form.about is None:
            return {}
        if self.traffic.about is None:
            whole = urllib.parse.urlsplit(self.url)._replace(path=form.about, query="")
            request = urllib.request.Request(urllib.parse.urlunsplit(whole), headers=dict(self.headers))  # noqa: S310
            try:
                with self._opener.open(request, timeout=self.timeout) as response:
                    told = json.loads(self._content(response))
            except (OSError, ValueError, http.client.HTTPException):  # asking for the answers says what is wrong
                told = {}
            self.traffic.about = told if isinstance(told, dict) else {}
        return self.traffic.about

    @property
    def _opener(self) -> urllib.request.OpenerDirector:
        return _DIRECT if self.direct else _OPENER

    def post(self, body: bytes, refusals: tuple[int, ...] = ()) -> bytes:
        """Send one body and return the answer's; raises `EndpointError`, at once where the status is one of `refusals`."""
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.url, body, {"Content-Type": "application/json", "Accept": "application/json", **self.headers}
        )
        problem, status = "", 0
        if self.traffic.pause_s:
            self._wait(self.traffic.pause_s)
        for attempt in range(self.attempts):
            wait = 0.5 * 2.0**attempt
            self.traffic.requests += 1
            try:
                with self._opener.open(request, timeout=self.timeout) as response:
                    content = self._content(response)
                self.traffic.answered()
            except urllib.error.HTTPError as error:
                with error:
                    said = error.read(300).decode("utf-8", "replace").strip()
                status = error.code
                problem = f"answered {error.code} {error.reason}" + (f": {said}" if said else "")
                if error.code in refusals:
                    asked_for = _seconds(error.headers.get("Retry-After"), 0.0)
                    raise _StatusError(f"{self.url} {problem}", status, asked_for) from error
                if error.code == TOO_MANY:
                    self.traffic.refused()
                if error.code not in PASSING:
                    break
                wait = _seconds(error.headers.get("Retry-After"), wait)
            except (OSError, http.client.HTTPException) as error:
                status = 0
                problem = f"cannot be reached: {getattr(error, 'reason', None) or error or type(error).__name__}"
            else:
                return content
            if attempt + 1 < self.attempts:
                self.traffic.repeated += 1
                self._wait(min(wait, 60.0))
        raise _StatusError(f"{self.url} {problem}", status)

    def _content(self, response: http.client.HTTPResponse) -> bytes:
        """Read an answer, as much as one may be, and no longer than one may take: each piece alone would always be in time."""
        content, until = bytearray(), time.monotonic() + ANSWERED_WITHIN * self.timeout
        while piece := response.read1(PIECE):
            content += piece
            if len(content) > MOST_BYTES:
                raise EndpointError(f"{self.url} answered with more than {MOST_BYTES >> 20} MB")
            if time.monotonic() > until:
                raise EndpointError(f"{self.url} had not finished its answer after {ANSWERED_WITHIN * self.timeout:g} s")
        if response.length:
            raise http.client.IncompleteRead(bytes(content), response.length)
        return bytes(content)

    def _wait(self, seconds: float) -> None:
        self.traffic.waited_s += seconds
        self.sleep(seconds)

    def _read(self, content: bytes, rows: int, form: WireProtocol) -> Answers:
        try:
            document = json.loads(content, parse_int=_whole)
        except (ValueError, RecursionError) as error:
            raise EndpointError(f"{self.url} answered with something that is not JSON") from error
        try:
            answers = form.answers(document)
        except EndpointError as error:
            raise EndpointError(f"{self.url} {error}") from error
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise EndpointError(f"{self.url} answered in another form than {type(form).__name__} has: {error}") from error
        if len(answers) != rows:
            raise EndpointError(f"{self.url} was asked about {rows} rows and did not answer with as many predictions")
        return answers

    def _rows(self, told: Answers) -> Array:
        answers = [self._row(number, entry) for number, entry in enumerate(told)]
        if len({row.shape for row in answers}) != 1:
            raise EndpointError(f"{self.url} answered with predictions of different lengths")
        return np.stack(answers)

    def _row(self, number: int, prediction: Any) -> Array:
        if isinstance(prediction, int) and not isinstance(prediction, bool):
            if self.classes is None or not 0 <= prediction < self.classes:
                raise EndpointError(
                    f"{self.url} answers with labels ({prediction}): say how many classes there are, counted from 0", row=number
                )
            return np.asarray(np.eye(self.classes)[prediction])
        try:
            row = np.asarray(prediction, dtype=np.float64)
        except (TypeError, ValueError):
            row = np.empty(0)
        if row.ndim != 1 or row.size == 0 or not np.isfinite(row).all() or row.min() < 0.0:
            raise EndpointError(
                f"{self.url} answered with {json.dumps(prediction)[:80]} where probabilities were expected", row=number
            )
        return row


def _whole(text: str) -> int | float:
    """Return a number of an answer; one that no array takes is infinite, and refused as such."""
    return int(text) if len(text) < FIGURES else float(text)


def _seconds(text: str | None, otherwise: float) -> float:
    """Seconds of a ``Retry-After``; its other form, a date, is not worth reading here."""
    try:
        seconds = float(text) if text else otherwise
    except ValueError:
        return otherwise
    return max(seconds, 0.0) if math.isfinite(seconds) else otherwise
