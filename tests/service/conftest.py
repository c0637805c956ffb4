"""A service on a real Kafka that can be killed.

Workers that a test kills or stops are processes. They are forked from one that has loaded everything, so that a start takes no
time. Nothing may hang: each test has a limit of its own, five minutes unless it is marked otherwise.
"""

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from detector.baseline.settings import engine_settings
from detector.baseline.store import NO_BASELINE, Baseline
from detector.clock import SystemClock
from detector.config import Config, EngineSection, KafkaSection, PolicySection, ServiceSection
from detector.contracts import to_json
from detector.engine.shard import Shard
from detector.service.kafka import topics as topics_of
from detector.service.kafka.codec import decode
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from detector.service.worker import Stage, Worker
from detector.sinks import render
from detector.testing import traffic
from tests.alone import about_one_client
from tests.servers.kafka import LocalBroker

LIMIT_S = 300
LAST_LINES = 30  # of what a worker said, where a test fails
STEP_MS = 1000  # from one line of a log to the next, in the time of Kafka, as in that of the events
PAST_MS = 3 * 3_600_000  # so long ago a log began
NURSERY = """
import importlib, json, os, signal, sys
from pathlib import Path
from detector.config import load
from detector.errors import DetectorError
from detector.offline.replay import load_baseline
from detector.service.supervisor import _stop_on_signals, _work, start_logs
from detector.service.worker import Stage
from detector.testing import traffic, watch
watch(traffic(queries=20))  # loads the kernels
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
print("ready", flush=True)
for line in sys.stdin:
    file, member, output, limits = line.rstrip("\\n").split("\\t")
    if (child := os.fork()):
        print(child, flush=True)
        continue
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    stop = _stop_on_signals()
    try:
        for name, value in json.loads(limits).items():
            module, _, constant = name.rpartition(".")
            setattr(importlib.import_module(module), constant, value)
        config = load(Path(file))
        start_logs(config)
        _work(config, load_baseline, Stage.ALL, number=0, member=member or None, stop=stop)
    except DetectorError as error:
        print("ended:", error, flush=True)
    finally:
        os._exit(0)
"""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark of these tests, and a fault of the client that is not ours."""
    config.addinivalue_line("markers", "limit(seconds): how long a test may take before it is ended as hung")
    # kafka-python (3.0.12, kafka/net/inet.py) leaves the socket of a connection that was refused, or whose handshake
    # failed, to the garbage collector.
    config.addinivalue_line("filterwarnings", r"ignore:unclosed <socket.socket .*laddr=\('0\.0\.0\.0', \d+\)>:ResourceWarning")
    config.addinivalue_line("filterwarnings", r"ignore:unclosed <ssl.SSLSocket :ResourceWarning")


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> Iterator[None]:
    """Keep log records of the client as text: pytest holds on to them, and they to clients that failed."""
    before = logging.getLogRecordFactory()

    def plain(*args: Any, **named: Any) -> logging.LogRecord:
        record = before(*args, **named)
        if record.name.startswith("kafka"):
            record.msg, record.args, record.exc_info = record.getMessage(), (), None
        return record

    logging.setLogRecordFactory(plain)
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture(autouse=True)
def _limited(request: pytest.FixtureRequest) -> Iterator[None]:
    marked = request.node.get_closest_marker("limit")
    seconds = marked.args[0] if marked else LIMIT_S

    def expired(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def fresh_topic() -> Callable[[str], str]:
    """Return a maker of names that no other test uses: ``fresh_topic("queries")`` is ``queries-5e0c2a91``."""
    return lambda name: f"{name}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def restartable_broker(local_broker: Callable[..., LocalBroker]) -> LocalBroker:
    """Return a broker of the test's own, which it may stop, kill and start again."""
    return local_broker()


