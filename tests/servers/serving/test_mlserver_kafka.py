"""A real MLServer with Kafka as its transport: the topics of its requests and answers are the log."""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import TopicPartition
from kafka.admin import NewTopic

from detector.config import KafkaSection
from detector.ingest.formats.decoder import Record
from detector.redteam.conversation import Array
from detector.redteam.targets import named
from detector.redteam.victim import digits_victim
from detector.service.kafka.connection import Connection
from tests.ingest.formats.paired import dumped
from tests.servers.serving.judged import Query, judged, native
from tests.servers.serving.mlserver import MODEL, VERSION, LocalMlserver, Transport
from tests.servers.serving.play import cast, play
from tests.servers.serving.server import Serving
from tests.service.ingest.test_formats import consumed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.broker,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="MLServer 1.7.1 runs on Python 3.12 at most"),
]

RULES = ({"header": "x-consumer-id", "trusted": True},)
NOBODY = "nobody"  # asks until the server listens
PATIENCE_S = 60.0


class Caller:
    """Asks through the topics, and reads them back as they are."""

    def __init__(self, connection: Connection, transport: Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._producer = connection.producer()
        self._answers = connection.consumer()
        self._answers.assign([TopicPartition(transport.answers, 0)])
        self.asked: dict[str, tuple[str, Array, dict[str, Any]]] = {}

    def ask(self, client: str, rows: Array, outputs: tuple[str, ...], patience_s: float = PATIENCE_S) -> Any:
        """Ask about rows; return the outputs by name, None where no answer came."""
        key = str(uuid.uuid4())
        tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": name} for name in outputs]}).encode()
        headers = [("mlserver-model", MODEL.encode()), ("x-consumer-id", client.encode())]
        self._producer.send(self._transport.requests, key=key.encode(), value=body, headers=headers).get(timeout=60)
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            for records in self._answers.poll(timeout_ms=100).values():
                for record in records:
                    if record.key == key.encode():
                        found = json.loads(record.value)["outputs"]
                        told = {output["name"]: np.reshape(output["data"], output["shape"]) for output in found}
                        self.asked[key] = client, rows, told
                        return told
        return None

    def wait(self, rows: Array) -> None:
        """Ask until an answer comes: the server reads what is sent once it listens, and nothing from before."""
        until = time.monotonic() + PATIENCE_S
        while self.ask(NOBODY, rows, ("predict",), patience_s=1.0) is None:
            assert time.monotonic() < until

    def log(self, folder: Path) -> tuple[dict[str, int], dict[str, int]]:
        """Write a file for each topic, without what nobody asked; return the times of requests and answers by key."""
        folder.mkdir()
        times: list[dict[str, int]] = []
        nobody = {
            record.key for record in consumed(self._connection, self._transport.requests) if NOBODY in str(record.headers)
        }
        for topic in (self._transport.requests, self._transport.answers):
            kept = [record for record in consumed(self._connection, topic) if record.key not in nobody]
            found = [Record(one.value, one.key, one.headers, topic, one.timestamp) for one in kept]
            (folder / f"{topic}.jsonl").write_bytes(b"".join(_line(record) + b"\n" for record in found))
            times.append({one.key.decode(): one.timestamp for one in kept})
        return times[0], times[1]

    def close(self) -> None:
        """Close the connections."""
        self._answers.close(autocommit=False)
        self._producer.close()


def _line(record: Record) -> bytes:
    line = json.loads(dumped(record))
    return json.dumps({"topic": line.pop("topic"), "key": (record.key or b"").decode(), **line}).encode()


@pytest.fixture
def caller(installed: Callable[[type[Serving]], None], broker: str) -> Iterator[Caller]:
    """Return a caller of a server that listens."""
    installed(LocalMlserver)
    mark = uuid.uuid4().hex[:8]
    transport = Transport(broker, f"mlserver-input-{mark}", f"mlserver-output-{mark}")
    connection = Connection(KafkaSection(bootstrap_servers=(broker,)))
    admin = connection.admin()
    topics = [NewTopic(name=topic, num_partitions=1, replication_factor=1) for topic in transport[1:]]
    admin.create_topics(topics, wait_for_metadata=True)
    admin.close()
    with LocalMlserver(digits_victim(7).training, transport):
        asking = Caller(connection, transport)
        try:
            asking.wait(np.zeros((1, 64)))
            yield asking
        finally:
            asking.close()


def queries(caller: Caller, asked: dict[str, int], answered: dict[str, int]) -> Iterator[Query]:
    """Yield what was asked, with the times of the records."""
    for key, (client, rows, told) in caller.asked.items():
        for place, row in enumerate(rows if key in asked else ()):
            yield Query(
                key if len(rows) == 1 else f"{key}#{place}",
                asked[key],
                client,
                row.tolist(),
                int(told["predict"][place].item()) if "predict" in told else None,
                told["predict_proba"][place].tolist(),
                {
                    "latency_ms": answered[key] - asked[key],
                    "client": {"trusted": True},
                    "model": {"id": MODEL, "version": VERSION},
                },
            )


def test_it_is_judged_as_native_events_are(caller: Caller, tmp_path: Path) -> None:
    """Answers of probabilities and of labels besides, a batch, and one that never came; a file for each topic."""
    target = named("digits:7")

    def ask(client: str, vector: Array) -> Array:
        outputs = ("predict_proba",) if client.startswith("thief") else ("predict", "predict_proba")
        return np.asarray(caller.ask(client, vector[None], outputs)["predict_proba"][0])

    play(cast(target), ask)
    assert caller.ask("steady-1", target.test[:5], ("predict_proba",)) is not None
    assert caller.ask("broken-1", np.zeros((1, 3)), ("predict_proba",), patience_s=2.0) is None
    log = tmp_path / "topics"
    events = list(queries(caller, *caller.log(log)))
    expected = judged(native(events, MODEL, tmp_path / "native.jsonl"), tmp_path / "native")
    assert expected.decided() == {"thief-jbda-1"}
    for log_format in ("mlserver", "auto"):
        found = judged(log, tmp_path / log_format, format=log_format, envelope="kcat", clients=RULES)
        assert (found.alerts, found.decisions) == (expected.alerts, expected.decisions)
        assert [client for client in found.of_clients() if client["client"] != "broken-1"] == expected.of_clients()
        assert [letter["reason"] for letter in found.dead_letters] == ["unanswered"]
