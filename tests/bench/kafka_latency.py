"""How long after an event the decision that it causes can be read: a sender, the service and a reader, each a process.

Among ordinary clients there are strangers. Their queries, four points and each again after a flat step, are unlike those of
any client of the baseline, so each of them is throttled at the first look, with its eighth query. A decision carries the event
time of the query that caused it, by which it is matched with the moment when that query was handed to the sender's client.
"""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from kafka import TopicPartition

from detector.config import Config
from detector.contracts.moment import parse_rfc3339
from detector.service.connection import Connection
from tests.bench.bench_log import START_MS, make_log
from tests.bench.kafka_rig import Children, Cores, Rig, client_of, processor_seconds
from tests.bench.subjects import Saved

DECISIONS_PER_S = 100  # strangers a second
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
    keyed: bool,
    client: str,
) -> dict[str, Any]:
    """Send `rate` events a second for so long, and return the quantiles of the delay in milliseconds."""
    rig = Rig(address, folder, partitions=partitions, keyed=keyed, baseline=folder / "baseline", client=client)
    rig.fill_state(donors, clients, ids=0)
    lines = with_strangers(rate, seconds + QUIET_S, clients, first=len(donors) * 1000)
    expected = sum(who.startswith("stranger") for _, who in lines) // LOOK
    with rig.service() as service:
        service.until_ready()
        children = Children(
            {
                "reader": (_read, (rig.config, rig.topics.decisions, partitions)),
                "sender": (_send, (rig.config, rig.log, lines, rate)),
            }
        )
        try:
            cores = Cores()
            before = _used(service, broker_process)
            children.tell("reader", (expected, seconds + QUIET_S + LAST_S))
            sent = children.ask("sender")
            after = _used(service, broker_process)
            idle = cores.idle()
            read = children.result("reader")
        finally:
            children.close()
    began = sent["moments"][0]
    sent_at = {
        (who, _time_of(line)): moment
        for (line, who), moment in zip(lines, sent["moments"], strict=True)
        if who.startswith("stranger")
    }
    delays = np.array(
        [read_at - sent_at[cause] for cause, read_at in read if cause in sent_at and sent_at[cause] >= began + QUIET_S]
    )
    lasted = sent["moments"][-1] - began
    return {
        "client": client,
        "stages": "detect" if keyed else "both",
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
    """Return the eight queries of each of so many strangers; a hundred of them ask in turn, a query each."""
    rng = np.random.default_rng(17)
    lines: list[bytes] = []
    clock = start_ms
    for at in range(0, count, DECISIONS_PER_S):
        seeds: npt.NDArray[np.float64] = np.empty(0)
        here = min(DECISIONS_PER_S, count - at)
        for query in range(LOOK):
            if query % 2 == 0:
                seeds = 2.5 * rng.normal(size=(here, 30))
            asked = seeds + STEP * (query % 2) * rng.permuted(np.tile(np.resize([1.0, -1.0], 30), (here, 1)), axis=1)
            for i, vector in enumerate(asked.astype(np.float32).tolist()):
                clock += 1
                lines.append(
                    orjson.dumps(
                        {
                            "event_id": f"s{len(lines):08d}",
                            "time": clock,
                            "client": {"id": f"stranger-{at + i:06d}"},
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
    own = sum(figures["process_cpu_seconds_total"] for figures in service.figures("process_cpu_seconds_total"))
    return {"service": own} | ({"broker": processor_seconds(broker_process)} if broker_process else {})


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


def _read(config: Config, topic: str, partitions: int) -> Generator[Any, tuple[int, float], None]:
    """Read until so many are there, or for so many seconds: (client, event time of the cause), and the moment it was there."""
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
            found += [(record.value, moment) for record in records]
    result = []
    for value, moment in found:
        decision = orjson.loads(value)
        result.append(((decision["subject"]["id"], parse_rfc3339(decision["issued_at"])), moment))
    yield result
