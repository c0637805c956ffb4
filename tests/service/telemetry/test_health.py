"""Health over HTTP: what each path says, and what happens where the port cannot be had."""

import http.client
import socket

import pytest

from detector.config import ServiceSection
from detector.errors import ServiceError
from detector.service.telemetry.health import STUCK_S, HealthServer
from detector.service.telemetry.metrics import Metrics


class World:
    """A worker's state that tests change by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ready = False
        self.metrics = Metrics(lambda: self.now_s)
        self.server = HealthServer(ServiceSection(port=0), self.metrics, lambda: self.ready)


def ask(port: int | None, path: str, method: str = "GET") -> tuple[int, bytes, str]:
    """Return status, body and content type."""
    assert port is not None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Content-Type"]
    finally:
        connection.close()


def test_alive_until_the_loop_stands_still() -> None:
    """/livez is 200 within the limit after a beat, 503 from the limit on, and 200 again after the next beat."""
    world = World()
    with world.server as server:
        for now_s, status in ((STUCK_S - 0.1, 200), (STUCK_S, 503)):
            world.now_s = now_s
            assert ask(server.port, "/livez")[0] == status
        world.metrics.beat()
        assert ask(server.port, "/livez")[:2] == (200, b"alive\n")


def test_ready_when_the_worker_says_so() -> None:
    """/readyz asks at each request."""
    world = World()
    with world.server as server:
        assert ask(server.port, "/readyz")[0] == 503
        world.ready = True
        assert ask(server.port, "/readyz")[0] == 200


def test_refusals_and_remarks() -> None:
    """What is refused and goes unwatched makes it unready with the reason, and alive; a remark leaves it ready."""
    said: dict[str, str] = {}
    server = HealthServer(
        ServiceSection(port=0),
        Metrics(),
        lambda: True,
        degraded=lambda: said.get("degraded"),
        refusing=lambda: said.get("refusing"),
    )
    with server:
        assert ask(server.port, "/readyz")[:2] == (200, b"ready\n")
        said["degraded"] = "1 model is being learned and not watched yet"
        assert ask(server.port, "/readyz")[:2] == (200, b"ready, degraded: 1 model is being learned and not watched yet\n")
        said["refusing"] = "all recent records of model 'fraud' are refused, most as 'dimension'"
        assert ask(server.port, "/readyz")[:2] == (503, f"degraded: {said['refusing']}; the log says more\n".encode())
        assert ask(server.port, "/livez")[0] == 200


def test_a_start_is_not_ready_and_not_stuck() -> None:
    """While kernels are compiled /readyz says so, ready or not, and nobody waits for the loop's beat."""
    doing: list[str] = ["compiling"]
    now_s = [0.0]
    server = HealthServer(
        ServiceSection(port=0), Metrics(lambda: now_s[0]), lambda: True, starting=lambda: doing[0] if doing else None
    )
    with server:
        now_s[0] = 10 * STUCK_S
        assert ask(server.port, "/readyz")[:2] == (503, b"not ready: compiling\n")
        assert ask(server.port, "/livez")[:2] == (200, b"alive\n")
        doing.clear()
        assert ask(server.port, "/readyz")[:2] == (200, b"ready\n")
        assert ask(server.port, "/livez")[0] == 503


def test_figures_and_nothing_else() -> None:
    """/metrics is Prometheus's text; anything else is not found; HEAD has no body; a query string does no harm."""
    world = World()
    world.metrics.invalid("json")
    with world.server as server:
        status, body, kind = ask(server.port, "/metrics?x=1")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert b'detector_events_invalid_total{reason="json"} 1.0' in body
        assert ask(server.port, "/")[0] == 404
        assert ask(server.port, "/metrics/../livez")[0] == 404
        assert ask(server.port, "/livez", "HEAD")[:2] == (200, b"")
        assert ask(server.port, "/livez", "POST")[0] == 501


def test_a_port_in_use_says_what_to_do() -> None:
    """The error names address and setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = HealthServer(ServiceSection(port=port), Metrics(), lambda: True)
        with pytest.raises(ServiceError, match=rf"127\.0\.0\.1:{port}.*\[service\] port.*-1"), server:
            pass


def test_workers_take_ports_in_a_row_and_may_have_none() -> None:
    """The offset counts from the configured port; with -1 nothing listens; past the last port it is an error, not a crash."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with HealthServer(ServiceSection(port=port - 2), Metrics(), lambda: True, offset=2) as server:
        assert server.port == port
    with HealthServer(ServiceSection(port=-1), Metrics(), lambda: True, offset=2) as server:
        assert server.port is None
    past = HealthServer(ServiceSection(port=65535), Metrics(), lambda: True, offset=1)
    with pytest.raises(ServiceError, match="65536"), past:
        pass


def test_the_port_is_free_again_afterwards() -> None:
    """A worker that is started anew gets its port at once."""
    world = World()
    with world.server as server:
        port = server.port
        ask(port, "/livez")
    assert port is not None
    with HealthServer(ServiceSection(port=port), Metrics(), lambda: True) as again:
        assert again.port == port


def test_callers_that_hang_up_are_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    """A connection closed in the middle of a request leaves the server serving, and nothing on the terminal."""
    world = World()
    with world.server as server:
        with socket.create_connection(("127.0.0.1", server.port or 0)) as rude:
            rude.sendall(b"GET /metrics HT")
        assert ask(server.port, "/livez")[0] == 200
    assert capsys.readouterr().err == ""
