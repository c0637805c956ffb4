"""A real broker with topics for one measurement, what fills them, and the service as a process of its own.

Logs go into a topic keyed by client, so that both the keyed service and the one with two stages can read them. The state topic
can be filled with clients whose memories are full, as if the service had watched them for long.
"""

import http.client
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from kafka.admin import NewTopic

from detector.baseline.settings import engine_settings
from detector.config import BaselineSection, Config, KafkaSection
from detector.engine.partition import partition_of
from detector.engine.shard import SHARD_KEY
from detector.engine.state import ClientSnapshot, dump
from detector.service.kafka import topics as topics_of
from detector.service.kafka.clients.protocol import Delivery
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import MOST_IN_FLIGHT, settle
from detector.service.kafka.topics import Topics
from detector.service.produce import Flow, Produced
from detector.service.state.codec import StateRecord, mark_record, records_of, sealed
from detector.service.state.seal import Seal
from tests.bench.subjects import MODEL, Saved
from tests.servers.process import free_port

PATIENCE_S = 300.0
TICKS = os.sysconf("SC_CLK_TCK")


class Rig:
    """Topics of one measurement. `log` names a topic that is filled already; without it there is a new, empty one."""

    def __init__(
        self, address: str, folder: Path, *, partitions: int, keyed: bool, baseline: Path, log: str | None = None, **kafka: Any
    ) -> None:
        """Create the topics on the broker at `address`."""
        name = uuid.uuid4().hex[:8]
        self.folder = folder
        self.partitions = partitions
        self.log = log or f"log-{name}"
        section: dict[str, Any] = {
            "bootstrap_servers": (address,),
            "input_topics": (self.log,),
            "keyed": keyed,
            "prefix": f"{name}.",
            "group_id": name,
        }
        self.config = Config(kafka=KafkaSection(**section | kafka), baseline=BaselineSection(path=baseline))
        self.topics = Topics.under(self.config.kafka.prefix)
        self.connection = Connection(self.config.kafka)
        admin = self.connection.admin()
        try:
            topics_of.create(admin, self.topics, partitions=partitions, replication=1)
            if log is None:
                admin.create_topics(
                    [NewTopic(name=self.log, num_partitions=partitions, replication_factor=1)], wait_for_metadata=True
                )
        finally:
            admin.close()

    def fill(self, lines: Sequence[bytes], clients: Sequence[str] | None = None) -> None:
        """Write lines to the log, keyed by client; `clients` spares reading them out of the lines."""
        producer = self.connection.producer(linger_ms=5)
        flow = Flow(producer, self.log, Produced())
        for i, line in enumerate(lines):
            flow.send((clients[i] if clients else client_of(line)).encode(), line)
        flow.drain()
        producer.close()

    def fill_state(self, donors: Saved, clients: int, *, ids: int) -> int:
        """Write so many clients into the state topic, each with the memory of a donor and `ids` remembered event ids.

        They are named as in the logs. Returns how many bytes that is.
        """
        own = [msgspec.msgpack.decode(data, type=ClientSnapshot) for (_, name), data in donors.items() if name != SHARD_KEY]
        latest = {donor.client: np.frombuffer(donor.ids, np.uint64).reshape(-1, 2)[:, 1].max(keepdims=True) for donor in own}
        rng = np.random.default_rng(0)
        writer = self.connection.writer(linger_ms=5)
        seal = Seal(engine_settings(self.config).secret)
        pending: list[Delivery] = []
        total = waiting = 0

        def write(number: int, record: StateRecord) -> None:
            key, part, headers = sealed(record, seal, number)
            pending.append(writer.send(self.topics.state, key, part, headers, number))

        def send(number: int, name: str, value: bytes) -> int:
            for record in records_of((MODEL, name), value):
                write(number, record)
            return len(value)

        for number in range(self.partitions):
            write(number, mark_record(0, self.partitions))
            send(number, SHARD_KEY, donors[MODEL, SHARD_KEY])
        for i in range(clients):
            donor, name = own[i % len(own)], f"c{i:06d}"
            keys = rng.integers(1, 1 << 63, ids, np.uint64)
            pairs = np.stack([keys, np.resize(latest[donor.client], ids)], axis=1)
            value = dump(msgspec.structs.replace(donor, client=name, ids=pairs.tobytes()))
            waiting += send(partition_of(name, self.partitions), name, value)
            total += len(value)
            if waiting > MOST_IN_FLIGHT:
                settle(writer, pending, _nothing)
                waiting = 0
        settle(writer, pending, _nothing)
        writer.close(10.0)
        return total

    def settings_file(self, port: int) -> Path:
        """Write the configuration of the service, with its health server at `port`."""
        section = self.config.kafka.model_dump(mode="json", exclude_none=True)
        file = self.folder / f"{self.config.kafka.group_id}.toml"
        lines = [f"{key} = {json.dumps(value)}" for key, value in section.items()]
        lines += ["[baseline]", f"path = {json.dumps(str(self.config.baseline.path))}", "[service]", f"port = {port}"]
        file.write_text("\n".join(["[kafka]", *lines, ""]), encoding="utf-8")
        return file

    @contextmanager
    def service(self, *options: str, workers: int = 1) -> Iterator["Service"]:
        """Run the service on these topics, and end it."""
        port = _ports_in_a_row(workers)
        output = self.folder / f"{self.config.kafka.group_id}.log"
        with output.open("wb") as said:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "detector", "run", "-c", str(self.settings_file(port))),
                    *(() if workers == 1 else ("--workers", str(workers))),
                    *options,
                ],
                stdout=said,
                stderr=said,
            )
        try:
            yield Service(process, [port + i for i in range(workers)], output)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Service:
    """A running service and what its health servers tell."""

    def __init__(self, process: "subprocess.Popen[bytes]", ports: Sequence[int], output: Path) -> None:
        """Look at a process that serves health at `ports`, one for each worker, and writes to `output`."""
        self._process = process
        self._ports = ports
        self._output = output

    def until_ready(self) -> None:
        """Wait until every worker is ready."""
        self.wait(lambda: all(_get(port, "/readyz") is not None for port in self._ports))

    def wait(self, condition: Callable[[], object], pause_s: float = 0.05) -> None:
        """Wait for a condition; raise what the service said when it ends or nothing comes of it."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the service did not get there:\n{self._output.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(pause_s)

    def figures(self, *names: str) -> list[dict[str, float]]:
        """Return metrics of each worker, summed over their labels; 0 where there are none yet."""
        found = []
        for port in self._ports:
            text = _get(port, "/metrics") or ""
            found.append(
                {
                    name: sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
                    for name in names
                }
            )
        return found


def client_of(line: bytes) -> str:
    """Return the client of an event."""
    client: str = json.loads(line)["client"]["id"]
    return client


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has used; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _nothing() -> None:
    pass


class Cores:
    """How much of the machine's processors was left while something was measured, whoever used them."""

    def __init__(self) -> None:
        """Start."""
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[int, int]:
        try:
            line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        except OSError:
            return 0, 0
        ticks = [int(word) for word in line.split()[1:]]
        return ticks[3] + ticks[4], sum(ticks[:8])

    def idle(self) -> float | None:
        """Return the share of processor time that nobody used, of all cores; None where the system does not say."""
        idle, total = (after - before for after, before in zip(self._read(), self._before, strict=True))
        return round(idle / total, 3) if total else None


