"""Health over HTTP, for orchestrators and Prometheus: liveness, readiness and metrics.

``/livez`` fails when the loop has made no progress for 30 seconds: the process hangs and should be restarted. ``/readyz`` fails
while kernels are compiled or the state of partitions is restored, so a rollout that waits for it leaves no client unwatched. It
also fails while so much is refused that something goes unwatched (see `refusals`); everything else is watched meanwhile.
Neither fails because the broker is away, since a restart would not help. ``/metrics`` is for Prometheus. Other paths are not
found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

from detector.config import ServiceSection
from detector.errors import ServiceError
from detector.service.telemetry.listener import Listener, cause_of
from detector.service.telemetry.metrics import CONTENT_TYPE, Metrics

STUCK_S = 30.0
PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HealthResponse:
    """The response to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN


class HealthServer:
    """Answers in its own threads, inside its ``with`` block; `ready` is called for each request of /readyz.

    Raises `ServiceError` on entering when the address cannot be used. There is no login: anyone who reaches the port can read
    the metrics, so by default it listens on this machine only.
    """

    def __init__(
        self,
        section: ServiceSection,
        metrics: Metrics,
        ready: Callable[[], bool],
        *,
        offset: int = 0,
        degraded: Callable[[], str | None] = lambda: None,
        refusing: Callable[[], str | None] = lambda: None,
        starting: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Prepare a server; `offset` is added to the configured port, since one machine may run several workers.

        Each callback returns a sentence, or None: `degraded` says what does not work although the worker is ready, `refusing`
        what is refused and goes unwatched, `starting` what is done before the loop begins and needs no heartbeat.
        """
        self._listener = Listener(section.host, section.port, offset, "health")
        self._metrics = metrics
        self._ready = ready
        self._degraded = degraded
        self._refusing = refusing
        self._starting = starting

    @property
    def port(self) -> int | None:
        """The port it listens on; None while it does not."""
        return self._listener.port

    def __enter__(self) -> Self:
        """Listen, unless the port is -1."""
        try:
            self._listener.start(_handler(self.answer))
        except (OSError, OverflowError) as error:
            host, port = self._listener.address
            raise ServiceError(
                f"cannot serve health and metrics on {host}:{port}: {cause_of(error)}: "
                "set [service] port (DETECTOR_SERVICE__PORT) to a free one, to 0 for any free one, or to -1 for none"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop listening."""
        self._listener.stop()

    def answer(self, path: str) -> HealthResponse:
        """Return the answer to a request for `path`."""
        match path.partition("?")[0]:
            case "/livez":
                still_s = self._metrics.still_s()
                if still_s < STUCK_S or self._starting() is not None:
                    return HealthResponse(HTTPStatus.OK, b"alive\n")
                return HealthResponse(HTTPStatus.SERVICE_UNAVAILABLE, b"stuck: the loop made no progress for %d s\n" % still_s)
            case "/readyz":
                if (start := self._starting()) is not None:
                    return HealthResponse(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {start}\n".encode())
                if (unwatched := self._refusing()) is not None:
                    return HealthResponse(
                        HTTPStatus.SERVICE_UNAVAILABLE, f"degraded: {unwatched}; the log says more\n".encode()
                    )
                if self._ready():
                    trouble = self._degraded()
                    return HealthResponse(HTTPStatus.OK, f"ready, degraded: {trouble}\n".encode() if trouble else b"ready\n")
                return HealthResponse(
                    HTTPStatus.SERVICE_UNAVAILABLE, b"not ready: connecting, or restoring the state of partitions\n"
                )
            case "/metrics":
                return HealthResponse(HTTPStatus.OK, self._metrics.text(), CONTENT_TYPE)
        return HealthResponse(HTTPStatus.NOT_FOUND, b"not found; there are /livez, /readyz and /metrics\n")


def _handler(answer: Callable[[str], HealthResponse]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "detector"
        sys_version = ""

        def do_GET(self) -> None:
            self._reply(with_body=True)

        def do_HEAD(self) -> None:
            self._reply(with_body=False)

        def _reply(self, *, with_body: bool) -> None:
            found = answer(self.path)
            self.send_response(found.status)
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(found.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(found.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the parent's name
            """Log nothing: probes come every few seconds."""

    return Handler