class Nursery:
    """Forks workers; see `NURSERY`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._lock = threading.Lock()

    def fork(self, config: Path, member: str, output: Path, limits: Mapping[str, int]) -> int:
        """Start a worker and return its process id; `limits` are constants of modules that it works with instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(f"{config}\t{member}\t{output}\t{json.dumps(limits)}\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it; its workers have to be ended by who started them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


class Process:
    """A worker in a process of its own."""

    def __init__(self, number: int, output: Path) -> None:
        self.number = number
        self.output = output

    def send(self, what: signal.Signals) -> None:
        """Send a signal; nothing happens to a process that has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.number, what)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        return True

    def said(self) -> str:
        """What it wrote so far."""
        return self.output.read_text(encoding="utf-8") if self.output.exists() else ""

    def kill(self) -> None:
        """End it as a crash would."""
        self.send(signal.SIGKILL)
        wait_for(lambda: not self.alive)

    def end(self, patience_s: float = 60.0) -> None:
        """Ask it to end and wait until it has."""
        self.send(signal.SIGTERM)
        wait_for(lambda: not self.alive, patience_s)


def wait_for(condition: Callable[[], object], patience_s: float = 60.0, told: Callable[[], str] = str) -> None:
    """Return when the condition holds; fail when it does not in time, with what is `told`."""
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, f"it did not come to that in time\n{told()}"
        time.sleep(0.05)


class Rig:
    """A service of one test: its own topics and groups on a broker, its workers, and what it should have found."""

    def __init__(
        self,
        address: str,
        folder: Path,
        nursery: Nursery,
        *,
        baseline: Baseline | None = None,
        partitions: int = 6,
        create: bool = True,
        **kafka: Any,
    ) -> None:
        name = uuid.uuid4().hex[:8]
        self.folder = folder
        self.baseline = baseline
        self.partitions = partitions
        self.log = f"log-{name}"
        settings: dict[str, Any] = {
            "bootstrap_servers": (address,),
            "input_topics": (self.log,),
            "prefix": f"{name}.",
            "group_id": f"group-{name}",
            "checkpoint_seconds": 0.2,
        }
        self.config = Config(
            kafka=KafkaSection(**settings | kafka),
            engine=EngineSection(learning_events=32, seed=5),
            policy=PolicySection(shadow=False, trust_clients=True),
        )
        self.topics = Topics.under(self.config.kafka.prefix)
        self.connection = Connection(self.config.kafka)
        self.sent: list[bytes] = []
        self._begun_ms = int(time.time() * 1000) - PAST_MS
        self.processes: list[Process] = []
        self.failed: list[Exception] = []
        self._nursery = nursery
        if create:
            self.create()

    def create(self) -> None:
        """Create the log's topic and those of the service."""
        with self.admin() as admin:
            topics_of.create(admin, self.topics, partitions=self.partitions, replication=1)
            admin.create_topics(
                [NewTopic(name=self.log, num_partitions=self.partitions, replication_factor=1)], wait_for_metadata=True
            )

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """Open an admin client."""
        admin = self.connection.admin()
        try:
            yield admin
        finally:
            admin.close()

    def produce(self, lines: Sequence[bytes], *, topic: str | None = None, pause_s: float = 0.0) -> None:
        """Write a log, a hundred lines to a partition in turn, in the order of its lines and stamped with their times.

        A partition gets its lines when those before them are there: the client would send what waits for several at once, and
        a stage that reads meanwhile would see later lines first.
        """
        producer = self.connection.producer(linger_ms=2)
        try:
            for i, line in enumerate(lines):
                place = i // 100 % self.partitions
                moment = self._begun_ms + (len(self.sent) + i) * STEP_MS
                producer.send(topic or self.log, value=line, partition=place, timestamp_ms=moment)
                if i % 100 == 99:
                    producer.flush(timeout=60)
                    time.sleep(pause_s)
            producer.flush(timeout=60)
        finally:
            producer.close(timeout=10)
        self.sent += lines

    def start(self, member: str = "", limits: Mapping[str, int] | None = None, **kafka: Any) -> Process:
        """Start a worker in a process of its own; `limits` as in `Nursery.fork`."""
        i = len(self.processes)
        own = {"kafka": self.config.kafka.model_copy(update=kafka), "service": ServiceSection(port=-1)}
        sections = self.config.model_copy(update=own).model_dump(mode="json", exclude_unset=True, exclude_none=True)
        file = self.folder / f"worker-{i}.toml"
        lines = []
        for name, section in sections.items():
            lines += [
                f"[{name}]",
                *(f"{key} = {json.dumps(value)}" for key, value in section.items() if not isinstance(value, dict)),
            ]
        file.write_text("\n".join(lines), encoding="utf-8")
        output = self.folder / f"worker-{i}.log"
        process = Process(self._nursery.fork(file, member, output, limits or {}), output)
        self.processes.append(process)
        return process

    @contextmanager
    def thread(self, **options: Any) -> Iterator[Worker]:
        """Run a worker in a thread of this process."""
        worker = Worker(self.config, self.baseline, SystemClock(), **options)
        stop = threading.Event()
        failed = self.failed = []

        def run() -> None:
            try:
                worker.run(stop)
            except Exception as error:  # noqa: BLE001  # raised again below
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield worker
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()
        if failed:
            raise failed[0]

    def read(self, topic: str) -> dict[int, list[Any]]:
        """Return the committed records of a topic, by partition."""
        consumer = self.connection.consumer()
        try:
            wait_for(lambda: consumer.partitions_for_topic(topic))
            places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            consumer.seek_to_beginning(*places)
            found: dict[int, list[Any]] = {place.partition: [] for place in places}
            until = time.monotonic() + 30
            while any(consumer.position(place) < ends[place] for place in places):
                assert time.monotonic() < until, f"{topic} cannot be read to its end"
                for place, records in consumer.poll(timeout_ms=100).items():
                    found[place.partition] += records
            return found
        finally:
            consumer.close()

    def wait_settled(self, topic: str) -> None:
        """Wait until no transaction is open in a topic: the broker writes the end of one a moment after it is acknowledged."""
        everything = KafkaConsumer(bootstrap_servers=list(self.config.kafka.bootstrap_servers))
        committed = self.connection.consumer()
        places = [TopicPartition(topic, number) for number in range(self.partitions)]
        try:
            wait_for(lambda: everything.end_offsets(places) == committed.end_offsets(places))
        finally:
            everything.close(autocommit=False)
            committed.close(autocommit=False)

    def produce_keyed(self, lines: Sequence[bytes]) -> None:
        """Write a log keyed by client."""
        producer = self.connection.producer(linger_ms=2)
        for line in lines:
            producer.send(self.log, key=json.loads(line)["client"]["id"].encode(), value=line)
        producer.close(timeout=10)

    def lag(self, stage: Stage = Stage.ALL) -> int:
        """How many records are not yet through, or not yet committed, in a stage or both."""
        if not hasattr(self, "_watchers"):
            group = self.config.kafka.group_id
            source = self.log if self.config.kafka.keyed else self.topics.queries
            self._watchers = [
                (Stage.INGEST, self.connection.consumer(group=f"{group}.ingest"), self.log),
                (Stage.DETECT, self.connection.consumer(group=group), source),
            ]
        waiting = 0
        for own, consumer, topic in self._watchers:
            if stage not in {Stage.ALL, own}:
                continue
            places = [TopicPartition(topic, number) for number in range(self.partitions)]
            ends = consumer.end_offsets(places)
            begins = consumer.beginning_offsets(places)
            for place in places:
                waiting += ends[place] - max(consumer.committed(place, timeout_ms=60_000) or 0, begins[place])
        return waiting

    def wait_done(self, patience_s: float = 200.0, *, stage: Stage = Stage.ALL) -> None:
        """Wait until everything written so far is through both stages, or one, and committed."""
        wait_for(lambda: self._failed() or self.lag(stage) == 0, patience_s, self.said)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for anything else."""
        wait_for(lambda: self._failed() or condition(), told=self.said)

    def _failed(self) -> bool:
        if self.failed:  # what the worker in a thread died of, at once
            raise self.failed[0]
        return False

    def said(self) -> str:
        """Return the last that each worker said."""
        return "\n".join(line for process in self.processes for line in process.said().splitlines()[-LAST_LINES:])

    def forget_watchers(self) -> None:
        """Close what watches the lag: it would wait for a broker that a test is about to stop."""
        for _, consumer, _ in self.__dict__.pop("_watchers", ()):
            consumer.close(autocommit=False, timeout_ms=1000)

    def wait_failed(self) -> None:
        """Wait until the worker of `thread` has ended with an error."""
        wait_for(lambda: self.failed)

    def wait_ended(self, process: Process) -> None:
        """Wait until a worker has ended by itself."""
        wait_for(lambda: not process.alive, told=process.said)

    def expected(self, without: Collection[tuple[int, int]] = ()) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Return the alerts by id, and of each key the last decision, that one pass over each partition finds.

        Records `without`, by partition and offset, are left out.
        """
        known = dict(self.baseline.models) if self.baseline else {}
        settings = engine_settings(self.config)
        version = self.baseline.version if self.baseline else NO_BASELINE
        stamp = render.Stamp(version, self.config.version, settings.policy)
        alerts: dict[str, bytes] = {}
        decisions: dict[str, bytes] = {}
        for number, read in self.read(self.topics.queries).items():
            records = [record for record in read if (number, record.offset) not in without]
            batches, unreadable = decode([record.value for record in records], [record.offset for record in records])
            assert not unreadable
            outputs = Shard(settings, known).process(*batches)
            for finding in outputs.findings:
                alerts[finding.alert_id] = to_json(render.alert(finding, stamp))
            for order in outputs.pending_decisions:
                decision = render.decision(order, stamp)
                decisions[decision.key] = to_json(decision)
        return alerts, decisions

    def verify(self, *, repeats: bool, without: Collection[tuple[int, int]] = ()) -> None:
        """Check that nothing was lost and nothing doubled; with `repeats`, equal copies of a document are fine.

        Records `without`, by partition and offset, were left out.
        """
        written = [record for records in self.read(self.topics.queries).values() for record in records]
        ids = {json.loads(line)["event_id"] for line in self.sent}
        found = [event for batch in decode([r.value for r in written], [0] * len(written))[0] for event in batch.event_id]
        assert set(found) == ids
        alerts, decisions = self.expected(without)
        assert alerts, "the log has to lead to alerts"
        assert decisions, "the log has to lead to decisions"
        raised = [record.value for records in self.read(self.topics.alerts).values() for record in records]
        raised = list(filter(about_one_client, raised))
        by_id: dict[str, set[bytes]] = defaultdict(set)
        for alert in raised:
            by_id[json.loads(alert)["event"]["id"]].add(alert)
        assert {name: sorted(copies) for name, copies in by_id.items()} == {name: [alert] for name, alert in alerts.items()}
        by_key: dict[str, list[bytes]] = defaultdict(list)
        for records in self.read(self.topics.decisions).values():
            for record in records:
                if about_one_client(record.value):
                    by_key[record.key.decode()].append(record.value)
        assert {key: said[-1] for key, said in by_key.items()} == decisions
        for said in by_key.values():
            revisions = [json.loads(decision)["revision"] for decision in said]
            assert revisions[-1] == max(revisions)
            assert set(revisions) == set(range(1, max(revisions) + 1))
            assert repeats or revisions == sorted(set(revisions))
        assert repeats or len(raised) == len(by_id)

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            process.kill()
        self.forget_watchers()


@pytest.fixture(scope="session")
def silenced() -> Callable[[LocalBroker], AbstractContextManager[None]]:
    """Return what lets a broker stand still for a while: it takes connections and answers nothing."""

    @contextmanager
    def still(broker: LocalBroker) -> Iterator[None]:
        assert broker.process_id is not None
        os.kill(broker.process_id, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(broker.process_id, signal.SIGCONT)

    return still


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Return the process that workers are forked from, when it has loaded everything: no test's limit counts that."""
    gc.collect()
    gc.freeze()  # what is loaded by now is not walked again by every test that looks for what the client has left behind
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def client() -> str:
    """Return the Kafka client of the service; see `tests.service.clients` for tests that name one."""
    return "auto"


@pytest.fixture
def rig_at(tmp_path: Path, nursery: Nursery, client: str) -> Iterator[Callable[..., Rig]]:
    """Return a maker of services on a broker: ``rig_at(address, session_seconds=6)``."""
    made: list[Rig] = []

    def make(address: str, **settings: Any) -> Rig:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Rig(address, folder, nursery, **{"client": client} | settings))
        return made[-1]

    yield make
    for rig in made:
        rig.close()
    for _ in range(5):  # until nothing more comes to light
        gc.collect()  # what the client has left behind is to be found here, where the filters of these tests hold


@pytest.fixture(scope="module")
def strict(secured_broker: Callable[..., LocalBroker]) -> LocalBroker:
    """Return a broker on which users may do what they were granted, and who has not logged in may do everything."""
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    return secured_broker(**settings)


@pytest.fixture
def rig(rig_at: Callable[..., Rig], broker: str) -> Rig:
    """Return a service on the shared broker, with its topics."""
    return rig_at(broker)


@pytest.fixture(scope="session")
def stolen() -> list[bytes]:
    """Return a log with eight innocent clients and five thieves."""
    return traffic(seed=3, innocents=8, thieves=5, queries=120)
