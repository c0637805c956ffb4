"""How long after an event the decision that it causes can be read: a sender, the service and a reader, each a process.

Among ordinary clients there are strangers. They ask about four points and about each again after a flat step, as no client of
the baseline does, so each of them is stopped with its eighth query, or throttled where policy allows no more stops. The points
lie in the middle of the population: farther ones are foreign as well, which would be a second decision. A decision carries
the event time of the query that caused it, by which it is matched with the moment when that query was handed to the sender's
client.

The floor is an echo in the service's place: a process that reads the log with the same client and, without looking into any
record, sends each stranger's eighth on to the decisions.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from kafka import TopicPartition

from detector.config import Config
from detector.contracts.moment import parse_rfc3339
from detector.service.kafka.connection import Connection
from detector.service.supervisor import SWITCH_S
from tests.bench.bench_log import START_MS, make_log
from tests.bench.kafka_rig import Children, Cores, Rig, client_of, processor_seconds
from tests.bench.subjects import Saved

DECISIONS_PER_S = 100  # strangers a second
STRANGER = "stranger"
LOOK = 8  # queries until a client's first look
STEP = 0.2  # of a stranger, in every value
QUIET_S = 3.0  # what is sent first is left out: connections are made, the group settles
LAST_S = 20.0

Line = tuple[bytes, str]


def measure_latency(
    address: str,
    folder: Path,
    broker_process: int | None,
    donors: Saved,
    *,
    clients: int,
    rate: int,
    seconds: float,
    partitions: int,
    stages: str,
    client: str,
) -> dict[str, Any]:
    """Send `rate` events a second for so long, and return the quantiles of the delay in milliseconds.

    `stages` is what stands between: "echo", "detect" (input keyed by client) or "both".
    """
    keyed = stages != "both"
    rig = Rig(address, folder, partitions=partitions, keyed=keyed, baseline=folder / "baseline", client=client)
    lines = with_strangers(rate, seconds + QUIET_S, clients, first=len(donors) * 1000)
    expected = sum(who.startswith(STRANGER) for _, who in lines) // LOOK
    mains: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "reader": (_read, (rig.config, rig.topics.decisions, partitions, _asked if stages == "echo" else _decided)),
        "sender": (_send, (rig.config, rig.log, lines, rate)),
    }
    with ExitStack() as stack:
        service = None
        if stages == "echo":
            mains["echo"] = (_echo, (rig.config, rig.log, rig.topics.decisions, partitions))
        else:
            rig.fill_state(donors, clients, ids=0)
            service = stack.enter_context(rig.service())
            service.until_ready()
        children = Children(mains)
        stack.callback(children.close)
        if stages == "echo":
            children.tell("echo", (expected, seconds + QUIET_S + LAST_S))
        cores = Cores()
        before = _used(service, broker_process)
        children.tell("reader", (expected, seconds + QUIET_S + LAST_S))
        sent = children.ask("sender")
        after = _used(service, broker_process)
        idle = cores.idle()
        read = children.result("reader")
    began = sent["moments"][0]
    sent_at = {
        (who, _time_of(line)): moment
        for (line, who), moment in zip(lines, sent["moments"], strict=True)
        if who.startswith(STRANGER)
    }
    delays = np.array(
        [read_at - sent_at[cause] for cause, read_at in read if cause in sent_at and sent_at[cause] >= began + QUIET_S]
    )
    lasted = sent["moments"][-1] - began
    return {
        "client": client,
        "stages": stages,
        "rate": rate,
        "rate_reached": round(len(lines) / lasted),
        "decisions": len(delays),
        "missing": expected - sum(cause in sent_at for cause, _ in read),
        **{f"p{q}_ms": round(1000 * float(np.percentile(delays, q)), 2) for q in (50, 90, 99) if len(delays)},
        "max_ms": round(1000 * float(delays.max()), 2) if len(delays) else None,
        "busy": {name: round((after[name] - before[name]) / lasted, 3) for name in after} | {"idle": idle},
    }


def with_strangers(rate: int, seconds: float, clients: int, *, first: int) -> list[Line]:
    """Return events with their clients: ordinary ones and strangers' mixed evenly, a stranger's eight in a second."""
    total = round(rate * seconds)
    strange = LOOK * DECISIONS_PER_S * round(seconds)
    ordinary = make_log(total - strange, clients, first=first, seed=9)
    start = START_MS + 1000 * (first // 1000 + 10_000)
    lines: list[Line] = []
    taken = 0
    for number, line in enumerate(strangers(strange // LOOK, start)):
        until = (number + 1) * len(ordinary) // strange
        lines += [(other, client_of(other)) for other in ordinary[taken:until]]
        lines.append((line, client_of(line)))
        taken = until
    return lines + [(other, client_of(other)) for other in ordinary[taken:]]


def strangers(count: int, start_ms: int) -> list[bytes]:
    """Return the eight queries of each of so many strangers; so many begin in a second, evenly, and each takes a second."""
    rng = np.random.default_rng(17)
    asked: list[tuple[float, int, list[float]]] = []
    for i in range(count):
        for query in range(LOOK):
            if query % 2 == 0:
                point = 0.5 * rng.normal(size=30)
            step = STEP * (query % 2) * rng.permuted(np.resize([1.0, -1.0], 30))
            asked.append((i / DECISIONS_PER_S + query / LOOK, i, (point + step).astype(np.float32).tolist()))
    lines = []
    for number, (_, i, vector) in enumerate(sorted(asked, key=lambda one: one[:2])):
        lines.append(
            orjson.dumps(
                {
                    "event_id": f"s{number:08d}",
                    "time": start_ms + number + 1,
                    "client": {"id": f"{STRANGER}-{i:06d}"},
                    "model": {"id": "bench"},
                    "input": {"vector": vector},
                    "output": {"label": int(abs(sum(vector))) % 10, "probabilities": [0.55] + 9 * [0.05]},
                }
            )
        )
    return lines


def _time_of(line: bytes) -> int:
    moment: int = orjson.loads(line)["time"]
    return moment


def _used(service: Any, broker_process: int | None) -> dict[str, float]:
    """Processor seconds so far."""
    used = {"broker": processor_seconds(broker_process)} if broker_process else {}
    if service is not None:
        used["service"] = sum(figures["process_cpu_seconds_total"] for figures in service.figures("process_cpu_seconds_total"))
    return used


def _send(config: Config, topic: str, lines: list[Line], rate: int) -> Generator[Any, None, None]:
    """Send each line when it is due; the moments are those at which they were handed to the client."""
    producer = Connection(config.kafka).producer(linger_ms=1)
    keys = [who.encode() for _, who in lines]
    yield None
    moments = np.empty(len(lines))
    started = time.monotonic() + 0.1
    at = 0
    while at < len(lines):
        ahead = started + at / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        due = min(int((time.monotonic() - started) * rate) + 1, len(lines))
        for i in range(at, due):
            moments[i] = time.monotonic()
            producer.send(topic, key=keys[i], value=lines[i][0])
        at = max(at, due)
    producer.flush(timeout=60)
    yield {"moments": moments.tolist()}


def _echo(config: Config, log: str, decisions: str, partitions: int) -> Generator[Any, tuple[int, float], None]:
    """Send each stranger's eighth record on, until so many were sent or for so many seconds."""
    connection = Connection(config.kafka)
    consumer = connection.reader(max_poll_records=2000, fetch_max_wait_ms=50)
    consumer.assign([TopicPartition(log, number) for number in range(partitions)])
    writer = connection.writer(linger_ms=0)
    sys.setswitchinterval(SWITCH_S)
    consumer.poll(timeout_ms=100)
    expected, seconds = yield None
    seen: Counter[bytes] = Counter()
    sent = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until and sent < expected:
        for records in consumer.poll(timeout_ms=20).values():
            for record in records:
                if record.key.startswith(STRANGER.encode()):
                    seen[record.key] += 1
                    if seen[record.key] == LOOK:
                        writer.send(decisions, record.key, record.value)
                        sent += 1
    writer.flush(60)
    yield None


def _asked(value: bytes) -> tuple[str, int]:
    event = orjson.loads(value)
    return event["client"]["id"], event["time"]


def _decided(value: bytes) -> tuple[str, int]:
    decision = orjson.loads(value)
    return decision["subject"]["id"], parse_rfc3339(decision["issued_at"])


def _read(
    config: Config, topic: str, partitions: int, cause: Callable[[bytes], tuple[str, int]]
) -> Generator[Any, tuple[int, float], None]:
    """Read until so many are there, or for so many seconds: (client, event time of the cause), and the moment it was there.

    Decisions about campaigns, which the link stage makes of the strangers, are not counted.
    """
    consumer = Connection(config.kafka).consumer(fetch_max_wait_ms=500)
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    consumer.poll(timeout_ms=100)
    expected, seconds = yield None
    found: list[tuple[bytes, float]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(found) < expected:
        polled = consumer.poll(timeout_ms=200)
        moment = time.monotonic()
        for records in polled.values():
            found += [(record.value, moment) for record in records if STRANGER.encode() in record.key]
    yield [(cause(value), moment) for value, moment in found]
