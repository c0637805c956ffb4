"""How shipping into Elasticsearch does: every alert once through a crash, speed, and what detection notices of it.

    python -m tests.bench.bench_ship [--alerts 100000] [--events 20000] [--rounds 3] [--out bench-ship.json]

Both servers run on this machine and compete for its processors, so what counts are ratios within one run, taken by turns.
"""

import argparse
import json
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from detector.clock import SystemClock
from detector.config import Config, ElasticsearchSection, EngineSection, KafkaSection, PolicySection
from detector.contracts import to_json
from detector.contracts.moment import rfc3339
from detector.engine.warm import rehearse
from detector.service.kafka import topics as topics_of
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from detector.service.produce import Flow, Produced
from detector.service.telemetry import logs
from detector.service.telemetry.metrics import Metrics
from detector.service.worker import Stage, Worker
from detector.sinks.elastic.install import install
from detector.sinks.sample import ALERT_ID, TIME_MS, sample_alert
from detector.testing import traffic
from tests.conftest import FaultyProxy
from tests.servers.elastic import LocalElastic
from tests.servers.kafka import LocalBroker

PARTITIONS = 3
BACKLOG = 20_000
PATIENCE_S = 3600.0
POISON = "poison"


def alerts(number: int) -> Iterator[bytes]:
    """Return so many different alerts, one a second."""
    template = to_json(sample_alert()).decode()
    moment = rfc3339(TIME_MS)
    for i in range(number):
        yield template.replace(ALERT_ID, f"alert-{i}").replace(moment, rfc3339(TIME_MS + 1000 * i)).encode()


