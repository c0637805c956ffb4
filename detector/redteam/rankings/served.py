"""A recommender over HTTP: a small server to attack, and the function that asks one.

The form is KServe's v1 protocol with a history for an instance and a ranking for a prediction::

    POST  {"instances": [{"history": ["item-004", "item-007"]}]}
    200   {"predictions": [["item-012", "item-001", ...]]}

The server is for tests and for trying out gateways: it checks what it is sent and bounds it, and has neither TLS nor accounts.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from detector.errors import EndpointError, ServerError
from detector.redteam.endpoint import Endpoint
from detector.redteam.rankings.clients import Recommend
from detector.redteam.rankings.users import History

__all__ = ["RankingEndpoint", "RankingServer"]

_MOST_BYTES: Final = 1_000_000
_MOST_INSTANCES: Final = 1000
_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class RankingEndpoint:
    """A recommend function over HTTP: call it with a history for the ranking. `names` are the ids of all items, by number.

    `endpoint` says how it is asked (tries, timeout, headers). Items that are not among `names` are left out of a ranking: a
    thief cannot ask about them. Raises `EndpointError`.
    """

    endpoint: Endpoint
    names: Sequence[str]
    numbers: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Number the items."""
        object.__setattr__(self, "numbers", {name: number for number, name in enumerate(self.names)})

    def __call__(self, history: History) -> History:
        """Ask about one history."""
        asked = {self.endpoint.request_key: [{"history": [self.names[item] for item in history]}]}
        content = self.endpoint.post(json.dumps(asked).encode())
        try:
            (ranking,) = json.loads(content)[self.endpoint.response_key]
            found = dict.fromkeys(self.numbers[name] for name in ranking if name in self.numbers)
        except (KeyError, TypeError, ValueError, RecursionError):
            said = content[:80].decode("utf-8", "replace")
            expected = f"{self.endpoint.response_key!r} with one list of item ids"
            raise EndpointError(f"{self.endpoint.url} answered {said!r} where {expected} was expected") from None
        return tuple(found)


class RankingServer(ThreadingHTTPServer):
    """Serves a recommend function over the items `names`; `serve_forever` and `shutdown` as of any server of the library."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, recommend: Recommend, names: Sequence[str], host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes any. Raises `ServerError` where the address cannot be had."""
        self.recommend = recommend
        self.names = names
        self.numbers = {name: number for number, name in enumerate(names)}
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ServerError(f"cannot listen on {host}:{port}: {error}") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hangs up; print anything else."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it is asked."""
        host, port = self.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}/"


class _RefusedError(Exception):
    """What is wrong with a request."""


class _Handler(BaseHTTPRequestHandler):
    server: RankingServer
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS

    def log_message(self, *args: object) -> None:
        """Be quiet: the log of predictions is another matter."""
        del args

    def do_POST(self) -> None:
        """Answer one request."""
        try:
            histories = self._histories(self._body())
        except _RefusedError as refused:
            self._send(400, {"error": str(refused)})
            return
        names = self.server.names
        self._send(200, {"predictions": [[names[item] for item in self.server.recommend(one)] for one in histories]})

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            self.close_connection = True
            raise _RefusedError(f"a request has a Content-Length of at most {_MOST_BYTES} bytes")
        return self.rfile.read(int(length))

    def _histories(self, body: bytes) -> list[History]:
        try:
            instances = json.loads(body)["instances"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _RefusedError("not a JSON object with instances") from None
        if not isinstance(instances, list) or not 0 < len(instances) <= _MOST_INSTANCES:
            raise _RefusedError(f"instances is a list of 1 to {_MOST_INSTANCES}")
        return [self._history(instance) for instance in instances]

    def _history(self, instance: Any) -> History:
        items = instance.get("history") if isinstance(instance, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise _RefusedError("an instance is an object whose history is a list of item ids")
        unknown = next((item for item in items if item not in self.server.numbers), None)
        if unknown is not None:
            raise _RefusedError(f"there is no item {unknown[:80]!r}")
        return tuple(self.server.numbers[item] for item in items)

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
