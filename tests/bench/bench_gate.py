"""What the gate costs: time and processor time a request, memory and loading of many decisions, and the delay to a refusal.

``python -m tests.bench.bench_gate`` prints five tables; ``--quick`` takes a tenth. Processor time is the figure to trust: what
requests wait is an upper bound on a machine that does other things as well. So the time that the gate adds is the difference
between two nginx, one with the gate and one without, which are asked in turn. The delay is a ratio: from a decision's sending
to the first refusal, over the broker's own acknowledgement.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detector.config import KafkaSection
from detector.contracts.decision import Decision
from detector.contracts.document import to_json
from detector.contracts.moment import rfc3339
from detector.service.kafka import topics as topics_of
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from tests.bench.gate_nginx import gated, ungated
from tests.gate.decisions import decision
from tests.servers.broker import LocalBroker
from tests.servers.gate import LocalGate

CONNECTIONS = 32
RATES = (500, 1000, 2000)
CLIENTS = ("kafka-python", "confluent")
TICKS = os.sysconf("SC_CLK_TCK")
LATER_MS = 4_000_000_000_000
ROUNDS = 4
THROUGH = b"GET /v1/models/fraud:predict HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer key-of-acme\r\n\r\n"
REQUEST = b"GET /auth/v1/models/fraud:predict HTTP/1.1\r\nHost: gate\r\nX-Client-Id: client-%d\r\n\r\n"


def cpu_s(process_id: int) -> float:
    """Return the processor time that a process has taken."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(process_id: int) -> float:
    """Return the memory that a process holds."""
    (line,) = (row for row in Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines() if "VmRSS" in row)
    return int(line.split()[1]) / 1024


def lines_of(count: int) -> Iterator[bytes]:
    """Yield decisions about as many clients: made from one, since validating each takes longer than reading it."""
    template = to_json(decision("CLIENT", expires_ms=LATER_MS, models=("fraud",))).decode()
    for number in range(count):
        yield template.replace("CLIENT", f"account-{number:012d}").encode() + b"\n"