class Watch:
    """Measures from when it is made."""

    def __init__(self) -> None:
        """Start."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return the seconds that passed, and those of the processor that this process took with all its threads."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


class Children:
    """Processes that work in turn, each a clean one: no thread or garbage of the others is in its figures.

    Each runs `main`, a generator function of a module: it yields once when it is ready, is sent what to do, yields the result,
    and so on.
    """

    def __init__(self, mains: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]]) -> None:
        """Start them, one after the other, each when the one before is ready."""
        spawn = multiprocessing.get_context("spawn")
        self._stack = ExitStack()
        self._pipes: dict[str, Pipe] = {}
        try:
            for name, (main, arguments) in mains.items():
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_obey, args=(theirs, main, arguments), daemon=True)
                process.start()
                theirs.close()
                self._stack.callback(process.join, 30)
                self._stack.callback(ours.close)
                self._pipes[name] = ours
                ours.recv()
        except BaseException:
            self.close()
            raise

    def ask(self, name: str, what: Any = None) -> Any:
        """Have one of them do something and return what came of it."""
        self._pipes[name].send(what)
        return self._pipes[name].recv()

    def tell(self, name: str, what: Any = None) -> None:
        """Have one of them do something, without waiting."""
        self._pipes[name].send(what)

    def result(self, name: str) -> Any:
        """Return what came of what it was told."""
        return self._pipes[name].recv()

    def close(self) -> None:
        """End them."""
        self._stack.close()


def _obey(pipe: Pipe, main: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    working = main(*arguments)
    try:
        result = next(working)
        while True:
            pipe.send(result)
            result = working.send(pipe.recv())
    except (EOFError, BrokenPipeError, StopIteration):
        working.close()


def _get(port: int, path: str) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    else:
        return text if answer.status == http.client.OK else None
    finally:
        connection.close()


def _ports_in_a_row(count: int) -> int:
    while True:
        first = free_port()
        if all(_get(first + i, "/livez") is None for i in range(count)):
            return first
