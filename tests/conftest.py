"""Fixtures for every test: a log with everything in it, a shard that is driven through it, baselines, and servers.

DETECTOR_TEST_KAFKA and DETECTOR_TEST_ELASTIC name a Kafka and an Elasticsearch that run already (no encryption, no login); else
they are started here. Where one cannot be had, its tests are skipped and say what to install; with CI=true they fail.
"""

import http.client
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import settings
from sklearn.datasets import load_digits

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline
from detector.contracts import to_json
from detector.engine.findings import Outputs
from detector.engine.shard import EngineSettings, ModelBaseline, Shard
from detector.errors import ServerError
from detector.ingest.batch import Batch
from detector.ingest.formats.registry import FORMATS
from detector.sinks import render
from detector.testing import START_MS, Events, batches
from tests.ingest.formats import paired
from tests.servers.elastic import LocalElastic, prepare
from tests.servers.kafka import LocalBroker, java_command
from tests.servers.serving.server import Serving

settings.register_profile("tests", deadline=None, derandomize=True, max_examples=25, report_multiple_bugs=False)
settings.load_profile("tests")

HOUR_MS = 3_600_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no worker waits long for the other one at the end.

    The image's file is the first of all: it compiles every kernel for another processor, while another worker compiles them for
    this one. Otherwise both workers would begin with the same kernels.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_image.py", item.path not in slow))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Name what failed in the last lines of all: the comparisons before them can be longer than what is kept of a log."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    for outcome in ("failed", "error"):
        for report in reporter.stats.get(outcome, ()):
            reporter.write_line(f"{outcome}: {report.nodeid}")