async def ask_at(port: int, rate: float, seconds: float, through: bytes | None = None) -> list[float]:
    """Send requests to a gate, or `through` a gateway, when they are due; return the milliseconds of each from then.

    None waits for those before it.
    """
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    took: list[float] = []

    async def one(number: int, due: float) -> None:
        reader, writer = await free.get()
        writer.write(through or REQUEST % (number % 1000))
        await reader.readuntil(b"\r\n\r\n")
        took.append(1000 * (time.perf_counter() - due))
        free.put_nowait((reader, writer))

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = started + number / rate
            if (wait_s := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            group.create_task(one(number, due))
    while not free.empty():
        free.get_nowait()[1].close()
    return took


def requests(gate: LocalGate, seconds: float) -> list[dict[str, float]]:
    """Return what requests cost at each rate."""
    found = []
    for rate in RATES:
        assert gate.process_id is not None
        before = cpu_s(gate.process_id)
        took = sorted(asyncio.run(ask_at(gate.port, rate, seconds)))
        spent = cpu_s(gate.process_id) - before
        found.append(
            {
                "rate": rate,
                "cpu_us": 1e6 * spent / len(took),
                "p50_ms": took[len(took) // 2],
                "p99_ms": took[99 * len(took) // 100],
            }
        )
    return found


def through_nginx(gate: LocalGate, seconds: float) -> list[dict[str, float]]:
    """Return what a request through nginx takes with the gate and without it, and the difference of the medians."""
    found = []
    with gated(gate.port) as asking, ungated() as floor:
        for rate in RATES:
            took: dict[bool, list[float]] = {True: [], False: []}
            for number in range(2 * ROUNDS):
                asks = number % 4 in {0, 3}  # in turn, and neither always first
                took[asks] += asyncio.run(ask_at((asking if asks else floor).port, rate, seconds / ROUNDS, THROUGH))
            with_gate, without = (statistics.quantiles(took[asks], n=100) for asks in (True, False))
            found.append(
                {
                    "rate": rate,
                    "p50_ms": with_gate[49],
                    "floor_p50_ms": without[49],
                    "added_p50_ms": with_gate[49] - without[49],
                    "p99_ms": with_gate[98],
                    "floor_p99_ms": without[98],
                }
            )
    return found


def load(count: int, folder: Path) -> dict[str, float]:
    """Return what a gate takes to load so many decisions from a file, and what a request costs it then."""
    file = folder / "decisions.jsonl"
    with file.open("wb") as out:
        out.writelines(lines_of(count))
    with LocalGate({"decisions_file": str(folder / "none.jsonl")}) as empty:
        assert empty.process_id is not None
        floor_mb, floor_s = memory_mb(empty.process_id), cpu_s(empty.process_id)
    started = time.perf_counter()
    with LocalGate({"decisions_file": str(file)}) as gate:
        gate.wait_until(lambda: gate.ask("/readyz")[0] == 200, "reading", 600.0)
        assert gate.process_id is not None
        wall_s, spent_s = time.perf_counter() - started, cpu_s(gate.process_id) - floor_s  # without importing
        gate.wait_until(lambda: gate.metric('detector_gate_decisions{action="block"}') == count, "counting", 600.0)
        (at,) = requests(gate, 2.0)[1:2]
        return {
            "decisions": count,
            "load_cpu_s": spent_s,
            "load_s": wall_s,
            "memory_mb": memory_mb(gate.process_id) - floor_mb,
            "floor_mb": floor_mb,
            "cpu_us": at["cpu_us"],
        }


def _topics(address: str) -> dict[str, str]:
    """Create topics under a prefix of their own, and return the settings that name them."""
    kafka = {"bootstrap_servers": address, "prefix": f"{uuid.uuid4().hex[:8]}."}
    admin = Connection(KafkaSection.model_validate(kafka)).admin()
    topics_of.create(admin, Topics.under(kafka["prefix"]), partitions=2, replication=1)
    admin.close()
    return kafka


def fill(kafka: Mapping[str, str], count: int) -> None:
    """Write decisions about as many clients into the topic."""
    topic = Topics.under(kafka["prefix"]).decisions
    producer = Connection(KafkaSection.model_validate(kafka)).producer(linger_ms=50, batch_size=1 << 18)
    try:
        for number, line in enumerate(lines_of(count)):
            producer.send(topic, key=f"client:account-{number:012d}:fraud".encode(), value=line.strip())
        producer.flush(600)
    finally:
        Connection.drop(producer)


def load_from_kafka(kafka: Mapping[str, str], client: str, count: int) -> dict[str, Any]:
    """Return what a gate takes to load that topic, beyond what one with an empty topic takes to start."""
    with LocalGate({}, {**_topics(kafka["bootstrap_servers"]), "client": client}) as empty:
        empty.wait_until_ready()
        assert empty.process_id is not None
        floor_mb, floor_s = memory_mb(empty.process_id), cpu_s(empty.process_id)
    started = time.perf_counter()
    with LocalGate({}, {**kafka, "client": client}) as gate:
        gate.wait_until(lambda: gate.ask("/readyz")[0] == 200, "reading", 600.0)
        assert gate.process_id is not None
        wall_s, spent_s = time.perf_counter() - started, cpu_s(gate.process_id) - floor_s
        gate.wait_until(lambda: gate.metric('detector_gate_decisions{action="block"}') == count, "counting", 600.0)
        added_mb = memory_mb(gate.process_id) - floor_mb
        return {"client": client, "decisions": count, "load_cpu_s": spent_s, "load_s": wall_s, "memory_mb": added_mb}


def propagation(address: str, client: str, count: int) -> dict[str, Any]:
    """Return the time from sending a decision to the broker's acknowledgement, and to the first refusal."""
    kafka = {**_topics(address), "client": client}
    connection = Connection(KafkaSection.model_validate(kafka))
    names = Topics.under(kafka["prefix"])
    producer = connection.producer()
    acknowledged, refused = [], []
    try:
        with LocalGate({}, kafka) as gate:
            gate.wait_until_ready()
            for number in range(count):
                made: Decision = decision(f"thief-{number}", expires_ms=int(time.time() * 1000) + 3_600_000)
                made = made.model_copy(update={"issued_at": rfc3339(int(time.time() * 1000))})
                started = time.perf_counter()
                producer.send(names.decisions, key=made.key.encode(), value=to_json(made)).get(timeout=30)
                acknowledged.append(1000 * (time.perf_counter() - started))
                while gate.action(f"thief-{number}") != "block":
                    pass
                refused.append(1000 * (time.perf_counter() - started))
                time.sleep(0.05)
    finally:
        Connection.drop(producer)
    return {
        "client": client,
        "acknowledged_ms": statistics.median(acknowledged),
        "refused_ms": statistics.median(refused),
        "refused_p99_ms": sorted(refused)[99 * count // 100],
        "ratio": statistics.median(after / before for before, after in zip(acknowledged, refused, strict=True)),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    print(f"\n| {' | '.join(rows[0])} |\n|{'---:|' * len(rows[0])}")  # noqa: T201
    for row in rows:
        cells = (f"{cell:,.1f}" if isinstance(cell, float) else f"{cell}" for cell in row.values())
        print(f"| {' | '.join(cells)} |")  # noqa: T201


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of each")
    share = 10 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "few.jsonl"
        file.write_bytes(b"".join(lines_of(1000)))
        with LocalGate({"decisions_file": str(file)}) as gate:
            gate.wait_until_ready()
            show(requests(gate, 4.0 / share))
            show(through_nginx(gate, 8.0 / share))
        show([load(1_000_000 // share, Path(folder))])
    with LocalBroker() as broker:
        kafka = _topics(broker.bootstrap)
        fill(kafka, 1_000_000 // share)
        show([load_from_kafka(kafka, client, 1_000_000 // share) for client in CLIENTS])
        show([propagation(broker.bootstrap, client, 60 // share) for client in CLIENTS])


if __name__ == "__main__":
    main()
