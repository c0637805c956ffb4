"""Elasticsearch on Kafka: whatever happens to it, each alert and decision is there once, and detection does not notice."""

import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import ApiError, Elasticsearch

from detector.config import Config, ElasticsearchSection, KafkaSection, ServiceSection
from detector.contracts import to_json
from detector.contracts.moment import rfc3339
from detector.errors import ConfigError
from detector.service.supervisor import check
from detector.service.telemetry.health import HealthResponse, HealthServer
from detector.service.telemetry.metrics import Metrics
from detector.service.worker import Stage
from detector.sinks.elastic.install import install, streams_to_roll
from detector.sinks.sample import ALERT_ID, TIME_MS, sample_alert, sample_decision
from tests.servers.elastic import User
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

PATIENCE_S = 300.0


def alerts(number: int) -> list[bytes]:
    """Return so many different alerts, one a second."""
    template = to_json(sample_alert()).decode()
    moment = rfc3339(TIME_MS)
    return [
        template.replace(ALERT_ID, f"alert-{i}").replace(moment, rfc3339(TIME_MS + 1000 * i)).encode() for i in range(number)
    ]


class Place:
    """Where a test ships to: a namespace of its own on a server, and what lies in it."""

    def __init__(self, url: str, **login: Any) -> None:
        self.client = Elasticsearch(url, request_timeout=60, max_retries=20, retry_on_timeout=True, **login)
        self.namespace = f"t{uuid.uuid4().hex[:8]}"
        install(self.client)

    def section(self, url: str, **login: Any) -> ElasticsearchSection:
        """Return settings that lead here by `url`."""
        return ElasticsearchSection(hosts=(url,), namespace=self.namespace, timeout_seconds=20, **login)

    def _search(self, **query: Any) -> Any:
        """Search when every shard has started: one that has not cannot be asked, and must not count as empty."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.client.search(**query)
            except ApiError as error:
                if error.status_code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def ids(self, stream: str = "logs-detector.alert") -> Counter[str]:
        """Return how often each document is there."""
        name = f"{stream}-{self.namespace}"
        self.client.indices.refresh(index=name, ignore_unavailable=True)
        found: Counter[str] = Counter()
        after: list[Any] | None = None
        while True:
            answer = self._search(
                index=name,
                size=5000,
                source=False,
                ignore_unavailable=True,
                allow_partial_search_results=False,
                sort=[{"@timestamp": "asc"}, {"event.id": {"order": "asc", "unmapped_type": "keyword"}}],
                search_after=after,
                track_total_hits=False,
            )
            hits = answer["hits"]["hits"]
            if not hits:
                return found
            found.update(hit["_id"] for hit in hits)
            after = hits[-1]["sort"]


@pytest.fixture
def place(elastic: str) -> Iterator[Place]:
    """Return a place on the shared server."""
    made = Place(elastic)
    yield made
    made.client.close()


def ship_to(rig: Any, section: ElasticsearchSection) -> None:
    """Set where a service ships to."""
    rig.config = rig.config.model_copy(update={"elasticsearch": section})


def send(rig: Any, topic: str, values: Sequence[bytes], **place: Any) -> None:
    """Write records into a topic."""
    producer = rig.connection.producer(linger_ms=5)
    for value in values:
        producer.send(topic, value=value, **place)
    producer.flush(timeout=60)
    producer.close(timeout=10)


@contextmanager
def shipping(rig: Any, metrics: Metrics | None = None) -> Iterator[Any]:
    """Run the ship stage alone."""
    with rig.thread(stage=Stage.SHIP, metrics=metrics or Metrics()) as worker:
        yield worker


def dead_letters(rig: Any) -> list[Any]:
    """Return the dead letters."""
    return [record for records in rig.read(rig.topics.dead_letters).values() for record in records]


def test_settings() -> None:
    """Shipping needs a server, and nothing of what the other stages need."""
    kafka = KafkaSection(bootstrap_servers=("127.0.0.1:1",))
    with pytest.raises(ConfigError, match=r"\[elasticsearch\] hosts"):
        check(Config(kafka=kafka), Stage.SHIP)
    check(Config(kafka=kafka, elasticsearch=ElasticsearchSection(hosts=("http://127.0.0.1:1",))), Stage.SHIP)


def test_degraded_is_ready() -> None:
    """/readyz says what does not work, and stays 200: no restart would mend it."""
    troubles = [None, "Elasticsearch at http://h:1: nothing listens there"]
    health = HealthServer(ServiceSection(port=-1), Metrics(), lambda: True, degraded=troubles.pop)
    assert health.answer("/readyz") == HealthResponse(
        HTTPStatus.OK, b"ready, degraded: Elasticsearch at http://h:1: nothing listens there\n"
    )
    assert health.answer("/readyz").body == b"ready\n"


def test_alerts_decisions_and_samples(rig: Any, place: Place, elastic: str) -> None:
    """Each goes into its data stream; repeats and tombstones leave nothing; the ids are those of the records."""
    ship_to(rig, place.section(elastic))
    send(rig, rig.topics.alerts, [*alerts(3), *alerts(2)])
    decisions = [sample_decision(revision=revision) for revision in (1, 2)]
    send(rig, rig.topics.decisions, [to_json(decision) for decision in decisions], key=decisions[0].key.encode())
    producer = rig.connection.producer()
    producer.send(rig.topics.decisions, key=b"client:gone:model", value=None)
    producer.close(timeout=10)
    metrics = Metrics()
    with shipping(rig, metrics) as worker:
        wait_for(lambda: len(place.ids("logs-detector.decision")) == 2 and len(place.ids()) == 3)
        wait_for(lambda: worker.status().ready)
        assert worker.status().degraded is None
    names = [f"alert-{i}" for i in range(3)]
    assert place.ids() == Counter(names)
    assert place.ids("metrics-detector.client") == Counter(names)
    assert place.ids("logs-detector.decision") == Counter(f"{d.decision_id}.{d.revision}" for d in decisions)
    assert dead_letters(rig) == []
    text = metrics.text().decode()
    assert 'detector_sink_documents_total{outcome="delivered",sink="elasticsearch"} 8.0' in text
    assert 'detector_sink_documents_total{outcome="repeated",sink="elasticsearch"} 4.0' in text
    assert 'detector_sink_up{sink="elasticsearch"} 1.0' in text


def test_what_will_never_be_taken(rig: Any, place: Place, elastic: str) -> None:
    """Each such record is a dead letter with its own bytes, reason and origin, and what comes after it is shipped."""
    ship_to(rig, place.section(elastic))
    good = alerts(20)
    bad = {
        b"{no json": b"json",
        b"[]": b"schema",
        b'{"event":{}}': b"schema",
        good[3].replace(b"alert-3", b"a" * 600): b"schema",
        good[4].replace(b'"203.0.113.7"', b'"somewhere"').replace(b"alert-4", b"poison"): b"schema",
    }
    send(rig, rig.topics.alerts, [*good[:10], *bad, *good[10:]], partition=0)
    with shipping(rig):
        wait_for(lambda: len(place.ids()) == 20)
        wait_for(lambda: len(dead_letters(rig)) == len(bad))
    found = dead_letters(rig)
    assert {record.value: dict(record.headers)["reason"] for record in found} == bad
    origins = {(dict(record.headers)["source_topic"], dict(record.headers)["source_offset"]) for record in found}
    assert origins == {(rig.topics.alerts.encode(), str(10 + i).encode()) for i in range(len(bad))}
    with shipping(rig) as worker:
        wait_for(lambda: worker.status().ready)
    assert len(dead_letters(rig)) == len(bad)


@pytest.mark.limit(900)
def test_away_for_long(rig: Any, place: Place, stolen: list[bytes], faulty_proxy: Callable[[str], Any], elastic: str) -> None:
    """While Elasticsearch is away detection goes on, all is said and nothing lost; then each alert is there once."""
    proxy = faulty_proxy(elastic)
    away = threading.Event()
    away.set()
    kinds = count()
    proxy.fault = lambda _method, _path: (503, 429, 0)[next(kinds) % 3] if away.is_set() else None
    ship_to(rig, place.section(proxy.url))
    metrics = Metrics()
    rig.produce(stolen)
    with rig.thread(metrics=metrics) as worker:
        rig.wait_done(120)
        wait_for(lambda: worker.status().degraded is not None)
        wait_for(lambda: proxy.refused >= 4)
        status = worker.status()
        assert status.ready
        assert "Elasticsearch at" in str(status.degraded)
        assert 'detector_sink_up{sink="elasticsearch"} 0.0' in metrics.text().decode()
        raised = {json.loads(r.value)["event"]["id"] for rs in rig.read(rig.topics.alerts).values() for r in rs}
        assert raised
        away.clear()
        wait_for(lambda: set(place.ids()) == raised)
        wait_for(lambda: worker.status().degraded is None)
    assert place.ids() == Counter(raised)
    assert dead_letters(rig) == []


@pytest.mark.limit(900)
def test_asked_to_stop_while_it_is_away(rig: Any, place: Place, elastic: str) -> None:
    """The stage ends all the same, commits nothing that was not shipped, and the next one ships it."""
    ship_to(rig, place.section("http://127.0.0.1:1"))
    send(rig, rig.topics.alerts, alerts(5))
    with shipping(rig) as worker:
        wait_for(lambda: worker.status().degraded is not None)
        assert "nothing listens there" in str(worker.status().degraded)
    ship_to(rig, place.section(elastic))
    with shipping(rig):
        wait_for(lambda: len(place.ids()) == 5)


@pytest.mark.limit(900)
def test_read_again_after_a_rollover(rig: Any, place: Place, elastic: str) -> None:
    """Alerts whose index is no longer the one written to are not written again when their offsets were lost."""
    ship_to(rig, place.section(elastic))
    send(rig, rig.topics.alerts, alerts(300))
    with shipping(rig):
        wait_for(lambda: len(place.ids()) == 300)
    place.client.indices.rollover(alias=f"logs-detector.alert-{place.namespace}")
    place.client.indices.rollover(alias=f"metrics-detector.client-{place.namespace}")
    rig.config = rig.config.model_copy(update={"kafka": rig.config.kafka.model_copy(update={"group_id": "another"})})
    send(rig, rig.topics.alerts, [*alerts(301)[300:]])
    with shipping(rig):
        wait_for(lambda: "alert-300" in place.ids())
    assert place.ids() == Counter(f"alert-{i}" for i in range(301))


@pytest.mark.slow
@pytest.mark.limit(900)
def test_killed_busy_and_poisoned(rig: Any, local_elastic: Callable[..., Any], faulty_proxy: Callable[[str], Any]) -> None:
    """The server is killed and started again in the middle, refuses at times, and one alert is poison: each is there once."""
    number = 5000
    node = local_elastic()
    proxy = faulty_proxy(node.url)
    turns = count()

    def busy(_method: str, path: str) -> int | None:
        return 429 if path.startswith("/_bulk") and next(turns) % 3 == 1 else None

    proxy.fault = busy
    place = Place(node.url)
    ship_to(rig, place.section(proxy.url))
    poison = alerts(1)[0].replace(b'"203.0.113.7"', b'"somewhere"').replace(b"alert-0", b"poison")
    every = alerts(number)
    send(rig, rig.topics.alerts, [*every[: number // 2], poison, *every[number // 2 :]])
    with shipping(rig):
        wait_for(lambda: proxy.passed >= 2)
        node.kill()
        refused = proxy.refused
        wait_for(lambda: proxy.refused > refused or proxy.passed)
        node.start()
        wait_for(lambda: len(place.ids()) >= number)
        wait_for(lambda: len(dead_letters(rig)) >= 1)
    assert place.ids() == Counter(f"alert-{i}" for i in range(number))
    assert [record.value for record in dead_letters(rig)] == [poison]
    assert proxy.refused > 0
    place.client.close()


@pytest.mark.slow
@pytest.mark.limit(900)
def test_only_who_may(rig: Any, local_elastic: Callable[..., Any], tmp_path: Path) -> None:
    """With TLS and logins: each thing that is wrong has its sentence, nothing is lost, and with the right ones all passes."""
    users = {
        "admin": User("right"),
        "install": User("other", "installer"),
        "ship": User("secret-1", "shipper"),
        "nobody": User("secret-2", "nothing"),
    }
    node = local_elastic(users=users)
    with Elasticsearch(node.url, basic_auth=("install", "other"), ca_certs=str(node.ca_file)) as installer:
        assert {step.state for step in install(installer)} == {"new"}
        assert streams_to_roll(installer) == []
    place = Place(node.url, basic_auth=("admin", "right"), ca_certs=str(node.ca_file))
    file = tmp_path / "password"
    file.write_text("secret-1\n")
    send(rig, rig.topics.alerts, alerts(40))
    trusting = {"ca_file": node.ca_file}
    wrong = [
        (node.url, {}, "certificate that is not trusted .*: set .*ca_file"),
        (node.url.replace("https", "http"), {}, "closes the connection: does this port want https"),
        (node.url, trusting, r"wants a login \(401\): set .* username and password, or api_key"),
        (node.url, trusting | login("ship", "secret-2"), r"refuses user 'ship' \(401\): check"),
        (node.url, trusting | {"api_key": "bm90OmE="}, r"refuses the API key \(401\): check"),
        (
            node.url,
            trusting | login("nobody", "secret-2"),
            r"does not let user 'nobody' do this \(403\): the delivery needs create_doc",
        ),
    ]
    for url, settings, words in wrong:
        ship_to(rig, place.section(url, **settings))
        with shipping(rig) as worker:
            wait_for(lambda: worker.status().degraded is not None)  # it is called in here
            said = str(worker.status().degraded)
        assert re.search(words, said), said
        assert "secret" not in said
    assert not place.ids()
    ship_to(rig, place.section(node.url, username="ship", password_file=file, **trusting))
    with shipping(rig) as worker:
        wait_for(lambda: len(place.ids()) == 40)
        wait_for(lambda: worker.status().ready and worker.status().degraded is None)
    assert place.ids() == Counter(f"alert-{i}" for i in range(40))
    assert dead_letters(rig) == []
    place.client.close()


def login(name: str, password: str) -> dict[str, Any]:
    """Return the settings of a login."""
    return {"username": name, "password": password}
