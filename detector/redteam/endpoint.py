"""A model behind HTTP, asked as a function.

The form is KServe's v1 protocol, which most serving stacks speak: ``{"instances": [[...]]}`` is answered by
``{"predictions": [[...]]}``. The two keys can be others. A prediction may be a list of probabilities, or a label from 0,
which becomes a certainty. Only for models that one may attack: one's own.
"""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from detector.errors import EndpointError
from detector.redteam.conversation import Array

PASSING = (408, 425, 429, 500, 502, 503, 504)  # worth asking again
REFUSALS = (403, 429)  # with which a gateway refuses a client


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


class _Came(NamedTuple):
    status: int
    content: bytes = b""
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A predict function over HTTP: call it with X (n, dimension) for probabilities (n, classes).

    Each call is one POST. Connections that fail and passing refusals (408, 425, 429, 5xx) are tried again, `attempts`
    times in all, after half a second and twice as long each time, or as long as ``Retry-After`` says, up to a minute.
    `classes` is needed where the endpoint answers with labels only. Redirections are not followed. `direct` says that the proxy
    of the environment is not used.
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

    def __post_init__(self) -> None:
        """Refuse what is no web address, such as a file."""
        if urllib.parse.urlsplit(self.url).scheme not in {"http", "https"}:
            raise EndpointError(f"{self.url} is not an http or https address")

    def __call__(self, X: Array) -> Array:
        """Ask about all rows in one request; raises `EndpointError`."""
        return self._read(self._post(X, ()).content, len(X))

    def ask(self, X: Array) -> Reply:
        """Ask as `__call__` does, but take 403 and 429 for the reply that they are to a client who is refused.

        Raises `EndpointError`.
        """
        came = self._post(X, REFUSALS)
        return Reply(came.status, self._read(came.content, len(X)) if came.status == HTTPStatus.OK else None, came.wait_s)

    def _post(self, X: Array, refusals: tuple[int, ...]) -> "_Came":
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.url,
            json.dumps({self.request_key: X.tolist()}).encode(),
            {"Content-Type": "application/json", "Accept": "application/json", **self.headers},
        )
        opener = _DIRECT if self.direct else _OPENER
        problem = ""
        for attempt in range(self.attempts):
            wait = 0.5 * 2.0**attempt
            try:
                with opener.open(request, timeout=self.timeout) as response:
                    return _Came(HTTPStatus.OK, bytes(response.read()))
            except urllib.error.HTTPError as error:
                with error:
                    said = error.read(300).decode("utf-8", "replace").strip()
                if error.code in refusals:
                    return _Came(error.code, wait_s=_seconds(error.headers.get("Retry-After"), 0.0))
                problem = f"answered {error.code} {error.reason}" + (f": {said}" if said else "")
                if error.code not in PASSING:
                    break
                wait = _seconds(error.headers.get("Retry-After"), wait)
            except (OSError, http.client.HTTPException) as error:
                problem = f"cannot be reached: {getattr(error, 'reason', None) or error or type(error).__name__}"
            if attempt + 1 < self.attempts:
                self.sleep(min(wait, 60.0))
        raise EndpointError(f"{self.url} {problem}")

    def _read(self, content: bytes, rows: int) -> Array:
        try:
            document = json.loads(content)
        except ValueError as error:
            raise EndpointError(f"{self.url} answered with something that is not JSON") from error
        if not isinstance(document, dict) or self.response_key not in document:
            keys = ", ".join(document) if isinstance(document, dict) else type(document).__name__
            raise EndpointError(f"{self.url} answered without {self.response_key!r}; there is: {keys}")
        predictions = document[self.response_key]
        if not isinstance(predictions, list) or len(predictions) != rows:
            raise EndpointError(f"{self.url} was asked about {rows} rows and did not answer with as many predictions")
        answers = [self._row(prediction) for prediction in predictions]
        if len({row.shape for row in answers}) != 1:
            raise EndpointError(f"{self.url} answered with predictions of different lengths")
        return np.stack(answers)

    def _row(self, prediction: Any) -> Array:
        if isinstance(prediction, int) and not isinstance(prediction, bool):
            if self.classes is None or not 0 <= prediction < self.classes:
                raise EndpointError(
                    f"{self.url} answers with labels ({prediction}): say how many classes there are, counted from 0"
                )
            return np.asarray(np.eye(self.classes)[prediction])
        try:
            row = np.asarray(prediction, dtype=np.float64)
        except (TypeError, ValueError):
            row = np.empty(0)
        if row.ndim != 1 or row.size == 0 or not np.isfinite(row).all() or row.min() < 0.0:
            raise EndpointError(f"{self.url} answered with {json.dumps(prediction)[:80]} where probabilities were expected")
        return row


def _seconds(text: str | None, otherwise: float) -> float:
    """Seconds of a ``Retry-After``; its other form, a date, is not worth reading here."""
    try:
        return max(float(text), 0.0) if text else otherwise
    except ValueError:
        return otherwise