@pytest.fixture(autouse=True)
def unconfigured_logging() -> Iterator[None]:
    """Undo what a command in a test's own process did to logging: its stream is the test's, and is closed with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def make_log() -> Callable[..., list[bytes]]:
    """Return a maker of logs in which all kinds of clients meet, see `_log`."""
    return _log


def _log(
    seed: int,
    *,
    events: int = 160,
    clients: int = 6,
    dimension: int = 9,
    models: Sequence[str] = ("alpha",),
    disorder: float = 0.15,
    repeats: float = 0.1,
    pauses: float = 0.02,
    strays: float = 0.0,
    shift_ms: int = 0,
    habits: Sequence[str] = ("random", "flat", "bisect", "again", "still", "flat"),
) -> list[bytes]:
    """Return lines of `clients` clients who ask at random, move by flat steps, bisect, repeat themselves or stand still.

    Of the events, a share `disorder` is up to two hours late, `repeats` are delivered again, `pauses` follow hours of silence
    and `strays` have one value too many.
    """
    rng = np.random.default_rng(seed)
    makers = {model: Events(model) for model in models}
    labels = [bool(rng.random() < 0.5) for _ in range(clients)]  # whether it is told labels only
    memory: dict[tuple[str, int], list[Any]] = {}
    lines: list[bytes] = []
    now = START_MS + shift_ms
    for _ in range(events):
        if lines and rng.random() < repeats:
            lines.append(lines[int(rng.integers(len(lines)))])
            continue
        now += int(rng.choice([0, 1, 700, 5_000])) + (int(rng.integers(30 * HOUR_MS)) if rng.random() < pauses else 0)
        i = int(rng.integers(clients))
        model = models[int(rng.integers(len(models)))]
        x = _query(habits[i % len(habits)], memory.setdefault((model, i), []), rng, dimension)
        if rng.random() < strays:
            x = np.append(x, 0.5)
        chance = float(1.0 / (1.0 + np.exp(-6.0 * (x.sum() - dimension / 2))))
        label = int(chance > 0.5)
        late = int(rng.integers(2 * HOUR_MS)) if rng.random() < disorder else 0
        lines.append(
            makers[model].line(
                f"client-{i}",
                x,
                label,
                probabilities=None if labels[i] else [1.0 - chance, chance],
                trusted=i % 3 != 2,
                time=max(now - late, 0),
                sampled_rate=float(rng.choice([1.0, 30.0])) if rng.random() < 0.1 else None,
            )
        )
    return lines


def _query(habit: str, memory: list[Any], rng: np.random.Generator, dimension: int) -> Any:
    x = rng.random(dimension)
    if habit == "still":
        x = np.full(dimension, 0.25)
    elif habit == "again" and memory and rng.random() < 0.5:
        x = memory[int(rng.integers(len(memory)))]
    elif habit == "flat" and memory and rng.random() < 0.6:
        x = memory[-1] + 0.1 * rng.permutation(np.resize([1.0, -1.0], dimension))
    elif habit == "bisect":
        # A search between a point below the boundary and one above it, from the start again after six halvings.
        if len(memory) < 2 or len(memory) >= 10:
            memory.clear()
            memory += [0.8 * x, 0.2 + 0.8 * rng.random(dimension)]
            return memory[0]
        if len(memory) == 2:
            memory.append("begun")
            return memory[1]
        below, above = memory[0], memory[1]
        x = (below + above) / 2
        memory[int(x.sum() > dimension / 2)] = x
        memory.append("halved")
        return x
    memory.append(x)
    return x


@pytest.fixture(scope="session")
def drive() -> Callable[..., dict[str, bytes]]:
    """Return a driver of shards, see `_drive`."""
    return _drive


def _drive(
    lines: Sequence[bytes],
    engine: EngineSettings,
    baselines: Mapping[str, ModelBaseline] | None = None,
    *,
    cuts: Iterable[int] = (),
    restarts: Iterable[int] = (),
    compacted: bool = False,
) -> dict[str, bytes]:
    """Process a log that is cut before the events `cuts`, and return every document as bytes.

    Before the events `restarts` a new shard takes over from a snapshot; with `compacted`, from what a compacted topic holds
    after a checkpoint of the changed clients at every cut.
    """
    stamp = render.Stamp("b", "c", engine.policy)
    shard = Shard(engine, baselines)
    topic: dict[tuple[str, str], bytes] = {}
    total = Outputs()
    stops = sorted({0, len(lines), *restarts, *cuts})
    for start, stop in pairwise(stops):
        if start in set(restarts):
            if compacted:
                topic |= shard.snapshot(changed_only=True)
            saved = topic if compacted else shard.snapshot()
            shard = Shard(engine, baselines)
            shard.restore(saved)
        elif compacted:
            topic |= shard.snapshot(changed_only=True)
        total.add(shard.process(*batches(lines[start:stop], first_sequence=start)))
    total.add(shard.finish())
    clients = [*total.departed, *shard.reports()]
    return {
        "alerts": b"\n".join(to_json(render.alert(finding, stamp)) for finding in total.findings),
        "decisions": b"\n".join(to_json(render.decision(order, stamp)) for order in total.pending_decisions),
        "clients": b"\n".join(json.dumps(render.client(report), allow_nan=False).encode() for report in clients),
        "refused": repr(sorted((refusal.sequence, refusal.reason) for refusal in total.refusals)).encode(),
        "repeated": str(total.repeated).encode(),
    }


@pytest.fixture(scope="session")
def generated_baseline() -> Baseline:
    """Fit a baseline of the model "alpha" on thirty generated clients, nine inputs each."""
    return fit_baseline(lambda: batches(_benign_lines()), EngineSettings(seed=5))


@pytest.fixture(scope="session")
def benign(generated_baseline: Baseline) -> Callable[[], Baseline]:
    """Return a function that returns `generated_baseline`, for tests of hypothesis, which print their arguments."""
    return lambda: generated_baseline


def _benign_lines() -> list[bytes]:
    rng = np.random.default_rng(11)
    events = Events("alpha", step_ms=500)
    lines = []
    for _ in range(70):
        for client in range(30):
            x = rng.random(9)
            chance = float(1.0 / (1.0 + np.exp(-6.0 * (x.sum() - 4.5))))
            lines.append(events.line(f"benign-{client}", x, int(chance > 0.5), probabilities=[1.0 - chance, chance]))
    return lines


@pytest.fixture(scope="session")
def digits_batches() -> list[Batch]:
    """Return a benign log of the model "digits": thirty clients, each asking about forty handwritten digits."""
    data = load_digits()
    rng = np.random.default_rng(3)
    events = Events("digits", step_ms=700)
    lines = []
    for _ in range(40):
        for client in range(30):
            i = int(rng.integers(len(data.data)))
            lines.append(events.line(f"reader-{client}", data.data[i], int(data.target[i])))
    return batches(lines)


@pytest.fixture(scope="session")
def digits_baseline(digits_batches: list[Batch]) -> Baseline:
    """Fit a baseline of the model "digits"."""
    return fit_baseline(lambda: digits_batches, EngineSettings(seed=5))


def _fetch(config: pytest.Config, fetch: Callable[[Any], object]) -> None:
    """Fetch what a server needs, saying so on the terminal; where that is impossible skip, or with CI=true fail."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    try:
        fetch(reporter.write_line if reporter else print)
    except ServerError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture
def paired_format(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the format of logs that only tests have; return its name."""
    monkeypatch.setitem(FORMATS, paired.FORMAT.name, paired.FORMAT)
    return paired.FORMAT.name


@pytest.fixture(scope="session")
def kafka_can_run(pytestconfig: pytest.Config) -> None:
    """Fetch what a broker needs; without it the test is skipped, or fails with CI=true."""
    _fetch(pytestconfig, java_command)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of a broker that all tests share; each uses topics and groups with names of its own."""
    if address := os.environ.get("DETECTOR_TEST_KAFKA"):
        yield address
        return
    request.getfixturevalue("kafka_can_run")
    with LocalBroker() as local:
        yield local.bootstrap


@pytest.fixture
def local_broker(kafka_can_run: None) -> Iterator[Callable[..., LocalBroker]]:  # noqa: ARG001
    """Return a starter of brokers, which takes what `LocalBroker` takes; all are closed after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(LocalBroker(**options))


@pytest.fixture(scope="module")
def secured_broker(kafka_can_run: None) -> Iterator[Callable[..., LocalBroker]]:  # noqa: ARG001
    """Return a starter of brokers, by their settings, on which "detector" logs in with "right"; closed after the module."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(LocalBroker(users={"detector": "right"}, settings=settings))


@pytest.fixture(scope="session")
def elastic_can_run(pytestconfig: pytest.Config) -> None:
    """Fetch what an Elasticsearch needs; without it the test is skipped, or fails with CI=true."""
    _fetch(pytestconfig, prepare)


@pytest.fixture(scope="session")
def elastic(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of an Elasticsearch that all tests share; each uses a namespace of its own."""
    if address := os.environ.get("DETECTOR_TEST_ELASTIC"):
        yield address
        return
    request.getfixturevalue("elastic_can_run")
    with LocalElastic() as node:
        yield node.url


@pytest.fixture
def local_elastic(elastic_can_run: None) -> Iterator[Callable[..., LocalElastic]]:  # noqa: ARG001
    """Return a starter of nodes, which takes what `LocalElastic` takes; all are closed after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(LocalElastic(**options))


@pytest.fixture(scope="session")
def installed(pytestconfig: pytest.Config) -> Callable[[type[Serving]], None]:
    """Return what installs a kind of server of models; where it cannot, the test is skipped, or fails with CI=true."""
    return lambda kind: _fetch(pytestconfig, kind.install)


class FaultyProxy:
    """Stands before a server and passes requests on, unless `fault` returns the status to answer instead.

    `fault` is called with the method and the path of each request; 0 hangs up without an answer. Requests with more than
    `longest` bytes are answered 413.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.fault: Callable[[str, str], int | None] = lambda _method, _path: None
        self.longest = 1 << 30
        self.passed = 0
        self.refused = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                status = 413 if len(body) > proxy.longest else proxy.fault(self.command, self.path)
                if status is not None:
                    proxy.refused += 1
                    self._refuse(status)
                    return
                host, _, port = proxy.target.removeprefix("http://").rpartition(":")
                connection = http.client.HTTPConnection(host, int(port), timeout=60)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                except OSError:
                    self.close_connection = True
                    return
                finally:
                    connection.close()
                proxy.passed += 1
                self._answer(answer.status, dict(answer.getheaders()), content)

            def _refuse(self, status: int) -> None:
                if status == 0:
                    self.close_connection = True
                    return
                content = json.dumps({"error": {"type": "injected", "reason": "by the test"}, "status": status}).encode()
                kind = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}
                self._answer(status, kind, content)

            def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815  # the parent's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        return Handler


@pytest.fixture
def faulty_proxy() -> Iterator[Callable[[str], FaultyProxy]]:
    """Return a maker of proxies that can misbehave, see `FaultyProxy`."""
    made: list[FaultyProxy] = []

    def make(target: str) -> FaultyProxy:
        made.append(FaultyProxy(target))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