class Scene:
    """Topics and a namespace of one measurement."""

    def __init__(self, broker: str, elastic: str | None) -> None:
        """Create the topics; `elastic` None is a service that does not ship."""
        name = uuid.uuid4().hex[:8]
        self.namespace = f"b{name}"
        self.log = f"log-{name}"
        shipping = ElasticsearchSection(hosts=(elastic,), namespace=self.namespace, timeout_seconds=30) if elastic else None
        self.config = Config(
            kafka=KafkaSection(
                bootstrap_servers=(broker,), input_topics=(self.log,), keyed=True, prefix=f"{name}.", group_id=name
            ),
            elasticsearch=shipping or ElasticsearchSection(),
            engine=EngineSection(learning_events=512, seed=5),
            policy=PolicySection(shadow=False, trust_clients=True),
        )
        self.topics = Topics.under(self.config.kafka.prefix)
        self.connection = Connection(self.config.kafka)
        self.metrics = Metrics()
        admin = self.connection.admin()
        topics_of.create(admin, self.topics, partitions=PARTITIONS, replication=1)
        admin.create_topics([NewTopic(name=self.log, num_partitions=PARTITIONS, replication_factor=1)], wait_for_metadata=True)
        admin.close()

    def send(self, topic: str, records: Iterator[tuple[bytes | None, bytes]]) -> None:
        """Write records with their keys."""
        producer = self.connection.producer(linger_ms=5)
        flow = Flow(producer, topic, Produced())
        for key, value in records:
            flow.send(key, value)
        flow.drain()
        producer.close()

    @contextmanager
    def worker(self, stage: Stage) -> Iterator[Worker]:
        """Run a worker in a thread."""
        worker = Worker(self.config, None, SystemClock(), stage=stage, metrics=self.metrics)
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        try:
            yield worker
        finally:
            stop.set()
            thread.join()

    def shipped(self) -> float:
        """Return how many documents Elasticsearch has been given."""
        text = self.metrics.text().decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("detector_sink_documents_total") and "elasticsearch" in line
        )

    def dead(self) -> list[bytes]:
        """Return the dead letters."""
        consumer: KafkaConsumer = self.connection.consumer()
        places = [TopicPartition(self.topics.dead_letters, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        consumer.seek_to_beginning(*places)
        found: list[bytes] = []
        while any(consumer.position(place) < ends[place] for place in places):
            found += [record.value for records in consumer.poll(timeout_ms=200).values() for record in records]
        consumer.close(autocommit=False)
        return found


def wait(condition: Any, pause_s: float = 0.05) -> None:
    """Wait for a condition."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError("it did not come to that in time")
        time.sleep(pause_s)


def measure_once(broker: str, node: LocalElastic, number: int) -> dict[str, Any]:
    """Ship alerts while the server is killed and started again in the middle, is busy at times, and one alert is poison."""
    proxy = FaultyProxy(node.url)
    turns = count()
    proxy.fault = lambda _method, path: 429 if path.startswith("/_bulk") and next(turns) % 20 == 7 else None
    scene = Scene(broker, proxy.url)
    poison = next(alerts(1)).replace(b"alert-0", POISON.encode()).replace(b'"203.0.113.7"', b'"nowhere"')

    def records() -> Iterator[tuple[None, bytes]]:
        for i, alert in enumerate(alerts(number)):
            if i == number // 3:
                yield None, poison
            yield None, alert

    scene.send(scene.topics.alerts, records())
    outage_s = 0.0
    began, cpu = time.perf_counter(), time.process_time()
    with scene.worker(Stage.SHIP):
        wait(lambda: scene.shipped() > number)  # of twice as many documents: alert and sample
        down = time.perf_counter()
        node.kill()
        node.start()
        outage_s = time.perf_counter() - down
        wait(lambda: scene.shipped() >= 2 * number + 1)
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        wait(lambda: len(scene.dead()) >= 1, 1.0)
    with Elasticsearch(node.url, request_timeout=60) as client:
        name = f"logs-detector.alert-{scene.namespace}"
        client.indices.refresh(index=name)
        found = Counter(hit["_id"] for hit in scan(client, index=name, query={"_source": False}, size=5000))
    proxy.close()
    return {
        "alerts": number,
        "documents": 2 * number,
        "there_once": sum(times == 1 for times in found.values()),
        "missing": number - len(found),
        "twice": sum(times > 1 for times in found.values()),
        "dead_letters": len(scene.dead()),
        "requests_refused": proxy.refused,
        "seconds": round(seconds, 1),
        "of_them_server_down": round(outage_s, 1),
        "documents_per_second": round(2 * number / (seconds - outage_s)),
        "processor_us_per_document": round(1e6 * used / (2 * number), 1),
    }


def measure_detection(broker: str, elastic: str | None, lines: Sequence[bytes], *, backlog: bool) -> dict[str, float]:
    """Return the events a second that detection does, with a backlog of alerts to ship or none."""
    scene = Scene(broker, elastic)
    if backlog:
        scene.send(scene.topics.alerts, ((None, alert) for alert in alerts(BACKLOG)))
    with scene.worker(Stage.ALL) as worker:
        wait(lambda: worker.status().ready)
        if backlog and elastic and not elastic.endswith(":1"):
            wait(lambda: scene.shipped() > 0)
        shipped, began = scene.shipped(), time.perf_counter()
        scene.send(scene.log, ((json.loads(line)["client"]["id"].encode(), line) for line in lines))
        wait(lambda: worker.status().processed >= len(lines), 0.005)
        seconds = time.perf_counter() - began
        return {"events_per_second": len(lines) / seconds, "shipped_meanwhile": scene.shipped() - shipped}


def _middle(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: round(statistics.median(run[name] for run in runs)) for name in runs[0]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    chosen = parser.parse_args(arguments)
    logs.configure("critical")
    rehearse()
    tell = sys.stderr.write
    found: dict[str, Any] = {}
    with LocalBroker() as broker, LocalElastic() as node:
        with Elasticsearch(node.url, request_timeout=60) as client:
            install(client)
        if chosen.alerts:
            tell(f"shipping {chosen.alerts:,} alerts\n")
            found["once"] = measure_once(broker.bootstrap, node, chosen.alerts)
        if chosen.rounds:
            lines = traffic(innocents=40, thieves=0, queries=max(chosen.events // 40, 1))
            cases: dict[str, tuple[str | None, bool]] = {
                "not shipping": (None, False),
                "elasticsearch away": ("http://127.0.0.1:1", True),
                "shipping a backlog": (node.url, True),
            }
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
            for turn in range(chosen.rounds):
                for name, (where, backlog) in cases.items():
                    tell(f"detection, round {turn + 1}: {name}\n")
                    runs[name].append(measure_detection(broker.bootstrap, where, lines, backlog=backlog))
            found["detection"] = {
                name: {key: round(statistics.median(run[key] for run in each)) for key in each[0]}
                for name, each in runs.items()
            }
            usual = found["detection"]["not shipping"]["events_per_second"]
            for each in found["detection"].values():
                each["of_usual"] = round(each["events_per_second"] / usual, 2)
    text = json.dumps(found, indent=2)
    sys.stdout.write(text + "\n")
    if chosen.out is not None:
        chosen.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
